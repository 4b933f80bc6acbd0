"""Who is on a socket or a stream is on it as long as their token is good: it ends within a second of the token."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway import clock, keys, users
from gateway.permissions import GATEWAY
from models import KeyGeneration, SigningKey, User
from tests.callers import PASSWORD, PASSWORD_HASH
from tests.following import TRANSPORTS, Ended, Following
from tests.stage import Stage, read, session_token, staged
from tests.world import template

OWN = "subscription ($after: EventCursor) { viewerKeyEvents(after: $after) { cursor type } }"
WITHIN = timedelta(seconds=1)
SOON = timedelta(seconds=1.5)
LASTS = 600


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        yield stage


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def token_ended_at(transport: str, events: Following) -> datetime:
    """When the server ended it, saying that this is for the token's sake."""
    codes: list[str] = []

    async def read_on() -> None:
        while True:
            codes.extend((await events.next()).codes)

    with pytest.raises(Ended) as ending:
        await read_on()
    ended_at = clock.now()
    assert (codes, ending.value.code) == (([], 4403) if transport == "websocket" else (["UNAUTHENTICATED"], None))
    return ended_at


on_one_database = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def still_followed(stage: Stage, events: Following) -> None:
    """Fails unless the events of Bo's go on."""
    another = await template(stage.project, stage.viewing, f"Another, {clock.now()}")
    request_id = await stage.ask_for_key(template=another)
    await stage.bo.do("keyRequestCancel", "request { id }", requestId=request_id)
    types: list[str] = []
    while "CANCELLED" not in types:
        types.append((await events.next()).data["type"])


# ---------------------------------------------------------------- a key's

End = Callable[[Stage, str], Awaitable[object]]


async def revoke(stage: Stage, key_id: str) -> None:
    await stage.ada.do("keyRevoke", "issuedKey { id }", keyId=key_id)


async def suspend(stage: Stage, key_id: str) -> None:
    await stage.ada.do("keySuspend", "issuedKey { id }", keyId=key_id)


async def rotate(stage: Stage, key_id: str) -> None:
    await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=0)


async def delete_project(stage: Stage, _: str) -> None:
    await stage.ada.do("projectDelete", "deletedId", projectId=stage.project.id)


async def disable_holder(stage: Stage, _: str) -> None:
    """By another process, of which this one reads in the log alone."""
    await users.disable(GATEWAY, stage.bo.id)


async def withdraw_signing_key(_: Stage, key_id: str) -> None:
    generation = await KeyGeneration.get(key_id=key_id)
    await keys.withdraw_signing_key(GATEWAY, (await SigningKey.get(id=generation.signing_key_id)).id)


@pytest.mark.parametrize("end", [revoke, suspend, rotate, delete_project, disable_holder, withdraw_signing_key])
async def test_what_ends_a_keys_token_ends_what_it_opened_within_a_second(
    stage: Stage, transport: str, end: End
) -> None:
    key_id, token = await stage.key()
    async with stage.follow(transport, OWN, token, after=await stage.event_cursor()) as events:
        await still_followed(stage, events)
        await end(stage, key_id)
        ended_at = clock.now()
        assert await token_ended_at(transport, events) < ended_at + WITHIN


async def test_a_keys_time_ends_what_it_opened_and_is_told_once(stage: Stage, transport: str) -> None:
    after, expires_at = await stage.event_cursor(), clock.now() + SOON
    _, token = await stage.key(expiresAt=expires_at.isoformat())
    async with (
        stage.follow(transport, OWN, token, after=after) as events,
        stage.follow(transport, OWN, stage.bo.token, after=after) as of_bo,
    ):
        await events.next()
        assert expires_at <= await token_ended_at(transport, events) < expires_at + WITHIN
        async with asyncio.timeout(60):
            told = await read(of_bo, 3)
        await stage.ask_for_key()
        told.append(await of_bo.next())
    assert [each.data["type"] for each in told] == ["REQUESTED", "APPROVED", "EXPIRED", "REQUESTED"]


async def test_a_keys_time_is_told_once_by_however_many_processes(stage: Stage) -> None:
    after, expires_at = await stage.event_cursor(), clock.now() + SOON
    await stage.key(expiresAt=expires_at.isoformat())
    async with stage.follow("sse", OWN, stage.bo.token, after=after) as of_bo:
        while clock.now() < expires_at + WITHIN:
            await asyncio.gather(*(keys.expire_due() for _ in range(8)))
        await stage.ask_for_key()
        told = [each.data["type"] for each in await read(of_bo, 4)]
    assert told == ["REQUESTED", "APPROVED", "EXPIRED", "REQUESTED"]


async def test_the_end_of_an_overlap_ends_what_the_earlier_token_opened(stage: Stage, transport: str) -> None:
    key_id, earlier = await stage.key()
    rotated = await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=LASTS)
    after = await stage.event_cursor()
    async with (
        stage.follow(transport, OWN, earlier, after=after) as events,
        stage.follow(transport, OWN, rotated["token"], after=after) as later_events,
    ):
        asked_at = clock.now()
        present = await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=1)
        answered_at = clock.now()
        async with stage.follow(transport, OWN, present["token"], after=after) as present_events:
            for each in (events, later_events):
                ended_at = await token_ended_at(transport, each)
                assert asked_at + timedelta(seconds=1) <= ended_at < answered_at + timedelta(seconds=1) + WITHIN
            await still_followed(stage, present_events)


@on_one_database
async def test_a_key_that_leaves_its_project_goes_on(stage: Stage, transport: str) -> None:
    """So does what it opened, whatever happens to its holder's other tokens."""
    _, token = await stage.key()
    async with stage.follow(transport, OWN, token, after=await stage.event_cursor()) as events:
        on_it = {"projectId": stage.project.id, "user": {"userId": stage.bo.id}}
        for role_ids in ([stage.viewing.id], []):
            await stage.ada.do("memberSetRoles", "member { id }", **on_it, roleIds=role_ids)
        signed_out = await session_token(stage.bo.actor)
        await stage.http.post(
            "/graphql",
            json={"query": "mutation { signOut(input: {}) { userErrors { code } } }"},
            headers={"Authorization": f"Bearer {signed_out}"},
        )
        await still_followed(stage, events)


# ---------------------------------------------------------------- a session's


async def sign_out(stage: Stage) -> None:
    await stage.bo.do("signOut", "__typename")


async def sign_out_everywhere(stage: Stage) -> None:
    elsewhere = await session_token(stage.bo.actor)
    stage.bo.caller.token, stage.bo.caller.token = elsewhere, stage.bo.caller.token
    await stage.bo.do("signOut", "__typename", everywhere=True)


async def change_password(stage: Stage) -> None:
    await stage.bo.do("passwordChange", "token", currentPassword=PASSWORD, newPassword="a better horse")


async def disable(stage: Stage) -> None:
    await users.disable(GATEWAY, stage.bo.id)


@on_one_database
@pytest.mark.parametrize("end", [sign_out, sign_out_everywhere, change_password, disable])
async def test_what_ends_a_session_ends_what_it_opened_within_a_second(
    stage: Stage, transport: str, end: Callable[[Stage], Awaitable[None]]
) -> None:
    await User.filter(id=stage.bo.id).update(password_hash=PASSWORD_HASH)
    async with stage.follow(transport, OWN, stage.bo.token, after=await stage.event_cursor()) as events:
        await still_followed(stage, events)
        await end(stage)
        ended_at = clock.now()
        assert await token_ended_at(transport, events) < ended_at + WITHIN


@on_one_database
async def test_a_sessions_time_ends_what_it_opened(stage: Stage, transport: str) -> None:
    expires_at = clock.now() + SOON
    token = await session_token(stage.bo.actor, SOON)
    async with stage.follow(transport, OWN, token) as events:
        ended_at = await token_ended_at(transport, events)
    assert expires_at - WITHIN < ended_at < expires_at + WITHIN


@on_one_database
async def test_another_session_of_the_user_goes_on(stage: Stage, transport: str) -> None:
    other = await session_token(stage.bo.actor)
    async with stage.follow(transport, OWN, stage.bo.token, after=await stage.event_cursor()) as events:
        answer = await stage.http.post(
            "/graphql",
            json={"query": "mutation { signOut(input: {}) { userErrors { code } } }"},
            headers={"Authorization": f"Bearer {other}"},
        )
        assert answer.json() == {"data": {"signOut": {"userErrors": []}}}
        await still_followed(stage, events)
