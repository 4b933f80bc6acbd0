"""What a plan reads of rows: no more is fetched, and nothing that is asked for is missing."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest
from graphql import (
    GraphQLField,
    GraphQLObjectType,
    get_named_type,
    is_introspection_type,
    is_leaf_type,
    is_required_argument,
    parse,
)
from graphql.execution.values import VariableValues

import models
from gateway.permissions import seen_of
from gateway.settings import Settings
from schema.levels.calls import Calls
from schema.levels.execution import Known, Prepared
from schema.levels.kinds import Kinds
from schema.levels.reading import Columns
from schema.loaders import Reads
from schema.root import build
from schema.transport.execution import answer
from schema.transport.operation import Operation
from tests.asking import context_of
from tests.bench.tiles import QUERY
from tests.crowd import new_crowd
from tests.statements import statements

SCHEMA = build()._schema  # Strawberry has no other way to it
CALLS = Calls(SCHEMA)
READ_ALIKE = build(Settings(execution="levels")), build(Settings(execution="ordinary"))
OTHERWISE = {"Mutation", "Subscription"}
PLACES = {
    "Project": "@",
    "KeyTemplate": "templates { @ }",
    "Role": "templates { role { @ } } roles { @ }",
    "TemplateField": "templates { fields { @ } }",
    "KeyRequest": "requests(states: null) { nodes { @ } } templates { requests(states: null) { nodes { @ } } }",
    "IssuedKey": "issuedKeys { nodes { @ } } templates { viewerKey { @ } issuedKeys { nodes { @ } } }",
    "User": "templates { issuedKeys { nodes { user { @ } } } requests { nodes { user { @ } } } }",
    "ProjectNode": "projectNodes { nodes { @ } }",
    "Member": "members { nodes { @ } }",
}
"""Where rows of each type are in a project, with @ for what is asked of them."""


def columns(document: str) -> Mapping[type, Columns]:
    parsed = parse(document)
    known = Known(SCHEMA, CALLS, Kinds((models.Row,)))
    return Prepared(known, parsed, None).plan(VariableValues({}, {}))[1]


def object_types() -> Iterator[GraphQLObjectType]:
    for name, type_ in SCHEMA.type_map.items():
        if isinstance(type_, GraphQLObjectType) and not is_introspection_type(type_) and name not in OTHERWISE:
            yield type_


def selected(name: str, field: GraphQLField) -> str:
    return name if is_leaf_type(get_named_type(field.type)) else f"{name} {{ __typename }}"


def test_every_field_that_a_query_reaches_says_what_it_reads() -> None:
    """Else nothing is known of any row in a plan that has one."""
    payloads = {each for each in SCHEMA.type_map if each.endswith(("Payload", "Event"))}
    silent = [
        f"{type_.name}.{name}"
        for type_ in object_types()
        if type_.name not in payloads
        for name, field in type_.fields.items()
        if CALLS.of(field).reads is None
    ]
    assert silent == []


def test_of_tiles_no_more_is_read_than_they_show_and_are_found_by() -> None:
    assert columns(QUERY.replace("$project: ID!", "$project: ID! = 1")) == {
        models.Project: ("currency", "id", "name"),
        models.Template: ("description", "id", "name", "price_per_request", "project_id", "role_id"),
        models.Role: ("id", "name"),
        models.TemplateField: ("description", "id", "name", "node__upstream_id", "template_id", "value"),
        models.KeyRequest: ("id", "requested_at", "user_id"),
        models.IssuedKey: ("id", "received_at", "user_id"),
        models.User: ("id", "name"),
    }


def test_what_is_read_at_one_place_is_read_wherever_such_rows_are_found() -> None:
    """They may be the same ones."""
    text = (
        '{ project(id: "p") { roles { version } templates { role { name } } } node(id: "u") { ... on User { email } } }'
    )
    read = columns(text)
    assert read[models.Role] == ("name", "version")
    assert read[models.User] == ("email", "id")


def test_where_a_field_does_not_say_what_it_reads_everything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{ project(id: "p") { name } }'
    assert columns(text) == {models.Project: ("name",)}
    query = SCHEMA.query_type
    assert query
    monkeypatch.setattr(CALLS.of(query.fields["project"]), "reads", None)
    assert columns(text) == {}


def test_where_a_field_does_not_say_what_it_reads_of_its_own_row_all_of_such_rows_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = SCHEMA.type_map["Project"]
    assert isinstance(project, GraphQLObjectType)
    monkeypatch.setattr(CALLS.of(project.fields["name"]), "reads", Reads())
    assert columns('{ project(id: "p") { id name roles { id } } }') == {models.Role: ("id",)}


CASES = [(type_, name) for type_ in PLACES for name in SCHEMA.type_map[type_].fields]  # type: ignore[attr-defined]  # object types


async def test_each_field_asked_for_alone_has_all_that_it_reads(database: str) -> None:
    crowd = await new_crowd()
    await crowd.grow(2)
    for type_, name in CASES:
        field = SCHEMA.type_map[type_].fields[name]  # type: ignore[attr-defined]  # of object types
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        text = PLACES[type_].replace("@", selected(name, field))
        query = f'{{ project(id: "{crowd.project.id}") {{ {text} }} }}'
        for who, actor in crowd.callers.items():
            quickly, ordinarily = [
                (await answer(schema, Operation(query, None, None, None), context_of(actor))).body
                for schema in READ_ALIKE
            ]
            assert quickly == ordinarily, (who, query)
            assert "errors" not in quickly, (who, query)


async def test_what_may_be_done_on_a_project_is_asked_once_in_an_operation(database: str) -> None:
    crowd = await new_crowd()
    await crowd.grow(2)
    operation = Operation(QUERY, {"project": crowd.project.id}, None, None)
    for schema in READ_ALIKE:
        with statements() as sent:
            await answer(schema, operation, context_of(crowd.ada))
        assert sum('"member_roles"' in each for each in sent) == 1


async def test_what_may_be_done_is_asked_once_also_by_several_at_the_same_time(database: str) -> None:
    crowd = await new_crowd()
    ada = crowd.ada.reading()
    with statements() as sent:
        seen = await asyncio.gather(*[seen_of(ada, [crowd.project.id]) for _ in range(3)])
    assert seen == [{crowd.project.id}] * 3
    assert len(sent) == 1
