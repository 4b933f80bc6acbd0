"""Documents that are valid at a glance, which graphql-core's rules take fifty times as long to see.

Most documents are plain: one operation of fields, each asked for once under its name, with variables and scalars for
arguments. Whether such a one is valid one walk tells. Of any other nothing is said here: the rules say it.
"""

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    GraphQLType,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_input_type,
    is_leaf_type,
    is_required_argument,
    type_from_ast,
)
from graphql.utilities import validate_input_literal
from graphql.validation.rules.variables_in_allowed_position import allowed_variable_usage

from schema.transport.limits import INTROSPECTION, Limits

TYPENAME = "__typename"


class NotPlain(Exception):
    """More would have to be looked at, or something is wrong."""


def is_plainly_valid(schema: GraphQLSchema, document: DocumentNode, limits: Limits) -> bool:
    """Whether all of the rules surely pass, and the operation keeps within the limits; no says nothing."""
    try:
        _Walk(schema, limits).through(document)
    except NotPlain:
        return False
    return True


class _Walk:
    """Each method returns where it found nothing that isn't plain and valid, and raises NotPlain elsewhere."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._variables: dict[str, tuple[GraphQLType, ValueNode | None]] = {}
        self._used: set[str] = set()
        self._fields = self._aliases = 0

    def through(self, document: DocumentNode) -> None:
        operation, *others = document.definitions
        if others or not isinstance(operation, OperationDefinitionNode) or operation.directives:
            raise NotPlain
        root = self._schema.get_root_type(operation.operation)
        if root is None or operation.operation is OperationType.SUBSCRIPTION:
            raise NotPlain
        for definition in operation.variable_definitions or ():
            self._define(definition)
        self._select(operation.selection_set, root, self._limits.depth)
        _require(self._used == self._variables.keys())
        _require(self._fields <= self._limits.fields and self._aliases <= self._limits.aliases)
        of_root = [each for each in operation.selection_set.selections if _name(each) != TYPENAME]
        _require(len(of_root) <= (1 if operation.operation is OperationType.MUTATION else self._limits.root_fields))

    def _define(self, definition: VariableDefinitionNode) -> None:
        name, type_ = definition.variable.name.value, type_from_ast(self._schema, definition.type)
        if definition.directives or name in self._variables or type_ is None or not is_input_type(type_):
            raise NotPlain
        if definition.default_value is not None:
            _check_scalar(definition.default_value, type_)
        self._variables[name] = type_, definition.default_value

    def _select(self, selected: SelectionSetNode, parent: GraphQLNamedType, levels_left: int) -> None:
        _require(levels_left > 0 and len(selected.selections) > 0)
        keys = set()
        for selection in selected.selections:
            if not isinstance(selection, FieldNode) or selection.directives:
                raise NotPlain
            keys.add((selection.alias or selection.name).value)
            self._fields += 1
            self._aliases += selection.alias is not None
            self._look_at(selection, parent, levels_left)
        _require(len(keys) == len(selected.selections))  # so that no two of them have to be alike

    def _look_at(self, node: FieldNode, parent: GraphQLNamedType, levels_left: int) -> None:
        name = node.name.value
        if name in INTROSPECTION or not is_composite_type(parent):
            raise NotPlain
        definition: GraphQLField | None = self._schema.get_field(parent, name)
        if definition is None:
            raise NotPlain
        self._pass(node.arguments or (), definition.args)
        named = get_named_type(definition.type)
        if node.selection_set is None:
            _require(is_leaf_type(named))
        else:
            self._select(node.selection_set, named, levels_left - 1)

    def _pass(self, nodes: tuple[ArgumentNode, ...], arguments: dict[str, GraphQLArgument]) -> None:
        given = {node.name.value: node.value for node in nodes}
        _require(len(given) == len(nodes) and given.keys() <= arguments.keys())
        for name, argument in arguments.items():
            value = given.get(name)
            if value is None:
                _require(not is_required_argument(argument))
            elif isinstance(value, VariableNode):
                self._use(value.name.value, argument.type)
            else:
                _check_scalar(value, argument.type)

    def _use(self, name: str, wanted: GraphQLType) -> None:
        _require(name in self._variables)
        self._used.add(name)
        type_, default = self._variables[name]
        _require(allowed_variable_usage(self._schema, type_, default, wanted, Undefined))


def _check_scalar(value: ValueNode, type_: GraphQLType) -> None:
    def fail(_: GraphQLError, __: list[str | int]) -> None:
        raise NotPlain

    _require(not isinstance(value, (ListValueNode, ObjectValueNode, NullValueNode)))
    validate_input_literal(value, type_, fail)  # type: ignore[arg-type]  # known to be an input type


def _name(selection: object) -> str:
    return selection.name.value if isinstance(selection, FieldNode) else ""


def _require(is_so: bool) -> None:
    if not is_so:
        raise NotPlain
