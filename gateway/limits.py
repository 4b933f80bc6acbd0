"""How much each key of a template may call: a rate, and quotas of calls and of money by the day and the month of UTC.

A rate is counted in memory. A quota has no counter of its own: what is used of it stands in the buckets of the key's
days and months, by which calls are refused and which are shown. Rotating a key's token leaves them as they are.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from gateway.database import connection
from gateway.errors import Invalid, within
from gateway.permissions import Actor
from gateway.pricing import DAY_US, Amount, first_of_month, instant_of, micros
from gateway.statements import Parameters, Statement
from models import TemplateLimits

MOST_CALLS_PER_SECOND, MOST_BURST, MOST_CALLS, MOST_COST = 100_000, 1_000_000, 10**15, 999_999_999_999
LONGER_THAN_A_MONTH_US = 32 * DAY_US
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may call; None is unlimited. `burst` goes with `calls_per_second`."""

    calls_per_second: int | None = None
    burst: int | None = None
    calls_per_day: int | None = None
    calls_per_month: int | None = None
    cost_per_day: Amount | None = None
    cost_per_month: Amount | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class LimitsWanted:
    """Limits as somebody asks for them, not yet looked at. A rate without a burst has one second's calls."""

    calls_per_second: int | None = None
    burst: int | None = None
    calls_per_day: int | None = None
    calls_per_month: int | None = None
    cost_per_day: Decimal | None = None
    cost_per_month: Decimal | None = None


class Used(NamedTuple):
    """What a key called in a day or a month, and what it cost: a bucket's requests, units and fraction."""

    requests: int = 0
    cost: Amount = Amount()


class AllowanceKind(StrEnum):
    """A quota, by the column of its limit."""

    CALLS_PER_DAY = "calls_per_day"
    CALLS_PER_MONTH = "calls_per_month"
    COST_PER_DAY = "cost_per_day"
    COST_PER_MONTH = "cost_per_month"

    @property
    def is_monthly(self) -> bool:
        return self in {AllowanceKind.CALLS_PER_MONTH, AllowanceKind.COST_PER_MONTH}

    @property
    def is_money(self) -> bool:
        return self in {AllowanceKind.COST_PER_DAY, AllowanceKind.COST_PER_MONTH}


class Allowance(NamedTuple):
    """How a key stands with a quota; calls or money, exact. `left` is never below zero."""

    kind: AllowanceKind
    limit: Decimal
    used: Decimal
    left: Decimal
    resets_at: datetime


# What is stored


def of_row(row: TemplateLimits) -> Limits:
    return Limits(
        calls_per_second=row.calls_per_second,
        burst=row.burst,
        calls_per_day=row.calls_per_day,
        calls_per_month=row.calls_per_month,
        cost_per_day=_amount(row.cost_per_day),
        cost_per_month=_amount(row.cost_per_month),
    )


async def of_templates(_: Actor, template_ids: Sequence[str]) -> dict[str, Limits]:
    """The limits of each template, those of a deleted one too: its keys go on. Whoever sees a template sees them."""
    rows = await TemplateLimits.filter(template_id__in=template_ids)
    return dict.fromkeys(template_ids, UNLIMITED) | {row.template_id: of_row(row) for row in rows}


async def replace_limits(template_id: str, wanted: LimitsWanted | None) -> None:
    """Gives a template these limits instead of those it had; None takes them away. Raises Invalid.

    In the transaction of the caller, who holds the template's lock.
    """
    with within("limits"):
        columns = _columns(wanted or LimitsWanted())
    await TemplateLimits.filter(template_id=template_id).delete()
    if columns:
        await TemplateLimits.create(template_id=template_id, **columns)


def _columns(wanted: LimitsWanted) -> dict[str, Any]:
    columns = {
        "calls_per_second": _whole(wanted.calls_per_second, "callsPerSecond", 1, MOST_CALLS_PER_SECOND),
        "burst": _whole(wanted.burst, "burst", 1, MOST_BURST),
        "calls_per_day": _whole(wanted.calls_per_day, "callsPerDay", 0, MOST_CALLS),
        "calls_per_month": _whole(wanted.calls_per_month, "callsPerMonth", 0, MOST_CALLS),
        "cost_per_day": _money(wanted.cost_per_day, "costPerDay"),
        "cost_per_month": _money(wanted.cost_per_month, "costPerMonth"),
    }
    if wanted.calls_per_second is None and wanted.burst is not None:
        raise Invalid("A burst goes with a rate: give callsPerSecond too.", ["burst"])
    if wanted.burst is None:
        columns["burst"] = wanted.calls_per_second
    return {name: value for name, value in columns.items() if value is not None}


def _whole(value: int | None, member: str, least: int, most: int) -> int | None:
    if value is not None and not least <= value <= most:
        raise Invalid(f"This is a number from {least} to {most}; null is unlimited.", [member])
    return value


def _money(value: Decimal | None, member: str) -> Decimal | None:
    if value is None:
        return None
    if not value.is_finite() or not 0 <= value <= MOST_COST:
        raise Invalid(f"This is an amount from 0 to {MOST_COST}; null is unlimited.", [member])
    try:
        return Amount.of(value).decimal
    except ValueError as error:
        raise Invalid("An amount has at most 10 decimals.", [member]) from error


# What is left


async def standing(_: Actor, key_ids: Sequence[str], now: datetime) -> dict[str, list[Allowance]]:
    """How each key stands with the quotas of its template, in one statement. Whoever sees a key sees that."""
    database = connection()
    rows = await database.execute_query_dict(*_standing(database.capabilities.dialect, key_ids, micros(now)))
    found: dict[str, list[Allowance]] = {key_id: [] for key_id in key_ids}
    for row in rows:
        found[row["key_id"]] = allowances(_quotas(row), _used(row, "day"), _used(row, "month"), now)
    return found


def _standing(dialect: str, key_ids: Sequence[str], at: int) -> Statement:
    parameters = Parameters(dialect)
    keys = parameters.table(("key_id",), [(key_id,) for key_id in key_ids])
    buckets = {"day": AllowanceKind.CALLS_PER_DAY, "month": AllowanceKind.CALLS_PER_MONTH}
    counts = [f"{bucket}.{name} AS {bucket}_{name}" for bucket in buckets for name in ("requests", "units", "fraction")]
    joined = [
        f"LEFT JOIN usage_{bucket}s AS {bucket}"
        f" ON {bucket}.key_id = p.key_id AND {bucket}.{bucket} = {parameters.place(span(kind, at)[0])}"
        for bucket, kind in buckets.items()
    ]
    return Statement(
        f"WITH p AS MATERIALIZED ({keys}) SELECT p.key_id, l.*, {', '.join(counts)} FROM p"
        " JOIN issued_keys AS k ON k.id = p.key_id JOIN template_limits AS l ON l.template_id = k.template_id"
        f" {' '.join(joined)}",
        parameters.values,
    )


def _quotas(row: Mapping[str, Any]) -> Limits:
    return Limits(
        calls_per_day=row["calls_per_day"],
        calls_per_month=row["calls_per_month"],
        cost_per_day=_amount(row["cost_per_day"]),
        cost_per_month=_amount(row["cost_per_month"]),
    )


def _amount(stored: Decimal | str | None) -> Amount | None:
    return None if stored is None else Amount.of(Decimal(stored))


def _used(row: Mapping[str, Any], bucket: str) -> Used:
    """What a bucket holds; nothing where there is none."""
    requests, units, fraction = (row[f"{bucket}_{name}"] or 0 for name in ("requests", "units", "fraction"))
    return Used(requests, Amount(units, fraction))


def allowances(limits: Limits, day: Used, month: Used, now: datetime) -> list[Allowance]:
    """How what was used of a day and of a month stands to every quota that is set. Pure."""
    return [
        Allowance(kind, *_figures(limits, kind, month if kind.is_monthly else day), resets_at(kind, now))
        for kind in AllowanceKind
        if getattr(limits, kind) is not None
    ]


def _figures(limits: Limits, kind: AllowanceKind, used: Used) -> tuple[Decimal, Decimal, Decimal]:
    """The limit, what is used of it, and what is left, each to the last digit."""
    limit: Any = getattr(limits, kind)
    if kind.is_money:
        left = Amount.carried(limit.units - used.cost.units, limit.fraction - used.cost.fraction)
        return limit.decimal, used.cost.decimal, max(left, Amount()).decimal
    return Decimal(limit), Decimal(used.requests), Decimal(max(limit - used.requests, 0))


def exceeded(limits: Limits, cost: Amount, day: Used, month: Used) -> list[AllowanceKind]:
    """The quotas in which one more call of this cost has no room. Pure."""
    return [
        kind
        for kind in AllowanceKind
        if not _has_room(getattr(limits, kind), kind, cost, month if kind.is_monthly else day)
    ]


def _has_room(limit: Any, kind: AllowanceKind, cost: Amount, used: Used) -> bool:
    if limit is None:
        return True
    return bool(used.cost + cost <= limit) if kind.is_money else bool(used.requests < limit)


def resets_at(kind: AllowanceKind, now: datetime) -> datetime:
    """The first instant of the next day or month of UTC, when all of the quota is there again."""
    return instant_of(span(kind, micros(now))[1])


def retry_after(kinds: Iterable[AllowanceKind], now: datetime) -> int:
    """In how many whole seconds the last of these quotas is there again, at least 1."""
    at = micros(now)
    return -(-(max(span(kind, at)[1] for kind in kinds) - at) // SECOND_US)


def span(kind: AllowanceKind, at: int) -> tuple[int, int]:
    """The first instants of the day or month of UTC that an instant is in, and of the next; in microseconds."""
    day = at // DAY_US
    return _month_of(day) if kind.is_monthly else (day * DAY_US, (day + 1) * DAY_US)


@lru_cache(maxsize=8)
def _month_of(day: int) -> tuple[int, int]:
    start = first_of_month(day * DAY_US)
    return start, first_of_month(start + LONGER_THAN_A_MONTH_US)
