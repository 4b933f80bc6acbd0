"""Revoked means revoked, at every worker: metered calls at once, all else within a second, whatever befalls them.

TESSERA_REVOCATIONS=1000 is the long form: so many in each case, and each worker asked at least 100 times a second.
mortal.py says how to repeat a run.
"""

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway import notices
from gateway.database import connected
from gateway.migrating import migrate
from gateway.signing import Keyring
from tests.gatehouse import Offer, offer
from tests.mortal import SEED, chance
from tests.mortal_postgres import MortalPostgres, mortal_postgres
from tests.revoking import (
    ENTRANCES,
    METERED,
    PACE_SECONDS,
    SOCKET,
    Asked,
    Crowd,
    Line,
    Subject,
    asking,
    graphql,
    lines_to_each,
    meanwhile,
)
from tests.stage import SECRET_KEY, session_token
from tests.test_cli import Tessera
from tests.test_graceful_stop import stopped
from tests.world import SEALER, person

LONG = int(os.environ.get("TESSERA_REVOCATIONS", "0"))
REVOCATIONS = LONG or 5
WORKERS = 4
LEAST_ASKED_A_SECOND = 100
GAP_SECONDS = 0.1
BEFORE_SECONDS, AFTER_SECONDS = 0.3, 1.3
"""How long a key is called with before it is revoked, and after that was answered."""
WITHIN_SECONDS = 1.0
STOPPED_SECONDS = (0.3, 1.2, 2.5) if LONG else (0.3, 1.2)
SILENT_SECONDS = 2.0
LISTENERS = f"FROM pg_stat_activity WHERE application_name = '{notices.APPLICATION_NAME}'"
REVOKE = "mutation ($id: ID!) { keyRevoke(input: { keyId: $id }) { userErrors { code } } }"

log = logging.getLogger(__name__)


@dataclass
class Scene:
    postgres: MortalPostgres
    owner_token: str
    crowd: Crowd
    revoking: Line
    """To a worker that is never stopped."""
    workers: Sequence[int]
    """The others."""
    befallen: int = 0


# ---------------------------------------------------------------- what befalls the workers


async def nothing(scene: Scene) -> None:
    scene.befallen += 1
    await asyncio.sleep(GAP_SECONDS)


async def notices_cut(scene: Scene) -> None:
    """Whoever lost the connection looks at the log at once when it has another."""
    scene.befallen += len(await scene.postgres.rows(f"SELECT pg_terminate_backend(pid) {LISTENERS}"))
    await asyncio.sleep(0.05)


async def notices_silenced(scene: Scene) -> None:
    """The connections are there, and nothing comes over them."""
    listeners = await every_listener(scene)
    _signal(listeners, signal.SIGSTOP)
    scene.befallen += len(listeners)
    try:
        await asyncio.sleep(SILENT_SECONDS)
    finally:
        _signal(listeners, signal.SIGCONT)
    await asyncio.sleep(0.05)


async def every_listener(scene: Scene) -> list[int]:
    """The server's process for each worker's notices, once each worker has such a connection."""
    while len(rows := await scene.postgres.rows(f"SELECT pid {LISTENERS}")) < WORKERS:  # noqa: ASYNC110  only asking tells
        await asyncio.sleep(0.01)
    return [row["pid"] for row in rows]


async def worker_stopped(scene: Scene) -> None:
    random = chance(f"stop {scene.befallen}")
    worker = random.choice(scene.workers)
    _signal([worker], signal.SIGSTOP)
    scene.befallen += 1
    try:
        await asyncio.sleep(random.choice(STOPPED_SECONDS))
    finally:
        _signal([worker], signal.SIGCONT)
    await asyncio.sleep(0.3)


async def database_restarted(scene: Scene) -> None:
    await scene.postgres.restart(chance(f"restart {scene.befallen}"))
    scene.befallen += 1
    await asyncio.sleep(1)


CASES: list[Callable[[Scene], Awaitable[None]]] = [
    nothing,
    notices_cut,
    notices_silenced,
    worker_stopped,
    database_restarted,
]


def _signal(process_ids: Sequence[int], number: signal.Signals) -> None:
    for process_id in process_ids:
        with suppress(ProcessLookupError):
            os.kill(process_id, number)


async def again_and_again(befalls: Callable[[Scene], Awaitable[None]], scene: Scene) -> None:
    while True:
        await befalls(scene)


# ---------------------------------------------------------------- the promise


async def revoke(scene: Scene, subject: Subject) -> None:
    """Until it is answered that the key is revoked, be it by an earlier try."""
    while True:
        answer = await scene.revoking.ask(graphql(scene.owner_token, REVOKE, id=subject.key_id))
        assert answer.status in {200, 503}, answer
        payload = (answer.json.get("data") or {}).get("keyRevoke") if answer.status == 200 else None
        if payload is not None:
            assert [error["code"] for error in payload["userErrors"]] in ([], ["CONFLICT"]), payload
            subject.revoked_at = time.monotonic()
            return
        await asyncio.sleep(PACE_SECONDS)


async def watched(scene: Scene, subject: Subject) -> None:
    """One key's end, at which every worker is asked about it, before and after."""
    scene.crowd.subjects.append(subject)
    socket = asyncio.create_task(scene.crowd.ask_on_socket(subject))
    try:
        await asyncio.sleep(BEFORE_SECONDS)
        await revoke(scene, subject)
        await asyncio.sleep(AFTER_SECONDS)
    finally:
        scene.crowd.subjects.remove(subject)
        await asyncio.wait_for(socket, 10)


async def revoke_all(scene: Scene, subjects: Sequence[Subject], befalls: Callable[[Scene], Awaitable[None]]) -> None:
    async def in_turn(subject: Subject, number: int) -> None:
        await asyncio.sleep(number * GAP_SECONDS)
        await watched(scene, subject)

    scene.befallen = 0
    async with meanwhile([again_and_again(befalls, scene)]), asyncio.TaskGroup() as group:
        for number, subject in enumerate(subjects):
            group.create_task(in_turn(subject, number))
    assert scene.befallen


@asynccontextmanager
async def scene(folder: Path, quantity: int) -> AsyncIterator[tuple[Scene, list[Subject]]]:
    """Workers that are asked without a pause, and keys that nobody has revoked yet."""
    async with mortal_postgres() as postgres:
        await migrate(postgres.url)
        async with connected(postgres.url):
            offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"))
            owner_token = await session_token(offered.owner)
            subjects = [await subject(offered, number) for number in range(quantity)]
        settings = {"database_url": postgres.url, "secret_key": SECRET_KEY, "worker_header": "on"}
        with Tessera(folder, **settings).serving("--workers", str(WORKERS)) as served:
            url = await served.url()
            crowd = Crowd(url, offered)
            async with lines_to_each(url, WORKERS, len(ENTRANCES) + 1) as lines:
                first, *others = lines
                at_entrances = [
                    (line, entrance)
                    for of_worker in lines.values()
                    for line, entrance in zip(of_worker, ENTRANCES, strict=False)
                ]
                async with asking(crowd, at_entrances):
                    yield Scene(postgres, owner_token, crowd, lines[first][-1], others), subjects
            assert await stopped(served) == 0


async def subject(offered: Offer, number: int) -> Subject:
    key, token = await offered.issue(await person(f"Caller {number}", f"caller-{number}@example.org"))
    return Subject(key.id, token)


async def test_no_worker_lets_a_call_in_after_its_key_was_revoked_and_none_says_yes_a_second_later(
    tmp_path: Path,
) -> None:
    """One after the other: nothing befalls them, no notice is heard, workers stop and go on, the database restarts."""
    log.warning("To repeat this run: TESSERA_CRASH_SEED=%d TESSERA_REVOCATIONS=%d", SEED, LONG)
    rates: list[float] = []
    async with scene(tmp_path, REVOCATIONS * len(CASES)) as (world, subjects):
        for number, befalls in enumerate(CASES):
            of_case = subjects[number :: len(CASES)]
            before, began_at = world.crowd.asked.copy(), time.monotonic()
            await revoke_all(world, of_case, befalls)
            asked = world.crowd.asked - before
            rates.append(tell(befalls, world, of_case, asked, time.monotonic() - began_at))
            assert_obeyed(of_case)
        asked_at_all = {(each.worker, each.entrance) for each in world.crowd.asked if each.is_yes}
        assert asked_at_all >= {(worker, entrance) for worker in world.workers for entrance in ENTRANCES}
    if LONG:
        assert min(rates) >= LEAST_ASKED_A_SECOND


def assert_obeyed(subjects: Sequence[Subject]) -> None:
    for subject in subjects:
        late = subject.late
        assert late.pop(METERED, -1.0) < 0
        assert all(seconds < WITHIN_SECONDS for seconds in late.values()), late


def tell(
    befalls: Callable[[Scene], Awaitable[None]],
    scene: Scene,
    subjects: Sequence[Subject],
    asked: Counter[Asked],
    seconds: float,
) -> float:
    """Writes down what happened; how often a second the worker that was asked least was asked."""
    rates: Counter[int] = Counter()
    answers: Counter[str] = Counter()
    for each, number in sorted(asked.items(), key=lambda item: (item[0].entrance, item[0].is_yes)):
        rates[each.worker] += number
        answers[f"{each.entrance} {'yes' if each.is_yes else 'no'}"] += number
    latest = {
        entrance: max((round(each.late[entrance] * 1000) for each in subjects if entrance in each.late), default=None)
        for entrance in (*ENTRANCES, SOCKET)
    }
    log.warning(
        "%s, %d times: %d revocations in %.0f s; asked a second, by worker: %s; answers: %s; the last yes began so "
        "many milliseconds after the revocation: %s",
        befalls.__name__,
        scene.befallen,
        len(subjects),
        seconds,
        [round(number / seconds) for number in rates.values()],
        dict(answers),
        latest,
    )
    return min(rates.values()) / seconds
