"""Calls passed on, as upstreams and callers see them on the wire."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientTimeout
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.plane import connections, passing
from gateway.plane.heads import OWN_COOKIE
from gateway.plane.passing import BodyNeverCame, BrokenOff, CallerTooSlow, NeverReached, UpstreamFailed, UpstreamTooSlow
from schema.transport.credentials import COOKIE
from tests.passage import Bytes, Front, Line, fronting, ok
from tests.test_sse import settled
from tests.test_upstreams import Names

MEBIBYTE = 1 << 20


@asynccontextmanager
async def echoing(answer: bytes = ok(), path: str = "", **options: Any) -> AsyncIterator[tuple[Bytes, Front]]:
    async with Bytes.listening(answer) as upstream, fronting(upstream.url + path, **options) as front:
        yield upstream, front


@asynccontextmanager
async def spoken(speak: Callable[[Line], Any], **options: Any) -> AsyncIterator[tuple[Bytes, Front]]:
    async with Bytes.listening(speak) as upstream, fronting(upstream.url, **options) as front:
        yield upstream, front


def names_in(head: bytes) -> list[bytes]:
    return [line.partition(b":")[0] for line in head.split(b"\r\n")[1:] if line]


def values_in(head: bytes, name: bytes) -> list[bytes]:
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    return [value for its_name, _, value in lines if its_name == name]


def kinds(front: Front) -> list[type[Exception]]:
    return [type(each) for each in front.raised]


# ---------------------------------------------------------------- the request's head


async def test_a_request_arrives_as_it_was_sent_with_what_the_gateway_knows_and_nothing_else() -> None:
    async with echoing(path="/v1") as (upstream, front):
        host = front.url.removeprefix("http://")
        request = f"POST /nodes/7?b=c HTTP/1.1\r\nHost: {host}\r\nAccept: a/b\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
        await front.ask(f"{request}Content-Length: 5\r\nConnection: close\r\n\r\nhello".encode())
    assert upstream.heads == [
        (
            f"POST /v1/nodes/7?b=c HTTP/1.1\r\nhost: 127.0.0.1:{upstream.port}\r\n"
            "accept: a/b\r\nx-twice: 1\r\nx-twice: 2\r\ncontent-length: 5\r\nvia: 1.1 tessera\r\n"
            f'forwarded: for=127.0.0.1;host="{host}";proto=http\r\n'
            f"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: {host}\r\n"
            "x-tessera-key: key_1\r\nx-request-id: abc\r\n\r\n"
        ).encode()
    ]
    assert upstream.bodies == [b"hello"]


PATHS = r"/a /a/ /a'b /a|b /%7e /~ /+ /%2B /a%20b /%C3%A4 /a:b@c /[x] /{x} /a\b /a;b /" + '"'
QUERIES = """?? ?a=b&a=b ?a=%7e+b ?a='|' ?x=/../ ?a=b?c ?%zz ?a=[1] ?" ?= ?&"""


async def test_the_target_is_passed_on_byte_by_byte() -> None:
    targets = [*PATHS.split(), *(f"/a{query}" for query in QUERIES.split())]
    async with echoing() as (upstream, front):
        for target in targets:
            await front.get(target)
    assert [head.split(b" ")[1].decode() for head in upstream.heads] == targets


@pytest.mark.parametrize(
    ("path", "rest", "query", "target"),
    [
        ("", b"", None, b"/"),
        ("/", b"", None, b"/"),
        ("/", b"/a", None, b"/a"),
        ("/v1", b"", b"", b"/v1?"),
        ("/v1/", b"", None, b"/v1/"),
        ("/v1/", b"/", None, b"/v1/"),
        ("/v1", b"/a", b"?", b"/v1/a??"),
        ("/a%7e'|", b"/%2e", b"b", b"/a%7e'|/%2e?b"),
    ],
)
async def test_it_is_put_behind_the_path_of_the_base_url(
    path: str, rest: bytes, query: bytes | None, target: bytes
) -> None:
    async with echoing(path=path) as (upstream, front):
        front.outgoing = {"rest": rest, "query": query}
        await front.get("/")
    assert upstream.heads[0].startswith(b"GET " + target + b" HTTP/1.1\r\n")


DROPPED = """Authorization: Bearer x
AUTHORIZATION: Basic eDp4
Connection: keep-alive
Keep-Alive: 5
Proxy-Authorization: x
Proxy-Anything: x
TE: trailers
Trailer: x
Transfer_Encoding: chunked
Upgrade: h2c
Expect: 100-continue
Forwarded: for=6.6.6.6
X-Forwarded-For: 6.6.6.6
X_Forwarded_For: 6.6.6.6
X-FORWARDED-Proto: https
X-Forwarded-Host: x
X-Forwarded-Port: 1
X-Request-Id: mine
X_Request_Id: mine
X-Tessera-Key: key_2
x-TESSERA-user: x
X_Tessera_Key: key_2
X-Tessera_Anything: x
X.Tessera.Key: key_2
X!Tessera~Key: key_2
X'Forwarded*For: 6.6.6.6
Content_Length: 9
Content_Type: x
Host_: x
_Cookie: x"""


async def test_some_headers_never_reach_an_upstream_in_any_spelling() -> None:
    async with echoing() as (upstream, front):
        front.outgoing = {"peer": "192.0.2.1"}  # the server of tests believes what callers say
        for header in ["X-Kept: 1", *DROPPED.splitlines()]:
            await front.get("/", header)
    plain = upstream.heads[0].replace(b"x-kept: 1\r\n", b"")
    others = [header.lower().encode() for header in DROPPED.splitlines()[-2:]]
    assert upstream.heads[1:-2] == [plain] * (len(DROPPED.splitlines()) - 2)
    assert [header in head for header, head in zip(others, upstream.heads[-2:], strict=True)] == [True, True]


async def test_what_connection_names_is_for_the_next_hop_alone() -> None:
    async with echoing() as (upstream, front):
        request = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop ,x-hop-2, content-length, X-Tessera-Key\r\n"
        await front.ask(request + b"X-Hop: 1\r\nx-hop-2: 2\r\nX-Kept: 3\r\nContent-Length: 2\r\n\r\nhi")
    assert not {b"x-hop", b"x-hop-2", b"connection"} & set(names_in(upstream.heads[0]))
    assert {b"x-kept", b"content-length", b"x-tessera-key"} <= set(names_in(upstream.heads[0]))
    assert upstream.bodies == [b"hi"]


COOKIES = {
    "tessera_session=x": [],
    "a=b; tessera_session=x; c=d": [b"a=b; c=d"],
    "tessera_session=x;a=b": [b"a=b"],
    "a=b\r\nCookie: tessera_session=x": [b"a=b"],
    "not_tessera_session=x; tessera_session2=y": [b"not_tessera_session=x; tessera_session2=y"],
    "a=b;  c": [b"a=b;  c"],
}


async def test_cookies_are_passed_on_but_the_gateways_own() -> None:
    async with echoing() as (upstream, front):
        for sent, passed in COOKIES.items():
            await front.get("/", f"Cookie: {sent}")
            assert values_in(upstream.heads[-1], b"cookie") == passed


def test_the_gateways_own_cookie_is_the_one_of_sessions() -> None:
    assert OWN_COOKIE.decode() == COOKIE


async def test_bytes_beyond_ascii_stay_the_bytes_that_they_are() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Back: \xe4\xc3\xa4\xff\r\nContent-Length: 0\r\n\r\n"
    async with echoing(answer) as (upstream, front):
        back = await front.get("/", "X-There: \xe4\xc3\xa4\xff")
    assert b"x-there: \xe4\xc3\xa4\xff\r\n" in upstream.heads[0]
    assert back.header(b"x-back") == [b"\xe4\xc3\xa4\xff"]


async def test_who_was_on_the_way_before_is_kept_in_via() -> None:
    async with echoing() as (upstream, front):
        await front.get("/", "Via: 1.0 a", "Via: 1.1 b (c), 2 d")
    assert values_in(upstream.heads[0], b"via") == [b"1.0 a, 1.1 b (c), 2 d, 1.1 tessera"]


@pytest.mark.parametrize(
    ("peer", "scheme", "host", "forwarded"),
    [
        ("192.0.2.1", "http", b"a", b'for=192.0.2.1;host="a";proto=http'),
        ("2001:db8::1", "https", b"a:1", b'for="[2001:db8::1]";host="a:1";proto=https'),
        (None, "http", None, b"for=unknown;proto=http"),
        ("192.0.2.1", "http", b'a"\\b', b'for=192.0.2.1;host="a\\"\\\\b";proto=http'),
    ],
)
async def test_who_called_is_told_as_the_gateway_believes_it(
    peer: str | None, scheme: str, host: bytes | None, forwarded: bytes
) -> None:
    async with echoing() as (upstream, front):
        front.outgoing = {"peer": peer, "scheme": scheme, "host": host}
        await front.get("/", "Forwarded: for=6.6.6.6", "X-Forwarded-For: 6.6.6.6")
    [head] = upstream.heads
    assert values_in(head, b"forwarded") == [forwarded]
    assert values_in(head, b"x-forwarded-for") == [(peer or "unknown").encode()]
    assert values_in(head, b"x-forwarded-proto") == [scheme.encode()]
    assert values_in(head, b"x-forwarded-host") == ([host] if host else [])


# ---------------------------------------------------------------- the request's body


async def chunks_of(line: Line, count: int, size: int) -> None:
    for _ in range(count):
        await line.say(b"%x\r\n" % size + b"x" * size + b"\r\n")
    await line.say(b"0\r\n\r\n")


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


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For 127.0.0.1 and localhost, signed by itself; the key is in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an upstream of tests")])
    names: list[x509.GeneralName] = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return path


@asynccontextmanager
async def secured(certificate: Path, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[tuple[Bytes, Front]]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    async with (
        Bytes.listening(ok(b"secured"), ssl=server) as upstream,
        fronting(f"https://{host}:{upstream.port}", **options) as front,
    ):
        yield upstream, front


async def test_https_is_spoken_to_an_upstream_that_proves_who_it_is(certificate: Path) -> None:
    for host in ("127.0.0.1", "localhost"):
        trusting = ssl.create_default_context(cafile=certificate)
        async with secured(certificate, host, tls=trusting) as (upstream, front):
            assert [(await front.get("/")).body for _ in range(2)] == [b"secured", b"secured"]
        assert upstream.connections == 1


async def test_an_upstream_that_can_t_prove_it_gets_no_byte(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    others = Names(a_example=[["127.0.0.1"]])
    for host, options in (("127.0.0.1", {}), ("a.example", {"tls": trusting, "resolver": others})):
        async with secured(certificate, host, **options) as (upstream, front):
            assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 502")
        assert kinds(front) == [NeverReached]
        assert upstream.heads == []


async def test_an_upstream_that_speaks_no_tls_is_never_reached() -> None:
    async def speak(line: Line) -> None:
        await line.say(b"220 welcome\r\n")

    async with Bytes.listening(speak) as upstream, fronting(f"https://127.0.0.1:{upstream.port}") as front:
        await front.get("/")
    assert kinds(front) == [NeverReached]


# ---------------------------------------------------------------- connections that are kept


async def test_one_connection_serves_call_after_call() -> None:
    async with echoing(ok(b"x")) as (upstream, front), front.line() as line:
        for number in range(20):
            body = b"y" * number
            await line.say(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (number, number) + body)
            assert (await line.head()).startswith(b"HTTP/1.1 200")
            assert await line.reader.readexactly(1) == b"x"
    assert upstream.connections == 1
    assert len(upstream.heads) == 20


async def test_calls_at_the_same_time_have_a_connection_each_and_leave_them_to_the_next() -> None:
    async with echoing(ok(b"x")) as (upstream, front):
        for _ in range(3):
            answers = await asyncio.gather(*(front.get("/") for _ in range(10)))
            assert {answer.body for answer in answers} == {b"x"}
    assert upstream.connections <= 10


async def test_a_connection_that_the_upstream_closed_meanwhile_is_not_used() -> None:
    async def once(line: Line) -> None:
        await line.head()
        await line.say(ok(b"x"))

    async with spoken(once) as (upstream, front):
        for method in ("GET", "POST", "PATCH", "GET"):
            request = f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            assert (await front.ask(request.encode())).body == b"x"
    assert upstream.connections == 4
    assert front.raised == []


async def test_nor_is_one_whose_end_has_come_but_was_not_looked_at_yet() -> None:
    def end() -> None:
        for writer in upstream.open:
            writer.write_eof()

    async with echoing(ok(b"x")) as (upstream, front):
        await front.get("/")
        front.before = end
        answer = await front.ask(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        assert answer.status_line == b"HTTP/1.1 200 OK"
    assert upstream.connections == 2
    assert [head.partition(b" ")[0] for head in upstream.heads] == [b"GET", b"POST"]


class Closing:
    """An upstream that answers a connection's first request, and closes it when the next has come."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def __call__(self, line: Line) -> None:
        await self._take(line)
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await self._take(line)
        line.reset()

    async def _take(self, line: Line) -> None:
        head = await line.head()
        self.requests.append(head.partition(b" ")[0] + await line.body(head))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_what_may_be_repeated_is_so_once_where_a_kept_connection_ends(method: str) -> None:
    closing = Closing()
    async with spoken(closing) as (upstream, front):
        request = f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi".encode()
        for _ in range(2):
            assert (await front.ask(request)).status_line == b"HTTP/1.1 200 OK"
    assert closing.requests == [f"{method}hi".encode()] * 3
    assert upstream.connections == 2
    assert front.raised == []


@pytest.mark.parametrize(("method", "size"), [("POST", 2), ("PATCH", 2), ("PUT", 70_000)])
async def test_what_may_have_been_done_or_can_t_be_repeated_is_not(method: str, size: int) -> None:
    closing = Closing()
    async with spoken(closing) as (upstream, front):
        head = f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
        await front.get("/")
        assert (await front.ask(head + b"x" * size)).status_line.startswith(b"HTTP/1.1 502")
    assert len(closing.requests) == 2
    assert upstream.connections == 1
    assert kinds(front) == [UpstreamFailed]


async def test_a_call_that_was_sent_is_not_said_to_have_never_been() -> None:
    async def last(line: Line) -> None:
        await line.head()
        await line.say(ok(b"x"))
        await line.head()
        listening.close()
        line.reset()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await last(Line(reader, writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with fronting(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}") as front:
        await front.get("/")
        await front.get("/")
    assert kinds(front) == [UpstreamFailed]


async def test_no_call_is_answered_with_what_an_upstream_said_unasked() -> None:
    async def talk(line: Line) -> None:
        while True:
            await line.head()
            await line.say(ok(b"right"))
            answered.set()
            await unasked.wait()
            await line.say(ok(b"wrong"))

    answered, unasked = asyncio.Event(), asyncio.Event()
    async with spoken(talk) as (upstream, front):
        assert (await front.get("/")).body == b"right"
        unasked.set()
        assert (await front.get("/")).body == b"right"
    assert upstream.connections == 2


# ---------------------------------------------------------------- callers that go away


class Waiting:
    """An upstream that tells when a call has come and when it has ended."""

    def __init__(self, answer: bytes = b"") -> None:
        self.came, self.ended = asyncio.Event(), asyncio.Event()
        self._answer = answer

    async def __call__(self, line: Line) -> None:
        await line.head()
        await line.say(self._answer)
        self.came.set()
        await line.rest()
        self.ended.set()


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"


@pytest.mark.parametrize("answer", [b"", HALF], ids=["while it waits", "amid the answer"])
@pytest.mark.parametrize("body", ["Content-Length: 0", "Content-Length: 100000", "Transfer-Encoding: chunked"])
async def test_a_caller_that_goes_away_ends_the_call(answer: bytes, body: str) -> None:
    waiting = Waiting(answer)
    async with spoken(waiting) as (_, front):
        async with front.line() as line:
            await line.say(f"POST / HTTP/1.1\r\nHost: x\r\n{body}\r\n\r\n".encode())
            await waiting.came.wait()
        await waiting.ended.wait()
        await front.ended.wait()
    assert front.raised == []


async def test_a_caller_that_goes_away_amid_a_small_body_never_reached_the_upstream() -> None:
    async with echoing() as (upstream, front):
        async with front.line() as line:
            await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegin")
        await front.ended.wait()
    assert kinds(front) == [NeverReached]
    assert upstream.connections == 0


async def test_calls_leave_no_task_behind() -> None:
    waiting = Waiting(HALF)
    async with spoken(waiting) as (_, front):
        before = asyncio.all_tasks()
        for _ in range(20):
            async with front.line() as line:
                await line.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                await line.head()
        await settled(before)


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
