"""How often something may be tried, per address and account; counted in this process by the `limits` library."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.errors import Invalid, LimitExceeded

SIGN_IN_PER_ACCOUNT = parse("10 per 15 minutes")
SIGN_IN_PER_ADDRESS = parse("100 per 15 minutes")
SIGN_UP_PER_ADDRESS = parse("100 per hour")
LOOK_UP_PER_USER = parse("60 per hour")
TOO_MANY = "Too many attempts; try again later."


class Attempts:
    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._under_way: Counter[tuple[str, str]] = Counter()

    async def spend(self, limit: RateLimitItem, purpose: str, who: str | None) -> None:
        """Counts an attempt, whatever comes of it. Raises LimitExceeded where none is left."""
        if not await self._limiter.hit(limit, purpose, who or "unknown"):
            raise LimitExceeded(TOO_MANY)

    @asynccontextmanager
    async def guessing(self, limit: RateLimitItem, purpose: str, who: str | None) -> AsyncIterator[None]:
        """Around an attempt that counts where it ends with Invalid. Raises LimitExceeded where none is left.

        Those under way are taken for failures until they end: many at once try no more often than one after another.
        """
        attempt = (purpose, who or "unknown")
        self._under_way[attempt] += 1
        try:
            if not await self._limiter.test(limit, *attempt, cost=self._under_way[attempt]):
                raise LimitExceeded(TOO_MANY)
            yield
        except Invalid:
            await self._limiter.hit(limit, *attempt)
            raise
        finally:
            self._under_way[attempt] -= 1
            if not self._under_way[attempt]:
                del self._under_way[attempt]
