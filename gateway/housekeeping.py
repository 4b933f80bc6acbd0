"""What the gateway does by itself as time goes by: it ends keys, and forgets what need not be kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from gateway import clock, events, idempotency, keys, partitions
from gateway.events import EventLog
from gateway.retention import Retention

EXPIRY_SECONDS = 1.0
FORGETTING_SECONDS = 3600.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(event_log: EventLog, event_retention: timedelta, records: Retention) -> AsyncIterator[None]:
    """Keeps house meanwhile. Several processes may: what one has done the others find done."""

    async def expire() -> None:
        if await keys.expire_due():
            event_log.wake()

    async def forget() -> None:
        await events.prune(event_retention)
        await idempotency.forget()

    async def keep_records() -> None:
        """One after the other: a call that moves to its week's table meanwhile would escape retention for a round."""
        await partitions.make_room(clock.now())
        await records.enforce()

    tasks = [
        asyncio.create_task(_repeat(expire, EXPIRY_SECONDS), name="expiry of keys"),
        asyncio.create_task(_repeat(forget, FORGETTING_SECONDS), name="forgetting"),
        asyncio.create_task(_repeat(keep_records, FORGETTING_SECONDS), name="tables and retention of records"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(act: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Goes on whatever happens; of failures in a row it logs the first, and that they are over."""
    is_failing = False
    while True:
        try:
            await act()
        except Exception:
            if not is_failing:
                log.exception("housekeeping_failed", act=act.__name__)
            is_failing = True
        else:
            if is_failing:
                log.info("housekeeping_resumed", act=act.__name__)
            is_failing = False
        await asyncio.sleep(seconds)
