"""Quotas of calls and of money, by the day and the month of UTC: the last of one goes to one call, whoever counts."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import clock, keys, limits, templates
from gateway.limits import UNLIMITED, Allowance, AllowanceKind, Limits, LimitsWanted
from gateway.plane import ledger
from gateway.plane.admission import Admitted
from gateway.plane.decisions import Allowed, Denied
from gateway.plane.knowledge import Key, Service
from gateway.plane.ledger import Known, Ledger
from gateway.plane.meter import Metered, counting
from gateway.plane.quotas import Spent
from gateway.pricing import Amount, micros
from gateway.routing import Routes
from gateway.signing import Keyring
from gateway.targets import read
from models import IssuedKey, KeyState, UsageDay, UsageHour, UsageMonth, UsageRecord
from tests.gatehouse import Offer, offer
from tests.ledger import over_examples
from tests.planes import SILENCE, Call, Plane, plane
from tests.world import SEALER, issued_key, owned_project, person, role, template

MIDNIGHT = datetime(2026, 3, 17, tzinfo=UTC)
NEW_MONTH = datetime(2026, 4, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
TARGET, SERVICE = read(b"/data_layers"), Service(None, {}, Routes())


def called(key_id: str, at: datetime, cost: Decimal, of_key: Limits) -> Metered:
    """A call that is let through and waits to be counted."""
    key = Key(key_id, "prj", "tpl", "rol", "usr", KeyState.ACTIVE, None)
    return Metered(Allowed(key, SERVICE, TARGET, Amount.of(cost), of_key, position=0), micros(at))


# ---------------------------------------------------------------- what fits, reckoned in plain Python


class Quotas(NamedTuple):
    """Each by the column of its limit; None is unlimited."""

    calls_per_day: int | None = None
    calls_per_month: int | None = None
    cost_per_day: Decimal | None = None
    cost_per_month: Decimal | None = None

    @property
    def limits(self) -> Limits:
        if self == Quotas():
            return UNLIMITED
        money = [None if each is None else Amount.of(each) for each in self[2:]]
        return Limits(None, None, *self[:2], *money)


class Asked(NamedTuple):
    key_id: str
    at: datetime
    cost: Decimal


class Book:
    """What was let through, call by call."""

    def __init__(self) -> None:
        self.calls: list[Asked] = []

    def takes(self, call: Asked, quotas: Quotas) -> bool:
        """Whether it fits: then it is one of the calls."""
        of_month = [each for each in self.calls if each.key_id == call.key_id and is_same_month(each.at, call.at)]
        of_day = [each for each in of_month if each.at.date() == call.at.date()]
        counts = [Decimal(len(each) + 1) for each in (of_day, of_month)]
        counts += [sum_of(each) + call.cost for each in (of_day, of_month)]
        fits = all(most is None or count <= most for count, most in zip(counts, quotas, strict=True))
        if fits:
            self.calls.append(call)
        return fits


def is_same_month(one: datetime, other: datetime) -> bool:
    return (one.year, one.month) == (other.year, other.month)


def sum_of(calls: Iterable[Asked]) -> Decimal:
    return sum((call.cost for call in calls), Decimal(0))


KEYS = ["key_a", "key_b"]
edges = st.sampled_from([MIDNIGHT, NEW_MONTH, MIDNIGHT + timedelta(hours=1)])
moments = st.builds(lambda edge, off: edge + off * INSTANT, edges, st.integers(-2, 1))
costs = st.sampled_from([Decimal(each) for each in ("0", "0.0000000001", "0.5", "0.9999999999", "1", "3.0000000001")])
counts = st.none() | st.integers(0, 6)
amounts = st.none() | st.builds(lambda units, rest: units + rest, st.integers(0, 5), costs)
quotas = st.builds(Quotas, counts, counts, amounts, amounts)
groups = st.lists(
    st.tuples(
        st.lists(st.builds(Asked, st.sampled_from(KEYS), moments, costs), min_size=1, max_size=8), quotas, quotas
    ),
    max_size=5,
)


@pytest.fixture
async def own_ledger(database: str) -> AsyncIterator[Ledger]:
    opened = ledger.opened(database)
    yield opened
    await opened.close()


@pytest.fixture
async def keys_of_two(database: str) -> list[IssuedKey]:
    ada = await person("Ada")
    project = await owned_project(ada)
    role_of_both = await role(project)
    both = [await template(project, role_of_both, name) for name in KEYS]
    return [await issued_key(each, ada, id=name) for name, each in zip(KEYS, both, strict=True)]


@over_examples
@given(groups=groups)
async def test_whatever_comes_together_just_what_fits_is_let_through_and_the_rest_leaves_no_trace(
    keys_of_two: list[IssuedKey], own_ledger: Ledger, groups: list[tuple[list[Asked], Quotas, Quotas]]
) -> None:
    """In any groups, on both sides of a midnight and of a month's end, at any costs, while limits change."""
    for table in (UsageRecord, UsageHour, UsageDay, UsageMonth):
        await table.all().delete()
    book = Book()
    for group, *each_ones in groups:
        of_key = dict(zip(KEYS, each_ones, strict=True))
        calls = [called(*call, of_key[call.key_id].limits) for call in group]
        verdicts = await own_ledger.run(lambda: counting(own_ledger, Known(0), calls))  # noqa: B023  # run at once
        assert [isinstance(each, Spent) for each in verdicts] == [
            book.takes(call, of_key[call.key_id]) for call in group
        ]
    await assert_stands(book)


async def assert_stands(book: Book) -> None:
    """The tables hold the book's calls, and nothing else."""
    records = Counter([(row.key_id, row.called_at, amount_of(row)) for row in await UsageRecord.all()])
    assert records == Counter((call.key_id, micros(call.at), call.cost) for call in book.calls)
    starts = {"hour": start_of_hour, "day": start_of_day, "month": start_of_month}
    for table in (UsageHour, UsageDay, UsageMonth):
        column = table.__name__.removeprefix("Usage").lower()
        sums: defaultdict[tuple[str, int], list[Decimal]] = defaultdict(list)
        for call in book.calls:
            sums[call.key_id, micros(starts[column](call.at))].append(call.cost)
        rows = [row for row in await table.all() if (row.requests, row.units, row.fraction) != (0, 0, 0)]
        assert {(row.key_id, getattr(row, column)): (row.requests, amount_of(row)) for row in rows} == {
            place: (len(costs_of_place), sum(costs_of_place, Decimal(0))) for place, costs_of_place in sums.items()
        }
        assert {row.refused for row in rows} <= {0}


def amount_of(row: Any) -> Decimal:
    return Amount(row.units, row.fraction).decimal


def start_of_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def start_of_day(at: datetime) -> datetime:
    return start_of_hour(at).replace(hour=0)


def start_of_month(at: datetime) -> datetime:
    return start_of_day(at).replace(day=1)


# ---------------------------------------------------------------- the last units

PRICE = Decimal("0.0000005")
ELEVEN = {
    AllowanceKind.CALLS_PER_DAY: LimitsWanted(calls_per_day=11),
    AllowanceKind.CALLS_PER_MONTH: LimitsWanted(calls_per_month=11),
    AllowanceKind.COST_PER_DAY: LimitsWanted(cost_per_day=PRICE * 11),
    AllowanceKind.COST_PER_MONTH: LimitsWanted(cost_per_month=PRICE * 12 - Decimal("0.0000000001")),
}


@pytest.fixture
async def offered(database: str) -> Offer:
    return await offer(Keyring(SEALER, "https://example.org"))


@pytest.mark.parametrize("kind", ELEVEN)
async def test_two_processes_that_race_for_a_quota_let_just_so_many_calls_through(
    offered: Offer, database: str, kind: AllowanceKind
) -> None:
    """Whatever each of them writes in a group; and what is shown is what refuses."""
    await templates.update(offered.owner, offered.template.id, {"limits": ELEVEN[kind]})
    async with plane(database, SILENCE) as one, plane(database, SILENCE) as other:
        answers = await asyncio.gather(*[call(at, offered) for _ in range(20) for at in (one, other)])
        refused = await call(one, offered)
    assert sum(isinstance(answer, Admitted) for answer in answers) == 11
    assert {answer.status for answer in answers if isinstance(answer, Denied)} == {429}
    assert isinstance(refused, Denied)
    assert await UsageRecord.all().count() == 11
    totals = await offered.counted()
    assert (totals.requests, totals.refused, totals.cost.decimal) == (11, 30, PRICE * 11)
    [allowance] = await standing(offered)
    assert (allowance.kind, allowance.used) == (kind, PRICE * 11 if kind.is_money else 11)
    assert allowance.left < (PRICE if kind.is_money else 1)


async def call(at: Plane, offered: Offer) -> Admitted | Denied:
    return await at.call(offered.project.id, offered.token, Call())


async def standing(offered: Offer) -> list[Allowance]:
    """How the key stands, as the schema shows it."""
    return (await limits.standing(offered.owner, [offered.key.id], clock.now()))[offered.key.id]


async def test_after_each_call_the_schema_shows_what_the_call_was_told_and_refused_by(
    offered: Offer, database: str
) -> None:
    wanted = LimitsWanted(calls_per_day=3, calls_per_month=5, cost_per_day=Decimal(1), cost_per_month=Decimal(1))
    await templates.update(offered.owner, offered.template.id, {"limits": wanted})
    async with plane(database, SILENCE) as at:
        for used, fits in ((1, True), (2, True), (3, True), (3, False)):
            answer = await call(at, offered)
            assert isinstance(answer, Admitted) == fits
            shown = [each.used for each in await standing(offered)]
            assert shown == [used, used, PRICE * used, PRICE * used]
            if isinstance(answer, Admitted):
                assert figures(answer.call.spent) == shown


async def test_limits_that_a_process_hears_of_as_it_counts_hold_at_once_and_are_told(
    offered: Offer, database: str
) -> None:
    async with plane(database, SILENCE) as there:
        await templates.update(offered.owner, offered.template.id, {"limits": LimitsWanted(calls_per_day=0)})
        over = await call(there, offered)
        assert isinstance(over, Denied)
        assert over.status == 429
        assert dict(over.headers)[b"ratelimit"].startswith(b'"day";r=0;')
    async with plane(database, SILENCE) as there:
        wanted = LimitsWanted(calls_per_second=1, burst=1)
        await templates.update(offered.owner, offered.template.id, {"limits": wanted})
        assert isinstance(await call(there, offered), Admitted)
        fast = await call(there, offered)
        assert isinstance(fast, Denied)
        assert fast.status == 429


def figures(spent: Spent | None) -> list[Decimal | int]:
    assert spent
    return [spent.day.requests, spent.month.requests, spent.day.cost.decimal, spent.month.cost.decimal]


async def test_a_call_that_was_taken_back_leaves_its_unit_to_another(offered: Offer, database: str) -> None:
    await templates.update(offered.owner, offered.template.id, {"limits": LimitsWanted(calls_per_day=1)})
    async with plane(database, SILENCE) as at:
        taken = await call(at, offered)
        assert isinstance(taken, Admitted)
        assert isinstance(await call(at, offered), Denied)
        await at.meter.void(taken.call)
        answers = [await call(at, offered) for _ in range(2)]
    assert [isinstance(answer, Admitted) for answer in answers] == [True, False]


async def test_a_new_token_of_a_key_has_what_is_left_of_its_quota(offered: Offer, database: str) -> None:
    await templates.update(offered.owner, offered.template.id, {"limits": LimitsWanted(calls_per_month=2)})
    async with plane(database, SILENCE) as at:
        assert isinstance(await call(at, offered), Admitted)
        key = await keys.rotate(offered.caller, offered.keyring, offered.key.id, overlap_seconds=3600)
        renewed = replace(offered, token=await keys.token(offered.keyring, key))
        answers = [await call(at, each) for each in (renewed, offered, renewed)]
    assert [isinstance(answer, Admitted) for answer in answers] == [True, False, False]


# ---------------------------------------------------------------- a day ends amid a group


@pytest.mark.parametrize(
    ("at", "quotas", "fitting"),
    [
        (MIDNIGHT, Quotas(calls_per_day=1), [True, False, True, False]),
        (MIDNIGHT, Quotas(calls_per_month=3), [True, True, True, False]),
        (NEW_MONTH, Quotas(calls_per_month=1), [True, False, True, False]),
        (NEW_MONTH, Quotas(cost_per_day=Decimal("1.5")), [True, False, True, False]),
        (NEW_MONTH, Quotas(calls_per_day=2, calls_per_month=1), [True, False, True, False]),
    ],
)
async def test_of_a_group_across_midnight_each_call_is_of_its_own_day_and_month(
    keys_of_two: list[IssuedKey], own_ledger: Ledger, at: datetime, quotas: Quotas, fitting: list[bool]
) -> None:
    instants = [at - 2 * INSTANT, at - INSTANT, at, at + INSTANT]
    calls = [called(keys_of_two[0].id, instant, Decimal(1), quotas.limits) for instant in instants]
    verdicts = await own_ledger.run(lambda: counting(own_ledger, Known(0), calls))
    assert [isinstance(each, Spent) for each in verdicts] == fitting
    assert await UsageRecord.all().count() == sum(fitting)
