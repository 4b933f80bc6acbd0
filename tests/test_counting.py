"""Calls that were counted, and taken back."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from tortoise.backends.asyncpg.client import AsyncpgDBClient

from gateway import clock, counting, usage
from gateway.counting import Call
from gateway.database import connection
from gateway.permissions import Permission
from gateway.pricing import between, micros
from gateway.statements import Statement
from models import IssuedKey, UsageRecord
from tests.world import issued_key, owned_project, person, role, template, unchanged


@pytest.fixture
async def key(database: str) -> IssuedKey:
    ada = await person("Ada")
    project = await owned_project(ada)
    return await issued_key(await template(project, await role(project, Permission.PROJECT_VIEW)), ada)


async def test_a_call_that_is_taken_back_leaves_totals_as_they_were(key: IssuedKey) -> None:
    now = clock.now()
    kept, taken = Call(key.id, now, Decimal("1.0000000001")), Call(key.id, now, Decimal("1.9999999999"))
    await counting.record([kept])
    async with unchanged():
        await counting.record([taken])
        await counting.void([taken])


async def test_of_calls_that_are_alike_one_is_taken_back(key: IssuedKey) -> None:
    alike = Call(key.id, clock.now(), Decimal("0.7"))
    await counting.record([alike, alike, alike])
    await counting.void([alike, alike])
    period = between(alike.called_at, alike.called_at + timedelta(seconds=1))
    totals = (await usage.of_keys([key.id], period))[key.id]
    assert (totals.requests, totals.cost.decimal) == (1, Decimal("0.7"))
    assert await UsageRecord.filter(key_id=key.id).count() == 1


async def test_a_call_that_was_not_counted_is_not_taken_back(key: IssuedKey) -> None:
    counted = Call(key.id, clock.now(), Decimal("0.7"))
    await counting.record([counted])
    for other in (counted._replace(cost=Decimal("0.8")), counted._replace(called_at=clock.now())):
        async with unchanged():
            with pytest.raises(LookupError):
                await counting.void([other])
    async with unchanged():
        with pytest.raises(LookupError):
            await counting.void([counted, counted])


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
@pytest.mark.parametrize("first", ["usage_days", "usage_months", "usage_hours"])
async def test_one_statement_takes_its_rows_in_the_order_that_all_take_them_in(
    key: IssuedKey, first: str, database: str
) -> None:
    """A row that another holds keeps it from those after it alone: days come before months, and months before hours."""
    order = ["usage_days", "usage_months", "usage_hours"]
    record = (key.id, micros(clock.now()), 1, 0)
    pool = cast(AsyncpgDBClient, connection())
    async with pool.acquire_connection() as holder, pool.acquire_connection() as counter:
        await counter.fetch(*flat(counting.at_once("postgres", 0, [record])))
        async with holder.transaction():
            await holder.fetch(f"SELECT 1 FROM {first} FOR UPDATE")  # noqa: S608  # a table of ours
            counting_again = asyncio.create_task(counter.fetch(*flat(counting.at_once("postgres", 0, [record]))))
            await until_blocked(holder, counting_again)
            taken = [table for table in order if await is_taken(pool, table)]
        await counting_again
    assert taken == order[: order.index(first) + 1]


def flat(statement: Statement) -> tuple[Any, ...]:
    return statement.sql, *statement.values


async def until_blocked(holder: Any, task: asyncio.Task[Any]) -> None:
    for _ in range(500):
        if task.done() or await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            break
        await asyncio.sleep(0.01)
    assert not task.done()


async def is_taken(pool: AsyncpgDBClient, table: str) -> bool:
    """Whether another transaction has the table's row, or waits for it behind its holder."""
    async with pool.acquire_connection() as onlooker:
        return not await onlooker.fetch(f"SELECT 1 FROM {table} FOR UPDATE SKIP LOCKED")  # noqa: S608  # a table of ours
