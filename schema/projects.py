"""Projects and their nodes."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

import models
from gateway import pages, projects, roles, routes, templates
from gateway.permissions import Permission
from schema.audit import AuditEntry, audit_of_project
from schema.connections import Connection
from schema.context import Info
from schema.declare import (
    argument,
    changes,
    described,
    given,
    input_type,
    node_type,
    object_type,
    optional,
    reading,
    resolved,
    selects,
)
from schema.keys import IssuedKey, issued_keys_of_project
from schema.members import Member, members_of_project
from schema.mutations import REPEATABLE, USER_ERRORS, DeletePayload, UserError, mutation, settle, still_gone
from schema.nodes import Node
from schema.requests import KeyRequest, requests_of_project
from schema.roles import Role
from schema.secrets import Secret, secrets_of_project
from schema.usage import UsageReport, usage_of_project
from schema.users import AFTER, FIRST

if TYPE_CHECKING:
    from schema.routes import RouteRule
    from schema.templates import KeyTemplate

NODES_ON_A_PAGE = 100
SEARCH = argument("Text in the name, without regard to case.")


@node_type(models.ProjectNode, "An addressable part of the project's graph.")
class ProjectNode(Node):
    name: str = described("How the node is called; unique in its project.")
    upstream_id: str = described(
        "The node's id as it stands in the upstream's paths; unique in the project; this object's own id unless given."
    )
    version: int = described("Grows with each change.")
    deleted_at: datetime | None = described("When the node was deleted; null while it lives.")


@reading("id", "upstream_url")
async def upstream_url_of(root: strawberry.Parent[models.Project], info: Info) -> str | None:
    return root.upstream_url if await info.context.may(Permission.PROJECT_MANAGE, root.id) else None


@reading("id")
async def viewer_permissions_on(root: strawberry.Parent[models.Project], info: Info) -> list[Permission]:
    rights = await info.context.rights(root.id)
    return [permission for permission in Permission if rights.allow(permission)]


@reading("id")
async def roles_of(root: strawberry.Parent[models.Project], info: Info) -> list[models.Role]:
    found = await info.context.load(roles.by_project, root.id) or []
    info.context.keep(roles.by_id, found)
    return found


@reading("id")
async def nodes_of(
    root: strawberry.Parent[models.Project],
    info: Info,
    search: Annotated[str | None, SEARCH] = strawberry.UNSET,
    first: Annotated[int | None, FIRST] = NODES_ON_A_PAGE,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
) -> pages.Page[models.ProjectNode] | None:
    part = pages.Slice(NODES_ON_A_PAGE if first is None else first, given(after))
    sealer = info.context.services.sealer
    return await info.context.load(projects.pages_of_nodes, root.id, given(search) or "", part, sealer)


@reading("id")
async def templates_of(root: strawberry.Parent[models.Project], info: Info) -> list[models.Template]:
    found = await info.context.load(templates.by_project, root.id) or []
    info.context.keep(templates.by_id, found)
    return found


@reading("id")
async def route_rules_of(root: strawberry.Parent[models.Project], info: Info) -> list[models.RouteRule] | None:
    return await info.context.load(routes.by_project, root.id)


@node_type(models.Project, "A service that its owner offers to others.")
class Project(Node):
    name: str = described("How the project is called.")
    description: str = described("What it offers.")
    currency: str = described("Currency of every price and cost of this project, of ISO 4217.")
    upstream_url: str | None = resolved(
        upstream_url_of, "Base URL of the service behind the gateway. Null without PROJECT_MANAGE."
    )
    route_rules: list[Annotated["RouteRule", strawberry.lazy("schema.routes")]] | None = resolved(
        route_rules_of,
        "Which permission calls need, where the project's API is another than the default: the first rule that matches "
        "decides, and the default table follows. Needs PROJECT_MANAGE, in person.",
    )
    created_at: datetime = described("When it was created.")
    deleted_at: datetime | None = described("When it was deleted; null while it lives.")
    version: int = described("Grows with each change of what stands here, and of the route rules.")
    viewer_permissions: list[Permission] = resolved(
        viewer_permissions_on, "What the viewer may do on the project as a whole."
    )
    roles: list[Role] = resolved(roles_of, "Its roles, the oldest first.")
    project_nodes: Connection[ProjectNode] = resolved(nodes_of, "Its nodes, the newest first.")
    templates: list[Annotated["KeyTemplate", strawberry.lazy("schema.templates")]] = resolved(
        templates_of,
        "Template tiles, in the order in which the owner put them. Anyone who sees the project sees them.",
    )
    requests: Connection[KeyRequest] | None = resolved(
        requests_of_project, "Requests for its keys, the oldest first. Needs KEYS_VIEW."
    )
    issued_keys: Connection[IssuedKey] | None = resolved(
        issued_keys_of_project, "Keys that were issued for it. Needs KEYS_VIEW."
    )
    usage: UsageReport | None = resolved(
        usage_of_project, "Totals of the project's keys over a period. Needs KEYS_VIEW."
    )
    secrets: list[Secret] | None = resolved(secrets_of_project, "Its secrets. Needs PROJECT_MANAGE.")
    members: Connection[Member] | None = resolved(
        members_of_project, "Who belongs to it, the newest first. Needs PROJECT_MANAGE."
    )
    audit_entries: Connection[AuditEntry] | None = resolved(
        audit_of_project,
        "What was done on it and what secrets were read, the newest first. Needs PROJECT_MANAGE, in person.",
    )


@reading()
async def project(info: Info, id: Annotated[strawberry.ID, argument("The project's id.")]) -> models.Project | None:
    if selects(info, "templates"):
        info.context.foresee(templates.by_project, str(id))
    found = await info.context.load(projects.visible, str(id))
    info.context.keep(projects.by_id, [found] if found else [])
    return found


@reading()
async def list_projects(
    info: Info,
    first: Annotated[int | None, FIRST] = pages.DEFAULT,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
    search: Annotated[str | None, SEARCH] = strawberry.UNSET,
) -> pages.Page[models.Project]:
    listing = projects.listing(info.context.actor, given(search) or "", info.context.services.sealer)
    page = await pages.one(listing, pages.Slice(first, given(after)))
    info.context.keep(projects.by_id, page.rows)
    return page


@object_type("Reading projects.")
class ProjectQueries:
    project: Project | None = resolved(
        project, "A project by its id; null when it does not exist or the viewer may not see it."
    )
    projects: Connection[Project] = resolved(list_projects, "Projects that the viewer may see, the newest first.")


UPSTREAM = "Base URL of the service behind the gateway: http or https, a host, and where needed a port and a path."


@input_type("A new project.")
class ProjectCreateInput:
    name: str = described("1 to 100 characters.")
    description: str | None = optional("What it offers.")
    currency: str | None = optional("A code of ISO 4217; USD if absent. It stays for good.")
    upstream_url: str | None = optional(UPSTREAM)
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A change of a project; what is absent stays as it is.")
class ProjectUpdateInput:
    project_id: strawberry.ID = described("The project.")
    name: str | None = optional("1 to 100 characters. Needs PROJECT_EDIT.")
    description: str | None = optional("What it offers; null clears it. Needs PROJECT_EDIT.")
    upstream_url: str | None = optional(f"{UPSTREAM} Null clears it. Needs PROJECT_MANAGE.")
    expected_version: int | None = optional("The version that the change is of; another's edit since is a CONFLICT.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A project to delete.")
class ProjectDeleteInput:
    project_id: strawberry.ID = described("The project.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A new node of a project.")
class ProjectNodeCreateInput:
    project_id: strawberry.ID = described("The project to add it to.")
    name: str = described("1 to 100 characters, unique in the project.")
    upstream_id: str | None = optional(
        "Its id in the upstream's paths: 1 to 200 Latin letters, digits, dots, underscores, tildes and hyphens; unique "
        "in the project; the node's own id if absent."
    )
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A change of a node; what is absent stays as it is.")
class ProjectNodeUpdateInput:
    project_node_id: strawberry.ID = described("The node.")
    name: str | None = optional("1 to 100 characters, unique in the project.")
    expected_version: int | None = optional("The version that the change is of; another's edit since is a CONFLICT.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A node to delete.")
class ProjectNodeDeleteInput:
    project_node_id: strawberry.ID = described("The node.")
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("A project, or why nothing was done with it.")
class ProjectPayload:
    project: Project | None = described("The project as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


@object_type("A node, or why nothing was done with it.")
class ProjectNodePayload:
    project_node: ProjectNode | None = described("The node as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


async def project_create(
    info: Info, input: Annotated[ProjectCreateInput, argument("The new project.")]
) -> ProjectPayload:
    async def act() -> models.Project:
        return await projects.create(
            info.context.actor,
            name=input.name,
            description=given(input.description),
            currency=given(input.currency),
            upstream_url=given(input.upstream_url),
        )

    return await settle(info, input, ProjectPayload, "project", act)


async def project_update(info: Info, input: Annotated[ProjectUpdateInput, argument("The change.")]) -> ProjectPayload:
    async def act() -> models.Project:
        named: Any = changes(input, "name", "description", "upstream_url")
        return await projects.update(info.context.actor, input.project_id, named, given(input.expected_version))

    return await settle(info, input, ProjectPayload, "project", act)


async def project_delete(info: Info, input: Annotated[ProjectDeleteInput, argument("The project.")]) -> DeletePayload:
    async def act() -> str:
        return await projects.delete(info.context.actor, input.project_id)

    return await settle(info, input, DeletePayload, "deleted_id", act, still_gone)


async def project_node_create(
    info: Info, input: Annotated[ProjectNodeCreateInput, argument("The new node.")]
) -> ProjectNodePayload:
    async def act() -> models.ProjectNode:
        return await projects.create_node(
            info.context.actor, input.project_id, name=input.name, upstream_id=given(input.upstream_id)
        )

    return await settle(info, input, ProjectNodePayload, "project_node", act)


async def project_node_update(
    info: Info, input: Annotated[ProjectNodeUpdateInput, argument("The change.")]
) -> ProjectNodePayload:
    async def act() -> models.ProjectNode:
        named: Any = changes(input, "name")
        expected = given(input.expected_version)
        return await projects.update_node(info.context.actor, input.project_node_id, named, expected)

    return await settle(info, input, ProjectNodePayload, "project_node", act)


async def project_node_delete(
    info: Info, input: Annotated[ProjectNodeDeleteInput, argument("The node.")]
) -> DeletePayload:
    async def act() -> str:
        return await projects.delete_node(info.context.actor, input.project_node_id)

    return await settle(info, input, DeletePayload, "deleted_id", act, still_gone)


@object_type("Changing projects and their nodes.")
class ProjectMutations:
    project_create: ProjectPayload = mutation(
        project_create, "Creates a project, and its owner role with all permissions, held by its creator."
    )
    project_update: ProjectPayload = mutation(project_update, "Changes a project's properties.")
    project_delete: DeletePayload = mutation(
        project_delete,
        "Deletes a project, cancels its pending requests and revokes its keys; usage that was counted is kept. "
        "Needs PROJECT_MANAGE.",
    )
    project_node_create: ProjectNodePayload = mutation(
        project_node_create, "Tells the gateway of a node of the project's graph. Needs GRAPH_EDIT."
    )
    project_node_update: ProjectNodePayload = mutation(project_node_update, "Renames a node. Needs GRAPH_EDIT.")
    project_node_delete: DeletePayload = mutation(
        project_node_delete, "Deletes a node, and with it what roles permit on it. Needs GRAPH_EDIT."
    )
