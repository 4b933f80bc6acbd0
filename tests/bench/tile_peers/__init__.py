"""GraphQL servers of Node that give the same tiles, of the same rows; npm brings them where it is installed."""

import asyncio
import filecmp
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gateway.database import postgres_credentials
from tests.bench.peers import HOME
from tests.bench.servers import Server, free_port, running

SOURCE = Path(__file__).parent
FOLDER = HOME / "tiles"
LOCK = "package-lock.json"
INSTALLED = FOLDER / "node_modules" / ".installed"
MERCURIUS, APOLLO = "Mercurius, JIT and loaders", "Apollo Server, DataLoader"
KINDS = {MERCURIUS: "mercurius", APOLLO: "apollo"}


@asynccontextmanager
async def started(database_url: str, folder: Path) -> AsyncIterator[dict[str, Server]]:
    """Those that can be, by their names; why not the others is printed."""
    async with AsyncExitStack() as stack:
        servers = {}
        if await are_brought():
            for name, kind in KINDS.items():
                try:
                    servers[name] = await stack.enter_async_context(serving(kind, database_url, folder))
                except (RuntimeError, OSError, TimeoutError) as error:
                    print(f"{name} is left out: {error}", flush=True)
        yield servers


@asynccontextmanager
async def serving(kind: str, database_url: str, folder: Path) -> AsyncIterator[Server]:
    """Raises RuntimeError, OSError where it can't be started."""
    port, where = free_port(), postgres_credentials(database_url)
    environment = {
        "NODE_ENV": "production",
        "PGHOST": where["host"][0] or "127.0.0.1",
        "PGPORT": str(where["port"][0]),
        "PGUSER": where["user"] or "",
        "PGDATABASE": where["database"],
    }
    command = ["node", str(FOLDER / "server.js"), kind, str(port)]
    async with running(command, port, folder / f"{kind}.log", environment, FOLDER) as server:
        yield server


async def are_brought() -> bool:
    npm = shutil.which("npm")
    if npm is None:
        print("no npm: the GraphQL servers of Node are left out", flush=True)
        return False
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE / "server.js", FOLDER)
    if INSTALLED.exists() and filecmp.cmp(SOURCE / LOCK, INSTALLED, shallow=False):
        return True
    print(f"npm brings the GraphQL servers of Node into {FOLDER}", flush=True)
    for name in ("package.json", LOCK):
        shutil.copy(SOURCE / name, FOLDER)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    process = await asyncio.create_subprocess_exec(npm, "ci", *options, cwd=FOLDER)
    if await process.wait():
        print("npm failed: the GraphQL servers of Node are left out", flush=True)
        return False
    shutil.copy(SOURCE / LOCK, INSTALLED)
    return True
