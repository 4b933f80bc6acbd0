"""The interface of everything that has a global id, and how an id becomes its object."""

from collections.abc import Awaitable, Callable
from typing import Any

import strawberry

from gateway import keys, members, projects, requests, roles, secrets, templates, users
from gateway.permissions import Actor
from schema.context import Info
from schema.declare import described

Find = Callable[[Actor, list[str]], Awaitable[dict[str, Any]]]

BY_PREFIX: dict[str, Find] = {
    "usr": users.visible,
    "prj": projects.visible,
    "nod": projects.visible_nodes,
    "rol": roles.visible,
    "tpl": templates.visible,
    "fld": templates.visible_fields,
    "req": requests.visible,
    "key": keys.visible,
    "sec": secrets.visible,
    "mem": members.visible,
}
"""What tells which of the ids name living objects that the actor may see."""


@strawberry.interface(
    description="Anything with a global id. Ids carry their type as a prefix, sort by time, and are the same in "
    "GraphQL, REST and tokens."
)
class Node:
    id: strawberry.ID = described("The global id.")


async def find(info: Info, id: str) -> Any:
    """The object of an id; None where there is none, or none that the caller may see."""
    visible = BY_PREFIX.get(id.partition("_")[0])
    return await info.context.load(visible, id) if visible else None
