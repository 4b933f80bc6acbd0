"""What resolvers are told of the field that they resolve: the same for all the objects of a level."""

from typing import Any

from graphql import FieldNode, FragmentDefinitionNode, GraphQLObjectType, GraphQLOutputType, OperationDefinitionNode
from graphql.pyutils import is_awaitable


class LevelInfo:
    """Stands for graphql-core's GraphQLResolveInfo. It has no path, since a level's objects have one each."""

    __slots__ = (
        "abort_signal",
        "async_helpers",
        "context",
        "field_name",
        "field_nodes",
        "fragments",
        "operation",
        "operation_extensions",
        "parent_type",
        "return_type",
        "root_value",
        "schema",
        "variable_values",
    )

    is_awaitable = staticmethod(is_awaitable)

    def __init__(
        self,
        *,
        field_name: str,
        field_nodes: list[FieldNode],
        return_type: GraphQLOutputType,
        parent_type: GraphQLObjectType,
        schema: Any,
        fragments: dict[str, FragmentDefinitionNode],
        root_value: Any,
        operation: OperationDefinitionNode,
        variable_values: dict[str, Any],
        context: Any,
        operation_extensions: dict[str, Any] | None,
    ) -> None:
        self.field_name = field_name
        self.field_nodes = field_nodes
        self.return_type = return_type
        self.parent_type = parent_type
        self.schema = schema
        self.fragments = fragments
        self.root_value = root_value
        self.operation = operation
        self.variable_values = variable_values
        self.context = context
        self.abort_signal = None
        self.async_helpers = None
        self.operation_extensions = operation_extensions

    @property
    def path(self) -> Any:
        """Raises RuntimeError."""
        raise RuntimeError("Level by level a resolver has no path of its own.")
