"""The meter: who shares a transaction, who waits for whom, and what becomes of calls that can't be counted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import cast

import asyncpg
import pytest
from tortoise.backends.asyncpg.client import AsyncpgDBClient

from gateway import templates
from gateway.contention import ATTEMPTS
from gateway.counting import DAYS, HOURS, MONTHS
from gateway.database import connection
from gateway.errors import Unavailable
from gateway.limits import LimitsWanted
from gateway.plane import ledger, meter
from gateway.plane.admission import Admitted
from gateway.plane.decisions import Denied
from gateway.plane.ledger import AWAY, Head, Known, Ledger, Moved, Transaction
from gateway.plane.meter import MOST_TRIES
from gateway.pricing import micros
from gateway.signing import Keyring
from gateway.statements import Statement
from gateway.usage import Totals
from models import UsageDay, UsageHour, UsageMonth, UsageRecord
from tests.gatehouse import Offer, offer
from tests.metering import House, Instant, opened, statuses
from tests.planes import SILENCE, Call, plane
from tests.world import SEALER, unchanged

SOON, NEVER = 0.005, 3600


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be written later is written when the meter stops, unless a test says otherwise."""
    monkeypatch.setattr(meter, "LATER_SECONDS", NEVER)


@pytest.fixture
async def offered(database: str) -> Offer:
    return await offer(Keyring(SEALER, "https://example.org"))


@pytest.fixture
async def house(offered: Offer, database: str) -> AsyncIterator[House]:
    async with opened(offered, database) as house:
        yield house


@pytest.fixture(params=[None, LimitsWanted(calls_per_day=1000)], ids=["one statement", "several statements"])
async def either_house(offered: Offer, database: str, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """Where a group is one statement, and where it is several."""
    await templates.update(offered.owner, offered.template.id, {"limits": request.param})
    async with opened(offered, database) as house:
        yield house


# ---------------------------------------------------------------- who goes together


async def test_all_that_wait_behind_a_group_go_together(either_house: House) -> None:
    first = await either_house.call_under_way()
    others = await either_house.calls(200)
    either_house.ledger.is_open.set()
    assert statuses(await asyncio.gather(first, *others)) == {200}
    assert either_house.ledger.transactions == 2
    assert (await either_house.counted()).requests == 201


async def test_a_group_has_a_most_and_none_is_left_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "MOST_IN_GROUP", 10)
    first = await house.call_under_way()
    others = await house.calls(25)
    house.ledger.is_open.set()
    assert statuses(await asyncio.gather(first, *others)) == {200}
    assert house.ledger.transactions == 1 + 3
    assert (await house.counted()).requests == 26


async def test_calls_that_wait_together_are_counted_each_in_its_own_hour_day_and_month(
    either_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = datetime(2026, 4, 1, tzinfo=UTC)
    first, waiting = await either_house.call_under_way(), []
    for instant, quantity in ((micros(midnight) - 1, 3), (micros(midnight), 2), (micros(midnight) - 1, 1)):
        with monkeypatch.context() as patch:
            patch.setattr("time.time_ns", partial(int, 1000 * instant))
            waiting += await either_house.calls(quantity)
    either_house.ledger.is_open.set()
    assert statuses(await asyncio.gather(first, *waiting)) == {200}
    key = either_house.offered.key.id
    before, after = (micros(midnight) - 1, 4), (micros(midnight), 2)
    for bucket, rows in ((HOURS, UsageHour), (DAYS, UsageDay), (MONTHS, UsageMonth)):
        for instant, requests in (before, after):
            place = {"key_id": key, bucket.column: bucket.start_of(instant)}
            assert [row.requests for row in await rows.filter(**place)] == [requests]
    assert await UsageRecord.filter(key_id=key, called_at__lte=micros(midnight)).count() == 6


async def test_calls_one_after_another_have_a_transaction_each(house: House) -> None:
    for _ in range(5):
        assert isinstance(await house.call(), Admitted)
    assert house.ledger.transactions == 5


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_lone_call_waits_for_no_timer(offered: Offer, database: str) -> None:
    """It is done in a few turns of the loop, in which no timer can end."""
    own: Ledger = Instant()
    async with plane(database, SILENCE, own) as at:
        call = asyncio.create_task(at.call(offered.project.id, offered.token, Call()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert call.done()


async def busy_a_moment_ago(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten have called together, and that stays a moment ago."""
    monkeypatch.setattr(meter, "RECENT_SECONDS", NEVER)
    monkeypatch.setattr(meter, "GATHER_SECONDS", 0)
    calls = [await house.call_under_way(), *await house.calls(10)]
    house.ledger.is_open.set()
    assert statuses(await asyncio.gather(*calls)) == {200}


async def test_where_many_called_a_moment_ago_as_many_are_waited_for_and_go_together(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy_a_moment_ago(house, monkeypatch)
    monkeypatch.setattr(meter, "GATHER_SECONDS", NEVER)
    transactions, calls = house.ledger.transactions, []
    for _ in range(10):
        assert house.ledger.transactions == transactions
        calls += await house.calls(1)
    assert statuses(await asyncio.gather(*calls)) == {200}
    assert house.ledger.transactions == transactions + 1


async def test_those_who_do_not_call_again_are_waited_for_no_longer_than_a_moment(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy_a_moment_ago(house, monkeypatch)
    monkeypatch.setattr(meter, "GATHER_SECONDS", SOON)
    assert statuses(await asyncio.gather(*await house.calls(3))) == {200}


async def test_few_who_called_a_moment_ago_are_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "RECENT_SECONDS", NEVER)
    monkeypatch.setattr(meter, "GATHER_SECONDS", NEVER)
    first = await house.call_under_way()
    others = await house.calls(meter.LEAST_WAITED_FOR - 2)
    house.ledger.is_open.set()
    assert statuses(await asyncio.gather(first, *others)) == {200}
    assert isinstance(await house.call(), Admitted)


async def test_no_call_is_answered_before_it_is_durable(house: House) -> None:
    first = await house.call_under_way()
    others = await house.calls(3)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not any(call.done() for call in [first, *others])
    assert await UsageRecord.all().count() == 0
    house.ledger.is_open.set()
    await asyncio.gather(first, *others)


# ---------------------------------------------------------------- who goes away, and what goes wrong


@pytest.mark.parametrize("gone", [0, 1, 2], ids=["under way", "first of those who wait", "last of those who wait"])
async def test_who_goes_away_meanwhile_is_counted_and_keeps_nobody_from_an_answer(house: House, gone: int) -> None:
    calls = [await house.call_under_way(), *await house.calls(2)]
    calls[gone].cancel()
    await asyncio.wait({calls[gone]})
    house.ledger.is_open.set()
    assert statuses([await call for call in calls if call is not calls[gone]]) == {200}
    assert (await house.counted()).requests == 3
    assert isinstance(await house.call(), Admitted)


@pytest.mark.parametrize("failure", [RuntimeError("nobody thought of it"), Unavailable(AWAY)])
async def test_a_group_that_fails_is_refused_as_a_whole_and_the_next_is_counted(
    either_house: House, failure: Exception
) -> None:
    first = await either_house.call_under_way()
    others = await either_house.calls(3)
    either_house.ledger.failures = [failure, failure]
    either_house.ledger.is_open.set()
    async with unchanged():
        answers = await asyncio.gather(first, *others)
    assert statuses(answers) == {503}
    assert {answer.retry_after for answer in answers if isinstance(answer, Denied)} == {1}
    assert isinstance(await either_house.call(), Admitted)
    assert (await either_house.counted()).requests == 1


async def test_only_so_many_wait_and_whoever_comes_then_is_refused_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "MOST_WAITING", 5)
    waiting = [await house.call_under_way(), *await house.calls(5)]
    assert statuses([await house.call() for _ in range(3)]) == {503}
    house.ledger.is_open.set()
    assert statuses(await asyncio.gather(*waiting)) == {200}
    assert isinstance(await house.call(), Admitted)
    assert (await house.counted()).requests == 7


@pytest.mark.parametrize(("moves", "status"), [(MOST_TRIES - 1, 200), (MOST_TRIES, 503)])
async def test_logs_that_are_others_again_and_again_keep_calls_waiting_but_not_without_end(
    either_house: House, moves: int, status: int
) -> None:
    either_house.ledger.failures = [Moved(Head(number, 0)) for number in range(moves)]
    assert statuses([await either_house.call()]) == {status}
    assert (await either_house.counted()).requests == (status == 200)


@pytest.mark.parametrize(
    ("known", "head", "is_enough"),
    [
        (Known(7), Head(7, 1), True),
        (Known(7), Head(8, 1), False),
        (Known(8, Head(8, 1)), Head(9, 1), True),
        (Known(9, Head(8, 1)), Head(20, 1), True),
        (Known(7, Head(8, 1)), Head(9, 1), False),
        (Known(8, Head(8, 1)), Head(9, 2), False),
        (Known(8, Head(8, 1)), Head(8, 2), True),
    ],
)
def test_what_was_known_after_the_calls_came_is_enough_on_the_connection_where_the_log_was_seen_then(
    known: Known, head: Head, *, is_enough: bool
) -> None:
    assert known.suffices(head) == is_enough


async def test_what_waits_when_the_meter_stops_is_counted_and_whatever_comes_then_is_refused(
    offered: Offer, database: str
) -> None:
    async with opened(offered, database) as house:
        calls = [await house.call_under_way(), *await house.calls(20)]
        asyncio.get_running_loop().call_soon(house.ledger.is_open.set)
    assert statuses([call.result() for call in calls]) == {200}
    async with unchanged():
        assert statuses([await house.call()]) == {503}
    assert (await house.counted()).requests == 21


# ---------------------------------------------------------------- what is taken back


async def admitted(house: House) -> meter.Metered:
    answer = await house.call()
    assert isinstance(answer, Admitted)
    return answer.call


async def test_a_void_leaves_everything_as_if_the_call_had_never_been_and_is_done_once(either_house: House) -> None:
    await admitted(either_house)
    async with unchanged():
        taken = await admitted(either_house)
        await either_house.at.meter.void(taken)
        await either_house.at.meter.void(taken)


async def test_of_calls_that_come_together_just_those_are_taken_back_that_shall_be(house: House) -> None:
    first, *others = await asyncio.gather(*[admitted(house) for _ in range(20)])
    await asyncio.gather(*[house.at.meter.void(call) for call in others])
    assert [row.called_at for row in await UsageRecord.all()] == [first.called_at]
    totals = await house.counted()
    assert (totals.requests, totals.cost) == (1, first.allowed.cost)


@pytest.mark.parametrize("later", [SOON, NEVER], ids=["a moment later", "when the meter stops"])
async def test_a_void_that_could_not_be_written_is_owed(
    offered: Offer, database: str, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    monkeypatch.setattr(meter, "LATER_SECONDS", later)
    async with opened(offered, database) as house:
        kept, *taken = [await admitted(house) for _ in range(4)]
        for call in taken:
            house.ledger.failures = [Unavailable(AWAY)]
            with pytest.raises(Unavailable):
                await house.at.meter.void(call)
        if later == SOON:
            await until_counted(house, Totals(1, 0, kept.allowed.cost))
    assert await house.counted() == Totals(1, 0, kept.allowed.cost)


async def until_counted(house: House, totals: Totals) -> None:
    async with asyncio.timeout(60):
        while await house.counted() != totals:  # noqa: ASYNC110  # only the tables tell
            await asyncio.sleep(SOON)


# ---------------------------------------------------------------- what is refused


async def test_refusals_are_written_by_the_thousands_in_one_transaction_and_one_row_each_hour(
    offered: Offer, database: str
) -> None:
    async with opened(offered, database) as house:
        for _ in range(50_000):
            house.at.meter.refuse(offered.key.id)
        assert house.ledger.transactions == 0
    assert house.ledger.transactions == 1
    assert await house.counted() == Totals(0, 50_000)
    assert await UsageHour.all().count() <= 2  # the hour may have changed meanwhile


@pytest.mark.parametrize("failure", [Unavailable(AWAY), RuntimeError("nobody thought of it")])
async def test_refusals_outlast_a_database_that_is_away_and_each_is_counted_once(
    offered: Offer, database: str, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(meter, "LATER_SECONDS", SOON)
    async with opened(offered, database) as house:
        house.ledger.failures = [failure] * 3
        for _ in range(7):
            house.at.meter.refuse(offered.key.id)
            await asyncio.sleep(SOON)
        await until_counted(house, Totals(0, 7))
        assert not house.ledger.failures
    assert await house.counted() == Totals(0, 7)


# ---------------------------------------------------------------- PostgreSQL

on_postgres = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


def added(at: int, failures: list[Exception]) -> Transaction[int]:
    """Adds to the head of the log, and fails then as long as there is something to fail with."""
    yield Statement("UPDATE event_head SET position = position + $1", [at])
    if failures:
        raise failures.pop()
    rows = yield Statement("SELECT position FROM event_head", [])
    return int(rows[0][0])


@on_postgres
@pytest.mark.parametrize("kind", [asyncpg.DeadlockDetectedError, asyncpg.SerializationError])
async def test_what_the_database_rolled_back_to_let_another_go_first_is_tried_again_a_few_times(
    database: str, kind: type[Exception]
) -> None:
    own = ledger.opened(database)
    failures: list[Exception] = [kind() for _ in range(ATTEMPTS - 1)]
    assert await own.run(lambda: added(5, failures)) == 5
    failures = [kind() for _ in range(ATTEMPTS)]
    async with unchanged():
        with pytest.raises(Unavailable):
            await own.run(lambda: added(5, failures))
    await own.close()


@on_postgres
async def test_a_group_whose_connection_is_lost_is_refused_not_tried_again_and_the_next_is_counted(
    either_house: House,
) -> None:
    """Nobody knows whether it was committed; counted twice would be worse than refused."""
    await admitted(either_house)
    pool = cast(AsyncpgDBClient, connection())
    async with pool.acquire_connection() as holder, holder.transaction():
        await holder.fetch("SELECT 1 FROM usage_days FOR UPDATE")
        transactions = either_house.ledger.transactions
        calls = await either_house.calls(3)
        await end_backend_that_waits(holder)
        assert statuses(await asyncio.gather(*calls)) == {503}
        assert either_house.ledger.transactions <= transactions + 2  # the first of them may go alone
    assert (await either_house.counted()).requests == 1
    await admitted(either_house)
    assert (await either_house.counted()).requests == 2


async def end_backend_that_waits(holder: asyncpg.Connection) -> None:
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(60):
        while not (rows := await holder.fetch(waiting)):  # noqa: ASYNC110  # only the server tells
            await asyncio.sleep(SOON)
    for row in rows:
        await holder.execute("SELECT pg_terminate_backend($1)", row["pid"])


@on_postgres
async def test_a_connection_that_ends_while_nobody_calls_costs_one_call_at_most(house: House) -> None:
    await admitted(house)
    pool = cast(AsyncpgDBClient, connection())
    async with pool.acquire_connection() as other:
        ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        ended = await other.fetch(f"{ends} AND query LIKE '%usage_records%' AND pid <> pg_backend_pid()")
        assert len(ended) == 1
    answers = [await house.call() for _ in range(3)]
    assert statuses(answers[1:]) == {200}
    assert (await house.counted()).requests == 1 + sum(isinstance(answer, Admitted) for answer in answers)
