"""What resolvers are told of the field that they resolve: the same for all the objects of a level."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import FieldNode, FragmentDefinitionNode, GraphQLField, GraphQLObjectType, GraphQLOutputType
from graphql import OperationDefinitionNode as Operation
from graphql.pyutils import is_awaitable


@dataclass(frozen=True, slots=True)
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

    __slots__ = ("_definition", "_run", "field_name", "field_nodes", "parent_type")

    is_awaitable = staticmethod(is_awaitable)
    abort_signal = None
    async_helpers = None

    def __init__(
        self,
        run: RunInfo,
        parent_type: GraphQLObjectType,
        field_name: str,
        definition: GraphQLField,
        field_nodes: list[FieldNode],
    ) -> None:
        self._run = run
        self._definition = definition
        self.parent_type = parent_type
        self.field_name = field_name
        self.field_nodes = field_nodes

    @property
    def return_type(self) -> GraphQLOutputType:
        return self._definition.type

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
