"""What wakes the followers of the event log when another process has appended to it: LISTEN, on PostgreSQL alone.

A notice carries nothing and may be lost: the log is read again and again anyway, so that nothing here is waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog

from gateway import database, postgres
from gateway.events import CHANNEL

APPLICATION_NAME = "tessera notices"
CONNECT_SECONDS = 2.0
RETRY_SECONDS = 0.5
CHECK_SECONDS = 30.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def waking(url: str, wake: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `wake` for each notice meanwhile, and whenever some may have been missed."""
    if database.is_sqlite(url):  # one process alone has it, and wakes itself
        yield
        return
    listening = asyncio.create_task(_listen_on(url, wake), name="notices")
    try:
        yield
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def _listen_on(url: str, wake: Callable[[], None]) -> None:
    """By one connection after another, for as long as each lasts."""
    is_failing = False
    while True:
        try:
            async with _connected(url) as connection:
                is_failing = False
                await _listen(connection, wake)
        except database.DOWN as error:
            if not is_failing:
                log.warning("notices_not_heard", cause=repr(error))
            is_failing = True
        except Exception:
            log.exception("notices_not_heard")
        await asyncio.sleep(RETRY_SECONDS)


async def _listen(connection: asyncpg.Connection, wake: Callable[[], None]) -> None:
    """Returns when the connection is lost. Raises what asyncpg does where that is found out by asking."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    await connection.add_listener(CHANNEL, lambda *_: wake())
    wake()
    while not lost.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                await lost.wait()
                return
        await connection.execute("SELECT 1")  # a connection that hangs says nothing by itself


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await postgres.connect(**_credentials(url), seconds=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
    try:
        yield connection
    finally:
        connection.terminate()


def _credentials(url: str) -> dict[str, Any]:
    credentials = database.postgres_credentials(url)
    settings = {**credentials.pop("server_settings", {}), "application_name": APPLICATION_NAME}
    return {**credentials, "server_settings": settings}
