"""The database: where it is, how it is connected to, and what says that it is out of reach."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.context import TortoiseContext, require_context
from tortoise.exceptions import DBConnectionError, IntegrityError, OperationalError

from gateway import sqlite
from gateway.errors import Conflict, TesseraError, Unavailable

ResultT = TypeVar("ResultT")

APPS = {"models": {"models": ["models"], "migrations": "models.migrations"}}
ANSWER_WITHIN_SECONDS = 3.0
BUSY_MILLISECONDS = 2_500  # all wait behind one that waits for another process to write
IDLE_IN_TRANSACTION_SECONDS = 15  # a process that was stopped amid a transaction holds up no other for longer
LOST = (  # Tortoise lets through what asyncpg and the socket raise
    DBConnectionError,
    asyncpg.exceptions.InterfaceError,
    asyncpg.exceptions.InternalClientError,  # its confusion after a connection that was cut amid a statement
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # after a failover, on what was the primary
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    OSError,
    TimeoutError,
)
"""What says that the database is out of reach, and nothing else does."""
DOWN = (*LOST, OperationalError)
"""What may say so; a faulty statement raises OperationalError too."""
CANCEL_SECONDS = 5  # for a server to end what took too long, before it is thought dead
DEFAULT_PORT = "5432"
ADDRESS = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(:(?P<port>\d+))?")
URL_PARAMETERS = {"host", "port", "sslmode"}
BAD_URL = (
    "TESSERA_DATABASE_URL must be sqlite://PATH or postgres://USER@HOST:PORT/NAME, where HOST:PORT may be several."
)


class Limits(NamedTuple):
    """Of one process on PostgreSQL."""

    connections: int = 10
    wait_seconds: float = 5.0
    """How long a connection of the pool is waited for."""
    statement_seconds: int | None = None
    """How long a statement may take, waits for locks included."""


NO_LIMITS = Limits()


class BadDatabaseUrl(TesseraError):
    code = "BAD_DATABASE_URL"


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite:")


def sqlite_path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:").removeprefix("//"))


def config(url: str, limits: Limits = NO_LIMITS) -> dict[str, Any]:
    """Tortoise's configuration for `sqlite://PATH` or `postgres://USER@HOST:PORT,HOST:PORT/NAME`.

    `?host=FOLDER,FOLDER` names sockets' folders, `?sslmode=` is libpq's. Raises BadDatabaseUrl.

    Connections are named after their dialect: Tortoise keeps generated SQL by connection name for the whole process.
    """
    name, connection = _sqlite(url) if is_sqlite(url) else _postgres(url, limits)
    apps = {label: {**app, "default_connection": name} for label, app in APPS.items()}
    return {"connections": {name: connection}, "apps": apps, "use_tz": True, "timezone": "UTC"}


def postgres_credentials(url: str) -> dict[str, Any]:
    """What `gateway.postgres.connect` takes, for a connection beside the pool. Raises BadDatabaseUrl."""
    parts, asked = urlsplit(url), parse_qs(urlsplit(url).query)
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/") or asked.keys() - URL_PARAMETERS:
        raise BadDatabaseUrl(BAD_URL)
    account, _, addresses = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    hosts, ports = _addresses(addresses, asked)
    encryption = {"ssl": asked["sslmode"][0]} if "sslmode" in asked else {}
    return {
        "host": hosts,
        "port": ports,
        "user": unquote(user) or None,
        "password": unquote(password) or None,
        "database": unquote(parts.path.strip("/")),
        "server_settings": {
            # A long series costs the planner enough to start compiling, which takes longer than it saves.
            "jit": "off",
            "timezone": "UTC",  # of which instants are in JSON, so that reading them takes one step
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
        },
        **encryption,
    }


def _sqlite(url: str) -> tuple[str, dict[str, Any]]:
    pragmas = {"journal_mode": "WAL", "synchronous": "FULL", "foreign_keys": "ON", "busy_timeout": BUSY_MILLISECONDS}
    return "sqlite", {"engine": "gateway.sqlite", "credentials": {"file_path": str(sqlite_path(url)), **pragmas}}


def _postgres(url: str, limits: Limits) -> tuple[str, dict[str, Any]]:
    credentials = postgres_credentials(url)
    credentials |= {"minsize": 1, "maxsize": limits.connections, "wait_seconds": limits.wait_seconds}
    if seconds := limits.statement_seconds:
        credentials["server_settings"]["statement_timeout"] = f"{seconds}s"
        credentials["command_timeout"] = seconds + CANCEL_SECONDS
    return "postgres", {"engine": "gateway.postgres", "credentials": credentials}


def _addresses(text: str, asked: dict[str, list[str]]) -> tuple[list[str], list[int]]:
    """Hosts and their ports, as libpq reads them. Raises BadDatabaseUrl."""
    given = [ADDRESS.fullmatch(each) for each in unquote(text).split(",")]
    if not all(given):
        raise BadDatabaseUrl(BAD_URL)
    found = [(address["host"].strip("[]"), address["port"]) for address in given if address]
    hosts = asked["host"][0].split(",") if "host" in asked else [host for host, _ in found]
    ports = asked["port"][0].split(",") if "port" in asked else [port for _, port in found]
    if len(ports) == 1:
        ports *= len(hosts)
    if len(hosts) != len(ports) or not all((port or DEFAULT_PORT).isdecimal() for port in ports):
        raise BadDatabaseUrl(BAD_URL)
    return hosts, [int(port or DEFAULT_PORT) for port in ports]


@asynccontextmanager
async def connected(url: str, limits: Limits = NO_LIMITS) -> AsyncIterator[None]:
    """The database that models read and write meanwhile, in every task; it is opened by the first statement."""
    async with TortoiseContext() as context:
        await context.init(config=config(url, limits), _enable_global_fallback=True)
        yield


@asynccontextmanager
async def apart(url: str) -> AsyncIterator[None]:
    """In this task alone a connection of its own, which waits for no other task's; on SQLite there is but one."""
    if is_sqlite(url):
        yield
        return
    async with TortoiseContext() as context:
        await context.init(config=config(url, Limits(connections=1)))
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
    """Whether it says that the database can't be reached, or takes no statement now, be it that its disk is full."""
    return isinstance(error, LOST) or sqlite.is_about_its_file(error)


@contextmanager
def unavailable_when_down() -> Iterator[None]:
    """Around statements: a database that doesn't answer is Unavailable."""
    try:
        yield
    except DOWN as error:
        raise Unavailable("The database can't be reached now; try again.") from error


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
