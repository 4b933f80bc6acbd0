"""Who holds a token is remembered while it is so, and asked anew by everything that does more than read.

Answers aren't kept here, so that each query is run.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from gateway import callers, clock, keys, members, users
from gateway.attempts import Attempts
from gateway.callers import Callers
from gateway.events import head
from gateway.members import UserRef
from gateway.permissions import GATEWAY, Actor, Permission
from gateway.pricing import micros
from gateway.revisions import Revisions, slot_of
from gateway.signing import Keyring
from gateway.visitors import TourFailed
from models import Event, Grant, IssuedKey, KeyState, Role, Session
from tests.asking import ask
from tests.callers import new_scene
from tests.keeping import ANYWHERE, HERE
from tests.stage import CURSORS, Stage, session_token, signed_in, staged
from tests.statements import statements
from tests.test_sign_in import Desk
from tests.world import SEALER, by_key, person

WHO = "{ viewer { user { id name email } apiKey { id state name } } }"
ELSEWHERE_SECONDS = 1.0
TWELVE_HOURS = timedelta(hours=12)
RIGHT, NEXT = "correct horse", "another horse"
TOKEN, ISSUER = "token", "http://127.0.0.1:8000"


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path, kept_answers_megabytes=0) as stage:
        yield stage


async def ask_by(stage: Stage, token: str, query: str = WHO, **headers: str) -> httpx2.Response:
    return await stage.http.post(
        "/graphql", json={"query": query}, headers={"Authorization": f"Bearer {token}", **headers}
    )


async def ask_until_known(stage: Stage, token: str) -> list[str]:
    """What was sent to the database when it was: once the process knows of all that it did itself."""
    async with asyncio.timeout(60):
        while True:
            before = await hits(stage)
            with statements() as sent:
                assert (await ask_by(stage, token)).status_code == 200
            if await hits(stage) > before:
                return sent


async def hits(stage: Stage) -> int:
    text = (await stage.http.get("/metrics")).text
    return int(float(text.split("\ntessera_callers_hits_total ")[1].split()[0]))


class Held(NamedTuple):
    """Somebody's session and key, which are the same person's."""

    user_id: str
    session: str
    key_id: str
    key: str


async def bos(stage: Stage) -> Held:
    key_id, token = await stage.key()
    assert stage.bo.token
    return Held(stage.bo.id, stage.bo.token, key_id, token)


# ---------------------------------------------------------------- what it saves


@pytest.mark.parametrize("by", ["session", "key"])
async def test_a_query_by_a_token_that_is_known_asks_the_database_nothing_about_it(stage: Stage, by: str) -> None:
    held = await bos(stage)
    first = await ask_by(stage, getattr(held, by))
    sent = await ask_until_known(stage, getattr(held, by))
    assert (await ask_by(stage, getattr(held, by))).content == first.content
    assert not [each for each in sent if '"users"' in each or '"sessions"' in each or '"key_generations"' in each]


async def test_who_is_remembered_has_no_password_hash_in_memory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: list[Actor] = []
    remember = Callers.remember

    def look(callers: Callers, actor: Actor, since: int) -> None:
        remembered.append(actor)
        remember(callers, actor, since)

    monkeypatch.setattr(Callers, "remember", look)
    held = await bos(stage)
    for token in (held.session, held.key):
        await ask_by(stage, token)
        assert not hasattr(remembered[-1].require_user(), "password_hash")


RIGHTS = "query ($id: ID!) { project(id: $id) { name viewerPermissions roles { permissions } } }"


async def test_a_query_asks_the_database_nothing_about_rights_that_are_known(stage: Stage) -> None:
    """Of whomever: a member, or of what everybody has."""
    body = {"query": RIGHTS, "variables": {"id": stage.project.id}}
    for headers in (stage.ada.caller.headers, {}):
        answers = [(await stage.http.post("/graphql", json=body, headers=headers)).json()]
        async with asyncio.timeout(60):
            while True:
                with statements() as sent:
                    answers.append((await stage.http.post("/graphql", json=body, headers=headers)).json())
                if not any('"member_roles"' in each or '"is_public"=' in each for each in sent):
                    break
        assert answers[-1]["data"]["project"]["name"] == "Maps"
        assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_no_query_changes_the_rows_of_who_asks(database: str) -> None:
    """Which are shared by all who ask by the same token."""
    scene = await new_scene()
    caller = by_key(scene.callers["holder"], scene.key)
    assert caller.user
    assert caller.issued_key
    before = [dict(vars(row)) for row in (caller.user, caller.issued_key)]
    everything = {"id": scene.project.id, "ids": list(scene.ids.values())}
    await ask(caller, HERE, id=scene.project.id)
    await ask(caller, ANYWHERE, **everything)
    assert [vars(row) for row in (caller.user, caller.issued_key)] == before


# ---------------------------------------------------------------- what ends it

Change = Callable[[Stage, Held], Awaitable[object]]


async def key_revoked(stage: Stage, held: Held) -> None:
    await stage.ada.do("keyRevoke", "issuedKey { id }", keyId=held.key_id)


async def key_suspended(stage: Stage, held: Held) -> None:
    await stage.ada.do("keySuspend", "issuedKey { id }", keyId=held.key_id)


async def key_rotated(stage: Stage, held: Held) -> None:
    await stage.bo.do("keyRotate", "token", keyId=held.key_id)


async def project_deleted(stage: Stage, held: Held) -> None:
    await stage.ada.do("projectDelete", "deletedId", projectId=stage.project.id)


async def signed_out(stage: Stage, held: Held) -> None:
    await stage.bo.do("signOut", "__typename")


async def signed_out_everywhere(stage: Stage, held: Held) -> None:
    there = await stage.http.post(
        "/graphql",
        json={"query": "mutation { signOut(input: {everywhere: true}) { userErrors { code } } }"},
        headers={"Authorization": f"Bearer {await session_token(stage.bo.actor)}"},
    )
    assert there.status_code == 200, there.text


async def known_before(stage: Stage, by: str, change: Change) -> str:
    """The token of Bo's session or key, which was known when the change happened."""
    held = await bos(stage)
    token: str = getattr(held, by)
    await ask_until_known(stage, token)
    await change(stage, held)
    return token


HERE_CHANGES: list[tuple[str, Change]] = [
    ("key", key_revoked),
    ("key", key_suspended),
    ("key", key_rotated),
    ("key", project_deleted),
    ("session", signed_out),
    ("session", signed_out_everywhere),
]


@pytest.mark.parametrize(("by", "change"), HERE_CHANGES)
async def test_a_token_that_was_known_is_refused_at_once_in_the_process_that_ended_it(
    stage: Stage, by: str, change: Change
) -> None:
    token = await known_before(stage, by, change)
    assert (await ask_by(stage, token)).status_code == 401


async def user_disabled(_: Stage, held: Held) -> None:
    await users.disable(GATEWAY, held.user_id)


async def signing_key_withdrawn(_: Stage, held: Held) -> None:
    await keys.withdraw_signing_key(GATEWAY, (await Keyring(SEALER, ISSUER).current()).id)


async def key_revoked_elsewhere(stage: Stage, held: Held) -> None:
    await keys.revoke(stage.ada.actor, held.key_id)


async def password_changed(stage: Stage, held: Held) -> None:
    desk = Desk()
    user = stage.bo.actor.require_user()
    user.password_hash = await desk.passwords.hash(RIGHT)
    await user.save()
    await desk.change(user, RIGHT, NEXT)


ELSEWHERE_CHANGES: list[tuple[str, Change]] = [
    ("key", key_revoked_elsewhere),
    ("key", user_disabled),
    ("key", signing_key_withdrawn),
    ("session", user_disabled),
    ("session", password_changed),
]


@pytest.mark.parametrize(("by", "change"), ELSEWHERE_CHANGES)
async def test_a_token_that_was_known_is_refused_within_a_second_where_another_process_ended_it(
    stage: Stage, by: str, change: Change
) -> None:
    token = await known_before(stage, by, change)
    acknowledged_at = time.monotonic()
    while True:
        begun_at = time.monotonic()
        if (await ask_by(stage, token)).status_code == 401:
            return
        assert begun_at < acknowledged_at + ELSEWHERE_SECONDS


@pytest.mark.parametrize(("by", "change"), ELSEWHERE_CHANGES)
async def test_a_token_that_was_known_is_refused_to_who_presents_the_revision_of_its_end(
    stage: Stage, by: str, change: Change
) -> None:
    token = await known_before(stage, by, change)
    revision = {"Tessera-Revision": CURSORS.give(await head())}
    assert (await ask_by(stage, token, **revision)).status_code == 401


async def test_rights_that_were_known_are_gone_at_once_here_and_within_a_second_elsewhere(stage: Stage) -> None:
    cy = await stage.enter("Cy", Permission.KEYS_VIEW)
    held = [each.id for each in await Role.filter(project_id=stage.project.id, name="Cy")]
    await stage.hear()

    async def sees_keys() -> bool:
        query = "query ($id: ID!) { project(id: $id) { issuedKeys { totalCount } } }"
        return (await cy.caller.ask(query, id=stage.project.id))["project"]["issuedKeys"] is not None

    async def set_here(*role_ids: str) -> None:
        input = {"projectId": stage.project.id, "user": {"userId": cy.id}, "roleIds": role_ids}
        await stage.ada.do("memberSetRoles", "member { id }", **input)

    async with asyncio.timeout(60):
        for _ in range(5):
            assert [await sees_keys() for _ in range(3)] == [True] * 3
            await set_here()
            assert [await sees_keys() for _ in range(3)] == [False] * 3
            await set_here(*held)
    await members.set_roles(stage.ada.actor, Attempts(), stage.project.id, user=UserRef(user_id=cy.id), role_ids=[])
    acknowledged_at, begun_at = time.monotonic(), time.monotonic()
    while await sees_keys():
        assert begun_at < acknowledged_at + ELSEWHERE_SECONDS
        begun_at = time.monotonic()


async def test_a_session_that_was_known_is_refused_once_its_time_is_over(stage: Stage) -> None:
    """Of which no event tells."""
    cy = (await signed_in(stage.http, "Cy")).actor
    token = await session_token(cy, timedelta(seconds=3))
    ends_at = (await Session.filter(user_id=cy.user_id).order_by("-id").first()).expires_at  # type: ignore[union-attr]  # there are two
    while True:
        begun_at = clock.now()
        if (await ask_by(stage, token)).status_code == 401:
            break
        assert begun_at < ends_at


async def test_a_token_that_was_known_is_refused_though_the_process_that_ended_it_hasn_t_read_the_log_since(
    stage: Stage, can_be_read: asyncio.Event
) -> None:
    held = await bos(stage)
    await ask_until_known(stage, held.key)
    can_be_read.clear()
    assert (await stage.http.post("/oauth/revoke", data={"token": held.key})).status_code == 200
    assert (await ask_by(stage, held.key)).status_code in {401, 503}
    can_be_read.set()
    assert (await ask_by(stage, held.key)).status_code == 401


async def test_who_can_t_read_the_log_for_a_second_knows_nobody(stage: Stage, can_be_read: asyncio.Event) -> None:
    held = await bos(stage)
    await ask_until_known(stage, held.session)
    can_be_read.clear()
    cleared_at = time.monotonic()
    while True:
        begun_at = time.monotonic()
        answer = await ask_by(stage, held.session)
        if answer.status_code == 503:
            break
        assert begun_at < cleared_at + ELSEWHERE_SECONDS
    can_be_read.set()
    assert (await ask_by(stage, held.session)).status_code == 200


# ---------------------------------------------------------------- who asks anew


async def test_what_does_more_than_read_asks_anew_whose_its_token_is(stage: Stage) -> None:
    """Here the key was suspended by hand, of which the log tells nothing."""
    held = await bos(stage)
    await ask_until_known(stage, held.key)
    await IssuedKey.filter(id=held.key_id).update(state=KeyState.SUSPENDED, suspended_at=clock.now())
    async with asyncio.timeout(60):  # until the process has looked at the log of late
        while (await ask_by(stage, held.key)).status_code != 200:
            pass
    change = f'mutation {{ keyRevoke(input: {{keyId: "{held.key_id}"}}) {{ userErrors {{ code }} }} }}'
    stream = {"Accept": "text/event-stream"}
    answers = [
        await ask_by(stage, held.key, change),
        await ask_by(stage, held.key, **stream),
        await ask_by(stage, held.key, "subscription { viewerKeyEvents { cursor } }", **stream),
        await stage.http.post(
            "/oauth/introspect", data={"token": held.key}, headers={"Authorization": f"Bearer {held.key}"}
        ),
    ]
    assert [answer.status_code for answer in answers] == [401] * 4


async def test_what_does_more_than_read_asks_anew_what_may_be_done(stage: Stage) -> None:
    """Here the permissions were taken away by hand, of which the log tells nothing."""
    query = {"query": RIGHTS, "variables": {"id": stage.project.id}}

    async def permissions(**headers: str) -> Any:
        answer = await stage.http.post("/graphql", json=query, headers={**stage.ada.caller.headers, **headers})
        told = answer.text.partition("data: ")[2].partition("\n")[0] if headers else answer.text
        return json.loads(told)["data"]["project"]["viewerPermissions"]

    owned = await permissions()
    await permissions()
    await Grant.filter(role__project_id=stage.project.id, role__is_owner=True).delete()
    async with asyncio.timeout(60):  # until the process has looked at the log of late
        while await permissions() != owned:
            pass
    assert await permissions(Accept="text/event-stream") == ["PROJECT_VIEW"]
    with pytest.raises(TourFailed, match="PROJECT_EDIT"):
        await stage.ada.do("projectUpdate", "project { id }", projectId=stage.project.id, name="Charts")


# ---------------------------------------------------------------- the memory itself


class Memory:
    def __init__(self) -> None:
        self.revisions = Revisions()
        self.callers = Callers(self.revisions)

    def remember(self, actor: Actor, token: str = TOKEN, **ending: timedelta) -> None:
        ends_at = clock.now() + ending["ends_in"] if ending else None
        known = Actor(user=actor.user, token=token, ends_at=ends_at)
        self.callers.remember(known, self.callers.revision)

    def knows(self, token: str = TOKEN) -> bool:
        return self.callers.find(token.encode(), micros(clock.now())) is not None

    def hear(self, kind: str, user_id: str | None = None, project_id: str | None = None) -> None:
        self.revisions.heard([Event(position=1, kind=kind, object_id="x", user_id=user_id, project_id=project_id)])


async def test_what_happens_to_others_and_to_projects_ends_no_memory(database: str) -> None:
    ada, memory = await person("Ada"), Memory()
    memory.remember(ada)
    other = next(id for id in map(str, range(100)) if slot_of(id) != slot_of(ada.user_id or ""))
    memory.hear("session.ended", other)
    memory.hear("project.updated", project_id="a project")
    assert memory.knows()
    memory.hear("session.begun", ada.user_id)
    assert not memory.knows()


async def test_what_was_looked_at_while_something_happened_is_not_remembered(database: str) -> None:
    ada, memory = await person("Ada"), Memory()
    since = memory.callers.revision
    memory.hear("session.ended", ada.user_id)
    memory.callers.remember(Actor(user=ada.user, token=TOKEN), since)
    assert not memory.knows()


async def test_a_log_that_goes_on_from_somewhere_else_leaves_nobody_known(database: str) -> None:
    memory = Memory()
    memory.remember(await person("Ada"))
    memory.revisions.begun()
    assert not memory.knows()


async def test_the_memory_has_a_bound(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MOST_REMEMBERED", 3)
    ada, memory = await person("Ada"), Memory()
    for number in range(5):
        memory.remember(ada, f"token {number}")
    assert [memory.knows(f"token {number}") for number in range(5)] == [False, False, True, True, True]


async def test_a_token_is_remembered_until_the_second_in_which_it_ends(database: str) -> None:
    ada, memory = await person("Ada"), Memory()
    memory.remember(ada, ends_in=timedelta(hours=1))
    assert memory.knows()
    memory.remember(ada, ends_in=timedelta(0))
    assert not memory.knows()
