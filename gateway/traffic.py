"""Calls that nobody made, for a gateway that shall look used: hour by hour, each key as often as it is busy.

The same seed gives the same calls. A few keys make most of them; nights and weekends are quieter; every call has an
instant of its own to the microsecond, and its exact cost. What buckets hold is summed up from those same calls.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from gateway.counting import DAYS, MONTHS, Bucket, Record
from gateway.pricing import DAY_US, HOUR_US, Amount

AT_ONCE = 100_000
REFUSED_SHARE = 0.01
BUSY_BY_DAY = (12, 11, 6, 5, 12, 12, 12)  # from Thursday, as 1970 began, on
BUSY_BY_HOUR = (3, 2, 2, 2, 2, 3, 5, 8, 12, 15, 16, 16, 14, 15, 16, 16, 14, 12, 9, 8, 7, 6, 5, 4)

BucketRow = tuple[str, int, int, int, int, int]  # a key, microseconds, requests, refused, units and fraction


@dataclass
class Batch:
    """What is written in one transaction: calls by their instants, and the buckets that ended with them."""

    records: list[Record] = field(default_factory=list)
    hours: list[BucketRow] = field(default_factory=list)
    days: list[BucketRow] = field(default_factory=list)
    months: list[BucketRow] = field(default_factory=list)


class Traffic:
    """So many calls of keys with what each call of theirs costs, from one whole hour to another."""

    def __init__(self, costs: Mapping[str, Amount], number: int, start: int, end: int, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311  # the same each time
        self._key_ids = list(costs)
        self._costs = [(cost.units, cost.fraction) for cost in costs.values()]
        self._cumulative = list(accumulate(_busy(len(costs), self._chance)))
        self._numbers = _numbers(number, range(start, end, HOUR_US))

    def batches(self) -> Iterator[Batch]:
        """The whole, in batches of about 100,000 calls."""
        batch = Batch()
        day, month = _Open(DAYS), _Open(MONTHS)
        for hour, number in self._numbers:
            batch.days += self._ended(day, hour)
            batch.months += self._ended(month, hour)
            requests, refused = self._call(batch, hour, number)
            for each in (day, month):
                each.add(requests, refused)
            if len(batch.records) >= AT_ONCE:
                yield batch
                batch = Batch()
        batch.days += self._rows(day.start, day.requests, day.refused)
        batch.months += self._rows(month.start, month.requests, month.refused)
        yield batch

    def _call(self, batch: Batch, hour: int, number: int) -> tuple[Counter[int], Counter[int]]:
        """Fills an hour; which keys called how often, and how often they were refused besides."""
        called = self._some_keys(number)
        fractions = self._chance.random
        instants = sorted(hour + int(fractions() * HOUR_US) for _ in range(number))
        key_ids, costs = self._key_ids, self._costs
        batch.records += [(key_ids[key], at, *costs[key]) for key, at in zip(called, instants, strict=True)]
        requests = Counter(called)
        refused = Counter(self._some_keys(int(number * REFUSED_SHARE + fractions())))
        batch.hours += self._rows(hour, requests, refused)
        return requests, refused

    def _some_keys(self, number: int) -> list[int]:
        return self._chance.choices(range(len(self._key_ids)), cum_weights=self._cumulative, k=number)

    def _ended(self, bucket: "_Open", hour: int) -> list[BucketRow]:
        if bucket.holds(hour):
            return []
        rows = self._rows(bucket.start, bucket.requests, bucket.refused)
        bucket.begin(hour)
        return rows

    def _rows(self, start: int, requests: Counter[int], refused: Counter[int]) -> list[BucketRow]:
        """In the order of the keys, in which every writer takes them."""
        rows = []
        for key in requests.keys() | refused.keys():
            times = requests[key]
            units, fraction = self._costs[key]
            total = Amount.carried(units * times, fraction * times)
            rows.append((self._key_ids[key], start, times, refused[key], total.units, total.fraction))
        return sorted(rows)


class _Open:
    """A bucket of each key, to which hours are still added."""

    def __init__(self, bucket: Bucket) -> None:
        self._start_of = bucket.start_of
        self.begin(0)

    def begin(self, hour: int) -> None:
        self.start = self._start_of(hour)
        self.requests: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()

    def holds(self, hour: int) -> bool:
        return self._start_of(hour) == self.start

    def add(self, requests: Counter[int], refused: Counter[int]) -> None:
        self.requests.update(requests)
        self.refused.update(refused)


def _busy(keys: int, chance: random.Random) -> list[float]:
    """How busy each key is: by Zipf's law, whose first hundredth makes nearly half of all calls."""
    busy = [1 / rank for rank in range(1, keys + 1)]
    chance.shuffle(busy)
    return busy


def _numbers(number: int, hours: Sequence[int]) -> list[tuple[int, int]]:
    """How many calls fall into each hour; in sum exactly so many."""
    ends = list(accumulate(_weight(hour) for hour in hours))
    counts, done = [], 0
    for hour, end in zip(hours, ends, strict=True):
        counts.append((hour, number * end // ends[-1] - done))
        done = number * end // ends[-1]
    return counts


def _weight(hour: int) -> int:
    return BUSY_BY_DAY[hour // DAY_US % 7] * BUSY_BY_HOUR[hour % DAY_US // HOUR_US]
