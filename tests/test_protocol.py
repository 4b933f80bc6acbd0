"""The head of a request has an end, before anybody is asked whose it is."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Scope, Send

from gateway.protocol import MOST_HEAD_BYTES
from tests.serving import serving


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving(empty) as url:
        yield int(url.rpartition(":")[2])


async def said(port: int, *parts: bytes) -> bytes:
    """What is answered to these bytes, which are sent one part after another."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    finally:
        writer.close()


@pytest.mark.parametrize("field", [b"X: " + b"x" * 1000 + b"\r\n", b"x"], ids=["many fields", "one field without end"])
async def test_a_head_without_end_is_refused_and_its_connection_closed(port: int, field: bytes) -> None:
    begun = b"GET / HTTP/1.1\r\nHost: x\r\nY: "
    assert (
        await said(port, begun, *[field * 1000 if len(field) == 1 else field] * 200) == b"HTTP/1.1 400 Bad Request\r\n"
    )


async def test_a_head_within_the_bound_is_read_and_bodies_are_not_counted_as_one(port: int) -> None:
    body = b"b" * (4 * MOST_HEAD_BYTES)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX: %b\r\nContent-Length: %d\r\n\r\n" % (b"x" * 30_000, len(body))
    assert await said(port, head, body[:100_000], body[100_000:]) == b"HTTP/1.1 204 No Content\r\n"


async def test_who_sends_just_as_the_connection_is_closed_is_met_by_no_reset(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(caller, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := await loop.sock_recv(caller, 1000):
            answer += part
        assert answer.startswith(b"HTTP/1.1 204")
        for _ in range(3):
            await loop.sock_sendall(caller, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_who_never_closes_is_waited_for_a_moment_only(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(caller, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(go_on_sending(caller), 30)


async def go_on_sending(caller: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(caller, b"GET /")
        await asyncio.sleep(0.02)
