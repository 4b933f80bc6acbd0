"""A gateway that is served, with a project, an upstream's address, and a key that opens it.

async with gatehouse(settings) as house:
    answer = await house.authorize("GET", "/api/projects/x/nodes/...")
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from gateway import clock, keys, projects, requests, roles, templates, usage
from gateway.app import create_app
from gateway.permissions import Actor, Permission
from gateway.pricing import between
from gateway.sealing import Sealer
from gateway.settings import Settings
from gateway.signing import Keyring
from models import IssuedKey, Project, ProjectNode, Role, Template
from tests.serving import serving
from tests.world import person

CALLING = (Permission.PROJECT_VIEW, Permission.GRAPH_VIEW, Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE)


def settings_of(tmp_path: Path, database_url: str, **values: Any) -> Settings:
    """Whatever `.env` the developer has."""
    values = {"data_dir": tmp_path / "data", "database_url": database_url, **values}
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]  # pydantic-settings takes it


@dataclass
class Offer:
    """A project that is offered, and a key that opens it."""

    keyring: Keyring
    owner: Actor
    caller: Actor
    project: Project
    node: ProjectNode
    role: Role
    template: Template
    key: IssuedKey
    token: str

    async def issue(self, holder: Actor, template: Template | None = None) -> tuple[IssuedKey, str]:
        """A key with its token."""
        return await issued(self.keyring, self.owner, holder, template or self.template)

    async def counted(self, key: IssuedKey | None = None) -> usage.Totals:
        """All that was ever counted with the key."""
        key, year = key or self.key, clock.now().year
        period = between(datetime(year - 1, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
        return (await usage.of_keys([key.id], period))[key.id]


@dataclass
class Gatehouse(Offer):
    url: str
    client: httpx2.AsyncClient

    async def authorize(self, method: str = "GET", target: str = "/data_layers", **more: Any) -> httpx2.Response:
        """What the gateway says to a proxy that asks about a call; `token` is the key's, `project` the project's id."""
        token, project = more.pop("token", self.token), more.pop("project", self.project.id)
        headers = {"X-Original-Method": method, "X-Original-URI": target, **more.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return await self.client.get(f"/authorize/{project}?from=original{more.pop('options', '')}", headers=headers)

    async def call(self, method: str = "GET", path: str = "/data_layers", **more: Any) -> httpx2.Response:
        token, project = more.pop("token", self.token), more.pop("project", self.project.id)
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token is not None else {})
        return await self.client.request(method, f"/api/projects/{project}{path}", headers=headers, **more)


async def offer(keyring: Keyring, upstream_url: str | None = None) -> Offer:
    """Made in the connected database, by the rules that everyone goes by."""
    owner, caller = await person("Olga"), await person("Ulrich")
    project = await projects.create(owner, name="Maps", upstream_url=upstream_url)
    view = [Permission.PROJECT_VIEW]
    await roles.create(owner, project.id, name="everyone", is_public=True, permissions=view)
    calling = await roles.create(owner, project.id, name="caller", permissions=CALLING, cost_coefficient=Decimal("0.5"))
    offered = await templates.create(
        owner, project.id, role_id=calling.id, name="Basic", price_per_request=Decimal("0.000001")
    )
    readings = await projects.create_node(owner, project.id, name="Readings", upstream_id="readings")
    key, token = await issued(keyring, owner, caller, offered)
    return Offer(keyring, owner, caller, project, readings, calling, offered, key, token)


async def issued(keyring: Keyring, owner: Actor, holder: Actor, template: Template) -> tuple[IssuedKey, str]:
    request = await requests.create(holder, template.id, "")
    await requests.approve(owner, keyring, request.id)
    key = await IssuedKey.get(request_id=request.id)
    return key, await keys.token(keyring, key)


@asynccontextmanager
async def gatehouse(settings: Settings, upstream_url: str | None = None) -> AsyncIterator[Gatehouse]:
    app = create_app(settings)
    async with (
        serving(app, on_stop=app.state.stop) as url,
        httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        keyring = Keyring(Sealer(settings.own_secret_key(), b""), settings.public_url)
        yield Gatehouse(**vars(await offer(keyring, upstream_url)), url=url, client=client)
