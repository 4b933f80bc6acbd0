"""Connections that others keep busy, and statements that come to no end, cost a caller some seconds and no more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from tortoise.exceptions import OperationalError
from tortoise.transactions import in_transaction

from gateway.database import Limits, connected, connection, unavailable_when_down
from gateway.errors import Unavailable
from gateway.postgres import BUSY
from models import Project
from tests.gatehouse import gatehouse, settings_of
from tests.stage import SECRET_KEY, session_token

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)

FEW = 2


@asynccontextmanager
async def held(database_url: str) -> AsyncIterator[None]:
    """No other writes to projects, nor reads them, meanwhile."""
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE projects IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await other.close()


async def busy(database_url: str, quantity: int) -> None:
    """Returns once so many wait for a lock."""
    other = await asyncpg.connect(database_url)
    async with asyncio.timeout(60):
        while await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < quantity:  # noqa: ASYNC110  # only asking tells
            await asyncio.sleep(0.01)
    await other.close()


async def test_who_waits_too_long_for_a_connection_is_refused_and_all_is_well_when_one_is_free(
    database_url: str,
) -> None:
    async with connected(database_url, Limits(FEW, wait_seconds=0.5)):
        async with held(database_url):
            waiting = [asyncio.ensure_future(Project.all().count()) for _ in range(FEW)]
            await busy(database_url, FEW)
            for reading in (connection().execute_query("SELECT 1"), Project.all().count(), in_a_transaction()):
                with pytest.raises(Unavailable, match=BUSY):
                    await reading
        assert await asyncio.gather(*waiting) == [0] * FEW
        assert await asyncio.gather(*[Project.all().count() for _ in range(3 * FEW)]) == [0] * 3 * FEW


async def test_statements_that_fail_take_no_connection_with_them(database_url: str) -> None:
    async with connected(database_url, Limits(FEW, wait_seconds=0.5)):
        for _ in range(FEW + 1):
            with pytest.raises(OperationalError):
                await connection().execute_query("SELECT nothing FROM nowhere")
        assert await Project.all().count() == 0


async def in_a_transaction() -> None:
    async with in_transaction():
        await Project.all().count()


async def test_callers_are_told_503_and_when_to_come_again_until_a_connection_is_free(
    database_url: str, tmp_path: Path
) -> None:
    few = {"database_connections": FEW, "database_wait_seconds": 1, "secret_key": SecretStr(SECRET_KEY)}
    async with gatehouse(settings_of(tmp_path, database_url, **few)) as house:
        headers = {"Authorization": f"Bearer {await session_token(house.owner)}"}
        ask = {"query": f'{{ project(id: "{house.project.id}") {{ name }} }}'}
        async with held(database_url):
            waiting = [asyncio.ensure_future(Project.all().count()) for _ in range(FEW)]
            await busy(database_url, FEW)
            answer = await house.client.post("/graphql", json=ask, headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
        await asyncio.gather(*waiting, return_exceptions=True)  # the gateway's own reading may have been before one
        answer = await house.client.post("/graphql", json=ask, headers=headers)
        assert answer.json() == {"data": {"project": {"name": "Maps"}}}


async def test_a_statement_that_waits_for_a_lock_too_long_ends_and_gives_its_connection_back(
    database_url: str,
) -> None:
    async with connected(database_url, Limits(1, wait_seconds=5, statement_seconds=1)):
        async with held(database_url):
            for reading in (Project.all().count, in_a_transaction):
                with pytest.raises(Unavailable), unavailable_when_down():
                    await reading()
        assert await Project.all().count() == 0


async def test_a_transaction_whose_caller_goes_as_it_begins_gives_its_connection_back(database_url: str) -> None:
    async with connected(database_url, Limits(1, wait_seconds=5)):
        await Project.all().count()
        for steps in range(12):
            leaving = asyncio.create_task(in_a_transaction())
            for _ in range(steps):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        assert await Project.all().count() == 0
