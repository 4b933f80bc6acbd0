"""The audit log, for those who manage a project."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

import models
from gateway import audit, keys, pages, users
from schema.context import Info
from schema.declare import argument, described, given, object_type, reading, related, resolved
from schema.nodes import Node, find
from schema.periods import PeriodInput, period_of, text_of
from schema.users import AFTER, FIRST, User

if TYPE_CHECKING:
    from schema.keys import IssuedKey
else:  # each refers to the others
    IssuedKey = Annotated["IssuedKey", strawberry.lazy("schema.keys")]


@reading("object_id")
async def object_of(root: strawberry.Parent[models.AuditEntry], info: Info) -> Any:
    return await find(info, root.object_id)


@object_type("An act on a project, or the reading of a token or a secret. Entries are never changed.")
class AuditEntry:
    id: strawberry.ID = described("The entry's id; ids sort by time.")
    at: datetime = described("When it was done.")
    user: User | None = resolved(
        related(users.by_id, "user_id"), "Who did it; null where the gateway did it by itself, as when a key expires."
    )
    api_key: IssuedKey | None = resolved(
        related(keys.by_id, "key_id"), "The key that the user did it with; null in person."
    )
    action: str = described("What was done, as in `key.revoked`.")
    object_id: strawberry.ID = described("The id of what it was done to.")
    object: Node | None = resolved(
        object_of, "What it was done to, as it is now; null where it is gone or may not be seen."
    )
    address: str | None = described("The network address that the call came from; null where the gateway acted.")


@reading("id")
async def audit_of_project(
    root: strawberry.Parent[models.Project],
    info: Info,
    first: Annotated[int | None, FIRST] = 20,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
    user_id: Annotated[strawberry.ID | None, argument("What this user did.")] = strawberry.UNSET,
    action: Annotated[str | None, argument("Where this was done, as in `key.revoked`.")] = strawberry.UNSET,
    object_id: Annotated[strawberry.ID | None, argument("What was done to this.")] = strawberry.UNSET,
    period: Annotated[PeriodInput | None, argument("What was done then.")] = strawberry.UNSET,
) -> pages.Page[models.AuditEntry] | None:
    then, part = given(period), pages.Slice(first, given(after))
    within = period_of(then, info.context.now) if then else None
    wanted = audit.Wanted(given(user_id), given(action), given(object_id), within, text_of(then))
    return await info.context.load(audit.pages_of_projects, root.id, wanted, part, info.context.services.sealer)
