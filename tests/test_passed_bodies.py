"""Bodies of calls and answers that are passed on: whole, streamed, and of any size in little memory."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.plane import passing
from tests.passage import (
    MEBIBYTE,
    Line,
    echoing,
    names_in,
    ok,
    spoken,
)

# ---------------------------------------------------------------- the request's body


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3 * MEBIBYTE])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_body_whose_length_is_given_arrives_with_that_length(method: str, size: int) -> None:
    async with echoing() as (upstream, front):
        head = f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        assert (await front.ask(head.encode() + b"x" * size)).status_line == b"HTTP/1.1 200 OK"
    assert f"content-length: {size}\r\n".encode() in upstream.heads[0]
    assert upstream.bodies == [b"x" * size]


async def test_a_chunked_body_arrives_chunked_without_its_trailers() -> None:
    async with echoing() as (upstream, front):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tessera-Key\r\n"
        body = b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Tessera-Key: key_2\r\n\r\n"
        await front.ask(head + b"Connection: close\r\n\r\n" + body)
    assert names_in(upstream.heads[0]).count(b"transfer-encoding") == 1
    assert b"".join(upstream.bodies[0].split(b"\r\n")) in {b"5hello1!0", b"6hello!0"}
    assert b"key_2" not in upstream.heads[0] + upstream.bodies[0]


@pytest.mark.parametrize(
    "framing", ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Content-Length: 3\r\n" * 2 + "X: y"]
)
async def test_a_request_with_two_lengths_goes_nowhere(framing: str) -> None:
    async with echoing() as (upstream, front):
        answer = await front.ask(f"POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n0\r\n\r\n".encode())
    assert answer.status_line.startswith(b"HTTP/1.1 400")
    assert upstream.connections == 0


async def test_an_expectation_is_met_by_the_gateway() -> None:
    async with echoing() as (upstream, front), front.line() as line:
        await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await line.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.say(b"hi")
        assert (await line.head()).startswith(b"HTTP/1.1 200 OK")
    assert upstream.bodies == [b"hi"]


async def test_bodies_stream_both_ways_at_once() -> None:
    async def echo(line: Line) -> None:
        await line.head()
        await line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (size := await line.reader.readline()) != b"0\r\n":
            await line.say(size + await line.reader.readline())
        await line.say(b"0\r\n\r\n")

    async with spoken(echo) as (_, front), front.line() as line:
        await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await line.head()
        for word in (b"one", b"two", b"three"):
            await line.say(b"%x\r\n%b\r\n" % (len(word), word))
            assert await line.reader.readline() == b"%x\r\n" % len(word)
            assert await line.reader.readline() == word + b"\r\n"
        await line.say(b"0\r\n\r\n")
        assert await line.reader.readexactly(5) == b"0\r\n\r\n"


async def test_an_answer_that_comes_before_the_body_was_read_is_passed_on() -> None:
    async def refuse(line: Line) -> None:
        await line.head()
        await line.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        await line.rest()

    async with spoken(refuse) as (upstream, front), front.line() as line:
        await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbegin")
        assert (await line.head()).startswith(b"HTTP/1.1 413")
        assert await line.reader.readexactly(2) == b"no"
        await line.say(b"x" * 999_995)
        await line.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await line.head()).startswith(b"HTTP/1.1 413")
    assert upstream.connections == 2  # the first had half a request on it


# ---------------------------------------------------------------- bodies of any size

MOST_GROWTH_BYTES = 48 * MEBIBYTE
SIZE = 256 * MEBIBYTE
CHUNK = b"x" * MEBIBYTE


def memory() -> int:
    """What this process holds: caller, gateway and upstream together."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_256_mebibytes_stream_through_in_both_directions_in_little_memory(framing: str) -> None:
    async def echo(line: Line) -> None:
        head = (await line.head()).lower()
        await line.say(b"HTTP/1.1 200 OK\r\n" + framing_of(framing) + b"\r\n\r\n")
        assert framing_of(framing).lower() in head
        while data := await line.reader.read(65_536):
            await line.say(data)

    async def send(line: Line) -> None:
        await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + framing_of(framing) + b"\r\n\r\n")
        for _ in range(SIZE // MEBIBYTE):
            await line.say(b"%x\r\n%b\r\n" % (MEBIBYTE, CHUNK) if framing == "chunked" else CHUNK)
        if framing == "chunked":
            await line.say(b"0\r\n\r\n")

    async with spoken(echo) as (_, front), front.line() as line:
        before, most, received = memory(), 0, 0
        sending = asyncio.create_task(send(line))
        await line.head()
        while received < SIZE:
            received += len(await line.reader.read(65_536))
            most = max(most, memory() - before)
        await sending
    assert most < MOST_GROWTH_BYTES


def framing_of(framing: str) -> bytes:
    return b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: %d" % SIZE


async def test_a_caller_that_doesn_t_read_holds_the_upstream_back() -> None:
    said = 0

    async def pour(line: Line) -> None:
        nonlocal said
        if b" /small " in await line.head():
            await line.say(ok())
            return
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        while said < SIZE:
            await line.say(CHUNK)
            said += MEBIBYTE

    async with spoken(pour) as (_, front), front.line() as line:
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it reads too
        await line.say(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        before = -1
        while said != before:
            before = said
            for _ in range(20):
                await front.get("/small")
        assert 0 < said < SIZE / 4
        line.writer.transport.resume_reading()  # type: ignore[attr-defined]  # it reads too
        await line.head()
        for _ in range(SIZE // MEBIBYTE):
            await line.reader.readexactly(MEBIBYTE)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=st.lists(st.binary(min_size=1, max_size=3000)), back=st.lists(st.binary(min_size=1, max_size=3000)))
async def test_whatever_pieces_bodies_come_in_they_arrive_whole(there: list[bytes], back: list[bytes]) -> None:
    async def speak(line: Line) -> None:
        received.append(await chunked_body(line))
        await line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await pieces(line, back)

    received: list[bytes] = []
    async with spoken(speak) as (_, front), front.line() as line:
        await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await pieces(line, there)
        assert await chunked_body(line) == b"".join(back)
    assert received == [b"".join(there)]


async def pieces(line: Line, parts: list[bytes]) -> None:
    for part in parts:
        await line.say(b"%x\r\n%b\r\n" % (len(part), part))
        await asyncio.sleep(0)
    await line.say(b"0\r\n\r\n")


async def chunked_body(line: Line) -> bytes:
    await line.head()
    body = b""
    while size := int(await line.reader.readline(), 16):
        body += await line.reader.readexactly(size)
        await line.reader.readline()
    await line.reader.readline()
    return body


def test_small_bodies_are_held_in_no_more_memory_than_connections_hold_anyway() -> None:
    assert passing.SMALL_BODY_BYTES <= 65_536
