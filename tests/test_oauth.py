"""What tokens are to those who may know, and how whoever has one ends it, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from gateway import clock, keys, users
from gateway.oauth import LONGEST_FORM_BYTES, _sole_token
from gateway.permissions import EVERYTHING, GATEWAY, Permission
from gateway.signing import seconds
from models import AuditEntry, Grant, IssuedKey, KeyState, Member, Role, Session
from tests.following import Ended
from tests.stage import Stage, session_token, staged
from tests.test_app import problem_of
from tests.world import by_key, owned_project, role, template, told, unchanged

INTROSPECT, REVOKE = "/oauth/introspect", "/oauth/revoke"
PAGE = {"Origin": "http://127.0.0.1:8000", "X-Tessera-CSRF": "1"}
both_endpoints = pytest.mark.parametrize("path", [INTROSPECT, REVOKE])


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        yield stage


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def introspected(stage: Stage, token: str, by: str | None = None) -> dict[str, Any]:
    """What Ada, or the holder of another token, is told."""
    answer = await stage.http.post(INTROSPECT, data={"token": token}, headers=bearer(by or stage.ada.token))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


async def revoked(stage: Stage, token: str, **more: str) -> httpx2.Response:
    answer = await stage.http.post(REVOKE, data={"token": token, **more})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    return answer


async def key_with(stage: Stage, *permissions: Permission, name: str = "Other") -> tuple[str, str]:
    """The role's id, and the token of a key of Bo's with it."""
    held = await role(stage.project, *permissions, name=name)
    request_id = await stage.ask_for_key(template=await template(stage.project, held, name))
    return held.id, await approved(stage, request_id)


async def approved(stage: Stage, request_id: str) -> str:
    payload = await stage.ada.do("keyRequestApprove", "request { issuedKey { id } }", requestId=request_id)
    return str((await stage.bo.do("keyReveal", "token", keyId=payload["request"]["issuedKey"]["id"]))["token"])


# ---------------------------------------------------------------- introspection: what is told


async def test_a_good_token_is_told_with_its_claims_and_what_it_permits(stage: Stage) -> None:
    expires_at = "2099-01-01T00:00:00Z"
    key_id, token = await stage.key(expiresAt=expires_at)
    key = await IssuedKey.get(id=key_id)
    assert key.expires_at is not None
    assert await introspected(stage, token) == {
        "active": True,
        "iss": "http://127.0.0.1:8000",
        "sub": stage.bo.id,
        "aud": stage.project.id,
        "jti": f"{key_id}.1",
        "iat": seconds(key.received_at),
        "exp": seconds(key.expires_at) + 1,
        "token_type": "Bearer",
        "client_id": key_id,
        "scope": "project_view",
    }


async def test_a_key_without_an_end_is_told_without_one(stage: Stage) -> None:
    _, token = await stage.key()
    assert "exp" not in await introspected(stage, token)


async def test_the_scope_is_what_the_role_permits_on_the_whole_project_at_this_call(stage: Stage) -> None:
    role_id, token = await key_with(stage, Permission.PACKAGE_VIEW, Permission.PROJECT_VIEW)
    assert (await introspected(stage, token))["scope"] == "project_view package_view"
    await Grant.filter(role_id=role_id, permission="package_view").delete()
    assert (await introspected(stage, token))["scope"] == "project_view"
    await Grant.filter(role_id=role_id).delete()
    assert "scope" not in await introspected(stage, token)
    await Grant.create(role_id=role_id, permission="project_manage")
    assert set((await introspected(stage, token))["scope"].split()) == set(EVERYTHING)


async def test_asking_changes_nothing(stage: Stage) -> None:
    _, token = await stage.key()
    async with unchanged():
        await introspected(stage, token)
        await introspected(stage, "unknown")


# ---------------------------------------------------------------- introspection: to whom


async def test_a_key_may_ask_about_itself_and_others_of_its_project(stage: Stage) -> None:
    _, token = await stage.key()
    _, powerless = await key_with(stage)
    assert (await introspected(stage, token, by=token))["active"]
    assert (await introspected(stage, token, by=powerless))["active"]


async def test_whoever_manages_the_project_may_ask(stage: Stage) -> None:
    _, token = await stage.key()
    manager = await stage.enter("Max", Permission.PROJECT_MANAGE)
    assert (await introspected(stage, token, by=manager.token))["active"]
    await Member.filter(user_id=manager.id).update(deleted_at=clock.now())
    assert await introspected(stage, token, by=manager.token) == {"active": False}


async def test_to_everyone_else_the_token_is_inactive(stage: Stage) -> None:
    _, token = await stage.key()
    analyst = await stage.enter("Ann", Permission.PROJECT_VIEW, Permission.KEYS_VIEW)
    elsewhere = await stage.enter("Eve")
    await owned_project(elsewhere.actor, "Elsewhere")
    for who in (analyst, elsewhere, stage.bo):
        assert await introspected(stage, token, by=who.token) == {"active": False}


async def test_a_key_of_another_project_is_told_nothing_whatever_it_may_do_there(stage: Stage) -> None:
    _, token = await stage.key()
    other = await owned_project(stage.ada.actor, "Other")
    await role(other, Permission.PROJECT_VIEW, is_public=True)
    owning = await Role.get(project_id=other.id, is_owner=True)
    foreign = await approved(stage, await stage.ask_for_key(template=await template(other, owning)))
    assert (await introspected(stage, foreign))["active"]
    assert await introspected(stage, token, by=foreign) == {"active": False}
    assert await introspected(stage, foreign, by=token) == {"active": False}


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer x", "Basic dXNlcjpwYXNz", "Bearer e30.e30.e30"])
async def test_who_has_no_good_credential_is_asked_for_one(stage: Stage, authorization: str | None) -> None:
    _, token = await stage.key()
    headers = {"Authorization": authorization} if authorization else {}
    answer = await stage.http.post(INTROSPECT, data={"token": token}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["cache-control"] == "no-store"
    problem_of(answer)


async def test_a_credential_that_ended_is_no_good_at_once_though_another_process_ended_it(stage: Stage) -> None:
    key_id, token = await stage.key()
    session = await session_token(stage.ada.actor)
    await keys.revoke(by_key(stage.bo.actor, await IssuedKey.get(id=key_id)), key_id)
    await Session.filter(user_id=stage.ada.id).delete()
    for ended in (token, session):
        answer = await stage.http.post(INTROSPECT, data={"token": token}, headers=bearer(ended))
        assert answer.status_code == 401


async def test_a_page_asks_with_its_cookie_under_the_rules_of_cookies(stage: Stage) -> None:
    _, token = await stage.key()
    cookie = {"Cookie": f"tessera_session={stage.ada.token}"}
    cases: list[tuple[dict[str, str], int]] = [
        ({**cookie, **PAGE}, 200),
        (cookie, 403),
        ({**cookie, **PAGE, "Origin": "https://evil.example"}, 403),
        ({**cookie, "Origin": PAGE["Origin"]}, 403),
        ({**cookie, **PAGE, **bearer(stage.ada.token)}, 400),
    ]
    for headers, status in cases:
        answer = await stage.http.post(INTROSPECT, data={"token": token}, headers=headers)
        assert answer.status_code == status
        if status == 200:
            assert answer.json()["active"]
        else:
            problem_of(answer)


# ---------------------------------------------------------------- tokens that are no good, or not asked about here

Spoil = Callable[[Stage, str, str], Awaitable[str]]


async def unknown(_: Stage, __: str, ___: str) -> str:
    return "unknown"


async def forged(_: Stage, __: str, token: str) -> str:
    return token[:-10] + ("A" * 10 if not token.endswith("A" * 10) else "B" * 10)


async def already_revoked(stage: Stage, key_id: str, token: str) -> str:
    await stage.ada.do("keyRevoke", "issuedKey { id }", keyId=key_id)
    return token


async def rotated_out(stage: Stage, key_id: str, token: str) -> str:
    await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=0)
    return token


async def expired(_: Stage, key_id: str, token: str) -> str:
    key = await IssuedKey.get(id=key_id)
    await IssuedKey.filter(id=key_id).update(expires_at=key.received_at)
    await keys.expire_due()
    return token


async def signing_key_withdrawn(stage: Stage, key_id: str, token: str) -> str:
    [signing_key] = (await stage.http.get("/.well-known/jwks.json")).json()["keys"]
    await keys.withdraw_signing_key(GATEWAY, signing_key["kid"])
    return token


async def ended_session(stage: Stage, _: str, __: str) -> str:
    token = await session_token(stage.bo.actor)
    await users.sign_out(stage.bo.actor, everywhere=True)
    return token


ENDED: list[Spoil] = [
    unknown,
    forged,
    already_revoked,
    rotated_out,
    expired,
    signing_key_withdrawn,
    ended_session,
]


async def suspended(stage: Stage, key_id: str, token: str) -> str:
    await stage.ada.do("keySuspend", "issuedKey { id }", keyId=key_id)
    return token


async def living_session(stage: Stage, _: str, __: str) -> str:
    return str(stage.ada.token)


@pytest.mark.parametrize("spoil", [*ENDED, suspended, living_session])
async def test_an_inactive_token_of_whatever_kind_is_told_in_the_same_words(stage: Stage, spoil: Spoil) -> None:
    token = await spoil(stage, *await stage.key())
    answers = [
        await stage.http.post(INTROSPECT, data={"token": each}, headers=bearer(stage.ada.token))
        for each in (token, "never was one")
    ]
    assert [answer.content for answer in answers] == [b'{"active":false}'] * 2
    assert same_but_for_the_request(answers)


def same_but_for_the_request(answers: list[httpx2.Response]) -> bool:
    own = {"date", "x-request-id"}
    told = [
        (answer.status_code, answer.content, [each for each in answer.headers.items() if each[0] not in own])
        for answer in answers
    ]
    return all(each == told[0] for each in told)


@pytest.mark.parametrize("token", [" ", "\x00", "é", "a.b.c", "e30.e30.e30", ".", "..", "x" * 10_000, "e30." * 2])
async def test_what_can_t_be_a_token_is_an_inactive_one(stage: Stage, token: str) -> None:
    async with unchanged():
        assert await introspected(stage, token) == {"active": False}
        await revoked(stage, token)


# ---------------------------------------------------------------- revocation


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "of another kind"])
async def test_whoever_has_a_keys_token_ends_the_key_and_the_key_is_told_as_who_did(
    stage: Stage, hint: str | None
) -> None:
    key_id, token = await stage.key()
    position = len(await told())
    await revoked(stage, token, **({"token_type_hint": hint} if hint else {}))
    key = await IssuedKey.get(id=key_id)
    assert (key.state, key.revoked_by_id) == (KeyState.REVOKED, stage.bo.id)
    assert await told(position) == [("key.revoked", key_id)]
    entry = await AuditEntry.get(action="key.revoked")
    assert (entry.user_id, entry.key_id, entry.object_id) == (stage.bo.id, key_id, key_id)
    assert entry.address == "127.0.0.1"
    assert await introspected(stage, token) == {"active": False}


async def test_a_suspended_key_can_be_ended_too(stage: Stage) -> None:
    key_id, token = await stage.key()
    await users.disable(GATEWAY, stage.bo.id)
    assert (await IssuedKey.get(id=key_id)).state is KeyState.SUSPENDED
    await revoked(stage, token)
    assert (await IssuedKey.get(id=key_id)).state is KeyState.REVOKED


async def test_an_earlier_token_that_has_not_ended_ends_the_key(stage: Stage) -> None:
    key_id, token = await stage.key()
    await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=600)
    await revoked(stage, token)
    assert (await IssuedKey.get(id=key_id)).state is KeyState.REVOKED


async def test_whoever_has_a_sessions_token_ends_that_session_alone(stage: Stage) -> None:
    token = await session_token(stage.bo.actor)
    ending = await Session.filter(user_id=stage.bo.id).order_by("-id").first()
    assert ending is not None
    await revoked(stage, token)
    left = await Session.filter(user_id=stage.bo.id, ended_at=None)
    assert len(left) == 1
    assert ending not in left
    assert await told(len(await told()) - 1) == [("session.ended", ending.id)]
    await stage.ask_for_key()


@pytest.mark.parametrize("spoil", ENDED)
async def test_a_token_that_has_ended_or_never_was_changes_nothing_and_nothing_tells(
    stage: Stage, spoil: Spoil
) -> None:
    key_id, token = await stage.key()
    spoilt = await spoil(stage, key_id, token)
    async with unchanged():
        answers = [await revoked(stage, each) for each in (spoilt, "never was one")]
    living = await session_token(stage.bo.actor)
    assert same_but_for_the_request([*answers, await revoked(stage, living), await revoked(stage, living)])


async def test_a_key_is_ended_once_however_many_say_so(stage: Stage) -> None:
    _, token = await stage.key()
    position = len(await told())
    await asyncio.gather(*(revoked(stage, token) for _ in range(8)))
    assert len(await told(position)) == 1


async def test_it_is_obeyed_without_waiting_for_the_next_look_at_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await stage.key()
    query = "subscription ($after: EventCursor) { viewerKeyEvents(after: $after) { type } }"
    async with stage.follow("websocket", query, token, after=await stage.event_cursor()) as events:
        for name in ("POLL_SECONDS", "FRESH_SECONDS"):
            monkeypatch.setattr(f"gateway.events.{name}", 3600.0)
        another = await template(stage.project, stage.viewing, "Another")
        await stage.ask_for_key(template=another)  # after which the log is looked at so seldom
        await events.next()
        await revoked(stage, token)
        codes: list[int | None] = []
        while not codes:
            try:
                await events.next()
            except Ended as ended:
                codes.append(ended.code)
    assert codes == [4403]


async def test_how_often_it_is_tried_from_an_address_is_limited_whatever_the_token(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.oauth.REVOKE_PER_ADDRESS", parse("2 per hour"))
    _, token = await stage.key()
    for _ in range(2):
        await revoked(stage, "unknown")
    async with unchanged():
        answers = [await stage.http.post(REVOKE, data={"token": each}) for each in (token, "unknown")]
    assert [answer.status_code for answer in answers] == [429, 429]
    assert answers[0].headers["retry-after"]
    assert problem_of(answers[0]) == problem_of(answers[1])


# ---------------------------------------------------------------- forms


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MALFORMED: list[tuple[str, dict[str, str], bytes, int]] = [
    ("nothing", FORM, b"", 400),
    ("another parameter", FORM, b"tokens=x", 400),
    ("an empty token", FORM, b"token=", 400),
    ("a token without a value", FORM, b"token", 400),
    ("two tokens", FORM, b"token=x&token=x", 400),
    ("a token and an empty one", FORM, b"token=x&token=", 400),
    ("two hints", FORM, b"token=x&token_type_hint=a&token_type_hint=b", 400),
    ("no ASCII", FORM, "token=é".encode(), 400),
    ("no UTF-8", FORM, b"token=%ff", 400),
    ("too large", FORM, b"token=" + b"x" * LONGEST_FORM_BYTES, 413),
    ("JSON", {"Content-Type": "application/json"}, b'{"token": "x"}', 415),
    ("parts", {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
    ("no type", {}, b"token=x", 415),
    ("compressed", {**FORM, "Content-Encoding": "gzip"}, b"token=x", 415),
]


@both_endpoints
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_what_is_no_form_with_one_token_is_refused(stage: Stage, path: str) -> None:
    for what, headers, body, status in MALFORMED:
        async with unchanged():
            answer = await stage.http.post(path, content=body, headers={**bearer(stage.ada.token), **headers})
        assert (what, answer.status_code) == (what, status)
        assert answer.headers["cache-control"] == "no-store"
        problem_of(answer)


@both_endpoints
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_token_in_the_address_is_none(stage: Stage, path: str) -> None:
    _, token = await stage.key()
    async with unchanged():
        answer = await stage.http.post(
            path, params={"token": token}, content=b"", headers={**FORM, **bearer(stage.ada.token)}
        )
    assert answer.status_code == 400


@both_endpoints
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_a_token_is_posted_or_nothing(stage: Stage, path: str, method: str) -> None:
    answer = await stage.http.request(method, path, headers=bearer(stage.ada.token))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_caller_who_goes_away_amid_the_form_is_no_fault_of_ours(stage: Stage) -> None:
    host, port = stage.url.removeprefix("http://").split(":")
    with capture_logs() as entries:
        _, writer = await asyncio.open_connection(host, int(port))
        lines = [
            f"POST {REVOKE} HTTP/1.1",
            "Host: tessera",
            f"Content-Type: {FORM['Content-Type']}",
            "Content-Length: 9",
        ]
        writer.write("\r\n".join([*lines, "", "token="]).encode())
        await writer.drain()
        writer.close()
        async with asyncio.timeout(60):
            while not entries:  # noqa: ASYNC110  # the log says when
                await asyncio.sleep(0.01)
    assert [(entry["path"], entry["status"]) for entry in entries] == [(REVOKE, 400)]


@given(
    st.text(min_size=1),
    st.dictionaries(st.text().filter(lambda name: name != "token"), st.text(), max_size=5),
)
def test_the_token_of_a_form_is_read_as_it_was_written(token: str, others: dict[str, str]) -> None:
    assert _sole_token(urlencode({**others, "token": token}).encode()) == token


@given(st.binary(max_size=200))
def test_a_form_that_can_t_be_read_is_the_callers_mistake(body: bytes) -> None:
    with suppress(HTTPException):
        assert _sole_token(body)
