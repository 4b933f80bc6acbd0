"""A gateway that can't read the event log for a second says neither yes nor no, and ends what is open."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway import clock
from gateway.auth import Authenticator
from models import IssuedKey, KeyState
from tests.following import TRANSPORTS, Ended, Following
from tests.stage import Stage, staged
from tests.test_websocket import opened

OWN = "subscription { viewerKeyEvents { cursor } }"
WHO = "{ viewer { user { id } } }"


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        yield stage


async def asked(stage: Stage, token: str) -> list[httpx2.Response]:
    """GraphQL and introspection, of which neither is metered."""
    bearer = {"Authorization": f"Bearer {token}"}
    return [
        await stage.http.post("/graphql", json={"query": WHO}, headers=bearer),
        await stage.http.post("/oauth/introspect", data={"token": token}, headers=bearer),
    ]


async def ending_of(events: Following) -> tuple[list[str], int | None]:
    """The codes of the last errors, and of the socket's end."""
    codes: list[str] = []
    while True:
        try:
            codes += (await events.next()).codes
        except Ended as ended:
            return codes, ended.code


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_can_t_read_the_log_for_a_second_ends_what_is_open_and_answers_503_until_it_can(
    stage: Stage, can_be_read: asyncio.Event, transport: str
) -> None:
    _, token = await stage.key()
    async with asyncio.timeout(60), stage.follow(transport, OWN, token) as events:
        assert [answer.status_code for answer in await asked(stage, token)] == [200, 200]
        can_be_read.clear()
        ending = ([], 1013) if transport == "websocket" else (["UNAVAILABLE"], None)
        assert await ending_of(events) == ending
        for answer in await asked(stage, token):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        can_be_read.set()
        assert [answer.status_code for answer in await asked(stage, token)] == [200, 200]


async def test_each_operation_on_a_socket_asks_whose_its_token_is_now(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the event that ends the token has not come yet."""

    async def unaware(*_: object) -> None:
        await asyncio.Future()

    # What watches over the socket may look at the key just after it is suspended, and would end the socket first.
    monkeypatch.setattr(Authenticator, "ended", unaware)
    key_id, token = await stage.key()
    async with opened(f"{stage.url}/graphql") as client:
        await client.init({"authorization": f"Bearer {token}"})
        await client.subscribe(WHO)
        assert (await client.receive())["type"] == "next"
        assert (await client.receive())["type"] == "complete"
        await IssuedKey.filter(id=key_id).update(state=KeyState.SUSPENDED, suspended_at=clock.now())
        await client.subscribe(WHO)
        refused = await client.receive()
    assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "UNAUTHENTICATED")
