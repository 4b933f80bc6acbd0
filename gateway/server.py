"""How the gateway is served: uvicorn, in one process or several, and how it stops."""

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from threading import Thread
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway import logs
from gateway.app import create_app
from gateway.errors import TesseraError
from gateway.protocol import GracefulStop
from gateway.settings import Settings

STOP_WITHIN_SECONDS = 10
CUT_AFTER_SECONDS = STOP_WITHIN_SECONDS + 10  # a worker also writes down what it refused, and closes the database
BEGIN_WITHIN_SECONDS = 60
HANGS_AFTER_SECONDS = 6
WORKER = b"tessera-worker"
ANSWERS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})

log = structlog.get_logger("tessera.server")


class PortTaken(TesseraError):
    code = "PORT_TAKEN"


class Supervisor(Multiprocess):
    """Uvicorn's, which replaces each worker that ends, also one that can't begin while the database is away.

    It waits for none of them forever: one that hangs keeps no other from being replaced, nor the gateway from stopping.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._hangs_at: dict[int | None, float] = {}

    def keep_subprocess_alive(self) -> None:
        for index, process in enumerate(self.processes):
            if process.exitcode is None and not self._hangs(process):
                continue
            process.kill()
            process.join()
            log.warning("worker_replaced", pid=process.pid, exit_code=process.exitcode)
            self._hangs_at.pop(process.pid, None)
            self.processes[index] = Process(self.config, self.sockets)
            self.processes[index].start()

    def join_all(self) -> None:
        ends_at = time.monotonic() + CUT_AFTER_SECONDS
        for each in self.processes:
            each.process.join(max(0, ends_at - time.monotonic()))
            if each.process.is_alive():
                log.error("worker_cut_off", pid=each.pid)
                each.process.kill()
                each.process.join()

    def _hangs(self, process: Process) -> bool:
        now = time.monotonic()
        if _answers(process):
            self._hangs_at[process.pid] = now + HANGS_AFTER_SECONDS
        return now > self._hangs_at.setdefault(process.pid, now + BEGIN_WITHIN_SECONDS)


def listen(host: str, port: int) -> socket.socket:
    """Raises PortTaken, also for an address that isn't this machine's."""
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "there is no such host"
        raise PortTaken(f"The gateway can't listen on {host} port {port}: {reason}.") from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it, whatever the loop
    return listener


def serve(settings: Settings, listener: socket.socket, workers: int = 1) -> None:
    """Serves until SIGINT or SIGTERM; what is under way then has `STOP_WITHIN_SECONDS`."""
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
        timeout_graceful_shutdown=STOP_WITHIN_SECONDS,
        timeout_worker_healthcheck=BEGIN_WITHIN_SECONDS,
        ws_max_size=settings.max_body_bytes,
    )
    log.info("serving", url=url_of(listener), workers=workers)
    if workers == 1:
        _serve_here(config, listener)
    else:
        _serve_by_workers(config, listener)


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

    def stop() -> None:
        log.info("stopping", within_seconds=STOP_WITHIN_SECONDS)
        app.state.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        _add_handler(number, lambda: loop.call_soon_threadsafe(stop))
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


def _serve_here(config: uvicorn.Config, listener: socket.socket) -> None:
    server = uvicorn.Server(config)
    try:
        server.run([listener])
    except KeyboardInterrupt:  # which uvicorn raises again when all has stopped
        return


def _serve_by_workers(config: uvicorn.Config, listener: socket.socket) -> None:
    Supervisor(config, [listener]).run()


def _answers(process: Process) -> bool:
    """Whether a worker has answered since it was asked last; it is asked again."""
    has_answered = False
    with suppress(OSError, EOFError):
        process.parent_conn.send(b"ping")
        while process.parent_conn.poll():
            process.parent_conn.recv()
            has_answered = True
    return has_answered


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


def url_of(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
