"""What keys called, and what it cost, summed up over a period.

A report takes whole months, whole days and hours at their edges, and records only at odd edges: its cost follows the
keys and buckets that it touches.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

from gateway.counting import COUNTS
from gateway.database import connection
from gateway.errors import PeriodTooFine
from gateway.partitions import WEEK_US
from gateway.permissions import Actor
from gateway.pricing import DAY_US, HOUR_US, MONTH_US, QUARTER_US, Amount, Period, instant_of, micros
from gateway.spans import CUT_HOURS, Span, Spans, covering, hour_after, hour_of, tiling
from gateway.statements import Parameters
from models import DroppedRecords


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


# Reports


async def of_keys(key_ids: Iterable[str], period: Period, raw_kept_from: datetime | None = None) -> dict[str, Totals]:
    """The totals of each of these keys over a period, in one statement.

    PeriodTooFine where an edge needs records older than `raw_kept_from`, the first instant whose records are all kept.
    """
    ids = list(dict.fromkeys(key_ids))
    spans = _covering([micros(period.start), micros(period.end)], raw_kept_from)
    rows = await _sums(_Keys(ids), spans) if ids else []
    found = {ids[row["number"]]: _totals(row) for row in rows}
    return {key_id: found.get(key_id, Totals()) for key_id in ids}


async def of_projects(
    project_ids: Iterable[str], by: Grouping, period: Period, raw_kept_from: datetime | None = None
) -> dict[str, dict[str, Totals]]:
    """For each of these projects the totals of its keys over a period, by the ids of their groups, in one statement.

    Groups without calls are left out. PeriodTooFine as `of_keys`.
    """
    found: dict[str, dict[str, Totals]] = {project_id: {} for project_id in project_ids}
    spans = _covering([micros(period.start), micros(period.end)], raw_kept_from)
    rows = await _sums(_KeysByGroup(list(found), by), spans) if found else []
    for row, totals in _counted(rows):
        found[row["owner"]][row["part"]] = totals
    return found


async def series(
    project_ids: Iterable[str], boundaries: Sequence[datetime], raw_kept_from: datetime | None = None
) -> dict[str, list[Totals]]:
    """For each of these projects the totals between each boundary and the next, in one statement.

    The points add up to the whole: an hour of refused calls that a boundary cuts belongs to the point of its beginning.
    PeriodTooFine as `of_keys`.
    """
    edges = [micros(boundary) for boundary in boundaries]
    ids = list(dict.fromkeys(project_ids))
    sums = [[[0, 0, 0, 0] for _ in edges[1:]] for _ in ids]
    _require_calls_at(edges, raw_kept_from)
    rows = await _sums(_KeysOfProjects(ids), tiling(edges)) if ids else []
    for row in rows:
        point = _point(edges, row["width"], row["bucket"])
        if point is not None:
            _accumulate(sums[row["number"]][point], row)
    return {id: [Totals.of(counts) for counts in points] for id, points in zip(ids, sums, strict=True)}


def by_step(
    project_id: str, by: Grouping, boundaries: Sequence[datetime], raw_kept_from: datetime | None = None
) -> AsyncIterator[tuple[Period, dict[str, Totals]]]:
    """The totals of a project's groups between each boundary and the next, a step at a time, in one statement each.

    Groups without calls are left out. All steps add up as in `series`. PeriodTooFine as `of_keys`, before any is read.
    """
    edges = [micros(boundary) for boundary in boundaries]
    _require_calls_at(edges, raw_kept_from)
    return _by_step(_KeysByGroup([project_id], by), edges)


async def _by_step(keys: "_KeysByGroup", edges: Sequence[int]) -> AsyncIterator[tuple[Period, dict[str, Totals]]]:
    refused_from = hour_of(edges[0])
    for start, end in pairwise(edges):
        rows = await _sums(keys, covering(start, end, refused_from))
        groups = {row["part"]: totals for row, totals in _counted(rows)}
        yield Period(instant_of(start), instant_of(end)), groups
        refused_from = hour_after(end)  # an hour that is under way belongs to the step before


async def last_calls(_: Actor, key_ids: Sequence[str]) -> dict[str, datetime]:
    """When a call was last let through with each of these keys; to the hour, where its record is past retention."""
    hours = await _last_hours(key_ids)
    called = await _last_calls_in(hours) if hours else {}
    return {key_id: instant_of(called.get(key_id, hour)) for key_id, hour in hours.items()}


async def _last_hours(key_ids: Sequence[str]) -> dict[str, int]:
    parameters = Parameters(connection().capabilities.dialect)
    keys = parameters.table(("key_id",), [(key_id,) for key_id in key_ids])
    hours = "SELECT h.hour FROM usage_hours AS h WHERE h.key_id = k.key_id AND h.requests > 0"
    rows = await connection().execute_query_dict(
        f"SELECT k.key_id, ({hours} ORDER BY h.hour DESC LIMIT 1) AS hour FROM ({keys}) AS k", parameters.values
    )
    return {row["key_id"]: row["hour"] for row in rows if row["hour"] is not None}


async def _last_calls_in(hours: Mapping[str, int]) -> dict[str, int]:
    """Of keys whose calls of that hour have records. Those of the latest week are asked for by themselves.

    So PostgreSQL opens but the tables of the weeks that may hold them, which mostly are one or two.
    """
    parameters = Parameters(connection().capabilities.dialect)
    latest = max(hours.values()) - WEEK_US
    parts = [[pair for pair in hours.items() if (pair[1] > latest) is is_late] for is_late in (True, False)]
    statement = " UNION ALL ".join(_last_call_of_each(part, parameters) for part in parts if part)
    rows = await connection().execute_query_dict(statement, parameters.values)
    return {row["key_id"]: row["called_at"] for row in rows if row["called_at"] is not None}


def _last_call_of_each(hours: Sequence[tuple[str, int]], parameters: Parameters) -> str:
    bounds = min(hour for _, hour in hours), max(hour for _, hour in hours) + HOUR_US
    first, end = (f"CAST({parameters.place(at)} AS BIGINT)" for at in bounds)
    within = f"r.called_at >= {first} AND r.called_at < {end}"
    within = f"r.key_id = k.key_id AND {within} AND r.called_at >= k.hour AND r.called_at < k.hour + {HOUR_US}"
    passed = parameters.table(("key_id", "hour"), hours)
    last = f"SELECT MAX(r.called_at) FROM usage_records AS r WHERE {within}"
    return f"SELECT k.key_id, ({last}) AS called_at FROM ({passed}) AS k"


def dearest_first(groups: Mapping[str, Totals]) -> list[tuple[str, Totals]]:
    """Those with the highest cost first, then by id."""
    return sorted(sorted(groups.items()), key=lambda group: group[1].cost, reverse=True)


async def not_dropped_from(kept_from: datetime) -> datetime:
    """`kept_from`, or up to where records were dropped if that is later, since then less was kept."""
    dropped = await DroppedRecords.get(id=1)
    return max(kept_from, instant_of(dropped.until))


def records_kept_from(now: datetime, retention_days: int) -> datetime:
    """The first instant whose records are all kept, a whole hour of UTC.

    What drops older ones leaves an hour more, for reports whose `now` was a moment before. Where less was kept once,
    `not_dropped_from` knows.
    """
    past = now - timedelta(days=retention_days)
    return past.replace(minute=0, second=0, microsecond=0)


def _counted(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Totals]]:
    """Each with its totals, less those of nothing: a bucket may hold that, once its calls are taken back."""
    for row in rows:
        if (totals := _totals(row)) != Totals():
            yield row, totals


def _totals(row: Mapping[str, Any]) -> Totals:
    return Totals.of([int(row[name]) for name in COUNTS])


def _accumulate(counts: list[int], row: Mapping[str, Any]) -> None:
    for index, name in enumerate(COUNTS):
        counts[index] += int(row[name])


# What is read


def _covering(edges: Sequence[int], raw_kept_from: datetime | None) -> Spans:
    _require_calls_at(edges, raw_kept_from)
    return covering(*edges)


def _require_calls_at(edges: Iterable[int], raw_kept_from: datetime | None) -> None:
    """Raises PeriodTooFine where one is inside an hour whose single calls aren't all kept."""
    for edge in edges:
        if edge % HOUR_US:
            _require_kept(hour_of(edge), raw_kept_from)


def _require_kept(at: int, raw_kept_from: datetime | None) -> None:
    if raw_kept_from is not None and at < micros(raw_kept_from):
        raise PeriodTooFine(
            f"An edge in the hour from {instant_of(at):%Y-%m-%dT%H:%MZ} needs single calls, which are kept since "
            f"{raw_kept_from:%Y-%m-%dT%H:%MZ}: let edges before that fall on whole hours of UTC."
        )


def _point(edges: Sequence[int], width: int, bucket: int) -> int | None:
    """The point that a bucket belongs to; None where an edge cuts it, so that narrower buckets were read too."""
    point = bisect_right(edges, bucket) - 1
    if width == CUT_HOURS:
        return max(point, 0)
    return point if bucket + width <= edges[point + 1] else None


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of these ids. Each is summed up under its place among them."""

    ids: Sequence[str]
    grouping: ClassVar[Sequence[str]] = ("number",)

    @property
    def columns(self) -> Sequence[str]:
        """By which the rows of the answer are told apart."""
        return self.grouping

    def sql(self, parameters: Parameters) -> str:
        return f"SELECT key_id AS id, number FROM ({self._passed(parameters)}) AS passed"

    def grouped(self, sums: str) -> str:
        return sums

    def _passed(self, parameters: Parameters) -> str:
        return parameters.table(("key_id", "number"), [(id, number) for number, id in enumerate(self.ids)])


class _KeysOfProjects(_Keys):
    """All keys of these projects. What is summed up under a project's place is told apart by buckets."""

    grouping = ("number", "width", "bucket")

    def sql(self, parameters: Parameters) -> str:
        passed = self._passed(parameters)
        return f"SELECT i.id, number FROM ({passed}) AS passed JOIN issued_keys AS i ON i.project_id = passed.key_id"


@dataclass(frozen=True, slots=True)
class _KeysByGroup(_Keys):
    """All keys of these projects, told apart by a column. Each is summed up under a number, which is done sooner."""

    by: Grouping

    @property
    def columns(self) -> Sequence[str]:
        return ("owner", "part")

    def sql(self, parameters: Parameters) -> str:
        columns = f"i.id, ROW_NUMBER() OVER () AS number, i.project_id AS owner, i.{self.by} AS part"
        passed = self._passed(parameters)
        return f"SELECT {columns} FROM ({passed}) AS passed JOIN issued_keys AS i ON i.project_id = passed.key_id"

    def grouped(self, sums: str) -> str:
        return f"SELECT owner, part, {SUMS} FROM ({sums}) AS counted JOIN k USING (number) GROUP BY owner, part"


class _InSql(NamedTuple):
    """A span, as a statement says it."""

    low: str
    high: str
    called: str
    refused: str


class _Source(NamedTuple):
    """Where spans of a width are read: a table, the column of its instants, and what a row counts, each in SQL."""

    table: str
    column: str
    bucket: str
    counts: Sequence[str]
    condition: str = "true"


BUCKET_COUNTS = [f"r.{name}" for name in COUNTS]
RECORD_COUNTS = ["1", "0", "r.units", "r.fraction"]
SUMS = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in COUNTS)
IN_TABLE = _InSql("s.low", "s.high", "s.called", "s.refused")
FEW = 4

SOURCES = {
    MONTH_US: _Source("usage_months", "month", "r.month", BUCKET_COUNTS),
    DAY_US: _Source("usage_days", "day", "r.day", BUCKET_COUNTS),
    HOUR_US: _Source("usage_hours", "hour", "r.hour", BUCKET_COUNTS),
    QUARTER_US: _Source("usage_records", "called_at", f"r.called_at - r.called_at % {QUARTER_US}", RECORD_COUNTS),
    0: _Source("usage_records", "called_at", "{low}", RECORD_COUNTS),
    CUT_HOURS: _Source("usage_hours", "hour", "r.hour", BUCKET_COUNTS, "r.refused > 0"),
}


async def _sums(keys: _Keys, spans: Spans) -> list[dict[str, Any]]:
    """The sums of what keys counted in spans, in one statement."""
    database = connection()
    parameters = Parameters(database.capabilities.dialect)
    tables = [f"k AS MATERIALIZED ({keys.sql(parameters)})"]
    branches = []
    for width, found in spans.items():
        if width == 0 and len(found) <= FEW:
            branches += [_branch_of_span(keys, span, parameters) for span in found]
        else:
            tables.append(
                f"s{len(tables)} AS MATERIALIZED ({parameters.table(Span._fields, [tuple(span) for span in found])})"
            )
            branches.append(_branch(keys, width, IN_TABLE, f"k CROSS JOIN s{len(tables) - 1} AS s", parameters))
    groups = ", ".join(keys.grouping)
    sums = keys.grouped(f"SELECT {groups}, {SUMS} FROM ({' UNION ALL '.join(branches)}) AS counted GROUP BY {groups}")
    odd = [span.low for width in (QUARTER_US, 0) for span in spans.get(width, ())]
    dropped = _dropped_too(len(keys.columns)) if odd else ""
    rows = await database.execute_query_dict(f"WITH {', '.join(tables)} {sums}{dropped}", parameters.values)
    return _undropped(rows, min(odd)) if odd else rows


def _branch_of_span(keys: _Keys, span: Span, parameters: Parameters) -> str:
    """Of single calls, with the span's own instants: by them PostgreSQL knows which weeks' tables to leave alone."""
    low, high, called, refused = (f"CAST({parameters.place(value)} AS BIGINT)" for value in span)
    return _branch(keys, 0, _InSql(low, high, called, refused), "k", parameters)


def _branch(keys: _Keys, width: int, span: _InSql, read_for: str, parameters: Parameters) -> str:
    source = SOURCES[width]
    groups = {"number": "k.number", "width": str(width), "bucket": source.bucket.format(low=span.low)}
    times = (span.called, span.refused, span.called, span.called)
    columns = [f"{groups[name]} AS {name}" for name in keys.grouping]
    columns += [f"{n} * {count} AS {name}" for n, count, name in zip(times, source.counts, COUNTS, strict=True)]
    within = f"r.{source.column} >= {span.low} AND r.{source.column} < {span.high}"
    matching = f"r.key_id = k.id AND {within} AND {source.condition}"
    return f"SELECT {', '.join(columns)} FROM {read_for} CROSS JOIN {parameters.each(source.table, matching)}"


def _dropped_too(groups: int) -> str:
    """One row more, of no group: until when records were dropped, as its first count."""
    columns = ", ".join(["NULL"] * groups + ["until"] + ["0"] * (len(COUNTS) - 1))
    return f" UNION ALL SELECT {columns} FROM dropped_records"


def _undropped(rows: Sequence[dict[str, Any]], since: int) -> list[dict[str, Any]]:
    """The rows of groups. Raises PeriodTooFine where records since then may be gone."""
    groups = []
    for row in rows:
        if next(iter(row.values())) is None:
            _require_kept(since, instant_of(int(row[COUNTS[0]])))
        else:
            groups.append(row)
    return groups
