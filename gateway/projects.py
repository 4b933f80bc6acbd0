"""Projects, and the nodes of their graphs that the gateway knows."""

import re
from collections.abc import Sequence
from typing import Any, TypedDict

from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from gateway import clock, events, keys, requests
from gateway.currencies import checked_currency
from gateway.database import refusing_duplicates
from gateway.errors import Conflict, Invalid, NotFound, require_version
from gateway.names import checked_name, checked_text, sought
from gateway.pages import Listing, Page, Slice, of_each
from gateway.permissions import EVERYTHING, Actor, projects_seen, require, require_caller, seen_of
from gateway.prepared import Columns, found_by_id, narrowed, narrows, shown
from gateway.sealing import Sealer
from gateway.upstreams import checked_upstream_url
from models import Grant, IssuedKey, KeyRequest, Member, MemberRole, Project, ProjectNode, RequestState, Role, Template
from models.fields import named
from models.ids import new_id

DEFAULT_CURRENCY = "USD"
UNKNOWN = "There is no such project."
UNKNOWN_NODE = "There is no such node."
NODE_TAKEN = "The project has a node of this name."
NEWEST_FIRST = ("-id",)
ONE_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,200}")


class ProjectChanges(TypedDict, total=False):
    """What an update changes. None clears the description and the upstream's address, and is invalid for the name."""

    name: str | None
    description: str | None
    upstream_url: str | None


class NodeChanges(TypedDict, total=False):
    """What an update of a node changes; its id in the upstream's paths stays for good."""

    name: str | None


# Who sees which


def visible_to(actor: Actor) -> QuerySet[Project]:
    """The living projects that the actor may see; to a key its own."""
    return Project.filter(deleted_at=None, id__in=projects_seen(actor))


@narrows(Project)
async def visible(actor: Actor, project_ids: Sequence[str], *, columns: Columns = None) -> dict[str, Project]:
    seen = await seen_of(actor, project_ids)
    return {project.id: project for project in await _living(list(seen), columns)} if seen else {}


@shown
def _living(project_ids: list[str], columns: Columns) -> QuerySet[Project]:
    return narrowed(Project.filter(id__in=project_ids, deleted_at=None), columns, "id")


@narrows(Project)
async def by_id(_: Actor, project_ids: Sequence[str], *, columns: Columns = None) -> dict[str, Project]:
    return await found_by_id(Project, project_ids, columns)


def listing(actor: Actor, search: str, sealer: Sealer) -> Listing[Project]:
    """The projects that the actor may see whose name holds the text, without regard to case; the newest first."""
    found = visible_to(actor).filter(name_folded__contains=sought(search))
    return Listing(lambda: found, NEWEST_FIRST, f"projects {search!r}", sealer)


async def visible_nodes(actor: Actor, node_ids: Sequence[str]) -> dict[str, ProjectNode]:
    seen = ProjectNode.filter(id__in=node_ids, deleted_at=None, project_id__in=projects_seen(actor))
    return {node.id: node for node in await seen}


async def pages_of_nodes(
    actor: Actor, project_ids: Sequence[str], search: str, part: Slice, sealer: Sealer
) -> dict[str, Page[ProjectNode]]:
    """The nodes of each project whose name holds the text, the newest first; none of a project that may not be seen."""
    seen = ProjectNode.filter(deleted_at=None, project_id__in=projects_seen(actor))
    found = seen.filter(name_folded__contains=sought(search))
    return await of_each(
        Listing(lambda: found, NEWEST_FIRST, f"nodes {search!r}", sealer), "project_id", project_ids, part
    )


# Projects


async def create(
    actor: Actor,
    *,
    name: str,
    description: str | None = None,
    currency: str | None = None,
    upstream_url: str | None = None,
) -> Project:
    """A new project, its owner role with every permission, and its creator in that role. Raises Invalid, Forbidden."""
    user = require_caller(actor, "project.create")
    columns = _columns({"name": name, "description": description, "upstream_url": upstream_url})
    project = Project(currency=checked_currency(DEFAULT_CURRENCY if currency is None else currency), **columns)
    async with in_transaction():
        await project.save()
        owner = await Role.create(project=project, is_owner=True, **named("owner"))
        await Grant.bulk_create([Grant(role=owner, permission=each.value) for each in sorted(EVERYTHING)])
        await MemberRole.create(member=await Member.create(project=project, user=user), role=owner)
        await events.append(actor, "project.created", project.id, project_id=project.id)
    return project


async def update(
    actor: Actor, project_id: str, changes: ProjectChanges, expected_version: int | None = None
) -> Project:
    """Changes the name and the description, or where the service stands.

    Raises NotFound, Forbidden, Invalid; Conflict where somebody else changed the project in between.
    """
    async with in_transaction():
        await require(actor, "project.set_upstream" if "upstream_url" in changes else "project.update", project_id)
        project = await locked(project_id)
        require_version(project.version, expected_version, "project")
        await project.update_from_dict({**_columns(changes), "version": project.version + 1}).save()
        await events.append(actor, "project.updated", project.id, project_id=project.id)
    return project


def _columns(changes: ProjectChanges) -> dict[str, Any]:
    columns: dict[str, Any] = named(checked_name(changes["name"])) if "name" in changes else {}
    if "description" in changes:
        columns["description"] = checked_text(changes["description"], "description")
    if "upstream_url" in changes:
        url = changes["upstream_url"]
        columns["upstream_url"] = None if url is None else checked_upstream_url(url)
    return columns


async def delete(actor: Actor, project_id: str) -> str:
    """Hides the project, cancels what was asked of it and revokes its keys; its id. Raises NotFound, Forbidden."""
    async with in_transaction():
        await require(actor, "project.delete", project_id)
        project = await locked(project_id)
        for template_id in await _lock_what_ends(project_id):
            await requests.cancel_pending(actor, template_id)
        await keys.revoke_all(actor, project_id)
        project.deleted_at = clock.now()
        await project.save(update_fields=["deleted_at"])
        await events.append(actor, "project.deleted", project_id, project_id=project_id)
    return project_id


async def locked(project_id: str) -> Project:
    """The project as it stands until the transaction ends; what refers to it can be added meanwhile."""
    project = await Project.filter(id=project_id, deleted_at=None).select_for_update(no_key=True).first()
    if project is None:
        raise NotFound(UNKNOWN, ["projectId"])
    return project


async def _lock_what_ends(project_id: str) -> list[str]:
    """Locks all that goes with a project, in everyone's order and before the first event; the templates' ids.

    The first event locks the log's head: who waits for a row only then, while its holder waits for the head, waits for
    ever.
    """
    templates = await Template.filter(project_id=project_id, deleted_at=None).order_by("id").select_for_update()
    await KeyRequest.filter(project_id=project_id, state=RequestState.PENDING).order_by("id").select_for_update()
    await keys.locking(IssuedKey.filter(project_id=project_id, state__in=keys.LIVING).order_by("id"))
    return [template.id for template in templates]


# Nodes


async def create_node(actor: Actor, project_id: str, *, name: str, upstream_id: str | None = None) -> ProjectNode:
    """A node; its id in the upstream's paths is its own unless given. Raises NotFound, Forbidden, Invalid, Conflict."""
    with refusing_duplicates(NODE_TAKEN, ["name"]):
        async with in_transaction():
            await require(actor, "node.create", project_id)
            id = new_id("nod")
            upstream_id = id if upstream_id is None else _checked_upstream_id(upstream_id)
            node = ProjectNode(id=id, project_id=project_id, upstream_id=upstream_id, **named(checked_name(name)))
            if await ProjectNode.exists(project_id=project_id, upstream_id=upstream_id, deleted_at=None):
                raise Conflict("The project has a node with this id in the upstream.", ["upstreamId"])
            await node.save()
            await events.append(actor, "node.created", node.id, project_id=project_id)
    return node


async def update_node(
    actor: Actor, node_id: str, changes: NodeChanges, expected_version: int | None = None
) -> ProjectNode:
    """Raises NotFound, Forbidden, Invalid; Conflict for a name that is taken, or another's edit in between."""
    with refusing_duplicates(NODE_TAKEN, ["name"]):
        async with in_transaction():
            node = await _locked_node(actor, "node.update", node_id)
            require_version(node.version, expected_version, "node")
            columns = named(checked_name(changes["name"])) if "name" in changes else {}
            await node.update_from_dict({**columns, "version": node.version + 1}).save()
            await events.append(actor, "node.updated", node.id, project_id=node.project_id)
    return node


async def delete_node(actor: Actor, node_id: str) -> str:
    """Hides the node; what roles permit on it ends to count. Its id. Raises NotFound, Forbidden."""
    async with in_transaction():
        node = await _locked_node(actor, "node.delete", node_id)
        node.deleted_at = clock.now()
        await node.save(update_fields=["deleted_at"])
        await events.append(actor, "node.deleted", node.id, project_id=node.project_id)
    return node.id


async def _locked_node(actor: Actor, action: str, node_id: str) -> ProjectNode:
    """The node as it stands until the transaction ends, for one who may act so on it."""
    require_caller(actor, action)
    missing = NotFound(UNKNOWN_NODE, ["projectNodeId"])
    node = await ProjectNode.filter(id=node_id, deleted_at=None).select_for_update().first()
    if node is None:
        raise missing
    await require(actor, action, node.project_id, missing)
    return node


def _checked_upstream_id(upstream_id: str) -> str:
    if not ONE_SEGMENT.fullmatch(upstream_id) or upstream_id in {".", ".."}:
        raise Invalid(
            "An id in the upstream's paths has 1 to 200 Latin letters, digits, dots, underscores, tildes and hyphens.",
            ["upstreamId"],
        )
    return upstream_id
