"""By which buckets a period is read: they add up to it, whatever is taken away, and are few."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.pricing import DAY_US, HOUR_US, MONTH_US, first_of_month, micros
from gateway.spans import Span, Spans, covering, hour_after, hour_of, tiling

FIRST, LAST = micros(datetime(1, 1, 1, tzinfo=UTC)), micros(datetime.max.replace(tzinfo=UTC))
HALF_AN_HOUR = HOUR_US // 2

at_all = st.integers(FIRST, LAST)
lately = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)).map(micros)  # noqa: DTZ001  # given one
rounded = st.builds(lambda at, width: at - at % width, lately, st.sampled_from([HOUR_US, DAY_US]))
months = lately.map(first_of_month)
beside = st.builds(lambda at, more: at + more, rounded | months, st.integers(-1, 1))
instants = lately | rounded | months | beside
edges = st.sets(instants, min_size=2, max_size=2).map(sorted) | st.sets(at_all, min_size=2, max_size=2).map(sorted)


def called(spans: Spans, at: int) -> int:
    return sum(span.called for span in holding(spans, at))


def refused(spans: Spans, at: int) -> int:
    """Of single calls nothing is refused."""
    return sum(span.refused for span in holding({width: found for width, found in spans.items() if width}, at))


def holding(spans: Spans, at: int) -> Iterable[Span]:
    return (span for found in spans.values() for span in found if span.low <= at < span.high)


def turning_points(spans: Spans) -> set[int]:
    """Where anything may change, and a microsecond before."""
    return {at - less for found in spans.values() for span in found for at in span[:2] for less in (0, 1)}


@given(edges)
@example([FIRST, LAST])
@example([LAST - 1, LAST])
def test_a_period_is_covered_once_and_nothing_beside_it(period: list[int]) -> None:
    start, end = period
    spans = covering(start, end)
    for at in turning_points(spans) | {start - 1, start, end - 1, end}:
        assert called(spans, at) == (start <= at < end)
        assert refused(spans, at) == (hour_of(start) <= at < hour_after(end))


@given(st.sets(instants, min_size=2, max_size=6).map(sorted))
def test_steps_tell_once_of_each_hour_s_refused_calls(cuts: list[int]) -> None:
    steps, refused_from = [], hour_of(cuts[0])
    for start, end in pairwise(cuts):
        steps.append(covering(start, end, refused_from))
        refused_from = hour_after(end)
    for at in {at for spans in steps for at in turning_points(spans)}:
        assert sum(refused(spans, at) for spans in steps) == (hour_of(cuts[0]) <= at < hour_after(cuts[-1]))
        assert sum(called(spans, at) for spans in steps) == (cuts[0] <= at < cuts[-1])


@given(edges)
def test_spans_begin_and_end_where_buckets_of_their_width_do(period: list[int]) -> None:
    for spans in (covering(*period), tiling(period)):
        for width in (HOUR_US, DAY_US):
            assert not any(at % width for span in spans.get(width, ()) for at in span[:2])
        for span in spans.get(MONTH_US, ()):
            assert span.low == first_of_month(span.low)
            assert span.high == LAST + 1 or span.high == first_of_month(span.high)


@given(edges)
def test_at_each_edge_there_are_at_most_16_days_12_hours_besides_cut_ones_and_half_an_hour(period: list[int]) -> None:
    spans = covering(*period)
    assert read(spans, 0) <= 2 * HALF_AN_HOUR
    assert read(spans, HOUR_US) <= 2 * (12 + 1) * HOUR_US
    assert read(spans, DAY_US) <= 2 * 16 * DAY_US


def read(spans: Spans, width: int) -> int:
    return sum(span.high - span.low for span in spans.get(width, ()))


def test_the_end_of_a_month_is_reached_from_the_month_after() -> None:
    start, end = (micros(datetime(2026, month, day, 12, tzinfo=UTC)) for month, day in ((3, 2), (5, 30)))
    april, june = (micros(datetime(2026, month, 1, tzinfo=UTC)) for month in (4, 6))
    march, day = micros(datetime(2026, 3, 1, tzinfo=UTC)), timedelta(days=1) // timedelta(microseconds=1)
    spans = covering(start, end)
    assert april < end
    assert spans[MONTH_US] == [Span(march, june)]
    assert sorted(spans[DAY_US]) == [Span(march, march + day, -1, -1), Span(june - 2 * day, june, -1, -1)]
    assert sorted(spans[HOUR_US]) == [Span(start - day // 2, start, -1, -1), Span(end - day // 2, end)]
