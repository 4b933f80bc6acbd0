"""How often something may be tried, per address and account; counted in this process by the `limits` library."""

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.errors import LimitExceeded

SIGN_IN_PER_ACCOUNT = parse("10 per 15 minutes")
SIGN_IN_PER_ADDRESS = parse("100 per 15 minutes")
SIGN_UP_PER_ADDRESS = parse("100 per hour")
LOOK_UP_PER_USER = parse("60 per hour")


class Attempts:
    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def check(self, limit: RateLimitItem, purpose: str, who: str | None) -> None:
        """Raises LimitExceeded where no attempt is left."""
        if not await self._limiter.test(limit, purpose, who or "unknown"):
            raise LimitExceeded("Too many attempts; try again later.")

    async def count(self, limit: RateLimitItem, purpose: str, who: str | None) -> None:
        await self._limiter.hit(limit, purpose, who or "unknown")
