"""Variables, arguments and conditions that are valid at a glance, for documents that are."""

from collections.abc import Mapping, Sequence

from graphql import (
    ArgumentNode,
    DirectiveNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLIncludeDirective,
    GraphQLSchema,
    GraphQLSkipDirective,
    GraphQLType,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    is_input_type,
    is_required_argument,
    type_from_ast,
)
from graphql.utilities import validate_input_literal
from graphql.validation.rules.variables_in_allowed_position import allowed_variable_usage

CONDITIONS = {each.name: each for each in (GraphQLSkipDirective, GraphQLIncludeDirective)}


class NotPlain(Exception):
    """More would have to be looked at, or something is wrong."""


class Values:
    """Of one operation. Its methods return where they found nothing that isn't plain and valid, else raise NotPlain."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._variables: dict[str, tuple[GraphQLType, ValueNode | None]] = {}
        self._used: set[str] = set()

    def define(self, definition: VariableDefinitionNode) -> None:
        name, type_ = definition.variable.name.value, type_from_ast(self._schema, definition.type)
        if definition.directives or name in self._variables or type_ is None or not is_input_type(type_):
            raise NotPlain
        if definition.default_value is not None:
            _check_scalar(definition.default_value, type_)
        self._variables[name] = type_, definition.default_value

    def check_arguments(self, nodes: Sequence[ArgumentNode] | None, arguments: Mapping[str, GraphQLArgument]) -> None:
        if not (nodes or arguments):
            return
        nodes = nodes or ()
        given = {node.name.value: node.value for node in nodes}
        require(len(given) == len(nodes) and given.keys() <= arguments.keys())
        for name, argument in arguments.items():
            value = given.get(name)
            if value is None:
                require(not is_required_argument(argument))
            elif isinstance(value, VariableNode):
                self._use(value.name.value, argument.type)
            else:
                _check_scalar(value, argument.type)

    def check_conditions(self, directives: Sequence[DirectiveNode]) -> None:
        """@skip and @include, each once at most."""
        names = {directive.name.value for directive in directives}
        require(len(names) == len(directives) and names <= CONDITIONS.keys())
        for directive in directives:
            self.check_arguments(directive.arguments, CONDITIONS[directive.name.value].args)

    def require_all_used(self) -> None:
        require(self._used == self._variables.keys())

    def _use(self, name: str, wanted: GraphQLType) -> None:
        require(name in self._variables)
        self._used.add(name)
        type_, default = self._variables[name]
        require(allowed_variable_usage(self._schema, type_, default, wanted, Undefined))


def require(is_so: bool) -> None:
    if not is_so:
        raise NotPlain


def _check_scalar(value: ValueNode, type_: GraphQLType) -> None:
    def fail(_: GraphQLError, __: list[str | int]) -> None:
        raise NotPlain

    require(not isinstance(value, (ListValueNode, ObjectValueNode, NullValueNode)))
    validate_input_literal(value, type_, fail)  # type: ignore[arg-type]  # known to be an input type
