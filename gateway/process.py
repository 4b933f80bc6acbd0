"""One process that serves: how it takes connections, and how it stops."""

import asyncio
import gc
import multiprocessing
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import structlog
import uvicorn

STOP_WITHIN_SECONDS = 10
CLOSE_WITHIN_SECONDS = 5
"""To write down what was refused, and to close the database."""
HURRY = signal.SIGUSR1
"""What the process that looks after the workers sends to those that are to stop at once.

Whoever stops a whole group of processes sends SIGTERM or SIGINT to each worker besides.
"""

log = structlog.get_logger("tessera.server")


def leave_alone_what_stands() -> None:
    """From now on the garbage collector looks at new objects alone, and seldom: it took a third of a query.

    What holds itself in a circle is found a little later; nothing else is kept longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


class Server(uvicorn.Server):
    """Uvicorn's, which also takes connections that wait for a worker that is stopped, gone or busy.

    It cuts nothing off before its time, and ends with status 0 when it was told to stop.
    """

    def __init__(self, config: uvicorn.Config, others: Sequence[socket.socket] = ()) -> None:
        super().__init__(config)
        self._others = others
        self._waiting: set[int] = set()
        """At which of them somebody waited a moment ago."""
        self._poll = select.poll()
        for listener in others:
            listener.setblocking(False)
            self._poll.register(listener, select.POLLIN)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        leave_alone_what_stands()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if not self.should_exit:
            before, self._waiting = self._waiting, {listener for listener, _ in self._poll.poll(0)}
            await self._take([each for each in self._others if each.fileno() in before & self._waiting])
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping", pid=os.getpid(), within_seconds=STOP_WITHIN_SECONDS)
        await self._take(sockets or ())
        for each in [*self.servers, *(sockets or ()), *self._others]:
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._until_all_is_answered()
        self._cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_SECONDS):
                await self.lifespan.shutdown()
        log.info("stopped", pid=os.getpid())

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but the process doesn't end by the signal once all has stopped."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM, HURRY)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # what a handler is given
        """The second hurries; a worker is hurried by the process that looks after it alone."""
        if sig == HURRY or (self.should_exit and not multiprocessing.parent_process()):
            self.force_exit = True
        self.should_exit = True

    async def _take(self, listeners: Sequence[socket.socket]) -> None:
        """Lets in who waits there."""
        loop = asyncio.get_running_loop()
        for listener in listeners:
            with suppress(OSError):  # nobody waits, or whoever waited is gone
                while True:
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # each class has these
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def _until_all_is_answered(self) -> None:
        """Or until there is no time for it."""
        ends_at = time.monotonic() + STOP_WITHIN_SECONDS
        while self.server_state.connections or self.server_state.tasks:
            if self.force_exit or time.monotonic() > ends_at:
                return
            await asyncio.sleep(0.02)

    def _cut(self) -> None:
        connections, calls = len(self.server_state.connections), len(self.server_state.tasks)
        if connections or calls:
            log.warning("connections_cut", connections=connections, calls=calls, is_hurried=self.force_exit)
        for task in self.server_state.tasks:
            task.cancel()
