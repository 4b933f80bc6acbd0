"""Several workers behind one address: each takes its share, and whatever becomes of one, nobody waits for it."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gateway import supervisor
from gateway.database import connected
from gateway.listeners import SPREADS, PortTaken, listening
from gateway.signing import Keyring
from gateway.supervisor import Worker
from tests.gatehouse import offer
from tests.mortal import children_of
from tests.stage import SECRET_KEY
from tests.test_cli import Served, Tessera
from tests.test_graceful_stop import (
    Caller,
    Line,
    asked_with,
    calling,
    eventually,
    is_there,
    line,
    stopped,
    until,
)
from tests.world import SEALER

WORKERS = 4
CONNECTIONS = 400
FAIR_SHARE = CONNECTIONS // WORKERS // 2
"""Less comes by chance once in ten million times."""
ASK = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"
HALF = b"POST /graphql HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


@pytest.fixture
def tessera(database_url: str, tmp_path: Path) -> Tessera:
    return Tessera(tmp_path, database_url=database_url, secret_key=SECRET_KEY, worker_header="on")


async def worker_of(line: Line) -> int:
    """Which one took this connection."""
    line.writer.write(ASK)
    head = (await line.reader.readuntil(b"\r\n\r\n")).decode().lower()
    await line.reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    return int(head.split("tessera-worker: ")[1].split("\r\n")[0])


async def takers(url: str, connections: int) -> Counter[int]:
    """How many each worker took of connections that are made at once and are all open."""
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        lines = await asyncio.gather(*(stack.enter_async_context(line(url)) for _ in range(connections)))
        return Counter(await asyncio.gather(*map(worker_of, lines)))


@asynccontextmanager
async def all_serving(tessera: Tessera, workers: int) -> AsyncIterator[tuple[Served, str]]:
    """Once each worker has taken a connection."""
    with tessera.serving("--workers", str(workers)) as served:
        url = await served.url()
        seen: set[int] = set()
        async with asyncio.timeout(60):
            while len(seen) < workers:
                seen |= set(await takers(url, workers))
        yield served, url


def events(served: Served) -> list[str]:
    return [entry["event"] for entry in served.log()]


@pytest.mark.skipif(not SPREADS, reason="The system doesn't spread connections.")
async def test_each_worker_takes_its_share_of_connections(tessera: Tessera) -> None:
    async with all_serving(tessera, WORKERS) as (served, url):
        taken = await takers(url, CONNECTIONS)
        assert set(taken) == set(children_of(served.process.pid))
        assert min(taken.values()) > FAIR_SHARE, taken
        assert await stopped(served) == 0


async def test_nobody_waits_for_a_worker_that_stands_still(tessera: Tessera) -> None:
    """Those who would be its own are taken by the others, long before it counts as hanging."""
    async with all_serving(tessera, 2) as (served, url):
        still, moving = children_of(served.process.pid)
        os.kill(still, signal.SIGSTOP)
        try:
            assert await takers(url, 40) == {moving: 40}
        finally:
            os.kill(still, signal.SIGCONT)


async def test_a_worker_that_is_told_to_stop_under_load_is_replaced_without_loss(
    tessera: Tessera, database_url: str
) -> None:
    async with connected(database_url):
        offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"))
    caller = Caller(asked_with(offered.project.id, offered.token))
    async with all_serving(tessera, 2) as (served, url):
        async with calling(url, caller, lines=4):
            await until(caller, 50)
            told = children_of(served.process.pid)[0]
            os.kill(told, signal.SIGTERM)
            await eventually(lambda: "worker_replaced" in events(served))
            await eventually(lambda: events(served).count("Application startup complete.") == 3)
            await until(caller, 50)
        [replaced] = [entry for entry in served.log() if entry["event"] == "worker_replaced"]
        assert (replaced["pid"], replaced["exit_code"]) == (told, 0)
        assert await stopped(served) == 0
    async with connected(database_url):
        assert (await offered.counted()).requests == caller.answered
    assert caller.failed == 0


async def test_a_stop_amid_a_rolling_restart_leaves_no_worker(tessera: Tessera) -> None:
    async with all_serving(tessera, 2) as (served, _):
        served.process.send_signal(signal.SIGHUP)
        await eventually(lambda: len(children_of(served.process.pid)) == 3)
        workers = children_of(served.process.pid)
        assert await stopped(served) == 0
        assert not any(map(is_there, workers))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_signal_hurries_a_stop_and_what_is_cut_is_told(tessera: Tessera, workers: int) -> None:
    async with all_serving(tessera, workers) as (served, url), line(url) as slow:
        slow.writer.write(HALF)
        await takers(url, 1)  # it was read before
        served.process.send_signal(signal.SIGTERM)
        await eventually(lambda: events(served).count("stopping") == workers + (workers > 1))
        assert await stopped(served) == 0
        [cut] = [entry for entry in served.log() if entry["event"] == "connections_cut"]
        assert (cut["connections"], cut["is_hurried"]) == (1, True)
        assert events(served).count("stopped") == workers + (workers > 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_of_several_workers_shares_its_port_with_no_other(workers: int, dialect: str) -> None:
    with listening("127.0.0.1", 0, WORKERS) as listeners:
        port = listeners[0].getsockname()[1]
        assert [each.getsockname()[1] for each in listeners] == [port] * WORKERS
        with pytest.raises(PortTaken, match=f"port {port}: address already in use"):
            entered(listening("127.0.0.1", port, workers))


def entered(listeners: AbstractContextManager[object]) -> None:
    with listeners:
        pass


class Clinging(Worker):
    """A worker that doesn't go until it is killed."""

    def __init__(self) -> None:
        self.was: list[str] = []

    @property
    def exitcode(self) -> int | None:
        return -signal.SIGKILL if "killed" in self.was else None

    @property
    def pid(self) -> int | None:
        return 1

    def terminate(self) -> None:
        self.was.append("told")

    def kill(self) -> None:
        self.was.append("killed")

    def join(self) -> None:
        pass


def test_a_rolling_restart_waits_for_no_worker_forever(monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    worker = Clinging()
    leaving: Iterator[None] = supervisor._leaving(worker)
    for _ in range(3):
        next(leaving)
    assert worker.was == ["told"]
    later = time.monotonic() + supervisor.CUT_AFTER_SECONDS
    monkeypatch.setattr("gateway.supervisor.time.monotonic", lambda: later)
    assert list(leaving) == [None]
    assert worker.was == ["told", "killed"]
