"""Subscriptions, on the whole gateway: what is told, to whom, from where, in which order, and how often."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway import clock, events, requests
from gateway.permissions import Permission
from models import Event, Role, Secret
from tests.following import TRANSPORTS, Ended, Following, Told
from tests.stage import CURSORS, Person, Stage, read, staged
from tests.world import join, role

REQUESTS = "subscription ($id: ID!, $after: EventCursor) { keyRequestEvents(projectId: $id, after: $after) { %s } }"
OWN = "subscription ($after: EventCursor) { viewerKeyEvents(after: $after) { %s } }"
PROJECT = "subscription ($id: ID!, $after: EventCursor) { projectEvents(projectId: $id, after: $after) { %s } }"
REQUEST = "cursor type request { id state }"
OBJECT = "cursor type objectId"
NAMED = "cursor type objectId object { id ... on KeyTemplate { name } }"


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        yield stage


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


on_one_database = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def last_words(events: Following) -> list[str]:
    """The codes of the error that is all that comes before the end."""
    told = await events.next()
    assert told.id is None  # or a client would go on behind an event that it never had
    with pytest.raises(Ended):
        await events.next()
    return told.codes


def kinds(told: list[Told]) -> list[str]:
    return [each.data["type"] for each in told]


async def live_a_keys_life(stage: Stage) -> None:
    """What happens after a request was rejected and another made."""
    pending = await stage.bo.caller.ask("{ viewer { requests(states: [PENDING]) { nodes { id } } } }")
    request_id = pending["viewer"]["requests"]["nodes"][0]["id"]
    member = "request { issuedKey { id } }"
    approved = await stage.ada.do("keyRequestApprove", member, requestId=request_id)
    key_id = approved["request"]["issuedKey"]["id"]
    await stage.ada.do("keySuspend", "issuedKey { id }", keyId=key_id)
    await stage.ada.do("keyResume", "issuedKey { id }", keyId=key_id)
    await stage.bo.do("keyRotate", "issuedKey { id }", keyId=key_id)
    await stage.bo.do("keyRevoke", "issuedKey { id }", keyId=key_id)
    await stage.ask_in_vain()


async def ask_twice(stage: Stage) -> None:
    await stage.ada.do("keyRequestReject", "request { id }", requestId=await stage.ask_for_key(), reason="Not yet.")
    await stage.ask_for_key()


ASKED_TWICE = ["REQUESTED", "REJECTED", "REQUESTED"]
OF_REQUESTS = [*ASKED_TWICE, "APPROVED", "REQUESTED", "CANCELLED"]
OF_BO = [*ASKED_TWICE, "APPROVED", "SUSPENDED", "RESUMED", "ROTATED", "REVOKED", "REQUESTED", "CANCELLED"]
OF_PROJECT = ["CREATED", "UPDATED", "CREATED", "CREATED", *["UPDATED"] * 5, "CREATED", "UPDATED"]


# ---------------------------------------------------------------- what is told, in order and once


async def test_what_came_after_the_cursor_is_replayed_and_then_what_happens_each_once_and_in_order(
    stage: Stage, transport: str
) -> None:
    after = await stage.event_cursor()
    await ask_twice(stage)
    async with AsyncExitStack() as stack:
        ada, bo, project = stage.ada.token, stage.bo.token, stage.project.id
        of_requests = await stack.enter_async_context(
            stage.follow(transport, REQUESTS % REQUEST, ada, id=project, after=after)
        )
        of_bo = await stack.enter_async_context(stage.follow(transport, OWN % REQUEST, bo, after=after))
        of_project = await stack.enter_async_context(
            stage.follow(transport, PROJECT % OBJECT, ada, id=project, after=after)
        )
        assert kinds(await read(of_requests, 3)) == ASKED_TWICE
        await live_a_keys_life(stage)
        assert kinds(await read(of_requests, 3)) == OF_REQUESTS[3:]
        assert kinds(await read(of_bo, 10)) == OF_BO
        told = await read(of_project, 11)
        assert kinds(told) == OF_PROJECT
        logged = await Event.filter(project_id=project).order_by("position")
        assert [each.data["objectId"] for each in told] == [event.object_id for event in logged]
        assert [each.data["cursor"] for each in told] == [CURSORS.give(event.position) for event in logged]


@on_one_database
async def test_whoever_resumes_after_any_cursor_gets_just_what_came_after_it(stage: Stage, transport: str) -> None:
    after = await stage.event_cursor()
    await ask_twice(stage)
    await live_a_keys_life(stage)

    async def cursors_after(cursor: str, quantity: int) -> list[str]:
        async with stage.follow(transport, OWN % "cursor", stage.bo.token, after=cursor) as events:
            return [each.data["cursor"] for each in await read(events, quantity)]

    cursors = await cursors_after(after, len(OF_BO))
    for index, cursor in enumerate(cursors[:-1], start=1):
        assert await cursors_after(cursor, len(cursors) - index) == cursors[index:]


async def test_without_a_cursor_it_begins_now(stage: Stage, transport: str) -> None:
    before = await stage.ask_in_vain()
    async with stage.follow(transport, REQUESTS % REQUEST, stage.ada.token, id=stage.project.id) as events:
        first = asyncio.create_task(events.next())
        made = []
        while not first.done():  # when it began is not told
            made.append(await stage.ask_in_vain())
    told = (await first).data
    assert told["request"]["id"] in made
    assert told["request"]["id"] != before


@on_one_database
async def test_the_cursor_of_one_subscription_serves_another(stage: Stage, transport: str) -> None:
    after = await stage.event_cursor()
    request_id = await stage.ask_in_vain()
    async with stage.follow(transport, OWN % REQUEST, stage.bo.token, after=after) as events:
        [first, second] = await read(events, 2)
    for query, token in ((REQUESTS % REQUEST, stage.ada.token), (PROJECT % OBJECT, stage.ada.token)):
        cursor = first.data["cursor"]
        async with stage.follow(transport, query, token, id=stage.project.id, after=cursor) as events:
            assert (await events.next()).data["cursor"] == second.data["cursor"]
    assert first.data["request"]["id"] == request_id


@on_one_database
async def test_the_last_event_id_wins_over_after(stage: Stage) -> None:
    after = await stage.event_cursor()
    await stage.ask_in_vain()
    async with stage.follow("sse", OWN % "cursor", stage.bo.token, after=after) as events:
        [first, second] = [each.data["cursor"] for each in await read(events, 2)]
    for ignored in (after, second, "forged"):
        async with stage.follow("sse", OWN % "cursor", stage.bo.token, first, after=ignored) as events:
            assert (await events.next()).data["cursor"] == second


@on_one_database
@pytest.mark.parametrize("query", [REQUESTS, OWN, PROJECT], ids=["requests", "own", "project"])
async def test_an_events_id_is_its_cursor_also_where_that_is_not_selected(stage: Stage, query: str) -> None:
    after = await stage.event_cursor()
    await stage.ask_in_vain()
    logged = [CURSORS.give(event.position) for event in await Event.all().order_by("position")]
    token = stage.bo.token if query is OWN else stage.ada.token
    variables = {"after": after} if query is OWN else {"after": after, "id": stage.project.id}
    async with stage.follow("sse", query % "type", token, **variables) as events:
        assert [each.id for each in await read(events, 2)] == logged[-2:]
    async with stage.follow("sse", query % "mine: cursor", token, **variables) as events:
        assert [each.data["mine"] for each in await read(events, 2)] == logged[-2:]


# ---------------------------------------------------------------- cursors that are no good


@pytest.mark.parametrize("forged", ["", "1", "AAAA", "eyJhIjoxfQ"])
@on_one_database
async def test_a_forged_cursor_is_bad_input(stage: Stage, transport: str, forged: str) -> None:
    async with stage.follow(transport, OWN % "cursor", stage.bo.token, after=forged) as events:
        assert await last_words(events) == ["BAD_INPUT"]


@on_one_database
async def test_a_forged_last_event_id_is_bad_input(stage: Stage) -> None:
    async with stage.follow("sse", OWN % "cursor", stage.bo.token, "forged") as events:
        assert await last_words(events) == ["BAD_INPUT"]


async def test_a_cursor_that_is_no_longer_kept_is_told_and_not_skipped(stage: Stage, transport: str) -> None:
    after = await stage.event_cursor()
    await stage.ask_in_vain()
    last = await stage.event_cursor()
    await Event.all().update(occurred_at=clock.now() - timedelta(days=91))
    await events.prune(timedelta(days=90))
    for query, token in ((OWN, stage.bo.token), (REQUESTS, stage.ada.token), (PROJECT, stage.ada.token)):
        variables = {"after": after} if query is OWN else {"after": after, "id": stage.project.id}
        async with stage.follow(transport, query % "cursor", token, **variables) as following:
            assert await last_words(following) == ["CURSOR_EXPIRED"]
    async with stage.follow(transport, OWN % REQUEST, stage.bo.token, after=last) as following:
        request_id = await stage.ask_for_key()
        assert (await following.next()).data["request"]["id"] == request_id


# ---------------------------------------------------------------- to whom


@on_one_database
async def test_requests_and_keys_of_others_are_told_to_nobody_as_their_own(stage: Stage, transport: str) -> None:
    cy, after = await stage.enter("Cy"), await stage.event_cursor()
    await stage.ask_for_key(cy)
    own = await stage.ask_for_key()
    async with stage.follow(transport, OWN % REQUEST, stage.bo.token, after=after) as events:
        assert (await events.next()).data["request"]["id"] == own


@on_one_database
async def test_a_key_is_told_of_itself_and_of_its_holders_requests_on_its_project(stage: Stage, transport: str) -> None:
    after = await stage.event_cursor()
    key_id, token = await stage.key()
    await stage.ada.do(
        "templateCreate", "template { id }", projectId=stage.project.id, roleId=stage.viewing.id, name="More"
    )
    async with stage.follow(transport, OWN % "type issuedKey { id }", token, after=after) as events:
        [asked, approved] = [each.data for each in await read(events, 2)]
    assert [asked["type"], approved["type"]] == ["REQUESTED", "APPROVED"]
    assert approved["issuedKey"]["id"] == key_id


@on_one_database
async def test_requests_on_a_project_are_told_to_those_with_keys_view_alone(stage: Stage, transport: str) -> None:
    viewer = await stage.enter("Vi", Permission.PROJECT_VIEW)
    for token, code in ((viewer.token, "NOT_FOUND"), (stage.bo.token, "NOT_FOUND"), (None, "UNAUTHENTICATED")):
        async with stage.follow(transport, REQUESTS % "cursor", token, id=stage.project.id) as events:
            assert await last_words(events) == [code]
    async with stage.follow(transport, OWN % "cursor") as events:
        assert await last_words(events) == ["UNAUTHENTICATED"]
    analyst, after = await stage.enter("An", Permission.KEYS_VIEW), await stage.event_cursor()
    request_id = await stage.ask_for_key()
    async with stage.follow(transport, REQUESTS % REQUEST, analyst.token, id=stage.project.id, after=after) as events:
        assert (await events.next()).data["request"]["id"] == request_id


async def change_one_of_everything(stage: Stage) -> None:
    """A request and a key of Bo's, a secret, a member, a node, a role, a template, and the project itself."""
    on_it = {"projectId": stage.project.id}
    await stage.key()
    await stage.ada.do("secretCreate", "secret { id }", **on_it, name="token", value="hush")
    dee = await stage.enter("Dee")
    await stage.ada.do("memberSetRoles", "member { id }", **on_it, user={"userId": dee.id}, roleIds=[stage.viewing.id])
    await stage.ada.do("projectNodeCreate", "projectNode { id }", **on_it, name="Input")
    await stage.ada.do("roleCreate", "role { id }", **on_it, name="Caller", permissions=["PACKAGE_VIEW"])
    await stage.ada.do("templateUpdate", "template { id }", templateId=stage.basic.id, name="Renamed")
    await stage.ada.do("projectUpdate", "project { id }", **on_it, description="Maps of everywhere")


FOR_ALL = ["nod", "rol", "tpl", "prj"]
OF_KEYS = ["req", "key", "req"]


@on_one_database
@pytest.mark.parametrize(
    ("who", "told_of"),
    [
        ("anonymous", FOR_ALL),
        ("stranger", FOR_ALL),
        ("bo", [*OF_KEYS, *FOR_ALL]),
        ("viewer", FOR_ALL),
        ("analyst", [*OF_KEYS, *FOR_ALL]),
        ("manager", [*OF_KEYS, "sec", "mem", *FOR_ALL]),
        ("ada", [*OF_KEYS, "sec", "mem", *FOR_ALL]),
    ],
)
async def test_each_event_of_a_project_is_told_under_the_rights_of_its_own_object(
    stage: Stage, transport: str, who: str, told_of: list[str]
) -> None:
    people: dict[str, Person] = {
        "ada": stage.ada,
        "bo": stage.bo,
        "stranger": await stage.enter("Stranger"),
        "viewer": await stage.enter("Viewer", Permission.PROJECT_VIEW),
        "analyst": await stage.enter("Analyst", Permission.KEYS_VIEW),
        "manager": await stage.enter("Manager", Permission.PROJECT_MANAGE),
    }
    after, token = await stage.event_cursor(), people[who].token if who in people else None
    await change_one_of_everything(stage)
    async with stage.follow(transport, PROJECT % OBJECT, token, id=stage.project.id, after=after) as events:
        told = await read(events, len(told_of))
    assert [each.data["objectId"].partition("_")[0] for each in told] == told_of


@on_one_database
async def test_a_key_that_manages_is_told_of_members_but_of_no_secret(stage: Stage, transport: str) -> None:
    managing = await role(stage.project, Permission.PROJECT_MANAGE, name="Managing")
    await stage.ada.do("templateUpdate", "template { id }", templateId=stage.basic.id, roleId=managing.id)
    _, token = await stage.key()
    after = await stage.event_cursor()
    await stage.ada.do("secretCreate", "secret { id }", projectId=stage.project.id, name="token", value="hush")
    dee = await stage.enter("Dee")
    given = {"user": {"userId": dee.id}, "roleIds": [stage.viewing.id]}
    await stage.ada.do("memberSetRoles", "member { id }", projectId=stage.project.id, **given)
    async with stage.follow(transport, PROJECT % OBJECT, token, id=stage.project.id, after=after) as events:
        assert (await events.next()).data["objectId"].startswith("mem_")
    assert await Secret.exists(name="token")


@on_one_database
async def test_a_project_that_is_not_public_is_not_found_by_who_is_nobody(stage: Stage, transport: str) -> None:
    await Role.filter(id=stage.viewing.id).update(is_public=False)
    for token in (None, stage.bo.token):
        async with stage.follow(transport, PROJECT % OBJECT, token, id=stage.project.id) as events:
            assert await last_words(events) == ["NOT_FOUND"]


# ---------------------------------------------------------------- rights that are lost

Lose = Callable[[Stage, Person, Role], Awaitable[Any]]


async def leave(stage: Stage, analyst: Person, _: Role) -> None:
    user = {"userId": analyst.id}
    await stage.ada.do("memberSetRoles", "member { id }", projectId=stage.project.id, user=user, roleIds=[])


async def weaken_role(stage: Stage, _: Person, held: Role) -> None:
    await stage.ada.do("roleUpdate", "role { id }", roleId=held.id, permissions=["PACKAGE_VIEW"])


async def delete_project(stage: Stage, _: Person, __: Role) -> None:
    await stage.ada.do("projectDelete", "deletedId", projectId=stage.project.id)


@on_one_database
@pytest.mark.parametrize("lose", [leave, weaken_role, delete_project])
@pytest.mark.parametrize("query", [REQUESTS, PROJECT], ids=["requests", "project"])
async def test_losing_the_rights_ends_the_stream_with_not_found(
    stage: Stage, transport: str, query: str, lose: Lose
) -> None:
    """At once, though nothing happens that it is about."""
    await Role.filter(id=stage.viewing.id).update(is_public=False)
    held = await role(stage.project, Permission.PROJECT_VIEW, Permission.KEYS_VIEW, name="Analyst")
    analyst = await stage.enter("An")
    await join(stage.project, analyst.actor, held)
    await join(stage.project, stage.bo.actor, stage.viewing)
    after = await stage.event_cursor()
    await stage.ask_for_key()
    async with stage.follow(transport, query % "cursor", analyst.token, id=stage.project.id, after=after) as events:
        await events.next()
        await lose(stage, analyst, held)
        assert await last_words(events) == ["NOT_FOUND"]


@on_one_database
async def test_what_happened_without_the_rights_is_told_when_they_are_back(stage: Stage) -> None:
    held = await role(stage.project, Permission.KEYS_VIEW, name="Analyst")
    analyst, after = await stage.enter("An"), await stage.event_cursor()
    await join(stage.project, analyst.actor, held)
    first = await stage.ask_in_vain()
    query, resumes = REQUESTS % REQUEST, {"id": stage.project.id, "after": after}
    async with stage.follow("sse", query, analyst.token, **resumes) as events:
        [_, last] = await read(events, 2)
        await weaken_role(stage, analyst, held)
        assert await last_words(events) == ["NOT_FOUND"]
    second = await stage.ask_in_vain()
    await stage.ada.do("roleUpdate", "role { id }", roleId=held.id, permissions=["KEYS_VIEW"])
    async with stage.follow("sse", query, analyst.token, last.id, **resumes) as events:
        assert [each.data["request"]["id"] for each in await read(events, 2)] == [second, second]
    assert first != second


# ---------------------------------------------------------------- the present


async def test_what_an_event_shows_is_true_at_that_event(stage: Stage, transport: str) -> None:
    """Nothing that was loaded for one event is shown at the next."""
    after = await stage.event_cursor()

    async def rename(name: str) -> None:
        await stage.ada.do("templateUpdate", "template { id }", templateId=stage.basic.id, name=name)

    async with stage.follow(transport, PROJECT % NAMED, None, id=stage.project.id, after=after) as events:
        for name in ("Better", "Best"):
            await rename(name)
            told = (await events.next()).data
            assert (told["type"], told["object"]["name"]) == ("UPDATED", name)
        await stage.ada.do("templateDelete", "deletedId", templateId=stage.basic.id)
        gone = (await events.next()).data
        assert (gone["type"], gone["object"], gone["objectId"]) == ("DELETED", None, stage.basic.id)
    async with stage.follow(transport, PROJECT % NAMED, None, id=stage.project.id, after=after) as events:
        assert [each.data["object"] for each in await read(events, 3)] == [None, None, None]


@on_one_database
async def test_a_replayed_event_says_what_happened_then_and_shows_what_is_now(stage: Stage, transport: str) -> None:
    after = await stage.event_cursor()
    await stage.ask_in_vain()
    async with stage.follow(transport, OWN % REQUEST, stage.bo.token, after=after) as events:
        told = [each.data for each in await read(events, 2)]
    assert [each["type"] for each in told] == ["REQUESTED", "CANCELLED"]
    assert [each["request"]["state"] for each in told] == ["CANCELLED", "CANCELLED"]


@on_one_database
async def test_an_event_that_the_database_could_not_complete_is_told_after_resuming(
    stage: Stage, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a stream went on past it, the next cursor would hide it for good."""
    after = await stage.event_cursor()
    await stage.ask_in_vain()
    variables = {"id": stage.project.id}

    async def lost(*_: object) -> dict[str, Any]:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    query = REQUESTS % REQUEST
    with monkeypatch.context() as database:
        database.setattr(requests, "by_id", lost)
        async with stage.follow(transport, query, stage.ada.token, **variables, after=after) as events:
            assert await last_words(events) == ["UNAVAILABLE"]
    async with stage.follow(transport, query, stage.ada.token, **variables, after=after) as events:
        assert kinds(await read(events, 2)) == ["REQUESTED", "CANCELLED"]


# ---------------------------------------------------------------- a page and its subscription

ROUNDS = 20
PAGE = "query ($id: ID!) { eventCursor project(id: $id) { requests(states: null, last: 100) { nodes { id } } } }"


async def test_between_a_page_and_its_subscription_nothing_falls(stage: Stage, transport: str) -> None:
    made: list[str] = []

    async def write(who: Person) -> None:
        while True:
            made.append(await stage.ask_for_key(who))
            await who.do("keyRequestCancel", "request { id }", requestId=made[-1])

    people = [await stage.enter(name) for name in ("Cy", "Di")]
    writers = [asyncio.create_task(write(who)) for who in people]
    for number in range(ROUNDS):
        page = await stage.ada.caller.ask(PAGE, id=stage.project.id)
        paged = {node["id"] for node in page["project"]["requests"]["nodes"]}
        variables = {"id": stage.project.id, "after": page["eventCursor"]}
        if number % 2:  # else there is as little time as can be
            made.append(await stage.ask_in_vain())
        async with stage.follow(transport, REQUESTS % REQUEST, stage.ada.token, **variables) as events:
            known = set(made[-50:])
            asked = await asked_until(events, await stage.ask_in_vain())
        assert len(asked) == len(set(asked))
        assert known <= paged | set(asked)
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)


async def asked_until(events: Following, request_id: str) -> list[str]:
    """The ids of the requests that are told to be made, up to this one."""
    asked: list[str] = []
    while request_id not in asked:
        told = (await events.next()).data
        if told["type"] == "REQUESTED":
            asked.append(told["request"]["id"])
    return asked
