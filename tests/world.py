"""People, projects and keys for tests, put straight into the tables: what a test isn't about can't fail it.

ada, bo = await person("Ada"), await person("Bo")
project = await owned_project(ada)
viewer = await role(project, Permission.PROJECT_VIEW)
await join(project, bo, viewer)
async with refused(Forbidden):
    await templates.create(bo, project.id, ...)
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from tortoise import Tortoise

from gateway import clock
from gateway.database import connection
from gateway.errors import TesseraError
from gateway.permissions import EVERYTHING, Actor, Permission
from gateway.sealing import Sealer
from models import (
    DroppedRecords,
    Event,
    Grant,
    IssuedKey,
    KeyRequest,
    Member,
    MemberRole,
    Project,
    ProjectNode,
    RequestState,
    Role,
    Template,
    User,
)
from models.fields import fold, named

SEALER = Sealer(b"a secret key of tests, 32 bytes.")
ANONYMOUS = Actor()


async def person(name: str, email: str | None = None) -> Actor:
    """A new account, signed in; it has no password."""
    email = email or f"{name}@example.org"
    user = await User.create(email=email, email_folded=fold(email), password_hash="", **named(name))
    return Actor(user=user, address="127.0.0.1")


async def owned_project(owner: Actor, name: str = "Maps", **columns: Any) -> Project:
    """A project with its owner role, held by the owner."""
    project = await Project.create(**named(name), **{"currency": "USD", **columns})
    await join(project, owner, await role(project, *EVERYTHING, name="owner", is_owner=True))
    return project


async def node(project: Project, name: str = "Input") -> ProjectNode:
    return await ProjectNode.create(project=project, upstream_id=uuid4().hex, **named(name))


async def role(
    project: Project,
    *permissions: Permission,
    name: str = "Caller",
    on_nodes: Mapping[str, Iterable[Permission]] | None = None,
    **columns: Any,
) -> Role:
    """A role with these permissions on the project, and with those on nodes by the node's id."""
    made = await Role.create(project=project, **named(name), **columns)
    granted: list[tuple[str | None, Permission]] = [(None, permission) for permission in permissions]
    granted += [(node_id, permission) for node_id, held in (on_nodes or {}).items() for permission in held]
    await Grant.bulk_create([Grant(role=made, node_id=node_id, permission=held.value) for node_id, held in granted])
    return made


async def join(project: Project, who: Actor, *roles: Role) -> Member:
    member = await Member.create(project=project, user=who.user)
    await MemberRole.bulk_create([MemberRole(member=member, role=each) for each in roles])
    return member


async def template(project: Project, role: Role, name: str = "Basic", **columns: Any) -> Template:
    return await Template.create(project=project, role=role, **named(name), **{"position": 0, **columns})


async def issued_key(template: Template, holder: Actor, **columns: Any) -> IssuedKey:
    """A key that was asked for and approved just now; it has no token."""
    now = clock.now()
    whose: dict[str, Any] = {"project_id": template.project_id, "template": template, "user": holder.user}
    request = await KeyRequest.create(**whose, requested_at=now, decided_at=now, state=RequestState.APPROVED)
    named_so: dict[str, Any] = {"name": template.name, "name_folded": template.name_folded}
    return await IssuedKey.create(
        **{"request": request, "role_id": template.role_id, "received_at": now, **whose, **named_so, **columns}
    )


def by_key(holder: Actor, key: IssuedKey) -> Actor:
    """The holder, calling with the key instead of a session."""
    return Actor(user=holder.user, issued_key=key, address="127.0.0.1")


async def told(after: int = 0) -> list[tuple[str, str]]:
    """The kinds of the events after a position and the objects that they are about, in order."""
    return [(event.kind, event.object_id) for event in await Event.filter(position__gt=after).order_by("position")]


@asynccontextmanager
async def unchanged() -> AsyncIterator[None]:
    """Fails unless every row is afterwards as it was before, but for the one that a gateway's housekeeping moves on."""
    before = await _everything()
    yield
    assert await _everything() == before


@asynccontextmanager
async def refused(refusal: type[TesseraError], *path: str) -> AsyncIterator[None]:
    """Fails unless what happens inside is refused so, at this path of the input, and changes nothing."""
    async with unchanged():
        with pytest.raises(refusal) as raised:
            yield
    assert type(raised.value) is refusal
    assert raised.value.path == path


async def _everything() -> dict[str, list[Any]]:
    models = [model for model in Tortoise.apps["models"].values() if model is not DroppedRecords]
    tables = [model._meta.db_table for model in models]
    rows = {table: await connection().execute_query_dict(f'SELECT * FROM "{table}" ORDER BY 1') for table in tables}  # noqa: S608  # our own tables
    return {table: [dict(row) for row in found] for table, found in rows.items()}


async def keys_of(*templates: str) -> list[IssuedKey]:
    """A key of each of these templates, all of one project and its owner's."""
    ada = await person("Ada")
    project = await owned_project(ada)
    caller = await role(project, Permission.PROJECT_VIEW)
    return [await issued_key(await template(project, caller, name), ada) for name in templates]
