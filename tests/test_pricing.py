"""Money is exact, and a period is cut along the clocks of any zone without a gap or an overlap."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadInput, Invalid, LimitExceeded
from gateway.pricing import (
    DAY_US,
    HOUR_US,
    MONTH_US,
    QUARTER_US,
    Amount,
    Granularity,
    Period,
    between,
    checked_coefficient,
    checked_price,
    cost,
    first_of_month,
    instant_of,
    last_days,
    micros,
    month,
    parts,
    plain,
    steps,
    zone,
)

ZONES = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Chatham",
]

prices = st.integers(0, 999999_999999).map(lambda n: Decimal(n).scaleb(-6))
coefficients = st.integers(0, 9999_9999).map(lambda n: Decimal(n).scaleb(-4))
costs = st.builds(cost, prices, coefficients)
instants = st.integers(0, 22 * 366 * 24 * 3600 * 10**6).map(
    lambda us: datetime(2005, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
zones = st.sampled_from(ZONES)


@st.composite
def periods(draw: st.DrawFn, longest: timedelta = timedelta(days=200)) -> Period:
    start = draw(instants)
    return Period(start, start + draw(st.timedeltas(timedelta(microseconds=1), longest)))


# Money


def test_a_cost_keeps_all_ten_decimals() -> None:
    assert plain(cost(Decimal("999999.999999"), Decimal("9999.9999"))) == "9999999899.9900000001"
    assert plain(cost(Decimal("0.000001"), Decimal("0.0001"))) == "0.0000000001"


def test_a_sum_that_breaks_floating_point_is_exact() -> None:
    calls = [cost(Decimal("0.1"), Decimal(1)), cost(Decimal("0.2"), Decimal(1)), Decimal("1234567.1234567892")]
    assert plain(sum((Amount.of(call) for call in calls), Amount()).decimal) == "1234567.4234567892"
    assert plain(sum([Amount.of(Decimal("1234567.1234567892"))] * 3, Amount()).decimal) == "3703701.3703703676"


def test_an_amount_of_more_digits_than_a_decimal_context_holds_is_exact() -> None:
    assert plain(Amount(2**63 - 1, 10**10 - 1).decimal) == "9223372036854775807.9999999999"


@given(st.lists(costs))
def test_amounts_add_up_as_integers_do(calls: list[Decimal]) -> None:
    total = sum((Amount.of(call) for call in calls), Amount())
    assert 0 <= total.fraction < 10**10
    assert total.units * 10**10 + total.fraction == sum(int(call.scaleb(10)) for call in calls)


@given(costs)
def test_an_amount_is_the_decimal_that_it_was_made_of(value: Decimal) -> None:
    assert Amount.of(value).decimal == value


@given(costs, costs)
def test_amounts_are_ordered_as_their_decimals(one: Decimal, other: Decimal) -> None:
    assert (Amount.of(one) < Amount.of(other)) == (one < other)


@pytest.mark.parametrize("text", ["0.00000000001", "NaN", "sNaN", "Infinity"])
def test_what_has_more_than_ten_decimals_or_is_no_number_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="An amount"):
        Amount.of(Decimal(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.000", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0E+5", "0"),
        ("1E+3", "1000"),
        ("1E-10", "0.0000000001"),
        ("100", "100"),
        ("1.50", "1.5"),
        ("10.00", "10"),
        ("-2.50", "-2.5"),
    ],
)
def test_plain_notation_has_no_exponent_and_no_superfluous_zeros(text: str, expected: str) -> None:
    assert plain(Decimal(text)) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_plain_notation_round_trips(value: Decimal) -> None:
    text = plain(value)
    assert Decimal(text) == value
    assert "e" not in text.lower()
    assert plain(Decimal(text)) == text


@pytest.mark.parametrize("text", ["NaN", "Infinity"])
def test_what_is_no_number_has_no_plain_notation(text: str) -> None:
    with pytest.raises(ValueError, match="plain notation"):
        plain(Decimal(text))


@pytest.mark.parametrize("text", ["0", "-0", "999999.999999", "0.000001", "1.0000000", "1E+5"])
def test_a_price_in_bounds_is_kept_in_plain_notation(text: str) -> None:
    assert str(checked_price(Decimal(text))) == plain(Decimal(text))


@pytest.mark.parametrize("text", ["-0.000001", "1000000", "0.0000001", "NaN", "sNaN", "Infinity", "1E-99999999999"])
def test_a_price_out_of_bounds_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="price") as refusal:
        checked_price(Decimal(text), ("input", "pricePerRequest"))
    assert refusal.value.path == ("input", "pricePerRequest")


@pytest.mark.parametrize("text", ["-1", "10000", "9999.99991", "0.00001", "NaN"])
def test_a_coefficient_out_of_bounds_is_invalid(text: str) -> None:
    assert checked_coefficient(Decimal("9999.9999")) == Decimal("9999.9999")
    with pytest.raises(Invalid, match="coefficient"):
        checked_coefficient(Decimal(text))


# Periods


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_period_between_instants_is_in_utc() -> None:
    period = between(datetime.fromisoformat("2026-11-23T05:45:00+05:45"), utc("2026-11-24"))
    assert period == Period(utc("2026-11-23"), utc("2026-11-24"))
    assert period.start.utcoffset() == timedelta()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-23T00:00:00+00:00", "2026-11-23T00:00:00+00:00"),
        ("2026-11-23T00:00:00+00:00", "2026-11-23T00:30:00+01:00"),
        ("2026-11-23T00:00:00", "2026-11-24T00:00:00+00:00"),
        ("0001-01-01T00:00:00+05:00", "2026-11-24T00:00:00+00:00"),
    ],
)
def test_a_period_that_is_empty_reversed_naive_or_outside_the_calendar_is_bad_input(start: str, end: str) -> None:
    with pytest.raises(BadInput):
        between(datetime.fromisoformat(start), datetime.fromisoformat(end))


def test_a_month_is_as_long_as_the_clocks_of_its_zone_say() -> None:
    assert month("2026-12") == Period(utc("2026-12-01"), utc("2027-01-01"))
    march = month("2026-03", "Europe/Berlin")
    assert march == Period(utc("2026-02-28T23:00"), utc("2026-03-31T22:00"))
    assert march.end - march.start == timedelta(days=31, hours=-1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-13",
        "2026-00",
        "2026-1",
        "26-01",
        "2026-01-01",
        " 2026-01",
        "2026-01\n",
        "\u0662\u0660\u0662\u0666-\u0660\u0661",
    ],
)
def test_a_month_that_is_none_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="YYYY-MM"):
        month(text)


@pytest.mark.parametrize(("text", "name"), [("0000-01", "UTC"), ("9999-12", "UTC"), ("0001-01", "Asia/Kolkata")])
def test_a_month_outside_the_calendar_is_bad_input(text: str, name: str) -> None:
    with pytest.raises(BadInput, match="calendar"):
        month(text, name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../zones",
        "/etc/passwd",
        "/usr/share/zoneinfo/Europe/Berlin",
        "Europe",
        "Europe/",
        "Europe/Berlin/",
        "Europe//Berlin",
        "europe/berlin",
        "America/../Europe/Berlin",
        "posixrules",
        "posix/UTC",
        "localtime",
        "__init__.py",
        "tzdata.zi",
        "+01:00",
        "UTC\x00",
        "a" * 100_000,
    ],
)
def test_only_an_iana_name_is_a_zone(name: str) -> None:
    with pytest.raises(BadInput, match="IANA"):
        zone(name)


def test_the_last_days_are_whole_days_of_24_hours_up_to_now() -> None:
    now = utc("2026-03-29T12:34:56.789012")
    assert last_days(1, now) == Period(now - timedelta(hours=24), now)
    assert last_days(3660, now).start == now - timedelta(days=3660)


@pytest.mark.parametrize("days", [0, -1, 3661])
def test_last_days_are_from_1_to_3660(days: int) -> None:
    with pytest.raises(BadInput, match="3660"):
        last_days(days, utc("2026-03-29"))


@given(instants)
def test_an_instant_round_trips_through_microseconds(instant: datetime) -> None:
    assert instant_of(micros(instant)) == instant


# Steps


def walls(start: str, end: str, granularity: Granularity, name: str) -> list[str]:
    """The boundaries as the clocks of the zone read."""
    boundaries = steps(between(utc(start), utc(end)), granularity, name)
    return [boundary.astimezone(zone(name)).strftime("%d %H:%M%z") for boundary in boundaries]


def test_a_repeated_hour_is_two_steps() -> None:
    assert walls("2026-10-24T23:30", "2026-10-25T02:15", Granularity.HOUR, "Europe/Berlin") == [
        "25 01:30+0200",
        "25 02:00+0200",
        "25 02:00+0100",
        "25 03:00+0100",
        "25 03:15+0100",
    ]


def test_a_skipped_hour_is_none() -> None:
    assert walls("2026-03-29T00:00", "2026-03-29T03:00", Granularity.HOUR, "Europe/Berlin") == [
        "29 01:00+0100",
        "29 03:00+0200",
        "29 04:00+0200",
        "29 05:00+0200",
    ]


def test_clocks_that_go_back_by_half_an_hour_make_two_steps_of_the_hour_that_they_repeat() -> None:
    assert walls("2026-04-04T14:00", "2026-04-04T16:30", Granularity.HOUR, "Australia/Lord_Howe") == [
        "05 01:00+1100",
        "05 01:30+1030",
        "05 02:00+1030",
        "05 03:00+1030",
    ]


def test_clocks_that_go_on_by_half_an_hour_leave_half_a_step() -> None:
    assert walls("2026-10-03T14:30", "2026-10-03T17:00", Granularity.HOUR, "Australia/Lord_Howe") == [
        "04 01:00+1030",
        "04 02:30+1100",
        "04 03:00+1100",
        "04 04:00+1100",
    ]


@pytest.mark.parametrize(("name", "minute"), [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15), ("Pacific/Chatham", 15)])
def test_hours_begin_where_the_clocks_of_the_zone_strike(name: str, minute: int) -> None:
    inner = steps(between(utc("2026-06-01"), utc("2026-06-02")), Granularity.HOUR, name)[1:-1]
    assert {boundary.minute for boundary in inner} == {minute}
    assert len(inner) == 24


@pytest.mark.parametrize(
    ("name", "date", "first"),
    [("America/Sao_Paulo", "2018-11-04", "04 01:00-0200"), ("Asia/Beirut", "2026-03-29", "29 01:00+0300")],
)
def test_a_day_whose_midnight_does_not_exist_begins_behind_the_gap(name: str, date: str, first: str) -> None:
    noon = utc(date) + timedelta(hours=12)
    boundaries = steps(between(noon - timedelta(days=1), noon), Granularity.DAY, name)
    assert [boundary.astimezone(zone(name)).strftime("%d %H:%M%z") for boundary in boundaries[1:-1]] == [first]


def test_a_day_that_the_calendar_skips_is_no_step() -> None:
    assert walls("2011-12-29T10:00", "2012-01-01T10:00", Granularity.DAY, "Pacific/Apia") == [
        "29 00:00-1000",
        "31 00:00+1400",
        "01 00:00+1400",
        "02 00:00+1400",
    ]


def test_a_day_is_one_step_though_its_midnight_comes_twice() -> None:
    boundaries = walls("2006-10-28T12:00", "2006-10-30T12:00", Granularity.DAY, "America/St_Johns")
    assert boundaries[1:-1] == ["29 00:00-0230", "30 00:00-0330"]


def test_weeks_begin_on_monday_and_the_first_and_last_are_clipped() -> None:
    assert walls("2026-11-04T10:00", "2026-11-17T10:00", Granularity.WEEK, "America/New_York") == [
        "04 05:00-0500",
        "09 00:00-0500",
        "16 00:00-0500",
        "17 05:00-0500",
    ]


def test_months_are_clipped_too() -> None:
    boundaries = steps(between(utc("2026-01-31T12:00"), utc("2026-04-01")), Granularity.MONTH)
    assert boundaries == [utc("2026-01-31T12:00"), utc("2026-02-01"), utc("2026-03-01"), utc("2026-04-01")]


def test_ten_thousand_steps_are_taken_and_one_more_is_not() -> None:
    start = utc("2025-01-01")
    assert len(steps(Period(start, start + timedelta(hours=10_000)), Granularity.HOUR)) == 10_001
    with pytest.raises(LimitExceeded):
        steps(Period(start, start + timedelta(hours=10_000, microseconds=1)), Granularity.HOUR)
    with pytest.raises(LimitExceeded):
        steps(between(utc("0001-01-01"), utc("9999-12-31")), Granularity.HOUR)


@pytest.mark.parametrize(("start", "end"), [("0001-01-01", "0001-02-01"), ("9999-12-01", "9999-12-31")])
def test_steps_at_the_end_of_the_calendar_are_bad_input_or_tile(start: str, end: str) -> None:
    for name in ("America/New_York", "Asia/Kolkata"):
        for granularity in Granularity:
            try:
                boundaries = steps(between(utc(start), utc(end)), granularity, name)
            except BadInput:
                continue
            assert boundaries == sorted(set(boundaries))


@given(periods(), zones, st.sampled_from(Granularity))
def test_steps_tile_the_period(period: Period, name: str, granularity: Granularity) -> None:
    boundaries = steps(period, granularity, name)
    assert boundaries[0] == period.start
    assert boundaries[-1] == period.end
    assert all(start < end for start, end in pairwise(boundaries))
    assert all(boundary.tzinfo is UTC for boundary in boundaries)


@given(periods(timedelta(days=20)), zones)
def test_no_step_of_an_hour_holds_two_readings_of_an_hour(period: Period, name: str) -> None:
    tz = zone(name)
    for start, end in pairwise(steps(period, Granularity.HOUR, name)):
        first, last = start.astimezone(tz), (end - timedelta(microseconds=1)).astimezone(tz)
        assert first.strftime("%F %H") == last.strftime("%F %H")
        assert end - start <= timedelta(hours=1)


@given(periods(), zones, st.sampled_from([Granularity.DAY, Granularity.WEEK, Granularity.MONTH]))
def test_every_step_begins_at_a_local_midnight_or_where_the_clocks_skip_it(
    period: Period, name: str, granularity: Granularity
) -> None:
    tz = zone(name)
    for boundary in steps(period, granularity, name)[1:-1]:
        before, after = (boundary - timedelta(microseconds=1)).astimezone(tz), boundary.astimezone(tz)
        assert before.date() < after.date()
        assert granularity is not Granularity.WEEK or after.weekday() == 0
        assert granularity is not Granularity.MONTH or after.day == 1


# Parts


WIDTHS = [(DAY_US, HOUR_US), (DAY_US, HOUR_US, QUARTER_US), (MONTH_US, DAY_US, HOUR_US)]


@pytest.mark.parametrize("widths", WIDTHS)
@given(data=st.data())
def test_parts_of_any_split_of_a_period_cover_it_once(widths: tuple[int, ...], data: st.DataObject) -> None:
    period = data.draw(periods())
    middle = data.draw(st.integers(micros(period.start), micros(period.end)))
    whole = micros(period.start), middle, micros(period.end)
    cut = [part for start, end in pairwise(whole) for part in parts(start, end, widths)]
    assert [part.start for part in cut] == [whole[0], *(part.end for part in cut[:-1])]
    assert cut[-1].end == whole[2]
    assert all(is_bounded(part.start, part.width) and is_bounded(part.end, part.width) for part in cut if part.width)


def is_bounded(at: int, width: int) -> bool:
    return first_of_month(at) == at if width == MONTH_US else at % width == 0


@given(periods())
def test_days_and_hours_that_fit_no_wider_bucket_are_fewer_than_two_of_those_hold(period: Period) -> None:
    cut = list(parts(micros(period.start), micros(period.end), WIDTHS[-1]))
    assert len(cut) <= 7
    for width, most in ((DAY_US, 31 * DAY_US), (HOUR_US, DAY_US), (0, HOUR_US)):
        assert sum(part.end - part.start for part in cut if part.width == width) < 2 * most


@pytest.mark.parametrize("end", ["0001-03-01T00:00", "9999-12-31T23:59"])
def test_months_are_cut_as_far_as_the_calendar_goes(end: str) -> None:
    for start in ("0001-01-01T00:00", "0001-01-31T12:00", "9999-12-01T00:00", "9999-11-30T00:01"):
        span = micros(utc(start)), micros(utc(end))
        cut = list(parts(*span, WIDTHS[-1]))
        assert sum(part.end - part.start for part in cut) == max(span[1] - span[0], 0)


@given(periods())
def test_edges_that_fit_no_hour_are_two_at_most_and_shorter_than_two_hours(period: Period) -> None:
    edges = [part for part in parts(micros(period.start), micros(period.end)) if part.width == 0]
    assert len(edges) <= 2
    assert all(part.end - part.start < 2 * HOUR_US for part in edges)


def test_whole_hours_and_days_need_no_edge() -> None:
    cut = list(parts(micros(utc("2026-11-01T22:00")), micros(utc("2026-11-05T03:00"))))
    assert [(part.width, (part.end - part.start) // part.width) for part in cut] == [
        (HOUR_US, 2),
        (DAY_US, 3),
        (HOUR_US, 3),
    ]
