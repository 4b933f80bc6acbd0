"""A real server on 127.0.0.1, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from gateway.protocol import GracefulStop

TURNS_UNTIL_CLOSED = 5
"""Of the event loop: by then it has noticed whoever has closed already."""


class Server(uvicorn.Server):
    """Uvicorn's, which leaves signals to pytest and tells when it begins to stop."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Uvicorn's looks ten times a second whether to stop."""
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's, without its pauses where nobody is left to be waited for."""
        self._on_stop()
        for _ in range(TURNS_UNTIL_CLOSED):
            await asyncio.sleep(0)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for listener in self.servers:
            listener.close()
        await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    app: ASGIApp, on_stop: Callable[[], None] = lambda: None, bound: socket.socket | None = None
) -> AsyncIterator[str]:
    """Serves the app until the block ends, on a socket if it is given; yields its URL, without a slash at the end."""
    with bound or socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,
            http=GracefulStop,
            log_level="warning",
            timeout_graceful_shutdown=5,
            server_header=False,
            date_header=False,
        )
        server = Server(config, on_stop)
        running = asyncio.create_task(server.serve([listener]))
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if not ready.done():
                raise RuntimeError("The app did not start.")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ready.cancel()
            server.stopping.set()
            await running
