"""What a key may call and what is left of it, as header fields (draft-ietf-httpapi-ratelimit-headers-10). Pure.

`RateLimit-Policy: "second";q=20;w=4, "day";q=1000;w=86400` and `RateLimit: "second";r=19;t=1, "day";r=12;t=3600`.
Money isn't told here: the draft's quotas are whole numbers, in units of a registry that has no money.
"""

from datetime import datetime
from functools import lru_cache

from gateway.limits import SECOND_US, AllowanceKind, Limits, Used, span
from gateway.plane.rates import RateState
from gateway.pricing import DAY_US, micros

RATE, DAY, MONTH, DAY_COST, MONTH_COST = "second", "day", "month", "day-cost", "month-cost"
POLICIES = {
    AllowanceKind.CALLS_PER_DAY: DAY,
    AllowanceKind.CALLS_PER_MONTH: MONTH,
    AllowanceKind.COST_PER_DAY: DAY_COST,
    AllowanceKind.COST_PER_MONTH: MONTH_COST,
}
"""What each quota is called where a call is refused for it; those of money are told there alone."""
MOST = 10**15 - 1  # an integer of RFC 9651

Header = tuple[bytes, bytes]


def headers(
    limits: Limits, rate: RateState | None, day: Used | None, month: Used | None, now: datetime
) -> list[Header]:
    """The two fields, none where calls aren't limited.

    `day` and `month` are what was used of the present ones; None where nobody looked: then nothing is told of them.
    """
    at = micros(now)
    day_end = span(AllowanceKind.CALLS_PER_DAY, at)[1]
    month_start, month_end = span(AllowanceKind.CALLS_PER_MONTH, at)
    policies = _policies(limits, month_end - month_start)
    left = []
    if rate is not None:
        left.append(f'"{RATE}";r={rate.left};t={whole_seconds(rate.reset_seconds)}')
    if day is not None and limits.calls_per_day is not None:
        left.append(_left(DAY, limits.calls_per_day, day, day_end - at))
    if month is not None and limits.calls_per_month is not None:
        left.append(_left(MONTH, limits.calls_per_month, month, month_end - at))
    fields = ((b"ratelimit-policy", policies), (b"ratelimit", ", ".join(left).encode("ascii")))
    return [(name, value) for name, value in fields if value]


@lru_cache(maxsize=1024)
def _policies(limits: Limits, month_us: int) -> bytes:
    """Each quota of calls and its window. A rate is told as its burst and the time in which that is there again."""
    policies = []
    if limits.calls_per_second and limits.burst:
        quota = max(limits.burst, limits.calls_per_second)  # the shortest window is a second
        policies.append(f'"{RATE}";q={quota};w={_rounded_up(quota, limits.calls_per_second)}')
    if limits.calls_per_day is not None:
        policies.append(f'"{DAY}";q={min(limits.calls_per_day, MOST)};w={DAY_US // SECOND_US}')
    if limits.calls_per_month is not None:
        policies.append(f'"{MONTH}";q={min(limits.calls_per_month, MOST)};w={month_us // SECOND_US}')
    return ", ".join(policies).encode("ascii")


def _left(policy: str, quota: int, used: Used, reset_us: int) -> str:
    left = min(max(quota - used.requests, 0), MOST)
    return f'"{policy}";r={left};t={_rounded_up(reset_us, SECOND_US)}'


def whole_seconds(seconds: float) -> int:
    """Rounded up from a whole number of microseconds, for Retry-After too: who waits so long isn't too early."""
    return _rounded_up(round(seconds * SECOND_US), SECOND_US)


def _rounded_up(quantity: int, by: int) -> int:
    return -(-quantity // by)
