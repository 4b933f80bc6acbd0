"""Calls per second, counted in the memory of this process, which has its share of every rate.

Each key has a bucket that holds `burst` calls and drains by its rate (GCRA, seen as a leaky bucket): a call is let
through where it still fits. All in whole numbers, so that nothing is gained or lost by rounding.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from gateway.limits import SECOND_US, Limits

MOST_BUCKETS = 50_000


class RateState(NamedTuple):
    """What became of a call, and how the key stands with its rate after it."""

    is_allowed: bool
    left: int
    """Calls that would be let through at once."""
    reset_seconds: float
    """Until there is one more; a whole number of microseconds."""
    retry_seconds: float
    """Until one call is let through; 0 where this one was."""


@dataclass(slots=True)
class _Bucket:
    """How full it was at an instant, and from which instant on it is empty."""

    filled: int
    at: int
    empty_at: int


class Rates:
    """The buckets of all keys; those that have drained are forgotten, and so are the longest unused past the most.

    `processes` is over how many a rate is shared. A burst isn't: each lets one through.
    """

    def __init__(self, processes: int = 1) -> None:
        # A bucket drains by `calls_per_second` each microsecond: so much is a call.
        self._call = SECOND_US * processes
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key_id: str, limits: Limits, now: float) -> RateState | None:
        """Counts a call, unless it is refused. None where the key has no rate. `now` is in seconds of a steady clock.

        A limit that was changed holds from the next call on, for what the bucket then contains.
        """
        rate, burst = limits.calls_per_second, limits.burst
        if rate is None or burst is None:
            return None
        at = round(now * SECOND_US)
        bucket = self._buckets.get(key_id)
        filled = max(bucket.filled - max(at - bucket.at, 0) * rate, 0) if bucket else 0
        is_allowed = filled + self._call <= burst * self._call
        if is_allowed:
            filled += self._call
            self._buckets[key_id] = _Bucket(filled, at, at + _rounded_up(filled, rate))
            self._buckets.move_to_end(key_id)
            self._forget_one(at)
        return self._state(is_allowed, filled, rate, burst)

    def _state(self, is_allowed: bool, filled: int, rate: int, burst: int) -> RateState:
        room = burst * self._call - filled
        left = max(room // self._call, 0)
        reset_seconds = _rounded_up((left + 1) * self._call - room, rate) / SECOND_US
        return RateState(is_allowed, left, reset_seconds, 0 if is_allowed else reset_seconds)

    def _forget_one(self, at: int) -> None:
        """Looks at the bucket that was used the longest ago: with one a call, they can't pile up."""
        oldest = next(iter(self._buckets))
        if self._buckets[oldest].empty_at <= at or len(self._buckets) > MOST_BUCKETS:
            del self._buckets[oldest]


def _rounded_up(quantity: int, by: int) -> int:
    return -(-quantity // by)
