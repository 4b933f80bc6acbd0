"""Passing a call on to its upstream, and the answer back.

Of aiohttp, its connector and its parser are used and not its session, which adds headers, decodes bodies, follows
redirects, and sends a request again that may have arrived. connections.py and this file alone know it.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from aiohttp.streams import EofStream, StreamReader

from gateway.plane import heads
from gateway.plane.connections import Connections, NeverReached, Upstream, protocol_of
from gateway.plane.heads import Header, Malformed, Outgoing
from gateway.upstreams import UpstreamAllow

__all__ = [
    "BodyNeverCame",
    "BrokenOff",
    "CallerTooSlow",
    "NeverReached",
    "Outgoing",
    "Passing",
    "UpstreamFailed",
    "UpstreamTooSlow",
]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[RawResponseMessage, StreamReader]

SMALL_BODY_BYTES = 65_536
MOST_FIELD_BYTES, MOST_HEADERS = 65_536, 256
SWITCHING_PROTOCOLS = 101
UNWATCHED_SECONDS = 0.1
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}  # RFC 9110, 9.2.2
BROKEN = (aiohttp.ClientError, HttpProcessingError, EofStream, OSError, Malformed)


@dataclass(frozen=True, slots=True)
class Limits:
    first_byte_seconds: float
    """From the end of the request's body to the head of the answer."""
    idle_seconds: float
    """While nothing of a body moves, in either direction."""


class UpstreamFailed(Exception):
    """It was reached, and gave no answer that can be passed on."""


class UpstreamTooSlow(Exception):
    """It was reached, and nothing of an answer came in time."""


class CallerTooSlow(UpstreamTooSlow):
    """The request's body stopped coming: 408."""


class BodyNeverCame(NeverReached):
    """The request's body stopped coming while it was awaited before the upstream was called: 408."""


class BrokenOff(Exception):
    """An answer ended amid itself. On it the server closes the caller's connection: nobody may take it for whole."""


class CallerGone(Exception):
    """There is nobody left to answer."""


TooSlow = type[UpstreamTooSlow | NeverReached]


class Passing:
    """Passes calls on; lives as long as the gateway: `async with Passing(...)`."""

    def __init__(
        self,
        allow: UpstreamAllow,
        *,
        connect_seconds: float = 5,
        first_byte_seconds: float = 60,
        idle_seconds: float = 60,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._connections = Connections(allow, connect_seconds, resolver, tls)
        self._limits = Limits(first_byte_seconds, idle_seconds)

    async def __aenter__(self) -> Self:
        await self._connections.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.close()

    async def pass_on(self, call: Outgoing, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the call to its upstream, and the answer to the caller; nothing where the caller has gone.

        Raises NeverReached, UpstreamFailed, UpstreamTooSlow while nothing has been sent to the caller; afterwards
        BrokenOff, which must reach the server.
        """
        await Passage(self._connections, self._limits, call, scope["headers"], receive, send).run()


class Passage:
    """One call on its way; at most one task beside the server's own."""

    def __init__(
        self,
        connections: Connections,
        limits: Limits,
        call: Outgoing,
        received: list[Header],
        receive: Receive,
        send: Send,
    ) -> None:
        self._connections = connections
        self._limits = limits
        self._call = call
        self._received = received
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._helper: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._deadline = 0.0
        self._too_slow: TooSlow = UpstreamTooSlow
        self._interruption: BaseException | None = None
        self._is_sent = False
        """The upstream has the whole request."""
        self._has_begun = False
        """The caller has some of the answer."""
        self._is_whole = False
        """The gateway has the whole answer."""

    async def run(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # nothing else awaits
        self._cancel = task.cancel
        try:
            await self._run()
        except asyncio.CancelledError:
            if self._interruption is None or task.uncancel() > 0:
                raise
            self._end_early(self._interruption)
        except BROKEN as error:
            self._end_early(UpstreamFailed("The upstream broke off."), error)
        finally:
            self._stop()

    async def _run(self) -> None:
        upstream = self._connections.upstream(self._call.base_url)
        request = heads.request_head(self._call, upstream.authority, upstream.path, self._received)
        length, is_chunked = heads.content_length(self._received), heads.is_chunked(self._received)
        if is_chunked or length > SMALL_BODY_BYTES:
            protocol, _ = await self._connect(upstream)
            message, body = await self._ask_streaming(protocol, request, is_chunked=is_chunked)
        else:
            request += await self._small_body() if length else b""
            message, body = await self._ask(upstream, request)
        await self._answer(message, body)

    def _end_early(self, why: BaseException, cause: BaseException | None = None) -> None:
        """Tells why the call has no answer, or no whole one; nobody is told where the caller has gone."""
        if isinstance(why, CallerGone):
            return
        if self._has_begun:
            raise BrokenOff(str(why)) from (cause or why)
        raise why from cause

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._helper is not None:
            self._helper.cancel()
        self._give_up_connection()

    # The request

    async def _connect(self, upstream: Upstream, *, is_kept_good: bool = True) -> tuple[ResponseHandler, bool]:
        """A connection made ready for the call, and whether it served another before. Raises NeverReached."""
        self._connection, was_kept = await self._connections.connect(upstream, is_kept_good=is_kept_good)
        protocol = protocol_of(self._connection)
        protocol.set_response_params(
            skip_payload=self._call.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            max_field_size=MOST_FIELD_BYTES,
            max_headers=MOST_HEADERS,
        )
        return protocol, was_kept

    async def _small_body(self) -> bytes:
        """The whole of it: such a call needs no second task, and can be repeated."""
        self._limit(self._limits.idle_seconds, BodyNeverCame)
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise NeverReached("The caller went away.")
            body += message.get("body", b"")
            if not message.get("more_body", False):
                return bytes(body)

    async def _ask(self, upstream: Upstream, request: bytes) -> Answer:
        """Repeats the call once where a kept connection ended without a byte and a repetition changes nothing."""
        protocol, was_kept = await self._connect(upstream)
        try:
            return await self._ask_once(protocol, request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not was_kept or self._call.method not in IDEMPOTENT:
                raise
        self._give_up_connection()
        try:
            protocol, _ = await self._connect(upstream, is_kept_good=False)
        except NeverReached as error:  # now, but perhaps not before
            raise UpstreamFailed("The upstream closed the connection.") from error
        return await self._ask_once(protocol, request)

    async def _ask_once(self, protocol: ResponseHandler, request: bytes) -> Answer:
        if protocol.transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.transport.write(request)
        self._is_sent = True
        self._limit(self._limits.first_byte_seconds)
        return await _final_head(protocol)

    async def _ask_streaming(self, protocol: ResponseHandler, head: bytes, *, is_chunked: bool) -> Answer:
        """Sends the body while it comes; the answer may begin before that ends."""
        writer = StreamWriter(protocol, self._loop)
        await writer.write(head)
        if is_chunked:
            writer.enable_chunking()
        self._help(self._send_body(writer))
        return await _final_head(protocol)

    async def _send_body(self, writer: StreamWriter) -> None:
        """Raises CallerGone."""
        try:
            while not self._is_sent:
                self._limit(self._limits.idle_seconds, CallerTooSlow)
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise CallerGone
                self._limit(self._limits.idle_seconds)
                if message.get("body"):
                    await writer.write(message["body"])
                if not message.get("more_body", False):
                    await writer.write_eof()
                    self._is_sent = True
        except OSError:
            return  # an upstream may answer without having read all; if it doesn't, who reads the answer sees it
        self._limit(self._limits.idle_seconds if self._has_begun else self._limits.first_byte_seconds)
        await self._watch()

    # The answer

    async def _answer(self, message: RawResponseMessage, body: StreamReader) -> None:
        headers = heads.answer_headers(self._call, message.code, message.raw_headers)
        start = {"type": "http.response.start", "status": message.code, "headers": headers}
        if body.is_eof():  # a small one is all there already, and leaves at once
            content = body.read_nowait()
            self._finish(message)
            await self._begin(start)
            await self._send({"type": "http.response.body", "body": content})
            return
        await self._begin(start)
        while not self._is_whole:
            self._limit(self._limits.idle_seconds)
            content = await body.readany()
            self._limit(self._limits.idle_seconds)
            if body.at_eof():
                self._finish(message)
            await self._send({"type": "http.response.body", "body": content, "more_body": not self._is_whole})

    async def _begin(self, start: Message) -> None:
        self._has_begun = True
        await self._send(start)

    def _finish(self, message: RawResponseMessage) -> None:
        """Gives the connection back. Raises OSError where an answer that the connection's end would end was cut off."""
        connection = self._connection
        assert connection is not None  # noqa: S101  # the answer came over it
        if _was_cut_off(protocol_of(connection), message):
            raise aiohttp.ClientConnectionResetError("the answer was cut off")
        self._is_whole = True
        if self._is_sent:
            connection.release()
            self._connection = None
        else:
            self._give_up_connection()

    def _give_up_connection(self) -> None:
        """At once, also where the upstream doesn't take what was written."""
        if self._connection is not None:
            if self._connection.transport is not None:
                self._connection.transport.abort()
            self._connection.close()
            self._connection = None

    # Meanwhile

    def _limit(self, seconds: float, too_slow: TooSlow = UpstreamTooSlow) -> None:
        """From now on something must move within so many seconds."""
        now = self._loop.time()
        self._deadline, self._too_slow = now + seconds, too_slow
        due = self._deadline if self._is_watched() else min(self._deadline, now + UNWATCHED_SECONDS)
        if self._timer is None or due < self._due:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """Interrupts a call that stands still, and begins to watch the caller of one that takes a while."""
        if self._loop.time() >= self._deadline:
            self._interrupt(self._too_slow("Nothing moved in time."))
            return
        if not self._is_watched():
            self._help(self._watch())
        self._arm(self._deadline)

    def _is_watched(self) -> bool:
        """Whether it would be seen that the caller goes away; who waits for the body sees it too."""
        return self._helper is not None or not self._is_sent

    def _help(self, work: Coroutine[Any, Any, None]) -> None:
        self._helper = self._loop.create_task(work)
        self._helper.add_done_callback(self._helped)

    def _helped(self, helper: asyncio.Task[None]) -> None:
        if not helper.cancelled() and (error := helper.exception()) is not None:
            self._interrupt(error)

    async def _watch(self) -> NoReturn:
        """Raises CallerGone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise CallerGone

    def _interrupt(self, why: BaseException) -> None:
        if self._interruption is None and not self._is_whole:
            self._interruption = why
            self._cancel()


async def _final_head(protocol: ResponseHandler) -> Answer:
    """The first that isn't interim: those can't be passed on over ASGI (RFC 9110, 15.2). Raises Malformed."""
    while True:
        message, body = await protocol.read()
        if 200 <= message.code < 600:
            return message, body
        if not 100 <= message.code < 200 or message.code == SWITCHING_PROTOCOLS:
            raise Malformed("a status that nobody asked for")


def _was_cut_off(protocol: ResponseHandler, message: RawResponseMessage) -> bool:
    """Whether the connection broke that was to mark the end of the answer by closing (RFC 9112, 6.3)."""
    if message.chunked or "content-length" in message.headers:
        return False
    return not isinstance(protocol.exception(), aiohttp.ServerDisconnectedError | None)
