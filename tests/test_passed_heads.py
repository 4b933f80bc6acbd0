"""What of a call's head an upstream gets to see, on the wire."""

import pytest

from gateway.plane.heads import OWN_COOKIE
from schema.transport.credentials import COOKIE
from tests.passage import echoing, names_in, values_in


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
