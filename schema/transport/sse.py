"""Server-Sent Events in the "distinct connections" mode of graphql-sse: one operation, one stream.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md; the framing is WHATWG HTML, 9.2.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from enum import Enum, auto
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.auth import NOT_KNOWN
from gateway.errors import Unavailable
from schema.transport.accept import MediaType
from schema.transport.call import Call
from schema.transport.errors import bare
from schema.transport.execution import Answer
from schema.transport.race import first

COMMENT = b":\n\n"
COMPLETE = b"event: complete\ndata:\n\n"
LAST_WORD_SECONDS = 0.5  # a client that reads nothing is not waited for


class Ending(Enum):
    COMPLETED = auto()
    DISCONNECTED = auto()
    TOKEN_ENDED = auto()
    TOKEN_UNKNOWN = auto()
    STOPPING = auto()


TOLD = {
    Ending.TOKEN_ENDED: ("UNAUTHENTICATED", "The token has ended."),
    Ending.TOKEN_UNKNOWN: ("UNAVAILABLE", NOT_KNOWN),
}


class EventStream(Response):
    """Answers as events, until they end, the client goes, its token ends, or the server stops."""

    media_type = MediaType.EVENT_STREAM.value

    def __init__(
        self,
        answers: AsyncGenerator[Answer, None],
        call: Call[Any],
        *,
        token_ended: Callable[[], Awaitable[None]],
        stopping: asyncio.Event,
        comment_seconds: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._answers = answers
        self._call = call
        self._token_ended = token_ended
        self._stopping = stopping
        self._comment_seconds = comment_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        ending = await first(
            self._send_answers(send),
            self._send_comments(send),
            self._watch_client(receive),
            self._watch_token(),
            self._watch_server(),
        )
        if ending is not Ending.DISCONNECTED:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await send({"type": "http.response.body", "body": self._last_word(ending), "more_body": False})

    async def _send_answers(self, send: Send) -> Ending:
        async with aclosing(self._answers) as answers:
            async for answer in answers:
                await _send_part(send, event(answer.body, self._call.cursor if answer.was_run else None))
        return Ending.COMPLETED

    async def _send_comments(self, send: Send) -> Ending:
        while True:
            await asyncio.sleep(self._comment_seconds)
            await _send_part(send, COMMENT)

    async def _watch_client(self, receive: Receive) -> Ending:
        while (await receive())["type"] != "http.disconnect":
            pass
        return Ending.DISCONNECTED

    async def _watch_token(self) -> Ending:
        try:
            await self._token_ended()
        except Unavailable:
            return Ending.TOKEN_UNKNOWN
        return Ending.TOKEN_ENDED

    async def _watch_server(self) -> Ending:
        await self._stopping.wait()
        return Ending.STOPPING

    def _last_word(self, ending: Ending) -> bytes:
        if ending is Ending.STOPPING:
            return b""  # without `complete` a client knows that there is more, and comes again
        if ending in TOLD:
            error = bare(*TOLD[ending], self._call.request_id)
            return event({"errors": [error]}) + COMPLETE
        return COMPLETE


def event(body: dict[str, object], cursor: str | None = None) -> bytes:
    """One `next` event; JSON holds no line breaks, so one data line is enough."""
    line = b"id: " + cursor.encode() + b"\n" if cursor is not None else b""
    return line + b"event: next\ndata: " + orjson.dumps(body) + b"\n\n"


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})
