"""API key templates and their information fields."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

import models
from gateway import keys, projects, requests, roles, templates
from gateway.permissions import Permission
from gateway.templates import FieldValue, NewField
from models import RequestState
from schema.connections import Connection
from schema.context import Info
from schema.declare import (
    argument,
    changes,
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
    together,
)
from schema.keys import IssuedKey, issued_keys_of_templates
from schema.limits import KeyLimits, KeyLimitsInput, limits_in, limits_of_template
from schema.money import Money
from schema.mutations import REPEATABLE, USER_ERRORS, DeletePayload, UserError, mutation, settle, still_gone
from schema.nodes import Node
from schema.requests import KeyRequest, requests_of_templates
from schema.roles import Role

if TYPE_CHECKING:
    from schema.projects import Project


class ViewerKeyState(Enum):
    CAN_REQUEST = "can request"
    REQUESTED = "requested"
    CONFIRMED = "confirmed"


class InsertedValue(Enum):
    PROJECT_ID = "project id"


enum(
    ViewerKeyState,
    "State of a tile: CONFIRMED while the viewer holds an active or suspended key from the template, REQUESTED while a "
    "request is pending.",
    CAN_REQUEST="The viewer may ask for a key.",
    REQUESTED="The viewer's request is pending.",
    CONFIRMED="The viewer holds an active or suspended key.",
)
enum(InsertedValue, "An id that the gateway knows.", PROJECT_ID="The project's id.")


@reading("template_id", "value", "node__upstream_id", of={models.Template: ("project_id",)})
async def field_values_of(rows: Sequence[models.TemplateField], info: Info) -> Sequence[str | None]:
    context, ids = info.context, sorted({*map(attrgetter("template_id"), rows)})
    found = [template for template in await context.load_all(templates.by_id, ids) if template]
    managed = await context.where(Permission.PROJECT_MANAGE, [template.project_id for template in found])
    shown = {template.id for template in found if template.project_id in managed}
    others = [id for id in ids if id not in shown]
    own = await context.load_all(keys.living_of_viewer, others)
    shown.update(id for id, key in zip(others, own, strict=True) if key)
    values = templates.values_of(rows)
    if len(shown) == len(ids):
        return values
    return [value if row.template_id in shown else None for row, value in zip(rows, values, strict=True)]


@node_type(
    models.TemplateField, "An information field: tells the key's user what they need in order to call the project."
)
class TemplateField(Node):
    name: str = described("What the value is, as in `input node ID`; unique in its template.")
    description: str = described("What it is for.")
    value: str | None = resolved(
        together(field_values_of), "Null unless the viewer manages the project or holds a key from this template."
    )
    version: int = described("Grows with each change of the field.")


@reading("project_id", "price_per_request", of={models.Project: ("currency",)})
async def prices_of(rows: Sequence[models.Template], info: Info) -> list[Money | None]:
    found = await info.context.load_all(projects.by_id, [row.project_id for row in rows])
    return [
        Money(amount=row.price_per_request, currency=project.currency) if project else None
        for row, project in zip(rows, found, strict=True)
    ]


viewer_request_of = related(requests.latest_of_viewer, "id")
viewer_key_of = related(keys.living_of_viewer, "id")


@reading("id", of={models.KeyRequest: ("state",)})
async def viewer_state_of(root: strawberry.Parent[models.Template], info: Info) -> ViewerKeyState:
    if await viewer_key_of(root, info):
        return ViewerKeyState.CONFIRMED
    latest = await viewer_request_of(root, info)
    is_pending = latest is not None and latest.state is RequestState.PENDING
    return ViewerKeyState.REQUESTED if is_pending else ViewerKeyState.CAN_REQUEST


@reading("id", "project_id")
async def pending_count_of(root: strawberry.Parent[models.Template], info: Info) -> int | None:
    if not await info.context.may(Permission.KEYS_VIEW, root.project_id):
        return None
    return await info.context.load(requests.pending_counts, root.id)


@node_type(
    models.Template,
    "A partially formed API key, with no user yet: it exists so that a key can be issued in one step when a user asks.",
)
class KeyTemplate(Node):
    project: Annotated["Project", strawberry.lazy("schema.projects")] = resolved(
        related(projects.by_id, "project_id"), "The project that its keys open."
    )
    name: str = described("How the template is called; unique in its project.")
    description: str = described("What a key from it is good for.")
    role: Role = resolved(related(roles.by_id, "role_id"), "The role that keys are issued with.")
    price_per_request: Money = resolved(
        together(prices_of), "The price of one call, before the role's cost coefficient multiplies it."
    )
    limits: KeyLimits = resolved(limits_of_template, "How much each of its keys may call.")
    fields: list[TemplateField] = resolved(
        related_rows(templates.fields_of, "id"), "The information fields, in the order in which the owner put them."
    )
    created_at: datetime = described("When it was made.")
    deleted_at: datetime | None = described("When it was deleted; null while it lives.")
    version: int = described("Grows with each change.")
    viewer_state: ViewerKeyState = resolved(viewer_state_of, "State of the tile for the viewer.")
    viewer_request: KeyRequest | None = resolved(viewer_request_of, "The viewer's latest request on this template.")
    viewer_key: IssuedKey | None = resolved(viewer_key_of, "The viewer's active or suspended key from this template.")
    pending_request_count: int | None = resolved(pending_count_of, "How many requests are pending. Needs KEYS_VIEW.")
    requests: Connection[KeyRequest] | None = resolved(
        together(requests_of_templates), "Requests on the template, the newest first. Needs KEYS_VIEW."
    )
    issued_keys: Connection[IssuedKey] | None = resolved(
        together(issued_keys_of_templates), "Keys that were issued from it, the newest first. Needs KEYS_VIEW."
    )


# Inputs


@input_type("What to put into a field. Exactly one of the members.", one_of=True)
class FieldValueInput:
    # GraphQL refuses null here by itself, in better words than Strawberry's.
    literal: strawberry.Maybe[str | None] = strawberry.field(description="This text, at most 10,000 characters.")
    insert: strawberry.Maybe[InsertedValue | None] = strawberry.field(
        description="Insert an id that the gateway knows."
    )
    node_id: strawberry.Maybe[strawberry.ID | None] = strawberry.field(
        description="Insert the upstreamId of this node of the project."
    )


@input_type("A new information field.")
class TemplateFieldInput:
    name: str = described("1 to 100 characters; unique in the template.")
    description: str | None = optional("What it is for.")
    value: FieldValueInput = described("What to put into it.")


@input_type("A new template.")
class TemplateCreateInput:
    project_id: strawberry.ID = described("The project that its keys open.")
    role_id: strawberry.ID = described("The role that keys are issued with; it must be able to see the project.")
    name: str = described("1 to 100 characters; unique in the project.")
    description: str | None = optional("What a key from it is good for.")
    price_per_request: Decimal | None = optional("0 to 999999.999999, at most 6 decimals; 0 if absent.")
    limits: KeyLimitsInput | None = optional("How much each of its keys may call; unlimited if absent.")
    fields: list[TemplateFieldInput] | None = optional("The information fields, in their order.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A change of a template; what is absent stays as it is.")
class TemplateUpdateInput:
    template_id: strawberry.ID = described("The template.")
    role_id: strawberry.ID | None = optional("The role of keys that are issued from now on.")
    name: str | None = optional("1 to 100 characters; unique in the project.")
    description: str | None = optional("What a key from it is good for; null clears it.")
    price_per_request: Decimal | None = optional("The price of calls from now on, of keys issued before too.")
    limits: KeyLimitsInput | None = optional(
        "How much each of its keys may call from now on, those issued before too, instead of all that was set; null is "
        "unlimited."
    )
    position: int | None = optional("0 is first; past the end is last.")
    expected_version: int | None = optional("The version that the change is of; another's edit since is a CONFLICT.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A template to delete.")
class TemplateDeleteInput:
    template_id: strawberry.ID = described("The template.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A field to add to a template.")
class TemplateFieldAddInput:
    template_id: strawberry.ID = described("The template.")
    field: TemplateFieldInput = described("The field; it is put last.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A change of an information field; what is absent stays as it is.")
class TemplateFieldUpdateInput:
    field_id: strawberry.ID = described("The field.")
    name: str | None = optional("1 to 100 characters; unique in the template.")
    description: str | None = optional("What it is for; null clears it.")
    value: FieldValueInput | None = optional("What to put into it.")
    position: int | None = optional("0 is first; past the end is last.")
    expected_version: int | None = optional("The version that the change is of; another's edit since is a CONFLICT.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("An information field to delete.")
class TemplateFieldDeleteInput:
    field_id: strawberry.ID = described("The field.")
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("A template, or why nothing was done with it.")
class TemplatePayload:
    template: KeyTemplate | None = described("The template as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


def value_in(input: FieldValueInput) -> FieldValue:
    if input.literal:
        return FieldValue(literal=input.literal.value)
    if input.node_id:
        return FieldValue(node_id=input.node_id.value)
    return FieldValue(is_project_id=True)


def field_in(input: TemplateFieldInput) -> NewField:
    return NewField(input.name, value_in(input.value), given(input.description))


# Mutations


async def template_create(
    info: Info, input: Annotated[TemplateCreateInput, argument("The new template.")]
) -> TemplatePayload:
    async def act() -> models.Template:
        return await templates.create(
            info.context.actor,
            input.project_id,
            role_id=input.role_id,
            name=input.name,
            description=given(input.description),
            price_per_request=given(input.price_per_request),
            limits=limits_in(given(input.limits)),
            fields=[field_in(field) for field in given(input.fields) or []],
        )

    return await settle(info, input, TemplatePayload, "template", act)


async def template_update(
    info: Info, input: Annotated[TemplateUpdateInput, argument("What changes.")]
) -> TemplatePayload:
    async def act() -> models.Template:
        changed: Any = changes(input, "name", "description", "role_id", "price_per_request", "limits", "position")
        if "limits" in changed:
            changed["limits"] = limits_in(changed["limits"])
        return await templates.update(info.context.actor, input.template_id, changed, given(input.expected_version))

    return await settle(info, input, TemplatePayload, "template", act)


async def template_delete(
    info: Info, input: Annotated[TemplateDeleteInput, argument("The template.")]
) -> DeletePayload:
    async def act() -> str:
        return await templates.delete(info.context.actor, input.template_id)

    return await settle(info, input, DeletePayload, "deleted_id", act, still_gone)


async def template_field_add(
    info: Info, input: Annotated[TemplateFieldAddInput, argument("The new field.")]
) -> TemplatePayload:
    async def act() -> models.Template:
        return await templates.add_field(info.context.actor, input.template_id, field_in(input.field))

    return await settle(info, input, TemplatePayload, "template", act)


async def template_field_update(
    info: Info, input: Annotated[TemplateFieldUpdateInput, argument("What changes.")]
) -> TemplatePayload:
    async def act() -> models.Template:
        changed: Any = changes(input, "name", "description", "value", "position")
        if changed.get("value") is not None:
            changed["value"] = value_in(changed["value"])
        return await templates.update_field(info.context.actor, input.field_id, changed, given(input.expected_version))

    return await settle(info, input, TemplatePayload, "template", act)


async def template_field_delete(
    info: Info, input: Annotated[TemplateFieldDeleteInput, argument("The field.")]
) -> TemplatePayload:
    async def act() -> models.Template:
        return await templates.delete_field(info.context.actor, input.field_id)

    return await settle(info, input, TemplatePayload, "template", act)


@object_type("Making templates, and changing every part of them.")
class TemplateMutations:
    template_create: TemplatePayload = mutation(template_create, "Makes a template, which is put last.")
    template_update: TemplatePayload = mutation(template_update, "Changes a template, or its place among the others.")
    template_delete: DeletePayload = mutation(
        template_delete,
        "Takes the tile away and cancels its pending requests; keys that were issued go on, at the last price, until "
        "they are revoked.",
    )
    template_field_add: TemplatePayload = mutation(template_field_add, "Adds an information field, which is put last.")
    template_field_update: TemplatePayload = mutation(
        template_field_update, "Changes an information field, or its place among the others."
    )
    template_field_delete: TemplatePayload = mutation(template_field_delete, "Deletes an information field.")
