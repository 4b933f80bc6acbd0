"""What was called, and what it cost, over a period."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, NamedTuple

import strawberry

import models
from gateway import pricing, projects, templates, usage, users
from gateway.permissions import Actor, Permission
from gateway.pricing import Granularity, Period
from gateway.usage import Grouping, Totals
from schema.context import Info
from schema.declare import argument, described, object_type, reading, related, resolved
from schema.money import Money
from schema.periods import PeriodInput, kept_from, period_of
from schema.scalars import BigInt

if TYPE_CHECKING:
    from schema.templates import KeyTemplate
    from schema.users import User
else:  # each refers to the others
    KeyTemplate = Annotated["KeyTemplate", strawberry.lazy("schema.templates")]
    User = Annotated["User", strawberry.lazy("schema.users")]

TURN = 100
PERIOD = argument("Which calls.")


@object_type("Calls made with issued keys, and their cost.")
class Usage:
    requests: BigInt = described("Number of API calls (not key requests) that the gateway let through.")
    refused: BigInt = described(
        "Calls refused though their signature and project were right (403, 429, suspended, expired, revoked); they "
        "cost nothing. Kept by the hour: an edge inside one counts it whole; a crash may lose the last second of them."
    )
    total: Money = described("What the calls cost, each at the price in force when it was made.")


def usage_in(totals: Totals, currency: str) -> Usage:
    total = Money(amount=totals.cost.decimal, currency=currency)
    return Usage(requests=BigInt(totals.requests), refused=BigInt(totals.refused), total=total)


# Of one key


async def of_keys(_: Actor, key_ids: Sequence[str], period: Period, records_kept_from: datetime) -> dict[str, Totals]:
    return await usage.of_keys(key_ids, period, records_kept_from)


@reading("id", "project_id", of={models.Project: ("currency",)})
async def usage_of_key(
    root: strawberry.Parent[models.IssuedKey], info: Info, period: Annotated[PeriodInput, PERIOD]
) -> Usage | None:
    """Whoever sees a key may see what was called with it."""
    context = info.context
    totals, project = await asyncio.gather(
        context.load(of_keys, root.id, period_of(period, context.now), kept_from(context)),
        context.load(projects.by_id, root.project_id),
    )
    return usage_in(totals, project.currency) if totals and project else None


# Of a project


class Share(NamedTuple):
    """What one template or user has of a project's usage."""

    id: str
    usage: Usage


@dataclass(frozen=True)
class Report:
    """What is asked of a project's calls; every part of the answer is read when it is asked for."""

    project: models.Project
    period: Period
    records_kept_from: datetime

    def usage(self, totals: Totals) -> Usage:
        return usage_in(totals, self.project.currency)

    async def groups(self, info: Info, by: Grouping) -> dict[str, Totals]:
        return await info.context.load(of_projects, self.project.id, by, self.period, self.records_kept_from) or {}

    async def shares(self, info: Info, by: Grouping) -> list[Share]:
        groups = await self.groups(info, by)
        return [Share(id, self.usage(totals)) for id, totals in usage.dearest_first(groups)]


async def of_projects(
    _: Actor, project_ids: Sequence[str], by: Grouping, period: Period, records_kept_from: datetime
) -> dict[str, dict[str, Totals]]:
    return await usage.of_projects(project_ids, by, period, records_kept_from)


async def series_of_projects(
    _: Actor,
    project_ids: Sequence[str],
    period: Period,
    granularity: Granularity,
    time_zone: str,
    records_kept_from: datetime,
) -> dict[str, list[tuple[Period, Totals]]]:
    """The steps of a period with their totals, for each of the projects."""
    boundaries = pricing.steps(period, granularity, time_zone)
    steps = [Period(start, end) for start, end in pairwise(boundaries)]
    found = await usage.series(project_ids, boundaries, records_kept_from)
    return {project_id: list(zip(steps, totals, strict=True)) for project_id, totals in found.items()}


@object_type("A step of a series.")
class UsagePoint:
    from_: datetime = described("The first instant of the step.", name="from")
    to: datetime = described("The first instant after the step.")
    usage: Usage = described("The calls in the step.")


@object_type("A template's part in a project's usage.")
class TemplateUsage:
    template: KeyTemplate = resolved(related(templates.by_id, "id"), "The template, which may have been deleted since.")
    usage: Usage = described("The calls made with keys from the template.")


@object_type("A user's part in a project's usage.")
class UserUsage:
    user: User = resolved(related(users.by_id, "id"), "The user, who may have left the project since.")
    usage: Usage = described("The calls made with the user's keys.")


@reading()
async def total_of(root: strawberry.Parent[Report], info: Info) -> Usage:
    groups = await root.groups(info, Grouping.PROJECT)
    return root.usage(groups.get(root.project.id, Totals()))


@reading()
async def series_of(
    root: strawberry.Parent[Report],
    info: Info,
    granularity: Annotated[Granularity, argument("How long the steps are.")],
    time_zone: Annotated[str | None, argument("On whose clocks the steps begin and end: an IANA name.")] = "UTC",
) -> AsyncIterator[UsagePoint]:
    zone_name = "UTC" if time_zone is None else time_zone
    points = await info.context.load(
        series_of_projects, root.project.id, root.period, granularity, zone_name, root.records_kept_from
    )
    for number, (step, totals) in enumerate(points or ()):
        if number % TURN == TURN - 1:
            await asyncio.sleep(0)  # a long series takes turns with everybody else
        yield UsagePoint(from_=step.start, to=step.end, usage=root.usage(totals))


@reading()
async def by_template(root: strawberry.Parent[Report], info: Info) -> list[Share]:
    return await root.shares(info, Grouping.TEMPLATE)


@reading()
async def by_user(root: strawberry.Parent[Report], info: Info) -> list[Share]:
    return await root.shares(info, Grouping.USER)


@object_type("Calls made with a project's keys over a period, and their cost.")
class UsageReport:
    from_: datetime = resolved(lambda root: root.period.start, "The first instant of the period.", name="from")
    to: datetime = resolved(lambda root: root.period.end, "The first instant after the period.")
    total: Usage = resolved(total_of, "All calls of the period.")
    series: list[UsagePoint] = resolved(
        series_of,
        "Steps in this IANA time zone that tile the period exactly, also those without calls, the first and the last "
        "clipped; weeks begin on Monday; a repeated local hour is two points, a skipped one none. More than 10,000: "
        "LIMIT_EXCEEDED.",
    )
    by_template: list[TemplateUsage] = resolved(
        by_template, "The templates from whose keys any call came, those with the highest total first."
    )
    by_user: list[UserUsage] = resolved(
        by_user, "The users with whose keys any call was made, those with the highest total first."
    )


@reading("id", "currency")
async def usage_of_project(
    root: strawberry.Parent[models.Project], info: Info, period: Annotated[PeriodInput, PERIOD]
) -> Report | None:
    if not await info.context.may(Permission.KEYS_VIEW, root.id):
        return None
    return Report(root, period_of(period, info.context.now), kept_from(info.context))
