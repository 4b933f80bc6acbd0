"""What every resolver has at hand: who asks, the parts of the gateway, and the operation's loaders."""

from collections.abc import Awaitable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias, TypeVar

import strawberry

from gateway import clock
from gateway.attempts import Attempts
from gateway.events import Cursors, EventLog
from gateway.metrics import Measures
from gateway.passwords import Passwords
from gateway.permissions import Actor, Permission, Rights, RightsMemory, rights_on_all
from gateway.sealing import Sealer
from gateway.settings import Settings
from gateway.signing import Keyring, SessionSigner
from schema.loaders import Batch, KeyT, Loaders, Loads, ValueT
from schema.transport.call import Call


class HasId(Protocol):
    @property
    def id(self) -> str: ...


RowT = TypeVar("RowT", bound=HasId)


@dataclass(frozen=True)
class Services:
    """The parts of the gateway that live as long as it runs; made in the composition root."""

    settings: Settings
    sealer: Sealer
    keyring: Keyring
    sessions: SessionSigner
    passwords: Passwords
    attempts: Attempts
    log: EventLog
    cursors: Cursors
    measures: Measures


@dataclass(kw_only=True)
class Context(Call[Actor]):
    """The context of one operation. `now` is one instant for the whole of it."""

    services: Services
    now: datetime = field(default_factory=clock.now)
    remembered: RightsMemory | None = None
    """Of what may be done, for an operation that takes what is remembered."""
    log_position: int | None = None
    """The head of the event log before anything was read; None where nobody asked for it."""
    reader: Actor = field(init=False)
    """The actor, for whom what may be done is asked once in the operation."""
    loaders: Loads = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Fresh loaders and a fresh now, for the next event of a subscription."""
        self.now = clock.now()
        self.reader = self.actor.reading(self.remembered)
        self.loaders = Loaders(self.reader)

    def load(self, batch: Batch[KeyT, ValueT], key: KeyT, *arguments: Hashable) -> Awaitable[ValueT | None]:
        """As `Loads.load`."""
        return self.loaders.load(batch, key, *arguments)

    def load_all(
        self, batch: Batch[KeyT, ValueT], keys: Sequence[KeyT], *arguments: Hashable
    ) -> Awaitable[list[ValueT | None]]:
        """As `Loads.load_all`."""
        return self.loaders.load_all(batch, keys, *arguments)

    def keep(self, batch: Batch[str, RowT], rows: Iterable[RowT]) -> None:
        """Rows that the batch would find by their ids, and that are at hand already."""
        self.loaders.keep(batch, {row.id: row for row in rows})

    def foresee(self, batch: Batch[KeyT, ValueT], key: KeyT) -> None:
        """As `Loads.foresee`."""
        self.loaders.foresee(batch, key)

    async def rights(self, project_id: str) -> Rights:
        return (await self._rights_on_all([project_id]))[0] or Rights()

    async def may(self, permission: Permission, project_id: str) -> bool:
        return (await self.rights(project_id)).allow(permission)

    async def where(self, permission: Permission, project_ids: Iterable[str]) -> set[str]:
        """Those of the projects where the actor may do so."""
        ids = sorted(set(project_ids))
        rights = await self._rights_on_all(ids)
        return {id for id, found in zip(ids, rights, strict=True) if found and found.allow(permission)}

    async def _rights_on_all(self, project_ids: Sequence[str]) -> Sequence[Rights | None]:
        """At once, where they are known: who waits for a batch is asked for only after what the level wants."""
        known = self.reader.known.on(project_ids) if self.reader.known else {}
        if all(id in known for id in project_ids):
            return [known[id] for id in project_ids]
        return await self.load_all(rights_on_all, project_ids)


Info: TypeAlias = strawberry.Info[Context, None]
