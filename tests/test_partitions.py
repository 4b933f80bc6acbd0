"""On PostgreSQL single calls lie in tables by the week: none is lost between them, and a week goes as a whole."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tortoise.context import TortoiseContext
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget

from gateway import clock, counting, database, migrating, partitions, reconcile, usage
from gateway.counting import HOURS, Call
from gateway.partitions import REST, WEEK_US, week_of
from gateway.pricing import between, instant_of, micros
from gateway.retention import Retention
from gateway.usage import Grouping
from models import IssuedKey, UsageDay, UsageHour, UsageMonth, UsageRecord
from tests.world import keys_of

MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)
WEEK = timedelta(microseconds=WEEK_US)
NOW = datetime.fromisoformat("2026-11-23T12:34:56.789012Z")
THIS_WEEK = instant_of(week_of(micros(NOW)).start)
RETENTION_DAYS = 14

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
async def keys(database: str) -> Sequence[IssuedKey]:
    return await keys_of("Basic", "Pro")


async def lying() -> dict[str, int]:
    """How many records each table holds that holds any."""
    rows = await database.connection().execute_query_dict(
        "SELECT tableoid::regclass::text AS name, count(*) AS calls FROM usage_records GROUP BY 1"
    )
    return {row["name"]: row["calls"] for row in rows}


async def call(key: IssuedKey, *instants: datetime) -> None:
    await counting.record(Call(key.id, at, Decimal("0.5")) for at in instants)


@asynccontextmanager
async def another(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_this_week_and_the_next_have_tables_and_each_call_lies_in_its_own(keys: Sequence[IssuedKey]) -> None:
    await partitions.make_room(NOW)
    await partitions.make_room(NOW)
    made = await partitions.weeks()
    assert [instant_of(week.start) for week in made] == [THIS_WEEK + ahead * WEEK for ahead in range(5)]
    await call(keys[0], THIS_WEEK, THIS_WEEK + WEEK - MICROSECOND, THIS_WEEK + WEEK)
    assert await lying() == {made[0].table: 2, made[1].table: 1}


async def test_a_call_of_a_week_without_a_table_is_counted_and_moves_once_the_week_has_one(
    keys: Sequence[IssuedKey],
) -> None:
    past = NOW - 10 * WEEK
    await call(keys[0], past, NOW)
    await call(keys[1], past)
    rows = UsageRecord.all().order_by("id").values_list("id", "key_id", "called_at", "units", "fraction")
    before = await rows
    assert await lying() == {REST: 3}
    await partitions.make_room(NOW)
    assert await lying() == {week_of(micros(past)).table: 2, week_of(micros(NOW)).table: 1}
    assert (
        await UsageRecord.all().order_by("id").values_list("id", "key_id", "called_at", "units", "fraction") == before
    )


async def test_calls_are_counted_while_their_weeks_are_given_tables_by_several_at_once(
    keys: Sequence[IssuedKey],
) -> None:
    weeks, counted = [NOW - number * WEEK for number in range(8)], 0

    async def count() -> None:
        nonlocal counted
        for _ in range(10):
            for at in weeks:
                await call(keys[0], at)
                counted += 1

    async def make() -> None:
        for _ in range(5):
            await partitions.make_room(NOW)

    await asyncio.gather(count(), count(), make(), make())
    await partitions.make_room(NOW)
    assert sum((await lying()).values()) == counted == 160
    assert REST not in await lying()


Read = Callable[[], Coroutine[Any, Any, int]]


async def how_many() -> int:
    return await UsageRecord.all().count()


async def how_many_that_buckets_tell_of() -> int:
    """All, unless the proof says that some are lacking."""
    found = [each async for each in reconcile.differences(instant_of(0), lambda _: None)]
    lacking = sum(each.bucket.requests - each.parts.requests for each in found if each.buckets is HOURS)
    told: int = sum(row.requests for row in await UsageHour.all())
    return told - lacking


@pytest.mark.parametrize("read", [how_many, how_many_that_buckets_tell_of])
async def test_who_reads_while_a_week_is_given_its_table_finds_each_of_its_calls(
    keys: Sequence[IssuedKey],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    read: Read,
) -> None:
    """The calls have left the rest by then, and nobody is told of their table yet."""
    monkeypatch.setattr(partitions, "WAIT_MILLISECONDS", 20_000)
    await call(keys[0], *(NOW - number * DAY for number in range(3)))
    await database.connection().execute_script(WAIT_BEFORE_ATTACHING)
    async with another(database_url) as blocker, asyncio.timeout(60):
        async with blocker.transaction():
            await blocker.execute("SELECT pg_advisory_xact_lock(1)")
            making = asyncio.create_task(partitions.make_room(NOW))
            await who_wait(blocker, 1)
            reading = asyncio.create_task(read())
            await who_wait(blocker, 2)
        await making
        assert await reading == 3


WAIT_BEFORE_ATTACHING = """
    CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); END';
    CREATE EVENT TRIGGER waits ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION wait();
"""


async def who_wait(onlooker: Any, quantity: int) -> None:
    """Returns once so many wait for a lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database"
    while await onlooker.fetchval(f"{waiting} WHERE datname = current_database())") < quantity:  # noqa: ASYNC110  # only asking tells
        await asyncio.sleep(0.01)


async def test_who_reads_all_the_time_finds_every_call_whatever_weeks_are_given_tables(
    keys: Sequence[IssuedKey],
) -> None:
    counted, is_over = 0, False

    async def read_on() -> int:
        reads = 0
        while not is_over or not reads:
            least = counted
            assert await how_many() >= least
            assert [each async for each in reconcile.differences(instant_of(0), lambda _: None)] == []
            reads += 1
        return reads

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(read_on())
        for number in range(25):
            await call(keys[number % 2], *(NOW - number * WEEK - several * DAY for several in range(9)))
            counted += 9
            while REST in await lying():
                await partitions.make_room(NOW)
        is_over = True


async def test_a_partition_has_the_check_and_the_index_of_the_whole(keys: Sequence[IssuedKey]) -> None:
    await partitions.make_room(NOW)
    rows = await database.connection().execute_query_dict(
        """
        SELECT conrelid::regclass::text AS name, pg_get_constraintdef(oid) AS says FROM pg_constraint
        WHERE conrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'usage_records'::regclass
            UNION SELECT 'usage_records'::regclass) AND contype IN ('c', 'f')
        UNION SELECT tablename, regexp_replace(indexdef, '.* USING ', '') FROM pg_indexes
        WHERE tablename LIKE 'usage_records%'
        """
    )
    said: dict[str, set[str]] = {}
    for row in rows:
        said.setdefault(row["name"], set()).add(row["says"])
    assert len(said) == 7
    assert all(each == said["usage_records"] for each in said.values())
    assert len(said["usage_records"]) == 2


instants = st.integers(0, 6 * 7 * 24 * 60).map(lambda minutes: NOW - minutes * timedelta(minutes=1))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(st.integers(0, 1), instants), max_size=12), late=st.lists(instants, max_size=4))
async def test_weeks_that_are_past_retention_go_and_no_total_over_whole_hours_changes(
    keys: Sequence[IssuedKey], calls: Sequence[tuple[int, datetime]], late: Sequence[datetime]
) -> None:
    for table in (UsageRecord, UsageHour, UsageDay, UsageMonth):  # nobody calls in hours that an example had dropped
        await table.all().delete()
    for index, at in calls:
        await call(keys[index], at)
    await partitions.make_room(NOW)
    await call(keys[0], *late)  # in the rest, where their week has no table
    period = between((NOW - 9 * WEEK).replace(minute=0, second=0, microsecond=0), NOW + WEEK)
    kept_from = usage.records_kept_from(NOW, RETENTION_DAYS)
    needed = UsageRecord.filter(called_at__gte=micros(kept_from))
    project_ids = [keys[0].project_id]
    before = await usage.of_projects(project_ids, Grouping.KEY, period), await needed.count()
    await Retention(RETENTION_DAYS).enforce()
    assert (await usage.of_projects(project_ids, Grouping.KEY, period), await needed.count()) == before
    assert await UsageRecord.filter(called_at__lt=micros(kept_from - WEEK - 2 * DAY)).count() == 0
    assert [week for week in await partitions.weeks() if week.end <= micros(kept_from - DAY)] == []


async def test_a_week_with_an_hour_that_differs_is_kept_whole_and_logged_once(keys: Sequence[IssuedKey]) -> None:
    past = NOW - 8 * WEEK
    await call(keys[0], past, past + DAY)
    await partitions.make_room(NOW)
    await UsageHour.filter(key_id=keys[0].id, hour=micros(past.replace(minute=0, second=0, microsecond=0))).update(
        units=7
    )
    retention = Retention(RETENTION_DAYS)
    with capture_logs() as entries:
        await retention.enforce()
        await retention.enforce()
    assert await UsageRecord.all().count() == 2
    assert [entry["event"] for entry in entries] == ["records_kept_that_differ_from_their_hour"]


async def test_a_week_that_is_being_read_is_dropped_later_and_nobody_waits_for_it(
    keys: Sequence[IssuedKey], database_url: str
) -> None:
    await call(keys[0], NOW - 8 * WEEK, NOW)
    await partitions.make_room(NOW)
    async with another(database_url) as reader, reader.transaction():
        await reader.fetch("SELECT * FROM usage_records")
        await Retention(RETENTION_DAYS).enforce()
        assert await UsageRecord.all().count() == 2
    await Retention(RETENTION_DAYS).enforce()
    assert await UsageRecord.all().count() == 1


async def test_the_migration_keeps_every_call_its_id_and_the_next_id(database_url: str) -> None:
    async with another(database_url) as server:
        await server.execute("CREATE DATABASE earlier_records")
    url = database_url.replace(database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1], "earlier_records")
    try:
        async with TortoiseContext() as context:
            settings_of = database.config(url)
            await context.init(config=settings_of)
            executor = MigrationExecutor(context.db(), settings_of["apps"])
            await executor.migrate([MigrationTarget(app_label="models", name="0002_the_gateway")])
        async with database.connected(url):
            await database.connection().execute_script(
                "ALTER TABLE projects ADD COLUMN version INT DEFAULT 1"
            )  # for the model
            [key] = await keys_of("Basic")
            await database.connection().execute_script("ALTER TABLE projects DROP COLUMN version")
            await call(key, *(NOW - number * DAY for number in range(40)))
            columns = ("id", "key_id", "called_at", "units", "fraction")
            before = await UsageRecord.all().order_by("id").values_list(*columns)
        assert await migrating.migrate(url) != []
        async with database.connected(url):
            assert await UsageRecord.all().order_by("id").values_list(*columns) == before
            assert REST not in await lying()
            assert len(await partitions.weeks()) == len({week_of(row[2]) for row in before})
            await call(key, NOW)
            assert (await UsageRecord.all().order_by("-id").first() or UsageRecord()).id == len(before) + 1
    finally:
        async with another(database_url) as server:
            await server.execute("DROP DATABASE earlier_records WITH (FORCE)")
