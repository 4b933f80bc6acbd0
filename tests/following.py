"""A client that follows a subscription, over Server-Sent Events or a WebSocket, and can vanish at any moment.

async with following("sse", url, Asked("subscription { viewerKeyEvents { cursor } }", token=token)) as events:
    told = await events.next()
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect

TRANSPORTS = ("sse", "websocket")
PROTOCOL = websockets.Subprotocol("graphql-transport-ws")
PATIENCE_SECONDS = 10.0


class Refused(Exception):
    """An answer over HTTP that is no stream."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


GONE = (OSError, EOFError, websockets.WebSocketException)
"""What a client meets when the server, or the wire to it, is gone."""


class Ended(Exception):
    """The server ended it in order: a stream or an operation that is complete, or a socket with its close code."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Asked:
    """A subscription, and who asks for it."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    last_event_id: str | None = None
    """Over Server-Sent Events alone."""

    @property
    def body(self) -> dict[str, Any]:
        return {"query": self.query, "variables": self.variables}


@dataclass(frozen=True)
class Told:
    """One answer: `id` is the event's, over Server-Sent Events."""

    body: dict[str, Any]
    id: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The event itself; there must be no error beside it."""
        assert "errors" not in self.body, self.body
        [event] = self.body["data"].values()
        return dict(event)

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.body.get("errors", ())]


class Following(Protocol):
    async def next(self) -> Told:
        """The next answer. Raises Ended, one of GONE, and TimeoutError (which is one) after PATIENCE_SECONDS."""

    def abort(self) -> None:
        """Vanishes: the connection is reset, and nothing is said."""


@asynccontextmanager
async def following(transport: str, url: str, asked: Asked) -> AsyncIterator[Following]:
    """Follows at the gateway of this URL until the block ends. Raises Refused, Ended, one of GONE."""
    if transport == "sse":
        async with _stream(url, asked) as stream:
            yield stream
    else:
        async with _operation(url, asked) as operation:
            yield operation


class Stream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._blocks: deque[str] = deque()

    async def next(self) -> Told:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                while not self._blocks:
                    self._blocks.extend((await self._chunk()).split("\n\n"))
                fields = dict(line.split(": ", 1) for line in self._blocks.popleft().splitlines() if ": " in line)
                if fields.get("event") == "complete":
                    raise Ended
                if "data" in fields:
                    return Told(json.loads(fields["data"]), fields.get("id"))

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _chunk(self) -> str:
        """Whole events and comments: the gateway breaks none in two (RFC 9112, 7.1)."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        chunk = await self._reader.readexactly(size + 2)
        if not size:
            raise Ended
        return chunk.decode()


@asynccontextmanager
async def _stream(url: str, asked: Asked) -> AsyncIterator[Stream]:
    host, port = urlsplit(url).netloc.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(_request(asked))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if (status := int(head.split()[1])) != 200:
            raise Refused(status)
        yield Stream(reader, writer)
    finally:
        writer.transport.abort()


def _request(asked: Asked) -> bytes:
    body = json.dumps(asked.body).encode()
    headers = {
        "Host": "tessera",
        "Accept": "text/event-stream",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Authorization": f"Bearer {asked.token}" if asked.token else None,
        "Last-Event-ID": asked.last_event_id,
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join(["POST /graphql HTTP/1.1", *lines, "", ""]).encode() + body


class Operation:
    """The one operation of a socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._is_over = False

    async def begin(self, asked: Asked) -> None:
        payload = {"authorization": f"Bearer {asked.token}"} if asked.token else {}
        await self._send({"type": "connection_init", "payload": payload})
        assert (await self._receive())["type"] == "connection_ack"
        await self._send({"type": "subscribe", "id": "1", "payload": asked.body})

    async def next(self) -> Told:
        if self._is_over:
            raise Ended
        message = await self._receive()
        if message["type"] == "complete":
            raise Ended
        self._is_over = message["type"] == "error"
        return Told({"errors": message["payload"]} if self._is_over else message["payload"])

    def abort(self) -> None:
        self._socket.transport.abort()

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(message))

    async def _receive(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return dict(json.loads(await self._socket.recv()))
            except websockets.ConnectionClosed as closed:
                if closed.rcvd is None:
                    raise
                raise Ended(closed.rcvd.code) from closed


@asynccontextmanager
async def _operation(url: str, asked: Asked) -> AsyncIterator[Operation]:
    address = f"{url.replace('http', 'ws', 1)}/graphql"
    async with connect(address, subprotocols=[PROTOCOL], compression=None, proxy=None, close_timeout=1) as socket:
        operation = Operation(socket)
        await operation.begin(asked)
        yield operation
