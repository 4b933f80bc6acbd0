"""Server-Sent Events, on a small schema and a real server."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import AsyncGeneratorType
from typing import Any

import httpx2
import pytest

from tests.test_graphql_http import code_of
from tests.toy import ORIGIN, Toy, serving_toy

EVENTS = {"Accept": "text/event-stream"}
ENDLESS = "subscription { ticks }"
FLOOD = "subscription { flood }"
ABRUPT_CLOSES = 200


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
async def url(toy: Toy) -> AsyncIterator[str]:
    async with serving_toy(toy) as url:
        yield url


@asynccontextmanager
async def stream(url: str, query: str, headers: dict[str, str] | None = None) -> AsyncIterator[httpx2.Response]:
    async with (
        httpx2.AsyncClient() as client,
        client.stream("POST", url, json={"query": query}, headers={**EVENTS, **(headers or {})}) as response,
    ):
        yield response


async def text_of(url: str, query: str, headers: dict[str, str] | None = None) -> str:
    async with stream(url, query, headers) as response:
        return (await response.aread()).decode()


async def read_until(response: httpx2.Response, end: str) -> str:
    text = ""
    async with asyncio.timeout(60):
        async for chunk in response.aiter_text():
            text += chunk
            if end in text:
                break
    return text


def live_subscriptions() -> list[Any]:
    generators = [each for each in gc.get_objects() if type(each) is AsyncGeneratorType]  # a dead proxy has no class
    return [each for each in generators if "ticks" in each.__qualname__]


async def test_each_event_has_its_cursor_as_id_and_the_last_is_complete(url: str) -> None:
    assert await text_of(url, "subscription { ticks(first: 2) }") == (
        'id: 1\nevent: next\ndata: {"data":{"ticks":1}}\n\n'
        'id: 2\nevent: next\ndata: {"data":{"ticks":2}}\n\n'
        "event: complete\ndata:\n\n"
    )


async def test_a_stream_is_neither_cached_nor_buffered_on_its_way(url: str) -> None:
    async with stream(url, "subscription { ticks(first: 1) }", {"X-Request-Id": "my-id"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in response.headers["cache-control"]
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["x-request-id"] == "my-id"


async def test_the_last_event_id_resumes_and_wins_over_after(url: str) -> None:
    query = "subscription { ticks(first: 1, after: 3) }"
    assert (await text_of(url, query)).startswith("id: 4\n")
    assert (await text_of(url, query, {"Last-Event-ID": "7"})).startswith("id: 8\n")


@pytest.mark.parametrize("query", ["{ hello }", "mutation { signOut: __typename }"])
async def test_a_query_or_a_mutation_is_a_stream_of_one_event(url: str, query: str) -> None:
    text = await text_of(url, query)
    assert text.startswith('event: next\ndata: {"data":{')
    assert text.endswith("}\n\nevent: complete\ndata:\n\n")


async def test_a_stream_cannot_set_a_cookie_and_says_so(url: str) -> None:
    async with stream(url, "mutation { signIn }") as response:
        assert "set-cookie" not in response.headers
        assert '"code":"BAD_INPUT"' in await read_until(response, "complete")


async def test_an_event_source_subscribes_by_get(url: str) -> None:
    async with httpx2.AsyncClient() as client:
        response = await client.get(url, params={"query": "subscription { ticks(first: 1) }"}, headers=EVENTS)
        assert response.text.startswith("id: 1\n")
        refused = await client.get(url, params={"query": "mutation { signIn }"}, headers=EVENTS)
        assert (refused.status_code, code_of(refused)) == (405, "BAD_INPUT")


async def test_a_quiet_stream_sends_comments(toy: Toy) -> None:
    async with serving_toy(toy, comment_seconds=0.02) as url, stream(url, ENDLESS) as response:
        assert (await read_until(response, "\n:\n\n:\n\n")).startswith("id: 1\n")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "BAD_INPUT"),
        ("subscription { nothing }", "BAD_INPUT"),
        ("subscription { expired }", "CURSOR_EXPIRED"),
        ("subscription { faulty }", "INTERNAL"),
    ],
)
async def test_an_error_is_the_last_event_before_complete(url: str, query: str, code: str) -> None:
    text = await text_of(url, query)
    *_, last, complete, rest = text.split("\n\n")
    assert f'"code":"{code}"' in last
    assert "requestId" in last
    assert (complete, rest) == ("event: complete\ndata:", "")
    assert "password" not in text


async def test_a_bad_token_is_401_in_json(url: str) -> None:
    async with stream(url, ENDLESS, {"Authorization": "Bearer bad"}) as response:
        await response.aread()
        assert (response.status_code, code_of(response)) == (401, "UNAUTHENTICATED")


async def test_the_cookie_opens_a_stream_for_a_page_of_ours(url: str) -> None:
    headers = {"Cookie": "tessera_session=good", "Origin": ORIGIN, "X-Tessera-CSRF": "1"}
    assert '"viewer":"good"' in await text_of(url, "{ viewer }", headers)


async def test_a_stream_ends_within_a_second_of_its_token(url: str, toy: Toy) -> None:
    async with stream(url, ENDLESS, {"Authorization": "Bearer good"}) as response:
        await toy.until_open(1)
        toy.endings["good"].set()
        async with asyncio.timeout(1):
            text = (await response.aread()).decode()
    assert '"code":"UNAUTHENTICATED"' in text
    assert text.endswith("event: complete\ndata:\n\n")
    await toy.until_open(0)


async def test_a_client_that_reads_nothing_is_served_no_longer_either(url: str, toy: Toy) -> None:
    async with stream(url, FLOOD, {"Authorization": "Bearer good"}):
        await toy.until_dammed()
        toy.endings["good"].set()
        await toy.until_open(0)


async def test_a_server_that_stops_ends_its_streams_without_calling_them_complete(toy: Toy) -> None:
    async with serving_toy(toy) as url:
        reading = asyncio.create_task(text_of(url, ENDLESS))
        await toy.until_open(1)
        stopping_at = asyncio.get_running_loop().time()
    assert "complete" not in await reading
    assert toy.open_generators == 0
    assert asyncio.get_running_loop().time() - stopping_at < 2


async def test_clients_that_vanish_leave_no_generator_and_no_task_behind(url: str, toy: Toy) -> None:
    tasks_before = asyncio.all_tasks()

    async def vanish() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(url).port)
        body = b'{"query": "' + ENDLESS.encode() + b'"}'
        headers = b"Host: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
        writer.write(b"POST /graphql HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body))
        await reader.readuntil(b"id: 3")
        writer.transport.abort()

    await asyncio.gather(*(vanish() for _ in range(ABRUPT_CLOSES)))
    await toy.until_open(0)
    await settled(tasks_before)
    gc.collect()
    assert live_subscriptions() == []


async def settled(tasks_before: set[asyncio.Task[Any]]) -> None:
    """Returns when every task but those of before has ended."""
    left = [task for task in asyncio.all_tasks() - tasks_before if task is not asyncio.current_task()]
    if left:
        _, pending = await asyncio.wait(left, timeout=5)
        assert pending == set()
