"""The database's schema: whether it is this release's, and how it is brought to it."""

import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.connection import ConnectionHandler
from tortoise.context import TortoiseContext
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.schema_generator.state import State
from tortoise.migrations.schema_generator.state_apps import StateApps
from tortoise.transactions import in_transaction

from gateway.database import (
    APPS,
    NO_LIMITS,
    Limits,
    config,
    connected,
    connection,
    is_sqlite,
    sqlite_path,
    unavailable_when_down,
)
from gateway.errors import TesseraError

NEWEST = MigrationTarget(app_label="models", name="__latest__")
LOCK = 0x7E55E2A  # any number that all gateways share


class OutOfDate(TesseraError):
    code = "OUT_OF_DATE"


@asynccontextmanager
async def opened(url: str, limits: Limits = NO_LIMITS) -> AsyncIterator[None]:
    """`connected`, on a schema that `check_schema` takes; SQLite is brought to it. Raises OutOfDate, Unavailable."""
    with unavailable_when_down():
        if is_sqlite(url):
            await migrate(url)
    async with connected(url, limits):
        with unavailable_when_down():
            await check_schema()
        yield


async def migrate(url: str) -> list[str]:
    """Brings the database to the newest schema; the names of the migrations that it took. Raises OutOfDate.

    Of several that try at once one does it, and the rest wait. Each migration is done whole, and known to be, or not at
    all. SQLite rebuilds a table by dropping it, and with foreign keys on that would erase the rows that refer to it, so
    they are off meanwhile.
    """
    if is_sqlite(url):
        sqlite_path(url).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = config(url)
    if is_sqlite(url):
        settings["connections"]["sqlite"]["credentials"]["foreign_keys"] = "OFF"
    async with TortoiseContext() as context:
        await context.init(config=settings)
        async with _alone(context.db()):
            _check_age(await _newer_migrations())
            lacking = await pending_migrations()
            await _executor(context.db()).migrate([])  # makes the table of what was taken
            tables: State | None = None
            for name in lacking:
                tables = await _take(MigrationTarget(app_label="models", name=name), tables)
    return lacking


async def pending_migrations() -> list[str]:
    """What the connected database lacks of the newest schema. One that a newer release migrated lacks nothing."""
    await connection().execute_query("SELECT 1")  # to Tortoise a database that it can't reach is one without migrations
    return [step.migration.name for step in await _executor(connection()).plan([NEWEST])]


async def check_schema() -> None:
    """Raises OutOfDate unless the connected database has this release's schema, or one a release newer.

    Each migration is a release of the schema, and leaves the release before it working: so processes are replaced one
    by one while the others serve.
    """
    if lacking := await pending_migrations():
        raise OutOfDate(f"The database lacks {', '.join(lacking)}: call `tessera migrate` first.")
    _check_age(await _newer_migrations())


def _check_age(newer: Sequence[str]) -> None:
    if len(newer) > 1:
        raise OutOfDate(
            f"The database is {len(newer)} releases of the schema ahead ({', '.join(newer)}): start the Tessera that"
            " migrated it, or the one before that."
        )


async def _newer_migrations() -> list[str]:
    """What the connected database has that this release doesn't know."""
    executor = _executor(connection())
    await executor.loader.build_graph()
    known = {key.name for key in executor.loader.graph.nodes}
    return [key.name for key in await executor.recorder.applied_migrations() if key.name not in known]


async def _take(migration: MigrationTarget, tables: State | None) -> State | None:
    """Tortoise takes a migration and notes that it did in two transactions, which this makes one.

    The tables are those that it finds, where that is known, and those that it leaves.
    """
    async with in_transaction(connection().connection_name) as whole:
        executor = _executor(whole)
        executor.tables = tables
        await executor.migrate([migration])
        return executor.tables


class Executor(MigrationExecutor):
    """Tortoise's, which makes no models of the tables, since migrations are SQL, and takes several from where it is.

    Otherwise an empty database takes three times as long.
    """

    tables: State | None = None

    async def _project_state(self, applied: set[MigrationKey], *, upto: MigrationKey | None = None) -> State:  # noqa: ARG002  # Tortoise's signature
        if self.tables is None:
            self.tables = State(models={}, apps=StateApps(connections=ConnectionHandler()))
            for key in self._full_plan():
                if key in applied and (taken := self.loader.graph.nodes[key]):
                    await taken.apply(self.tables, dry_run=True)
        return self.tables


def _executor(connection: BaseDBAsyncClient) -> Executor:
    apps = {label: {**app, "default_connection": connection.connection_name} for label, app in APPS.items()}
    return Executor(connection, apps)


@asynccontextmanager
async def _alone(connection: BaseDBAsyncClient) -> AsyncIterator[None]:
    if isinstance(connection, SqliteClient):
        async with _alone_in(Path(connection.filename).parent):
            yield
        return
    # Held by a connection of its own: migrations begin transactions on others of the pool.
    async with connection.acquire_connection() as holder:
        await holder.execute("SELECT pg_advisory_lock($1)", LOCK)
        try:
            yield
        finally:
            await holder.execute("SELECT pg_advisory_unlock($1)", LOCK)


@asynccontextmanager
async def _alone_in(folder: Path) -> AsyncIterator[None]:
    """Of all processes that ask so; the lock goes with the process, and leaves nothing behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        await anyio.to_thread.run_sync(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
