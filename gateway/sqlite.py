"""Tortoise's SQLite engine with transactions that lock for writing at once.

SQLite begins a transaction as a reader, and a reader that turns writer while another writes is refused there and then,
whatever the busy timeout; BEGIN IMMEDIATE waits its turn instead (https://sqlite.org/lang_transaction.html).

Within a process writers queue for `Client.writing` first: SQLite has those that wait look again every few milliseconds,
in no order, and the meter would keep changes waiting, and changes the meter.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from typing import Any

from tortoise.backends.base.client import NestedTransactionContext, TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionContext, SqliteTransactionWrapper
from tortoise.exceptions import OperationalError

PRIMARY = 0xFF
"""Of a result code, less what details it."""
ABOUT_THE_FILE = {  # and not about a statement (https://sqlite.org/rescode.html)
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
}


def is_about_its_file(error: BaseException | None) -> bool:
    """Whether the file is full, can't be read or written, or another process writes it for too long."""
    if isinstance(error, OperationalError):  # Tortoise's, around the engine's; what a commit raises comes bare
        error = error.args[0]
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & PRIMARY in ABOUT_THE_FILE


class WholeTransaction(SqliteTransactionWrapper):
    """One that no script commits, as Python's `executescript` does before it begins."""

    def _in_transaction(self) -> TransactionContext:
        return NestedTransactionContext(WholeTransaction(self))

    async def execute_script(self, query: str) -> None:
        for statement in statements_of(query):
            await self.execute_query(statement)


class ImmediateTransaction(WholeTransaction):
    def __init__(self, connection: "Client") -> None:
        super().__init__(connection)
        self._writing = connection.writing
        self._is_writing = False

    async def begin(self) -> None:
        await self._connection.rollback()  # of a BEGIN whose caller was cancelled before it could own it
        await self._writing.acquire()
        self._is_writing = True
        await self._connection.execute("BEGIN IMMEDIATE")

    async def commit(self) -> None:
        try:
            await super().commit()
        except sqlite3.Error:  # of a full disk, for one
            await self._connection.rollback()
            raise

    def end(self) -> None:
        """Lets the next one write."""
        if self._is_writing:
            self._is_writing = False
            self._writing.release()


class ImmediateTransactionContext(SqliteTransactionContext):
    connection: ImmediateTransaction

    async def __aenter__(self) -> TransactionalDBClient:
        try:
            return await super().__aenter__()
        except BaseException:  # a caller cancelled at BEGIN would leave the connection locked for good
            self.connection.end()
            if self._trxlock.locked() and hasattr(self, "token"):
                self._trxlock.release()
            raise

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        try:
            await super().__aexit__(exc_type, exc_val, exc_tb)
        finally:
            self.connection.end()


class Client(SqliteClient):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.writing = asyncio.Lock()

    def _in_transaction(self) -> TransactionContext:
        return ImmediateTransactionContext(ImmediateTransaction(self), self._lock)


def statements_of(script: str) -> Iterator[str]:
    """Each by itself; a semicolon within a text or a trigger ends none."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""


client_class = Client
