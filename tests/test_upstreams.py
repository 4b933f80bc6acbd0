"""Where upstreams may be: every address in every spelling, and what a connection is made to."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Invalid
from gateway.plane.passing import NeverReached
from gateway.settings import Settings
from gateway.upstreams import UpstreamAllow, checked_upstream_url, is_public
from tests.passage import Bytes, fronting, ok

ANY = "0.0.0.0"  # noqa: S104  # it is asked about, and not bound
PUBLIC_ONLY = UpstreamAllow.parse([])
EVERYWHERE = UpstreamAllow.parse(["0.0.0.0/0", "::/0"])


def permits(allow: UpstreamAllow, address: str, port: int = 80) -> bool:
    return allow.permits(ip_address(address), port)


# ---------------------------------------------------------------- addresses

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1"),
    *("192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"),
    *("::1", "fc00::1", "fd12:3456::1", "fec0::1", "100::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1"),
]
DISGUISED = [
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "::127.0.0.1", "::10.0.0.1"),
    *("64:ff9b:1::1.1.1.1", "2002:7f00:1::1", "2002:0101:0101::1", "2001:0:7f00:1::1", "::ffff:0:127.0.0.1"),
]
NEVER = [
    *(ANY, "0.1.2.3", "::", "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1"),
    *("255.255.255.255", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    *("::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::169.254.169.254", "::169.254.169.254"),
    *("2002:a9fe:a9fe::1", "64:ff9b:1::169.254.169.254", "::ffff:0:169.254.169.254", "::ffff:100.100.100.200"),
    "2001:0:a9fe:a9fe::1",  # Teredo, by that server
    "2001:0:101:101::5601:5601",  # Teredo, of the client 169.254.169.254
    "64:ff9b:1:a9fe:a9:fe00::",  # behind a prefix of 48 bits (RFC 6052, 2.2)
    "64:ff9b:1:0:a9:fea9:fe00:0",  # behind one of 64
]


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"])
def test_without_a_setting_upstreams_may_be_on_the_internet(address: str) -> None:
    assert permits(PUBLIC_ONLY, address)


@pytest.mark.parametrize("address", PRIVATE + DISGUISED + NEVER)
def test_without_a_setting_they_may_be_nowhere_else(address: str) -> None:
    assert not permits(PUBLIC_ONLY, address)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_denied_whatever_the_setting_says(address: str) -> None:
    assert not permits(EVERYWHERE, address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1", "1.1.1.1"])
def test_others_are_allowed_where_the_setting_says_so(address: str) -> None:
    assert permits(EVERYWHERE, address)


def test_what_is_listed_is_allowed_and_nothing_beside_it() -> None:
    allow = UpstreamAllow.parse(["10.0.0.0/8:9000", "192.168.1.1", "[fd00::/8]:9000", "fc00:1::/32", "[fc00:2::/32]"])
    for address, port, is_allowed in [
        ("10.1.2.3", 9000, True),
        ("10.1.2.3", 9001, False),
        ("::ffff:10.1.2.3", 9000, True),
        ("64:ff9b::10.1.2.3", 9000, True),
        ("192.168.1.1", 1, True),
        ("192.168.1.2", 1, False),
        ("fd00::1", 9000, True),
        ("fd00::1", 80, False),
        ("fc00:1::1", 80, True),
        ("fc00:2::1", 80, True),
        ("1.1.1.1", 80, False),
    ]:
        assert permits(allow, address, port) is is_allowed, (address, port)


def test_public_addresses_may_be_allowed_beside_what_is_listed() -> None:
    allow = UpstreamAllow.parse(["public", "10.0.0.0/8"])
    assert [permits(allow, address) for address in ("1.1.1.1", "10.0.0.1", "192.168.0.1")] == [True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        *("10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8:", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:http"),
        *("[10.0.0.0/8", "[]", "[fd00::/8]9000", "fd00::/8:9000"),
        *("internal", "localhost:80", "https://example.org", "*", "Public"),
    ],
)
def test_a_place_that_can_t_be_is_refused_rather_than_guessed(text: str) -> None:
    with pytest.raises(ValueError, match=r"10\.|fd00|internal|example|Public|\*|localhost|\[\]"):
        UpstreamAllow.parse([text])
    with pytest.raises(ValueError, match="upstream_allow"):
        Settings(_env_file=None, upstream_allow=[text])  # type: ignore[call-arg]  # pydantic-settings takes it


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_spelling(address: IPv4Address) -> None:
    allow = UpstreamAllow.parse(["10.0.0.0/8", "public"])
    for spelling in ("::ffff:", "64:ff9b::"):
        assert permits(allow, f"{spelling}{address}") is permits(allow, str(address))


@given(st.ip_addresses())
def test_what_is_public_is_global_to_python_too(address: IPv4Address | IPv6Address) -> None:
    assert address.is_global or not is_public(address)


# ---------------------------------------------------------------- the gateway itself


@pytest.mark.parametrize("listener", ["127.0.0.1", ANY, "::"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"])
def test_the_gateway_is_no_upstream_of_its_own(listener: str, address: str) -> None:
    allow = UpstreamAllow.parse(["127.0.0.0/8", "::/0"], own=[(listener, 8000)])
    assert not permits(allow, address, 8000)
    assert permits(allow, address, 8001)


def test_another_address_may_use_the_port_of_the_gateway() -> None:
    for listener in ("127.0.0.1", ANY):
        assert permits(
            UpstreamAllow.parse(["10.0.0.0/8", "203.0.113.0/24"], own=[(listener, 8000)]), "203.0.113.9", 8000
        )


# ---------------------------------------------------------------- base URLs


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://a.example",
            "//a.example",
            "javascript:1",
            "http://",
            "http:///x",
            "http://[::1",
            "http://a.example:0",
        ),
        *("http://u:p@a.example", "http://u@a.example/", "http://a.example\\@b.example", "http://a.example:65536"),
        *("http://a.example/?q", "http://a.example/#f", "http://a.example/../x", "http://a.example /"),
        "http://a.example\r\n",
    ],
)
def test_an_upstream_is_http_or_https_without_user_info(url: str) -> None:
    with pytest.raises(Invalid):
        checked_upstream_url(url)


# ---------------------------------------------------------------- what is connected to


class Names(AbstractResolver):
    """A DNS of the test's own: each name's answers, one after the other, the last one again and again."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): answers for name, answers in answers.items()}

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # noqa: ARG002  # callers name it
        answers = self._answers[host.rstrip(".")]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [self._result(host, port, address) for address in addresses]

    def _result(self, host: str, port: int, address: str) -> ResolveResult:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        flags = socket.AI_NUMERICHOST
        return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": flags}

    async def close(self) -> None:
        pass


async def answer_of(upstream: Bytes, host: str, allow: UpstreamAllow, **options: Any) -> tuple[bytes, list[Exception]]:
    """What a call gets whose upstream has this host and the real one's port, and what it was refused for."""
    base_url = f"http://{host}:{upstream.port}"
    async with fronting(base_url, allow=allow, **options) as front:
        return (await front.get("/")).status_line, front.raised


LOOPBACK = [
    *("127.0.0.1", "localhost", "localhost.", "LOCALHOST", "2130706433", "0x7f000001", "0x7f.1", "017700000001"),
    *("127.1", "127.0.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "127.0.0.1.", "0", ANY),
]


@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_spelling_of_a_denied_address_is_connected_to(host: str) -> None:
    async with Bytes.listening(ok()) as upstream:
        status_line, raised = await answer_of(upstream, host, PUBLIC_ONLY)
        assert status_line.startswith(b"HTTP/1.1 502")
        assert [type(each) for each in raised] == [NeverReached]
        assert upstream.connections == 0


async def test_a_name_that_leads_to_a_denied_address_is_not_connected_to() -> None:
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        async with Bytes.listening(ok()) as upstream:
            names = Names(a_example=[[address]])
            _, raised = await answer_of(upstream, "a.example", PUBLIC_ONLY, resolver=names)
            assert [type(each) for each in raised] == [NeverReached]
            assert upstream.connections == 0


async def test_of_several_addresses_none_that_is_denied_is_connected_to() -> None:
    async with Bytes.listening(ok(b"allowed")) as upstream:
        for addresses in (["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["::1", "127.0.0.1"]):
            names = Names(a_example=[addresses])
            allow = UpstreamAllow.parse(["127.0.0.1/32"])
            status_line, _ = await answer_of(upstream, "a.example", allow, resolver=names)
            assert status_line.startswith(b"HTTP/1.1 200")
            _, raised = await answer_of(upstream, "a.example", UpstreamAllow.parse(["127.0.0.3/32"]), resolver=names)
            assert [type(each) for each in raised] == [NeverReached]
        assert upstream.connections == 3


async def test_each_connection_is_judged_by_the_address_it_goes_to_not_by_an_earlier_answer() -> None:
    async with Bytes.listening(ok(closing=True)) as upstream:
        names = Names(a_example=[["127.0.0.1"], ["127.0.0.2"]])
        allow = UpstreamAllow.parse(["127.0.0.1/32"])
        async with fronting(f"http://a.example:{upstream.port}", allow=allow, resolver=names) as front:
            assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 200")
            front.forget_names()
            assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 502")
        assert upstream.connections == 1


async def test_a_redirect_to_a_denied_address_is_the_callers_to_follow() -> None:
    async with Bytes.listening(ok()) as secret:
        location = f"http://127.0.0.1:{secret.port}/".encode()
        redirect = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
        async with Bytes.listening(redirect) as upstream, fronting(upstream.url) as front:
            answer = await front.get("/")
        assert answer.status_line.startswith(b"HTTP/1.1 302")
        assert answer.header(b"location") == [location]
        assert secret.connections == 0


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Bytes.listening(ok()) as proxy, Bytes.listening(ok(b"direct")) as upstream:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        async with fronting(upstream.url) as front:
            assert (await front.get("/")).body == b"direct"
        assert proxy.connections == 0


async def test_the_gateway_is_not_passed_on_to_itself() -> None:
    async with fronting("http://127.0.0.1:1") as front:
        front.base_url = front.url
        front.deny_itself()
        assert (await front.get("/")).status_line.startswith(b"HTTP/1.1 502")
        assert [type(each) for each in front.raised] == [NeverReached]
