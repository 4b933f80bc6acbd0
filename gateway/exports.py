"""Calls and totals as tables of any length, read a chunk at a time: nothing is held, and no lock, between two chunks.

What was counted before an export began is in it once, unless it is taken back meanwhile. What is counted meanwhile is
in it where its instant is still to be read. An export of a period that is over is the same each time, 5 seconds later,
as long as no calls are reported from elsewhere.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from gateway import pricing, usage
from gateway.database import connection
from gateway.errors import BadInput, PeriodTooFine
from gateway.formats import Row, Text
from gateway.permissions import Actor, require
from gateway.pricing import HOUR_US, Amount, Granularity, Period, instant_of, micros, plain
from gateway.statements import Parameters
from gateway.usage import Grouping, Totals
from models import IssuedKey, Project, Template, User

ROWS_AT_ONCE = 2000
RECORD_COLUMNS = (
    "called_at",
    "key_id",
    "key_name",
    "user_id",
    "user_name",
    "template_id",
    "cost",
    "currency",
)
TOTAL_COLUMNS = ("from", "to", "group_id", "group_name", "requests", "refused", "total", "currency")
PERIOD = frozenset({"from", "to", "month", "lastDays", "timeZone"})

Chunks: TypeAlias = AsyncIterator[list[Row]]


@dataclass(frozen=True)
class Export:
    """A table that is read as it is taken."""

    columns: Sequence[str]
    chunks: Chunks


async def records(actor: Actor, project_id: str, period: Period, records_kept_from: datetime) -> Export:
    """Each call of a period by itself, by instant, key and number.

    Raises Unauthenticated, NotFound, Forbidden; PeriodTooFine where calls of the period are no longer kept one by one.
    """
    await require(actor, "usage.export", project_id)
    records_kept_from = await usage.not_dropped_from(records_kept_from)
    if period.start < records_kept_from:
        raise PeriodTooFine(
            f"Single calls are kept since {records_kept_from:%Y-%m-%dT%H:%MZ}; totals reach back further."
        )
    return Export(RECORD_COLUMNS, _records(await Project.get(id=project_id), period))


async def totals(
    actor: Actor, project_id: str, boundaries: Sequence[datetime], by: Grouping, records_kept_from: datetime
) -> Export:
    """What each group called between each boundary and the next; of a group without calls there is no row.

    They add up to the whole. Of the project itself there is a row for each step. Raises Unauthenticated, NotFound,
    Forbidden; PeriodTooFine as `usage.of_keys`.
    """
    await require(actor, "usage.export", project_id)
    steps = usage.by_step(project_id, by, boundaries, await usage.not_dropped_from(records_kept_from))
    return Export(TOTAL_COLUMNS, _totals(await Project.get(id=project_id), by, steps))


# What is asked for


def period_in(parameters: Mapping[str, str], now: datetime) -> Period:
    """`from` and `to`, `month` with or without `timeZone`, or `lastDays`. Raises BadInput."""
    match sorted(parameters.keys() & {"from", "to", "month", "lastDays"}):
        case ["from", "to"]:
            return pricing.between(*(pricing.parse_instant(parameters[name]) for name in ("from", "to")))
        case ["month"]:
            return pricing.month(parameters["month"], parameters.get("timeZone", "UTC"))
        case ["lastDays"]:
            return pricing.last_days(_whole(parameters["lastDays"]), now)
    raise BadInput("A period is `from` and `to`, or `month`, or `lastDays`.")


def boundaries_in(parameters: Mapping[str, str], now: datetime) -> list[datetime]:
    """Those of the steps of the period; days of UTC unless asked otherwise. Raises BadInput, LimitExceeded."""
    granularity = _one_of(Granularity, parameters, "granularity", Granularity.DAY)
    return pricing.steps(period_in(parameters, now), granularity, parameters.get("timeZone", "UTC"))


def grouping_in(parameters: Mapping[str, str]) -> Grouping:
    grouping: Grouping = _one_of(Grouping, parameters, "by", Grouping.PROJECT)
    return grouping


def check_names(given: Sequence[str], known: Collection[str]) -> None:
    """Raises BadInput for a parameter that there isn't, which would else be overlooked, or that is there twice."""
    for name in given:
        if name not in known:
            raise BadInput(f"The parameters are {', '.join(sorted(known))}.")
        if given.count(name) > 1:
            raise BadInput(f"Give {name} once.")


def _one_of(kind: Any, parameters: Mapping[str, str], name: str, default: Any) -> Any:
    try:
        return kind[parameters[name]] if name in parameters else default
    except KeyError:
        raise BadInput(f"{name} is one of {', '.join(kind.__members__)}.") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput("lastDays is a whole number.")
    return int(text)


# Records


async def _records(project: Project, period: Period) -> Chunks:
    """Spans of time as short as they hold about a chunk, since a span is read whole to be put in order."""
    after, end, width = (micros(period.start), "", 0), micros(period.end), HOUR_US
    while after[0] < end:
        until = min(after[0] + width, end)
        found = await _read(project.id, after, until)
        if found:
            yield [_record(row, project.currency) for row in found]
        if len(found) < ROWS_AT_ONCE:
            after, width = (until, "", 0), width * 2
        else:
            last = found[-1]
            after, width = (last["called_at"], last["key_id"], last["id"]), max(width // 2, 1)


async def _read(project_id: str, after: tuple[int, str, int], until: int) -> list[dict[str, Any]]:
    """The first records of the project after that one, before an instant."""
    database = connection()
    parameters = Parameters(database.capabilities.dialect)
    keys = f"SELECT id FROM issued_keys WHERE project_id = {parameters.place(project_id)}"
    start, end = parameters.place(after[0]), parameters.place(until)
    within = f"r.key_id = k.id AND r.called_at >= {start} AND r.called_at < {end}"
    passed = ", ".join(map(parameters.place, after))
    return await database.execute_query_dict(
        f"""
        WITH k AS MATERIALIZED ({keys}), found AS MATERIALIZED (
            SELECT r.id, r.key_id, r.called_at, r.units, r.fraction
            FROM k CROSS JOIN {parameters.each("usage_records", within)}
            WHERE (r.called_at, r.key_id, r.id) > ({passed})
            ORDER BY r.called_at, r.key_id, r.id LIMIT {ROWS_AT_ONCE}
        )
        SELECT found.*, issued_keys.name, template_id, user_id, users.name AS user_name
        FROM found JOIN issued_keys ON issued_keys.id = found.key_id JOIN users ON users.id = user_id
        ORDER BY called_at, key_id, found.id
        """,
        parameters.values,
    )


def _record(row: Mapping[str, Any], currency: str) -> Row:
    return (
        _shown(instant_of(row["called_at"])),
        row["key_id"],
        Text(row["name"]),
        row["user_id"],
        Text(row["user_name"]),
        row["template_id"],
        plain(Amount(row["units"], row["fraction"]).decimal),
        currency,
    )


# Totals


async def _totals(project: Project, by: Grouping, steps: AsyncIterator[tuple[Period, dict[str, Totals]]]) -> Chunks:
    names: dict[str, str] = {project.id: project.name}
    async for step, groups in steps:
        shown = groups or ({project.id: Totals()} if by is Grouping.PROJECT else {})
        names |= await _names(by, shown.keys() - names)
        rows = [_total(step, id, names[id], shown[id], project.currency) for id in sorted(shown)]
        if rows:
            yield rows


async def _names(by: Grouping, ids: Collection[str]) -> dict[str, str]:
    tables = {Grouping.KEY: IssuedKey, Grouping.TEMPLATE: Template, Grouping.USER: User, Grouping.PROJECT: Project}
    if not ids:
        return {}
    rows: Any = await tables[by].filter(id__in=ids).values_list("id", "name")
    return dict(rows)


def _total(step: Period, id: str, name: str, totals: Totals, currency: str) -> Row:
    cost = plain(totals.cost.decimal)
    return (_shown(step.start), _shown(step.end), id, Text(name), totals.requests, totals.refused, cost, currency)


def _shown(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
