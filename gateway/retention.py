"""How long single calls are kept beside their buckets. What is dropped changes no total: the buckets hold it."""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from collections.abc import AsyncIterator, Iterable

import structlog
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.transactions import in_transaction

from gateway import clock, partitions
from gateway.database import connection
from gateway.partitions import Week, unparted
from gateway.pricing import FRACTIONS_IN_UNIT, HOUR_US, Amount, instant_of, micros
from gateway.statements import Parameters
from gateway.usage import Totals, records_kept_from
from models import DroppedRecords, UsageHour

BATCH = 10_000  # records, unless a single hour of a key holds more
KEYS_AT_ONCE = 500
HOUR = f"called_at - called_at % {HOUR_US}"

log = structlog.get_logger(__name__)


class Retention:
    """Drops single calls when they are older than so many days, and an hour more: see `usage.records_kept_from`.

    A table of a week goes as a whole, once all of it is older, so what lies in one stays for up to a week longer.
    """

    def __init__(self, days: int) -> None:
        self._days = days
        self._told: set[tuple[str, int]] = set()

    async def enforce(self) -> None:
        """Drops only hours whose bucket is the sum of their records; others are logged once, and their week is kept.

        With them goes what is known of reported calls: whoever tells of one that is so old is refused.
        """
        end = micros(records_kept_from(clock.now(), self._days)) - HOUR_US
        await DroppedRecords.filter(id=1, until__lt=end).update(until=end)  # before anything goes
        for week in await partitions.weeks():
            if week.end <= end:
                await self._drop_week(week)
        async for key_id, first in _first_records():
            if first < end:
                await self._drop(key_id, first - first % HOUR_US, end)
        await _forget_reported(end)

    async def _drop_week(self, week: Week) -> None:
        async def is_reconciled(week: Week) -> bool:
            differing = await _differing(week)
            for key_id, hour in differing:
                self._tell(key_id, [hour])
            return not differing

        await partitions.drop(week, is_reconciled)

    async def _drop(self, key_id: str, start: int, end: int) -> None:
        while start < end:
            until = await _end_of_batch(key_id, start, end)
            self._tell(key_id, await _drop_reconciled(key_id, start, until))
            start = until

    def _tell(self, key_id: str, hours: Iterable[int]) -> None:
        for hour in hours:
            if (key_id, hour) not in self._told:
                self._told.add((key_id, hour))
                log.error("records_kept_that_differ_from_their_hour", key_id=key_id, hour=str(instant_of(hour)))


async def _differing(week: Week) -> list[tuple[str, int]]:
    """Hours of keys whose bucket isn't the sum of the records of that week."""
    rows = await connection().execute_query_dict(
        f"""
        SELECT r.key_id, r.hour FROM (
            SELECT key_id, {HOUR} AS hour, COUNT(*) AS requests, SUM(units) AS units, SUM(fraction) AS fraction
            FROM {week.table} GROUP BY key_id, {HOUR}
        ) AS r LEFT JOIN usage_hours AS h ON h.key_id = r.key_id AND h.hour = r.hour
        WHERE h.requests IS DISTINCT FROM r.requests OR h.units * {FRACTIONS_IN_UNIT}::numeric + h.fraction
            IS DISTINCT FROM r.units * {FRACTIONS_IN_UNIT} + r.fraction
        ORDER BY r.key_id, r.hour
        """
    )
    return [(row["key_id"], row["hour"]) for row in rows]


async def _first_records() -> AsyncIterator[tuple[str, int]]:
    """Each key that has records, and the instant of the first; found through their index, without reading the rest."""
    after: str | None = ""
    while after is not None:
        parameters = Parameters(connection().capabilities.dialect)
        keys = f"SELECT id FROM issued_keys WHERE id > {parameters.place(after)} ORDER BY id LIMIT {KEYS_AT_ONCE}"
        first = f"SELECT MIN(called_at) FROM {unparted()} AS r WHERE r.key_id = k.id"
        rows = await connection().execute_query_dict(
            f"SELECT k.id, ({first}) AS first FROM ({keys}) AS k ORDER BY k.id", parameters.values
        )
        for row in rows:
            if row["first"] is not None:
                yield row["id"], row["first"]
        after = rows[-1]["id"] if rows else None


async def _end_of_batch(key_id: str, start: int, end: int) -> int:
    """Up to which hour a key's records are a batch; at least one hour."""
    parameters = Parameters(connection().capabilities.dialect)
    rows = await connection().execute_query_dict(
        f"SELECT called_at FROM {unparted()} WHERE {_of(parameters, key_id, start, end)}"
        f" ORDER BY called_at LIMIT 1 OFFSET {BATCH}",
        parameters.values,
    )
    return max(rows[0]["called_at"] // HOUR_US * HOUR_US, start + HOUR_US) if rows else end


async def _drop_reconciled(key_id: str, start: int, end: int) -> list[int]:
    """Drops the hours that are what their bucket says, and gives the others.

    Whoever counts in an hour meanwhile waits for its bucket, which is locked.
    """
    async with in_transaction() as database:
        rows = UsageHour.filter(key_id=key_id, hour__gte=start, hour__lt=end).order_by("hour").select_for_update()
        buckets = {row.hour: Totals(row.requests, 0, Amount(row.units, row.fraction)) for row in await rows}
        sums = await _sums(database, key_id, start, end)
        reconciled = [hour for hour in sums if sums[hour] == buckets.get(hour)]
        if reconciled:
            await _delete(database, key_id, reconciled)
    return sorted(sums.keys() - reconciled)


async def _sums(database: BaseDBAsyncClient, key_id: str, start: int, end: int) -> dict[int, Totals]:
    parameters = Parameters(database.capabilities.dialect)
    rows = await database.execute_query_dict(
        f"SELECT {HOUR} AS hour, COUNT(*) AS requests, SUM(units) AS units, SUM(fraction) AS fraction"
        f" FROM {unparted()} WHERE {_of(parameters, key_id, start, end)} GROUP BY {HOUR}",
        parameters.values,
    )
    return {row["hour"]: Totals.of([row["requests"], 0, int(row["units"]), int(row["fraction"])]) for row in rows}


async def _delete(database: BaseDBAsyncClient, key_id: str, hours: list[int]) -> None:
    parameters = Parameters(database.capabilities.dialect)
    found = _of(parameters, key_id, min(hours), max(hours) + HOUR_US)
    wanted = parameters.table(("hour",), [(hour,) for hour in hours])
    await database.execute_query(f"DELETE FROM {unparted()} WHERE {found} AND {HOUR} IN ({wanted})", parameters.values)


def _of(parameters: Parameters, key_id: str, start: int, end: int) -> str:
    place = parameters.place
    return f"key_id = {place(key_id)} AND called_at >= {place(start)} AND called_at < {place(end)}"


async def _forget_reported(end: int) -> None:
    forgotten = BATCH
    while forgotten == BATCH:
        parameters = Parameters(connection().capabilities.dialect)
        old = f"SELECT id FROM reported_calls WHERE called_at < {parameters.place(end)} LIMIT {BATCH}"
        forgotten, _ = await connection().execute_query(
            f"DELETE FROM reported_calls WHERE id IN ({old})", parameters.values
        )
