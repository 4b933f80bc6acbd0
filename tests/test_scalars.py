"""Numbers and instants as they travel: exact, in one notation, and refused where they could be misread."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.permissions import Actor
from models import Role
from schema.scalars import BigInt, parse_big_int, show_instant, show_instants
from tests.asking import answer_to, ask, codes, context_of
from tests.callers import Scene, new_scene
from tests.operations import calling, mutate, watch

PRICE = """mutation ($id: ID!, $price: Decimal) {
  templateUpdate(input: { templateId: $id, pricePerRequest: $price }) {
    template { pricePerRequest { amount } } userErrors { code }
  }
}"""
USAGE = """query ($id: ID!, $from: DateTime!, $to: DateTime!) {
  project(id: $id) { usage(period: { between: { from: $from, to: $to } }) { from to total { requests } } }
}"""
ON_ONE_DATABASE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)  # none is reached
LATER = "2026-03-02T00:00:00Z"


@pytest.fixture
async def scene(database: str) -> Scene:
    return await new_scene()


async def priced(scene: Scene, price: Any) -> str:
    data = await ask(scene.owner, PRICE, id=scene.template.id, price=price)
    amount: str = data["templateUpdate"]["template"]["pricePerRequest"]["amount"]
    return amount


def with_literal(price: str) -> str:
    return PRICE.replace("$price }", f"{price} }}").replace(", $price: Decimal", "")


async def refused(actor: Actor, query: str, **variables: Any) -> bool:
    """As the document's fault: nothing was run, and the code is BAD_INPUT."""
    body = await answer_to(context_of(actor), query, **variables)
    return "data" not in body and {each["extensions"]["code"] for each in body["errors"]} == {"BAD_INPUT"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("1.50", "1.5"),
        ("0.000001", "0.000001"),
        ("999999.999999", "999999.999999"),
        ("100", "100"),
        ("007.70", "7.7"),
        ("-0", "0"),
        ("0.000", "0"),
        (1000, "1000"),
        (0, "0"),
    ],
)
async def test_a_decimal_is_shown_in_plain_notation_without_superfluous_zeros(
    scene: Scene, given: str | int, shown: str
) -> None:
    assert await priced(scene, given) == shown


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "given",
    [1.5, 1.0, "1e3", "1E-2", "NaN", "Infinity", "-Infinity", "", " 1", "1 ", "1,5", "1_000", "\u0663", True, [], {}],
)
async def test_a_decimal_is_no_float_no_exponent_and_nothing_that_is_no_number(scene: Scene, given: Any) -> None:
    assert await refused(scene.owner, PRICE, id=scene.template.id, price=given)


@ON_ONE_DATABASE
@pytest.mark.parametrize("literal", ["1.5", "1e3", "true", "FREE", "[1]", '"1e3"', "9" * 5000])
async def test_a_decimal_in_the_document_is_read_as_strictly(scene: Scene, literal: str) -> None:
    assert await refused(scene.owner, with_literal(literal), id=scene.template.id)


async def test_a_decimal_in_the_document_is_a_string_or_an_integer(scene: Scene) -> None:
    for literal, shown in (('"2.50"', "2.5"), ("3", "3")):
        data = await ask(scene.owner, with_literal(literal), id=scene.template.id)
        assert data["templateUpdate"]["template"]["pricePerRequest"]["amount"] == shown


async def test_a_coefficient_keeps_its_four_decimals(scene: Scene) -> None:
    input = {"roleId": scene.spare.id, "costCoefficient": "9999.9999"}
    told = await mutate(calling(scene.owner), "roleUpdate", input, "role { costCoefficient } userErrors { code }")
    assert told.payload == {"role": {"costCoefficient": "9999.9999"}, "userErrors": []}
    assert (await Role.get(id=scene.spare.id)).cost_coefficient == Decimal("9999.9999")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-03-01T05:30:00+05:30", "2026-03-01T00:00:00Z"),
        ("2026-02-28T19:00:00.250-05:00", "2026-03-01T00:00:00.250000Z"),
        ("2026-03-01T00:00Z", "2026-03-01T00:00:00Z"),
    ],
)
async def test_an_instant_has_an_offset_and_is_answered_in_utc(scene: Scene, given: str, shown: str) -> None:
    data = await ask(scene.owner, USAGE, id=scene.project.id, **{"from": given}, to=LATER)
    assert data["project"]["usage"]["from"] == shown
    assert data["project"]["usage"]["total"]["requests"] == "0"


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "given",
    [
        "2026-03-01T00:00:00",
        "2026-03-01",
        "2026-02-30T00:00:00Z",
        "2026-03-01T24:00:01Z",
        "2026-03-01T00:00:00+99:00",
        "20260301T000000Z",
        "yesterday",
        "",
        "0001-01-01T00:00:00+14:00",
        1_772_323_200,
        1772323200.5,
        True,
    ],
)
async def test_an_instant_that_is_none_or_has_no_offset_is_refused(scene: Scene, given: Any) -> None:
    assert await refused(scene.owner, USAGE, id=scene.project.id, **{"from": given}, to=LATER)


@pytest.mark.parametrize("given", [2**63 - 1, -(2**63), "9223372036854775807", "-9223372036854775808", "+1", 0, "007"])
def test_a_big_int_is_an_integer_of_64_bits_or_its_digits(given: int | str) -> None:
    assert parse_big_int(given) == int(given)
    assert str(BigInt(int(given))) == f"{int(given)}"


def test_an_instant_before_the_year_1000_has_four_digits() -> None:
    assert show_instant(datetime(999, 1, 1, tzinfo=UTC)) == "0999-01-01T00:00:00Z"


@ON_ONE_DATABASE
@pytest.mark.parametrize("cursor", [1, 1.5, True, "x", ""])
async def test_an_event_cursor_is_one_that_was_given(scene: Scene, cursor: Any) -> None:
    text = "subscription ($after: EventCursor) { viewerKeyEvents(after: $after) { cursor } }"
    body = await watch(context_of(scene.owner), text, {"after": cursor})
    assert {each["extensions"]["code"] for each in body["errors"]} == {"BAD_INPUT"}


@ON_ONE_DATABASE
async def test_a_big_number_of_digits_is_no_fault_of_ours(scene: Scene) -> None:
    text = "{ projects(first: %s) { totalCount } }"
    assert await codes(context_of(scene.owner), text % ("9" * 5000)) == {"BAD_INPUT"}


DISTANCES = st.timedeltas(timedelta(days=-1998 * 365), timedelta(days=7990 * 365))
ZONES = st.sampled_from([UTC, UTC, UTC, timezone(timedelta(0)), timezone(timedelta(hours=5, minutes=30))])
INSTANTS = st.builds(
    lambda distance, zone: (datetime(2000, 1, 1, tzinfo=UTC) + distance).astimezone(zone), DISTANCES, ZONES
)


@given(st.lists(st.none() | INSTANTS))
def test_instants_are_shown_at_once_as_one_by_one(instants: list[datetime | None]) -> None:
    assert show_instants(instants) == [None if each is None else show_instant(each) for each in instants]


def test_what_is_no_instant_is_not_shown_as_one() -> None:
    odd: Any = ["2026-01-01"]
    with pytest.raises(AttributeError):
        show_instants(odd)
