"""Whoever follows the log is woken when another process appends to it; without a notice it looks by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from structlog.testing import capture_logs
from tortoise.transactions import in_transaction

from gateway import events, notices
from gateway.permissions import GATEWAY
from tests.wire import Wire

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


class Ear:
    """Hears that it is woken, again and again."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def heard(self) -> None:
        async with asyncio.timeout(60):
            await self._woken.wait()
        self._woken.clear()

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await self._woken.wait()


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Ear]:
    ear = Ear()
    async with notices.waking(url, ear.wake):
        await ear.heard()  # once it listens: something may have been before
        yield ear


async def append(quantity: int = 1) -> None:
    async with in_transaction():
        for _ in range(quantity):
            await events.append(GATEWAY, "thing.happened", "prj_of_nobody")


async def test_an_append_wakes_when_it_is_committed_and_one_that_is_rolled_back_never(database: str) -> None:
    async with listening(database) as ear:
        with suppress(ZeroDivisionError):
            async with in_transaction():
                await events.append(GATEWAY, "thing.happened", "prj_of_nobody")
                _ = 1 / 0
        await ear.hears_nothing()
        async with in_transaction():
            await events.append(GATEWAY, "thing.happened", "prj_of_nobody")
            await ear.hears_nothing()
        await ear.heard()
        await append(3)
        await ear.heard()


async def test_it_listens_anew_when_its_connection_is_ended_and_wakes_for_what_was_meanwhile(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "RETRY_SECONDS", 0.01)
    async with listening(database) as ear:
        for _ in range(3):
            assert await deafened(database) == 1
            await ear.heard()
            await append()
            await ear.heard()


async def deafened(url: str) -> int:
    """How many connections that listen were ended."""
    connection = await asyncpg.connect(url)
    try:
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
        of_this = "datname = current_database()"
        return len(await connection.fetch(f"{ending} AND {of_this}", notices.APPLICATION_NAME))
    finally:
        await connection.close()


@pytest.mark.parametrize("fault", ["cut", "hang"])
async def test_a_connection_that_is_cut_or_hangs_is_made_anew(
    database: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    for name, seconds in (("RETRY_SECONDS", 0.01), ("CHECK_SECONDS", 0.05), ("CONNECT_SECONDS", 0.2)):
        monkeypatch.setattr(notices, name, seconds)
    wire = Wire(database)
    await wire.mend()
    with capture_logs() as entries:
        async with listening(wire.url) as ear:
            await getattr(wire, fault)()
            while not entries:  # noqa: ASYNC110  # only the log tells
                await asyncio.sleep(0.01)
            if fault == "hang":
                await wire.cut()
            await wire.mend()
            await ear.heard()
            await append()
            await ear.heard()
        await wire.cut()
    assert {entry["event"] for entry in entries} == {"notices_not_heard"}


async def test_a_notice_wakes_long_before_the_log_would_look_by_itself(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "POLL_SECONDS", 600)
    monkeypatch.setattr(events, "FRESH_SECONDS", 600)
    async with asyncio.timeout(60), events.EventLog().running() as log, notices.waking(database, log.wake):
        await append()
        await log.grown(0, 10)
        assert log.position == 1
