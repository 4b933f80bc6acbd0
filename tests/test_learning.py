"""What is learned of changes: what was remembered of a call never outlives what it was decided by."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from itertools import count, product
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import keys, projects, roles, routes, templates
from gateway.events import Place
from gateway.limits import LimitsWanted
from gateway.permissions import GATEWAY, Permission
from gateway.plane import decisions
from gateway.plane.decisions import Allowed, Asked, Decider, Denied
from gateway.plane.knowledge import Knowledge
from gateway.plane.learning import Learner
from gateway.plane.tokens import Tokens
from gateway.roles import OnNode
from gateway.routing import RouteRule
from gateway.signing import Keyring
from models import Event, IssuedKey, KeyState, ProjectNode
from tests.gatehouse import CALLING, Offer, offer
from tests.planes import ADDRESS, SILENCE
from tests.world import SEALER

UPSTREAM = "http://one.example.org"
TARGETS = [b"/data_layers", b"/data_layers?page=2", b"/nodes/readings/packages", b"/objects/1", b"//"]
METHODS = ["GET", "POST", "DELETE", "TRACE"]


@pytest.fixture
async def offered(database: str) -> Offer:
    return await offer(Keyring(SEALER, "https://example.org"), UPSTREAM)


def questions(offered: Offer, *tokens: str | None) -> list[Asked]:
    """All that may be asked with these tokens, of the project and of another."""
    whose = [offered.project.id, "prj_other"]
    return [
        Asked(project_id, method, target, token.encode() if token else None, ADDRESS, is_passed_on)
        for project_id, method, target, token, is_passed_on in product(whose, METHODS, TARGETS, tokens, [False, True])
    ]


# ---------------------------------------------------------------- whatever is changed

Change = Callable[[Offer, int], Awaitable[object]]


async def permit(offered: Offer, number: int) -> None:
    await roles.update(offered.owner, offered.role.id, {"permissions": CALLING[: 1 + number % len(CALLING)]})


async def permit_on_node(offered: Offer, number: int) -> None:
    permissions = [Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE][: number % 3]
    if node := await ProjectNode.get_or_none(project_id=offered.project.id, deleted_at=None):
        changes: roles.RoleChanges = {"node_permissions": [OnNode(node.id, permissions)]}
        await roles.update(offered.owner, offered.role.id, changes)


async def multiply(offered: Offer, number: int) -> None:
    await roles.update(offered.owner, offered.role.id, {"cost_coefficient": Decimal(number)})


async def price(offered: Offer, number: int) -> None:
    await templates.update(offered.owner, offered.template.id, {"price_per_request": Decimal(number)})


async def limit(offered: Offer, number: int) -> None:
    await templates.update(offered.owner, offered.template.id, {"limits": LimitsWanted(calls_per_day=number)})


async def rule(offered: Offer, number: int) -> None:
    rules = [
        RouteRule("DELETE", "/data_layers", Permission.PROJECT_VIEW),
        RouteRule("GET", "/**", Permission.CODE_EDIT),
    ]
    await routes.replace(offered.owner, offered.project.id, rules[: number % 3])


async def move_upstream(offered: Offer, number: int) -> None:
    url = f"http://number{number}.example.org" if number else None
    await projects.update(offered.owner, offered.project.id, {"upstream_url": url})


async def make_or_delete_node(offered: Offer, _: int) -> None:
    if node := await ProjectNode.get_or_none(project_id=offered.project.id, deleted_at=None):
        await projects.delete_node(offered.owner, node.id)
    else:
        await projects.create_node(offered.owner, offered.project.id, name="Readings", upstream_id="readings")


async def suspend_or_resume(offered: Offer, _: int) -> None:
    is_active = (await IssuedKey.get(id=offered.key.id)).state is KeyState.ACTIVE
    await (keys.suspend if is_active else keys.resume)(offered.owner, offered.key.id)


async def rotate(offered: Offer, number: int) -> None:
    if (await IssuedKey.get(id=offered.key.id)).state is KeyState.ACTIVE:
        await keys.rotate(offered.caller, offered.keyring, offered.key.id, overlap_seconds=3600 * (number % 2))


async def rotate_signing_key(offered: Offer, _: int) -> None:
    await keys.rotate_signing_key(GATEWAY, offered.keyring)


async def rename(offered: Offer, number: int) -> None:
    await projects.update(offered.owner, offered.project.id, {"name": f"Maps {number}"})


CHANGES: list[Change] = [
    permit,
    permit_on_node,
    multiply,
    price,
    limit,
    rule,
    move_upstream,
    make_or_delete_node,
    suspend_or_resume,
    rotate,
    rotate_signing_key,
    rename,
]
changes = st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 5)), min_size=1, max_size=6)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=changes)
async def test_who_remembers_and_who_has_never_been_asked_decide_alike_after_any_changes(
    offered: Offer, walk: list[tuple[Change, int]]
) -> None:
    """Also where changes are read one by one, and where several are read together."""
    knowledge = Knowledge()
    learner, remembering = Learner(knowledge), Decider(knowledge, Tokens(knowledge))
    await learner.catch_up()
    asked: list[Asked] = []
    for change, number in walk:
        token = await keys.token(offered.keyring, await IssuedKey.get(id=offered.key.id))
        asked = questions(offered, offered.token, token, None)
        for question in asked:
            remembering.decide(question)
        await change(offered, number)
        if number % 2:
            await learner.catch_up()
            assert_alike(remembering, await known_anew(), asked)
        assert_alike(remembering, knowledge, asked)
    await learner.catch_up()
    assert_alike(remembering, await known_anew(), asked)


async def known_anew() -> Knowledge:
    knowledge = Knowledge()
    async with Learner(knowledge).running(SILENCE):
        return knowledge


def assert_alike(remembering: Decider, knowledge: Knowledge, asked: list[Asked]) -> None:
    """On all that is asked; up to where in the log they knew is for the meter to look at."""
    never_asked = Decider(knowledge, Tokens(knowledge))
    for question in asked:
        assert timeless(remembering.decide(question)) == timeless(never_asked.decide(question))


def timeless(decision: Allowed | Denied) -> object:
    if isinstance(decision, Denied):
        return decision
    key, service, target, cost, limits, _ = decision
    return key, service.upstream_url, service.nodes, target, cost, limits


async def test_a_key_whose_time_ends_is_refused_though_nothing_was_told_and_its_call_is_remembered(
    offered: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowledge, now = Knowledge(), time.time_ns()
    await Learner(knowledge).catch_up()
    decider = Decider(knowledge, Tokens(knowledge))
    asked = Asked(offered.project.id, "GET", b"/data_layers", offered.token.encode(), ADDRESS)
    key = knowledge.keys[offered.key.id]
    knowledge.keys[key.id] = replace(key, expires_at=now // 1000 + 1)
    monkeypatch.setattr(decisions, "time", SimpleNamespace(time_ns=lambda: now))
    assert isinstance(decider.decide(asked), Allowed)
    now += 1000
    decision = decider.decide(asked)
    assert isinstance(decision, Denied)
    assert (decision.status, decision.key_id) == (401, key.id)


async def test_who_follows_the_log_can_be_stopped_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at the very one in which a reading ends: else the gateway would never stop."""

    async def nothing(_: Place) -> list[Event]:
        return []

    async def follow() -> None:
        await Learner(Knowledge()).catch_up()
        await asyncio.Event().wait()

    monkeypatch.setattr(Place, "next", nothing)
    for turns in range(30):
        follower = asyncio.create_task(follow())
        await turned(turns)
        follower.cancel()
        await turned(30)
        assert follower.cancelled(), turns


async def turned(turns: int) -> None:
    """So many turns of the loop later."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_what_was_true_is_known_also_while_others_change_it_without_a_pause(
    offered: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_of, numbers = Place.next, count()

    async def next_and_more(place: Place) -> list[Event]:
        await permit(offered, next(numbers))
        return await next_of(place)

    monkeypatch.setattr(Place, "next", next_and_more)
    learner = Learner(Knowledge())
    await learner.catch_up()
    assert learner.knowledge.is_fresh
