"""Servers that do less than the gateway, beside which it is measured: the web stack alone, and passing on alone."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.plane.passing import Outgoing, Passing
from gateway.upstreams import UpstreamAllow

ITEMS = b'{"items": [%b]}' % b", ".join(b'{"id": %d, "name": "number %d"}' % (n, n) for n in range(1, 9))
PROJECTS = b"/api/projects/"
Answering = Callable[[Scope, Receive, Send], Awaitable[None]]


def answering(body: bytes, media_type: bytes | None = None) -> Answering:
    headers = [(b"content-length", b"%d" % len(body)), *([(b"content-type", media_type)] if media_type else [])]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


raw = answering(b"")
"""The least that an ASGI application can do."""

upstream = answering(ITEMS, b"application/json")
"""What calls are passed on to."""


async def empty(request: Request) -> Response:
    return Response()


async def nothing(request: Request) -> Response:
    await request.body()
    return Response(b"{}", media_type="application/json")


async def same(request: Request) -> Response:
    await request.body()
    return Response(ANSWER, media_type="application/json")


ANSWER = Path(os.environ.get("BENCH_ANSWER", os.devnull)).read_bytes()
constant = Starlette(routes=[Route("/graphql", same, methods=["POST"])])
"""The same bytes for each question, from the file BENCH_ANSWER."""

framework = Starlette(routes=[Route("/authorize/{project}", empty), Route("/graphql", nothing, methods=["POST"])])
"""The least that a Starlette application can do."""


class PassingAlone:
    """The gateway's own client before BENCH_UPSTREAM, which neither checks nor counts a call."""

    def __init__(self) -> None:
        self._upstream = os.environ.get("BENCH_UPSTREAM", "")
        self._passing = Passing(UpstreamAllow.parse(["127.0.0.0/8"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: bytes = scope["raw_path"]
        call = Outgoing(
            base_url=self._upstream,
            rest=path[path.index(b"/", len(PROJECTS)) :],
            query=scope["query_string"] or None,
            method=scope["method"],
            peer=scope["client"][0],
        )
        await self._passing.pass_on(call, scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._passing:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


passing_alone = PassingAlone()
