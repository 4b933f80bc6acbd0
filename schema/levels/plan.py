"""A document turned into a plan: which fields each type's objects get, and how each is resolved and completed."""

from dataclasses import dataclass
from functools import cached_property, partial
from keyword import iskeyword
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import FragmentDetails, GroupedFieldSet, collect_fields, collect_subfields
from graphql.execution.values import VariableValues, get_argument_values

from schema.levels.calls import Arguments, Call, Calls
from schema.levels.kinds import Kinds
from schema.levels.leaves import Build, Leaves, Member, blank, builder, leaves

TYPENAME = "__typename"


class Plan:
    """An operation, under one set of values of the variables that decide what is skipped or included."""

    def __init__(
        self,
        schema: GraphQLSchema,
        calls: Calls,
        kinds: Kinds,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDefinitionNode],
        conditions: VariableValues,
    ) -> None:
        self.schema = schema
        self.kinds = kinds
        self.calls = calls
        self.operation = operation
        self.fragments = fragments
        self.conditions = conditions
        self._details = {name: FragmentDetails(definition) for name, definition in fragments.items()}
        root = schema.query_type
        assert root is not None  # noqa: S101  a schema has a query type
        collected = collect_fields(schema, self._details, conditions, root, operation)
        self.root = Selection(self, root, collected.grouped_field_set)

    def selection(self, type_: GraphQLObjectType, field: "Field") -> "Selection":
        """What is selected of the objects of a type that a field has led to."""
        collected = collect_subfields(self.schema, self._details, self.conditions, self.operation, type_, field.details)
        return Selection(self, type_, collected.grouped_field_set)


class Selection:
    """The fields of objects of one type, in the order of their answer."""

    def __init__(self, plan: Plan, type_: GraphQLObjectType, grouped: GroupedFieldSet) -> None:
        self.type = type_
        self.fields = [
            Field(plan, type_, key, details, definition)
            for key, details in grouped.items()
            if (definition := plan.schema.get_field(type_, details[0].node.name.value))
        ]
        members = [Member(field.key, type_.name if field.is_typename else None) for field in self.fields]
        self.blank: Build = partial(blank, {member.key: member.constant for member in members})
        self.build: Build = builder(
            tuple(
                member._replace(attribute=field.attribute, type=field.type) if field.is_leaf_attribute else member
                for member, field in zip(members, self.fields, strict=True)
            )
        )
        self.accepted: set[type] = set()
        """Classes of rows that are surely of this type."""
        self.columns = [field for field in self.fields if not (field.is_typename or field.is_leaf_attribute)]
        """What `build` leaves open."""
        self.all_columns = [field for field in self.fields if not field.is_typename]
        """What `blank` leaves open."""


@dataclass(frozen=True)
class Shape:
    """A type taken apart: whether it is a list, and what may be null."""

    is_list: bool
    is_required: bool
    item_is_required: bool
    is_simple: bool
    """At most one list deep, so that the quick ways do."""


class Field:
    """A field of a selection: all nodes of the document that ask for it under one key."""

    def __init__(
        self, plan: Plan, parent_type: GraphQLObjectType, key: str, details: list[Any], definition: GraphQLField
    ) -> None:
        self.plan = plan
        self.parent_type = parent_type
        self.key = key
        self.details = details
        self.definition = definition
        self.type = definition.type
        self.named = get_named_type(definition.type)
        self.nodes: list[FieldNode] = [each.node for each in details]
        self.name: str = self.nodes[0].name.value
        self.is_typename = self.name == TYPENAME
        self.call: Call = plan.calls.of(definition)
        self._selections: dict[GraphQLObjectType, Selection] = {}
        self._constant: Arguments | None = None
        """Where no variable is in them."""

    @property
    def attribute(self) -> str:
        return self.call.attribute

    @cached_property
    def is_leaf_attribute(self) -> bool:
        """Whether it is an attribute that generated code may read."""
        name = self.call.attribute
        is_leaf = is_leaf_type(self.type.of_type if is_non_null_type(self.type) else self.type)
        return is_leaf and name.isidentifier() and not iskeyword(name)

    @cached_property
    def shape(self) -> Shape:
        is_required, type_ = is_non_null_type(self.type), self.type
        inner = type_.of_type if is_non_null_type(type_) else type_
        if not is_list_type(inner):
            return Shape(False, is_required, False, not is_abstract_type(inner))
        item = inner.of_type
        item_is_required = is_non_null_type(item)
        innermost = item.of_type if is_non_null_type(item) else item
        is_simple = not is_list_type(innermost) and not is_abstract_type(innermost)
        return Shape(True, is_required, item_is_required, is_simple)

    @cached_property
    def leaves(self) -> Leaves | None:
        """What makes JSON of values, or of the items of a list; None where objects are selected."""
        if not is_leaf_type(self.named):
            return None
        type_: Any = self.type
        if self.shape.is_list:
            type_ = (type_.of_type if is_non_null_type(type_) else type_).of_type
        return leaves(type_) if self.shape.is_simple else None

    @cached_property
    def only_selection(self) -> "Selection":
        """The selection where the field leads to objects of one type alone."""
        assert is_object_type(self.named)  # noqa: S101  asked of such fields alone
        return self.selection(self.named)

    def selection(self, type_: GraphQLObjectType) -> "Selection":
        found = self._selections.get(type_)
        if found is None:
            found = self._selections[type_] = self.plan.selection(type_, self)
        return found

    def arguments(self, variables: VariableValues) -> Arguments:
        """Raises GraphQLError for values that the type of an argument refuses."""
        if self._constant is not None:
            return self._constant
        arguments = Arguments(get_argument_values(self.definition, self.nodes[0], variables))
        if not any(map(_has_variable, self.nodes[0].arguments or ())):
            arguments.are_constant = True
            self._constant = arguments
        return arguments


def _has_variable(node: Any) -> bool:
    """Whether a value is a variable, or has one somewhere in it."""
    return isinstance(node, VariableNode) or any(
        _has_variable(inner)
        for inner in (getattr(node, "value", None), *getattr(node, "values", ()), *getattr(node, "fields", ()))
        if isinstance(inner, Node)
    )
