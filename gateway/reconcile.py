"""The proof that buckets are the sums of their parts: hours of records, days of hours, months of days."""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from gateway.counting import COUNTS, DAYS, HOURS, MONTHS, Bucket
from gateway.database import connection
from gateway.pricing import DAY_US, FRACTIONS_IN_UNIT, HOUR_US, instant_of, micros, plain
from gateway.statements import Parameters
from gateway.usage import Totals
from models import IssuedKey

KEYS_AT_ONCE, DIFFERENCES_AT_ONCE = 25, 1000
SINCE_EVER = -(2**63)


class Comparison(NamedTuple):
    """Buckets, and the rows that they are the sums of: when these were, in which bucket they are, what they count."""

    buckets: Bucket
    counts: str
    parts: str
    at: str
    start: Callable[[Parameters], str]
    part_counts: str


ALL_COUNTS = "r.requests, r.refused, r.units, r.fraction"
COMPARISONS = (
    Comparison(
        HOURS,
        "r.requests, 0 AS refused, r.units, r.fraction",  # of refused calls there are no records
        "usage_records",
        "called_at",
        lambda _: f"r.called_at - r.called_at % {HOUR_US}",
        "1, 0, r.units, r.fraction",
    ),
    Comparison(DAYS, ALL_COUNTS, "usage_hours", "hour", lambda _: f"r.hour - r.hour % {DAY_US}", ALL_COUNTS),
    Comparison(MONTHS, ALL_COUNTS, "usage_days", "day", lambda dialect: dialect.first_of_month("r.day"), ALL_COUNTS),
)


@dataclass(frozen=True)
class Difference:
    """A bucket that isn't the sum of its parts."""

    key_id: str
    buckets: Bucket
    start: datetime
    bucket: Totals
    parts: Totals

    def __str__(self) -> str:
        has, found = (
            f"{each.requests} calls, {each.refused} refused, {plain(each.cost.decimal)}"
            for each in (self.bucket, self.parts)
        )
        return f"{self.key_id}: its {self.buckets.column} {self.start:%Y-%m-%dT%H:%MZ} says {has}; its parts {found}."


async def differences(records_kept_from: datetime, told: Callable[[int], None]) -> AsyncIterator[Difference]:
    """Every bucket that differs, of hours since then and of days and months since ever; `told` how many keys are done.

    Each statement compares buckets with their parts as they stand at one instant, so calls may be counted meanwhile.
    """
    after, done = "", 0
    while ids := await IssuedKey.filter(id__gt=after).order_by("id").limit(KEYS_AT_ONCE).values_list("id", flat=True):
        key_ids = [str(id) for id in ids]
        for comparison in COMPARISONS:
            since = micros(records_kept_from) if comparison.buckets is HOURS else SINCE_EVER
            async for difference in _of_keys(key_ids, comparison, since):
                yield difference
        after, done = key_ids[-1], done + len(key_ids)
        told(done)


async def _of_keys(key_ids: Sequence[str], comparison: Comparison, since: int) -> AsyncIterator[Difference]:
    after = ("", SINCE_EVER)
    while rows := await _compared(key_ids, comparison, since, after):
        for row in rows:
            bucket, parts = (Totals.of([int(row[f"{side}{name}"]) for name in COUNTS]) for side in ("", "part_"))
            yield Difference(row["key_id"], comparison.buckets, instant_of(row["start"]), bucket, parts)
        after = rows[-1]["key_id"], rows[-1]["start"]


async def _compared(
    key_ids: Sequence[str], comparison: Comparison, since: int, after: tuple[str, int]
) -> list[dict[str, Any]]:
    """The first buckets after that one which differ, each with its sums and those of its parts."""
    database = connection()
    parameters = Parameters(database.capabilities.dialect)
    (table, column, _), at = comparison.buckets, comparison.at
    keys = parameters.table(("key_id",), [(key_id,) for key_id in key_ids])
    passed, least = ", ".join(map(parameters.place, after)), parameters.place(since)
    sums = ", ".join(f"SUM({side}{name}) AS {side}{name}" for side in ("", "part_") for name in COUNTS)
    part_names = ", ".join(f"part_{name}" for name in COUNTS)
    return await database.execute_query_dict(
        f"""
        WITH k AS MATERIALIZED ({keys}),
        compared (key_id, start, {", ".join(COUNTS)}, {part_names}) AS (
            SELECT r.key_id, r.{column}, {comparison.counts}, 0, 0, 0, 0
            FROM k JOIN {table} AS r ON r.key_id = k.key_id AND r.{column} >= {least}
            UNION ALL
            SELECT r.key_id, {comparison.start(parameters)}, 0, 0, 0, 0, {comparison.part_counts}
            FROM k JOIN {comparison.parts} AS r ON r.key_id = k.key_id AND r.{at} >= {least}
        )
        SELECT key_id, start, {sums} FROM compared WHERE (key_id, start) > ({passed})
        GROUP BY key_id, start HAVING {DIFFERS} ORDER BY key_id, start LIMIT {DIFFERENCES_AT_ONCE}
        """,
        parameters.values,
    )


# Fractions are carried in a bucket and not in a sum of parts: what is over in one must be lacking in the other.
_OVER = "(SUM(part_fraction) - SUM(fraction))"
DIFFERS = (
    "SUM(requests) <> SUM(part_requests) OR SUM(refused) <> SUM(part_refused)"
    f" OR {_OVER} % {FRACTIONS_IN_UNIT} <> 0"
    f" OR SUM(units) - SUM(part_units) <> {_OVER} / {FRACTIONS_IN_UNIT}"
)
