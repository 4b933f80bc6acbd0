"""The connections that calls are passed on by: secured, kept for the next, and ended with who goes away."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.plane.passing import NeverReached, UpstreamFailed
from tests.passage import Bytes, Front, Line, echoing, fronting, kinds, ok, spoken
from tests.test_sse import settled
from tests.test_upstreams import Names

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
