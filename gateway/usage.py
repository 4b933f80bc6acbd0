"""Calls are counted and priced here, and summed up over a period.

A call is kept as a record, and added to the hour and the day of its key in the same transaction. A report takes whole
days, whole hours at their edges, and records only at odd edges: its cost follows the keys and buckets that it touches.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import islice, pairwise
from typing import Any, NamedTuple, Self, TypeVar

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.transactions import in_transaction

from gateway.database import connection
from gateway.errors import PeriodTooFine
from gateway.pricing import DAY_US, FRACTIONS_IN_UNIT, HOUR_US, QUARTER_US, Amount, Period, instant_of, micros, parts

BATCH = 10_000
COUNTS = ("requests", "refused", "units", "fraction")
TEXT_COLUMNS = {"key_id"}  # of the tables that are passed as parameters; the others are BIGINT

Row = tuple[str | int, ...]
Counts = tuple[int, int, int, int]
Counted = tuple[str, int, Counts]  # a key, microseconds, and what it counted then
Span = tuple[int, int]
Item = TypeVar("Item")


class Call(NamedTuple):
    key_id: str
    called_at: datetime
    cost: Decimal


class Refused(NamedTuple):
    key_id: str
    refused_at: datetime
    quantity: int = 1


class Grouping(StrEnum):
    """The column of issued keys by which a project's totals are told apart."""

    PROJECT = "project_id"
    TEMPLATE = "template_id"
    USER = "user_id"
    KEY = "id"


@dataclass(frozen=True, slots=True)
class Totals:
    """Calls that were let through, calls that were refused, and what the former cost."""

    requests: int = 0
    refused: int = 0
    cost: Amount = field(default_factory=Amount)

    @classmethod
    def of(cls, counts: Sequence[int]) -> Self:
        requests, refused, units, fraction = counts
        return cls(requests, refused, Amount.carried(units, fraction))


# Counting


async def record(calls: Iterable[Call]) -> None:
    """Count calls, all or none: on return they are in the records, hours and days of their keys.

    ValueError for a cost of more than 10 decimals; Tortoise's IntegrityError for an unknown key or a negative cost.
    """
    counted: list[Counted] = []
    async with in_transaction() as database:
        for batch in _batches(calls):
            records = [_record(call) for call in batch]
            await _insert(database, "usage_records", ("key_id", "called_at", "units", "fraction"), records)
            counted += [(key_id, at, (1, 0, units, fraction)) for key_id, at, units, fraction in records]
        await _add(database, counted)


async def refuse(refusals: Iterable[Refused]) -> None:
    """Count refused calls, all or none. They cost nothing and leave no record, only a number by the hour."""
    async with in_transaction() as database:
        await _add(database, [(key_id, micros(at), (0, quantity, 0, 0)) for key_id, at, quantity in refusals])


def _record(call: Call) -> tuple[str, int, int, int]:
    cost = Amount.of(call.cost)
    return call.key_id, micros(call.called_at), cost.units, cost.fraction


async def _add(database: BaseDBAsyncClient, counted: Iterable[Counted]) -> None:
    hours = _rolled_up(counted, HOUR_US)
    await _add_buckets(database, "usage_hours", "hour", hours)
    await _add_buckets(database, "usage_days", "day", _rolled_up(hours, DAY_US))


async def _add_buckets(database: BaseDBAsyncClient, table: str, column: str, buckets: Iterable[Counted]) -> None:
    for batch in _batches(buckets):
        rows = [(key_id, start, *counts) for key_id, start, counts in batch]
        await _insert(database, table, ("key_id", column, *COUNTS), rows, _adding(table, column))


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _rolled_up(counted: Iterable[Counted], width: int) -> list[Counted]:
    sums: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for key_id, at, counts in counted:
        bucket = sums[key_id, at - at % width]
        for index, count in enumerate(counts):
            bucket[index] += count
    # In one order, so that two writers of the same buckets never wait for each other in a circle.
    return [(key_id, start, _carried(counts)) for (key_id, start), counts in sorted(sums.items())]


def _carried(counts: Sequence[int]) -> Counts:
    requests, refused, units, fraction = counts
    return requests, refused, units + fraction // FRACTIONS_IN_UNIT, fraction % FRACTIONS_IN_UNIT


def _adding(table: str, column: str) -> str:
    fraction = f"({table}.fraction + excluded.fraction)"
    return f"""
        ON CONFLICT (key_id, {column}) DO UPDATE SET
            requests = {table}.requests + excluded.requests,
            refused = {table}.refused + excluded.refused,
            units = {table}.units + excluded.units + {fraction} / {FRACTIONS_IN_UNIT},
            fraction = {fraction} % {FRACTIONS_IN_UNIT}"""


async def _insert(
    database: BaseDBAsyncClient, table: str, columns: Sequence[str], rows: Sequence[Row], conflict: str = ""
) -> None:
    parameters = _Parameters(database)
    names = ", ".join(columns)
    # WHERE, since without it SQLite takes ON CONFLICT for the condition of a join.
    selected = f"SELECT {names} FROM ({parameters.table(columns, rows)}) AS passed WHERE true"
    await database.execute_query(f"INSERT INTO {table} ({names}) {selected} {conflict}", parameters.values)


# Reports


async def of_keys(key_ids: Iterable[str], period: Period, raw_kept_from: datetime | None = None) -> dict[str, Totals]:
    """The totals of each of these keys over a period, in one statement.

    PeriodTooFine where an edge needs records older than `raw_kept_from`, the first instant whose records are all kept.
    """
    ids = list(dict.fromkeys(key_ids))
    spans = _spans([micros(period.start), micros(period.end)], (DAY_US, HOUR_US), raw_kept_from)
    rows = await _sums(_Keys(ids), spans, "owner") if ids else []
    found = {row["owner"]: _totals(row) for row in rows}
    return {key_id: found.get(key_id, Totals()) for key_id in ids}


async def of_projects(
    project_ids: Iterable[str], by: Grouping, period: Period, raw_kept_from: datetime | None = None
) -> dict[str, dict[str, Totals]]:
    """For each of these projects the totals of its keys over a period, by the ids of their groups, in one statement.

    Groups without calls are left out. PeriodTooFine as `of_keys`.
    """
    found: dict[str, dict[str, Totals]] = {project_id: {} for project_id in project_ids}
    spans = _spans([micros(period.start), micros(period.end)], (DAY_US, HOUR_US), raw_kept_from)
    rows = await _sums(_Keys(list(found), by), spans, "owner, part") if found else []
    for row in rows:
        found[row["owner"]][row["part"]] = _totals(row)
    return found


async def series(
    project_ids: Iterable[str], boundaries: Sequence[datetime], raw_kept_from: datetime | None = None
) -> dict[str, list[Totals]]:
    """For each of these projects the totals between each boundary and the next, in one statement.

    The points add up to the whole: an hour of refused calls that a boundary cuts belongs to the point of its beginning.
    PeriodTooFine as `of_keys`.
    """
    edges = [micros(boundary) for boundary in boundaries]
    sums = {project_id: [[0, 0, 0, 0] for _ in edges[1:]] for project_id in project_ids}
    spans = _spans(edges, (DAY_US, HOUR_US, QUARTER_US), raw_kept_from)
    rows = await _sums(_Keys(list(sums), Grouping.PROJECT), spans, "owner, width, bucket") if sums else []
    for row in rows:
        point = _point(edges, row["width"], row["bucket"])
        if point is not None:
            _accumulate(sums[row["owner"]][point], row)
    return {project_id: [Totals.of(counts) for counts in points] for project_id, points in sums.items()}


def dearest_first(groups: Mapping[str, Totals]) -> list[tuple[str, Totals]]:
    """The groups that counted anything, those with the highest cost first, then by id."""
    counted = sorted((id, totals) for id, totals in groups.items() if totals != Totals())
    return sorted(counted, key=lambda group: group[1].cost, reverse=True)


def records_kept_from(now: datetime, retention_days: int) -> datetime:
    """The first instant whose records are all kept, a whole hour of UTC.

    What drops older ones leaves an hour more, for reports whose `now` was a moment before.
    """
    past = now - timedelta(days=retention_days)
    return past.replace(minute=0, second=0, microsecond=0)


def _totals(row: Mapping[str, Any]) -> Totals:
    return Totals.of([int(row[name]) for name in COUNTS])


def _accumulate(counts: list[int], row: Mapping[str, Any]) -> None:
    for index, name in enumerate(COUNTS):
        counts[index] += int(row[name])


# What is read: spans of buckets, by their width in microseconds. Width 0 are records, each span by itself.
CUT_HOURS = -1  # the hours that an edge cuts: for refused calls, which are kept by the hour

# Spans are read as one where the gap between them can hold no wider bucket: all that it does hold is cut by an edge.
GAPS = {DAY_US: 2**63, HOUR_US: DAY_US, QUARTER_US: HOUR_US, 0: 0, CUT_HOURS: 1}


def _spans(edges: Sequence[int], widths: Sequence[int], raw_kept_from: datetime | None = None) -> dict[int, list[Span]]:
    spans: defaultdict[int, list[Span]] = defaultdict(list)
    for start, end in pairwise(edges):
        for part in parts(start, end, widths):
            spans[part.width].append((part.start, part.end))
            if part.width < HOUR_US:
                _require_kept(part.start, raw_kept_from)
                spans[CUT_HOURS].append((part.start // HOUR_US * HOUR_US, -(-part.end // HOUR_US) * HOUR_US))
    return {width: _merged(found, GAPS[width]) for width, found in spans.items()}


def _require_kept(at: int, raw_kept_from: datetime | None) -> None:
    if raw_kept_from is not None and at < micros(raw_kept_from):
        raise PeriodTooFine(
            f"An edge at {instant_of(at):%Y-%m-%dT%H:%MZ} needs single calls, which are kept since "
            f"{raw_kept_from:%Y-%m-%dT%H:%MZ}: let edges before that fall on whole hours of UTC."
        )


def _merged(spans: list[Span], gap: int) -> list[Span]:
    merged: list[Span] = []
    for start, end in spans:
        if merged and start - merged[-1][1] < gap:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _point(edges: Sequence[int], width: int, bucket: int) -> int | None:
    """The point that a bucket belongs to; None where an edge cuts it, so that narrower buckets were read too."""
    point = bisect_right(edges, bucket) - 1
    if width == CUT_HOURS:
        return max(point, 0)
    return point if bucket + width <= edges[point + 1] else None


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of a report: those of these ids, or all of these projects, told apart by a column."""

    ids: Sequence[str]
    by: Grouping | None = None

    def sql(self, parameters: "_Parameters") -> str:
        passed = parameters.table(("key_id",), [(one,) for one in self.ids])
        if self.by is None:
            return f"SELECT key_id AS id, key_id AS owner, key_id AS part FROM ({passed}) AS passed"
        columns = f"id, project_id AS owner, {self.by} AS part"
        return f"SELECT {columns} FROM issued_keys WHERE project_id IN ({passed})"


class _Source(NamedTuple):
    """Where spans of a width are read: a table, the column of its instants, and what a row counts, each in SQL."""

    table: str
    column: str
    bucket: str
    counts: str
    condition: str = "true"


BUCKET_COUNTS = "r.requests, r.refused, r.units, r.fraction"
RECORD_COUNTS = "1 AS requests, 0 AS refused, r.units, r.fraction"
REFUSED_COUNTS = "0 AS requests, r.refused, 0 AS units, 0 AS fraction"

SOURCES = {
    DAY_US: _Source("usage_days", "day", "r.day", BUCKET_COUNTS),
    HOUR_US: _Source("usage_hours", "hour", "r.hour", BUCKET_COUNTS),
    QUARTER_US: _Source("usage_records", "called_at", f"r.called_at - r.called_at % {QUARTER_US}", RECORD_COUNTS),
    0: _Source("usage_records", "called_at", "s.low", RECORD_COUNTS),
    CUT_HOURS: _Source("usage_hours", "hour", "r.hour", REFUSED_COUNTS, "r.refused > 0"),
}


async def _sums(keys: _Keys, spans: Mapping[int, list[Span]], grouping: str) -> list[dict[str, Any]]:
    """The sums of what keys counted in spans, in one statement."""
    if not spans:
        return []
    database = connection()
    parameters = _Parameters(database)
    tables = [f"k AS MATERIALIZED ({keys.sql(parameters)})"]
    branches = []
    for number, (width, found) in enumerate(spans.items()):
        tables.append(f"s{number} AS MATERIALIZED ({parameters.table(('low', 'high'), found)})")
        branches.append(_branch(SOURCES[width], f"s{number}", width, parameters))
    sums = ", ".join(f"SUM({name}) AS {name}" for name in COUNTS)
    return await database.execute_query_dict(
        f"WITH {', '.join(tables)} SELECT {grouping}, {sums} FROM ({' UNION ALL '.join(branches)}) AS counted"
        f" GROUP BY {grouping}",
        parameters.values,
    )


def _branch(source: _Source, spans: str, width: int, parameters: "_Parameters") -> str:
    matching = f"r.key_id = k.id AND r.{source.column} >= s.low AND r.{source.column} < s.high AND {source.condition}"
    return (
        f"SELECT k.owner, k.part, {width} AS width, {source.bucket} AS bucket, {source.counts}"
        f" FROM k CROSS JOIN {spans} AS s CROSS JOIN {parameters.each(source.table, matching)}"
    )


class _Parameters:
    """The parameters of a statement, and the few words in which the databases differ."""

    def __init__(self, database: BaseDBAsyncClient) -> None:
        self.values: list[Any] = []
        self._is_sqlite = database.capabilities.dialect == "sqlite"

    def table(self, columns: Sequence[str], rows: Sequence[Row]) -> str:
        """A SELECT of these rows, which are passed as parameters, in their order."""
        if self._is_sqlite:
            place = self._place(json.dumps(rows))
            names = ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(columns))
            return f"SELECT {names} FROM json_each({place})"
        types = ("text" if name in TEXT_COLUMNS else "bigint" for name in columns)
        places = [f"{self._place(list(values))}::{kind}[]" for values, kind in zip(_columns(rows), types, strict=True)]
        return f"SELECT * FROM unnest({', '.join(places)}) AS passed({', '.join(columns)})"

    def each(self, table: str, condition: str) -> str:
        """The rows `r` of a table that match those joined before, found through its index for each of them."""
        if self._is_sqlite:
            return f"{table} AS r ON {condition}"
        # OFFSET 0 keeps the planner from reading the whole table instead, where it takes the spans for wide.
        return f"LATERAL (SELECT * FROM {table} AS r WHERE {condition} OFFSET 0) AS r"

    def _place(self, value: Any) -> str:
        self.values.append(value)
        return f"{'?' if self._is_sqlite else '$'}{len(self.values)}"


def _columns(rows: Sequence[Row]) -> Iterable[tuple[str | int, ...]]:
    return zip(*rows, strict=True)
