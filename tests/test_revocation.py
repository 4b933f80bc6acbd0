"""What is changed holds from the next call on in every process, also in one that hasn't heard of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from gateway import clock, events, keys, projects, requests, roles, routes, templates, users
from gateway.counting import Record
from gateway.events import EventLog
from gateway.limits import LimitsWanted
from gateway.permissions import GATEWAY, Permission
from gateway.plane import meter
from gateway.plane.admission import Admitted
from gateway.plane.decisions import Denied
from gateway.plane.ledger import Known
from gateway.pricing import Amount
from gateway.roles import OnNode
from gateway.routing import RouteRule
from gateway.signing import Keyring
from gateway.statements import Statement
from models import IssuedKey, UsageRecord
from tests.gatehouse import CALLING, Offer, offer
from tests.planes import SILENCE, Call, Plane, plane
from tests.world import SEALER, person, unchanged

PACKAGES = "/nodes/readings/packages"
UPSTREAM, OTHER_UPSTREAM = "http://one.example.org", "http://two.example.org"
PRICE = Decimal("0.0000005")
ONE_STATEMENT, SEVERAL_STATEMENTS = "one statement", "several statements"
LIMITS = {ONE_STATEMENT: None, SEVERAL_STATEMENTS: LimitsWanted(calls_per_day=1000)}
"""A group is one statement where none of its keys has limits, and several where one has."""


@dataclass
class World:
    """A project, and two processes: one that follows the log, and one that has heard of nothing since it began."""

    offered: Offer
    here: Plane
    there: Plane

    async def call(self, at: Plane, call: Call) -> Admitted | Denied:
        return await at.call(self.offered.project.id, self.offered.token, call)


@asynccontextmanager
async def two_processes(database: str, offered: Offer) -> AsyncIterator[World]:
    async with EventLog().running() as log, plane(database, log) as here, plane(database, SILENCE) as there:
        yield World(offered, here, there)


@pytest.fixture(autouse=True)
def refusals_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written when the meter stops, so that nothing is between two looks at the tables."""
    monkeypatch.setattr(meter, "LATER_SECONDS", 3600)


@pytest.fixture
async def offered(database: str, request: pytest.FixtureRequest) -> Offer:
    offered = await offer(Keyring(SEALER, "https://example.org"), UPSTREAM)
    if limits := LIMITS[getattr(request, "param", ONE_STATEMENT)]:
        await limit(offered, limits)
    return offered


in_either_manner = pytest.mark.parametrize("offered", LIMITS, indirect=True)


@contextmanager
def blindfolded(plane: Plane) -> Iterator[None]:
    """Takes the look at the log's head out: to the process it is where the process thinks it is."""
    count = plane.ledger.count

    async def unseeing(_: Known, records: Sequence[Record]) -> None:
        await count(Known(await events.head()), records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter, "HEAD", Statement(f"SELECT {plane.knowledge.position}", []))
        patch.setattr(plane.ledger, "count", unseeing)
        yield


# ---------------------------------------------------------------- what ends a key, or takes something from it

Change = Callable[[Offer], Awaitable[object]]


async def revoked(offered: Offer) -> None:
    await keys.revoke(offered.owner, offered.key.id)


async def suspended(offered: Offer) -> None:
    await keys.suspend(offered.owner, offered.key.id)


async def rotated_out(offered: Offer) -> None:
    await keys.rotate(offered.caller, offered.keyring, offered.key.id, overlap_seconds=0)


async def holder_disabled(offered: Offer) -> None:
    await users.disable(GATEWAY, offered.caller.require_user().id)


async def signing_key_withdrawn(offered: Offer) -> None:
    await keys.withdraw_signing_key(GATEWAY, (await offered.keyring.current()).id)


async def former_signing_key_withdrawn(offered: Offer) -> None:
    """The key goes on, by a token that another has signed."""
    former = await offered.keyring.current()
    await keys.rotate_signing_key(GATEWAY, offered.keyring)
    await keys.rotate(offered.caller, offered.keyring, offered.key.id, overlap_seconds=3600)
    await keys.withdraw_signing_key(GATEWAY, former.id)


async def project_deleted(offered: Offer) -> None:
    await projects.delete(offered.owner, offered.project.id)


async def permission_taken(offered: Offer) -> None:
    await permit(offered, *(each for each in CALLING if each is not Permission.PACKAGE_CREATE))


async def node_deleted(offered: Offer) -> None:
    await projects.delete_node(offered.owner, offered.node.id)


async def rule_tightened(offered: Offer) -> None:
    await rule(offered, "GET", "/data_layers", Permission.CODE_EDIT)


async def upstream_taken(offered: Offer) -> None:
    await projects.update(offered.owner, offered.project.id, {"upstream_url": None})


async def quota_lowered(offered: Offer) -> None:
    await limit(offered, LimitsWanted(calls_per_day=1))


async def quota_of_money_lowered(offered: Offer) -> None:
    await limit(offered, LimitsWanted(cost_per_month=PRICE))


async def permit(offered: Offer, *permissions: Permission) -> None:
    await roles.update(offered.owner, offered.role.id, {"permissions": permissions})


async def rule(offered: Offer, method: str, pattern: str, permission: Permission) -> None:
    await routes.replace(offered.owner, offered.project.id, [RouteRule(method, pattern, permission)])


async def limit(offered: Offer, limits: LimitsWanted) -> None:
    await templates.update(offered.owner, offered.template.id, {"limits": limits})


TAKING: list[tuple[Change, Call, int]] = [
    (revoked, Call(), 401),
    (suspended, Call(), 401),
    (rotated_out, Call(), 401),
    (holder_disabled, Call(), 401),
    (signing_key_withdrawn, Call(), 401),
    (former_signing_key_withdrawn, Call(), 401),
    (project_deleted, Call(), 401),
    (permission_taken, Call("POST", PACKAGES), 403),
    (node_deleted, Call("POST", PACKAGES), 403),
    (rule_tightened, Call(), 403),
    (upstream_taken, Call(is_passed_on=True), 502),
    (quota_lowered, Call(), 429),
    (quota_of_money_lowered, Call(), 429),
]


@in_either_manner
@pytest.mark.parametrize(("change", "call", "status"), [pytest.param(*row, id=row[0].__name__) for row in TAKING])
async def test_what_was_taken_is_refused_to_the_next_call_in_every_process_and_nothing_is_written(
    offered: Offer, database: str, change: Change, call: Call, status: int
) -> None:
    """It is the look at the log's head that does it: without that the same process lets the same call in."""
    async with two_processes(database, offered) as world:
        assert isinstance(await world.call(world.there, call), Admitted)
        await change(offered)
        with blindfolded(world.there):
            assert isinstance(await world.call(world.there, call), Admitted)
        assert (await offered.counted()).requests == 2
        async with unchanged():
            for process in (world.there, world.here):
                assert await status_of(world.call(process, call)) == status


async def status_of(calling: Awaitable[Admitted | Denied]) -> int:
    answer = await calling
    return answer.status if isinstance(answer, Denied) else 200


async def test_a_key_whose_time_is_over_is_refused_by_a_process_that_was_told_nothing(
    offered: Offer, database: str
) -> None:
    expires_at = clock.now() + timedelta(seconds=0.5)
    ella = await person("Ella")
    request = await requests.create(ella, offered.template.id, "")
    await requests.approve(offered.owner, offered.keyring, request.id, expires_at)
    key = await IssuedKey.get(request_id=request.id)
    offered = replace(offered, key=key, token=await keys.token(offered.keyring, key))
    async with two_processes(database, offered) as world:
        assert isinstance(await world.call(world.there, Call()), Admitted)
        await asyncio.sleep((expires_at - clock.now()).total_seconds())
        async with unchanged():
            assert await status_of(world.call(world.there, Call())) == 401


# ---------------------------------------------------------------- what changes the terms of a call


async def price_changed(offered: Offer) -> None:
    await templates.update(offered.owner, offered.template.id, {"price_per_request": Decimal("0.5")})


async def coefficient_changed(offered: Offer) -> None:
    await roles.update(offered.owner, offered.role.id, {"cost_coefficient": Decimal("0.0001")})


async def upstream_moved(offered: Offer) -> None:
    await projects.update(offered.owner, offered.project.id, {"upstream_url": OTHER_UPSTREAM})


class Terms(NamedTuple):
    """What a call costs, where it goes on to, and how many of a day may be made."""

    cost: Decimal
    upstream_url: str | None
    calls_per_day: int | None


async def quota_changed(offered: Offer) -> None:
    await limit(offered, LimitsWanted(calls_per_day=7))


async def template_deleted(offered: Offer) -> None:
    await templates.delete(offered.owner, offered.template.id)


CHANGING: list[tuple[Change, dict[str, object]]] = [
    (price_changed, {"cost": Decimal("0.25")}),
    (coefficient_changed, {"cost": Decimal("0.0000000001")}),
    (upstream_moved, {"upstream_url": OTHER_UPSTREAM}),
    (quota_changed, {"calls_per_day": 7}),
    (template_deleted, {}),
]


async def terms_of(answer: Admitted | Denied) -> Terms:
    """As the call was answered; its record says the same of the cost."""
    assert isinstance(answer, Admitted)
    allowed, record = answer.call.allowed, await UsageRecord.all().order_by("-id").first()
    assert record
    assert (record.key_id, Amount(record.units, record.fraction)) == (allowed.key.id, allowed.cost)
    return Terms(allowed.cost.decimal, allowed.service.upstream_url, allowed.limits.calls_per_day)


@in_either_manner
@pytest.mark.parametrize(("change", "terms"), [pytest.param(*row, id=row[0].__name__) for row in CHANGING])
async def test_the_next_call_is_on_the_new_terms_in_every_process_and_so_its_record_says(
    offered: Offer, database: str, change: Change, terms: dict[str, object]
) -> None:
    """Without the look at the log's head it would be on the old ones."""
    async with two_processes(database, offered) as world:
        before = await terms_of(await world.call(world.there, Call()))
        assert before[:2] == (PRICE, UPSTREAM)
        await change(offered)
        with blindfolded(world.there):
            assert await terms_of(await world.call(world.there, Call())) == before
        for process in (world.there, world.here):
            assert await terms_of(await world.call(process, Call())) == replaced(before, terms)


def replaced(before: Terms, terms: dict[str, Any]) -> Terms:
    return before._replace(**terms)


# ---------------------------------------------------------------- what lets a call in

Given = Callable[[Offer], Awaitable[Offer]]


async def nothing(_: Offer) -> None: ...


async def issued(offered: Offer) -> Offer:
    key, token = await offered.issue(await person("Zoe"))
    return replace(offered, key=key, token=token)


async def project_made(offered: Offer) -> Offer:
    project = await projects.create(offered.owner, name="Charts")
    return await template_made(replace(offered, project=project))


async def template_made(offered: Offer) -> Offer:
    project = offered.project
    role = await roles.create(
        offered.owner, project.id, name="new", is_public=True, permissions=[Permission.PROJECT_VIEW]
    )
    made = await templates.create(offered.owner, project.id, role_id=role.id, name="New", price_per_request=Decimal(2))
    key, token = await offered.issue(offered.caller, made)
    return replace(offered, key=key, token=token)


async def resumed(offered: Offer) -> Offer:
    await keys.resume(offered.owner, offered.key.id)
    return offered


async def rotated(offered: Offer) -> Offer:
    key = await keys.rotate(offered.caller, offered.keyring, offered.key.id, overlap_seconds=3600)
    return replace(offered, token=await keys.token(offered.keyring, key))


async def signed_by_another(offered: Offer) -> Offer:
    await keys.rotate_signing_key(GATEWAY, offered.keyring)
    return await rotated(offered)


async def permitted(offered: Offer) -> Offer:
    await permit(offered, *CALLING, Permission.PACKAGE_CREATE)
    return offered


async def permitted_on_the_node(offered: Offer) -> Offer:
    on_node = [OnNode(offered.node.id, [Permission.PACKAGE_CREATE])]
    await roles.update(offered.owner, offered.role.id, {"node_permissions": on_node})
    return offered


async def node_made(offered: Offer) -> Offer:
    await projects.create_node(offered.owner, offered.project.id, name="Readings", upstream_id="readings")
    return offered


async def rule_made(offered: Offer) -> Offer:
    await rule(offered, "DELETE", "/data_layers", Permission.PROJECT_VIEW)
    return offered


async def upstream_given(offered: Offer) -> Offer:
    await projects.update(offered.owner, offered.project.id, {"upstream_url": UPSTREAM})
    return offered


async def quota_raised(offered: Offer) -> Offer:
    await limit(offered, LimitsWanted(calls_per_day=5))
    return offered


async def quota_of_nothing(offered: Offer) -> None:
    await limit(offered, LimitsWanted(calls_per_day=0))


GIVING: list[tuple[Change, Given, Call]] = [
    (nothing, issued, Call()),
    (nothing, project_made, Call()),
    (nothing, template_made, Call()),
    (suspended, resumed, Call()),
    (nothing, rotated, Call()),
    (nothing, signed_by_another, Call()),
    (signing_key_withdrawn, issued, Call()),  # the first token that is signed then has another made
    (permission_taken, permitted, Call("POST", PACKAGES)),
    (permission_taken, permitted_on_the_node, Call("POST", PACKAGES)),
    (node_deleted, node_made, Call("POST", PACKAGES)),
    (nothing, rule_made, Call("DELETE")),
    (upstream_taken, upstream_given, Call(is_passed_on=True)),
    (quota_of_nothing, quota_raised, Call()),
]


def given_after(part: object) -> str:
    return getattr(part, "__name__", "call")


@pytest.mark.parametrize(("before", "given", "call"), GIVING, ids=given_after)
async def test_what_was_given_a_moment_ago_works_at_once_in_every_process(
    offered: Offer, database: str, before: Change, given: Given, call: Call
) -> None:
    await before(offered)
    async with two_processes(database, offered) as world:
        now = replace(world, offered=await given(offered))
        for process in (world.there, world.here):
            assert isinstance(await now.call(process, call), Admitted)
        assert (await now.offered.counted()).requests == 2


async def test_what_it_knew_too_little_to_allow_is_decided_once_by_all_that_is_true(
    offered: Offer, database: str
) -> None:
    """A call that is refused stays refused where nothing has changed, and counts as refused, once."""
    async with two_processes(database, offered) as world:
        await suspended(offered)
        for _ in range(3):
            answer = await world.call(world.there, Call())
            assert isinstance(answer, Denied)
            assert answer.key_id == offered.key.id
    totals = await offered.counted()
    assert (totals.requests, totals.refused) == (0, 3)


# ---------------------------------------------------------------- many at once


async def test_of_calls_that_come_together_only_those_of_the_revoked_key_are_refused(
    offered: Offer, database: str
) -> None:
    other = await issued(offered)
    async with two_processes(database, offered) as world:
        await revoked(offered)
        both = [replace(world, offered=each) for each in (offered, other)]
        answers = await asyncio.gather(*[each.call(world.there, Call()) for _ in range(20) for each in both])
    assert [isinstance(answer, Admitted) for answer in answers] == [False, True] * 20
    assert (await offered.counted()).requests == 0
    assert (await other.counted()).requests == 20


async def test_no_call_that_begins_after_a_revocation_was_acknowledged_is_let_in_however_many_are_under_way(
    offered: Offer, database: str
) -> None:
    """Calls go on all the time in a process that hears of nothing; each is judged by when it began."""
    late: list[Admitted | Denied] = []
    is_revoked = False

    async def call_on(world: World) -> None:
        while len(late) < 50:
            began_after, answer = is_revoked, await world.call(world.there, Call())
            if began_after:
                late.append(answer)

    async with two_processes(database, offered) as world, asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(call_on(world))
        while (await offered.counted()).requests < 20:  # noqa: ASYNC110  # only the tables tell
            await asyncio.sleep(0)
        await revoked(offered)
        is_revoked = True
    assert {answer.status for answer in late if isinstance(answer, Denied)} == {401}
    assert not any(isinstance(answer, Admitted) for answer in late)
