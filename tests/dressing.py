"""Random operations over the whole schema.

What is selected is hypothesis-graphql's, which knows neither variables nor fragments nor aliases nor directives, and
asks for objects that nobody has. Each of its documents is dressed with these, several times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from graphql import (
    ArgumentNode,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_named_type,
    is_required_input_field,
    parse_type,
    parse_value,
    print_ast,
)
from hypothesis import strategies as st
from hypothesis_graphql import nodes, queries

ABSENT = object()
SCALARS = ("BigInt", "DateTime", "Decimal", "EventCursor")
NUMBERS = (1, 2, 3, 3, 5, 20, 100, 100, 0, 101, -1, 2**40, None)
ZONES = ("UTC", "Europe/Berlin", "Nowhere")
NO_INSTANTS = ("", "yesterday", "2026-02-30T00:00:00Z", "2026-05-05T12:00:00")
NO_IDS = ("", "prj_", "usr_0", "x" * 400, "\0", 7, "prj_é")
TEXTS = ("", "a", "Basic", "MAPS", "role 1", "ß\N{SNOWMAN}", "x" * 300, "\0", None)


def documents(schema: GraphQLSchema) -> st.SearchStrategy[DocumentNode]:
    """Of one query each, whose arguments mean nothing yet."""
    scalars = {name: st.just(nodes.String("")) for name in SCALARS}
    assert schema.query_type
    of_one = [
        queries(schema, fields=(name,), custom_scalars=scalars, print_ast=whole) for name in schema.query_type.fields
    ]
    return st.one_of(queries(schema, custom_scalars=scalars, print_ast=whole), *of_one)


def whole(document: DocumentNode) -> DocumentNode:
    return document


@dataclass(frozen=True)
class Known:
    """What arguments may say: the ids of the world by their types, instants in it, and cursors that it gave."""

    ids: Mapping[str, Sequence[str]]
    instants: Sequence[str]
    cursors: dict[str, list[str]] = field(default_factory=dict)
    """The last few of each field."""


@dataclass(frozen=True)
class Asked:
    text: str
    variables: dict[str, Any]


def dressed(schema: GraphQLSchema, document: DocumentNode, known: Known, seed: int) -> Asked:
    """The operation that this number makes of the document."""
    dice = Random(f"{seed} {print_ast(document)}")  # noqa: S311  # nothing to be kept secret
    return _Dressing(schema, known, dice).asked(document)


class _Dressing:
    def __init__(self, schema: GraphQLSchema, known: Known, dice: Random) -> None:
        self._schema = schema
        self._known = known
        self._dice = dice
        self._wanted: list[str] = []
        self._variables: dict[str, Any] = {}
        self._defined: list[VariableDefinitionNode] = []
        self._fragments: list[FragmentDefinitionNode] = []

    def asked(self, document: DocumentNode) -> Asked:
        [operation] = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        assert self._schema.query_type
        selected = self._selected(operation.selection_set, self._schema.query_type)
        made = OperationDefinitionNode(
            operation=OperationType.QUERY,
            name=NameNode(value="Random"),
            variable_definitions=tuple(self._defined),
            directives=(),
            selection_set=selected,
        )
        whole = DocumentNode(definitions=(made, *self._fragments))
        return Asked(print_ast(whole), self._variables)

    def _is(self, share: float) -> bool:
        return self._dice.random() < share

    # What is selected

    def _selected(self, selected: SelectionSetNode, parent: Any) -> SelectionSetNode:
        made: list[SelectionNode] = []
        for selection in selected.selections:
            made += self._selections(selection, parent)
        if self._is(0.1):
            made.append(self._field(FieldNode(name=NameNode(value="__typename")), parent))
        return SelectionSetNode(selections=tuple(made))

    def _selections(self, selection: SelectionNode, parent: Any) -> list[SelectionNode]:
        if isinstance(selection, InlineFragmentNode):
            assert selection.type_condition
            condition: Any = self._schema.type_map[selection.type_condition.name.value]
            return [self._wrapped(self._selected(selection.selection_set, condition), condition)]
        assert isinstance(selection, FieldNode)
        made = self._field(selection, parent)
        again = [self._again(made)] if self._is(0.08) else []
        if self._is(0.1):
            return [self._wrapped(SelectionSetNode(selections=(made,)), parent, may_lack=True), *again]
        return [made, *again]

    def _again(self, selected: FieldNode) -> SelectionNode:
        """The same field once more, to be merged with the first; or under another name."""
        if self._is(0.3):
            return FieldNode(
                name=selected.name,
                alias=NameNode(value=f"again_{selected.name.value.strip('_')}"),
                arguments=selected.arguments,
                directives=(),
                selection_set=selected.selection_set,
            )
        if selected.selection_set and self._is(0.5):
            part = selected.selection_set.selections[: self._dice.randint(1, 3)]
            return FieldNode(
                name=selected.name,
                alias=selected.alias,
                arguments=selected.arguments,
                directives=(),
                selection_set=SelectionSetNode(selections=part),
            )
        return selected

    def _wrapped(self, selected: SelectionSetNode, type_: Any, *, may_lack: bool = False) -> SelectionNode:
        """The selections in a fragment, of a name or without one."""
        condition = NamedTypeNode(name=NameNode(value=type_.name))
        if self._is(0.3):
            name = NameNode(value=f"F{len(self._fragments)}")
            self._fragments.append(
                FragmentDefinitionNode(
                    name=name, type_condition=condition, directives=(), selection_set=selected, variable_definitions=()
                )
            )
            return FragmentSpreadNode(name=name, directives=self._directives(), arguments=())
        given = None if may_lack and self._is(0.3) else condition
        return InlineFragmentNode(type_condition=given, directives=self._directives(), selection_set=selected)

    def _field(self, selected: FieldNode, parent: Any) -> FieldNode:
        name = selected.name.value
        definition: GraphQLField | None = None if name == "__typename" else parent.fields[name]
        inner = None
        self._wanted = wanted_types(selected.selection_set) or self._wanted
        arguments = tuple(self._arguments(name, definition)) if definition else ()
        if definition and selected.selection_set:
            inner = self._selected(selected.selection_set, get_named_type(definition.type))
        is_renamed = self._is(0.1)
        return FieldNode(
            name=selected.name,
            alias=NameNode(value=self._dice.choice(("a", "b", f"my_{name}"))) if is_renamed else None,
            arguments=arguments,
            directives=self._directives(),
            selection_set=inner,
        )

    def _directives(self) -> tuple[DirectiveNode, ...]:
        if not self._is(0.08):
            return ()
        name, condition = self._dice.choice(("skip", "include")), self._is(0.5)
        value: ValueNode = BooleanValueNode(value=condition)
        if self._is(0.6):
            value = self._variable("Boolean!", None, condition)
        made = DirectiveNode(
            name=NameNode(value=name), arguments=(ArgumentNode(name=NameNode(value="if"), value=value),)
        )
        return (made,)

    # What it is asked with

    def _arguments(self, field_name: str, definition: GraphQLField) -> list[ArgumentNode]:
        made = []
        for name, argument in definition.args.items():
            is_required = isinstance(argument.type, GraphQLNonNull)
            if not is_required and self._is(0.8 if name in {"after", "before", "last", "search"} else 0.5):
                continue
            given = self._given(f"{field_name}.{name}", argument)
            made.append(ArgumentNode(name=NameNode(value=name), value=given))
        return made

    def _given(self, name: str, argument: GraphQLArgument) -> ValueNode:
        """What an argument `field.argument` says."""
        value = self._value(name, argument.type)
        return self._variable(str(argument.type), argument, value) if self._is(0.4) else literal(value, argument.type)

    def _variable(self, type_: str, argument: GraphQLArgument | None, value: Any) -> VariableNode:
        name = f"v{len(self._defined)}"
        default: Any = None
        if argument is not None and self._is(0.15):
            default = literal(self._value("", argument.type), argument.type)
            value = ABSENT if self._is(0.5) else value
        elif not type_.endswith("!") and self._is(0.15):
            value = ABSENT
        self._defined.append(
            VariableDefinitionNode(
                variable=VariableNode(name=NameNode(value=name)),
                type=parse_type(type_),
                default_value=default,
                directives=(),
            )
        )
        if value is not ABSENT:
            self._variables[name] = value
        return VariableNode(name=NameNode(value=name))

    def _value(self, name: str, type_: Any) -> Any:
        """As JSON says it."""
        if isinstance(type_, GraphQLNonNull):
            value = self._value(name, type_.of_type)
            return value if value is not None or self._is(0.02) else self._value(name, type_)
        if self._is(0.04):
            return None
        if isinstance(type_, GraphQLList):
            return [self._value(name, type_.of_type) for _ in range(self._dice.choice((0, 1, 1, 2, 4)))]
        if isinstance(type_, GraphQLEnumType):
            return self._dice.choice(list(type_.values))
        if isinstance(type_, GraphQLInputObjectType):
            return self._input(type_)
        return self._scalar(name, type_.name)

    def _input(self, type_: GraphQLInputObjectType) -> dict[str, Any]:
        names = list(type_.fields)
        if type_.is_one_of:
            name = self._dice.choice(names)
            return {name: self._value(name, GraphQLNonNull(type_.fields[name].type))}
        chosen = [name for name in names if is_required_input_field(type_.fields[name]) or self._is(0.5)]
        return {name: self._value(name, type_.fields[name].type) for name in chosen}

    def _scalar(self, name: str, type_name: str) -> Any:
        dice, known = self._dice, self._known
        if type_name == "ID":
            return self._id(name)
        if type_name == "String":
            return self._string(name)
        if type_name == "Int":
            return dice.choice(NUMBERS) if self._is(0.15) else dice.choice((1, 2, 3, 5, 50))
        if type_name == "DateTime":
            return dice.choice(known.instants) if self._is(0.95) else dice.choice(NO_INSTANTS)
        return self._is(0.5)

    def _string(self, name: str) -> Any:
        given = self._known.cursors.get(name.partition(".")[0])
        if name.endswith((".after", ".before")) and given and self._is(0.8):
            return self._dice.choice(given)
        return self._dice.choice(ZONES if name.endswith(".timeZone") else TEXTS)

    def _id(self, name: str) -> Any:
        if self._is(0.06):
            return self._dice.choice(NO_IDS)
        kinds = {"project.id": ["Project"], "auditEntries.userId": ["User"]}.get(name, self._wanted)
        return self._dice.choice(self._known.ids[self._dice.choice(kinds or list(self._known.ids))])


def wanted_types(selected: SelectionSetNode | None) -> list[str]:
    """The types of which something is asked."""
    fragments = [each for each in (selected.selections if selected else ()) if isinstance(each, InlineFragmentNode)]
    return [each.type_condition.name.value for each in fragments if each.type_condition]


def literal(value: Any, type_: Any) -> ValueNode:
    """The same value, as a document says it."""
    return parse_value(_text(value, type_))


def _text(value: Any, type_: Any) -> str:
    if isinstance(type_, GraphQLNonNull):
        return _text(value, type_.of_type)
    if value is None:
        return "null"
    if isinstance(type_, GraphQLList):
        return f"[{', '.join(_text(each, type_.of_type) for each in value)}]"
    if isinstance(type_, GraphQLEnumType):
        return str(value)
    if isinstance(type_, GraphQLInputObjectType):
        members = (f"{name}: {_text(each, type_.fields[name].type)}" for name, each in value.items())
        return f"{{{', '.join(members)}}}"
    return orjson.dumps(value).decode()
