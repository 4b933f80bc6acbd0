"""Tortoise's PostgreSQL engine, for a database that may be lost, and be found again at another address.

Who waits for a connection of the pool waits for a limited time. Connections to a server that accepts no writes any
longer are dropped, and transactions that fail as they begin give their connection back.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import (
    NestedTransactionContext,
    TransactionalDBClient,
    TransactionContext,
    TransactionContextPooled,
)
from tortoise.connection import get_connections
from tortoise.exceptions import TransactionManagementError

from gateway import contention
from gateway.errors import Unavailable

CONNECT_SECONDS = 2.0
BUSY = "All connections to the database are busy; try again."
NEXT = (
    asyncpg.exceptions.InterfaceError,
    asyncpg.exceptions.InternalClientError,  # it accepts no writes
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,
    TimeoutError,
)
"""After which another address may do."""
OF_NO_USE = (asyncpg.ReadOnlySQLTransactionError, asyncpg.IdleInTransactionSessionTimeoutError)


async def connect(
    *, host: list[str], port: list[int], seconds: float = CONNECT_SECONDS, **options: Any
) -> asyncpg.Connection:
    """To the first address where writes are accepted; each is given so many seconds, a dead machine too.

    Raises what the last of them was refused with; a lack of time is a ConnectionError.
    """
    failure: Exception | None = None
    for address in zip(host, port, strict=True):
        try:
            return await _connect(*address, {**options, "timeout": seconds})
        except NEXT as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise ConnectionError("The database doesn't answer.") from failure
    raise failure or ConnectionError("There is no address of a database.")


async def _connect(host: str, port: int, options: dict[str, Any]) -> asyncpg.Connection:
    made: asyncpg.Connection = await asyncpg.connect(
        host=host or None, port=port, target_session_attrs="read-write", **options
    )
    return made


class Connection(asyncpg.Connection):
    """One that is given back without a round trip, since nobody sets anything that outlasts a transaction.

    What holds a lock of the session, as migrations do, closes its connection afterwards.
    """

    def get_reset_query(self) -> str:
        return ""


class Pool(asyncpg.Pool):
    """Asyncpg's, whose connections are waited for so many seconds and no longer."""

    def __init__(self, wait_seconds: float, **options: Any) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # asyncpg annotates no more
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            record_class=asyncpg.Record,
            connect=connect,
            **options,
        )
        self.wait_seconds = wait_seconds

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109  # asyncpg's own
        if self._has_idle_connection():  # and so nothing has to watch the time
            return await super()._acquire(None)  # type: ignore[no-untyped-call]  # asyncpg annotates no more
        try:
            async with asyncio.timeout(timeout or self.wait_seconds):  # which takes no task, as asyncpg's own does
                return await super()._acquire(None)  # type: ignore[no-untyped-call]  # asyncpg annotates no more
        except TimeoutError as error:
            raise Unavailable(BUSY) from error

    async def rows(self, query: str, values: Sequence[Any]) -> list[asyncpg.Record]:
        """Those of a statement that is sent by itself."""
        connection = await self._acquire(None)
        try:
            rows: list[asyncpg.Record] = await connection._con.fetch(query, *values)  # noqa: SLF001  # of this pool
        finally:
            await self.release(connection)
        return rows

    def _has_idle_connection(self) -> bool:
        """Whether one that is connected is given out next, as it is if any of those that wait is."""
        waiting = self._queue._queue if self._queue else ()  # noqa: SLF001  # of this pool
        return any(holder.is_connected() for holder in reversed(waiting))

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's own
        """Where nothing is left to be undone nothing is waited for, and no task shields that from being cancelled."""
        if connection._con is None or connection.is_in_transaction():  # noqa: SLF001  # of this pool
            await super().release(connection, timeout=timeout)  # type: ignore[no-untyped-call]  # asyncpg annotates no more
            return
        connection._con._on_release()  # noqa: SLF001  # of this pool
        await connection._holder.release(timeout)  # noqa: SLF001  # of this pool


class Transaction(TransactionWrapper):
    """One that tells what Tortoise takes for a mistake of ours: that the server or the transaction is of no use now."""

    def _in_transaction(self) -> TransactionContext:
        return NestedTransactionContext(Transaction(self))

    async def _translate_exceptions(self, func: Any, *arguments: Any, **options: Any) -> Any:
        with telling_apart():
            return await super()._translate_exceptions(func, *arguments, **options)


class PooledTransaction(TransactionContextPooled):
    """A transaction with a connection of the pool."""

    async def __aenter__(self) -> TransactionalDBClient:
        try:
            return await super().__aenter__()
        except BaseException:  # of a BEGIN that failed, or whose caller was cancelled
            await self._give_back()
            raise

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        if exc_type is asyncpg.ReadOnlySQLTransactionError:
            await self._pool.expire_connections()
        await super().__aexit__(exc_type, exc_val, exc_tb)
        if not exc_type:
            contention.committed()

    @property
    def _pool(self) -> Any:
        return self.client._parent._pool  # noqa: SLF001  # of this engine

    async def _give_back(self) -> None:
        if self.client._connection is not None:  # noqa: SLF001  # of this engine
            await self._pool.release(self.client._connection)  # noqa: SLF001  # of this engine
        if hasattr(self, "token"):
            get_connections().reset(self.token)


class Client(AsyncpgDBClient):
    connection_class = Connection

    def __init__(self, *, host: list[str], port: list[int], wait_seconds: float, **options: Any) -> None:
        super().__init__(wait_seconds=wait_seconds, **options)
        self.host, self.port = host, port  # type: ignore[assignment]  # Tortoise knows of one address alone

    async def create_pool(self, **options: Any) -> asyncpg.Pool:
        pool: asyncpg.Pool = await Pool(**options)
        return pool

    async def execute_query(self, query: str, values: list[Any] | None = None) -> tuple[int, list[Any]]:
        """Tortoise's, in fewer steps where a statement only reads."""
        pool: Any = self._pool
        if pool is None or not query.startswith("SELECT"):
            outcome: tuple[int, list[Any]] = await super().execute_query(query, values)
            return outcome
        self.log.debug("%s: %s", query, values)
        try:
            rows = await pool.rows(query, values or ())
        except Exception as error:
            await self._translate_exceptions(_raising, error)
            raise
        return len(rows), rows

    def _in_transaction(self) -> TransactionContext:
        return PooledTransaction(Transaction(self), self._pool_init_lock)

    async def _translate_exceptions(self, func: Any, *arguments: Any, **options: Any) -> Any:
        """Around each statement that is a transaction of its own."""
        try:
            with telling_apart():
                result = await super()._translate_exceptions(func, *arguments, **options)
        except asyncpg.ReadOnlySQLTransactionError:
            await self._expire_connections()
            raise
        if is_change(func.__name__, arguments):
            contention.committed()
        return result


async def _raising(_: Client, error: Exception) -> None:
    raise error


@contextmanager
def telling_apart() -> Iterator[None]:
    try:
        yield
    except TransactionManagementError as error:
        if isinstance(error.__cause__, OF_NO_USE):
            raise error.__cause__ from None
        raise


def is_change(method: str, arguments: tuple[Any, ...]) -> bool:
    """Whether that method of a client may have changed anything."""
    return method in {"execute_insert", "execute_many"} or str(arguments[0]).lstrip()[:6].upper() != "SELECT"


client_class = Client
