"""The rules of graphql-core's `complete_value` that take a closer look at values, with its own words for errors."""

from collections.abc import Awaitable
from typing import Any, cast

from graphql import GraphQLError, GraphQLObjectType, GraphQLSchema, is_abstract_type, is_non_null_type
from graphql.execution import Executor, default_type_resolver
from graphql.execution.executor import invalid_return_type_error
from graphql.execution.values import VariableValues
from graphql.pyutils import is_awaitable

from schema.levels.info import LevelInfo
from schema.levels.kinds import Kinds, Typed
from schema.levels.leaves import Irregular
from schema.levels.plan import Field, Selection


def check(kinds: Kinds, selection: Selection, info: LevelInfo, rows: list[Any]) -> None:
    """Raises Irregular unless all rows are surely of the type that is selected from. It remembers classes that are."""
    if not kinds.are_plain(rows):
        raise Irregular
    is_type_of = selection.type.is_type_of
    row: type | None = getattr(is_type_of, "row", None)
    if is_type_of is None or row is not None:
        classes = {*map(type, rows)}
        if row and not all(issubclass(getattr(each, "model", each), row) for each in classes):
            raise Irregular
        selection.accepted |= classes
        return
    try:
        all_are = all(is_type_of(each, info) is True for each in rows)  # type: ignore[arg-type]  # stands for it
    except Exception as error:  # looked at one by one then, where an error finds its place
        raise Irregular from error
    if not all_are:
        raise Irregular


def check_null(field: Field, type_: Any) -> None:
    """Raises TypeError where null may not be."""
    if is_non_null_type(type_):
        raise TypeError(f"Cannot return null for non-nullable field {field.parent_type}.{field.name}.")


def coerced(type_: Any, value: Any) -> Any:
    return Executor.complete_leaf_value(type_, value)


def not_iterable(field: Field) -> GraphQLError:
    return GraphQLError(f"Expected Iterable, but did not find one for field '{field.parent_type}.{field.name}'.")


def type_of(schema: GraphQLSchema, field: Field, info: LevelInfo, type_: Any, row: Any) -> Any:
    """The type of the row, or an awaitable of it as `Typed`. Raises as graphql-core does for none or a wrong one."""
    named = type_.of_type if is_non_null_type(type_) else type_
    if not is_abstract_type(named):
        return _checked(field, info, named, row)
    name = (named.resolve_type or default_type_resolver)(row, cast("Any", info), named)
    if is_awaitable(name):
        return _typed_by_name(schema, field, info, named, row, name)
    return _checked(field, info, _valid(schema, field, info, named, row, name), row)


def _checked(field: Field, info: LevelInfo, type_: GraphQLObjectType, row: Any) -> Any:
    answer = type_.is_type_of(row, info) if type_.is_type_of else True  # type: ignore[arg-type]  # stands for it
    if is_awaitable(answer):
        return _typed(field, type_, row, answer)
    if not answer:
        raise invalid_return_type_error(type_, row, field.details)
    return type_


async def _typed(field: Field, type_: GraphQLObjectType, row: Any, answer: Awaitable[bool]) -> Typed:
    if not await answer:
        raise invalid_return_type_error(type_, row, field.details)
    return Typed(row, type_)


async def _typed_by_name(
    schema: GraphQLSchema, field: Field, info: LevelInfo, named: Any, row: Any, name: Awaitable[Any]
) -> Typed:
    found = _checked(field, info, _valid(schema, field, info, named, row, await name), row)
    return Typed(row, found) if isinstance(found, GraphQLObjectType) else await found


def _valid(schema: GraphQLSchema, field: Field, info: LevelInfo, named: Any, row: Any, name: Any) -> GraphQLObjectType:
    type_ = schema.get_type(name) if isinstance(name, str) else None
    if isinstance(type_, GraphQLObjectType) and schema.is_sub_type(named, type_):
        return type_
    nothing: Any = None
    executor: Any = Executor(
        schema, {}, {}, None, None, info.operation, VariableValues({}, {}), nothing, nothing, nothing
    )
    valid: GraphQLObjectType = executor.ensure_valid_runtime_type(name, named, field.details, info, row)
    return valid
