"""Totals over any period are the sums of the calls in it, to the last digit, on every database."""

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tortoise.exceptions import IntegrityError

from gateway import counting, usage
from gateway.counting import Call, Refused
from gateway.database import connection
from gateway.errors import PeriodTooFine
from gateway.pricing import Amount, Granularity, Period, between, cost, month, plain, steps
from gateway.usage import Grouping, Totals
from models import IssuedKey, KeyRequest, Project, RequestState, Role, Template, UsageDay, UsageHour, UsageRecord, User
from models.fields import fold
from tests.statements import statements

MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 3, 20, tzinfo=UTC)
END = datetime(2026, 4, 20, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham", "America/St_Johns"]

# Its database is one for all examples, on purpose: what was counted before must not matter.
over_examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# What was called, remembered in plain Python


@dataclass
class Ledger:
    keys: list[IssuedKey]
    calls: list[Call] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)

    def total(self, period: Period, keys: Iterable[IssuedKey]) -> Totals:
        """What the calls of keys add up to. Refused calls are known by the hour alone."""
        ids = {key.id for key in keys}
        costs = [call.cost for call in self.calls if call.key_id in ids and period.start <= call.called_at < period.end]
        refused = [
            refusal.quantity
            for refusal in self.refusals
            if refusal.key_id in ids and hour_of(period.start) <= hour_of(refusal.refused_at) < period.end
        ]
        return Totals(len(costs), sum(refused), Amount.carried(0, sum(int(one.scaleb(10)) for one in costs)))

    def grouped(self, project_id: str, by: Grouping, period: Period) -> dict[str, Totals]:
        groups: dict[str, list[IssuedKey]] = {}
        for key in self.of(project_id):
            groups.setdefault(getattr(key, by), []).append(key)
        totals = {group: self.total(period, keys) for group, keys in groups.items()}
        return {group: total for group, total in totals.items() if total != Totals()}

    def of(self, project_id: str) -> list[IssuedKey]:
        return [key for key in self.keys if key.project_id == project_id]

    async def count(self, calls: Iterable[Call], refusals: Iterable[Refused] = ()) -> None:
        calls, refusals = list(calls), list(refusals)
        await counting.record(calls)
        await counting.refuse(refusals)
        self.calls += calls
        self.refusals += refusals


def hour_of(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


@pytest.fixture
async def ledger(database: str) -> Ledger:
    """Two projects of two templates, and two users who hold a key from each."""
    users = [await make_user(name) for name in ("Ada", "Bo")]
    templates = [await make_template(project, name) for project in ("Maps", "Words") for name in ("Basic", "Pro")]
    return Ledger([await make_key(template, user) for template in templates for user in users])


async def make_user(name: str) -> User:
    email = f"{name}@example.org"
    return await User.create(
        email=email, email_folded=fold(email), name=name, name_folded=fold(name), password_hash="none"
    )


async def make_template(project_name: str, name: str) -> Template:
    folded = {"name_folded": fold(project_name), "currency": "EUR"}
    project, _ = await Project.get_or_create(defaults=folded, name=project_name)
    role, _ = await Role.get_or_create(defaults={"name_folded": "caller"}, project=project, name="caller")
    return await Template.create(project=project, role=role, name=name, name_folded=fold(name), position=1)


async def make_key(template: Template, user: User) -> IssuedKey:
    whose: dict[str, Any] = {"project_id": template.project_id, "template": template, "user": user}
    request = await KeyRequest.create(**whose, requested_at=START, decided_at=START, state=RequestState.APPROVED)
    named: dict[str, Any] = {"name": template.name, "name_folded": template.name_folded}
    return await IssuedKey.create(request=request, role_id=template.role_id, **whose, **named, received_at=START)


def random_calls(ledger: Ledger, quantity: int) -> list[Call]:
    """Calls in bursts, some of them on the hour, with costs of all ten decimals."""
    dice = random.Random(2026)  # noqa: S311  # a proof that fails must fail again
    bursts = [START + dice.randrange((END - START) // MICROSECOND) * MICROSECOND for _ in range(60)]
    bursts += [hour_of(burst) for burst in bursts[:20]]
    return [
        Call(
            dice.choice(ledger.keys).id,
            dice.choice(bursts) + timedelta(microseconds=dice.choice([-1, 0, 1, dice.randrange(9_000_000_000)])),
            Decimal(dice.randrange(10 ** dice.randrange(1, 21))).scaleb(-10),
        )
        for _ in range(quantity)
    ]


def random_refusals(ledger: Ledger, quantity: int) -> list[Refused]:
    dice = random.Random(2027)  # noqa: S311  # the same
    span = (END - START) // timedelta(seconds=1)
    return [
        Refused(dice.choice(ledger.keys).id, START + timedelta(seconds=dice.randrange(span)), dice.randrange(1, 5))
        for _ in range(quantity)
    ]


# Reports

odd = st.integers(0, (END - START) // MICROSECOND).map(lambda us: START + timedelta(microseconds=us))
hours = odd.map(hour_of) | odd.map(lambda at: hour_of(at).replace(hour=0))
instants = odd | hours | hours.map(lambda at: at + MICROSECOND) | hours.map(lambda at: at - MICROSECOND)
few_instants = st.builds(
    lambda days, at: START + days + (at - START) % HOUR, st.sampled_from([0 * DAY, 1 * DAY]), instants
)
periods = st.sets(instants, min_size=2, max_size=2).map(lambda two: between(min(two), max(two)))
costs = st.integers(0, 10**20 - 1).map(lambda tiny: Decimal(tiny).scaleb(-10))


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
async def test_whatever_is_called_is_counted(ledger: Ledger, data: st.DataObject) -> None:
    for table in (UsageRecord, UsageHour, UsageDay):
        await table.all().delete()
    fresh = Ledger(ledger.keys)
    key_ids = st.sampled_from([key.id for key in fresh.keys])
    calls = st.lists(st.builds(Call, key_ids, few_instants, costs), max_size=20)
    refusals = st.lists(st.builds(Refused, key_ids, instants, st.integers(1, 9)), max_size=5)
    for _ in range(2):
        await fresh.count(data.draw(calls), data.draw(refusals))
    period = data.draw(periods)
    found = await usage.of_keys([key.id for key in fresh.keys], period)
    assert found == {key.id: fresh.total(period, [key]) for key in fresh.keys}


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
