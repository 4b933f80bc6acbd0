"""Which calls of a group fit in the quotas of their keys. Pure: the meter reads the counters and writes the outcome.

The counters are the buckets of days and months themselves, which the report and the schema read too. The whole group
was added to them, under their locks; what doesn't fit is taken off again before anybody sees it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gateway.counting import DAYS, MONTHS, Bucket, Record
from gateway.limits import AllowanceKind, Limits, Used, exceeded
from gateway.pricing import Amount


class Spent(NamedTuple):
    """What a key has used of a day and of a month of UTC."""

    day: Used
    month: Used


class Exceeded(NamedTuple):
    """The quotas that have no room for a call, and what the key has used without it."""

    kinds: list[AllowanceKind]
    spent: Spent


Verdict = Spent | Exceeded


class Counters:
    """The counters of days and months as they were before a group was added to them."""

    def __init__(self, days: Iterable[Any], months: Iterable[Any], group: Sequence[Record]) -> None:
        """From the rows that adding the group answered with: key, start, requests, units, fraction."""
        self._used = {DAYS.table: _used(days), MONTHS.table: _used(months)}
        for record in group:
            self._add(record, -1)

    def verdict(self, record: Record, limits: Limits) -> Verdict:
        """What the key has used with this call, which is taken in where it fits."""
        if kinds := exceeded(limits, Amount(*record[2:]), *self._spent(record)):
            return Exceeded(kinds, self._spent(record))
        self._add(record, 1)
        return self._spent(record)

    def _spent(self, record: Record) -> Spent:
        return Spent(*(self._used[bucket.table][_place(bucket, record)] for bucket in (DAYS, MONTHS)))

    def _add(self, record: Record, sign: int) -> None:
        _, _, units, fraction = record
        for bucket in (DAYS, MONTHS):
            used, place = self._used[bucket.table], _place(bucket, record)
            before = used[place]
            cost = Amount.carried(before.cost.units + sign * units, before.cost.fraction + sign * fraction)
            used[place] = Used(before.requests + sign, cost)


def _place(bucket: Bucket, record: Record) -> tuple[str, int]:
    return record[0], bucket.start_of(record[1])


def _used(rows: Iterable[Any]) -> dict[tuple[str, int], Used]:
    return {(key_id, start): Used(requests, Amount(units, more)) for key_id, start, requests, units, more in rows}
