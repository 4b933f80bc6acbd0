"""The audit log: who did or read what, with which key, when, and from which address."""

from datetime import datetime

from gateway.permissions import Actor
from models import AuditEntry


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
