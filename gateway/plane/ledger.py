"""Where calls become durable: transactions of the meter's own connection, beside the ORM and without it.

A transaction is a generator of statements that is sent each one's rows, so that it is written once and runs on SQLite,
in a thread, as on PostgreSQL. It is committed where it returns and rolled back where it raises.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import asyncpg

from gateway import contention, database, postgres
from gateway.counting import Record, at_once, sqlite_at_once
from gateway.errors import Unavailable
from gateway.statements import Statement

ResultT = TypeVar("ResultT")
Rows = Sequence[Any]
Transaction = Generator[Statement, Rows, ResultT]

CLOSE_SECONDS = 2.0
STATEMENT_SECONDS = 3.0
HEAD = Statement("SELECT position FROM event_head WHERE id = 1", [])
AWAY = "The call can't be counted now; try again."


class Head(NamedTuple):
    """Where the event log ended when a ledger looked, and over which of its connections it did."""

    position: int
    connection: int


class Known(NamedTuple):
    """By what calls were decided: the log up to this position, and where it ended once they had come.

    What is behind that end was acknowledged to nobody before they came, so that they may go on without it.
    """

    position: int
    seen: Head | None = None

    def holds_on(self, connection: int) -> bool:
        """Whether it suffices wherever the log ends now. Over another connection it may be another server's log."""
        return self.seen is not None and self.seen.connection == connection and self.position >= self.seen.position

    def suffices(self, head: Head) -> bool:
        return self.position == head.position or self.holds_on(head.connection)


class Moved(Exception):
    """The log has grown past what calls were decided by; nothing of them was written."""

    def __init__(self, head: Head) -> None:
        super().__init__(head)
        self.head = head


class Ledger(Protocol):
    dialect: str

    @property
    def connection(self) -> int:
        """The number of the present connection."""

    async def run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        """What the transaction returns, once it is durable. Raises Unavailable, and what the transaction raises."""

    async def count(self, known: Known, records: Sequence[Record]) -> None:
        """Counts calls of one hour, where what they were decided by suffices. Raises Moved where not, and as `run`."""

    async def close(self) -> None: ...


def opened(url: str) -> Ledger:
    """Connects when it is first needed, and again whenever it must."""
    return SqliteLedger(url) if database.is_sqlite(url) else PostgresLedger(url)


class SqliteLedger:
    dialect = "sqlite"
    connection = 1

    def __init__(self, url: str) -> None:
        self._credentials: dict[str, Any] = database.config(url)["connections"]["sqlite"]["credentials"]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._connection: sqlite3.Connection | None = None

    async def run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        return await self._in_thread(partial(self._run, transaction))

    async def count(self, known: Known, records: Sequence[Record]) -> None:
        position = None if known.holds_on(self.connection) else known.position
        await self._in_thread(partial(self._count, at_once(self.dialect, position, records)))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _in_thread(self, act: Callable[[], ResultT]) -> ResultT:
        async with database.writing():
            try:
                return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, act))
            except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # a fault of ours
                raise
            except sqlite3.DatabaseError as error:
                raise Unavailable(AWAY) from error

    def _count(self, statement: Statement) -> None:
        connection = self._opened()
        try:
            connection.execute(*statement)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_TRIGGER:
                raise
            [head] = connection.execute(*HEAD).fetchone()
            raise Moved(Head(head, self.connection)) from None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = self._exhaust(connection, transaction())
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _exhaust(self, connection: sqlite3.Connection, steps: Transaction[ResultT]) -> ResultT:
        try:
            statement = next(steps)
            while True:
                statement = steps.send(connection.execute(*statement).fetchall())
        except StopIteration as ended:
            result: ResultT = ended.value
            return result

    def _connect(self) -> sqlite3.Connection:
        pragmas = dict(self._credentials)
        connection = sqlite3.connect(pragmas.pop("file_path"), isolation_level=None, check_same_thread=False)
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name}={value}")
        for preparation in sqlite_at_once():
            connection.execute(preparation)
        return connection

    def _close(self) -> None:
        if self._connection:
            self._connection.close()


class PostgresLedger:
    dialect = "postgres"

    def __init__(self, url: str) -> None:
        self.connection = 0
        self._credentials = database.postgres_credentials(url)
        self._connection: asyncpg.Connection | None = None

    async def run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        async def attempt(connection: asyncpg.Connection) -> ResultT:
            async with connection.transaction():
                return await self._exhaust(connection, transaction())

        return await contention.begun_anew(partial(self._once, attempt))

    async def count(self, known: Known, records: Sequence[Record]) -> None:
        async def attempt(connection: asyncpg.Connection) -> None:
            position = None if known.holds_on(self.connection) else known.position
            sql, values = at_once(self.dialect, position, records)
            head = Head(await connection.fetchval(sql, *values), self.connection)
            if not known.suffices(head):
                raise Moved(head)

        await contention.begun_anew(partial(self._once, attempt))

    async def close(self) -> None:
        if self._connection:
            with suppress(*database.LOST):
                await self._connection.close(timeout=CLOSE_SECONDS)

    async def _once(self, attempt: Callable[[asyncpg.Connection], Awaitable[ResultT]]) -> ResultT:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            return await attempt(self._connection)
        except database.LOST as error:  # whether it was committed can't be known: it isn't tried again
            self._abandon()
            raise Unavailable(AWAY) from error
        except asyncio.CancelledError:
            self._abandon()
            raise

    async def _exhaust(self, connection: asyncpg.Connection, steps: Transaction[ResultT]) -> ResultT:
        try:
            sql, values = next(steps)
            while True:
                sql, values = steps.send(await connection.fetch(sql, *values))
        except StopIteration as ended:
            result: ResultT = ended.value
            return result

    async def _connect(self) -> asyncpg.Connection:
        self.connection += 1
        return await postgres.connect(**self._credentials, command_timeout=STATEMENT_SECONDS)

    def _abandon(self) -> None:
        if self._connection:
            self._connection.terminate()
            self._connection = None
