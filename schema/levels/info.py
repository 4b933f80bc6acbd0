"""What resolvers are told of the field that they resolve: the same for all the objects of a level."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from graphql import FieldNode, FragmentDefinitionNode, GraphQLField, GraphQLObjectType, GraphQLOutputType
from graphql import OperationDefinitionNode as Operation
from graphql.pyutils import is_awaitable


class Asked(Protocol):
    """A field of a selection."""

    parent_type: GraphQLObjectType
    name: str
    definition: GraphQLField
    nodes: list[FieldNode]


@dataclass(slots=True)
class RunInfo:
    """What is the same for all fields of an operation on its way."""

    schema: Any
    fragments: dict[str, FragmentDefinitionNode]
    operation: Operation
    root_value: Any
    variable_values: Mapping[str, Any]
    context: Any
    operation_extensions: dict[str, Any] | None


class LevelInfo:
    """Stands for graphql-core's GraphQLResolveInfo. It has no path, since a level's objects have one each."""

    __slots__ = ("_field", "_run")

    is_awaitable = staticmethod(is_awaitable)
    abort_signal = None
    async_helpers = None

    def __init__(self, run: RunInfo, field: Asked) -> None:
        self._run = run
        self._field = field

    @property
    def field_name(self) -> str:
        return self._field.name

    @property
    def field_nodes(self) -> list[FieldNode]:
        return self._field.nodes

    @property
    def parent_type(self) -> GraphQLObjectType:
        return self._field.parent_type

    @property
    def return_type(self) -> GraphQLOutputType:
        return self._field.definition.type

    @property
    def schema(self) -> Any:
        return self._run.schema

    @property
    def fragments(self) -> dict[str, FragmentDefinitionNode]:
        return self._run.fragments

    @property
    def operation(self) -> Operation:
        return self._run.operation

    @property
    def root_value(self) -> Any:
        return self._run.root_value

    @property
    def variable_values(self) -> Mapping[str, Any]:
        return self._run.variable_values

    @property
    def context(self) -> Any:
        return self._run.context

    @property
    def operation_extensions(self) -> dict[str, Any] | None:
        return self._run.operation_extensions

    @property
    def path(self) -> Any:
        """Raises RuntimeError."""
        raise RuntimeError("Level by level a resolver has no path of its own.")
