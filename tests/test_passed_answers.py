"""What a caller is told of an upstream's answer, and of an upstream that gives none."""

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import ClientTimeout

from gateway.plane import connections
from gateway.plane.passing import BodyNeverCame, BrokenOff, CallerTooSlow, NeverReached, UpstreamFailed, UpstreamTooSlow
from tests.passage import (
    MEBIBYTE,
    Line,
    chunks_of,
    echoing,
    fronting,
    kinds,
    names_in,
    ok,
    spoken,
)
from tests.test_upstreams import Names

# ---------------------------------------------------------------- the answer


NOT_BACK = """Connection: X-Hop
Keep-Alive: timeout=5
Proxy-Authenticate: x
Proxy-Connection: x
TE: x
Trailer: x
Upgrade: h2c
X-Tessera-Key: key_2
x_tessera_status: 1
x.tessera+key: key_2
Set-Cookie: tessera_session=evil; Path=/
Set-Cookie:  tessera_session =evil"""


async def test_some_headers_never_come_back() -> None:
    async def speak(line: Line) -> None:
        for header in NOT_BACK.splitlines():
            await line.head()
            await line.say(f"HTTP/1.1 200 OK\r\n{header}\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n".encode())

    async with spoken(speak) as (_, front):
        heads = [(await front.get("/")).head for _ in NOT_BACK.splitlines()]
    for header, head in zip(NOT_BACK.splitlines(), heads, strict=True):
        named = [name for name in names_in(head) if name not in {b"date", b"server", b"content-length"}]
        assert named == ([b"connection"] if header == "Connection: X-Hop" else [b"x-hop", b"connection"]), header


@pytest.mark.parametrize("date", ["", "Date: Tue, 24 Nov 2026 10:00:00 GMT\r\n"], ids=["none", "its own"])
async def test_an_answer_has_the_date_of_its_upstream_or_else_the_gateways(date: str) -> None:
    async with echoing(f"HTTP/1.1 200 OK\r\n{date}Content-Length: 0\r\n\r\n".encode()) as (_, front):
        [told] = (await front.get("/")).header(b"date")
    assert (told == b"Tue, 24 Nov 2026 10:00:00 GMT") is bool(date)
    assert parsedate_to_datetime(told.decode()).tzinfo


async def test_an_answer_comes_back_as_it_was_sent() -> None:
    answer = (
        b"HTTP/1.1 418 Teapot\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\nServer: mine\r\nSet-Cookie: a=1; Path=/\r\n"
        b"Set-Cookie: b=2\r\nX-Empty: \r\nContent-Encoding: gzip\r\nLocation: ../x?'|\r\nContent-Length: 3\r\n\r\nabc"
    )
    async with echoing(answer) as (_, front):
        front.outgoing = {"answer": [(b"ratelimit", b"r=1"), (b"x-empty", b"no more")]}
        back = await front.get("/")
    assert back.status_line.startswith(b"HTTP/1.1 418")
    for name, values in [
        (b"set-cookie", [b"a=1; Path=/", b"b=2"]),
        (b"content-encoding", [b"gzip"]),
        (b"location", [b"../x?'|"]),
        (b"content-length", [b"3"]),
        (b"ratelimit", [b"r=1"]),
        (b"x-empty", [b"no more"]),
    ]:
        assert back.header(name) == values
    assert back.body == b"abc"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none_and_the_connection_goes_on(status: int) -> None:
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: 10\r\nETag: x\r\n\r\n".encode()
    if status == 204:
        answer = answer.replace(b"Content-Length: 10\r\n", b"")
    async with echoing(answer) as (upstream, front), front.line() as line:
        for _ in range(2):
            await line.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await line.head()
            assert head.startswith(f"HTTP/1.1 {status}".encode())
            assert b"etag: x" in head
            assert b"transfer-encoding" not in head
    assert upstream.connections == 1


async def test_an_answer_to_head_has_no_body_and_the_length_that_the_body_would_have() -> None:
    async with (
        echoing(b"HTTP/1.1 200 OK\r\nContent-Length: 1234567\r\n\r\n") as (upstream, front),
        front.line() as line,
    ):
        for _ in range(2):
            await line.say(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await line.head()
            assert b"content-length: 1234567\r\n" in head
            assert b"transfer-encoding" not in head
    assert upstream.connections == 1


async def test_interim_answers_are_dropped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with echoing(interim + ok(b"final")) as (upstream, front):
        for _ in range(2):
            answer = await front.get("/")
            assert answer.status_line == b"HTTP/1.1 200 OK"
            assert answer.body == b"final"
    assert upstream.connections == 1


async def test_the_trailers_of_an_answer_are_dropped() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
    async with echoing(chunked) as (_, front), front.line() as line:
        await line.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"transfer-encoding: chunked" in await line.head()
        assert await line.reader.readuntil(b"0\r\n\r\n") == b"2\r\nhi\r\n0\r\n\r\n"


async def test_an_answer_that_the_end_of_the_connection_ends_is_whole() -> None:
    async def speak(line: Line) -> None:
        await line.head()
        await line.say(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async with spoken(speak) as (_, front):
        answer = await front.get("/")
    assert answer.body == b"9\r\nall of it\r\n0\r\n\r\n"


# ---------------------------------------------------------------- upstreams that fail


GARBAGE = [
    b"",
    b"HTTP/1.1 2",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\na\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 099 No\r\n\r\n",
    b"HTTP/1.1 999 No\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"\x16\x03\x01",
]


async def test_what_is_no_answer_is_not_passed_on() -> None:
    async def speak(line: Line) -> None:
        await line.head()
        await line.say(next(said))

    said = iter(GARBAGE)
    async with spoken(speak) as (_, front):
        for garbage in GARBAGE:
            assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 502"), garbage
    assert kinds(front) == [UpstreamFailed] * len(GARBAGE)


async def test_a_call_that_is_reset_before_its_answer_failed() -> None:
    async def speak(line: Line) -> None:
        await line.head()
        line.reset()

    async with spoken(speak) as (upstream, front):
        assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 502")
    assert kinds(front) == [UpstreamFailed]
    assert upstream.connections == 1  # not even a GET is repeated on a connection of its own


async def test_nothing_listens() -> None:
    async with fronting("http://127.0.0.1:1") as front:
        assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 502")
    assert kinds(front) == [NeverReached]


async def test_no_name_leads_there() -> None:
    for host, resolver in {"a.example": NoNames(), "x" * 70 + ".example": None, "a..example": None}.items():
        async with fronting(f"http://{host}", resolver=resolver) as front:
            await front.get("/")
        assert kinds(front) == [NeverReached]
        assert not front.raised[0].is_slow  # type: ignore[attr-defined]  # it is a NeverReached


class NoNames(Names):
    async def resolve(self, *_: Any, **__: Any) -> Any:
        raise OSError("no such name")


class Silence(Names):
    async def resolve(self, *_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()


async def test_connecting_takes_too_long() -> None:
    async with fronting("http://a.example", resolver=Silence(), connect_seconds=0.01) as front:
        await front.get("/")
    assert kinds(front) == [NeverReached]
    assert front.raised[0].is_slow  # type: ignore[attr-defined]  # it is a NeverReached


async def test_no_connection_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(line: Line) -> None:
        came.set()
        await line.rest()

    came = asyncio.Event()
    monkeypatch.setattr(connections, "CONNECTIONS_PER_UPSTREAM", 1)
    async with spoken(wait) as (_, front), front.line() as line:
        await line.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await came.wait()
        front.passing._connections._timeout = ClientTimeout(connect=0.01)
        await front.get("/")
    assert kinds(front) == [NeverReached]


async def silent(line: Line) -> None:
    await line.head()
    await line.rest()


async def test_the_first_byte_takes_too_long() -> None:
    async with spoken(silent, first_byte_seconds=0.01) as (_, front):
        assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 502")
        big = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
        assert (await front.ask(big)).status_line.startswith(b"HTTP/1.1 502")
    assert kinds(front) == [UpstreamTooSlow, UpstreamTooSlow]


async def test_interim_answers_don_t_prolong_the_wait() -> None:
    async def speak(line: Line) -> None:
        await line.head()
        while True:
            await line.say(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0)

    async with spoken(speak, first_byte_seconds=0.05) as (_, front):
        await front.get("/")
    assert kinds(front) == [UpstreamTooSlow]


@pytest.mark.parametrize(("length", "told"), [("100", BodyNeverCame), ("100000", CallerTooSlow)])
async def test_a_caller_whose_body_stops_coming_is_told_apart(length: str, told: type[Exception]) -> None:
    async with spoken(silent, idle_seconds=0.01) as (_, front), front.line() as line:
        await line.say(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nbegin".encode())
        assert (await line.head()).startswith(b"HTTP/1.1 502")
    assert kinds(front) == [told]


async def test_an_upstream_that_takes_no_body_is_too_slow() -> None:
    async def deaf(line: Line) -> None:
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it reads too
        await asyncio.Event().wait()

    async with spoken(deaf, idle_seconds=0.2) as (_, front), front.line() as line:
        await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sending = asyncio.create_task(chunks_of(line, 1000, MEBIBYTE // 4))
        assert (await line.head()).startswith(b"HTTP/1.1 502")
        sending.cancel()
        await asyncio.wait([sending])
    assert kinds(front) == [UpstreamTooSlow]


BEGINNINGS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
    "close": b"HTTP/1.1 200 OK\r\n\r\n12345",
}


@pytest.mark.parametrize("framing", BEGINNINGS)
@pytest.mark.parametrize("end", ["close", "reset", "idle"])
async def test_an_answer_that_breaks_off_is_seen_to_be_broken(framing: str, end: str) -> None:
    begun = asyncio.Event()

    async def speak(line: Line) -> None:
        await line.head()
        await line.say(BEGINNINGS[framing])
        await begun.wait()
        if end == "reset":
            line.reset()
        elif end == "idle":
            await line.rest()

    if framing == "close" and end == "close":
        return  # which is its end
    async with spoken(speak, idle_seconds=0.05 if end == "idle" else 60) as (_, front), front.line() as line:
        await line.say(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = await line.head()
        begun.set()
        rest = await line.rest()
    assert (b"content-length: 10" in head) is (framing == "length")
    assert rest == (b"12345" if framing == "length" else b"5\r\n12345\r\n")
    assert kinds(front) == [BrokenOff]


async def test_a_small_answer_that_was_cut_off_before_it_was_read_is_no_whole_one() -> None:
    async def speak(line: Line) -> None:
        await line.head()
        line.writer.write(BEGINNINGS["close"])
        line.reset()

    async with spoken(speak) as (_, front):
        assert b"0\r\n\r\n" not in (await front.get("/")).body
    assert kinds(front) in ([BrokenOff], [UpstreamFailed])
