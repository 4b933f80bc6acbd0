"""Issued keys."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from gateway import key_table, keys, pages, projects, roles, templates, usage, users
from gateway.permissions import Permission
from schema.connections import where_shown
from schema.context import Info
from schema.declare import (
    argument,
    chosen,
    described,
    enum,
    given,
    input_type,
    node_type,
    object_type,
    optional,
    reading,
    related,
    related_rows,
    resolved,
)
from schema.limits import Allowance, allowances_of_key
from schema.mutations import REPEATABLE, USER_ERRORS, UserError, mutation, settle
from schema.nodes import Node
from schema.periods import PeriodInput, kept_from, period_of, text_of
from schema.requests import BEFORE, LAST
from schema.states import KeyState
from schema.usage import Usage, usage_of_key
from schema.users import AFTER, FIRST, User

if TYPE_CHECKING:
    from schema.projects import Project
    from schema.roles import Role
    from schema.templates import KeyTemplate, TemplateField
else:  # each refers to the others
    Project = Annotated["Project", strawberry.lazy("schema.projects")]
    Role = Annotated["Role", strawberry.lazy("schema.roles")]
    KeyTemplate = Annotated["KeyTemplate", strawberry.lazy("schema.templates")]
    TemplateField = Annotated["TemplateField", strawberry.lazy("schema.templates")]


class OrderDirection(Enum):
    ASC = "asc"
    DESC = "desc"


class IssuedKeyOrderField(Enum):
    NAME = key_table.Column.NAME
    USER = key_table.Column.USER
    RECEIVED_AT = key_table.Column.RECEIVED_AT
    REQUESTS = key_table.Column.REQUESTS
    TOTAL = key_table.Column.TOTAL


enum(OrderDirection, "Which end comes first.", ASC="The least, first or oldest.", DESC="The most, last or newest.")
enum(
    IssuedKeyOrderField,
    "A column of the table of issued keys.",
    NAME="The key's name, without regard to case.",
    USER="The holder's name, without regard to case.",
    RECEIVED_AT="When the key was issued.",
    REQUESTS="The calls made with the key in the period.",
    TOTAL="The cost of those calls.",
)


@input_type("An order of the table of issued keys; ties are ordered by id.")
class IssuedKeyOrder:
    field: IssuedKeyOrderField = described("The column.")
    direction: OrderDirection = described("Which end comes first.", default=OrderDirection.ASC)


@reading("state", "expires_at")
def state_of(root: strawberry.Parent[models.IssuedKey], info: Info) -> KeyState:
    return keys.present_state(root, info.context.now)


@node_type(models.IssuedKey, "A key that gives one user programmatic access to one project.")
class IssuedKey(Node):
    name: str = described("The template's name when the key was issued.")
    project: Project = resolved(related(projects.by_id, "project_id"), "The project that it opens.")
    template: KeyTemplate = resolved(related(templates.by_id, "template_id"), "The template that it was issued from.")
    role: Role = resolved(
        related(roles.by_id, "role_id"),
        "The role that was assigned when the key was issued; what it may do is looked up at each call.",
    )
    user: User = resolved(related(users.by_id, "user_id"), "Its holder.")
    state: KeyState = resolved(state_of, "Whether it works.")
    received_at: datetime = described("When it was issued.")
    expires_at: datetime | None = described("When it stops working by itself.")
    revoked_at: datetime | None = described("When it was revoked.")
    revoked_by: User | None = resolved(related(users.by_id, "revoked_by_id"), "Who revoked it.")
    last_used_at: datetime | None = resolved(related(usage.last_calls, "id"), "When a call was last made with it.")
    fields: list[TemplateField] = resolved(
        related_rows(templates.fields_of, "template_id"), "What the holder needs in order to call the project."
    )
    usage: Usage = resolved(usage_of_key, "Calls made with the key and their cost in the period.")
    allowances: list[Allowance] = resolved(
        allowances_of_key, "How it stands with each quota of its template; a rate per second is none."
    )


STATES = argument("Keys in one of these states; null is every state, an empty list none.")


@reading("id")
async def issued_keys_of_project(
    root: strawberry.Parent[models.Project],
    info: Info,
    first: Annotated[int | None, FIRST] = strawberry.UNSET,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
    last: Annotated[int | None, LAST] = strawberry.UNSET,
    before: Annotated[str | None, BEFORE] = strawberry.UNSET,
    search: Annotated[str | None, argument("Text in the key's or the holder's name, without regard to case.")] = (
        strawberry.UNSET
    ),
    states: Annotated[list[KeyState] | None, STATES] = strawberry.UNSET,
    order_by: Annotated[
        IssuedKeyOrder | None, argument("The order; the newest first where absent.")
    ] = strawberry.UNSET,
    period: Annotated[
        PeriodInput | None,
        argument("The period that orderBy REQUESTS and TOTAL need; cursors keep its instants fixed."),
    ] = strawberry.UNSET,
) -> pages.Page[models.IssuedKey] | None:
    if not await info.context.may(Permission.KEYS_VIEW, root.id):
        return None
    order = given(order_by)
    query = key_table.Query(
        search=given(search) or "",
        states=chosen(states),
        column=order.field.value if order else key_table.Column.RECEIVED_AT,
        descending=order.direction is OrderDirection.DESC if order else True,
        period_text=text_of(given(period)),
    )
    part = pages.Slice(given(first), given(after), given(last), given(before))
    context = info.context
    resolved_period = period_of(period, context.now) if period else None
    services = (context.services.sealer, context.now, kept_from(context))
    page = await context.load(key_table.pages_of_projects, root.id, query, resolved_period, part, *services)
    context.keep(users.by_id, key_table.users_at_hand(page) if page else [])
    return page


@reading("id", "project_id")
async def issued_keys_of_templates(
    rows: Sequence[models.Template],
    info: Info,
    first: Annotated[int | None, FIRST] = 20,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
    states: Annotated[list[KeyState] | None, STATES] = strawberry.UNSET,
) -> list[pages.Page[models.IssuedKey] | None]:
    context = info.context

    async def read(ids: list[str]) -> list[pages.Page[models.IssuedKey] | None]:
        part = pages.Slice(given(first), given(after))
        arguments = chosen(states), part, context.services.sealer, context.now
        return await context.load_all(key_table.pages_of_templates, ids, *arguments)

    shown = await context.where(Permission.KEYS_VIEW, [row.project_id for row in rows])
    return await where_shown(rows, shown, read)


@input_type("The key whose token is wanted.")
class KeyRevealInput:
    key_id: strawberry.ID = described("The key.")


@input_type("The key to end.")
class KeyRevokeInput:
    key_id: strawberry.ID = described("The key.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("The key to interrupt.")
class KeySuspendInput:
    key_id: strawberry.ID = described("The key.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("The key to let work again.")
class KeyResumeInput:
    key_id: strawberry.ID = described("The key.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("The key that gets a new token.")
class KeyRotateInput:
    key_id: strawberry.ID = described("The key.")
    overlap_seconds: int = described("0..2592000; at its end every earlier token of the key ends.", default=0)
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("A key, or why nothing was done with it.")
class IssuedKeyPayload:
    issued_key: IssuedKey | None = described("The key as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


@object_type("A key with its token, or why it isn't shown.")
class KeyRevealPayload:
    issued_key: IssuedKey | None = described("The key; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)
    token: str | None = described("The key's present token, a JWT; for its holder alone.", default=None)


async def key_reveal(info: Info, input: Annotated[KeyRevealInput, argument("The key.")]) -> KeyRevealPayload:
    async def act() -> models.IssuedKey:
        return await keys.reveal(info.context.actor, input.key_id)

    return await _with_token(info, await settle(info, input, KeyRevealPayload, "issued_key", act))


async def key_rotate(info: Info, input: Annotated[KeyRotateInput, argument("The key.")]) -> KeyRevealPayload:
    async def act() -> models.IssuedKey:
        return await keys.rotate(info.context.actor, info.context.services.keyring, input.key_id, input.overlap_seconds)

    async def again(_: Info, ids: list[str]) -> models.IssuedKey:
        return await keys.reveal(info.context.actor, ids[0])  # a repeat reads the token once more

    return await _with_token(info, await settle(info, input, KeyRevealPayload, "issued_key", act, again))


async def _with_token(info: Info, payload: KeyRevealPayload) -> KeyRevealPayload:
    if payload.issued_key is not None:
        row: models.IssuedKey = payload.issued_key  # type: ignore[assignment]  # a row stands for its type
        payload.token = await keys.token(info.context.services.keyring, row)
    return payload


async def key_revoke(info: Info, input: Annotated[KeyRevokeInput, argument("The key.")]) -> IssuedKeyPayload:
    async def act() -> models.IssuedKey:
        return await keys.revoke(info.context.actor, input.key_id)

    return await settle(info, input, IssuedKeyPayload, "issued_key", act)


async def key_suspend(info: Info, input: Annotated[KeySuspendInput, argument("The key.")]) -> IssuedKeyPayload:
    async def act() -> models.IssuedKey:
        return await keys.suspend(info.context.actor, input.key_id)

    return await settle(info, input, IssuedKeyPayload, "issued_key", act)


async def key_resume(info: Info, input: Annotated[KeyResumeInput, argument("The key.")]) -> IssuedKeyPayload:
    async def act() -> models.IssuedKey:
        return await keys.resume(info.context.actor, input.key_id)

    return await settle(info, input, IssuedKeyPayload, "issued_key", act)


@object_type("What holders and managers do with keys.")
class KeyMutations:
    key_reveal: KeyRevealPayload = mutation(
        key_reveal, "The copy button: the token, for the key's holder alone; audited."
    )
    key_revoke: IssuedKeyPayload = mutation(key_revoke, "By a manager, or by the holder. For good.")
    key_suspend: IssuedKeyPayload = mutation(key_suspend, "By a manager; the key is refused until it is resumed.")
    key_resume: IssuedKeyPayload = mutation(key_resume, "By a manager; a suspended key works again.")
    key_rotate: KeyRevealPayload = mutation(
        key_rotate,
        "By the holder: a new token for the same key; the old one keeps working for `overlapSeconds`.",
    )
