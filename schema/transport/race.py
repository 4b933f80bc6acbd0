"""Waiting for the first of several things, and leaving none of the others behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


async def first(*contenders: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of the one that finishes first, the earliest named of those that finish together.

    The others are cancelled, and have ended when this returns; so also when the caller itself is cancelled.
    """
    tasks = [asyncio.ensure_future(contender) for contender in contenders]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
