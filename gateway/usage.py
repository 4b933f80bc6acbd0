"""What keys called, and what it cost, summed up over a period.

A report takes whole months, whole days and hours at their edges, and records only at odd edges: its cost follows the
keys and buckets that it touches.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple, Self

from gateway.counting import COUNTS
from gateway.database import connection
from gateway.errors import PeriodTooFine
from gateway.permissions import Actor
from gateway.pricing import DAY_US, HOUR_US, MONTH_US, QUARTER_US, Amount, Period, instant_of, micros, parts
from gateway.statements import Parameters
from models import DroppedRecords

Span = tuple[int, int]
WIDTHS = (MONTH_US, DAY_US, HOUR_US)


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
    spans = _spans([micros(period.start), micros(period.end)], WIDTHS, raw_kept_from)
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
    spans = _spans([micros(period.start), micros(period.end)], WIDTHS, raw_kept_from)
    rows = await _sums(_Keys(list(found), by), spans, "owner, part") if found else []
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
    sums = {project_id: [[0, 0, 0, 0] for _ in edges[1:]] for project_id in project_ids}
    spans = _spans(edges, (*WIDTHS, QUARTER_US), raw_kept_from)
    rows = await _sums(_Keys(list(sums), Grouping.PROJECT), spans, "owner, width, bucket") if sums else []
    for row in rows:
        point = _point(edges, row["width"], row["bucket"])
        if point is not None:
            _accumulate(sums[row["owner"]][point], row)
    return {project_id: [Totals.of(counts) for counts in points] for project_id, points in sums.items()}


def by_step(
    project_id: str, by: Grouping, boundaries: Sequence[datetime], raw_kept_from: datetime | None = None
) -> AsyncIterator[tuple[Period, dict[str, Totals]]]:
    """The totals of a project's groups between each boundary and the next, a step at a time, in one statement each.

    Groups without calls are left out. All steps add up as in `series`. PeriodTooFine as `of_keys`, before any is read.
    """
    edges = [micros(boundary) for boundary in boundaries]
    _spans(edges, WIDTHS, raw_kept_from)
    return _by_step(_Keys([project_id], by), edges)


async def _by_step(keys: "_Keys", edges: Sequence[int]) -> AsyncIterator[tuple[Period, dict[str, Totals]]]:
    for start, end in pairwise(edges):
        spans = _spans([start, end], WIDTHS)
        if start != edges[0]:
            spans[CUT_HOURS] = list(_begun_since(start, spans.get(CUT_HOURS, ())))
        rows = await _sums(keys, {width: found for width, found in spans.items() if found}, "part")
        groups = {row["part"]: totals for row, totals in _counted(rows)}
        yield Period(instant_of(start), instant_of(end)), groups


def _begun_since(start: int, spans: Iterable[Span]) -> Iterator[Span]:
    """Spans of hours without the hour that was under way: it belongs to the step before."""
    for low, high in spans:
        if (first := max(low, -(-start // HOUR_US) * HOUR_US)) < high:
            yield first, high


async def last_calls(_: Actor, key_ids: Sequence[str]) -> dict[str, datetime]:
    """When a call was last let through with each of these keys; to the hour, where its record is past retention."""
    parameters = Parameters(connection().capabilities.dialect)
    keys = parameters.table(("key_id",), [(key_id,) for key_id in key_ids])
    hours = "SELECT MAX(h.hour) FROM usage_hours AS h WHERE h.key_id = k.key_id AND h.requests > 0"
    last = f"SELECT k.key_id, ({hours}) AS hour FROM ({keys}) AS k"
    within = f"r.key_id = last.key_id AND r.called_at >= last.hour AND r.called_at < last.hour + {HOUR_US}"
    records = f"SELECT MAX(r.called_at) FROM usage_records AS r WHERE {within}"
    rows = await connection().execute_query_dict(
        f"SELECT key_id, COALESCE(({records}), hour) AS called_at FROM ({last}) AS last", parameters.values
    )
    return {row["key_id"]: instant_of(row["called_at"]) for row in rows if row["called_at"] is not None}


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


# What is read: spans of buckets, by their width in microseconds. Width 0 are records, each span by itself.
CUT_HOURS = -1  # the hours that an edge cuts: for refused calls, which are kept by the hour

# Spans are read as one where the gap between them can hold no wider bucket: all that it does hold is cut by an edge.
GAPS = {MONTH_US: 1, DAY_US: MONTH_US, HOUR_US: DAY_US, QUARTER_US: HOUR_US, 0: 0, CUT_HOURS: 1}


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

    def sql(self, parameters: Parameters) -> str:
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
    MONTH_US: _Source("usage_months", "month", "r.month", BUCKET_COUNTS),
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
    parameters = Parameters(database.capabilities.dialect)
    tables = [f"k AS MATERIALIZED ({keys.sql(parameters)})"]
    branches = []
    for number, (width, found) in enumerate(spans.items()):
        tables.append(f"s{number} AS MATERIALIZED ({parameters.table(('low', 'high'), found)})")
        branches.append(_branch(SOURCES[width], f"s{number}", width, parameters))
    sums = ", ".join(f"SUM({name}) AS {name}" for name in COUNTS)
    odd = [start for width in (QUARTER_US, 0) for start, _ in spans.get(width, ())]
    rows = await database.execute_query_dict(
        f"WITH {', '.join(tables)} SELECT {grouping}, {sums} FROM ({' UNION ALL '.join(branches)}) AS counted"
        f" GROUP BY {grouping}{_dropped_too(grouping) if odd else ''}",
        parameters.values,
    )
    return _undropped(rows, min(odd)) if odd else rows


def _dropped_too(grouping: str) -> str:
    """One row more, of no group: until when records were dropped, as its first count."""
    groups = ", ".join("NULL" for _ in grouping.split(","))
    others = ", ".join("0" for _ in COUNTS[1:])
    return f" UNION ALL SELECT {groups}, until, {others} FROM dropped_records"


def _undropped(rows: Sequence[dict[str, Any]], since: int) -> list[dict[str, Any]]:
    """The rows of groups. Raises PeriodTooFine where records since then may be gone."""
    groups = []
    for row in rows:
        if next(iter(row.values())) is None:
            _require_kept(since, instant_of(int(row[COUNTS[0]])))
        else:
            groups.append(row)
    return groups


def _branch(source: _Source, spans: str, width: int, parameters: Parameters) -> str:
    matching = f"r.key_id = k.id AND r.{source.column} >= s.low AND r.{source.column} < s.high AND {source.condition}"
    return (
        f"SELECT k.owner, k.part, {width} AS width, {source.bucket} AS bucket, {source.counts}"
        f" FROM k CROSS JOIN {spans} AS s CROSS JOIN {parameters.each(source.table, matching)}"
    )
