"""Buckets are proven to be the sums of their parts, and every one that isn't is told."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import counting, reconcile
from gateway.counting import Call, Refused
from gateway.permissions import Permission
from gateway.pricing import micros
from models import IssuedKey, UsageDay, UsageHour, UsageMonth, UsageRecord
from tests.world import issued_key, owned_project, person, role, template

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOON = datetime.fromisoformat("2026-03-31T12:00:00Z")
EVER = datetime.fromisoformat("2020-01-01T00:00:00Z")
MOST = Decimal("9999999999.9999999999")

over_examples = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def keys(database: str) -> Sequence[IssuedKey]:
    ada = await person("Ada")
    project = await owned_project(ada)
    caller = await role(project, Permission.PROJECT_VIEW)
    return [await issued_key(await template(project, caller, name), ada) for name in ("Basic", "Pro", "Max")]


async def found(since: datetime = EVER) -> list[str]:
    return [str(difference) async for difference in reconcile.differences(since, lambda _: None)]


instants = st.integers(-5 * 10**6, 5 * 10**6).map(lambda seconds: NOON + timedelta(seconds=seconds))
costs = st.integers(0, 10**20 - 1).map(lambda tiny: Decimal(tiny).scaleb(-10))


@over_examples
@given(data=st.data())
async def test_whatever_is_called_refused_and_taken_back_leaves_no_difference(
    keys: Sequence[IssuedKey], data: st.DataObject
) -> None:
    key_ids = st.sampled_from([key.id for key in keys])
    calls = data.draw(st.lists(st.builds(Call, key_ids, instants, costs), max_size=20))
    await counting.record(calls)
    await counting.refuse(data.draw(st.lists(st.builds(Refused, key_ids, instants, st.integers(1, 9)), max_size=4)))
    await counting.void(data.draw(st.lists(st.sampled_from(calls), unique_by=calls.index)) if calls else [])
    assert await found() == []


@pytest.mark.parametrize("table", [UsageHour, UsageDay, UsageMonth])
@pytest.mark.parametrize("column", ["requests", "refused", "units", "fraction"])
async def test_the_smallest_difference_is_told_in_every_bucket(
    keys: Sequence[IssuedKey], table: type[UsageHour], column: str
) -> None:
    await counting.record(Call(key.id, NOON, Decimal("1.5")) for key in keys)
    row = await table.get(key_id=keys[1].id)
    await table.filter(key_id=row.key_id).update(**{column: getattr(row, column) + 1})
    lines = await found()
    differing = {UsageHour: ["day"], UsageDay: ["day", "month"], UsageMonth: ["month"]}[table]
    differing = ["hour", *differing] if table is UsageHour and column != "refused" else differing
    assert [line.split()[2] for line in lines] == differing
    assert {line.split()[0] for line in lines} == {f"{keys[1].id}:"}


async def test_a_difference_says_what_the_bucket_holds_and_what_its_parts(keys: Sequence[IssuedKey]) -> None:
    await counting.record(Call(keys[0].id, NOON, Decimal("0.7500000001")) for _ in range(2))
    await UsageRecord.filter(id=(await UsageRecord.first() or UsageRecord()).id).delete()
    [line] = await found()
    assert line == (
        f"{keys[0].id}: its hour 2026-03-31T12:00Z says 2 calls, 0 refused, 1.5000000002; "
        "its parts 1 calls, 0 refused, 0.7500000001."
    )


@pytest.mark.parametrize("table", [UsageHour, UsageDay, UsageMonth])
async def test_a_bucket_that_is_missing_is_told(keys: Sequence[IssuedKey], table: type[UsageHour]) -> None:
    await counting.record([Call(keys[0].id, NOON, Decimal("1.5"))])
    await table.all().delete()
    assert "says 0 calls, 0 refused, 0; its parts 1 calls, 0 refused, 1.5." in (await found())[0]


async def test_sums_beyond_what_a_floating_point_number_holds_are_exact(keys: Sequence[IssuedKey]) -> None:
    await counting.record(Call(keys[0].id, NOON + number * timedelta(seconds=1), MOST) for number in range(3000))
    assert await found() == []
    await UsageMonth.all().update(fraction=(await UsageMonth.get()).fraction + 1)
    assert len(await found()) == 1


async def test_hours_whose_records_are_no_longer_kept_are_compared_with_their_days_alone(
    keys: Sequence[IssuedKey],
) -> None:
    await counting.record(Call(keys[0].id, at, Decimal(1)) for at in (NOON - HOUR, NOON))
    await UsageRecord.filter(called_at__lt=micros(NOON)).delete()
    assert await found(NOON) == []
    assert len(await found(NOON - HOUR)) == 1
    await UsageHour.filter(hour__lt=micros(NOON)).update(units=7)
    assert len(await found(NOON)) == 1


async def test_more_keys_and_differences_than_are_read_at_once_are_all_told(
    keys: Sequence[IssuedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "KEYS_AT_ONCE", 2)
    monkeypatch.setattr(reconcile, "DIFFERENCES_AT_ONCE", 2)
    await counting.record(Call(key.id, NOON - day * DAY, Decimal(1)) for key in keys for day in range(5))
    await UsageRecord.all().delete()
    done: list[int] = []
    lines = [str(difference) async for difference in reconcile.differences(EVER, done.append)]
    assert len(set(lines)) == len(lines) == 15
    assert done == [2, 3]


async def test_calls_that_are_counted_meanwhile_make_no_difference(
    keys: Sequence[IssuedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "KEYS_AT_ONCE", 1)
    is_over = False

    async def call() -> None:
        while not is_over:
            await counting.record(Call(key.id, NOON, Decimal("0.9999999999")) for key in keys)

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        try:
            while await UsageRecord.all().count() < 60:
                assert await found() == []
        finally:
            is_over = True
