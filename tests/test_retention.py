"""Single calls go when their time is over; no total changes by it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway import clock, counting, exports, housekeeping, reported, retention, usage
from gateway.counting import Call, Refused
from gateway.errors import Invalid, PeriodTooFine
from gateway.events import EventLog
from gateway.permissions import Actor
from gateway.pricing import between, instant_of, micros
from gateway.reported import Told
from gateway.retention import Retention
from gateway.usage import Grouping, Totals
from models import IssuedKey, ReportedCall, UsageDay, UsageHour, UsageMonth, UsageRecord, User
from tests.world import keys_of, unchanged

MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
NOW = datetime.fromisoformat("2026-11-23T12:34:56.789012Z")
DAYS = 3
KEPT_FROM = usage.records_kept_from(NOW, DAYS)
DROPPED_UNTIL = KEPT_FROM - HOUR

over_examples = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
async def keys(database: str) -> Sequence[IssuedKey]:
    return await keys_of("Basic", "Pro", "Unused")


async def records() -> list[tuple[str, int]]:
    rows = await UsageRecord.all().order_by("key_id", "called_at").values_list("key_id", "called_at")
    return [(key_id, called_at) for key_id, called_at in rows]


instants = st.integers(0, 8 * 24 * 60).map(lambda minutes: NOW - minutes * timedelta(minutes=1))
costs = st.integers(0, 10**20 - 1).map(lambda tiny: Decimal(tiny).scaleb(-10))
whole_hours = instants.map(lambda at: at.replace(minute=0, second=0, microsecond=0))
boundaries = st.lists(whole_hours, min_size=2, max_size=6, unique=True).map(sorted)


@over_examples
@given(data=st.data())
async def test_no_total_over_whole_hours_changes(
    keys: Sequence[IssuedKey], monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    for table in (UsageRecord, UsageHour, UsageDay, UsageMonth):
        await table.all().delete()
    monkeypatch.setattr(retention, "BATCH", data.draw(st.integers(1, 9)))
    key_ids = st.sampled_from([key.id for key in keys[:2]])
    await counting.record(data.draw(st.lists(st.builds(Call, key_ids, instants, costs), max_size=20)))
    await counting.refuse(data.draw(st.lists(st.builds(Refused, key_ids, instants, st.integers(1, 9)), max_size=3)))
    edges = data.draw(boundaries)
    project_id, calls = keys[0].project_id, await UsageRecord.all().count()

    async def totals() -> list[Any]:
        series = await usage.series([project_id], edges)
        periods = [between(start, end) for start, end in pairwise(edges)]
        return [series, *[await usage.of_projects([project_id], by, each) for by in Grouping for each in periods]]

    before = await totals()
    too_old = await UsageRecord.filter(called_at__lt=micros(DROPPED_UNTIL)).count()
    await Retention(DAYS).enforce()
    assert await totals() == before
    assert await UsageRecord.filter(called_at__lt=micros(DROPPED_UNTIL)).count() == 0
    assert await UsageRecord.all().count() == calls - too_old


async def test_an_hour_more_is_kept_than_reports_need_and_not_a_microsecond_longer(keys: Sequence[IssuedKey]) -> None:
    last, first = DROPPED_UNTIL - MICROSECOND, DROPPED_UNTIL
    await counting.record(Call(keys[0].id, at, Decimal(1)) for at in (last, first))
    await Retention(DAYS).enforce()
    assert await records() == [(keys[0].id, micros(first))]
    period = between(KEPT_FROM + MICROSECOND, NOW)  # its odd edge is read from records that are there
    assert await usage.of_keys([keys[0].id], period, KEPT_FROM) == {keys[0].id: Totals()}


@pytest.mark.parametrize(
    "change",
    [{"requests": 3}, {"units": 4}, {"fraction": 1}, {"requests": 1}, None],
)
async def test_an_hour_that_differs_from_its_records_is_kept_and_logged_once(
    keys: Sequence[IssuedKey], change: dict[str, int] | None
) -> None:
    odd, sound = DROPPED_UNTIL - 5 * HOUR, DROPPED_UNTIL - 3 * HOUR
    await counting.record(Call(keys[0].id, at, Decimal("1.5")) for at in (odd, odd, sound, odd - HOUR))
    bucket = UsageHour.filter(key_id=keys[0].id, hour=micros(odd))
    await (bucket.update(**change) if change else bucket.delete())
    keeping = Retention(DAYS)
    with capture_logs() as entries:
        await keeping.enforce()
        async with unchanged():
            await keeping.enforce()
    assert await records() == [(keys[0].id, micros(odd))] * 2
    assert [(entry["key_id"], entry["hour"]) for entry in entries] == [(keys[0].id, str(instant_of(micros(odd))))]


async def test_records_go_in_batches_of_whole_hours(keys: Sequence[IssuedKey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    start = DROPPED_UNTIL - 2 * DAY
    in_hours = {0: 3, 1: 1, 2: 2, 20: 9, 21: 1}
    await counting.record(
        Call(keys[0].id, start + hour * HOUR, Decimal(1))
        for hour, quantity in in_hours.items()
        for _ in range(quantity)
    )
    dropped, drop = [], retention._drop_reconciled

    async def counted(*where: Any) -> list[int]:
        before = await UsageRecord.all().count()
        differing = await drop(*where)
        dropped.append(before - await UsageRecord.all().count())
        return differing

    monkeypatch.setattr(retention, "_drop_reconciled", counted)
    await Retention(DAYS).enforce()
    assert [quantity for quantity in dropped if quantity] == [4, 2, 9, 1]


async def test_calls_of_many_keys_go(keys: Sequence[IssuedKey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "KEYS_AT_ONCE", 2)
    await counting.record(Call(key.id, NOW - 10 * DAY, Decimal(1)) for key in keys)
    await Retention(DAYS).enforce()
    assert await records() == []


async def test_reported_calls_are_known_for_as_long_as_they_may_be_told_of(
    keys: Sequence[IssuedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(7):
        at = DROPPED_UNTIL + (number - 5) * MICROSECOND
        whose: dict[str, Any] = {"project_id": keys[0].project_id, "key_id": keys[0].id}
        await ReportedCall.create(**whose, call_id=str(number), called_at=micros(at))
    await Retention(DAYS).enforce()
    assert sorted(row.call_id for row in await ReportedCall.all()) == ["5", "6"]


async def test_a_running_gateway_drops_them_by_itself(
    keys: Sequence[IssuedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    await counting.record(Call(keys[0].id, at, Decimal(1)) for at in (NOW - 10 * DAY, NOW))
    records_kept, enforced = Retention(DAYS), asyncio.Event()
    enforce = records_kept.enforce

    async def told() -> None:
        await enforce()
        enforced.set()

    monkeypatch.setattr(records_kept, "enforce", told)
    async with housekeeping.running(EventLog(), 90 * DAY, records_kept):
        await asyncio.wait_for(enforced.wait(), 30)
    assert await records() == [(keys[0].id, micros(NOW))]


async def test_what_was_dropped_is_never_said_to_be_kept_although_more_is_kept_from_then_on(
    keys: Sequence[IssuedKey],
) -> None:
    owner = Actor(user=await User.get(email="Ada@example.org"), address="127.0.0.1")
    odd = DROPPED_UNTIL - 5 * HOUR + MICROSECOND
    await counting.record(Call(keys[0].id, at, Decimal(1)) for at in (odd, DROPPED_UNTIL))
    longer = usage.records_kept_from(NOW, 10 * DAYS)
    assert await usage.not_dropped_from(longer) == longer
    await Retention(DAYS).enforce()
    await Retention(10 * DAYS).enforce()
    assert await usage.not_dropped_from(longer) == DROPPED_UNTIL
    assert await usage.not_dropped_from(KEPT_FROM) == KEPT_FROM
    project_id, edges = keys[0].project_id, [odd, NOW.replace(minute=0, second=0, microsecond=0)]
    with pytest.raises(PeriodTooFine):
        await usage.of_keys([keys[0].id], between(*edges), longer)
    with pytest.raises(PeriodTooFine):
        await usage.of_projects([project_id], Grouping.KEY, between(*edges), longer)
    with pytest.raises(PeriodTooFine):
        await usage.series([project_id], edges, longer)
    with pytest.raises(PeriodTooFine):
        await exports.totals(owner, project_id, edges, Grouping.KEY, longer)
    with pytest.raises(PeriodTooFine):
        await exports.records(owner, project_id, between(*edges), longer)
    with pytest.raises(Invalid):
        await reported.report(owner, project_id, [Told("once more", keys[0].id, odd)], longer)
    whole = await usage.of_keys([keys[0].id], between(odd.replace(microsecond=0, minute=0), edges[1]), longer)
    assert whole[keys[0].id].requests == 2
