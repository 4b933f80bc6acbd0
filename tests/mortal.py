"""A gateway in a process of its own, which is killed at random moments and comes back.

TESSERA_CRASH_ROUNDS says how often it is killed, TESSERA_CRASH_SEED repeats the choices of a run (not the machine's
timing).
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random, SystemRandom

import asyncpg

from gateway.database import is_sqlite
from tests.stage import SECRET_KEY
from tests.test_cli import Served, Tessera

ROUNDS = int(os.environ.get("TESSERA_CRASH_ROUNDS", "0"))
"""None where each test has its own number."""
SEED = int(os.environ.get("TESSERA_CRASH_SEED", "0")) or SystemRandom().randrange(1, 2**32)


def chance(who: str) -> Random:
    """The random choices of somebody, the same under the same seed."""
    return Random(f"{SEED} {who}")  # noqa: S311  # it hides nothing


class Mortal:
    """`tessera serve` with these settings, and where it listens while it lives."""

    def __init__(self, database_url: str, folder: Path, *, workers: int = 2, **settings: str) -> None:
        self.tessera = Tessera(folder, database_url=database_url, secret_key=SECRET_KEY, **settings)
        self._database_url = database_url
        self._workers = "1" if is_sqlite(database_url) else str(workers)
        self._random = chance("the gateway")
        self._url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.is_calm = asyncio.Event()
        """Nobody is harmed any longer."""

    async def url(self) -> str:
        return await asyncio.shield(self._url)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[Served]:
        """What was told about an earlier life is no longer true when this ends."""
        with self.tessera.serving("--workers", self._workers) as served:
            self._url.set_result(await served.url())
            yield served
            self._url = asyncio.get_running_loop().create_future()
            os.killpg(served.process.pid, signal.SIGKILL)

    async def live_and_die(self, some_time: Callable[[], Awaitable[None]]) -> None:
        """One life, of some time; it may be as long again after a lesser accident."""
        async with self.alive() as served:
            await some_time()
            if self._workers != "1" and self._random.random() < 0.7:
                await self._random.choice([self._lose_a_worker, self._lose_the_database])(served)
                await some_time()

    async def _lose_a_worker(self, served: Served) -> None:
        """Whom the supervisor replaces."""
        os.kill(self._random.choice(children_of(served.process.pid)), signal.SIGKILL)

    async def _lose_the_database(self, _: Served) -> None:
        """As its restart does to those that are connected."""
        connection = await asyncpg.connect(self._database_url)
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608  # a constant
        await connection.close()


def children_of(process_id: int) -> list[int]:
    """But not Python's own, which tracks what processes share."""
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = (line.split(maxsplit=2) for line in listed)
    return [int(child) for child, parent, args in found if int(parent) == process_id and "resource_tracker" not in args]
