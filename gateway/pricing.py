"""What a call costs, and how time is cut for a report. Pure: nothing is read but the zones of the tzdata package.

Money is exact: a cost has up to 10 decimals, and sums never pass through floating point. A period is half-open,
`start <= t < end`, in UTC. Inside a database an instant is a whole number of microseconds since 1970.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from functools import cache, lru_cache
from importlib import resources
from itertools import islice
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from gateway.errors import BadInput, Invalid, LimitExceeded

MAX_PRICE = Decimal("999999.999999")
MAX_COEFFICIENT = Decimal("9999.9999")
MAX_STEPS = 10_000
MAX_LAST_DAYS = 3660

FRACTIONS_IN_UNIT = 10**10
QUARTER_US = 900_000_000
HOUR_US = 4 * QUARTER_US
DAY_US = 24 * HOUR_US
MONTH_US = 28 * DAY_US
"""The width that stands for calendar months of UTC: that of the shortest."""
LONGEST_MONTH_US = 31 * DAY_US

_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)")
_OUTSIDE_CALENDAR = "The period is outside the calendar: its instants must be in the years 0001 to 9999."


# Money


@dataclass(frozen=True, slots=True, order=True)
class Amount:
    """`units + fraction * 10^-10`, carried: `0 <= fraction < 10^10`."""

    units: int = 0
    fraction: int = 0

    @classmethod
    def carried(cls, units: int, fraction: int) -> Self:
        """The amount of sums that may have run over."""
        more, rest = divmod(fraction, FRACTIONS_IN_UNIT)
        return cls(units + more, rest)

    @classmethod
    def of(cls, value: Decimal) -> Self:
        """The same value. ValueError where it has more than 10 decimals or is no number."""
        if not value.is_finite():
            raise ValueError("An amount is a number.")
        try:
            fractions = _EXACT.to_integral_exact(_EXACT.scaleb(value, 10))
        except Inexact as error:
            raise ValueError("An amount has at most 10 decimals.") from error
        return cls.carried(0, int(fractions))

    def __add__(self, other: "Amount") -> "Amount":
        return Amount.carried(self.units + other.units, self.fraction + other.fraction)

    @property
    def decimal(self) -> Decimal:
        return _EXACT.scaleb(Decimal(self.units * FRACTIONS_IN_UNIT + self.fraction), -10)


def cost(price: Decimal, coefficient: Decimal) -> Decimal:
    """What one call costs, to the last digit."""
    return _EXACT.multiply(price, coefficient)


def checked_price(price: Decimal, path: Sequence[str] = ()) -> Decimal:
    """The price, where it can be one: 0 to 999999.999999, at most 6 decimals. Else Invalid."""
    return _checked(price, "price", MAX_PRICE, 6, path)


def checked_coefficient(coefficient: Decimal, path: Sequence[str] = ()) -> Decimal:
    """The cost coefficient, where it can be one: 0 to 9999.9999, at most 4 decimals. Else Invalid."""
    return _checked(coefficient, "cost coefficient", MAX_COEFFICIENT, 4, path)


def _checked(value: Decimal, noun: str, most: Decimal, decimals: int, path: Sequence[str]) -> Decimal:
    if not value.is_finite() or not 0 <= value <= most:
        raise Invalid(f"A {noun} is a number from 0 to {most}.", path)
    try:
        scaled = _EXACT.to_integral_exact(_EXACT.scaleb(value, decimals))
    except Inexact as error:
        raise Invalid(f"A {noun} has at most {decimals} decimals.", path) from error
    return Decimal(plain(_EXACT.scaleb(scaled, -decimals)))


def plain(value: Decimal) -> str:
    """The number in plain notation: no exponent, no superfluous zeros, no minus before zero."""
    if not value.is_finite():
        raise ValueError("Only a number has a plain notation.")
    digits = format(value, "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits if value else "0"


# Periods


def parse_instant(text: str) -> datetime:
    """The instant, in UTC, that ISO 8601 with an offset writes so. BadInput where it is none."""
    if not _INSTANT.fullmatch(text):
        raise BadInput("An instant is ISO 8601 with an offset, as in 2026-11-23T10:26:00Z.")
    try:
        return datetime.fromisoformat(text.upper().replace(",", ".")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput("There is no such instant.") from None


def micros(instant: datetime) -> int:
    """Whole microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def first_of_month(microseconds: int) -> int:
    """The first instant of the month of UTC that an instant is in."""
    return _first_of_month(microseconds // DAY_US)


@lru_cache(maxsize=64)
def _first_of_month(day: int) -> int:
    microseconds = day * DAY_US
    return micros(instant_of(microseconds).replace(day=1, hour=0, minute=0, second=0, microsecond=0))


@dataclass(frozen=True, slots=True)
class Period:
    """`start <= t < end`, both in UTC, never empty. Made by `between`, `month` or `last_days`."""

    start: datetime
    end: datetime


def between(start: datetime, end: datetime) -> Period:
    """BadInput where the period is empty or reversed, or an instant has no offset."""
    if start.tzinfo is None or end.tzinfo is None:
        raise BadInput("An instant needs an offset, as in 2026-11-23T00:00:00Z.")
    if start >= end:
        raise BadInput("The period is empty: `from` must be before `to`.")
    try:
        return Period(start.astimezone(UTC), end.astimezone(UTC))
    except OverflowError as error:
        raise BadInput(_OUTSIDE_CALENDAR) from error


def month(text: str, zone_name: str = "UTC") -> Period:
    """A calendar month, `YYYY-MM`, as the clocks of an IANA time zone read. BadInput where either is none."""
    tz = zone(zone_name)
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text):
        raise BadInput("A month is written YYYY-MM, as in 2026-11.")
    try:
        first = datetime(int(text[:4]), int(text[5:]), 1)  # noqa: DTZ001  # what clocks read, not an instant
        return Period(_first_instant(tz, first), _first_instant(tz, _next_month(first)))
    except (OverflowError, ValueError) as error:
        raise BadInput(_OUTSIDE_CALENDAR) from error


def last_days(days: int, now: datetime) -> Period:
    """The last `days` times 24 hours up to `now`. BadInput unless 1 to 3660."""
    if not 1 <= days <= MAX_LAST_DAYS:
        raise BadInput(f"lastDays must be from 1 to {MAX_LAST_DAYS}.")
    return between(now - timedelta(days=days), now)


@cache
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name, as the tzdata package has it on every machine. BadInput where there is none."""
    # Only listed names come near the file system: no "../x", no "posixrules".
    if name not in _zone_names():
        raise BadInput("There is no such time zone: give an IANA name, as in Europe/Lisbon.")
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("ascii").split())


# Steps


class Granularity(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def steps(period: Period, granularity: Granularity, zone_name: str = "UTC") -> list[datetime]:
    """The instants, from a period's start to its end, between which its steps lie: one more than there are steps.

    Steps follow the zone's clocks: a repeated hour is two steps, a skipped hour or day none; weeks begin on Monday;
    the first and the last are clipped. LimitExceeded beyond 10,000 steps, BadInput for an unknown zone.
    """
    tz = zone(zone_name)
    inner = _hours_within(period, tz) if granularity is Granularity.HOUR else _dates_within(period, granularity, tz)
    try:
        boundaries = [period.start, *islice(inner, MAX_STEPS), period.end]
    except (OverflowError, ValueError) as error:
        raise BadInput(_OUTSIDE_CALENDAR) from error
    if len(boundaries) > MAX_STEPS + 1:
        raise LimitExceeded(f"The period has more than {MAX_STEPS} steps: take a shorter one, or longer steps.")
    return boundaries


def _hours_within(period: Period, tz: ZoneInfo) -> Iterator[datetime]:
    """Every instant after the start and before the end at which the clocks begin an hour, or go back."""
    at, hour, offset = period.start, *_hour_and_offset(tz, period.start)
    while True:
        following = hour + _HOUR - offset
        if _hour_and_offset(tz, following)[1] != offset:
            following = _shift(tz, at, following)
        if following >= period.end:
            return
        next_hour, next_offset = _hour_and_offset(tz, following)
        if next_hour != hour or next_offset < offset:
            yield following
        at, hour, offset = following, next_hour, next_offset


def _hour_and_offset(tz: ZoneInfo, instant: datetime) -> tuple[datetime, timedelta]:
    """The hour that the clocks read then, written as if it were UTC, and their offset."""
    offset = _offset(tz, instant)
    return (instant + offset).replace(minute=0, second=0, microsecond=0), offset


def _dates_within(period: Period, granularity: Granularity, tz: ZoneInfo) -> Iterator[datetime]:
    """Every instant after the start and before the end at which a local day, week or month begins."""
    last = period.start
    date = _first_date(period.start.astimezone(tz), granularity)
    while True:
        date = _next_date(date, granularity)
        instant = _first_instant(tz, date)
        if instant >= period.end:
            return
        if instant > last:  # a day that the clocks skip begins and ends with the next
            yield instant
            last = instant


def _first_date(local: datetime, granularity: Granularity) -> datetime:
    """The midnight, on no zone's clocks, at which the step of a local time begins."""
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    match granularity:
        case Granularity.WEEK:
            return midnight - timedelta(days=midnight.weekday())
        case Granularity.MONTH:
            return midnight.replace(day=1)
        case _:
            return midnight


def _next_date(date: datetime, granularity: Granularity) -> datetime:
    match granularity:
        case Granularity.WEEK:
            return date + timedelta(days=7)
        case Granularity.MONTH:
            return _next_month(date)
        case _:
            return date + timedelta(days=1)


def _next_month(date: datetime) -> datetime:
    return (date.replace(day=1) + timedelta(days=31)).replace(day=1)


def _first_instant(tz: ZoneInfo, wall: datetime) -> datetime:
    """The first instant, in UTC, at which the clocks of a zone read `wall` or later."""
    instant = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == wall:
        return instant
    # The clocks skip it: PEP 495 puts fold=1 before the gap, and fold=0 behind it.
    return _shift(tz, wall.replace(tzinfo=tz, fold=1).astimezone(UTC), instant)


def _shift(tz: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The instant between two at which the offset changes."""
    offset = _offset(tz, before)
    while after - before > _MICROSECOND:
        middle = before + (after - before) // 2
        if _offset(tz, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(tz: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(tz).utcoffset() or timedelta()


# Parts


class Part(NamedTuple):
    """`start <= t < end` in microseconds, in whole multiples of `width`; width 0 is an edge that fits no bucket."""

    width: int
    start: int
    end: int


def parts(start: int, end: int, widths: Sequence[int] = (DAY_US, HOUR_US)) -> Iterator[Part]:
    """Cut a span of microseconds into whole UTC buckets of these widths, the widest that fit, and what is left."""
    if start >= end:
        return
    if not widths:
        yield Part(0, start, end)
        return
    width, *narrower = widths
    low, high = _bucket_from(start, width, end), _bucket(end, width)
    if low >= high:
        yield from parts(start, end, narrower)
        return
    yield from parts(start, low, narrower)
    yield Part(width, low, high)
    yield from parts(high, end, narrower)


def _bucket(at: int, width: int) -> int:
    """The start of the bucket that an instant is in."""
    return first_of_month(at) if width == MONTH_US else at // width * width


def _bucket_from(at: int, width: int, most: int) -> int:
    """The start of the first bucket that begins then or later; at most `most`, after which the calendar may end."""
    start = _bucket(at, width)
    if start == at:
        return at
    if width != MONTH_US:
        return start + width
    return _bucket(start + LONGEST_MONTH_US, width) if start + LONGEST_MONTH_US < most else most


_END_OF_CALENDAR = micros(datetime.max.replace(tzinfo=UTC)) + 1


def nearest(at: int, width: int) -> int:
    """Of the instants at which buckets of this width begin, the one that is nearest. The calendar's end is one."""
    if at == _END_OF_CALENDAR:
        return at
    low = _bucket(at, width)
    high = _bucket_after(low, width)
    return low if at - low <= high - at else high


def _bucket_after(start: int, width: int) -> int:
    """The end of the bucket that begins then."""
    if width != MONTH_US:
        return start + width
    latest = start + LONGEST_MONTH_US
    following = first_of_month(latest - 1)  # the latest may be the calendar's end
    return latest if following == start else following
