"""How often something may be tried, per address and account; counted in this process by the `limits` library."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.errors import Invalid, LimitExceeded

SIGN_IN_PER_ACCOUNT = parse("10 per 15 minutes")
SIGN_IN_PER_ADDRESS = parse("100 per 15 minutes")
SIGN_UP_PER_ADDRESS = parse("100 per hour")
REVOKE_PER_ADDRESS = parse("600 per minute")
LOOK_UP_PER_USER = parse("100 per hour")
TOO_MANY = "Too many attempts; try again later."


class Attempts:
    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def spend(self, limit: RateLimitItem, purpose: str, who: str | None) -> None:
        """Counts an attempt, whatever comes of it. Raises LimitExceeded where none is left."""
        if not await self._limiter.hit(limit, purpose, who or "unknown"):
            raise LimitExceeded(TOO_MANY)

    @asynccontextmanager
    async def guessing(self, limit: RateLimitItem, purpose: str, who: str | None) -> AsyncIterator[None]:
        """Around an attempt that counts where it ends with Invalid. Raises LimitExceeded where none is left.

        One after another: many at once would all be let in before the first of them failed.
        """
        attempt = (purpose, who or "unknown")
        turn = self._turns.setdefault(attempt, asyncio.Lock())
        async with turn:
            if not await self._limiter.test(limit, *attempt):
                raise LimitExceeded(TOO_MANY)
            try:
                yield
            except Invalid:
                await self._limiter.hit(limit, *attempt)
                raise
