"""The audit log: who did or read what, with which key, when, and from which address."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gateway.pages import Listing, Page, Slice, of_each
from gateway.permissions import Actor, permitted
from gateway.pricing import Period
from gateway.sealing import Sealer
from models import AuditEntry
from models.audit import ACTION_LENGTH
from models.fields import ID_LENGTH

LONGEST = {"user_id": ID_LENGTH, "action": ACTION_LENGTH, "object_id": ID_LENGTH}


async def enter(actor: Actor, action: str, object_id: str, project_id: str | None, at: datetime) -> None:
    """Writes an entry in the transaction of the act itself, so that there is neither one without the other."""
    await AuditEntry.create(
        at=at,
        user_id=actor.user_id,
        key_id=actor.key_id,
        action=action,
        object_id=object_id,
        project_id=project_id,
        address=actor.address,
    )


@dataclass(frozen=True)
class Wanted:
    """Which entries: all, or those by a user, of an action, about an object, or in a period; all that is named."""

    user_id: str | None = None
    action: str | None = None
    object_id: str | None = None
    period: Period | None = field(default=None, repr=False)
    period_text: str = ""
    """How the period was asked for, which cursors are of: "the last 30 days" stays so while time passes."""

    @property
    def can_be(self) -> bool:
        """Whether an entry can say so; what no column holds is not even asked for."""
        return all(
            len(value) <= LONGEST[column] and value.isascii() and value.isprintable()
            for column, value in self.columns.items()
        )

    @property
    def columns(self) -> dict[str, str]:
        named = {column: getattr(self, column) for column in LONGEST}
        return {column: value for column, value in named.items() if value is not None}


async def pages_of_projects(
    actor: Actor, project_ids: Sequence[str], wanted: Wanted, part: Slice, sealer: Sealer
) -> dict[str, Page[AuditEntry]]:
    """The entries of each project whose audit log the actor may read, the newest first; nothing of any other."""
    readable = await permitted(actor, "audit.read", project_ids)
    found = AuditEntry.filter(**wanted.columns) if wanted.can_be else AuditEntry.filter(id__in=[])
    if wanted.period:
        found = found.filter(at__gte=wanted.period.start, at__lt=wanted.period.end)
    listing = Listing(lambda: found, ("-id",), f"audit {wanted}", sealer)
    return await of_each(listing, "project_id", readable, part) if readable else {}
