"""Calls that are passed on over real sockets: upstreams that speak bytes, and a gateway that does nothing else.

async with Bytes.listening(ok(b"hello")) as upstream, fronting(upstream.url) as front:
    assert (await front.get("/a")).body == b"hello"
    assert upstream.heads[0].startswith(b"GET /a HTTP/1.1")
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from gateway.plane.passing import BrokenOff, NeverReached, Outgoing, Passing, UpstreamFailed, UpstreamTooSlow
from gateway.upstreams import UpstreamAllow
from tests.serving import serving

MEBIBYTE = 1 << 20
LOCAL = UpstreamAllow.parse(["127.0.0.0/8", "::1"])
Speak = Callable[["Line"], Awaitable[None]]


def ok(body: bytes = b"", *, closing: bool = False) -> bytes:
    """An answer, whole."""
    close = b"Connection: close\r\n" if closing else b""
    return b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: %d\r\n\r\n" % len(body) + body


@dataclass
class Line:
    """One connection, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def body(self, head: bytes) -> bytes:
        """The rest of a message, as it is framed on the wire."""
        if b"transfer-encoding: chunked" in head.lower():
            return await self.reader.readuntil(b"0\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return await self.reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """All until the other side ends, however it does."""
        received = b""
        with suppress(ConnectionError):
            while data := await self.reader.read(65_536):
                received += data
        return received

    def reset(self) -> None:
        """As when the other side's machine forgot the connection (RST)."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Bytes:
    """An upstream that answers each request with the same bytes, or as a function says that is given the line."""

    speak: Speak | bytes
    port: int = 0
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    @asynccontextmanager
    async def listening(cls, speak: Speak | bytes, **options: Any) -> AsyncIterator[Self]:
        upstream = cls(speak)
        server = await asyncio.start_server(upstream._serve, "127.0.0.1", 0, **options)
        upstream.port = server.sockets[0].getsockname()[1]
        try:
            yield upstream
        finally:
            server.close()
            for writer in upstream.open:
                with suppress(AttributeError):  # asyncio's own: one that ended after its last bytes has no loop left
                    writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if callable(self.speak):
                await self.speak(Line(reader, writer))
            else:
                await self._repeat(Line(reader, writer), self.speak)
        writer.close()

    async def _repeat(self, line: Line, answer: bytes) -> None:
        while True:
            self.heads.append(await line.head())
            self.bodies.append(await line.body(self.heads[-1]))
            await line.say(answer)
            if b"Connection: close" in answer:
                return


@dataclass
class Answer:
    head: bytes
    body: bytes

    @property
    def status_line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    def header(self, name: bytes) -> list[bytes]:
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:]]
        return [value for its_name, _, value in lines if its_name.lower() == name]


class Front:
    """A gateway that lets every call through, to one base URL."""

    def __init__(self, passing: Passing, base_url: str) -> None:
        self.passing = passing
        self.base_url = base_url
        self.url = ""
        self.raised: list[Exception] = []
        self.ended = asyncio.Event()
        """A call is over."""
        self.outgoing: dict[str, Any] = {}
        self.before: Callable[[], None] = lambda: None
        """Is called just before a call is passed on."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        known = {
            "base_url": self.base_url,
            "rest": scope["raw_path"],
            "query": scope["query_string"] or None,
            "method": scope["method"],
            "peer": scope["client"][0],
            "host": dict(scope["headers"]).get(b"host"),
            "identity": [(b"x-tessera-key", b"key_1"), (b"x-request-id", b"abc")],
        }
        call = Outgoing(**known | self.outgoing)
        self.before()
        try:
            await self.passing.pass_on(call, scope, receive, send)
        except BrokenOff as error:
            self.raised.append(error)
            raise
        except (NeverReached, UpstreamFailed, UpstreamTooSlow) as error:
            self.raised.append(error)
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
        finally:
            self.ended.set()

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """A caller's connection."""
        parts = urlsplit(self.url)
        line = Line(*await asyncio.open_connection(parts.hostname, parts.port))
        try:
            yield line
        finally:
            line.writer.close()

    async def ask(self, request: bytes) -> Answer:
        """The answer to a request that names `Connection: close`, as it is on the wire."""
        async with self.line() as line:
            await line.say(request)
            return Answer(*(await line.rest()).partition(b"\r\n\r\n")[::2])

    async def get(self, target: str, *headers: str) -> Answer:
        lines = [f"GET {target} HTTP/1.1", "Host: front", "Connection: close", *headers, "", ""]
        return await self.ask("\r\n".join(lines).encode("latin-1"))

    def forget_names(self) -> None:
        self.passing._connections._connector.clear_dns_cache()

    def deny_itself(self) -> None:
        port = urlsplit(self.url).port or 0
        self.passing._connections._allow = UpstreamAllow.parse(["127.0.0.0/8"], own=[("127.0.0.1", port)])


@asynccontextmanager
async def fronting(base_url: str, *, allow: UpstreamAllow = LOCAL, **options: Any) -> AsyncIterator[Front]:
    async with Passing(allow, **options) as passing:
        front = Front(passing, base_url)
        async with serving(front) as front.url:
            yield front


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


async def chunks_of(line: Line, count: int, size: int) -> None:
    for _ in range(count):
        await line.say(b"%x\r\n" % size + b"x" * size + b"\r\n")
    await line.say(b"0\r\n\r\n")
