"""The RateLimit fields, as draft-ietf-httpapi-ratelimit-headers-10 writes them."""

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import UNLIMITED, AllowanceKind, Limits, Used
from gateway.plane.ratelimit_headers import MOST, POLICIES, headers, whole_seconds
from gateway.plane.rates import Rates, RateState
from gateway.pricing import Amount

NOW = datetime(2026, 11, 23, 10, 26, 30, 250_000, UTC)
ITEM = re.compile(r'"([a-z-]+)"((?:;[a-z]+=\d{1,15})+)')


def shown(
    limits: Limits, rate: RateState | None = None, day: Used | None = None, month: Used | None = None
) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers(limits, rate, day, month, NOW)}


def items(field: str) -> dict[str, dict[str, int]]:
    """The items of a list and their parameters; fails where it isn't written as RFC 9651 has it."""
    found = {}
    for item in field.split(", "):
        match = ITEM.fullmatch(item)
        assert match, item
        found[match[1]] = {name: int(value) for name, value in re.findall(r";([a-z]+)=(\d+)", match[2])}
    return found


def test_every_limit_on_calls_is_told_with_what_is_left_of_it() -> None:
    limits = Limits(5, 20, 1000, 20_000)
    rate = RateState(is_allowed=True, left=19, reset_seconds=0.2, retry_seconds=0)
    assert shown(limits, rate, Used(988), Used(19_999)) == {
        "ratelimit-policy": '"second";q=20;w=4, "day";q=1000;w=86400, "month";q=20000;w=2592000',
        "ratelimit": '"second";r=19;t=1, "day";r=12;t=48810, "month";r=1;t=653610',
    }


def test_nothing_is_told_of_what_is_not_limited_and_of_money() -> None:
    assert shown(UNLIMITED, None, Used(), Used()) == {}
    assert shown(Limits(cost_per_day=Amount(1), cost_per_month=Amount(9)), None, Used(), Used()) == {}


def test_what_nobody_looked_at_is_not_told_as_left() -> None:
    """A call that its rate refuses reaches no counter of a day."""
    refused = RateState(is_allowed=False, left=0, reset_seconds=0.000_001, retry_seconds=0.000_001)
    assert shown(Limits(1, 1, 5), refused) == {
        "ratelimit-policy": '"second";q=1;w=1, "day";q=5;w=86400',
        "ratelimit": '"second";r=0;t=1',
    }


def test_a_burst_of_less_than_a_second_s_calls_has_a_window_of_a_second() -> None:
    assert shown(Limits(100, 3))["ratelimit-policy"] == '"second";q=100;w=1'


def test_the_largest_quota_is_told_as_the_largest_number_that_a_field_can_say() -> None:
    fields = shown(Limits(calls_per_day=10**15, calls_per_month=10**15), None, Used(), Used())
    assert items(fields["ratelimit-policy"])["day"]["q"] == items(fields["ratelimit"])["month"]["r"] == 10**15 - 1


SOME = st.none() | st.integers(0, 10**15)
USED = st.none() | st.builds(Used, st.integers(0, 2**62))
RATES = st.tuples(st.none(), st.none()) | st.tuples(st.integers(1, 100_000), st.integers(1, 1_000_000))


@given(RATES, SOME, SOME, USED, USED, st.integers(1, 9))
def test_the_fields_are_structured_and_what_is_left_is_part_of_a_policy(
    rate: tuple[int | None, int | None],
    calls_per_day: int | None,
    calls_per_month: int | None,
    day: Used | None,
    month: Used | None,
    processes: int,
) -> None:
    limits = Limits(*rate, calls_per_day, calls_per_month)
    fields = shown(limits, Rates(processes).take("key_1", limits, 1), day, month)
    policies = items(fields["ratelimit-policy"]) if "ratelimit-policy" in fields else {}
    left = items(fields["ratelimit"]) if "ratelimit" in fields else {}
    assert left.keys() <= policies.keys()
    assert all(0 <= policy["q"] <= MOST and policy["w"] > 0 for policy in policies.values())
    assert all(limit["r"] <= policies[name]["q"] and limit["t"] > 0 for name, limit in left.items())


def test_a_month_is_as_long_as_it_is() -> None:
    february = datetime(2028, 2, 29, 23, 59, 59, 1, UTC)
    fields = dict(headers(Limits(calls_per_month=1), None, None, Used(1), february))
    assert fields == {b"ratelimit-policy": b'"month";q=1;w=2505600', b"ratelimit": b'"month";r=0;t=1'}


def test_seconds_to_wait_are_rounded_up_and_exact_where_they_are_whole() -> None:
    assert [whole_seconds(seconds) for seconds in (0, 0.000_001, 1, 1.000_001, 28.999_999, 29.0)] == [
        0,
        1,
        1,
        2,
        29,
        29,
    ]


def test_each_quota_has_a_name_for_refusals() -> None:
    assert set(POLICIES) == set(AllowanceKind)
    assert len(set(POLICIES.values())) == len(AllowanceKind)
