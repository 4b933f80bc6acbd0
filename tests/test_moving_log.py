"""Calls go on while things are changed without a pause, and obey what was acknowledged before they began."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import pytest
from tortoise.transactions import in_transaction

from gateway import keys, projects, templates, users
from gateway.events import EventLog, head
from gateway.limits import LimitsWanted
from gateway.permissions import GATEWAY
from gateway.plane.admission import Admitted
from gateway.plane.decisions import Denied
from gateway.signing import Keyring
from models import UsageRecord
from tests.gatehouse import Offer, offer
from tests.planes import SILENCE, Call, Plane, plane
from tests.world import SEALER, person

CHANGING, CALLING, HOLDERS = 3, 4, 6
CALLS_EACH, CALLS_BEFORE = 15, 3
WITHIN_SECONDS = 60  # on a machine with much else to do
LIMITS = {"one statement": None, "several statements": LimitsWanted(calls_per_day=100_000)}


class Storm(NamedTuple):
    """A project that is changed without a pause, and two processes: one that hears of it, and one that doesn't."""

    offered: Offer
    planes: Sequence[Plane]

    async def call(self, at: Plane, token: str) -> Admitted | Denied:
        return await at.call(self.offered.project.id, token, Call())


@pytest.fixture(params=LIMITS)
async def storm(database: str, request: pytest.FixtureRequest) -> AsyncIterator[Storm]:
    offered = await offer(Keyring(SEALER, "https://example.org"))
    await templates.update(offered.owner, offered.template.id, {"limits": LIMITS[request.param]})
    async with (
        EventLog().running() as log,
        plane(database, log) as here,
        plane(database, SILENCE) as there,
        changed_without_a_pause(offered),
    ):
        yield Storm(offered, [here, there])


@asynccontextmanager
async def changed_without_a_pause(offered: Offer) -> AsyncIterator[None]:
    names, is_over = count(), False

    async def change() -> None:
        while not is_over:
            await projects.update(offered.owner, offered.project.id, {"name": f"Maps {next(names)}"})

    before = await head()
    async with asyncio.TaskGroup() as group:
        for _ in range(CHANGING):
            group.create_task(change())
        try:
            yield
        finally:
            is_over = True
    assert await head() > before + CHANGING


async def test_every_call_is_let_in_and_counted_while_the_log_grows_without_a_pause(storm: Storm) -> None:
    async def call(at: Plane) -> None:
        for _ in range(CALLS_EACH):
            assert isinstance(await storm.call(at, storm.offered.token), Admitted)

    async with asyncio.timeout(WITHIN_SECONDS):
        await asyncio.gather(*(call(at) for at in storm.planes for _ in range(CALLING)))
    assert await UsageRecord.all().count() == CALLS_EACH * CALLING * len(storm.planes)


@dataclass
class Revocation:
    """A key that is called in every process until its revocation was acknowledged, and once more."""

    storm: Storm
    key_id: str
    token: str
    yes: int = 0
    was_called: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: bool = False
    is_acknowledged: bool = False

    async def revoke(self) -> None:
        await self.was_called.wait()
        self.has_begun = True
        await keys.revoke(self.storm.offered.owner, self.key_id)
        self.is_acknowledged = True

    async def call(self, at: Plane) -> None:
        was_acknowledged = False
        while not was_acknowledged:
            was_acknowledged = self.is_acknowledged
            outcome = await self.storm.call(at, self.token)
            self.judge(outcome, must_be_denied=was_acknowledged)

    def judge(self, outcome: Admitted | Denied, *, must_be_denied: bool) -> None:
        if isinstance(outcome, Denied):
            assert (outcome.status, self.has_begun) == (401, True)
            return
        assert not must_be_denied
        self.yes += 1
        if self.yes >= CALLS_BEFORE:
            self.was_called.set()


async def test_no_call_that_begins_after_a_revocation_gets_a_yes_while_the_log_grows_without_a_pause(
    storm: Storm,
) -> None:
    async with asyncio.timeout(WITHIN_SECONDS), asyncio.TaskGroup() as group:
        for number in range(HOLDERS):
            key, token = await storm.offered.issue(await person(f"Holder {number}"))
            revocation = Revocation(storm, key.id, token)
            group.create_task(revocation.revoke())
            for at in storm.planes:
                group.create_task(revocation.call(at))


async def suspend(offered: Offer) -> None:
    await keys.suspend(offered.owner, offered.key.id)


async def rotate(offered: Offer) -> None:
    await keys.rotate(offered.caller, offered.keyring, offered.key.id, overlap_seconds=0)


async def disable_holder(offered: Offer) -> None:
    await users.disable(GATEWAY, offered.caller.require_user().id)


async def delete_project(offered: Offer) -> None:
    await projects.delete(offered.owner, offered.project.id)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
@pytest.mark.parametrize("change", [suspend, rotate, disable_holder, delete_project])
async def test_calls_are_counted_while_a_change_of_their_key_is_under_way(
    database: str, change: Callable[[Offer], Awaitable[object]]
) -> None:
    """Else all that come together with one of that key would wait for it."""
    offered = await offer(Keyring(SEALER, "https://example.org"))
    async with plane(database, SILENCE) as at:
        asked = offered.project.id, offered.token, Call()
        async with in_transaction():
            await change(offered)
            assert isinstance(await at.call(*asked), Admitted)
        assert isinstance(await at.call(*asked), Denied)
