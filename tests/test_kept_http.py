"""How kept answers travel: with what a client needs to ask again, to nobody else, and never too old."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from structlog.testing import capture_logs

from gateway import projects
from schema.transport.credentials import COOKIE
from tests.stage import CURSORS, Stage, session_token, signed_in, staged

NAME = "query ($id: ID!) { project(id: $id) { name } }"
OWN = "http://127.0.0.1:8000"
PAGE = {"Origin": OWN, "X-Tessera-CSRF": "1"}

USAGE = "query ($id: ID!) { project(id: $id) { usage(period: {lastDays: 1}) { total { requests } } } }"
Way = Callable[[Stage, Mapping[str, str]], Awaitable[httpx2.Response]]


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        await named(stage, "Maps")  # the stage's rows were put straight into the tables
        yield stage


async def named(stage: Stage, name: str) -> None:
    await stage.ada.do("projectUpdate", "project { id }", projectId=stage.project.id, name=name)


async def ask(stage: Stage, headers: Mapping[str, str], query: str = NAME) -> httpx2.Response:
    body = {"query": query, "variables": {"id": stage.project.id}}
    return await stage.http.post("/graphql", json=body, headers=headers)


async def get(stage: Stage, headers: Mapping[str, str], query: str = NAME) -> httpx2.Response:
    parameters = {"query": query, "variables": f'{{"id": "{stage.project.id}"}}'}
    return await stage.http.get("/graphql", params=parameters, headers=headers)


async def ask_until_refused(stage: Stage, headers: Mapping[str, str]) -> httpx2.Response:
    async with asyncio.timeout(60):
        while True:
            answer = await ask(stage, headers)
            if answer.status_code != 200:
                return answer


async def hits(stage: Stage) -> int:
    text = (await stage.http.get("/metrics")).text
    return int(float(text.split("\ntessera_kept_answers_hits_total ")[1].split()[0]))


def fields_of(answer: httpx2.Response) -> dict[str, str]:
    """Less what is another each time."""
    return {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "date"}}


@pytest.mark.parametrize("asked", [ask, get])
async def test_a_kept_answer_is_what_was_made_and_says_the_same_of_itself(stage: Stage, asked: Way) -> None:
    made, kept = [await asked(stage, stage.ada.caller.headers) for _ in range(2)]
    assert await hits(stage) == 1
    assert made.json() == {"data": {"project": {"name": "Maps"}}}
    assert (kept.status_code, kept.content, fields_of(kept)) == (200, made.content, fields_of(made))
    assert {"x-request-id", "date"} <= kept.headers.keys()
    named_so = await asked(stage, {**stage.ada.caller.headers, "X-Request-Id": "mine"})
    assert named_so.headers["x-request-id"] == "mine"


async def test_a_plain_call_is_answered_before_the_web_stack_and_another_within_it(stage: Stage) -> None:
    """What comes with a cookie or from a page is kept too, and under the same question."""
    await ask(stage, stage.ada.caller.headers)
    cookie = {"Cookie": f"{COOKIE}={stage.ada.token}"}
    with capture_logs() as logs:
        assert (await ask(stage, stage.ada.caller.headers)).status_code == 200
        assert logs == []
        assert (await ask(stage, {**cookie, **PAGE})).status_code == 200
        assert [entry["event"] for entry in logs] == ["request"]
    assert await hits(stage) == 2
    assert (await ask(stage, cookie)).status_code == 403


async def test_who_has_the_answer_already_is_told_so_when_asking_by_get(stage: Stage) -> None:
    first = await get(stage, stage.ada.caller.headers)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers["vary"] == "Authorization, Cookie, Accept"
    for tag in (etag, f'"another", W/{etag}', "*"):
        for more in ({}, {"Origin": "https://elsewhere.example"}):  # at the door, and in the view
            answer = await get(stage, {**stage.ada.caller.headers, "If-None-Match": tag, **more})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
            assert answer.headers["cache-control"] == "private, no-cache"
    await named(stage, "Charts")
    changed = await get(stage, {**stage.ada.caller.headers, "If-None-Match": etag})
    assert (changed.status_code, changed.json()["data"]["project"]["name"]) == (200, "Charts")
    assert changed.headers["etag"] != etag


async def test_what_a_post_is_answered_with_nobody_stores(stage: Stage) -> None:
    for _ in range(2):
        answer = await ask(stage, {**stage.ada.caller.headers, "If-None-Match": "*"})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert "etag" not in answer.headers


async def test_what_is_never_kept_has_no_etag_and_nobody_stores_it(stage: Stage) -> None:
    for query in ("{ eventCursor }", "{ project }", USAGE):
        for _ in range(2):
            answer = await get(stage, stage.ada.caller.headers, query)
            assert answer.headers["cache-control"] == "no-store"
            assert "etag" not in answer.headers
    assert await hits(stage) == 0


async def test_each_acknowledged_change_is_seen_by_the_next_read(stage: Stage) -> None:
    for number in range(20):
        await named(stage, f"Maps {number}")
        for answer in (await ask(stage, stage.ada.caller.headers), await ask(stage, stage.ada.caller.headers)):
            assert answer.json()["data"]["project"]["name"] == f"Maps {number}"
    assert await hits(stage) == 20


async def test_a_write_says_where_it_stands_in_the_log_and_who_gives_that_back_sees_it(stage: Stage) -> None:
    """Here another process writes, which this one may hear of a moment later."""
    write = 'mutation ($id: ID!) { projectUpdate(input: {projectId: $id, name: "Charts"}) { project { id } } }'
    written = await ask(stage, stage.ada.caller.headers, write)
    assert (await ask(stage, stage.ada.caller.headers)).json()["data"]["project"]["name"] == "Charts"
    position = CURSORS.position(written.headers["tessera-revision"])
    await projects.update(stage.ada.actor, stage.project.id, {"name": "Plans"})
    elsewhere = {"Tessera-Revision": CURSORS.give(position + 1)}
    answer = await ask(stage, {**stage.ada.caller.headers, **elsewhere})
    assert answer.json()["data"]["project"]["name"] == "Plans"
    of_another_log = {"Tessera-Revision": CURSORS.give(position + 100)}
    answer = await ask(stage, {**stage.ada.caller.headers, **of_another_log})
    assert answer.json()["data"]["project"]["name"] == "Plans"


async def test_a_revision_that_was_never_given_is_refused(stage: Stage) -> None:
    answer = await ask(stage, {**stage.ada.caller.headers, "Tessera-Revision": "17"})
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_INPUT")


async def test_a_session_that_ended_is_given_nothing_though_its_token_was_known(stage: Stage) -> None:
    for _ in range(2):
        assert (await ask(stage, stage.ada.caller.headers)).status_code == 200
    await stage.ada.do("signOut", "__typename")
    assert (await ask(stage, stage.ada.caller.headers)).status_code == 401


async def test_a_session_that_is_over_is_given_nothing(stage: Stage) -> None:
    cy = (await signed_in(stage.http, "Cy")).actor
    short = {"Authorization": f"Bearer {await session_token(cy, timedelta(seconds=2))}"}
    answers = [await ask(stage, short) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (await ask_until_refused(stage, short)).status_code == 401


@pytest.mark.parametrize("fate", ["keyRevoke", "keySuspend"])
async def test_a_key_that_is_no_good_is_given_nothing_though_its_token_was_known(stage: Stage, fate: str) -> None:
    key_id, token = await stage.key()
    by_key = {"Authorization": f"Bearer {token}"}
    answers = [await ask(stage, by_key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert await hits(stage) == 1
    await stage.ada.do(fate, "issuedKey { id }", keyId=key_id)
    assert (await ask(stage, by_key)).status_code == 401


async def test_who_can_t_read_the_log_gives_nothing_that_was_kept(stage: Stage, can_be_read: asyncio.Event) -> None:
    assert [(await ask(stage, stage.ada.caller.headers)).status_code for _ in range(2)] == [200, 200]
    can_be_read.clear()
    assert (await ask_until_refused(stage, stage.ada.caller.headers)).status_code == 503
    can_be_read.set()
    assert (await ask(stage, stage.ada.caller.headers)).status_code == 200


async def test_a_body_that_comes_in_parts_is_answered_as_one(stage: Stage) -> None:
    whole = await ask(stage, stage.ada.caller.headers)

    async def parts() -> AsyncIterator[bytes]:
        for part in (whole.request.content[:10], whole.request.content[10:]):
            yield part
            await asyncio.sleep(0.05)  # so that they arrive apart

    headers = {**stage.ada.caller.headers, "Content-Type": "application/json"}
    answer = await stage.http.post("/graphql", content=parts(), headers=headers)
    assert (answer.status_code, answer.content) == (200, whole.content)


async def test_one_setting_turns_it_off(database_url: str, tmp_path: Path) -> None:
    async with staged(database_url, tmp_path, kept_answers_megabytes=0) as stage:
        for _ in range(2):
            answer = await get(stage, stage.ada.caller.headers)
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            assert "etag" not in answer.headers
        assert await hits(stage) == 0
