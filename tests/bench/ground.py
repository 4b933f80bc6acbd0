"""A database with a project and a key, and the gateway that is served on it."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import asyncpg

from gateway import keys, projects, requests, roles, templates
from gateway.database import connected, migrate
from gateway.permissions import Permission
from gateway.sealing import Sealer
from gateway.signing import Keyring
from models import IssuedKey
from tests.bench.servers import BIN, free_port, running
from tests.world import person

DISK = "/var/tmp"  # noqa: S108  # the folder in it has a name of its own
SECRET = "a secret key of benchmarks, 32 bytes."
CALLING = [Permission.PROJECT_VIEW, Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE]


@dataclass(frozen=True)
class Ground:
    database_url: str
    project_id: str
    token: str


@dataclass(frozen=True)
class Gateway:
    """A gateway that is served: its address, and its process."""

    url: str
    pid: int
    ground: Ground

    @property
    def authorize(self) -> str:
        return f"{self.url}/authorize/{self.ground.project_id}?from=original"

    @property
    def through(self) -> str:
        return f"{self.url}/api/projects/{self.ground.project_id}"


async def prepared(database_url: str, upstream_url: str | None = None) -> Ground:
    await migrate(database_url)
    keyring = Keyring(Sealer(SECRET.encode(), b""), "http://127.0.0.1:8000")
    async with connected(database_url):
        owner, caller = await person("Owner"), await person("Caller")
        project = await projects.create(owner, name="Measured", upstream_url=upstream_url)
        view = [Permission.PROJECT_VIEW]
        await roles.create(owner, project.id, name="everyone", is_public=True, permissions=view)
        role = await roles.create(owner, project.id, name="caller", permissions=CALLING)
        template = await templates.create(
            owner, project.id, role_id=role.id, name="Basic", price_per_request=Decimal("0.0125")
        )
        request = await requests.create(caller, template.id, "")
        await requests.approve(owner, keyring, request.id)
        key = await IssuedKey.get(request_id=request.id)
        return Ground(database_url, project.id, await keys.token(keyring, key))


@asynccontextmanager
async def gateway(ground: Ground, folder: Path, name: str, **settings: str) -> AsyncIterator[Gateway]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    named = {f"TESSERA_{key.upper()}": value for key, value in settings.items()}
    own = {"TESSERA_DATABASE_URL": ground.database_url, "TESSERA_DATA_DIR": str(folder), "TESSERA_SECRET_KEY": SECRET}
    command = [str(BIN / "tessera"), "serve", f"--port={port}"]
    async with running(command, url, {**own, "TESSERA_UPSTREAM_ALLOW": "127.0.0.0/8", **named}, folder / name) as pid:
        yield Gateway(url, pid, ground)


@contextmanager
def folder_on_disk() -> Iterator[Path]:
    """Where files are synced to a disk, which the folder for temporary ones need not be on."""
    with tempfile.TemporaryDirectory(prefix="tessera-bench-", dir=os.environ.get("TMPDIR", DISK)) as folder:
        yield Path(folder)


@asynccontextmanager
async def postgres_database(server_url: str, name: str) -> AsyncIterator[str]:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    yield server_url.replace("/postgres?", f"/{name}?")
