"""Calls that an upstream tells of by itself."""

from datetime import datetime
from typing import Annotated

import strawberry

from gateway import reported
from gateway.reported import Reported, Told
from schema.context import Info
from schema.declare import argument, described, input_type, object_type, optional
from schema.mutations import REPEATABLE, USER_ERRORS, UserError, mutation, settle
from schema.periods import kept_from


@input_type("A call that didn't come through the gateway.")
class ReportedCallInput:
    id: strawberry.ID = described("The upstream's own id of the call, 1 to 128 characters; unique in the project.")
    key_id: strawberry.ID = described("The key that it was made with, of the project; one that has ended since, too.")
    called_at: datetime = described(
        "When it was made: within the retention of single calls, at most 5 minutes in the future."
    )


@input_type("Calls that an upstream let through by itself.")
class UsageReportInput:
    project_id: strawberry.ID = described("The project that was called.")
    calls: list[ReportedCallInput] = described("The calls, at most 1,000.")
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("How many of the calls were counted, or why none was.")
class UsageReportPayload:
    counted: int | None = described("Calls that were told of for the first time; null when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)
    repeated: int | None = described(
        "Calls that were counted before, and were not counted again; null when there are userErrors.", default=None
    )


async def usage_report(info: Info, input: Annotated[UsageReportInput, argument("The calls.")]) -> UsageReportPayload:
    async def act() -> Reported:
        calls = [Told(call.id, call.key_id, call.called_at) for call in input.calls]
        return await reported.report(info.context.actor, input.project_id, calls, kept_from(info.context))

    async def again(_: Info, ids: list[str]) -> Reported:
        return await reported.again(info.context.actor, input.project_id, ids[0])

    payload = await settle(info, input, UsageReportPayload, "counted", act, again)
    if payload.counted is not None:
        result: Reported = payload.counted  # type: ignore[assignment]  # the whole result stands there
        payload.counted, payload.repeated = result
    return payload


@object_type("Usage from elsewhere.")
class ReportedMutations:
    usage_report: UsageReportPayload = mutation(
        usage_report,
        "For an upstream that verifies tokens by itself: counts calls that didn't come through the gateway. Needs "
        "PROJECT_MANAGE. Each call's id counts once for good, however calls are put together and however often they "
        "are told of; with another key or instant than before it is a CONFLICT, and nothing is counted. A call costs "
        "what one through the gateway costs when it is told of: the template's present price x the role's present "
        "cost coefficient. Limits don't refuse it, but it uses up what is left of quotas.",
    )
