"""By which buckets a period is read: whole months, and beside its edges days, hours and single calls, as few as can be.

An edge lies nearer to the bucket's beginning or to its end: what is between is added, or taken away.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from gateway.pricing import DAY_US, HOUR_US, MONTH_US, QUARTER_US, nearest, parts

CUT_HOURS = -1
"""The width of hours that an edge cuts, where they are told apart: for refused calls, which are kept by the hour."""

# Spans are read as one where the gap between them can hold no wider bucket: all that it does hold is cut by an edge.
GAPS = {MONTH_US: 1, DAY_US: MONTH_US, HOUR_US: DAY_US, QUARTER_US: HOUR_US, 0: 0, CUT_HOURS: 1}


class Span(NamedTuple):
    """`low <= t < high` in microseconds, and how many times what was called and refused there is added."""

    low: int
    high: int
    called: int = 1
    refused: int = 1


Spans = Mapping[int, Sequence[Span]]
"""By the width of the buckets that are read; of width 0 are single calls."""


def covering(start: int, end: int, refused_from: int | None = None) -> Spans:
    """What adds up to the calls of a period, and to what was refused in the hours that it touches, or from one of them.

    All edges but the outermost are those of buckets, so the cost follows the number of buckets, not of calls.
    """
    low, high, width, spans = start, end, 0, defaultdict[int, list[Span]](list)
    hours = [hour_of(start) if refused_from is None else refused_from, hour_after(end)]
    for wider in (HOUR_US, DAY_US, MONTH_US):
        lower, higher = nearest(low, wider), nearest(high, wider)
        if high - low <= abs(low - lower) + abs(high - higher):
            break
        spans[width] += [*_between(low, lower), *_between(higher, high)]
        low, high, width = lower, higher, wider
        if width == HOUR_US:
            spans[HOUR_US] += [*_refused(hours[0], low), *_refused(high, hours[1])]
    if width == 0:
        spans[HOUR_US] += _refused(*hours)
    spans[width].append(Span(low, high))
    return {width: found for width, found in spans.items() if found}


def tiling(edges: Sequence[int]) -> Spans:
    """What lies between each edge and the next, nothing taken away, so that each bucket belongs to one of them.

    A bucket that an edge cuts may be read too; it belongs to none.
    """
    spans = defaultdict[int, list[Span]](list)
    for start, end in pairwise(edges):
        for part in parts(start, end, (MONTH_US, DAY_US, HOUR_US, QUARTER_US)):
            spans[part.width].append(Span(part.start, part.end))
            if part.width < HOUR_US:
                spans[CUT_HOURS].append(Span(hour_of(part.start), hour_after(part.end), called=0))
    return {width: _merged(found, GAPS[width]) for width, found in spans.items()}


def hour_of(at: int) -> int:
    return at - at % HOUR_US


def hour_after(at: int) -> int:
    """The first instant since then at which an hour begins."""
    return -(-at // HOUR_US) * HOUR_US


def _between(one: int, other: int) -> Iterator[Span]:
    """What is added from one instant to a later one, or taken away from there back to an earlier one."""
    if one < other:
        yield Span(one, other)
    elif one > other:
        yield Span(other, one, -1, -1)


def _refused(one: int, other: int) -> Iterator[Span]:
    for span in _between(one, other):
        yield span._replace(called=0)


def _merged(spans: Iterable[Span], gap: int) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and span.low - merged[-1].high < gap:
            merged[-1] = merged[-1]._replace(high=max(span.high, merged[-1].high))
        else:
            merged.append(span)
    return merged
