"""Calls per second: what is let through, what is refused, and what is remembered."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import UNLIMITED, Limits
from gateway.plane import rates
from gateway.plane.rates import Rates, RateState

MICROSECOND = Fraction(1, 1_000_000)
KEYS = ("key_1", "key_2", "key_3")
PROCESSES = st.integers(1, 7)
LIMITS = st.builds(
    Limits,
    st.integers(1, 7) | st.integers(1, 100_000),
    st.integers(1, 5) | st.integers(1, 1_000_000),
)
GAPS_US = st.lists(st.integers(0, 9) | st.integers(0, 400_000) | st.integers(0, 10**13), max_size=40)
BEGIN_US = 7_654_321_000_001


def instants(gaps_us: list[int]) -> list[int]:
    return [BEGIN_US + passed for passed in accumulate(gaps_us)]


def take(counted: Rates, key_id: str, limits: Limits, at_us: int) -> RateState:
    state = counted.take(key_id, limits, at_us / 1e6)
    assert state is not None
    return state


@dataclass
class Tokens:
    """What is promised, in fractions: a bucket that begins with a burst of tokens, and gets a rate of them."""

    limits: Limits
    processes: int
    held: Fraction = field(init=False)
    at_us: int = BEGIN_US

    def __post_init__(self) -> None:
        self.held = Fraction(self.limits.burst or 0)

    def take(self, at_us: int) -> tuple[bool, int, int]:
        """Whether a call is let through, how many more are then, and in how many microseconds there is one more."""
        per_us = Fraction(self.limits.calls_per_second or 0, self.processes) * MICROSECOND
        self.held = min(self.held + (at_us - self.at_us) * per_us, Fraction(self.limits.burst or 0))
        self.at_us = at_us
        is_allowed = self.held >= 1
        self.held -= is_allowed
        left = math.floor(self.held)
        return is_allowed, left, math.ceil((left + 1 - self.held) / per_us)


@given(LIMITS, PROCESSES, st.lists(st.sampled_from(KEYS), min_size=40, max_size=40), GAPS_US)
def test_each_key_has_a_bucket_of_its_own_that_is_exact_to_the_microsecond(
    limits: Limits, processes: int, keys: list[str], gaps_us: list[int]
) -> None:
    counted, promised = Rates(processes), {key_id: Tokens(limits, processes) for key_id in KEYS}
    for key_id, at_us in zip(keys, instants(gaps_us), strict=False):
        state = take(counted, key_id, limits, at_us)
        is_allowed, left, reset_us = promised[key_id].take(at_us)
        assert state == RateState(is_allowed, left, reset_us / 1e6, 0 if is_allowed else reset_us / 1e6)


@given(LIMITS, PROCESSES, GAPS_US)
def test_in_no_time_there_pass_more_calls_than_a_burst_and_the_rate_allow(
    limits: Limits, processes: int, gaps_us: list[int]
) -> None:
    counted = Rates(processes)
    passed = [at_us for at_us in instants(gaps_us) if take(counted, "key_1", limits, at_us).is_allowed]
    for first, start in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            rate = Fraction(limits.calls_per_second or 0, processes) * MICROSECOND
            assert last - first + 1 <= (limits.burst or 0) + rate * (end - start)


@given(LIMITS, PROCESSES, GAPS_US, st.integers(0, 10**7))
def test_a_refused_call_takes_nothing(limits: Limits, processes: int, gaps_us: list[int], later_us: int) -> None:
    all_calls, good_calls = Rates(processes), Rates(processes)
    at_us = BEGIN_US
    for at_us in instants(gaps_us):
        if take(all_calls, "key_1", limits, at_us).is_allowed:
            take(good_calls, "key_1", limits, at_us)
    end = at_us + later_us
    assert take(all_calls, "key_1", limits, end) == take(good_calls, "key_1", limits, end)


@given(st.integers(1, 100_000), st.integers(1, 50), PROCESSES, st.integers(0, 10**13))
def test_who_waits_as_long_as_told_has_exactly_one_call(rate: int, burst: int, processes: int, at_us: int) -> None:
    counted, limits = Rates(processes), Limits(rate, burst)
    for _ in range(burst):
        assert take(counted, "key_1", limits, at_us).is_allowed
    refused = take(counted, "key_1", limits, at_us)
    assert not refused.is_allowed

    now, wait = at_us / 1e6, refused.retry_seconds
    for too_early in (0, wait / 2, wait - 0.000_001):
        state = counted.take("key_1", limits, now + too_early)
        assert state
        assert not state.is_allowed
    assert [take(counted, "key_1", limits, round((now + wait) * 1e6)).is_allowed for _ in range(3)] == [
        True,
        False,
        False,
    ]


@given(LIMITS)
def test_a_clock_that_stands_still_or_goes_back_gives_nothing(limits: Limits) -> None:
    counted, small = Rates(), Limits(limits.calls_per_second, 2)
    results = [take(counted, "key_1", small, at_us).is_allowed for at_us in (9_000_000, 8_000_000, 0, 0)]
    assert results == [True, True, False, False]


def test_a_key_without_a_rate_is_never_refused_nor_remembered() -> None:
    counted = Rates()
    assert counted.take("key_1", UNLIMITED, 1) is None
    assert counted.take("key_1", Limits(calls_per_day=0), 1) is None
    assert len(counted._buckets) == 0


def test_a_changed_rate_holds_from_the_next_call_on() -> None:
    counted = Rates()
    assert [take(counted, "key_1", Limits(1, 3), 0).left for _ in range(3)] == [2, 1, 0]
    assert take(counted, "key_1", Limits(1, 5), 0) == RateState(True, 1, 1, 0)
    assert take(counted, "key_1", Limits(2, 2), 0) == RateState(False, 0, 1.5, 1.5)
    assert take(counted, "key_1", Limits(2, 2), 1_500_000).is_allowed


def test_a_bucket_is_forgotten_when_it_is_as_if_it_were_new() -> None:
    counted, limits = Rates(), Limits(10, 2)
    for number in range(100):
        take(counted, f"key_{number}", limits, 0)
    assert len(counted._buckets) == 100
    for step in range(1, 101):
        take(counted, "key_busy", limits, step * 100_000)
    assert list(counted._buckets) == ["key_busy"]


def test_a_bucket_is_not_forgotten_a_microsecond_too_early() -> None:
    counted, limits = Rates(), Limits(3, 1)
    take(counted, "key_1", limits, 0)
    take(counted, "key_2", limits, 333_333)
    assert list(counted._buckets) == ["key_1", "key_2"]
    take(counted, "key_3", limits, 333_334)
    assert list(counted._buckets) == ["key_2", "key_3"]


def test_at_most_so_many_buckets_are_remembered_and_the_longest_unused_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "MOST_BUCKETS", 3)
    counted, slow = Rates(), Limits(1, 5)
    for key_id in ("key_1", "key_2", "key_3", "key_1", "key_4", "key_5"):
        take(counted, key_id, slow, 0)
    assert list(counted._buckets) == ["key_1", "key_4", "key_5"]
    assert take(counted, "key_1", slow, 0).left == 2


def test_a_key_that_uses_up_its_rate_is_not_forgotten_while_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_BUCKETS", 2)
    counted, slow = Rates(), Limits(1, 1)
    for key_id in ("key_1", "key_2"):
        take(counted, key_id, slow, 0)
    assert [take(counted, "key_1", slow, 0).is_allowed for _ in range(5)] == [False] * 5
