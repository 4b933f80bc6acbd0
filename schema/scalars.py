"""The scalars: exact numbers as strings, instants in UTC."""

import re
from datetime import UTC, datetime
from decimal import Decimal as PythonDecimal
from decimal import InvalidOperation
from typing import Any, NewType

import orjson
import strawberry
from strawberry.types.scalar import ScalarDefinition

from gateway import pricing
from gateway.errors import BadInput
from gateway.pricing import plain

BigInt = NewType("BigInt", int)
EventCursor = NewType("EventCursor", str)

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)


def parse_instant(value: object) -> datetime:
    return pricing.parse_instant(value if isinstance(value, str) else "")


def show_instant(value: datetime) -> str:
    return (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat()[: -len("+00:00")] + "Z"


def show_instants(values: list[datetime | None]) -> list[str | None]:
    """Each as `show_instant` has it, in a quarter of the time; null stays."""
    if {value.tzinfo for value in values if value is not None} <= {UTC}:
        shown: list[str | None] = orjson.loads(orjson.dumps(values, option=orjson.OPT_UTC_Z))
        return shown
    return [None if value is None else show_instant(value) for value in values]


show_instant.of_many = show_instants  # type: ignore[attr-defined]  # told beside it, for the executor


def parse_decimal(value: object) -> PythonDecimal:
    if isinstance(value, int) and not isinstance(value, bool):
        return PythonDecimal(value)
    if not isinstance(value, str) or len(value) > 100 or not NUMBER.fullmatch(value):
        raise BadInput('A decimal is a string in plain notation, as in "0.25", or an integer; never a float.')
    try:
        return PythonDecimal(value)
    except InvalidOperation:
        raise BadInput("There is no such decimal.") from None


def parse_big_int(value: object) -> int:
    if isinstance(value, str) and WHOLE.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise BadInput("A BigInt is an integer of up to 64 bits, or one as a string of digits.")
    return value


def parse_cursor(value: object) -> str:
    if not isinstance(value, str):
        raise BadInput("An event cursor is a string.")
    return value


SCALARS: dict[Any, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="An instant, ISO 8601 with offset; one without an offset is refused; answers are in UTC.",
        serialize=show_instant,
        parse_value=parse_instant,
    ),
    PythonDecimal: strawberry.scalar(
        name="Decimal",
        description="An exact decimal number: always a JSON string in plain notation, no exponent, no superfluous "
        "zeros; a string or an integer is taken, a float, NaN or infinity refused.",
        serialize=plain,
        parse_value=parse_decimal,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A signed integer of up to 64 bits, always a JSON string of digits, since JSON numbers lose digits "
        "above 2^53; a string or an integer is taken.",
        serialize=str,
        parse_value=parse_big_int,
    ),
    EventCursor: strawberry.scalar(
        name="EventCursor",
        description="A position in the durable event log; opaque; give it back as `after` to go on where you stopped.",
        serialize=str,
        parse_value=parse_cursor,
    ),
}
