"""The database: where it is, how it is opened, and how it is brought to the present schema."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import anyio.to_thread
import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.context import TortoiseContext, require_context
from tortoise.exceptions import DBConnectionError, IntegrityError, OperationalError
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget

from gateway import sqlite
from gateway.errors import Conflict, TesseraError, Unavailable

ResultT = TypeVar("ResultT")

APPS = {"models": {"models": ["models"], "migrations": "models.migrations"}}
NEWEST = MigrationTarget(app_label="models", name="__latest__")
ANSWER_WITHIN_SECONDS = 3.0
BUSY_MILLISECONDS = 2_500  # all wait behind one that waits for another process to write
MIGRATION_LOCK = 0x7E55E2A  # any number that all gateways share
LOST = (  # Tortoise lets through what asyncpg and the socket raise
    DBConnectionError,
    asyncpg.exceptions.InterfaceError,
    asyncpg.exceptions.InternalClientError,  # its confusion after a connection that was cut amid a statement
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # after a failover, on what was the primary
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    OSError,
    TimeoutError,
)
"""What says that the database is out of reach, and nothing else does."""
DOWN = (*LOST, OperationalError)
"""What may say so; a faulty statement raises OperationalError too."""


class BadDatabaseUrl(TesseraError):
    code = "BAD_DATABASE_URL"


class OutOfDate(TesseraError):
    code = "OUT_OF_DATE"


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite:")


def config(url: str) -> dict[str, Any]:
    """Tortoise's configuration for `sqlite://PATH` or `postgres://USER@HOST:PORT/NAME` (`?host=`: a socket's folder).

    Connections are named after their dialect: Tortoise keeps generated SQL by connection name for the whole process.
    Raises BadDatabaseUrl.
    """
    name, connection = _sqlite(url) if is_sqlite(url) else _postgres(url)
    apps = {label: {**app, "default_connection": name} for label, app in APPS.items()}
    return {"connections": {name: connection}, "apps": apps, "use_tz": True, "timezone": "UTC"}


def _sqlite(url: str) -> tuple[str, dict[str, Any]]:
    pragmas = {"journal_mode": "WAL", "synchronous": "FULL", "foreign_keys": "ON", "busy_timeout": BUSY_MILLISECONDS}
    return "sqlite", {"engine": "gateway.sqlite", "credentials": {"file_path": str(_sqlite_path(url)), **pragmas}}


def _postgres(url: str) -> tuple[str, dict[str, Any]]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise BadDatabaseUrl("TESSERA_DATABASE_URL must be sqlite://PATH or postgres://USER@HOST:PORT/NAME.")
    socket_folder = parse_qs(parts.query).get("host", [None])[0]
    credentials = {
        "host": socket_folder or parts.hostname,
        "port": parts.port or 5432,
        "user": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
        "database": unquote(parts.path.strip("/")),
        "minsize": 1,
        "maxsize": 10,
        # A long series costs the planner enough to start compiling, which takes longer than it saves.
        "server_settings": {"jit": "off"},
    }
    return "postgres", {"engine": "tortoise.backends.asyncpg", "credentials": credentials}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[None]:
    """The database that models read and write meanwhile, in every task; it is opened by the first statement."""
    async with TortoiseContext() as context:
        await context.init(config=config(url), _enable_global_fallback=True)
        yield


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[None]:
    """As `connected`, on the newest schema; SQLite is brought to it. Raises OutOfDate for PostgreSQL, Unavailable."""
    with unavailable_when_down():
        if is_sqlite(url):
            await migrate(url)
    async with connected(url):
        with unavailable_when_down():
            lacking = await pending_migrations()
        if lacking:
            raise OutOfDate(f"The database lacks {', '.join(lacking)}: call `tessera migrate` first.")
        yield


async def in_time(reading: Coroutine[Any, Any, ResultT], seconds: float = ANSWER_WITHIN_SECONDS) -> ResultT:
    """The result of statements outside any transaction. Raises Unavailable where the database is down, or hangs.

    What hangs is cancelled but not waited for: asyncpg first waits for the server to confirm that.
    """
    task = asyncio.create_task(reading)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    with unavailable_when_down():
        if not done:
            raise TimeoutError
        return task.result()


def is_lost(error: BaseException | None) -> bool:
    """Whether it says that the database can't be reached, or is being written by another process for too long."""
    return isinstance(error, LOST) or (isinstance(error, OperationalError) and "database is locked" in str(error))


@contextmanager
def unavailable_when_down() -> Iterator[None]:
    """Around statements: a database that doesn't answer is Unavailable."""
    try:
        yield
    except DOWN as error:
        raise Unavailable("The database can't be reached now; try again.") from error


async def migrate(url: str) -> list[str]:
    """Brings the database to the newest schema; the names of the migrations that it took.

    Of several that try at once one does it, and the rest wait. SQLite rebuilds a table by dropping it,
    and with foreign keys on that would erase the rows that refer to it, so they are off meanwhile.
    """
    if is_sqlite(url):
        _sqlite_path(url).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = config(url)
    if is_sqlite(url):
        settings["connections"]["sqlite"]["credentials"]["foreign_keys"] = "OFF"
    async with TortoiseContext() as context:
        await context.init(config=settings)
        async with _alone(context.db()):
            executor = _executor(context.db(), settings)
            steps = await executor.plan([NEWEST])
            await executor.migrate([NEWEST])
    return [step.migration.name for step in steps]


async def pending_migrations() -> list[str]:
    """What the connected database lacks of the newest schema. One that a newer release migrated lacks nothing."""
    await connection().execute_query("SELECT 1")  # to Tortoise a database that it can't reach is one without migrations
    return [step.migration.name for step in await _executor(connection(), {"apps": APPS}).plan([NEWEST])]


async def possible_losses() -> list[str]:
    """What may be lost although it was acknowledged, as the connected database is set; nothing on SQLite."""
    if connection().capabilities.dialect == "sqlite":
        return []
    rows = await connection().execute_query_dict("SELECT name, setting FROM pg_settings")
    setting = {row["name"]: row["setting"] for row in rows}
    losses = {
        "synchronous_commit": "synchronous_commit is off: a crash of PostgreSQL loses the last calls and changes.",
        "fsync": "fsync is off: a crash of the machine can lose or damage anything.",
        "full_page_writes": "full_page_writes is off: a crash of the machine can damage anything.",
    }
    found = [sentence for name, sentence in losses.items() if setting[name] == "off"]
    if setting["synchronous_commit"] == "local" or not setting["synchronous_standby_names"]:
        found.append("No standby is waited for: a failover to one can lose the last calls and changes.")
    return found


def connection() -> BaseDBAsyncClient:
    """The connection of the present transaction, else the pool, for statements that the ORM can't say."""
    return require_context().db()


def writing() -> AbstractAsyncContextManager[Any]:
    """Around a transaction beside the models' connection: the turn to write, where a process has its writers queue."""
    client = connection()
    return client.writing if isinstance(client, sqlite.Client) else nullcontext()


@contextmanager
def refusing_duplicates(sentence: str, path: Sequence[str] = ()) -> Iterator[None]:
    """Around a transaction: what a unique index of the database refuses is a Conflict."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(sentence, path) from error


def _executor(connection: BaseDBAsyncClient, settings: dict[str, Any]) -> MigrationExecutor:
    return MigrationExecutor(connection, settings["apps"])


@asynccontextmanager
async def _alone(connection: BaseDBAsyncClient) -> AsyncIterator[None]:
    if isinstance(connection, SqliteClient):
        async with _alone_in(Path(connection.filename).parent):
            yield
        return
    # Held by a connection of its own: migrations begin transactions on others of the pool.
    async with connection.acquire_connection() as holder:
        await holder.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        try:
            yield
        finally:
            await holder.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)


@asynccontextmanager
async def _alone_in(folder: Path) -> AsyncIterator[None]:
    """Of all processes that ask so; the lock goes with the process, and leaves nothing behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        await anyio.to_thread.run_sync(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sqlite_path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:").removeprefix("//"))
