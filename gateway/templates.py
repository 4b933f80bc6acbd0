"""API key templates and their information fields, in the order in which the owner put them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any, TypedDict, TypeVar

from tortoise.expressions import F
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from gateway import clock, events, keys, requests
from gateway.database import refusing_duplicates
from gateway.errors import Invalid, LimitExceeded, NotFound, require_version, within
from gateway.limits import LimitsWanted, replace_limits
from gateway.names import checked_name, checked_text
from gateway.permissions import Actor, projects_seen, require, require_caller, seen_of
from gateway.prepared import Columns, found_by_id, narrowed, narrows, shown
from gateway.pricing import checked_price
from models import Project, ProjectNode, Role, Template, TemplateField
from models.fields import named

MOST_TEMPLATES, MOST_FIELDS = 1000, 50
SHOWN_OF_FIELDS = ("id", "template_id", "name", "description", "version", "value", "node__upstream_id")
UNKNOWN, UNKNOWN_FIELD = "There is no such API key template.", "There is no such information field."
TAKEN, FIELD_TAKEN = "The project has a template of this name.", "The template has a field of this name."

Given = TypeVar("Given")
Row = TypeVar("Row", Template, TemplateField)


@dataclass(frozen=True)
class FieldValue:
    """What stands in a field: a text, the project's own id, or the id of a node in the upstream's paths."""

    literal: str | None = None
    node_id: str | None = None
    is_project_id: bool = False


@dataclass(frozen=True)
class NewField:
    name: str
    value: FieldValue
    description: str | None = None


class TemplateChanges(TypedDict, total=False):
    """What an update changes. None clears the description and takes the limits away, and is invalid elsewhere."""

    name: str | None
    description: str | None
    role_id: str | None
    price_per_request: Decimal | None
    limits: LimitsWanted | None
    position: int | None


class FieldChanges(TypedDict, total=False):
    """What an update of a field changes. None clears the description, and is invalid elsewhere."""

    name: str | None
    description: str | None
    value: FieldValue | None
    position: int | None


# Who sees which


async def visible(actor: Actor, template_ids: Sequence[str]) -> dict[str, Template]:
    seen = Template.filter(id__in=template_ids, deleted_at=None, project_id__in=projects_seen(actor))
    return {template.id: template for template in await seen}


async def visible_fields(actor: Actor, field_ids: Sequence[str]) -> dict[str, TemplateField]:
    return {field.id: field for field in await _visible_fields(actor, list(field_ids))}


@shown
def _visible_fields(actor: Actor, field_ids: list[str]) -> QuerySet[TemplateField]:
    seen = TemplateField.filter(id__in=field_ids, deleted_at=None, template__deleted_at=None)
    return seen.filter(template__project_id__in=projects_seen(actor)).only(*SHOWN_OF_FIELDS)


@narrows(Template)
async def by_id(_: Actor, template_ids: Sequence[str], *, columns: Columns = None) -> dict[str, Template]:
    return await found_by_id(Template, template_ids, columns)


@narrows(Template)
async def by_project(actor: Actor, project_ids: Sequence[str], *, columns: Columns = None) -> dict[str, list[Template]]:
    """The templates of each project in their order; none of a project that may not be seen."""
    templates: dict[str, list[Template]] = {project_id: [] for project_id in project_ids}
    found = await _of_projects(list(await seen_of(actor, project_ids)), columns)
    for template in found:
        templates[template.project_id].append(template)
    if actor.known:
        actor.known.templates.update([template.id for template in found])
    return templates


@shown
def _of_projects(project_ids: list[str], columns: Columns) -> QuerySet[Template]:
    living = Template.filter(project_id__in=project_ids, deleted_at=None)
    return narrowed(living, columns, "id", "project_id").order_by("position", "id")


@narrows(TemplateField)
async def fields_of(
    actor: Actor, template_ids: Sequence[str], *, columns: Columns = None
) -> dict[str, list[TemplateField]]:
    """The fields of each template in their order, each with its node; those of a deleted template stay.

    None for one who reaches the template by a reference alone: who neither sees the project nor holds a key.
    """
    fields: dict[str, list[TemplateField]] = {template_id: [] for template_id in template_ids}
    are_seen = actor.known is not None and actor.known.templates.issuperset(template_ids)
    wanted = (*(columns or SHOWN_OF_FIELDS), *(() if are_seen else ("template__project_id",)))
    found = await _fields(list(template_ids), wanted)
    if not are_seen:
        found = await _shown_to(actor, found)
    for template_id, field in zip(map(attrgetter("template_id"), found), found, strict=True):
        fields[template_id].append(field)
    return fields


async def _shown_to(actor: Actor, fields: list[TemplateField]) -> list[TemplateField]:
    projects = {*map(attrgetter("template__project_id"), fields)}
    unseen = projects - await seen_of(actor, projects)
    hidden = {field.template_id for field in fields if field.template__project_id in unseen}
    if hidden:
        hidden -= (await keys.living_of_viewer(actor, list(hidden))).keys()
    return [field for field in fields if field.template_id not in hidden]


@shown
def _fields(template_ids: list[str], columns: Columns) -> QuerySet[TemplateField]:
    living = TemplateField.filter(template_id__in=template_ids, deleted_at=None)
    return narrowed(living, columns, "id", "template_id").order_by("position", "id")


def values_of(fields: Iterable[TemplateField]) -> list[str]:
    """What each says; a node's id reads as it stands in the upstream's paths, also after the node is gone."""
    return [field.value if (id := field.node__upstream_id) is None else id for field in fields]


# Changing templates


async def create(
    actor: Actor,
    project_id: str,
    *,
    role_id: str,
    name: str,
    description: str | None = None,
    price_per_request: Decimal | None = None,
    limits: LimitsWanted | None = None,
    fields: Sequence[NewField] = (),
) -> Template:
    """A new template, put last. Raises NotFound, Forbidden, Invalid, Conflict, LimitExceeded."""
    changes: TemplateChanges = {
        "name": name,
        "description": description,
        "role_id": role_id,
        "price_per_request": Decimal(0) if price_per_request is None else price_per_request,
    }
    with refusing_duplicates(TAKEN, ["name"]):
        async with in_transaction():
            await _lock_order(project_id)
            await require(actor, "template.create", project_id)
            position = await _in_order(project_id).count()
            _require_room(position + 1, MOST_TEMPLATES, "templates in a project")
            columns = await _columns(project_id, changes)
            template = await Template.create(project_id=project_id, position=position, **columns)
            if limits:
                await replace_limits(template.id, limits)
            await _add_fields(template, fields)
            await events.append(actor, "template.created", template.id, project_id=project_id)
    return template


async def update(
    actor: Actor, template_id: str, changes: TemplateChanges, expected_version: int | None = None
) -> Template:
    """Raises NotFound, Forbidden, Invalid; Conflict for a name that is taken, or another's edit in between."""
    with refusing_duplicates(TAKEN, ["name"]):
        async with in_transaction():
            template = await _locked(actor, "template.update", template_id)
            require_version(template.version, expected_version, "template")
            template.update_from_dict(await _columns(template.project_id, changes))
            if "limits" in changes:
                await replace_limits(template.id, changes["limits"])
            if "position" in changes:
                await _move(_in_order(template.project_id), template, _given(changes["position"], "position"))
            return await _changed(actor, template)


async def delete(actor: Actor, template_id: str) -> str:
    """Takes the tile away and cancels its pending requests; its id. Keys go on. Raises NotFound, Forbidden."""
    async with in_transaction():
        template = await _locked(actor, "template.delete", template_id)
        template.deleted_at = clock.now()
        await template.save(update_fields=["deleted_at"])
        await _close_gap(_in_order(template.project_id), template)
        await requests.cancel_pending(actor, template.id)
        await events.append(actor, "template.deleted", template.id, project_id=template.project_id)
    return template.id


# Changing fields


async def add_field(actor: Actor, template_id: str, field: NewField) -> Template:
    """Puts a field last. Raises NotFound, Forbidden, Invalid, Conflict, LimitExceeded."""
    async with in_transaction():
        template = await _locked(actor, "template.update", template_id)
        position = await _fields_in_order(template.id).count()
        with within("field"):
            _require_room(position + 1, MOST_FIELDS, "fields in a template")
            await _add_field(template, field, position)
        return await _changed(actor, template)


async def update_field(
    actor: Actor, field_id: str, changes: FieldChanges, expected_version: int | None = None
) -> Template:
    """Raises NotFound, Forbidden, Invalid; Conflict for a name that is taken, or another's edit in between."""
    with refusing_duplicates(FIELD_TAKEN, ["name"]):
        async with in_transaction():
            template, field = await _locked_field(actor, field_id)
            require_version(field.version, expected_version, "information field")
            columns = await _field_columns(template.project_id, changes)
            field.update_from_dict({**columns, "version": field.version + 1})
            if "position" in changes:
                await _move(_fields_in_order(template.id), field, _given(changes["position"], "position"))
            await field.save()
            return await _changed(actor, template)


async def delete_field(actor: Actor, field_id: str) -> Template:
    """Raises NotFound, Forbidden."""
    async with in_transaction():
        template, field = await _locked_field(actor, field_id)
        field.deleted_at = clock.now()
        await field.save(update_fields=["deleted_at"])
        await _close_gap(_fields_in_order(template.id), field)
        return await _changed(actor, template)


async def _changed(actor: Actor, template: Template) -> Template:
    template.version += 1
    await template.save()
    await events.append(actor, "template.updated", template.id, project_id=template.project_id)
    return template


async def _add_fields(template: Template, fields: Sequence[NewField]) -> None:
    _require_room(len(fields), MOST_FIELDS, "fields in a template", "fields")
    for index, field in enumerate(fields):
        with within("fields", str(index)):
            await _add_field(template, field, index)


async def _add_field(template: Template, field: NewField, position: int) -> None:
    changes: FieldChanges = {"name": field.name, "description": field.description, "value": field.value}
    columns = await _field_columns(template.project_id, changes)
    with refusing_duplicates(FIELD_TAKEN, ["name"]):
        await TemplateField.create(template=template, position=position, **columns)


# Looking at what is asked


async def _locked(actor: Actor, action: str, template_id: str, missing: NotFound | None = None) -> Template:
    """The template as it and the order stand until the transaction ends, for one who may act so on it."""
    require_caller(actor, action)
    missing = missing or NotFound(UNKNOWN, ["templateId"])
    template = await Template.get_or_none(id=template_id)
    if template:
        await _lock_order(template.project_id)
        template = await Template.filter(id=template_id, deleted_at=None).select_for_update().first()
    if template is None:
        raise missing
    await require(actor, action, template.project_id, missing)
    return template


async def _locked_field(actor: Actor, field_id: str) -> tuple[Template, TemplateField]:
    """A field, and its template, as they stand until the transaction ends, for one who may change them."""
    require_caller(actor, "template.update")
    missing = NotFound(UNKNOWN_FIELD, ["fieldId"])
    found = await TemplateField.get_or_none(id=field_id)
    if found is None:
        raise missing
    template = await _locked(actor, "template.update", found.template_id, missing)
    field = await TemplateField.get_or_none(id=field_id, deleted_at=None)
    if field is None:
        raise missing
    return template, field


async def _columns(project_id: str, changes: TemplateChanges) -> dict[str, Any]:
    columns: dict[str, Any] = named(checked_name(changes["name"])) if "name" in changes else {}
    if "description" in changes:
        columns["description"] = checked_text(changes["description"], "description")
    if "role_id" in changes:
        columns["role_id"] = await _checked_role(project_id, _given(changes["role_id"], "roleId"))
    if "price_per_request" in changes:
        price = _given(changes["price_per_request"], "pricePerRequest")
        columns["price_per_request"] = checked_price(price, ["pricePerRequest"])
    return columns


async def _checked_role(project_id: str, role_id: str) -> str:
    """The role's id; it is locked, so that it isn't deleted while it is being put to use."""
    living = Role.filter(id=role_id, project_id=project_id, deleted_at=None)
    if await living.select_for_update(no_key=True).first() is None:
        raise NotFound("There is no such role in the project.", ["roleId"])
    if not await requests.may_view_project(role_id, project_id):
        raise Invalid("A key with this role could not see the project: give it PROJECT_VIEW.", ["roleId"])
    return role_id


async def _field_columns(project_id: str, changes: FieldChanges) -> dict[str, Any]:
    columns: dict[str, Any] = {"name": checked_name(changes["name"])} if "name" in changes else {}
    if "description" in changes:
        columns["description"] = checked_text(changes["description"], "description")
    if "value" in changes:
        with within("value"):
            columns |= await _value_columns(project_id, _given(changes["value"]))
    return columns


async def _value_columns(project_id: str, value: FieldValue) -> dict[str, Any]:
    if value.is_project_id:
        return {"value": project_id, "node": None}
    if value.node_id is None:
        return {"value": checked_text(value.literal, "literal"), "node": None}
    node = await ProjectNode.get_or_none(id=value.node_id, project_id=project_id, deleted_at=None)
    if node is None:
        raise NotFound("There is no such node in the project.", ["nodeId"])
    return {"value": node.upstream_id, "node": node}


def _given(value: Given | None, *path: str) -> Given:
    if value is None:
        raise Invalid("This can't be null; leave it out for it to stay as it is.", path)
    return value


def _require_room(wanted: int, most: int, what: str, *path: str) -> None:
    if wanted > most:
        raise LimitExceeded(f"There can be at most {most} {what}.", path)


# Order: positions among the living are 0, 1, 2 and so on, of a project's templates and of a template's fields


async def _lock_order(project_id: str) -> None:
    """Until the transaction ends nobody else adds, moves or deletes a template or a field of the project."""
    await Project.filter(id=project_id).select_for_update(no_key=True).first()


def _in_order(project_id: str) -> QuerySet[Template]:
    return Template.filter(project_id=project_id, deleted_at=None)


def _fields_in_order(template_id: str) -> QuerySet[TemplateField]:
    return TemplateField.filter(template_id=template_id, deleted_at=None)


async def _move(rows: QuerySet[Row], row: Row, position: int) -> None:
    """Makes room for a row where it is wanted, and gives it that position; past the end is last."""
    if position < 0:
        raise Invalid("A position is 0 or more.", ["position"])
    position = min(position, await rows.count() - 1)
    await rows.filter(position__gt=row.position, position__lte=position).update(position=F("position") - 1)
    await rows.filter(position__gte=position, position__lt=row.position).update(position=F("position") + 1)
    row.position = position


async def _close_gap(rows: QuerySet[Row], gone: Row) -> None:
    await rows.filter(position__gt=gone.position).update(position=F("position") - 1)
