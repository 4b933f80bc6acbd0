"""Batches: what the resolvers of a level ask for one by one is fetched for all of them at once.

A relation has one implementation, in its noun's file in gateway/: `batch(actor, keys, *arguments) -> {key: value}`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from aiodataloader import DataLoader

from gateway.permissions import Actor

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
Batch = Callable[..., Awaitable[Mapping[KeyT, ValueT]]]


@dataclass(frozen=True)
class Relation:
    """What a batch finds by an attribute of each row."""

    batch: Batch[Any, Any]
    attribute: str
    is_list: bool = False


@dataclass(frozen=True)
class Reads:
    """What a resolver reads of its own row, None for whatever there is; and of rows of other classes that it loads."""

    own: tuple[str, ...] | None = None
    of: Mapping[type, tuple[str, ...]] = field(default_factory=dict)


class Loads(Protocol):
    """What fetches by batches; which way is the executor's choice."""

    def load(self, batch: Batch[KeyT, ValueT], key: KeyT, *arguments: Hashable) -> Awaitable[ValueT | None]:
        """The value of the key, fetched together with those of all others who ask now; None where there is none."""

    def load_all(
        self, batch: Batch[KeyT, ValueT], keys: Sequence[KeyT], *arguments: Hashable
    ) -> Awaitable[list[ValueT | None]]:
        """As `load`, of several keys at once."""

    def keep(self, batch: Batch[KeyT, ValueT], values: Mapping[KeyT, ValueT]) -> None:
        """What the batch would find for these keys, which is at hand already and need not be fetched."""

    def foresee(self, batch: Batch[KeyT, ValueT], key: KeyT) -> None:
        """That the value of the key will be asked for next, and so may be fetched with what is asked for now."""


class Loaders:
    """aiodataloader's, of one operation or of one event: nothing outlives it, so nothing is stale."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._loaders: dict[tuple[Any, ...], DataLoader[Any, Any]] = {}

    async def load(self, batch: Batch[KeyT, ValueT], key: KeyT, *arguments: Hashable) -> ValueT | None:
        """As `Loads.load`."""
        future: asyncio.Future[ValueT | None] = self._loader(batch, arguments).load(key)
        # A failing field cancels its siblings; the future that they share with others must live on.
        return future.result() if future.done() else await asyncio.shield(future)

    async def load_all(
        self, batch: Batch[KeyT, ValueT], keys: Sequence[KeyT], *arguments: Hashable
    ) -> list[ValueT | None]:
        """As `Loads.load_all`."""
        if len(keys) == 1:
            return [await self.load(batch, keys[0], *arguments)]
        return await asyncio.gather(*(self.load(batch, key, *arguments) for key in keys))

    def keep(self, batch: Batch[KeyT, ValueT], values: Mapping[KeyT, ValueT]) -> None:
        """As `Loads.keep`."""
        for key, value in values.items():
            self._loader(batch, ()).prime(key, value)

    def foresee(self, batch: Batch[KeyT, ValueT], key: KeyT) -> None:
        """Nothing is fetched sooner: what aiodataloader fetches, somebody waits for."""

    def _loader(self, batch: Batch[Any, Any], arguments: tuple[Hashable, ...]) -> DataLoader[Any, Any]:
        loader = self._loaders.get((batch, *arguments))
        if loader is None:
            loader = self._loaders[batch, *arguments] = self._new_loader(batch, arguments)
        return loader

    def _new_loader(self, batch: Batch[Any, Any], arguments: tuple[Hashable, ...]) -> DataLoader[Any, Any]:
        async def fetch(keys: list[Any]) -> list[Any]:
            found = await batch(self._actor, keys, *arguments)
            return [found.get(key) for key in keys]

        return DataLoader(fetch)
