"""Queries take turns: of many at once, each would push what the others have in hand out of the processor's caches."""

import asyncio
from collections import deque

AT_ONCE = 6
"""So many keep process and database busy; of sixteen at once each took a sixth more of the processor's time."""
LONGEST_SECONDS = 0.05
"""Who takes longer waits for the database, and lets the next one begin."""


class Turns:
    """At most so many are taken at a time; others wait, in the order in which they came."""

    def __init__(self, at_once: int = AT_ONCE, longest_seconds: float = LONGEST_SECONDS) -> None:
        self.free = at_once
        """How many more can be taken now."""
        self._longest_seconds = longest_seconds
        self._waiting: deque[asyncio.Future[None]] = deque()

    def taken(self) -> "Turn":
        """A context that waits for its turn, and takes it until it ends."""
        return Turn(self, self._longest_seconds)

    async def begin(self) -> None:
        """Returns when it is the caller's turn."""
        if self.free:
            self.free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given, and is of no use
                self.end()
            raise

    def end(self) -> None:
        """Gives the turn to who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


class Turn:
    """One turn, which ends with the context, or before that when its time is over."""

    __slots__ = ("_longest_seconds", "_timer", "_turns")

    def __init__(self, turns: Turns, longest_seconds: float) -> None:
        self._turns: Turns | None = turns
        self._longest_seconds = longest_seconds
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        assert self._turns  # noqa: S101  it begins once
        await self._turns.begin()
        self._timer = asyncio.get_running_loop().call_later(self._longest_seconds, self._end)

    async def __aexit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()
        self._end()

    def _end(self) -> None:
        turns, self._turns = self._turns, None
        if turns:
            turns.end()
