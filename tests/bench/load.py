"""Load: connections that stay open, each of which sends the next request when it has the whole answer to the last."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import httptools


class Connection(asyncio.Protocol):
    """Counts whole answers of status 200; any other ends the run."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self.durations: list[float] = []
        self._sent_at = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one without being told so
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            self._end(RuntimeError(f"status {self._parser.get_status_code()}"))

    def on_message_complete(self) -> None:
        self.answers += 1
        self.durations.append(perf_counter() - self._sent_at)
        self._send()

    def _send(self) -> None:
        self._sent_at = perf_counter()
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or RuntimeError("the server closed a connection"))

    def close(self) -> None:
        self._end(None)
        self.ended.exception()  # seen, where another connection's ended the run
        self._transport.close()

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)


def request_bytes(url: str, headers: Mapping[str, str]) -> bytes:
    """A GET."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def answered_in(url: str, request: bytes, seconds: float, connections: int) -> list[float]:
    """How many seconds each answer took that came within so many seconds. Raises if one is not a 200."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connection_to(url, request)) for _ in range(connections)]
        await answers(opened, seconds, at_least=connections)
        return [duration for each in opened for duration in each.durations]


def post(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def requests_per_second(url: str, request: bytes, *, seconds: float, connections: int = 16) -> float:
    """Answers a second, over at least so many seconds and two answers on each connection, after a warm-up.

    Raises if an answer is not a 200.
    """
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connection_to(url, request)) for _ in range(connections)]
        await answers(opened, seconds / 4, at_least=connections)
        return await answers(opened, seconds, at_least=2 * connections)


async def answers(connections: list[Connection], seconds: float, *, at_least: int) -> float:
    """How many came in a second."""
    before, began = sum(each.answers for each in connections), perf_counter()
    while True:
        await undisturbed(connections, min(seconds, 0.1))
        count, elapsed = sum(each.answers for each in connections) - before, perf_counter() - began
        if elapsed >= seconds and count >= at_least:
            return count / elapsed


async def undisturbed(connections: list[Connection], seconds: float) -> None:
    ended, _ = await asyncio.wait([each.ended for each in connections], timeout=seconds, return_when="FIRST_COMPLETED")
    for each in ended:
        each.result()


@asynccontextmanager
async def connection_to(url: str, request: bytes, kind: type[Connection] = Connection) -> AsyncIterator[Connection]:
    host, port = urlsplit(url).netloc.rsplit(":", 1)
    _, connection = await asyncio.get_running_loop().create_connection(lambda: kind(request), host, int(port))
    try:
        yield connection
    finally:
        connection.close()
