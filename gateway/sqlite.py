"""Tortoise's SQLite engine with transactions that lock for writing at once.

SQLite begins a transaction as a reader, and a reader that turns writer while another writes is refused there and then,
whatever the busy timeout; BEGIN IMMEDIATE waits its turn instead (https://sqlite.org/lang_transaction.html).
"""

from tortoise.backends.base.client import TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionContext, SqliteTransactionWrapper


class ImmediateTransaction(SqliteTransactionWrapper):
    async def begin(self) -> None:
        await self._connection.rollback()  # of a BEGIN whose caller was cancelled before it could own it
        await self._connection.execute("BEGIN IMMEDIATE")


class ImmediateTransactionContext(SqliteTransactionContext):
    async def __aenter__(self) -> TransactionalDBClient:
        try:
            return await super().__aenter__()
        except BaseException:  # a caller cancelled at BEGIN would leave the connection locked for good
            if self._trxlock.locked() and hasattr(self, "token"):
                self._trxlock.release()
            raise


class Client(SqliteClient):
    def _in_transaction(self) -> TransactionContext:
        return ImmediateTransactionContext(ImmediateTransaction(self), self._lock)


client_class = Client
