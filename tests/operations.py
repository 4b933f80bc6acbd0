"""Every operation of the schema, asked for without knowing what it is about.

told = await mutate(context, "roleDelete", {"roleId": role.id})
assert told.word == "yes"
"""

import json
import re
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_leaf_type,
)

from gateway.permissions import Actor
from models.ids import new_id
from schema.context import Context
from schema.transport.execution import answers
from schema.transport.operation import Operation
from tests.asking import answer_to, context_of, schema
from tests.callers import QuickPasswords
from tests.permission_table import ARGUMENTS, DOCUMENTS, VARIABLES

WORDS = {"UNAUTHENTICATED": "nobody", "NOT_FOUND": "absent", "FORBIDDEN": "denied"}
ID = re.compile(r"\b(usr|prj|nod|rol|tpl|fld|req|key|sec|mem)_[0-9a-z]{26}\b")


@cache
def exported() -> GraphQLSchema:
    return build_schema(schema().as_str())


def fields_of(type_name: str) -> dict[str, GraphQLField]:
    kind = exported().type_map[type_name]
    assert isinstance(kind, GraphQLObjectType)
    fields: dict[str, GraphQLField] = kind.fields
    return fields


@dataclass(frozen=True)
class Told:
    """What a caller was answered."""

    body: dict[str, Any]
    payload: dict[str, Any] | None = None

    @property
    def word(self) -> str:
        """Of the tables: yes, or how it was refused."""
        if errors := self.body.get("errors"):
            return _word(errors[0]["extensions"]["code"])
        refusals = (self.payload or {}).get("userErrors")
        return _word(refusals[0]["code"]) if refusals else "yes"

    @property
    def refusals(self) -> list[tuple[str, str | None]]:
        """Code, and path below the input, of each userError."""
        assert "errors" not in self.body, self.body["errors"]
        return [(each["code"], _below_input(each["path"])) for each in (self.payload or {})["userErrors"]]

    @property
    def text(self) -> str:
        """The whole answer less the request's id, which is another each time."""
        return re.sub(r'"requestId": "[^"]*"', "", json.dumps(self.body))


def _word(code: str) -> str:
    return WORDS.get(code, code)


def _below_input(path: list[str] | None) -> str | None:
    if path is None:
        return None
    assert path[0] == "input"
    return ".".join(path[1:])


def calling(actor: Actor) -> Context:
    """A context in which accounts can be made, and cookies set."""
    context = context_of(actor, sign_up="open")
    context.accepts_cookies = True
    context.services = replace(context.services, passwords=QuickPasswords())
    return context


async def mutate(context: Context, name: str, input: dict[str, Any], selection: str | None = None) -> Told:
    """Does it, and checks what holds of every payload: its object is null exactly when there are userErrors."""
    body = await answer_to(context, document(name, selection), input=input)
    payload = (body.get("data") or {}).get("payload")
    if payload and (found := object_of(name)):
        assert (payload[found] is None) == bool(payload["userErrors"]), payload
    return Told(body, payload)


@cache
def document(name: str, selection: str | None = None) -> str:
    field = fields_of("Mutation")[name]
    selection = selection or " ".join(_selected(member) for member in fields_of(get_named_type(field.type).name))
    return f"mutation ($input: {field.args['input'].type}) {{ payload: {name}(input: $input) {{ {selection} }} }}"


def members_of_input(name: str) -> set[str]:
    """Of a mutation."""
    kind = get_named_type(fields_of("Mutation")[name].args["input"].type)
    assert isinstance(kind, GraphQLInputObjectType)
    return set(kind.fields)


def object_of(name: str) -> str | None:
    """The member of a mutation's payload that is its object; signing out has none."""
    payload = fields_of(get_named_type(fields_of("Mutation")[name].type).name)
    objects = [member for member, field in payload.items() if not is_leaf_type(get_named_type(field.type))]
    objects = [member for member in objects if member != "userErrors"]
    return objects[0] if objects else "deletedId" if "deletedId" in payload else None


def _selected(member: str) -> str:
    if member == "userErrors":
        return "userErrors { code message path }"
    is_leaf = member in {"token", "value", "expiresAt", "deletedId", "counted", "repeated"}
    return member if is_leaf else f"{member} {{ __typename id }}"


async def read(actor: Actor, query: str, variables: dict[str, Any]) -> str:
    """What became of the field that the query calls `found`: yes, null, empty, or absent with what it belongs to."""
    body = await answer_to(context_of(actor), query, **variables)
    return Told(body).word if "errors" in body else _found(body["data"])


def reading(row: str) -> str:
    """The query of a row like `Project.secrets`, or `Query.node(Project)`."""
    if row in DOCUMENTS:
        return DOCUMENTS[row]
    kind, _, field = row.partition(".")
    field, _, case = field.rstrip(")").partition("(")
    if kind == "Query":
        return f"query (${VARIABLES[case]}: ID!) {{ found: node(id: ${VARIABLES[case]}) {{ id }} }}"
    id = VARIABLES[kind]
    found = f"found: {field}{ARGUMENTS.get(row, '')}{_below(kind, field)}"
    return f"query (${id}: ID!) {{ node(id: ${id}) {{ ... on {kind} {{ {found} }} }} }}"


def _below(kind: str, field: str) -> str:
    type = get_named_type(fields_of(kind)[field].type)
    if is_leaf_type(type):
        return ""
    return " { nodes { __typename } }" if "nodes" in fields_of(type.name) else " { __typename }"


def _found(data: Any) -> str:
    if isinstance(data, list):
        return "null" if data == [None] else _found(data[0]) if data else "absent"
    if not isinstance(data, dict):
        return "absent"
    if "found" not in data:
        return next((word for word in map(_found, data.values()) if word != "absent"), "absent")
    found = data["found"]
    rows = found.get("nodes", found) if isinstance(found, dict) else found
    return "null" if found is None else "empty" if rows == [] else "yes"


async def watch(context: Context, subscription: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The first answer of a subscription."""
    operation = Operation(subscription, variables, None, None)
    async with context.services.log.running(), aclosing(answers(schema(), operation, context)) as told:
        return (await anext(told)).body


def elsewhere(input: Any) -> Any:
    """The same input, with ids of nothing that exists."""
    return json.loads(ID.sub(lambda found: new_id(found[1]), json.dumps(input)))
