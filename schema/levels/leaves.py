"""Values of scalars and enums as JSON has them, and generated code that makes objects of nothing but attributes."""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from graphql import (
    GraphQLBoolean,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    Undefined,
    is_enum_type,
    is_non_null_type,
)

Leaf = Callable[[Any], Any]
Leaves = Callable[[Iterable[Any]], list[Any]]
Build = Callable[[list[Any]], list[dict[str, Any]]]

PLAIN = frozenset({str, int, float, bool, datetime, date, Decimal, UUID})
"""Classes whose values are neither errors nor to be awaited, and so may go straight to a scalar."""
AS_THEY_ARE = {
    GraphQLString: "{0}.__class__ is str",
    GraphQLID: "{0}.__class__ is str",
    GraphQLBoolean: "{0}.__class__ is bool",
    GraphQLInt: f"{{0}}.__class__ is int and {-(2**31)} <= {{0}} < {2**31}",
    GraphQLFloat: "{0}.__class__ is float and {0} - {0} == 0",
}
"""When a value of a scalar of GraphQL's own is in JSON what it is in Python."""


class Irregular(Exception):
    """A value that takes a closer look: null where none may be, an error, one to be awaited, or a wrong one."""


def leaf(type_: Any) -> Leaf:
    """What makes JSON of values of the type, which may be non-null. It raises Irregular."""
    is_required = is_non_null_type(type_)
    named: GraphQLLeafType = type_.of_type if is_required else type_
    coerce = named.coerce_output_value
    names = _names(named) if is_enum_type(named) else {}

    def made(value: Any) -> Any:
        if value is None and not is_required:
            return None
        if names and (name := names.get(id(value))):
            return name
        if value.__class__ not in PLAIN and not isinstance(value, Enum):
            raise Irregular
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise Irregular
        return coerced

    return made


def _names(type_: Any) -> dict[int, str]:
    """The names of an enum's members, by identity: a member is one object for good."""
    members: Iterable[Any] = getattr(type_, "wrapped_cls", ())
    return {id(member): type_.coerce_output_value(member) for member in members}


def _expression(type_: Any, variable: str, number: int, scope: dict[str, Any]) -> str:
    """The value in JSON: at once where it is plain to see, else as `leaf` has it."""
    closely = f"leaf_{number}({variable})"
    if type_ in AS_THEY_ARE:
        return f"{variable} if {AS_THEY_ARE[type_].format(variable)} else {closely}"
    if is_enum_type(type_):
        scope[f"names_{number}"] = _names(type_)
        return f"names_{number}.get(id({variable})) or {closely}"
    scope[f"coerce_{number}"] = type_.coerce_output_value
    coerced = f"(coerced := coerce_{number}({variable}))"
    return f"{closely} if {variable}.__class__ not in PLAIN or {coerced} is None else coerced"


def _of_many(type_: Any) -> Leaves | None:
    """What makes JSON of a list of values, where the scalar has a function for that. It raises where one is odd."""
    named = type_.of_type if is_non_null_type(type_) else type_
    of_many: Leaves | None = getattr(named.coerce_output_value, "of_many", None)
    if of_many is None or named is type_:
        return of_many

    def all_present(values: Iterable[Any]) -> list[Any]:
        made = of_many(values)
        if None in made:
            raise Irregular
        return made

    return all_present


@cache
def leaves(type_: Any) -> Leaves:
    """A function that makes JSON of many values of the type. It raises Irregular."""
    named = type_.of_type if is_non_null_type(type_) else type_
    scope: dict[str, Any] = {"PLAIN": PLAIN, "Irregular": Irregular, "leaf_0": leaf(type_)}
    lines = [
        "def leaves(values):",
        "    try:",
        f"        return [{_expression(named, 'value', 0, scope)} for value in values]",
        "    except Exception as error:",
        "        raise Irregular from error",
    ]
    exec("\n".join(lines), scope)  # noqa: S102  of nothing that anybody gives
    made: Leaves = scope["leaves"]
    return made


class Member(NamedTuple):
    """Of an object that is made: a constant, or a row's attribute as a leaf type has it."""

    key: str
    constant: str | None
    attribute: str | None = None
    type: Any = None


def blank(constants: dict[str, Any], rows: list[Any]) -> list[dict[str, Any]]:
    return [constants.copy() for _ in rows]


@lru_cache(4096)
def builder(members: tuple[Member, ...]) -> Build:
    """A function that makes objects of rows, one for all selections alike. It raises where a value is not regular."""
    scope: dict[str, Any] = {"PLAIN": PLAIN, "attrgetter": attrgetter}
    columns: dict[str, str] = {}
    reads: list[str] = []
    written: list[str] = []
    for number, member in enumerate(members):
        if member.attribute is None:
            written.append(f"{member.key!r}: {member.constant!r}")
            continue
        variable = f"value_{number}"
        if of_many := _of_many(member.type):
            scope[f"of_many_{number}"] = of_many
            columns[variable] = f"of_many_{number}([*map(attrgetter({member.attribute!r}), rows)])"
            written.append(f"{member.key!r}: {variable}")
            continue
        named = member.type.of_type if is_non_null_type(member.type) else member.type
        scope[f"leaf_{number}"] = leaf(member.type)
        reads.append(f"{variable} = row.{member.attribute}")
        written.append(f"{member.key!r}: {_expression(named, variable, number, scope)}")
    source = f"zip(rows, {', '.join(columns.values())})" if columns else "rows"
    lines = [
        "def build(rows):",
        "    made = []",
        f"    for {', '.join(['row', *columns])} in {source}:",
        *(f"        {read}" for read in reads),
        f"        made.append({{{', '.join(written)}}})",
        "    return made",
    ]
    exec("\n".join(lines), scope)  # noqa: S102  of names of the schema and the keys of a valid document, which are words
    build: Build = scope["build"]
    return build
