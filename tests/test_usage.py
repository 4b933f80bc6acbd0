"""Totals over any period are the sums of the calls in it, to the last digit, on every database."""

import asyncio
import json
import logging
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tortoise.exceptions import IntegrityError

from gateway import counting, usage
from gateway.counting import Call, Refused
from gateway.database import connection
from gateway.errors import PeriodTooFine
from gateway.permissions import Actor
from gateway.pricing import Amount, Granularity, Period, between, cost, month, plain, steps
from gateway.usage import Grouping, Totals
from models import UsageDay, UsageHour, UsageMonth, UsageRecord
from tests.ledger import (
    DAY,
    END,
    HOUR,
    MICROSECOND,
    START,
    ZONES,
    Ledger,
    coefficients,
    cuts,
    few_instants,
    hour_of,
    instants,
    make_key,
    make_template,
    make_user,
    new_ledger,
    over_examples,
    periods,
    prices,
    random_calls,
    random_refusals,
)
from tests.statements import statements

WINTER = datetime.fromisoformat("2026-01-01T00:00:00Z")


@pytest.fixture
async def ledger(database: str) -> Ledger:
    return await new_ledger()


# Reports


@pytest.fixture
async def busy(ledger: Ledger) -> Ledger:
    await ledger.count(random_calls(ledger, 2000), random_refusals(ledger, 300))
    return ledger


@over_examples
@given(period=periods)
async def test_totals_of_any_period_are_the_sums_of_its_calls(busy: Ledger, period: Period) -> None:
    of_keys = await usage.of_keys([key.id for key in busy.keys], period)
    assert of_keys == {key.id: busy.total(period, [key]) for key in busy.keys}


@over_examples
@given(period=periods, by=st.sampled_from(Grouping))
async def test_totals_of_projects_are_told_apart_by_group(busy: Ledger, period: Period, by: Grouping) -> None:
    projects = {key.project_id for key in busy.keys}
    found = await usage.of_projects(projects, by, period)
    assert found == {project: busy.grouped(project, by, period) for project in projects}


@over_examples
@given(period=periods, name=st.sampled_from(ZONES), granularity=st.sampled_from(Granularity))
async def test_the_points_of_a_series_are_totals_and_add_up(
    busy: Ledger, period: Period, name: str, granularity: Granularity
) -> None:
    project = busy.keys[0].project_id
    boundaries = steps(period, granularity, name)
    points = (await usage.series([project], boundaries))[project]
    expected = [busy.total(Period(*point), busy.of(project)) for point in pairwise(boundaries)]
    assert [(point.requests, point.cost) for point in points] == [(point.requests, point.cost) for point in expected]
    assert sum(point.refused for point in points) == busy.total(period, busy.of(project)).refused


@over_examples
@given(data=st.data())
async def test_whatever_is_called_refused_and_taken_back_reports_are_the_sums_to_the_last_digit(
    ledger: Ledger, data: st.DataObject
) -> None:
    """Of calls at any price and coefficient, over any period, however it is split, by whatever it is told apart."""
    for table in (UsageRecord, UsageHour, UsageDay, UsageMonth):
        await table.all().delete()
    fresh = Ledger(ledger.keys)
    key_ids = st.sampled_from([key.id for key in fresh.keys])
    priced = st.builds(cost, prices, coefficients)
    calls = st.lists(st.builds(Call, key_ids, few_instants, priced), max_size=20)
    refusals = st.lists(st.builds(Refused, key_ids, instants, st.integers(1, 9)), max_size=5)
    for _ in range(2):
        await fresh.count(data.draw(calls), data.draw(refusals))
        await fresh.void(data.draw(st.permutations(fresh.calls))[: data.draw(st.integers(0, len(fresh.calls)))])
    edges, by = data.draw(cuts), data.draw(st.sampled_from(Grouping))
    whole, split = between(edges[0], edges[-1]), [between(*part) for part in pairwise(edges)]
    project_id, key_ids_of_all = fresh.keys[0].project_id, [key.id for key in fresh.keys]
    assert await usage.of_keys(key_ids_of_all, whole) == {key.id: fresh.total(whole, [key]) for key in fresh.keys}
    assert await usage.of_projects([project_id], by, whole) == {project_id: fresh.grouped(project_id, by, whole)}
    parts = [await usage.of_keys(key_ids_of_all, part) for part in split]
    for key in fresh.keys:
        assert calls_in(part[key.id] for part in parts) == calls_in([fresh.total(whole, [key])])
    points = (await usage.series([project_id], edges))[project_id]
    assert calls_in(points) == calls_in([fresh.total(whole, fresh.of(project_id))])


def calls_in(parts: Iterable[Totals]) -> tuple[int, Amount]:
    """What they add up to; refused calls are known by the hour alone, so parts that an hour is in both tell of them."""
    found = list(parts)
    return sum(part.requests for part in found), sum((part.cost for part in found), Amount())


@over_examples
@given(edges=cuts, by=st.sampled_from(Grouping))
async def test_the_steps_of_groups_are_their_totals_and_add_up_with_what_was_refused(
    busy: Ledger, edges: list[datetime], by: Grouping
) -> None:
    project_id, whole = busy.keys[0].project_id, between(edges[0], edges[-1])
    found = [groups async for _, groups in usage.by_step(project_id, by, edges)]
    expected = [busy.grouped(project_id, by, Period(*step)) for step in pairwise(edges)]
    assert [calls_by_group(groups) for groups in found] == [calls_by_group(groups) for groups in expected]
    refused = sum(totals.refused for groups in found for totals in groups.values())
    assert refused == busy.total(whole, busy.of(project_id)).refused


def calls_by_group(groups: dict[str, Totals]) -> dict[str, tuple[int, Amount]]:
    return {id: (totals.requests, totals.cost) for id, totals in groups.items() if totals.requests}


async def test_an_hour_of_refused_calls_that_a_boundary_cuts_belongs_to_the_point_of_its_beginning(
    ledger: Ledger,
) -> None:
    key = ledger.keys[0]
    await ledger.count([], [Refused(key.id, START + HOUR / 4, 3), Refused(key.id, START + HOUR, 4)])
    boundaries = [START + HOUR / 2, START + HOUR * 3 / 2, START + 2 * HOUR]
    points = (await usage.series([key.project_id], boundaries))[key.project_id]
    assert [point.refused for point in points] == [7, 0]


async def test_a_point_may_begin_in_the_last_microsecond_of_an_hour(ledger: Ledger) -> None:
    key, edge = ledger.keys[0], START + 2 * HOUR - MICROSECOND
    await ledger.count(Call(key.id, at, Decimal(1)) for at in (START, edge - MICROSECOND, edge, edge + MICROSECOND))
    points = (await usage.series([key.project_id], [START, edge, START + 4 * HOUR]))[key.project_id]
    assert [point.requests for point in points] == [2, 2]


async def test_an_edge_inside_an_hour_counts_its_refused_calls_whole_and_once(ledger: Ledger) -> None:
    key = ledger.keys[0]
    await ledger.count([], [Refused(key.id, START + HOUR / 4, 3), Refused(key.id, START + HOUR, 4)])
    inside = await usage.of_keys([key.id], between(START + HOUR / 2, START + HOUR * 3 / 4))
    over_two = await usage.of_keys([key.id], between(START + HOUR / 2, START + HOUR * 5 / 4))
    assert (inside[key.id].refused, over_two[key.id].refused) == (3, 7)


async def test_a_sum_that_breaks_floating_point_is_exact_to_the_tenth_decimal(ledger: Ledger) -> None:
    key, most = ledger.keys[0], cost(Decimal("999999.999999"), Decimal("9999.9999"))
    await ledger.count(Call(key.id, START, one) for one in [Decimal("1234567.1234567892")] * 3 + [most] * 1000)
    await ledger.count([Call(key.id, START, Decimal("0.0000000001"))])
    total = (await usage.of_projects([key.project_id], Grouping.PROJECT, month("2026-03")))[key.project_id]
    assert plain(total[key.project_id].cost.decimal) == "10000003603691.3703704677"


async def test_a_bucket_carries_at_the_tenth_decimal(ledger: Ledger) -> None:
    key = ledger.keys[0]
    for part in ("1.9999999999", "0.0000000002", "2.9999999999"):
        await ledger.count([Call(key.id, START, Decimal(part))])
    for bucket in (await UsageHour.get(key_id=key.id), await UsageDay.get(key_id=key.id)):
        assert (bucket.requests, bucket.units, bucket.fraction) == (3, 5, 0)


async def test_a_key_or_project_without_calls_has_nothing(ledger: Ledger) -> None:
    key, period = ledger.keys[0], between(START, END)
    assert await usage.of_keys([key.id], period) == {key.id: Totals()}
    assert await usage.of_projects([key.project_id], Grouping.USER, period) == {key.project_id: {}}
    assert await usage.series([key.project_id], [START, END]) == {key.project_id: [Totals()]}
    assert await usage.of_keys([], period) == {}
    assert await usage.of_projects([], Grouping.USER, period) == {}


async def test_the_last_call_of_a_key_is_told_to_the_microsecond_and_to_the_hour_where_its_record_is_gone(
    busy: Ledger,
) -> None:
    actor, key_ids = Actor(address="127.0.0.1"), [key.id for key in busy.keys]
    early, late = busy.keys[0].id, START + 90 * DAY + MICROSECOND
    silent = (await make_key(await make_template("Maps", "Silent"), await make_user("Cy"))).id
    await busy.count([Call(key_id, late, Decimal(1)) for key_id in key_ids[1:]], [Refused(early, late + DAY)])
    last = {id: max(call.called_at for call in busy.calls if call.key_id == id) for id in key_ids}
    assert await usage.last_calls(actor, [*key_ids, silent]) == last
    await UsageRecord.filter(key_id__in=[early, key_ids[1]]).delete()
    last |= {id: hour_of(last[id]) for id in (early, key_ids[1])}
    assert await usage.last_calls(actor, [*key_ids, silent]) == last
    assert await usage.last_calls(actor, [silent]) == {}


# Counting


async def test_an_unknown_key_counts_nothing_at_all(ledger: Ledger) -> None:
    known, unknown = (Call(key_id, START, Decimal(1)) for key_id in (ledger.keys[0].id, "key_unknown"))
    with pytest.raises(IntegrityError):
        await counting.record([known, unknown])
    assert [await table.all().count() for table in (UsageRecord, UsageHour, UsageDay)] == [0, 0, 0]


async def test_more_calls_than_a_batch_are_counted_in_one_transaction(ledger: Ledger) -> None:
    calls = [
        Call(key.id, START + second * timedelta(seconds=1), Decimal("0.1"))
        for second in range(3500)
        for key in ledger.keys
    ]
    assert len(calls) > 2 * counting.BATCH
    await counting.record(calls)
    found = await usage.of_keys([key.id for key in ledger.keys], between(START, END))
    assert set(found.values()) == {Totals(3500, 0, Amount(350))}
    with pytest.raises(IntegrityError):
        await counting.record([*calls, Call("key_unknown", START, Decimal(1))])
    assert await UsageRecord.all().count() == len(calls)


async def test_writers_of_the_same_buckets_lose_nothing(ledger: Ledger) -> None:
    calls = [Call(key.id, START, Decimal("0.0000000001")) for key in ledger.keys]
    await asyncio.gather(*(counting.record(random.Random(seed).sample(calls, len(calls))) for seed in range(20)))  # noqa: S311  # no secret
    found = await usage.of_keys([key.id for key in ledger.keys], between(START, END))
    assert set(found.values()) == {Totals(20, 0, Amount(0, 20))}


# Retention


async def test_an_odd_edge_before_the_records_that_are_kept_is_too_fine(busy: Ledger) -> None:
    key, kept_from = busy.keys[0], START + timedelta(days=10)
    odd_start, whole_start, late_start = START + HOUR / 2, START + HOUR, kept_from + HOUR / 2
    for start in (whole_start, late_start):
        found = await usage.of_keys([key.id], between(start, END), raw_kept_from=kept_from)
        assert found == {key.id: busy.total(between(start, END), [key])}
    period = between(odd_start, END)
    with pytest.raises(PeriodTooFine):
        await usage.of_keys([key.id], period, raw_kept_from=kept_from)
    with pytest.raises(PeriodTooFine):
        await usage.of_projects([key.project_id], Grouping.PROJECT, period, raw_kept_from=kept_from)
    with pytest.raises(PeriodTooFine):
        await usage.series([key.project_id], [START, odd_start, END], raw_kept_from=kept_from)
    with pytest.raises(PeriodTooFine):
        usage.by_step(key.project_id, Grouping.KEY, [START, odd_start, END], raw_kept_from=kept_from)


# What it costs


@pytest.mark.parametrize("granularity", Granularity)
async def test_a_report_is_one_statement_however_many_keys_projects_and_points(
    busy: Ledger, granularity: Granularity, caplog: pytest.LogCaptureFixture
) -> None:
    projects, period = {key.project_id for key in busy.keys}, between(START + HOUR / 7, END - HOUR / 7)
    caplog.set_level(logging.DEBUG, "tortoise.db_client")
    caplog.clear()
    await usage.of_keys([key.id for key in busy.keys], period)
    await usage.of_projects(projects, Grouping.USER, period)
    await usage.series(projects, steps(period, granularity, "Asia/Kolkata"))
    assert len([record for record in caplog.records if record.name == "tortoise.db_client"]) == 3


async def test_ten_thousand_keys_are_one_statement(ledger: Ledger) -> None:
    await ledger.count([Call(ledger.keys[0].id, START, Decimal(1))])
    ids = [ledger.keys[0].id, *(f"key_{number}" for number in range(9_999))]
    with statements() as sent:
        found = await usage.of_keys(ids, between(START, END))
    assert len(sent) == 1
    assert [total.requests for total in found.values()] == [1, *[0] * 9_999]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_no_table_of_usage_is_read_through(busy: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tortoise.db_client")
    caplog.clear()
    period = between(START + HOUR / 7, END - HOUR / 7)
    await usage.series([busy.keys[0].project_id], steps(period, Granularity.DAY, "Asia/Kolkata"))
    statement, values = cast("tuple[str, list[Any]]", caplog.records[-1].args)
    plan = await connection().execute_query_dict(f"EXPLAIN QUERY PLAN {statement}", values)
    searched = [step["detail"] for step in plan if " r " in step["detail"]]
    assert len(searched) >= 4
    assert all("SEARCH r USING" in step and "key_id=? AND" in step for step in searched)


@settings(over_examples, max_examples=15)
@given(data=st.data())
async def test_a_period_of_months_adds_up_and_so_does_its_series(ledger: Ledger, data: st.DataObject) -> None:
    minutes = st.integers(0, 150 * 24 * 60).map(lambda number: WINTER + timedelta(minutes=number))
    keys = st.sampled_from(ledger.keys)
    costs = st.integers(0, 10**12).map(lambda tiny: Decimal(tiny).scaleb(-10))
    await ledger.count(
        data.draw(st.lists(st.builds(Call, keys.map(lambda key: key.id), minutes, costs), max_size=30)),
        data.draw(st.lists(st.builds(Refused, keys.map(lambda key: key.id), minutes, st.integers(1, 9)), max_size=5)),
    )
    start, end = sorted(data.draw(st.lists(minutes, min_size=2, max_size=2, unique=True)))
    period, key = between(start, end), data.draw(keys)
    of_project = ledger.of(key.project_id)
    assert await usage.of_keys([key.id], period) == {key.id: ledger.total(period, [key])}
    for granularity in (Granularity.MONTH, Granularity.WEEK):
        boundaries = steps(period, granularity, data.draw(st.sampled_from(ZONES)))
        points = (await usage.series([key.project_id], boundaries))[key.project_id]
        whole = ledger.total(period, of_project)
        assert sum(point.requests for point in points) == whole.requests
        assert sum(point.refused for point in points) == whole.refused
        assert sum((point.cost for point in points), Amount()) == whole.cost
        for (low, high), point in zip(pairwise(boundaries), points, strict=True):
            assert point.cost == ledger.total(between(low, high), of_project).cost


async def test_ten_times_the_calls_in_the_same_hours_are_read_by_as_many_rows(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    project_id = ledger.keys[0].project_id
    instants_of_calls = [WINTER + number * 6 * HOUR + HOUR / 2 for number in range(4 * 70)]
    period = between(WINTER + 10 * DAY + HOUR * 8 / 7, WINTER + 65 * DAY + HOUR * 4 / 3)
    work = []
    for times in (1, 9):
        calls = instants_of_calls * times
        await ledger.count(Call(key.id, at, Decimal("0.7")) for key in ledger.of(project_id) for at in calls)
        caplog.set_level(logging.DEBUG, "tortoise.db_client")
        found = await usage.of_projects([project_id], Grouping.KEY, period)
        assert found == {project_id: ledger.grouped(project_id, Grouping.KEY, period)}
        statement, values = cast("tuple[str, list[Any]]", caplog.records[-1].args)
        caplog.set_level(logging.INFO, "tortoise.db_client")
        work.append(await work_of(statement, values))
    assert work[0] == work[1] > 0


async def work_of(statement: str, values: list[Any]) -> int:
    """Rows that PostgreSQL read of tables and indexes for it; on SQLite the steps of its machine."""
    database = connection()
    if database.capabilities.dialect == "sqlite":
        ticks = count()
        await database._connection.set_progress_handler(lambda: next(ticks) < 0, 1)
        await database.execute_query_dict(statement, values)
        await database._connection.set_progress_handler(None, 1)
        return next(ticks)
    [plan] = await database.execute_query_dict(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", values)
    return rows_read(json.loads(plan["QUERY PLAN"])[0]["Plan"])


def rows_read(node: dict[str, Any]) -> int:
    own = round(node["Actual Rows"] * node["Actual Loops"]) if "Relation Name" in node else 0
    skipped = round(node.get("Rows Removed by Filter", 0) * node["Actual Loops"]) if own or "Index Name" in node else 0
    return own + skipped + sum(rows_read(each) for each in node.get("Plans", []))
