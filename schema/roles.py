"""Roles, and what they permit."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

import models
from gateway import roles
from gateway.permissions import Permission
from gateway.roles import OnNode
from schema.context import Info
from schema.declare import (
    argument,
    attribute,
    changes,
    described,
    enum,
    given,
    input_type,
    node_type,
    object_type,
    optional,
    reading,
    resolved,
    together,
)
from schema.mutations import REPEATABLE, USER_ERRORS, DeletePayload, UserError, mutation, settle, still_gone
from schema.nodes import Node

if TYPE_CHECKING:
    from schema.projects import ProjectNode

enum(
    Permission,
    "What may be done on a project, or on one of its nodes.",
    PROJECT_VIEW="See the project.",
    PROJECT_EDIT="Change the project's properties.",
    PROJECT_MANAGE="Manage roles, members, secrets and API keys; it includes every other permission of the project.",
    GRAPH_VIEW="See the project's graph.",
    GRAPH_EDIT="Change the project's graph.",
    CODE_VIEW="See the code, of the project or of a node.",
    CODE_EDIT="Change the code, of the project or of a node.",
    INTERFACE_MANAGE="Manage the project's interface.",
    PACKAGE_VIEW="See data packages, of the project or of a node.",
    PACKAGE_CREATE="Create data packages, on the project or on a node.",
    PACKAGE_DELETE="Delete data packages, of the project or of a node.",
    KEYS_VIEW="See requests, issued keys, usage and their events; change nothing, read no secret and no e-mail: for "
    "analysts and integrations.",
)


async def granted_to(rows: Sequence[models.Role], info: Info) -> list[roles.Granted]:
    found = await info.context.load_all(roles.granted, [row.id for row in rows])
    return [granted or roles.Granted() for granted in found]


@reading("id")
async def permissions_of(rows: Sequence[models.Role], info: Info) -> list[list[Permission]]:
    return [granted.permissions for granted in await granted_to(rows, info)]


@reading("id")
async def node_permissions_of(rows: Sequence[models.Role], info: Info) -> list[list[roles.NodePermissions]]:
    return [granted.node_permissions for granted in await granted_to(rows, info)]


@object_type("What a role permits on one node.")
class NodePermissions:
    project_node: Annotated["ProjectNode", strawberry.lazy("schema.projects")] = resolved(
        attribute("node"), "The node."
    )
    permissions: list[Permission] = described("What the role permits on it, besides what it permits on the project.")


@node_type(
    models.Role, "A named set of permissions on a project, with the factor that prices are multiplied by under it."
)
class Role(Node):
    name: str = described("How the role is called; unique in its project.")
    description: str = described("What the role is for.")
    cost_coefficient: Decimal = described("Multiplies the price of each call made under this role.")
    is_public: bool = described("Whether everyone holds it, signed in or not.")
    permissions: list[Permission] = resolved(
        together(permissions_of), "What it permits on the project, and so on every node."
    )
    node_permissions: list[NodePermissions] = resolved(
        together(node_permissions_of), "What it permits on single nodes besides."
    )
    version: int = described("Grows with each change.")
    deleted_at: datetime | None = described("When the role was deleted; null while it lives.")


@input_type("What a role shall permit on one node.")
class NodePermissionsInput:
    project_node_id: strawberry.ID = described("A node of the project.")
    permissions: list[Permission] = described("CODE_* and PACKAGE_* permissions.")


@input_type("A new role.")
class RoleCreateInput:
    project_id: strawberry.ID = described("The project to add it to.")
    name: str = described("1 to 100 characters, unique in the project.")
    description: str | None = optional("What the role is for.")
    cost_coefficient: Decimal | None = optional("0 to 9999.9999, at most 4 decimals; 1 if absent.")
    is_public: bool | None = optional(
        "Whether everyone holds it; it may then hold *_VIEW permissions other than KEYS_VIEW alone. False if absent."
    )
    permissions: list[Permission] = described("What it permits on the project.")
    node_permissions: list[NodePermissionsInput] | None = optional("What it permits on single nodes besides.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A change of a role; what is absent stays as it is.")
class RoleUpdateInput:
    role_id: strawberry.ID = described("The role, other than the owner's.")
    name: str | None = optional("1 to 100 characters, unique in the project.")
    description: str | None = optional("What the role is for; null clears it.")
    cost_coefficient: Decimal | None = optional("0 to 9999.9999, at most 4 decimals.")
    is_public: bool | None = optional("Whether everyone holds it.")
    permissions: list[Permission] | None = optional("What it permits on the project, instead of what it did.")
    node_permissions: list[NodePermissionsInput] | None = optional(
        "What it permits on single nodes, instead of what it did; null clears it."
    )
    expected_version: int | None = optional("The version that was read; another's edit since is then a CONFLICT.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A role to delete.")
class RoleDeleteInput:
    role_id: strawberry.ID = described("The role, other than the owner's.")
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("A role, or why nothing was done with it.")
class RolePayload:
    role: Role | None = described("The role as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


def on_nodes(asked: Sequence[NodePermissionsInput] | None) -> list[OnNode] | None:
    return None if asked is None else [OnNode(each.project_node_id, each.permissions) for each in asked]


async def role_create(info: Info, input: Annotated[RoleCreateInput, argument("The new role.")]) -> RolePayload:
    async def act() -> models.Role:
        return await roles.create(
            info.context.actor,
            input.project_id,
            name=input.name,
            permissions=input.permissions,
            description=given(input.description),
            cost_coefficient=given(input.cost_coefficient),
            is_public=given(input.is_public),
            node_permissions=on_nodes(given(input.node_permissions)),
        )

    return await settle(info, input, RolePayload, "role", act)


async def role_update(info: Info, input: Annotated[RoleUpdateInput, argument("The change.")]) -> RolePayload:
    async def act() -> models.Role:
        named: Any = changes(
            input, "name", "description", "cost_coefficient", "is_public", "permissions", "node_permissions"
        )
        if "node_permissions" in named:
            named["node_permissions"] = on_nodes(named["node_permissions"])
        return await roles.update(info.context.actor, input.role_id, named, given(input.expected_version))

    return await settle(info, input, RolePayload, "role", act)


async def role_delete(info: Info, input: Annotated[RoleDeleteInput, argument("The role.")]) -> DeletePayload:
    async def act() -> str:
        return await roles.delete(info.context.actor, input.role_id)

    return await settle(info, input, DeletePayload, "deleted_id", act, still_gone)


@object_type("Changing roles.")
class RoleMutations:
    role_create: RolePayload = mutation(role_create, "Adds a role to a project. Needs PROJECT_MANAGE, in person.")
    role_update: RolePayload = mutation(
        role_update, "Changes a role; its members and keys have what it permits at once."
    )
    role_delete: DeletePayload = mutation(
        role_delete,
        "Deletes a role and takes it off its members. A CONFLICT while a template or a key that has not ended uses it. "
        "The owner role can be neither changed nor deleted.",
    )
