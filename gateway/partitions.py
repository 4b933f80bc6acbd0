"""Single calls lie in a table for each week on PostgreSQL, so that what is past goes by dropping a table.

A week is seven days since 1970, of UTC. A call of a week that has no table yet lands in the rest, and moves once its
week has one, so that no call waits for a table. SQLite has no partitions: there all lie in one table.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg
import structlog
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.transactions import in_transaction

from gateway.database import connection
from gateway.pricing import DAY_US, instant_of, micros

WHOLE, REST = "usage_records", "usage_records_rest"
WEEK_US = 7 * DAY_US
WEEKS_AHEAD = 4
MOST_AT_ONCE = 60
LOCK = 0x7E55E2B  # any number that all gateways share
WAIT_MILLISECONDS = 500  # for a table that is read: whoever comes later waits behind us meanwhile

log = structlog.get_logger(__name__)


class Week(NamedTuple):
    """The first instant of a week, in microseconds."""

    start: int

    @property
    def end(self) -> int:
        return self.start + WEEK_US

    @property
    def table(self) -> str:
        return f"{WHOLE}_{instant_of(self.start):%Y%m%d}"


def week_of(at: int) -> Week:
    return Week(at - at % WEEK_US)


def unparted() -> str:
    """The table of the calls that lie in no table of a week: on SQLite of all."""
    return REST if _is_parted() else WHOLE


async def weeks() -> list[Week]:
    """Those that have a table, the earliest first."""
    if not _is_parted():
        return []
    rows = await connection().execute_query_dict(
        f"SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = '{WHOLE}'::regclass"
    )
    starts = (re.fullmatch(rf"{WHOLE}_(\d{{8}})", row["name"]) for row in rows)
    days = (datetime.strptime(start[1], "%Y%m%d").replace(tzinfo=UTC) for start in starts if start)
    return sorted(Week(micros(day)) for day in days)


async def make_room(now: datetime) -> None:
    """Gives a table to this week, to the next ones, and to each whose calls lie in the rest."""
    if not _is_parted():
        return
    this = week_of(micros(now))
    wanted = [Week(this.start + ahead * WEEK_US) for ahead in range(WEEKS_AHEAD + 1)]
    for week in [*wanted, *await _weeks_of_rest()][:MOST_AT_ONCE]:
        await _make(week)


async def make_weeks(start: datetime, end: datetime) -> None:
    """Gives a table to each week of a period, before many calls of it are written. SQLite has none."""
    if _is_parted():
        for first in range(week_of(micros(start)).start, micros(end), WEEK_US):
            await _make(Week(first))


async def drop(week: Week, may_go: Callable[[Week], Awaitable[bool]]) -> None:
    """Drops the table of a week with all its calls, if it may go; nobody writes there between that answer and the end.

    Where it is in use for too long, nothing happens.
    """
    try:
        async with _changing() as database:
            if week in await weeks():
                await database.execute_query(f"LOCK TABLE {week.table} IN SHARE MODE")
                await _drop(database, week, is_free=await may_go(week))
    except asyncpg.LockNotAvailableError:
        log.info("week_of_records_in_use", week=week.table)


async def _drop(database: BaseDBAsyncClient, week: Week, *, is_free: bool) -> None:
    if is_free:
        await database.execute_query(f"DROP TABLE {week.table}")
        log.info("week_of_records_dropped", week=week.table)


async def _make(week: Week) -> None:
    """Unless it is there. Its calls leave the rest.

    Writers wait meanwhile: one that had chosen the rest for a call of that week would find it refused there. So do
    readers: one that had chosen its tables before, and then waited for the rest, would find those calls in none.
    """
    try:
        async with _changing() as database:
            if week not in await weeks():
                await _attach(database, week)
    except asyncpg.LockNotAvailableError:
        log.info("rest_of_records_in_use", week=week.table)  # tried again with the next round


async def _attach(database: BaseDBAsyncClient, week: Week) -> None:
    like = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES"
    within = f"called_at >= {week.start} AND called_at < {week.end}"
    for statement in (
        f"LOCK TABLE ONLY {WHOLE} IN ACCESS EXCLUSIVE MODE",  # before the rest, as whoever reads or writes takes them
        f"LOCK TABLE {REST} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {week.table} (LIKE {WHOLE} {like})",
        f"WITH moved AS (DELETE FROM {REST} WHERE {within} RETURNING *) INSERT INTO {week.table} SELECT * FROM moved",
        f"ALTER TABLE {WHOLE} ATTACH PARTITION {week.table} FOR VALUES FROM ({week.start}) TO ({week.end})",
    ):
        await database.execute_query(statement)


async def _weeks_of_rest() -> list[Week]:
    rows = await connection().execute_query_dict(
        f"SELECT DISTINCT called_at - called_at % {WEEK_US} AS start FROM {REST} ORDER BY start"
    )
    return [Week(row["start"]) for row in rows]


@asynccontextmanager
async def _changing() -> AsyncIterator[BaseDBAsyncClient]:
    """A transaction that alone changes which tables there are."""
    async with in_transaction() as database:
        await database.execute_query(f"SET LOCAL lock_timeout = {WAIT_MILLISECONDS}")
        await database.execute_query(f"SELECT pg_advisory_xact_lock({LOCK})")
        yield database


def _is_parted() -> bool:
    return connection().capabilities.dialect != "sqlite"
