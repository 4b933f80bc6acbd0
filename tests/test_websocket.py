"""The graphql-transport-ws protocol, on a small schema and a real server."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect

from schema.transport.limits import Limits
from tests.test_sse import ABRUPT_CLOSES, ENDLESS, FLOOD, live_subscriptions, settled
from tests.toy import ORIGIN, PARTNER, Toy, serving_toy

PROTOCOL = "graphql-transport-ws"
COOKIE = {"Cookie": "tessera_session=good"}
GOOD = {"authorization": "Bearer good"}


class Client:
    """One socket, speaking in the protocol's messages."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            return dict(json.loads(await self.socket.recv()))

    async def init(self, payload: Mapping[str, object] | None = None) -> None:
        await self.send(type="connection_init", **({"payload": payload} if payload is not None else {}))
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, query: str, id: str = "1", **members: Any) -> None:
        await self.send(type="subscribe", id=id, payload={"query": query, **members})

    async def close_code(self) -> int | None:
        async with asyncio.timeout(60):
            try:
                while True:
                    await self.socket.recv()
            except websockets.ConnectionClosed:
                return self.socket.close_code


@asynccontextmanager
async def opened(url: str, headers: dict[str, str] | None = None, protocol: str = PROTOCOL) -> AsyncIterator[Client]:
    address = url.replace("http://", "ws://")
    subprotocols = [websockets.Subprotocol(protocol)]
    async with connect(
        address, subprotocols=subprotocols, additional_headers=headers, compression=None, proxy=None
    ) as socket:
        yield Client(socket)


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
async def url(toy: Toy) -> AsyncIterator[str]:
    async with serving_toy(toy, Limits(operations_per_socket=3)) as url:
        yield url


# ---------------------------------------------------------------- the protocol


async def test_a_subscription_sends_its_events_and_completes(url: str) -> None:
    async with opened(url) as client:
        await client.init()
        await client.subscribe("subscription($n: Int) { ticks(first: $n) }", variables={"n": 2})
        assert await client.receive() == {"type": "next", "id": "1", "payload": {"data": {"ticks": 1}}}
        assert await client.receive() == {"type": "next", "id": "1", "payload": {"data": {"ticks": 2}}}
        assert await client.receive() == {"type": "complete", "id": "1"}


async def test_a_query_and_a_named_operation_are_answered_too(url: str) -> None:
    async with opened(url) as client:
        await client.init()
        await client.subscribe('query A { hello } query B { hello(name: "B") }', operationName="B")
        assert (await client.receive())["payload"] == {"data": {"hello": "Hello, B!"}}
        assert (await client.receive())["type"] == "complete"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "BAD_INPUT"),
        ("{ nothing }", "BAD_INPUT"),
        ("query A { hello } query B { hello }", "BAD_INPUT"),
        ("", "BAD_INPUT"),
        ("mutation { signIn signOut }", "BAD_INPUT"),
        ("subscription { a: ticks b: ticks }", "BAD_INPUT"),
        ("{ " + "a: hello " * 60 + "}", "BAD_INPUT"),
    ],
)
async def test_a_faulty_operation_is_answered_with_an_error_and_the_socket_lives_on(
    url: str, query: str, code: str
) -> None:
    with capture_logs() as logs:
        async with opened(url) as client:
            await client.init()
            await client.subscribe(query, id="faulty")
            message = await client.receive()
            assert (message["type"], message["id"]) == ("error", "faulty")
            assert {error["extensions"]["code"] for error in message["payload"]} <= {code, "LIMIT_EXCEEDED"}
            assert all(error["extensions"]["requestId"] for error in message["payload"])
            await client.subscribe("{ hello }")
            assert (await client.receive())["payload"] == {"data": {"hello": "Hello, world!"}}
    assert logs == []


@pytest.mark.parametrize(("field", "code"), [("expired", "CURSOR_EXPIRED"), ("faulty", "INTERNAL")])
async def test_a_subscription_that_fails_later_ends_with_an_error(url: str, field: str, code: str) -> None:
    async with opened(url) as client:
        await client.init()
        await client.subscribe(f"subscription {{ {field} }}")
        assert (await client.receive())["type"] == "next"
        message = await client.receive()
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", code)
        assert "password" not in str(message)


async def test_operations_of_one_socket_have_contexts_of_their_own(url: str, toy: Toy) -> None:
    async with opened(url) as client:
        await client.init()
        for id in ("1", "2"):
            await client.subscribe("{ viewer }", id=id)
            await client.receive()
            await client.receive()
    first, second = toy.contexts
    assert first is not second
    assert first.request_id != second.request_id


async def test_complete_from_the_client_ends_the_subscription_and_frees_its_id(url: str, toy: Toy) -> None:
    async with opened(url) as client:
        await client.init()
        for _ in range(2):
            await client.subscribe(ENDLESS)
            assert [(await client.receive())["payload"]["data"]["ticks"] for _ in range(3)] == [1, 2, 3]
            await client.send(type="complete", id="1")
            await toy.until_open(0)


async def test_a_socket_carries_so_many_operations_at_once_and_no_more(url: str, toy: Toy) -> None:
    async with opened(url) as client:
        await client.init()
        for id in "123":
            await client.subscribe(ENDLESS, id=id)
        await toy.until_open(3)
        await client.subscribe(ENDLESS, id="4")
        while (message := await client.receive())["type"] == "next":
            pass
        assert (message["type"], message["id"]) == ("error", "4")
        assert message["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        assert toy.open_generators == 3


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 5000,
        '"ping"',
        "{}",
        '{"type": 1}',
        '{"type": "unknown"}',
        '{"type": "complete", "id": []}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": 1, "payload": {}}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "subscribe", "id": "1", "payload": {}}',
    ],
)
async def test_a_message_that_is_none_closes_4400(url: str, text: str) -> None:
    async with opened(url) as client:
        await client.init()
        await client.socket.send(text)
        assert await client.close_code() == 4400


async def test_the_protocols_order_is_kept(url: str, toy: Toy) -> None:
    async with opened(url) as client:
        await client.subscribe(ENDLESS)
        assert await client.close_code() == 4401
    async with opened(url) as client:
        await client.init()
        await client.send(type="connection_init")
        assert await client.close_code() == 4429
    async with opened(url) as client:
        await client.init()
        await client.subscribe(ENDLESS)
        await client.subscribe(ENDLESS)
        assert await client.close_code() == 4409
    await toy.until_open(0)


async def test_a_socket_that_says_nothing_is_closed(toy: Toy) -> None:
    async with serving_toy(toy, connection_init_seconds=0.02) as url, opened(url) as client:
        assert await client.close_code() == 4408


async def test_the_older_protocol_is_not_spoken(url: str) -> None:
    async with opened(url, protocol="graphql-ws") as client:
        assert await client.close_code() == 4406


# ---------------------------------------------------------------- who is on it


@pytest.mark.parametrize(
    ("payload", "viewer"),
    [(None, "anonymous"), ({}, "anonymous"), (GOOD, "good"), ({"Authorization": "bearer good"}, "good")],
)
async def test_the_bearer_comes_in_connection_init(url: str, payload: Mapping[str, object] | None, viewer: str) -> None:
    async with opened(url) as client:
        await client.init(payload)
        await client.subscribe("{ viewer }")
        assert (await client.receive())["payload"] == {"data": {"viewer": viewer}}


@pytest.mark.parametrize("authorization", ["Bearer bad", "Bearer ", "good", ""])
async def test_a_bad_token_closes_4403(url: str, authorization: str) -> None:
    async with opened(url) as client:
        await client.send(type="connection_init", payload={"authorization": authorization})
        assert await client.close_code() == 4403


async def test_a_socket_while_nobody_can_be_told_apart_is_asked_to_come_again(url: str, toy: Toy) -> None:
    toy.is_available = False
    async with opened(url) as client:
        await client.send(type="connection_init")
        assert await client.close_code() == 1013


@pytest.mark.parametrize("origin", [ORIGIN, PARTNER])
async def test_the_cookie_serves_pages_of_our_origin_and_of_allowed_ones(url: str, origin: str) -> None:
    async with opened(url, {**COOKIE, "Origin": origin}) as client:
        await client.init()
        await client.subscribe("{ viewer }")
        assert (await client.receive())["payload"] == {"data": {"viewer": "good"}}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(COOKIE, id="a cookie without an origin"),
        pytest.param({**COOKIE, "Origin": "https://stranger.example"}, id="a cookie from a stranger"),
        pytest.param({"Origin": "https://stranger.example"}, id="a stranger"),
    ],
)
async def test_a_page_of_another_origin_is_refused_with_403(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        async with opened(url, headers):
            pass
    assert refusal.value.response.status_code == 403


@pytest.mark.parametrize(
    "headers", [{**COOKIE, "Origin": ORIGIN}, {"Authorization": "Bearer good"}], ids=["cookie", "header"]
)
async def test_two_credentials_at_once_close_4400(url: str, headers: dict[str, str]) -> None:
    async with opened(url, headers) as client:
        await client.send(type="connection_init", payload=GOOD)
        assert await client.close_code() == 4400


# ---------------------------------------------------------------- how it ends


async def test_a_socket_is_closed_with_4403_within_a_second_of_its_token(url: str, toy: Toy) -> None:
    async with opened(url) as client:
        await client.init(GOOD)
        await client.subscribe(ENDLESS)
        await toy.until_open(1)
        toy.endings["good"].set()
        async with asyncio.timeout(1):
            assert await client.close_code() == 4403
        await toy.until_open(0)


async def test_a_client_that_reads_nothing_is_served_no_longer_either(url: str, toy: Toy) -> None:
    async with opened(url) as client:
        await client.init(GOOD)
        client.socket.transport.pause_reading()
        await client.subscribe(FLOOD)
        await toy.until_dammed()
        toy.endings["good"].set()
        await toy.until_open(0)
        client.socket.transport.abort()


async def test_a_server_that_stops_closes_its_sockets_with_1012(toy: Toy) -> None:
    async def subscribed_until_closed(url: str) -> int | None:
        async with opened(url) as client:
            await client.init()
            await client.subscribe(ENDLESS)
            return await client.close_code()

    async with serving_toy(toy) as url:
        closed = asyncio.create_task(subscribed_until_closed(url))
        await toy.until_open(1)
    assert await closed == 1012
    assert toy.open_generators == 0


async def test_clients_that_vanish_leave_no_generator_and_no_task_behind(url: str, toy: Toy) -> None:
    tasks_before = asyncio.all_tasks()

    async def vanish() -> None:
        async with opened(url) as client:
            await client.init(GOOD)
            for id in "12":
                await client.subscribe(ENDLESS, id=id)
            await client.receive()
            client.socket.transport.abort()

    for _ in range(ABRUPT_CLOSES // 20):
        await asyncio.gather(*(vanish() for _ in range(20)))
    await toy.until_open(0)
    await settled(tasks_before)
    gc.collect()
    assert live_subscriptions() == []
