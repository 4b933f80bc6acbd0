"""Calls and events outlast whatever befalls a gateway of four workers and its PostgreSQL, both under load.

TESSERA_CRASH_SECONDS=600 is the long form; mortal.py says how to repeat a run.
"""

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from uvicorn.config import STARTUP_FAILURE

from gateway.database import connected
from gateway.migrating import migrate
from gateway.signing import Keyring
from models import Event
from tests import test_crashes as events
from tests.gatehouse import Offer, offer
from tests.mortal import SEED, Mortal, chance, children_of
from tests.mortal_postgres import MortalPostgres, mortal_postgres
from tests.test_cli import Served
from tests.test_crashes import Follower, World, Writer
from tests.test_meter_crashes import ENOUGH, Crowd, assert_counted, authorize_keys
from tests.world import SEALER

SECONDS = float(os.environ.get("TESSERA_CRASH_SECONDS", "5"))
WORKERS = 4
LIFE_ACCIDENTS = (6, 18)
AT_PEACE = 200
"""So many calls are answered before the next accident, as a rule."""
PATIENCE_SECONDS = 60
COULD_NOT_BEGIN = f'"exit_code":{STARTUP_FAILURE},"event":"worker_replaced"'
STOPPED_SECONDS = (0.1, 0.4, 1.5, *([7.0] if SECONDS > 60 else []))
"""Of a worker; one that says nothing for six is replaced, which only the long form waits for."""

log = logging.getLogger(__name__)


# ---------------------------------------------------------------- those who suffer it


@dataclass
class Load:
    """Those who call, write and follow, and the gateway that they do it at."""

    postgres: MortalPostgres
    gateway: Mortal
    offered: Offer
    crowd: Crowd
    world: World
    writers: list[Writer]
    followers: list[Follower]

    async def until_answered(self, more: int) -> None:
        """Until so many more calls were."""
        goal = self.crowd.answered + more
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.crowd.answered < goal:  # noqa: ASYNC110  # they tell nobody
                await asyncio.sleep(0.01)

    async def assert_counted(self) -> None:
        await assert_counted(self.crowd.keys, self.offered, self.postgres.url)

    async def logged(self) -> list[Event]:
        return await events.logged_events(self.postgres.url, self.world)

    def acknowledged(self) -> Counter[tuple[str, str]]:
        return Counter(act for each in self.writers for act in each.acknowledged)


@asynccontextmanager
async def loaded(folder: Path, workers: int = WORKERS) -> AsyncIterator[Load]:
    """On a PostgreSQL of its own; some keys have quotas, and are counted in several statements."""
    async with mortal_postgres() as postgres:
        await migrate(postgres.url)
        gateway = Mortal(postgres.url, folder, workers=workers)
        async with connected(postgres.url):
            offered, world = await offer(Keyring(SEALER, "http://127.0.0.1:8000")), await events.new_world()
            keys = [*await authorize_keys(offered), *await authorize_keys(offered, ENOUGH)]
        writers = [
            Writer(number, gateway, world.template_id, asker, world.owner) for number, asker in enumerate(world.askers)
        ]
        yield Load(postgres, gateway, offered, Crowd(keys, gateway), world, writers, events.followers(gateway, world))


# ---------------------------------------------------------------- what befalls them

Accident = Callable[[Served], Awaitable[None]]


class Accidents:
    """Of each kind as many, in an order of chance."""

    def __init__(self, postgres: MortalPostgres) -> None:
        self.happened: Counter[str] = Counter()
        self._postgres = postgres
        self._random = chance("accidents")
        self._of_round: list[Accident] = []

    @property
    def is_round_over(self) -> bool:
        """Whether there was the same number of each."""
        return not self._of_round

    async def next(self, served: Served) -> None:
        self._of_round = self._of_round or self._shuffled()
        act = self._of_round.pop()
        self.happened[act.__name__] += 1
        await act(served)

    def _shuffled(self) -> list[Accident]:
        kinds: list[Accident] = [
            self.worker_killed,
            self.worker_stopped,
            self.backend_killed,
            self.connections_ended,
            self.database_restarted,
            self.database_killed,
        ]
        self._random.shuffle(kinds)
        return kinds

    async def worker_killed(self, served: Served) -> None:
        self._signal(self._one_of(served), signal.SIGKILL)

    async def worker_stopped(self, served: Served) -> None:
        """Which comes back, where nobody has replaced it before."""
        process_id = self._one_of(served)
        self._signal(process_id, signal.SIGSTOP)
        seconds = self._random.choice(STOPPED_SECONDS)
        asyncio.get_running_loop().call_later(seconds, self._signal, process_id, signal.SIGCONT)

    async def backend_killed(self, _: Served) -> None:
        await self._postgres.lose_a_backend(self._random)

    async def connections_ended(self, _: Served) -> None:
        await self._postgres.lose_its_connections()

    async def database_restarted(self, _: Served) -> None:
        await self._postgres.restart(self._random)

    async def database_killed(self, _: Served) -> None:
        await self._postgres.die()
        await self._postgres.start()

    def _one_of(self, served: Served) -> int:
        return self._random.choice(children_of(served.process.pid))

    def _signal(self, process_id: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(process_id, number)


# ---------------------------------------------------------------- the promise


async def test_four_workers_lose_no_call_and_no_event_whatever_becomes_of_them_and_their_database(
    tmp_path: Path,
) -> None:
    log.warning("To repeat this run: TESSERA_CRASH_SEED=%d TESSERA_CRASH_SECONDS=%g", SEED, SECONDS)
    async with loaded(tmp_path) as load, asyncio.TaskGroup() as group:
        calling = group.create_task(load.crowd.call())
        following = [group.create_task(each.follow(), name=each.name) for each in load.followers]
        writing = [group.create_task(each.write()) for each in load.writers]
        await live_through_accidents(load, Accidents(load.postgres))
        async with load.gateway.alive():
            await load.until_answered(AT_PEACE)
            load.gateway.is_calm.set()
            load.crowd.is_enough = True
            await asyncio.wait([calling, *writing])
            logged = await load.logged()
            with suppress(TimeoutError):  # what they lack is told below
                await events.until_caught_up(load.followers, logged)
            for task in following:
                task.cancel()
        events.tell_what_happened(load.followers, load.writers, logged)
        await load.assert_counted()
        assert "sum of its parts" in await asyncio.to_thread(load.gateway.tessera.said, "usage", "reconcile")
        assert set(load.crowd.statuses) <= {200, 503}
        events.assert_logged_once(load.writers, logged)
        for each in load.followers:
            events.assert_followed(each, logged)


async def live_through_accidents(load: Load, accidents: Accidents) -> None:
    """Lives of the gateway, in each of which much happens; some of it while it recovers from the last."""
    begin, lives, deaths = time.monotonic(), chance("lives"), 0
    while time.monotonic() - begin < SECONDS:
        async with load.gateway.alive() as served:
            await load.until_answered(AT_PEACE)
            for _ in range(lives.randint(*LIFE_ACCIDENTS)):
                await accidents.next(served)
                if lives.random() < 0.8:
                    await load.until_answered(int(lives.uniform(0, 2) * AT_PEACE))
                    await asyncio.sleep(lives.uniform(0, 0.2))
                if accidents.is_round_over and time.monotonic() - begin >= SECONDS:
                    break
            await load.until_answered(AT_PEACE)
            await load.assert_counted()  # while they call
        await load.assert_counted()
        deaths += 1
    sentence = "%s, and %d deaths of all workers; of %d calls sent %d were answered; statuses %s"
    crowd = load.crowd
    log.warning(sentence, dict(accidents.happened), deaths, crowd.sent, crowd.answered, dict(crowd.statuses))


async def test_were_it_acknowledged_before_it_is_written_the_loss_of_calls_and_events_would_be_seen(
    tmp_path: Path,
) -> None:
    """By the same who look."""
    async with loaded(tmp_path, workers=2) as load:
        await load.postgres.commit_asynchronously()
        await lose_the_database_under_load(load)
        logged = await load.logged()
        with pytest.raises(AssertionError, match=r"\d+ <= \d+"):
            await load.assert_counted()
        with pytest.raises(AssertionError):
            events.assert_logged_once(load.writers, logged)
        assert load.acknowledged() - Counter((each.kind, each.object_id) for each in logged)


async def lose_the_database_under_load(load: Load) -> None:
    async with load.gateway.alive(), asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.crowd.call()), *(group.create_task(each.write()) for each in load.writers)]
        await load.until_answered(AT_PEACE)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while load.acknowledged().total() < 10:  # noqa: ASYNC110  # they tell nobody
                await asyncio.sleep(0.01)
        await load.postgres.die()
        for task in tasks:
            task.cancel()
    await load.postgres.start()


# ---------------------------------------------------------------- workers that can't begin


async def test_a_worker_that_could_not_begin_while_the_database_was_away_serves_when_it_is_back(tmp_path: Path) -> None:
    async with loaded(tmp_path, workers=2) as load, load.gateway.alive() as served:
        await load.postgres.stop()
        for process_id in children_of(served.process.pid):
            os.kill(process_id, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while COULD_NOT_BEGIN not in (tmp_path / "log").read_text():  # noqa: ASYNC110  # a file
                await asyncio.sleep(0.05)
        await load.postgres.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.crowd.call())
            await load.until_answered(1)
            load.crowd.is_enough = True
        assert served.process.poll() is None
