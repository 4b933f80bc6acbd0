"""Documents that are valid at a glance, which graphql-core's rules take fifty times and more as long to see.

Most documents are plain: one operation and its fragments, with variables and scalars for arguments, @skip and @include
for directives, and what is asked for again under a name asked for in the same way. Whether such a one is valid one walk
tells, which spreads the fragments out. Of any other nothing is said here: the rules say it.
"""

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
    is_leaf_type,
    print_ast,
)
from graphql.utilities import do_types_overlap, is_equal_type

from schema.transport.limits import INTROSPECTION, Limits
from schema.transport.plain_values import NotPlain, Values, require

TYPENAME = "__typename"
MOST_FRAGMENTS = 50
"""Spread out, those without a name among them: so each walk ends, and graphql-core's wouldn't be given up for depth."""
MOST_COMPARISONS = 500
"""Of two fields under one name. graphql-core refuses documents that have it compare a thousand times as much."""

Asked = tuple[FieldNode, GraphQLField]
Found = dict[str, list[Asked]]


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
        self._values = Values(schema)
        self._fragments: dict[str, FragmentDefinitionNode] = {}
        self._spread: set[str] = set()
        self._fragments_left, self._comparisons_left = MOST_FRAGMENTS, MOST_COMPARISONS
        self._fields_left, self._aliases_left, self._directives_left = limits.fields, limits.aliases, limits.directives

    def through(self, document: DocumentNode) -> None:
        operation = self._operation(document)
        root = self._schema.get_root_type(operation.operation)
        if root is None or operation.directives or operation.operation is OperationType.SUBSCRIPTION:
            raise NotPlain
        for definition in operation.variable_definitions or ():
            self._values.define(definition)
        asked = self._select([operation.selection_set], root, self._limits.depth)
        self._values.require_all_used()
        require(self._spread == self._fragments.keys())
        of_root = sum(len(alike) for alike in asked.values() if alike[0][0].name.value != TYPENAME)
        require(of_root <= (1 if operation.operation is OperationType.MUTATION else self._limits.root_fields))

    def _operation(self, document: DocumentNode) -> OperationDefinitionNode:
        """The only one, beside fragments, which are remembered."""
        found = None
        for definition in document.definitions:
            if isinstance(definition, FragmentDefinitionNode):
                name = definition.name.value
                require(name not in self._fragments and not definition.directives)
                self._fragments[name] = definition
            elif isinstance(definition, OperationDefinitionNode) and found is None:
                found = definition
            else:
                raise NotPlain
        if found is None:
            raise NotPlain
        return found

    def _select(self, selected: list[SelectionSetNode], parent: GraphQLNamedType, levels_left: int) -> Found:
        """The fields that are selected, those under one name together."""
        if levels_left == 0 or not is_composite_type(parent):
            raise NotPlain
        found: Found = {}
        for each in selected:
            self._collect(each, parent, found)
        for alike in found.values():
            self._look_below(alike, levels_left)
        return found

    def _collect(self, selected: SelectionSetNode, parent: GraphQLCompositeType, found: Found) -> None:
        require(len(selected.selections) > 0)
        for selection in selected.selections:
            if selection.directives:
                self._directives_left -= len(selection.directives)
                self._values.check_conditions(selection.directives)
            if isinstance(selection, FieldNode):
                key = (selection.alias or selection.name).value
                found.setdefault(key, []).append((selection, self._definition(selection, parent)))
            elif isinstance(selection, FragmentSpreadNode):
                self._spread_out(selection.name.value, parent, found)
            elif isinstance(selection, InlineFragmentNode):
                self._narrow(selection.type_condition, selection.selection_set, parent, found)

    def _definition(self, node: FieldNode, parent: GraphQLCompositeType) -> GraphQLField:
        self._fields_left -= 1
        self._aliases_left -= node.alias is not None
        require(self._fields_left >= 0 and self._aliases_left >= 0 and self._directives_left >= 0)
        definition: GraphQLField | None = self._schema.get_field(parent, node.name.value)
        if definition is None or node.name.value in INTROSPECTION:
            raise NotPlain
        self._values.check_arguments(node.arguments, definition.args)
        return definition

    def _spread_out(self, name: str, parent: GraphQLCompositeType, found: Found) -> None:
        fragment = self._fragments.get(name)
        if fragment is None:
            raise NotPlain
        self._spread.add(name)
        self._narrow(fragment.type_condition, fragment.selection_set, parent, found)

    def _narrow(
        self, condition: NamedTypeNode | None, selected: SelectionSetNode, parent: GraphQLCompositeType, found: Found
    ) -> None:
        """Within a fragment. One that is spread within itself comes to an end too."""
        self._fragments_left -= 1
        require(self._fragments_left >= 0)
        type_ = self._schema.get_type(condition.name.value) if condition else parent
        if not is_composite_type(type_) or not do_types_overlap(self._schema, type_, parent):
            raise NotPlain
        self._collect(selected, type_, found)

    def _look_below(self, alike: list[Asked], levels_left: int) -> None:
        """What is asked for under one name."""
        if len(alike) > 1:
            self._compare(alike)
        node, definition = alike[0]
        named = get_named_type(definition.type)
        if node.selection_set is None:
            require(is_leaf_type(named))
        else:
            below = [each.selection_set for each, _ in alike if each.selection_set is not None]
            self._select(below, named, levels_left - 1)

    def _compare(self, alike: list[Asked]) -> None:
        """That they can be merged, which is so too where they are of objects that can't be the same."""
        self._comparisons_left -= len(alike) * (len(alike) - 1) // 2
        require(self._comparisons_left >= 0)
        (node, definition), *others = alike
        for other, of_other in others:
            require(other.name.value == node.name.value and _arguments(other) == _arguments(node))
            require(is_equal_type(of_other.type, definition.type))
            require((other.selection_set is None) == (node.selection_set is None))


def _arguments(node: FieldNode) -> list[str]:
    return sorted(map(print_ast, node.arguments or ()))
