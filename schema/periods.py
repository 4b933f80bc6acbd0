"""Periods, as callers name them, and the steps that cut them."""

from datetime import datetime

import strawberry

from gateway import pricing, usage
from gateway.errors import BadInput
from gateway.pricing import Granularity, Period
from schema.context import Context
from schema.declare import described, enum, input_type

enum(
    Granularity,
    "How long the steps of a series are, on the clocks of its time zone.",
    HOUR="From each full hour to the next; an hour that the clocks repeat is two steps, one that they skip none.",
    DAY="From midnight to midnight.",
    WEEK="From Monday to Monday.",
    MONTH="From the first of a month to the first of the next.",
)


@input_type("From one instant up to another, which is itself outside.")
class BetweenInput:
    from_: datetime = described("The first instant of the period.", name="from")
    to: datetime = described("The first instant after the period.")


@input_type("A calendar month.")
class MonthInput:
    month: str = described("YYYY-MM.")
    time_zone: str = described("On whose clocks the month begins and ends: an IANA name.", default="UTC")


@input_type(
    "A half-open period, from <= t < to; exactly one of the members. Now is one instant for the whole operation; a "
    "call's instant is set by the database that counts it; totals are final 5 seconds after `to`. An empty or reversed "
    "period, or an unknown zone, is BAD_INPUT.",
    one_of=True,
)
class PeriodInput:
    # GraphQL refuses null here by itself, in better words than Strawberry's.
    between: strawberry.Maybe[BetweenInput | None] = strawberry.field(description="From an instant up to another.")
    month: strawberry.Maybe[MonthInput | None] = strawberry.field(description="A calendar month in a time zone.")
    last_days: strawberry.Maybe[int | None] = strawberry.field(description="The last N x 24 hours up to now, 1..3660.")


def period_of(input: PeriodInput, now: datetime) -> Period:
    """The period that is meant. Raises BadInput."""
    if period := _fixed(input):
        return period
    if input.last_days and input.last_days.value is not None:
        return pricing.last_days(input.last_days.value, now)
    raise BadInput("A period has exactly one of between, month and lastDays.")


def text_of(input: PeriodInput | None) -> str:
    """The question, the same text for the same one: "the last 30 days" stays so while time passes. Raises BadInput."""
    if input is None:
        return ""
    if period := _fixed(input):
        return f"{period.start.isoformat()} {period.end.isoformat()}"
    return f"last {input.last_days.value} days" if input.last_days else ""


def _fixed(input: PeriodInput) -> Period | None:
    """The period where it doesn't hang on the present instant."""
    if input.between and input.between.value:
        return pricing.between(input.between.value.from_, input.between.value.to)
    if input.month and input.month.value:
        return pricing.month(input.month.value.month, input.month.value.time_zone)
    return None


def kept_from(context: Context) -> datetime:
    """The first instant whose calls are all kept as records."""
    return usage.records_kept_from(context.now, context.services.settings.record_retention_days)
