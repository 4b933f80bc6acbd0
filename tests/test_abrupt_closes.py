"""Clients that vanish leave nothing behind on the gateway: no task, no generator, no follower of the log."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random
from types import AsyncGeneratorType
from typing import Any

import pytest

from tests.following import TRANSPORTS, Ended, Refused
from tests.stage import Stage, staged
from tests.test_sse import settled

CLOSES, AT_ONCE = 1000, 100
ROOT = Path(__file__).parent.parent
ROOMS = (ROOT / "gateway", ROOT / "schema")
OWN = "subscription ($after: EventCursor) { viewerKeyEvents(after: $after) { cursor } }"
OF_PROJECT = """subscription ($id: ID!, $after: EventCursor) {
    projectEvents(projectId: $id, after: $after) { cursor object { id } }
}"""


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        yield stage


def open_generators() -> list[str]:
    """The names of those of ours that have begun and not ended."""
    generators = [each for each in gc.get_objects() if type(each) is AsyncGeneratorType]  # a dead proxy has no class
    return [each.__qualname__ for each in generators if each.ag_frame is not None and _is_ours(each)]


def _is_ours(generator: AsyncGeneratorType[Any, Any]) -> bool:
    return any(Path(generator.ag_code.co_filename).is_relative_to(room) for room in ROOMS)


async def vanish(stage: Stage, random: Random, after: str) -> bool:
    """Some amid a replay that they don't read, some while they wait, some before they were told anything.

    Whether it did: a gateway that has too much to do sends some away first.
    """
    own = random.random() < 0.5
    token = stage.bo.token if own else random.choice([stage.ada.token, None])
    variables = {"after": random.choice([after, None])} | ({} if own else {"id": stage.project.id})
    with suppress(Ended, Refused):
        async with stage.follow(random.choice(TRANSPORTS), OWN if own else OF_PROJECT, token, **variables) as events:
            if variables["after"] and token and random.random() < 0.5:
                await events.next()
            events.abort()
            return True
    return False


async def test_a_thousand_abrupt_closes_leave_nothing_behind(stage: Stage) -> None:
    random, after = Random(4711), await stage.event_cursor()  # noqa: S311  # it hides nothing
    for _ in range(5):
        await stage.ask_in_vain()
    tasks_before, generators_before = asyncio.all_tasks(), sorted(open_generators())
    vanished = 0
    for _ in range(CLOSES // AT_ONCE):
        vanishing = asyncio.gather(*(vanish(stage, random, after) for _ in range(AT_ONCE)))
        await stage.ask_in_vain()
        vanished += sum(await vanishing)
    assert vanished > CLOSES / 10
    await settled(tasks_before)
    gc.collect()
    assert sorted(open_generators()) == generators_before


async def test_what_is_still_followed_is_seen_by_the_count(stage: Stage) -> None:
    after = await stage.event_cursor()
    await stage.ask_in_vain()
    async with stage.follow("sse", OWN, stage.bo.token, after=after) as events:
        await events.next()
        assert "EventLog.follow" in open_generators()
