"""Who looks after the workers: replaces those that end or hang, restarts them one after another, stops them all."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain
from multiprocessing import connection

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway.process import CLOSE_WITHIN_SECONDS, HURRY, STOP_WITHIN_SECONDS, Server

CUT_AFTER_SECONDS = STOP_WITHIN_SECONDS + CLOSE_WITHIN_SECONDS + 5
BEGIN_WITHIN_SECONDS = 60
HANGS_AFTER_SECONDS = 6

log = structlog.get_logger("tessera.server")


class Worker(Process):
    """Uvicorn's, which has a listening socket of its own, and takes what waits too long at those of the others."""

    def __init__(self, config: uvicorn.Config, listeners: Sequence[socket.socket], place: int) -> None:
        own = listeners[place]
        self._others = [each for each in listeners if each is not own]
        super().__init__(config, [own])

    @cached_property
    def server(self) -> Server:
        """In the worker itself."""
        return Server(self.config, self._others)

    def answers(self) -> list[bool]:
        """Whether it served each time that it has answered since it was asked last; it is asked again."""
        said = []
        with suppress(OSError, EOFError):
            self.parent_conn.send(b"ping")
            while self.parent_conn.poll():
                said.append(self.parent_conn.recv())
        return said


class Supervisor(Multiprocess):
    """Uvicorn's, which replaces each worker that ends, also one that can't begin while the database is away.

    It waits for none of them forever, and for none of them alone: one that hangs keeps no other from being replaced,
    nor the gateway from stopping.
    """

    processes: list[Worker]  # type: ignore[assignment]  # a list of the workers that it makes itself

    def __init__(self, config: uvicorn.Config, listeners: Sequence[socket.socket]) -> None:
        super().__init__(config, list(listeners))
        self._hangs_at: dict[int | None, float] = {}
        self._beside: list[Worker] = []
        """Who begins or leaves in a rolling restart."""
        self._restart: Iterator[None] = iter(())

    def init_processes(self) -> None:
        self.processes = [self._started(place) for place in range(len(self.sockets))]

    def keep_subprocess_alive(self) -> None:
        for place, worker in enumerate(self.processes):
            if worker.exitcode is None and not self._hangs(worker):
                continue
            _end(worker)
            log.warning("worker_replaced", pid=worker.pid, exit_code=worker.exitcode)
            self._hangs_at.pop(worker.pid, None)
            self.processes[place] = self._started(place)
        next(self._restart, None)

    def restart_all(self) -> None:
        """Begins, once a restart that is under way is over."""
        self._restart = chain(self._restart, self._restarting())

    def terminate_all(self) -> None:
        log.info("stopping", pid=os.getpid(), workers=len(self._everyone()))
        for listener in self.sockets:
            listener.close()
        for worker in self._everyone():
            worker.terminate()

    def join_all(self) -> None:
        ends_at = time.monotonic() + CUT_AFTER_SECONDS
        while (present := self._everyone()) and time.monotonic() < ends_at:
            connection.wait([each.process.sentinel for each in present], timeout=0.1)
            self.handle_signals()
        for worker in present:
            log.error("worker_cut_off", pid=worker.pid)
            _end(worker)
        log.info("stopped", pid=os.getpid())

    def handle_int(self) -> None:
        self._stop_or_hurry()

    def handle_term(self) -> None:
        self._stop_or_hurry()

    def handle_ttin(self) -> None:
        """There are as many workers as there are listening sockets."""

    handle_ttou = handle_ttin

    def _stop_or_hurry(self) -> None:
        if self.should_exit.is_set():
            for worker in self._everyone():
                os.kill(worker.pid or 0, HURRY)
        self.should_exit.set()

    def _everyone(self) -> list[Worker]:
        """Those who have not ended."""
        return [each for each in (*self.processes, *self._beside) if each.exitcode is None]

    def _started(self, place: int) -> Worker:
        worker = Worker(self.config, self.sockets, place)
        worker.start()
        return worker

    def _restarting(self) -> Iterator[None]:
        """A step whenever the workers are looked after: for each another begins, and once that one serves it stops."""
        for place in range(len(self.processes)):
            begun = self._started(place)
            self._beside = [begun]
            ends_at = time.monotonic() + BEGIN_WITHIN_SECONDS
            while True not in begun.answers():
                if begun.exitcode is not None or time.monotonic() > ends_at:
                    _end(begun)
                    log.error("restart_given_up", pid=begun.pid, exit_code=begun.exitcode)
                    return
                yield
            leaving, self.processes[place] = self.processes[place], begun
            self._beside = [leaving]
            yield from _leaving(leaving)

    def _hangs(self, worker: Worker) -> bool:
        now = time.monotonic()
        if worker.answers():
            self._hangs_at[worker.pid] = now + HANGS_AFTER_SECONDS
        return now > self._hangs_at.setdefault(worker.pid, now + BEGIN_WITHIN_SECONDS)


def _leaving(worker: Worker) -> Iterator[None]:
    worker.terminate()
    ends_at = time.monotonic() + CUT_AFTER_SECONDS
    while worker.exitcode is None:
        if time.monotonic() > ends_at:
            log.error("worker_cut_off", pid=worker.pid)
            _end(worker)
        yield


def _end(worker: Worker) -> None:
    worker.kill()
    worker.join()
