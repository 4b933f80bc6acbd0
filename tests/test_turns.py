"""Queries take turns: so many at a time, the others in their order, and none waits long for one that does."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from schema.levels.turns import Turns

FOREVER = 3600.0


class Line:
    """Who stands in line for turns, by number; each ends its own when it is told to."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self._one_more = asyncio.Event()
        self.begun: list[int] = []
        self._may_end: dict[int, asyncio.Event] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def join(self, *numbers: int) -> None:
        for number in numbers:
            self._may_end[number] = asyncio.Event()
            self._tasks[number] = asyncio.create_task(self._take(number))
        await settled()

    async def have_begun(self, quantity: int) -> None:
        while len(self.begun) < quantity:
            await self._one_more.wait()
            self._one_more.clear()

    async def end(self, number: int) -> None:
        self._may_end[number].set()
        await self._tasks.pop(number)
        await settled()

    async def leave(self, *numbers: int) -> None:
        """At the same moment."""
        tasks = [self._tasks.pop(number) for number in numbers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await settled()

    async def _take(self, number: int) -> None:
        async with self.turns.taken():
            self.begun.append(number)
            self._one_more.set()
            await self._may_end[number].wait()


async def settled() -> None:
    """Whatever can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line(Turns(2, FOREVER))
    yield line
    await line.leave(*line._tasks)


async def test_so_many_have_their_turn_at_once_and_the_others_in_the_order_in_which_they_came(line: Line) -> None:
    await line.join(1, 2, 3, 4, 5)
    assert line.begun == [1, 2]
    await line.end(2)
    assert line.begun == [1, 2, 3]
    await line.end(1)
    await line.end(3)
    assert line.begun == [1, 2, 3, 4, 5]
    await line.end(4)
    await line.end(5)
    await line.join(6, 7, 8)
    assert line.begun[5:] == [6, 7], "turns were lost, or won"


async def test_who_leaves_the_line_or_fails_takes_no_turn_along(line: Line) -> None:
    await line.join(1, 2, 3, 4, 5, 6)
    await line.leave(3)
    await line.leave(1)
    assert line.begun == [1, 2, 4]
    await line.leave(2, 5)  # the turn of 2 may have been given to 5 by now
    assert line.begun == [1, 2, 4, 6]
    await line.end(4)
    await line.end(6)
    await line.join(7, 8, 9)
    assert line.begun[4:] == [7, 8]


async def test_a_turn_that_was_given_to_one_who_is_gone_by_then_is_given_to_the_next(line: Line) -> None:
    await line.join(1, 2, 3, 4)
    line._may_end[1].set()
    await asyncio.sleep(0)  # by now it was given to 3, who hasn't noticed
    assert line.begun == [1, 2]
    await line.leave(3)
    assert line.begun == [1, 2, 4]


async def test_nobody_waits_long_for_one_that_takes_long() -> None:
    line = Line(Turns(2, 0.01))
    await line.join(1, 2, 3, 4, 5)
    async with asyncio.timeout(30):
        await line.have_begun(5)
    for number in (1, 2, 3, 4, 5):
        await line.end(number)
    assert line.turns.free == 2, "who had its turn for too long gave it back twice, or never"
