"""Every operation of graphql/operations/ does for its callers what it is kept for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import reduce
from typing import Any

import pytest

from gateway import clock, counting, events, keys, requests, templates
from tests.callers import PASSWORD, Scene, new_scene
from tests.documents import DOCUMENTS, EVERY_DOCUMENT, FOLDER, send, subscribed
from tests.operations import calling, object_of
from tests.permission_table import INPUTS
from tests.success_table import SUCCESSES

WEEK = {"lastDays": 7}
Variables = Callable[[Scene], dict[str, Any]]


@dataclass(frozen=True)
class Read:
    """A query: for whom, with what, and what of the answer must not be empty."""

    callers: tuple[str, ...]
    variables: Variables
    shows: tuple[str, ...]


@dataclass(frozen=True)
class Watch:
    """A subscription: for whom, with what, what happens, and what is told of it first."""

    callers: tuple[str, ...]
    variables: Variables
    happens: Callable[[Scene], Awaitable[object]]
    told: dict[str, Any]


def of_project(**more: Any) -> Variables:
    return lambda scene: {"projectId": scene.project.id, **more}


READS = {
    "KeyPanel": Read(
        ("owner", "manager", "managing_key"),
        of_project(first=10),
        ("project.templates.0.fields.0.value", "project.requests.nodes.0.user.email"),
    ),
    "TemplateTiles": Read(
        ("owner",), of_project(), ("project.templates.1.requests.nodes", "project.templates.0.issuedKeys.nodes")
    ),
    "Viewer": Read(("owner", "viewer"), lambda _: {}, ("viewer.user.email",)),
    "Project": Read(("owner", "viewer"), of_project(), ("project.name", "project.viewerPermissions")),
    "KeyTiles": Read(("viewer", "owner", "key"), of_project(), ("project.templates.0.viewerState", "eventCursor")),
    "IssuedKeys": Read(
        ("owner", "analyst"),
        of_project(
            period=WEEK, first=2, search="basic", states=["ACTIVE"], orderBy={"field": "TOTAL", "direction": "DESC"}
        ),
        ("project.issuedKeys.nodes.0.usage.requests", "project.issuedKeys.totalCount"),
    ),
    "Secrets": Read(("owner",), of_project(), ("project.secrets.0.name", "viewer.keys.nodes.0.fields.0.name")),
    "Projects": Read(("owner", "viewer"), lambda _: {"first": 5, "search": "MAPS"}, ("projects.nodes.0.name",)),
    "Roles": Read(("owner",), of_project(), ("project.roles.1.permissions",)),
    "ProjectNodes": Read(("owner", "viewer"), of_project(first=2), ("project.projectNodes.nodes.0.upstreamId",)),
    "ProjectSettings": Read(("owner",), of_project(), ("project.upstreamUrl", "project.viewerPermissions")),
    "MyKeys": Read(
        ("holder", "key"),
        lambda _: {"first": 5},
        ("viewer.keys.nodes.0.fields.0.value", "viewer.requests.nodes.0.template.name"),
    ),
    "Members": Read(("owner",), of_project(first=2), ("project.members.nodes.0.roles.0.name",)),
    "AuditLog": Read(("owner",), of_project(first=2), ("project.auditEntries.pageInfo",)),
    "PendingRequests": Read(
        ("managing_key", "analyst"), of_project(first=1), ("eventCursor", "project.requests.nodes.0.template.name")
    ),
    "UsageSeries": Read(
        ("analyst",),
        of_project(period=WEEK, granularity="DAY", timeZone="Europe/Berlin"),
        ("project.usage.series.0.usage.requests",),
    ),
    "KeysByCost": Read(
        ("analyst",), of_project(period=WEEK, first=1), ("project.issuedKeys.nodes.0.usage.total.amount",)
    ),
    "ProjectUsage": Read(
        ("analyst",),
        of_project(period={"between": {"from": "2020-01-01T00:00:00Z", "to": "2040-01-01T00:00:00Z"}}),
        ("project.usage.byTemplate.0.template.name", "project.usage.byUser.0.usage.total.amount"),
    ),
    "KeyUsage": Read(
        ("analyst",), lambda scene: {"keyIds": [scene.key.id], "period": WEEK}, ("nodes.0.usage.requests",)
    ),
}

WATCHES = {
    "NewRequests": Watch(
        ("managing_key", "analyst"),
        of_project(),
        lambda scene: requests.create(scene.callers["viewer"], scene.free.id),
        {"type": "REQUESTED"},
    ),
    "ProjectChanges": Watch(
        ("owner", "viewer"),
        of_project(),
        lambda scene: templates.update(scene.owner, scene.template.id, {"name": "Pro"}),
        {"type": "UPDATED"},
    ),
    "MyKeyChanges": Watch(
        ("holder", "key"), lambda _: {}, lambda scene: keys.suspend(scene.owner, scene.key.id), {"type": "SUSPENDED"}
    ),
}

DECISIONS: dict[str, Variables] = {
    "DecideApprove": lambda scene: {
        "requestId": scene.pending.id,
        "expiresAt": "2040-01-01T00:00:00Z",
        "idempotencyKey": "decided once",
    },
    "DecideReject": lambda scene: {
        "requestId": scene.pending.id,
        "reason": "Not now.",
        "idempotencyKey": "decided once",
    },
}
ACTIONS = [document for document in EVERY_DOCUMENT if document.path.startswith("actions/")]


@pytest.fixture
async def scene(database: str) -> Scene:
    made = await new_scene()
    await counting.record([counting.Call(made.key.id, clock.now() - timedelta(days=1), Decimal("0.5"))])
    return made


def at(data: Any, path: str) -> Any:
    """What stands at a path of an answer, list indices as digits."""
    return reduce(lambda found, step: found[int(step) if step.isdigit() else step], path.split("."), data)


def cases(table: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, caller) for name, entry in table.items() for caller in entry.callers]


@pytest.mark.parametrize(("name", "caller"), cases(READS))
async def test_a_page_shows_what_it_is_for(scene: Scene, name: str, caller: str) -> None:
    read = READS[name]
    data = await send(DOCUMENTS[name], calling(scene.callers[caller]), **read.variables(scene))
    assert [path for path in read.shows if at(data, path) in (None, [], "")] == []


@pytest.mark.parametrize(("name", "caller"), cases(WATCHES))
async def test_a_subscription_tells_what_happened_since_its_cursor(scene: Scene, name: str, caller: str) -> None:
    watch, context = WATCHES[name], calling(scene.callers[caller])
    after = context.services.cursors.give(await events.head())
    await watch.happens(scene)
    variables = {**watch.variables(scene), "after": after}
    async with context.services.log.running(), subscribed(DOCUMENTS[name], context, **variables) as told:
        [event] = (await asyncio.wait_for(anext(told), 10)).values()
    assert {member: event[member] for member in watch.told} == watch.told


@pytest.mark.parametrize("name", DECISIONS)
async def test_an_integration_decides_and_may_send_it_again(scene: Scene, name: str) -> None:
    variables = DECISIONS[name](scene)
    answers = [await send(DOCUMENTS[name], calling(scene.callers["managing_key"]), **variables) for _ in range(2)]
    [first, second] = [payload for data in answers for payload in data.values()]
    assert first["userErrors"] == []
    assert first["request"]["id"] == scene.pending.id
    assert second == first


async def test_an_upstream_reports_its_calls_and_may_send_them_again(scene: Scene) -> None:
    variables, upstream = INPUTS["usageReport"](scene), scene.callers["managing_key"]
    answers = [await send(DOCUMENTS["ReportCalls"], calling(upstream), **variables) for _ in range(2)]
    counted = [(data["usageReport"]["counted"], data["usageReport"]["repeated"]) for data in answers]
    assert counted == [(1, 0), (0, 1)]


@pytest.mark.parametrize("name", [document.name for document in ACTIONS])
async def test_an_action_is_done(scene: Scene, name: str) -> None:
    document, mutation = DOCUMENTS[name], name[0].lower() + name[1:]
    input = INPUTS[mutation](scene)
    variables = {"input": input} if "$input" in document.text else input
    data = await send(document, calling(scene.callers[SUCCESSES[mutation].caller]), **variables)
    payload = data[mutation]
    assert payload["userErrors"] == []
    assert (member := object_of(mutation)) is None or payload[member] is not None


async def test_signing_in_hands_over_a_token_or_sets_a_cookie(scene: Scene) -> None:
    who = {"email": scene.owner.require_user().email, "password": PASSWORD}
    for cookie in (False, True):
        context = calling(scene.callers["anonymous"])
        payload = (await send(DOCUMENTS["SignIn"], context, **who, cookie=cookie))["signIn"]
        assert (payload["token"] is None) is cookie


def test_no_operation_is_left_out_and_none_has_the_name_of_another() -> None:
    names = [document.name for document in EVERY_DOCUMENT]
    assert sorted(names) == sorted(
        [*READS, *WATCHES, *DECISIONS, "ReportCalls", *(document.name for document in ACTIONS)]
    )
    assert {document.name[0].lower() + document.name[1:] for document in ACTIONS} == {
        name for name in INPUTS if "(" not in name
    }
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert {document.path for document in EVERY_DOCUMENT} == files
