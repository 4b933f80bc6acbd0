"""Other programs that do a like task, started from PEERS_HOME where somebody set them up, else left out."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import request
from tests.bench.servers import Server, is_taken, running
from tests.bench.targets import Served

HOME = Path(os.environ.get("PEERS_HOME") or Path.home() / ".cache" / "tessera-peers")
DATABASE_PORT = 20432
UPSTREAM_PORT = 20200
"""Where the peers' configurations have their upstream."""
ENVIRONMENT = {
    "NODE_ENV": "production",
    "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin",
    "PGHOST": "127.0.0.1",
    "PGPORT": str(DATABASE_PORT),
    "PGUSER": "peers",
    "PGDATABASE": "peers",
    "REDIS_PORT": "20379",
    "TOKENS": str(HOME / "data" / "tokens" / "jwt.txt"),
    "TOKENS_FOLDER": str(HOME / "data" / "tokens"),
}
ASKED = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/v1/items/42"}


@dataclass(frozen=True)
class Peer:
    """A program, and what it is asked."""

    name: str
    port: int
    command: Sequence[str]
    folder: str = "."
    tokens: str = "jwt.txt"
    path: str = "/verify"
    headers: Mapping[str, str] = field(default_factory=lambda: ASKED)

    def requests(self) -> list[bytes]:
        tokens = (HOME / "data" / "tokens" / self.tokens).read_text().split()
        url = f"http://127.0.0.1:{self.port}{self.path}"
        return [request("GET", url, {"Authorization": f"Bearer {token}", **self.headers}) for token in tokens]


def nginx(name: str, port: int, conf: str) -> Peer:
    log, prefix = HOME / "logs" / f"{conf}.error.log", HOME / "data" / "nginx"
    command = ["nginx", "-p", f"{prefix}/", "-e", str(log), "-c", str(HOME / "conf" / f"{conf}.conf")]
    return Peer(name, port, command, path="/v1/items", headers={})


BETTER_AUTH = "better-auth, PostgreSQL"
FASTIFY, AUTH_REQUEST = "fastify-jwt, token cache + reply-from", "nginx auth_request"
VERIFIERS = (
    Peer(
        BETTER_AUTH, 20101, ["node", "server.mjs", "20101", "postgres"], "node/better-auth", "better-auth-postgres.txt"
    ),
    Peer("fastify-jwt", 20103, ["node", "verify.js", "20103", "nocache"], "node/fastify"),
    Peer("fastify-jwt, token cache", 20104, ["node", "verify.js", "20104", "cache"], "node/fastify"),
)
LOOK_UP = Peer(
    "what auth_request asks",
    20203,
    ["venv/bin/python", "-m", "uvicorn", "verifier:app", "--app-dir=python", "--port=20203", "--no-access-log"],
)
PROXIES = (
    Peer(
        FASTIFY,
        20204,
        ["node", "proxy.js", "20204", f"http://127.0.0.1:{UPSTREAM_PORT}"],
        "node/fastify",
        path="/v1/items",
        headers={},
    ),
    nginx(AUTH_REQUEST, 20202, "auth_request"),
    nginx("nginx proxy_pass, no check", 20201, "proxy_pass"),
)


def are_set_up() -> bool:
    return (HOME / "data" / "installed").exists()


@asynccontextmanager
async def started(peers: Sequence[Peer], folder: Path) -> AsyncIterator[list[Served]]:
    """Those that can be; why not the others is printed."""
    if not are_set_up():
        print(f"no peers in {HOME}: set PEERS_HOME to where they are set up; they are left out", flush=True)
        yield []
        return
    async with AsyncExitStack() as stack:
        targets = []
        for peer in peers:
            try:
                server = await stack.enter_async_context(serving(peer, folder))
                targets.append(Served(peer.name, server, peer.requests()))
            except (RuntimeError, OSError, TimeoutError) as error:
                print(f"{peer.name} is left out: {error}", flush=True)
        yield targets


@asynccontextmanager
async def serving(peer: Peer, folder: Path) -> AsyncIterator[Server]:
    """Raises RuntimeError, OSError where it can't be started."""
    if is_taken(peer.port):
        raise RuntimeError(f"port {peer.port} is taken")
    print(f"starting {peer.name}", flush=True)
    command = [str(HOME / peer.command[0]) if "/" in peer.command[0] else peer.command[0], *peer.command[1:]]
    log = folder / f"{peer.port}.log"
    async with running(command, peer.port, log, ENVIRONMENT, HOME / peer.folder) as server:
        yield server


@asynccontextmanager
async def stores() -> AsyncIterator[None]:
    """PostgreSQL and Redis of the peers; they are ended where they were started for this."""
    if not are_set_up() or is_taken(DATABASE_PORT):
        yield
        return
    await script("start.sh")
    try:
        yield
    finally:
        await script("stop.sh")


async def script(name: str) -> None:
    process = await asyncio.create_subprocess_exec(str(HOME / name), str(HOME))
    if await process.wait():
        print(f"{name} of the peers failed", flush=True)
