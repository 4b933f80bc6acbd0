"""Where calls become durable: transactions of the meter's own connection, beside the ORM and without it.

A transaction is a generator of statements that is sent each one's rows, so that it is written once and runs on SQLite,
in a thread, as on PostgreSQL. It is committed where it returns and rolled back where it raises.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import asyncpg

from gateway import database
from gateway.errors import Unavailable
from gateway.statements import Statement

ResultT = TypeVar("ResultT")
Rows = Sequence[Any]
Transaction = Generator[Statement, Rows, ResultT]

CONNECT_SECONDS = 2.0
STATEMENT_SECONDS = 3.0
ATTEMPTS = 5
AWAY = "The call can't be counted now; try again."


class Ledger(Protocol):
    dialect: str

    async def run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        """What the transaction returns, once it is durable. Raises Unavailable, and what the transaction raises."""

    async def close(self) -> None: ...


def opened(url: str) -> Ledger:
    """Connects when it is first needed, and again whenever it must."""
    return SqliteLedger(url) if database.is_sqlite(url) else PostgresLedger(url)


class SqliteLedger:
    dialect = "sqlite"

    def __init__(self, url: str) -> None:
        self._credentials: dict[str, Any] = database.config(url)["connections"]["sqlite"]["credentials"]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._connection: sqlite3.Connection | None = None

    async def run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        async with database.writing():
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, transaction)
            try:
                return await asyncio.shield(running)
            except sqlite3.OperationalError as error:
                raise Unavailable(AWAY) from error

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
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
        return connection

    def _close(self) -> None:
        if self._connection:
            self._connection.close()


class PostgresLedger:
    dialect = "postgres"

    def __init__(self, url: str) -> None:
        self._credentials: dict[str, Any] = database.config(url)["connections"]["postgres"]["credentials"]
        self._connection: asyncpg.Connection | None = None

    async def run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        for attempt in range(ATTEMPTS):
            try:
                return await self._attempt(transaction)
            except (
                asyncpg.DeadlockDetectedError,
                asyncpg.SerializationError,
            ) as error:  # rolled back, so nothing was done
                if attempt == ATTEMPTS - 1:
                    raise Unavailable(AWAY) from error
        raise AssertionError

    async def close(self) -> None:
        if self._connection:
            with suppress(*database.LOST):
                await self._connection.close(timeout=CONNECT_SECONDS)

    async def _attempt(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            async with self._connection.transaction():
                return await self._exhaust(self._connection, transaction())
        except database.LOST as error:  # whether it was committed can't be known: it isn't tried again
            self._abandon()
            raise Unavailable(AWAY) from error
        except BaseException:
            self._abandon_broken()
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
        credentials = {name: value for name, value in self._credentials.items() if name not in {"minsize", "maxsize"}}
        made: asyncpg.Connection = await asyncpg.connect(
            **credentials, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS
        )
        return made

    def _abandon(self) -> None:
        if self._connection:
            self._connection.terminate()
            self._connection = None

    def _abandon_broken(self) -> None:
        if self._connection and self._connection.is_in_transaction():
            self._abandon()
