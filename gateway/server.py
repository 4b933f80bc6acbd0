"""How the gateway is served: uvicorn, in one process or several, and how it stops."""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from threading import Thread
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import logs
from gateway.app import create_app
from gateway.listeners import url_of
from gateway.process import Server
from gateway.protocol import GracefulStop
from gateway.settings import Settings
from gateway.supervisor import Supervisor

WORKER = b"tessera-worker"
ANSWERS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})

log = structlog.get_logger("tessera.server")


def serve(settings: Settings, listeners: Sequence[socket.socket]) -> None:
    """Serves by a worker for each of these, until SIGINT or SIGTERM."""
    listener, workers = listeners[0], len(listeners)
    config = uvicorn.Config(
        partial(application, sharing(settings, workers), listener.getsockname()[:2]),
        factory=True,
        workers=workers,
        http=GracefulStop,
        log_config=None,
        access_log=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        server_header=False,
        date_header=False,  # an upstream's own passes, and the application dates the others
        ws_max_size=settings.max_body_bytes,
    )
    log.info("serving", url=url_of(listener), workers=workers)
    if workers == 1:
        Server(config).run([listener])
    else:
        Supervisor(config, listeners).run()


@contextmanager
def serving_beside(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serves another application on a thread of its own, until the block or the process ends."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def sharing(settings: Settings, workers: int) -> Settings:
    """Settings by which the workers share a rate per second, unless they say over how many processes it is shared."""
    return settings if "processes" in settings.model_fields_set else settings.model_copy(update={"processes": workers})


def application(settings: Settings, address: tuple[str, int]) -> ASGIApp:
    """What each process serves; made within its event loop, once uvicorn has taken the signals."""
    logs.configure()
    app = create_app(settings, [address])
    loop = asyncio.get_running_loop()

    for number in (signal.SIGINT, signal.SIGTERM):
        _add_handler(number, lambda: loop.call_soon_threadsafe(app.state.stop))
    if parent := multiprocessing.parent_process():
        Thread(target=_stop_without, args=(parent,), daemon=True).start()
    return naming_the_worker(app) if settings.worker_header == "on" else app


def naming_the_worker(app: ASGIApp) -> ASGIApp:
    """The same, where each answer tells by `Tessera-Worker` the id of the process that gave it."""
    field = (WORKER, b"%d" % os.getpid())

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] in ANSWERS:
                message["headers"] = [*message.get("headers", ()), field]
            await send(message)

        await app(scope, receive, send_named)

    return named


def _stop_without(parent: BaseProcess) -> None:
    """Has a worker stop once the process that looks after the workers is gone."""
    parent.join()
    log.warning("stopping_without_parent", parent=parent.pid)
    os.kill(os.getpid(), signal.SIGTERM)


def _add_handler(number: signal.Signals, act: Callable[[], Any]) -> None:
    """Acts on a signal, and leaves it to whoever had it before."""
    before = signal.getsignal(number)

    def handle(number: int, frame: FrameType | None) -> None:
        act()
        if callable(before):
            before(number, frame)

    signal.signal(number, handle)
