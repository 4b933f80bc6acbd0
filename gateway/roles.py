"""Roles: what each permits on its project and on single nodes, and what a call under it costs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict, TypeVar

from tortoise.expressions import Q
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from gateway import clock, events
from gateway.database import refusing_duplicates
from gateway.errors import Conflict, Invalid, NotFound, require_version
from gateway.names import checked_name, checked_text
from gateway.permissions import ON_NODES, PUBLIC, Actor, Permission, projects_seen, require, require_caller, seen_of
from gateway.prepared import Columns, found_by_id, narrowed, narrows, prepared, prepared_values, shown
from gateway.pricing import checked_coefficient
from models import Grant, IssuedKey, KeyState, MemberRole, ProjectNode, Role, Template
from models.fields import named

TAKEN = "The project has a role of this name."
UNKNOWN = "There is no such role."
OF_GRANTS = ("id", "role_id", "permission", "node_id", "role__id", "role__project_id")

Given = TypeVar("Given")
Grantable = tuple[str | None, Permission]
"""A permission, on the node of an id or, without one, on the project."""


class OnNode(NamedTuple):
    """What a role shall permit on one node, as it is asked for."""

    node_id: str
    permissions: Sequence[Permission]


class RoleChanges(TypedDict, total=False):
    """What an update changes. None clears the description and the permissions on nodes, and is invalid elsewhere."""

    name: str | None
    description: str | None
    cost_coefficient: Decimal | None
    is_public: bool | None
    permissions: Sequence[Permission] | None
    node_permissions: Sequence[OnNode] | None


@dataclass(frozen=True)
class NodePermissions:
    node: ProjectNode
    permissions: list[Permission]


@dataclass(frozen=True)
class Granted:
    """What a role permits: on the whole project, and on living nodes; in the order of the permissions."""

    permissions: list[Permission] = field(default_factory=list)
    node_permissions: list[NodePermissions] = field(default_factory=list)


# Who sees which


async def visible(actor: Actor, role_ids: Sequence[str]) -> dict[str, Role]:
    seen = Role.filter(id__in=role_ids, deleted_at=None, project_id__in=projects_seen(actor))
    return {role.id: role for role in await seen}


@narrows(Role)
async def by_id(_: Actor, role_ids: Sequence[str], *, columns: Columns = None) -> dict[str, Role]:
    return await found_by_id(Role, role_ids, columns)


@narrows(Role)
async def by_project(actor: Actor, project_ids: Sequence[str], *, columns: Columns = None) -> dict[str, list[Role]]:
    """The roles of each project, the oldest, which is the owner's, first; none of a project that may not be seen."""
    roles: dict[str, list[Role]] = {project_id: [] for project_id in project_ids}
    for role in await _of_projects(list(await seen_of(actor, project_ids)), columns):
        roles[role.project_id].append(role)
    return roles


@shown
def _of_projects(project_ids: list[str], columns: Columns) -> QuerySet[Role]:
    living = Role.filter(project_id__in=project_ids, deleted_at=None)
    return narrowed(living, columns, "id", "project_id").order_by("id")


async def granted(actor: Actor, role_ids: Sequence[str]) -> dict[str, Granted]:
    """What each role permits; nothing to one who neither sees its project nor holds a key with it."""
    permissions: dict[str, set[str]] = defaultdict(set)
    on_nodes: dict[str, dict[ProjectNode, set[str]]] = defaultdict(lambda: defaultdict(set))
    for grant in await _shown_to(actor, await _grants(list(role_ids))):
        if grant.node is None:
            permissions[grant.role_id].add(grant.permission)
        elif grant.node.deleted_at is None:
            on_nodes[grant.role_id][grant.node].add(grant.permission)
    return {
        id: Granted(
            _in_order(permissions[id]), [NodePermissions(node, _in_order(held)) for node, held in on_nodes[id].items()]
        )
        for id in role_ids
    }


@prepared
def _grants(role_ids: list[str]) -> QuerySet[Grant]:
    of_nodes = [f"node__{column}" for column in ProjectNode._meta.fields_db_projection]
    shown = Grant.filter(role_id__in=role_ids).only(*OF_GRANTS, *of_nodes)
    return shown.order_by("node_id")


async def _shown_to(actor: Actor, grants: Sequence[Grant]) -> list[Grant]:
    seen = await seen_of(actor, {grant.role.project_id for grant in grants})
    hidden = {grant.role_id for grant in grants if grant.role.project_id not in seen}
    held = {row[0] for row in await _held(actor.user_id, list(hidden))} if hidden and actor.user_id else set()
    return [grant for grant in grants if grant.role_id not in hidden or grant.role_id in held]


@prepared_values
def _held(user_id: str, role_ids: list[str]) -> Any:
    held = IssuedKey.filter(user_id=user_id, role_id__in=role_ids, state__in=(KeyState.ACTIVE, KeyState.SUSPENDED))
    return held.distinct().values_list("role_id")


def _in_order(permissions: Iterable[str]) -> list[Permission]:
    held = set(permissions)
    return [permission for permission in Permission if permission in held]


# Changing


async def create(
    actor: Actor,
    project_id: str,
    *,
    name: str,
    permissions: Sequence[Permission],
    description: str | None = None,
    cost_coefficient: Decimal | None = None,
    is_public: bool | None = None,
    node_permissions: Sequence[OnNode] | None = None,
) -> Role:
    """A new role. Raises NotFound, Forbidden, Invalid, Conflict."""
    changes: RoleChanges = {
        "name": name,
        "description": description,
        "cost_coefficient": Decimal(1) if cost_coefficient is None else cost_coefficient,
        "is_public": bool(is_public),
        "permissions": permissions,
        "node_permissions": node_permissions,
    }
    with refusing_duplicates(TAKEN, ["name"]):
        async with in_transaction():
            await require(actor, "role.create", project_id)
            role = Role(project_id=project_id, **_columns(changes))
            await role.save()
            await _grant(role, changes)
            await events.append(actor, "role.created", role.id, project_id=project_id)
    return role


async def update(actor: Actor, role_id: str, changes: RoleChanges, expected_version: int | None = None) -> Role:
    """Raises NotFound, Forbidden, Invalid; Conflict for the owner role, and where the version is another."""
    with refusing_duplicates(TAKEN, ["name"]):
        async with in_transaction():
            role = await _locked(actor, "role.update", role_id)
            require_version(role.version, expected_version, "role")
            await role.update_from_dict({**_columns(changes), "version": role.version + 1}).save()
            await _grant(role, changes)
            await events.append(actor, "role.updated", role.id, project_id=role.project_id)
    return role


async def delete(actor: Actor, role_id: str) -> str:
    """Hides the role and takes it off its members; its id. Raises NotFound, Forbidden, Conflict while it is in use."""
    async with in_transaction():
        role = await _locked(actor, "role.delete", role_id)
        await _require_unused(role)
        losing = await MemberRole.filter(role_id=role.id).order_by("member_id").select_related("member")
        await MemberRole.filter(role_id=role.id).delete()
        role.deleted_at = clock.now()
        await role.save(update_fields=["deleted_at"])
        await events.append(actor, "role.deleted", role.id, project_id=role.project_id)
        for member in (each.member for each in losing):
            await events.append(actor, "member.updated", member.id, project_id=role.project_id, user_id=member.user_id)
    return role.id


async def _locked(actor: Actor, action: str, role_id: str) -> Role:
    """The role as it stands until the transaction ends, for one who may act so on it."""
    require_caller(actor, action)
    missing = NotFound(UNKNOWN, ["roleId"])
    role = await Role.filter(id=role_id, deleted_at=None).select_for_update().first()
    if role is None:
        raise missing
    await require(actor, action, role.project_id, missing)
    if role.is_owner:
        raise Conflict("The owner role can be neither changed nor deleted.", ["roleId"])
    return role


async def _require_unused(role: Role) -> None:
    if await Template.exists(role_id=role.id, deleted_at=None):
        raise Conflict("An API key template uses this role.", ["roleId"])
    living = IssuedKey.filter(role_id=role.id, state__in=(KeyState.ACTIVE, KeyState.SUSPENDED))
    if await living.filter(Q(expires_at=None) | Q(expires_at__gt=clock.now())).exists():
        raise Conflict("An issued key that has not ended uses this role.", ["roleId"])


def _columns(changes: RoleChanges) -> dict[str, Any]:
    columns: dict[str, Any] = named(checked_name(changes["name"])) if "name" in changes else {}
    if "description" in changes:
        columns["description"] = checked_text(changes["description"], "description")
    if "cost_coefficient" in changes:
        coefficient = _given(changes["cost_coefficient"], "costCoefficient")
        columns["cost_coefficient"] = checked_coefficient(coefficient, ["costCoefficient"])
    if "is_public" in changes:
        columns["is_public"] = _given(changes["is_public"], "isPublic")
    return columns


def _given(value: Given | None, member: str) -> Given:
    if value is None:
        raise Invalid("This can't be null; leave it out for it to stay as it is.", [member])
    return value


# What a role permits


async def _grant(role: Role, changes: RoleChanges) -> None:
    """Replaces the role's permissions on the project, and those on nodes, as far as the changes name them."""
    if "permissions" in changes:
        held = _checked_permissions(role, _given(changes["permissions"], "permissions"))
        await _replace(role, Q(node_id=None), {(None, permission) for permission in held})
    if "node_permissions" in changes:
        held_on_nodes = await _checked_on_nodes(role, changes["node_permissions"] or ())
        await _replace(role, ~Q(node_id=None), held_on_nodes)
    if role.is_public:
        await _require_fit_for_everyone(role)


def _checked_permissions(role: Role, permissions: Sequence[Permission]) -> set[Permission]:
    for index, permission in enumerate(permissions):
        _require_public(role, permission, ["permissions", str(index)])
    return set(permissions)


async def _checked_on_nodes(role: Role, on_nodes: Sequence[OnNode]) -> set[Grantable]:
    living = ProjectNode.filter(project_id=role.project_id, deleted_at=None)
    known = {node.id for node in await living.filter(id__in=[each.node_id for each in on_nodes])}
    held: set[Grantable] = set()
    for index, each in enumerate(on_nodes):
        path = ["nodePermissions", str(index)]
        if each.node_id not in known:
            raise NotFound("The project has no such node.", [*path, "projectNodeId"])
        _check_on_node(role, each.permissions, [*path, "permissions"])
        held |= {(each.node_id, permission) for permission in each.permissions}
    return held


def _check_on_node(role: Role, permissions: Sequence[Permission], path: list[str]) -> None:
    for index, permission in enumerate(permissions):
        if permission not in ON_NODES:
            raise Invalid(f"{permission.name} holds for a project, not for a node.", [*path, str(index)])
        _require_public(role, permission, [*path, str(index)])


def _require_public(role: Role, permission: Permission, path: list[str]) -> None:
    if role.is_public and permission not in PUBLIC:
        raise Invalid(f"A public role can't hold {permission.name}: everyone would.", path)


async def _require_fit_for_everyone(role: Role) -> None:
    """Of a role that becomes public: what it held before must be fit for it too."""
    living = Grant.filter(role_id=role.id).filter(Q(node_id=None) | Q(node__deleted_at=None))
    unfit = await living.exclude(permission__in=[permission.value for permission in PUBLIC]).first()
    if unfit:
        raise Invalid(f"The role holds {unfit.permission.upper()}, which a public role can't.", ["isPublic"])


async def _replace(role: Role, which: Q, granted: set[Grantable]) -> None:
    await Grant.filter(which, role_id=role.id).delete()
    await Grant.bulk_create(
        [Grant(role=role, node_id=node_id, permission=permission.value) for node_id, permission in granted]
    )
