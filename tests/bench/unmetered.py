"""The gateway's own client in front of an upstream, without any check and without the meter: the proxy's limit."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from gateway.heads import Outgoing
from gateway.passing import Passing
from gateway.upstreams import UpstreamAllow

UPSTREAM = os.environ.get("UPSTREAM", "")


class PassesOn:
    def __init__(self) -> None:
        self._passing: Passing | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._passing:
            call = Outgoing(UPSTREAM, scope["raw_path"], scope["query_string"] or None, scope["method"])
            await self._passing.pass_on(call, scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._opened():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        async with Passing(UpstreamAllow.parse(["127.0.0.0/8"])) as self._passing:
            yield


app = PassesOn()
