"""Calls that didn't come through the gateway: an upstream that verifies tokens by itself tells of them.

An id counts once for good. It is claimed in the transaction that counts its call, so that there is neither one without
the other, however calls are put together, in whatever order, and whoever tells of them at the same time.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Self

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.transactions import in_transaction

from gateway import audit, clock, counting
from gateway.counting import Call
from gateway.errors import Conflict, Invalid, LimitExceeded, NotFound, within
from gateway.names import checked_text
from gateway.permissions import Actor, require
from gateway.pricing import cost, micros
from gateway.statements import Parameters
from gateway.usage import not_dropped_from
from models import IssuedKey, ReportedCall
from models.usage import CALL_ID_LENGTH

MOST_CALLS = 1000
MOST_AHEAD = timedelta(minutes=5)  # by which the upstream's clock may differ
COLUMNS = ("call_id", "key_id", "called_at")

Claim = tuple[str, str, int]  # the call's id, its key, microseconds


class Told(NamedTuple):
    """A call, as its upstream tells of it."""

    call_id: str
    key_id: str
    called_at: datetime

    @property
    def claim(self) -> Claim:
        return self.call_id, self.key_id, micros(self.called_at)


class Reported(NamedTuple):
    """How many calls a report counted, and how many were known before, from the same report or another."""

    counted: int
    repeated: int

    @property
    def id(self) -> str:
        """What it is found again by, where the same report is sent again under its idempotency key."""
        return f"{self.counted} {self.repeated}"

    @classmethod
    def of_id(cls, id: str) -> Self:
        counted, repeated = id.split()
        return cls(int(counted), int(repeated))


async def report(actor: Actor, project_id: str, calls: Sequence[Told], records_kept_from: datetime) -> Reported:
    """Counts those of the calls that were never told of, all or none, each at its key's present price.

    Raises NotFound, Forbidden, Invalid, LimitExceeded; Conflict for an id that tells of another call than before.
    """
    async with in_transaction() as database:
        await require(actor, "usage.report", project_id)
        now = clock.now()
        _check(calls, await not_dropped_from(records_kept_from), now)
        costs = await _costs(project_id, calls)
        claimed = await _claim(database, project_id, calls)
        await counting.record(Call(call.key_id, call.called_at, costs[call.key_id]) for call in claimed)
        await audit.enter(actor, "usage.reported", project_id, project_id, now)
    return Reported(len(claimed), len(calls) - len(claimed))


async def again(actor: Actor, project_id: str, id: str) -> Reported:
    """What the report of this id did, for one who may still report. Raises NotFound, Forbidden."""
    await require(actor, "usage.report", project_id)
    return Reported.of_id(id)


def _check(calls: Sequence[Told], records_kept_from: datetime, now: datetime) -> None:
    if len(calls) > MOST_CALLS:
        raise LimitExceeded(f"Report at most {MOST_CALLS} calls at once.", ["calls"])
    for index, call in enumerate(calls):
        with within("calls", str(index)):
            if not checked_text(call.call_id, "id", CALL_ID_LENGTH):
                raise Invalid(f"An id has 1 to {CALL_ID_LENGTH} characters.", ["id"])
            if call.called_at < records_kept_from:
                raise Invalid(f"Calls before {records_kept_from:%Y-%m-%dT%H:%MZ} are too old to tell of.", ["calledAt"])
            if call.called_at > now + MOST_AHEAD:
                raise Invalid("This is still to come.", ["calledAt"])


async def _costs(project_id: str, calls: Sequence[Told]) -> dict[str, Decimal]:
    """What a call costs now with each of the keys. Raises NotFound for one that isn't of the project."""
    keys = IssuedKey.filter(project_id=project_id, id__in={call.key_id for call in calls})
    rows = await keys.values_list("id", "template__price_per_request", "role__cost_coefficient")
    costs = {id: cost(price, coefficient) for id, price, coefficient in rows}
    for index, call in enumerate(calls):
        if call.key_id not in costs:
            raise NotFound("The project has no such key.", ["calls", str(index), "keyId"])
    return costs


async def _claim(database: BaseDBAsyncClient, project_id: str, calls: Sequence[Told]) -> list[Told]:
    """The calls whose ids are told of for the first time, and from now on known. Raises Conflict."""
    by_id = {call.call_id: call for call in reversed(calls)}
    inserted = await _insert(database, project_id, (call.claim for call in by_id.values())) if by_id else set()
    known = {call_id: by_id[call_id].claim for call_id in inserted}
    rows = ReportedCall.filter(project_id=project_id, call_id__in=by_id.keys() - inserted)
    known |= {row[0]: row for row in await rows.values_list(*COLUMNS)}
    _check_alike(calls, known)
    return [by_id[call_id] for call_id in inserted]


async def _insert(database: BaseDBAsyncClient, project_id: str, claims: Iterable[Claim]) -> set[str]:
    """The ids that nobody had claimed. By their order, so that two reports never wait for each other in a circle."""
    parameters = Parameters(database.capabilities.dialect)
    project = parameters.place(project_id)
    passed = parameters.table(COLUMNS, sorted(claims))
    names = ", ".join(COLUMNS)
    rows = await database.execute_query_dict(
        f"INSERT INTO reported_calls (project_id, {names}) SELECT {project}, {names} FROM ({passed}) AS passed"
        " WHERE true ON CONFLICT (project_id, call_id) DO NOTHING RETURNING call_id",
        parameters.values,
    )
    return {row["call_id"] for row in rows}


def _check_alike(calls: Sequence[Told], known: Mapping[str, Claim]) -> None:
    for index, call in enumerate(calls):
        if known.get(call.call_id) != call.claim:
            raise Conflict("This id told of a call with another key or at another time.", ["calls", str(index), "id"])
