"""Limits of templates, and what is left of them to a key."""

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import strawberry

import models
from gateway import limits, projects
from gateway.limits import AllowanceKind, Limits, LimitsWanted
from gateway.pricing import Amount
from schema.context import Info
from schema.declare import described, enum, given, input_type, object_type, optional, reading, resolved
from schema.money import Money
from schema.scalars import BigInt

enum(
    AllowanceKind,
    "A quota of a key. Days and months are those of UTC.",
    CALLS_PER_DAY="Calls in a day.",
    CALLS_PER_MONTH="Calls in a month.",
    COST_PER_DAY="Cost of the calls of a day, in the project's currency.",
    COST_PER_MONTH="Cost of the calls of a month, in the project's currency.",
)


class Shown(NamedTuple):
    """Limits, and the currency that those of money are in."""

    limits: Limits
    currency: str

    def money(self, amount: Amount | None) -> Money | None:
        return Money(amount=amount.decimal, currency=self.currency) if amount is not None else None


@object_type(
    "How much each key of a template may call; null is unlimited. Every key has counters of its own, which a new token "
    "leaves as they are; a changed limit holds for the keys that were issued before too."
)
class KeyLimits:
    calls_per_second: int | None = resolved(
        lambda root: root.limits.calls_per_second,
        "Calls in a second, in the long run. Each process of the gateway counts its share.",
    )
    burst: int | None = resolved(
        lambda root: root.limits.burst, "Calls that may come at once, before the rate holds; null where it is."
    )
    calls_per_day: BigInt | None = resolved(lambda root: root.limits.calls_per_day, "Calls in a day of UTC.")
    calls_per_month: BigInt | None = resolved(lambda root: root.limits.calls_per_month, "Calls in a month of UTC.")
    cost_per_day: Money | None = resolved(
        lambda root: root.money(root.limits.cost_per_day), "What the calls of a day of UTC may cost."
    )
    cost_per_month: Money | None = resolved(
        lambda root: root.money(root.limits.cost_per_month), "What the calls of a month of UTC may cost."
    )


@object_type(
    "How a key stands with a quota: a number of calls, or an amount in the project's currency. It is read from the "
    "very counter by which calls are refused."
)
class Allowance:
    kind: AllowanceKind = described("Which quota.")
    limit: Decimal = described("What there is in the present day or month.")
    used: Decimal = described("What was called of it; above the limit where that was lowered since.")
    left: Decimal = described("What there still is, never below zero.")
    resets_at: datetime = described("When the next day or month begins, and all of it is there again.")


@reading("id", "project_id", of={models.Project: ("currency",)})
async def limits_of_template(root: strawberry.Parent[models.Template], info: Info) -> Shown | None:
    found, project = await asyncio.gather(
        info.context.load(limits.of_templates, root.id), info.context.load(projects.by_id, root.project_id)
    )
    return Shown(found, project.currency) if found and project else None


@reading("id")
async def allowances_of_key(root: strawberry.Parent[models.IssuedKey], info: Info) -> list[limits.Allowance]:
    """Whoever sees a key may see how it stands."""
    return await info.context.load(limits.standing, root.id, info.context.now) or []


@input_type("How much each key of a template may call; what is absent or null is unlimited.")
class KeyLimitsInput:
    calls_per_second: int | None = optional("1 to 100000.")
    burst: int | None = optional(
        "1 to 1000000 calls that may come at once; goes with callsPerSecond, and is as much if absent."
    )
    calls_per_day: BigInt | None = optional("0 to 10^15 calls in a day of UTC.")
    calls_per_month: BigInt | None = optional("0 to 10^15 calls in a month of UTC.")
    cost_per_day: Decimal | None = optional("0 to 999999999999 in the project's currency, at most 10 decimals.")
    cost_per_month: Decimal | None = optional("0 to 999999999999 in the project's currency, at most 10 decimals.")


def limits_in(input: KeyLimitsInput | None) -> LimitsWanted | None:
    """What was given of limits; None where they are null or absent."""
    if not input:
        return None
    return LimitsWanted(
        calls_per_second=given(input.calls_per_second),
        burst=given(input.burst),
        calls_per_day=given(input.calls_per_day),
        calls_per_month=given(input.calls_per_month),
        cost_per_day=given(input.cost_per_day),
        cost_per_month=given(input.cost_per_month),
    )
