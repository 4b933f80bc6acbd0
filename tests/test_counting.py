"""Calls that were counted, and taken back."""

from datetime import timedelta
from decimal import Decimal

import pytest

from gateway import clock, counting, usage
from gateway.counting import Call
from gateway.permissions import Permission
from gateway.pricing import between
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
