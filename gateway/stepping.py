"""Coroutines that are stepped by hand, and go on as tasks of asyncio once they wait for something of its."""

import types
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


async def resumed(coroutine: Coroutine[Any, Any, Any], asked: Any) -> Any:
    """The rest of a coroutine that waits for what it asked; it is a task that has to run this."""
    return await _steps(coroutine, asked)


@types.coroutine
def _steps(coroutine: Coroutine[Any, Any, Any], asked: Any) -> Generator[Any, Any, Any]:
    while True:
        try:
            answer = yield asked
        except BaseException as error:  # noqa: BLE001  it goes where it was sent
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, answer)
        try:
            asked = step()
        except StopIteration as stop:
            return stop.value
