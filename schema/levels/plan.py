"""A document turned into a plan: which fields each type's objects get, and how each is resolved and completed."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import (
    FieldDetails,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues, get_argument_values

from schema.levels.calls import Arguments, Call, Calls
from schema.levels.kinds import Kinds
from schema.levels.leaves import Build, Leaves, Member, blank, builder, leaves

TYPENAME = "__typename"


class Collector:
    """Collects the fields of an operation's selections (GraphQL, 6.3.2), under what is skipped and included.

    It is what a plan's fields have in common. None of them refers to the plan: in a circle they would stay in memory
    after the plan was forgotten, until the garbage collector finds them.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        calls: Calls,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDefinitionNode],
        conditions: VariableValues,
    ) -> None:
        self.schema = schema
        self.calls = calls
        self.operation = operation
        self.fragments = fragments
        self._conditions = conditions
        self._details = {name: FragmentDetails(definition) for name, definition in fragments.items()}

    def root(self) -> "Selection":
        type_ = self.schema.query_type
        assert type_ is not None  # noqa: S101  a schema has a query type
        collected = collect_fields(self.schema, self._details, self._conditions, type_, self.operation)
        return Selection(self, type_, collected.grouped_field_set)

    def selection(self, type_: GraphQLObjectType, field: "Field") -> "Selection":
        """What is selected of the objects of a type that a field has led to."""
        return Selection(self, type_, _fields_alone(field.details) or self._collected(type_, field.details))

    def _collected(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> GroupedFieldSet:
        collected = collect_subfields(self.schema, self._details, self._conditions, self.operation, type_, details)
        return collected.grouped_field_set


class Plan:
    """An operation, under one set of values of the variables that decide what is skipped or included."""

    def __init__(self, collector: Collector, kinds: Kinds) -> None:
        self.schema = collector.schema
        self.operation = collector.operation
        self.fragments = collector.fragments
        self.kinds = kinds
        self.root = collector.root()


def _fields_alone(details: list[FieldDetails]) -> GroupedFieldSet | None:
    """What graphql-core collects in three times as long, where there are but fields that are there in any case."""
    collected: GroupedFieldSet = {}
    for each in details:
        for node in each.node.selection_set.selections if each.node.selection_set else ():
            if not isinstance(node, FieldNode) or node.directives:
                return None
            key = (node.alias or node.name).value
            collected.setdefault(key, []).append(each._replace(node=node))
    return collected


class Selection:
    """The fields of objects of one type, in the order of their answer."""

    def __init__(self, collector: Collector, type_: GraphQLObjectType, grouped: GroupedFieldSet) -> None:
        self.type = type_
        self.fields = [
            Field(collector, type_, key, details, definition)
            for key, details in grouped.items()
            if (definition := collector.schema.get_field(type_, details[0].node.name.value))
        ]
        self.build: Build = builder(tuple([field.member for field in self.fields]))
        self.accepted: set[type] = set()
        """Classes of rows that are surely of this type."""
        self.columns = [field for field in self.fields if not (field.is_typename or field.is_leaf_attribute)]
        """What `build` leaves open."""

    @property
    def all_columns(self) -> list["Field"]:
        """What `blank` leaves open."""
        return [field for field in self.fields if not field.is_typename]

    def blank(self, rows: list[Any]) -> list[dict[str, Any]]:
        """The objects with nothing in them but names of types."""
        return blank({field.key: field.member.constant for field in self.fields}, rows)


@dataclass(frozen=True)
class Shape:
    """A type taken apart: whether it is a list, and what may be null."""

    named: GraphQLNamedType
    is_leaf: bool
    """Whether the named one is."""
    is_list: bool
    is_required: bool
    is_simple: bool
    """At most one list deep, so that the quick ways do."""
    leaves: Leaves | None
    """What makes JSON of values, or of the items of a list; None where objects are selected."""


@lru_cache(4096)
def shape(type_: GraphQLOutputType) -> Shape:
    """Found out once for a field of the schema, whatever asks for it."""
    is_required, named = is_non_null_type(type_), get_named_type(type_)
    inner: Any = type_.of_type if is_non_null_type(type_) else type_
    is_list = is_list_type(inner)
    item: Any = inner.of_type if is_list else type_
    innermost = item.of_type if is_non_null_type(item) else item
    is_simple = not is_list_type(innermost) and not is_abstract_type(innermost)
    is_leaf = is_leaf_type(named)
    return Shape(named, is_leaf, is_list, is_required, is_simple, leaves(item) if is_leaf and is_simple else None)


class Field:
    """A field of a selection: all nodes of the document that ask for it under one key."""

    def __init__(
        self,
        collector: Collector,
        parent_type: GraphQLObjectType,
        key: str,
        details: list[Any],
        definition: GraphQLField,
    ) -> None:
        self._collector = collector
        self.parent_type = parent_type
        self.key = key
        self.details = details
        self.definition = definition
        self.type = definition.type
        self.shape = shape(definition.type)
        self.nodes: list[FieldNode] = [each.node for each in details]
        self.name: str = self.nodes[0].name.value
        self.is_typename = self.name == TYPENAME
        self.call: Call = collector.calls.of(definition)
        self.is_leaf_attribute = self.call.is_readable and self.shape.is_leaf and not self.shape.is_list
        """Whether it is an attribute that generated code may read."""
        self._selections: dict[GraphQLObjectType, Selection] = {}
        self._constant: Arguments | None = None
        """Where no variable is in them."""

    @property
    def member(self) -> Member:
        if self.is_leaf_attribute:
            return Member(self.key, None, self.call.attribute, self.type)
        return Member(self.key, self.parent_type.name if self.is_typename else None)

    @property
    def only_selection(self) -> "Selection":
        """The selection where the field leads to objects of one type alone."""
        named: Any = self.shape.named
        return self.selection(named)

    def selection(self, type_: GraphQLObjectType) -> "Selection":
        found = self._selections.get(type_)
        if found is None:
            found = self._selections[type_] = self._collector.selection(type_, self)
        return found

    def arguments(self, variables: VariableValues) -> Arguments:
        """Raises GraphQLError for values that the type of an argument refuses."""
        if self._constant is not None:
            return self._constant
        given = self.nodes[0].arguments
        if not given and self.call.unasked is not None:
            self._constant = self.call.unasked
            return self._constant
        arguments = Arguments(get_argument_values(self.definition, self.nodes[0], variables))
        if not any(map(_has_variable, given or ())):
            arguments.are_constant = True
            self._constant = arguments
        if not given:
            self.call.unasked = arguments
        return arguments


def _has_variable(node: Any) -> bool:
    """Whether a value is a variable, or has one somewhere in it."""
    return isinstance(node, VariableNode) or any(
        _has_variable(inner)
        for inner in (getattr(node, "value", None), *getattr(node, "values", ()), *getattr(node, "fields", ()))
        if isinstance(inner, Node)
    )
