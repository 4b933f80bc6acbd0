"""What the answer to an operation hangs on, read from its text: found once for a text, and then for its variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
)

from schema.kept.fields import ANYWHERE, ARGUMENTS_OF_USAGE, CLOCK, HERE, UNKEPT, Hangs, hangs_on
from schema.transport.documents import REMEMBERED_CHARACTERS, LimitedSchema
from schema.transport.operation import Operation


@dataclass(frozen=True)
class Reach:
    """Which projects an answer hangs on, None for any of them; and whether on the expiry of keys too."""

    project_ids: frozenset[str] | None
    has_clock: bool


class Reaches:
    """What operations reach, by their texts."""

    def __init__(self, schema: LimitedSchema) -> None:
        self._schema = schema
        self._remembered = lru_cache(schema.limits.documents_kept)(self._read)

    def of(self, operation: Operation) -> Reach | None:
        """Of an operation that was answered without errors, so that its text is valid; None where it is never kept."""
        read = self._remembered if len(operation.query) <= REMEMBERED_CHARACTERS else self._read
        return read(operation.query, operation.name).reach(operation.variables or {})

    def _read(self, text: str, name: str | None) -> "Reading":
        documents, schema = self._schema.documents, self._schema._schema  # noqa: SLF001  # Strawberry has no other way to it
        return Reading(schema, documents.parse(text), documents.operation(text, name))


class Reading:
    """A text, read through: the kinds of all its fields together, and by what it names projects."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._seen: set[str] = set()
        self._hangs = HERE
        self._projects: list[ValueNode] = []
        self._defaults = {
            each.variable.name.value: each.default_value
            for each in operation.variable_definitions or ()
            if each.default_value is not None
        }
        self._select(operation.selection_set, "Query")

    def reach(self, variables: Mapping[str, object]) -> Reach | None:
        if UNKEPT in self._hangs:
            return None
        ids = [self._id(node, variables) for node in self._projects]
        known = frozenset(id for id in ids if id is not None)
        is_anywhere = ANYWHERE in self._hangs or None in ids
        return Reach(None if is_anywhere else known, CLOCK in self._hangs)

    def _select(self, selections: SelectionSetNode, type_name: str) -> None:
        for node in selections.selections:
            if isinstance(node, FieldNode):
                self._field(node, type_name)
            elif isinstance(node, FragmentSpreadNode):
                self._spread(node.name.value)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                self._select(node.selection_set, condition.name.value if condition else type_name)

    def _spread(self, name: str) -> None:
        """Each fragment is read once, so that the work grows with the text and not with what it unfolds to."""
        if name not in self._seen:
            self._seen.add(name)
            fragment = self._fragments[name]
            self._select(fragment.selection_set, fragment.type_condition.name.value)

    def _field(self, node: FieldNode, type_name: str) -> None:
        name = node.name.value
        arguments = {each.name.value: each.value for each in node.arguments or ()}
        self._hangs |= self._kind(type_name, name, arguments)
        if (type_name, name) == ("Query", "project"):
            self._projects.append(arguments["id"])
        if node.selection_set and UNKEPT not in self._hangs:
            self._select(node.selection_set, self._type_of(type_name, name))

    def _type_of(self, type_name: str, field: str) -> str:
        parent = self._schema.get_type(type_name)
        assert isinstance(parent, GraphQLObjectType | GraphQLInterfaceType)  # noqa: S101  # nothing else has fields
        return str(get_named_type(parent.fields[field].type).name)

    @staticmethod
    def _kind(type_name: str, name: str, arguments: Mapping[str, ValueNode]) -> Hangs:
        return hangs_on(type_name, name) if ARGUMENTS_OF_USAGE.isdisjoint(arguments) else UNKEPT

    def _id(self, node: ValueNode, variables: Mapping[str, object]) -> str | None:
        """The id that a value says; None where that isn't plain to see."""
        if isinstance(node, VariableNode):
            name = node.name.value
            if name not in variables:
                return self._id(self._defaults[name], {}) if name in self._defaults else None
            value = variables[name]
            return value if isinstance(value, str) else None
        return node.value if isinstance(node, StringValueNode | IntValueNode) else None
