"""What gave way to another transaction is begun anew: the database rolled it back, so nothing of it was done.

Only that: where a connection was lost, whether its transaction was committed can't be known. On SQLite nobody gives
way; who writes waits for the others, as long as `database.BUSY_MILLISECONDS`.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

import asyncpg
from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, wait_random_exponential

from gateway.errors import Unavailable

ResultT = TypeVar("ResultT")

GAVE_WAY = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
ATTEMPTS = 5
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.01, 0.5
CONTENDED = "Too much is changed at once; try again."


class Commits:
    """Whether an act has changed anything for good."""

    def __init__(self) -> None:
        self.any = False


_commits: ContextVar[Commits | None] = ContextVar("commits", default=None)


def committed() -> None:
    """Told by the engine when something is done for good, so that no act does it twice."""
    if commits := _commits.get():
        commits.any = True


async def begun_anew(act: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """What the act comes to, at last. It is tried no further once a transaction of it was committed.

    Raises Unavailable where it gave way too often, and what the act raises.
    """
    commits = Commits()
    token = _commits.set(commits)
    try:
        return await act()
    except GAVE_WAY as error:
        return await _again(act, commits, error)
    finally:
        _commits.reset(token)


async def _again(act: Callable[[], Awaitable[ResultT]], commits: Commits, failure: Exception) -> ResultT:
    """After a first try that failed so; only then is there anything to be repeated, and to pay for."""
    failures = [failure]

    async def attempt() -> ResultT:
        if failures:
            raise failures.pop()
        return await act()

    try:
        return await _retrying(commits)(attempt)
    except GAVE_WAY as error:
        raise Unavailable(CONTENDED) from error


def _retrying(commits: Commits) -> AsyncRetrying:
    def has_given_way(state: RetryCallState) -> bool:
        outcome = state.outcome
        error = outcome.exception() if outcome and outcome.failed else None
        return isinstance(error, GAVE_WAY) and not commits.any

    return AsyncRetrying(
        retry=has_given_way,
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
        reraise=True,
    )
