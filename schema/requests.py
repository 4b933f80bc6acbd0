"""Requests for keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from gateway import keys, pages, requests, templates, users
from gateway.permissions import Permission
from schema.connections import where_shown
from schema.context import Info
from schema.declare import (
    argument,
    chosen,
    described,
    given,
    input_type,
    node_type,
    object_type,
    optional,
    reading,
    related,
    resolved,
)
from schema.mutations import REPEATABLE, USER_ERRORS, UserError, mutation, settle
from schema.nodes import Node
from schema.states import RequestState
from schema.users import AFTER, FIRST, User

if TYPE_CHECKING:
    from schema.keys import IssuedKey
    from schema.templates import KeyTemplate
else:  # each refers to the others
    IssuedKey = Annotated["IssuedKey", strawberry.lazy("schema.keys")]
    KeyTemplate = Annotated["KeyTemplate", strawberry.lazy("schema.templates")]


@node_type(models.KeyRequest, "A user's request for a key from a template.")
class KeyRequest(Node):
    template: KeyTemplate = resolved(related(templates.by_id, "template_id"), "What was asked for.")
    user: User = resolved(related(users.by_id, "user_id"), "Who asked.")
    state: RequestState = described("What became of it.")
    note: str = described("What the user wrote when asking.")
    requested_at: datetime = described("When it was made.")
    decided_at: datetime | None = described("When it was approved, rejected or cancelled.")
    decided_by: User | None = resolved(related(users.by_id, "decided_by_id"), "Who approved, rejected or cancelled it.")
    reason: str | None = described("Why it was rejected.")
    issued_key: IssuedKey | None = resolved(related(keys.by_request, "id"), "The key that its approval issued.")


STATES = argument("Requests in one of these states; null is every state, an empty list none.")
LAST = argument("How many rows from the end, 1 to 100; instead of `first`.")
BEFORE = argument("The cursor of the row after the last one.")


@reading("id")
async def requests_of_project(
    root: strawberry.Parent[models.Project],
    info: Info,
    states: Annotated[list[RequestState] | None, STATES] = [RequestState.PENDING],  # noqa: B006  read as GraphQL's default
    first: Annotated[int | None, FIRST] = strawberry.UNSET,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
    last: Annotated[int | None, LAST] = strawberry.UNSET,
    before: Annotated[str | None, BEFORE] = strawberry.UNSET,
) -> pages.Page[models.KeyRequest] | None:
    if not await info.context.may(Permission.KEYS_VIEW, root.id):
        return None
    part = pages.Slice(given(first), given(after), given(last), given(before))
    sealer = info.context.services.sealer
    return await info.context.load(requests.pages_of_projects, root.id, chosen(states), part, sealer)


@reading("id", "project_id")
async def requests_of_templates(
    rows: Sequence[models.Template],
    info: Info,
    states: Annotated[list[RequestState] | None, STATES] = [RequestState.PENDING],  # noqa: B006  read as GraphQL's default
    first: Annotated[int | None, FIRST] = 20,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
) -> list[pages.Page[models.KeyRequest] | None]:
    context = info.context

    async def read(ids: list[str]) -> list[pages.Page[models.KeyRequest] | None]:
        part = pages.Slice(given(first), given(after))
        arguments = chosen(states), part, context.services.sealer
        return await context.load_all(requests.pages_of_templates, ids, *arguments)

    shown = await context.where(Permission.KEYS_VIEW, [row.project_id for row in rows])
    return await where_shown(rows, shown, read)


@input_type("A request for a key.")
class KeyRequestCreateInput:
    template_id: strawberry.ID = described("The template to have a key from.")
    note: str | None = optional("What the owners should know, at most 2000 characters.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A request to take back.")
class KeyRequestCancelInput:
    request_id: strawberry.ID = described("The request.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A request to approve.")
class KeyRequestApproveInput:
    request_id: strawberry.ID = described("The request.")
    expires_at: datetime | None = optional("The key stops working then; never, if absent.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A request to turn down.")
class KeyRequestRejectInput:
    request_id: strawberry.ID = described("The request.")
    reason: str = described("Why, for the one who asked; 1 to 2000 characters.")
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("A request, or why nothing was done with it.")
class KeyRequestPayload:
    request: KeyRequest | None = described("The request as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


async def key_request_create(
    info: Info, input: Annotated[KeyRequestCreateInput, argument("What is asked for.")]
) -> KeyRequestPayload:
    async def act() -> models.KeyRequest:
        return await requests.create(info.context.actor, input.template_id, given(input.note))

    return await settle(info, input, KeyRequestPayload, "request", act)


async def key_request_cancel(
    info: Info, input: Annotated[KeyRequestCancelInput, argument("The request.")]
) -> KeyRequestPayload:
    async def act() -> models.KeyRequest:
        return await requests.cancel(info.context.actor, input.request_id)

    return await settle(info, input, KeyRequestPayload, "request", act)


async def key_request_approve(
    info: Info, input: Annotated[KeyRequestApproveInput, argument("The request.")]
) -> KeyRequestPayload:
    async def act() -> models.KeyRequest:
        keyring = info.context.services.keyring
        return await requests.approve(info.context.actor, keyring, input.request_id, given(input.expires_at))

    return await settle(info, input, KeyRequestPayload, "request", act)


async def key_request_reject(
    info: Info, input: Annotated[KeyRequestRejectInput, argument("The request, and why.")]
) -> KeyRequestPayload:
    async def act() -> models.KeyRequest:
        return await requests.reject(info.context.actor, input.request_id, input.reason)

    return await settle(info, input, KeyRequestPayload, "request", act)


@object_type("Asking for keys, and deciding.")
class RequestMutations:
    key_request_create: KeyRequestPayload = mutation(key_request_create, "Asks for a key from a template.")
    key_request_cancel: KeyRequestPayload = mutation(key_request_cancel, "Takes a pending request back; by its asker.")
    key_request_approve: KeyRequestPayload = mutation(key_request_approve, "Issues the key in the same transaction.")
    key_request_reject: KeyRequestPayload = mutation(key_request_reject, "Turns a pending request down, with a reason.")
