"""The pages' own queries, level by level: answers are the same, statements no more, and it is told which way."""

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import Node, Token

from gateway.permissions import Actor
from gateway.settings import Settings
from schema.context import Context
from schema.levels import Levels
from schema.levels.plan import Field
from schema.root import build
from schema.transport.documents import Documents, LimitedSchema
from schema.transport.execution import answer, answers
from schema.transport.limits import Limits
from schema.transport.operation import Operation
from tests.asking import context_of
from tests.bench.tiles import QUERY
from tests.crowd import Crowd, new_crowd
from tests.documents import DOCUMENTS
from tests.statements import statements

LEVELS = build(Settings(execution="levels"))
ORDINARY = build(Settings(execution="ordinary"))
QUERIES = {name: document.asked({}) for name, document in DOCUMENTS.items() if document.kind == "query"}
QUERIES["the bench's tiles"] = Operation(QUERY, None, None, None)


@pytest.fixture
async def crowd(database: str) -> Crowd:
    crowd = await new_crowd()
    await crowd.grow(5)
    return crowd


async def run(schema: LimitedSchema, operation: Operation, context: Context) -> tuple[Any, int]:
    """The answer, and how many statements it took."""
    with statements() as sent:
        body = (await answer(schema, operation, context)).body
    return body, len(sent)


def asked(operation: Operation, crowd: Crowd) -> Operation:
    variables = {
        "project": crowd.project.id,
        "projectId": crowd.project.id,
        "id": crowd.project.id,
        "first": 3,
        "period": {"lastDays": 7},
        "granularity": "DAY",
    }
    named = {name: value for name, value in variables.items() if f"${name}:" in operation.query}
    return Operation(operation.query, named, operation.name, None)


@pytest.mark.parametrize("name", sorted(QUERIES))
async def test_a_page_is_answered_alike_with_no_more_statements(crowd: Crowd, name: str) -> None:
    operation = asked(QUERIES[name], crowd)
    for who, actor in crowd.callers.items():
        context, other = context_of(actor), context_of(actor)
        other.now, other.request_id = context.now, context.request_id
        other.services = context.services
        wanted, most = await run(ORDINARY, operation, other)
        found, sent = await run(LEVELS, operation, context)
        assert _without_cursors(found) == _without_cursors(wanted), who
        assert sent <= most, who


def _without_cursors(body: Any) -> Any:
    """Cursors are sealed, each time otherwise."""
    if isinstance(body, dict):
        return {key: "" if "ursor" in key and value else _without_cursors(value) for key, value in body.items()}
    return [_without_cursors(each) for each in body] if isinstance(body, list) else body


@pytest.fixture
def _no_garbage_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_garbage_collector")
async def test_what_was_read_for_an_answer_is_let_go_of_with_it(crowd: Crowd) -> None:
    """Else it fills the memory until the garbage collector has looked through all of it."""
    operation, context = asked(QUERIES["the bench's tiles"], crowd), context_of(crowd.ada)
    await run(LEVELS, operation, context)
    rest = weakref.ref(context)
    del context
    assert rest() is None


@pytest.mark.usefixtures("_no_garbage_collector")
async def test_a_document_that_is_forgotten_is_gone_with_its_plan(crowd: Crowd) -> None:
    """As new documents come all the time that way, and each is some five hundred objects."""
    documents, levels = Documents(Limits(documents_kept=1)), Levels(documents_kept=1)
    schema, held = LEVELS._schema, []
    for number in range(4):
        document = documents.parse(f"query Q{number} {{ viewer {{ user {{ name }} }} }}")
        await levels.query(schema, document, context_value=context_of(crowd.ada))
        held.append(Counter(type(each) for each in gc.get_objects() if isinstance(each, Node | Token | Field)))
    assert held[1] == held[2] == held[3]


async def ways(schema: LimitedSchema, actor: Actor, text: str) -> dict[tuple[str, str], int]:
    context = context_of(actor)
    await answer(schema, Operation(text, None, None, None), context)
    return {way: quantity for way, quantity in context.services.measures.operations.items() if quantity}


async def test_each_operation_is_counted_with_the_way_that_it_went(crowd: Crowd) -> None:
    assert await ways(LEVELS, crowd.ada, "{ viewer { user { name } } }") == {("levels", ""): 1}
    assert await ways(LEVELS, crowd.ada, "{ __schema { queryType { name } } }") == {("ordinary", "introspection"): 1}
    sign_out = "mutation { signOut(input: {}) { userErrors { code } } }"
    assert await ways(LEVELS, crowd.ada, sign_out) == {("ordinary", "mutation"): 1}
    assert await ways(LEVELS, crowd.ada, "{ nothing }") == {}


async def test_a_query_in_a_stream_goes_level_by_level_too(crowd: Crowd) -> None:
    context = context_of(crowd.ada)
    operation = Operation("{ viewer { user { name } } }", None, None, None)
    assert [each.body async for each in answers(LEVELS, operation, context)] == [
        {"data": {"viewer": {"user": {"name": crowd.ada.require_user().name}}}}
    ]
    assert context.services.measures.operations["levels", ""] == 1


async def test_what_is_read_with_an_event_cursor_is_read_after_it(crowd: Crowd) -> None:
    context = context_of(crowd.ada)
    body = (await answer(LEVELS, Operation("{ eventCursor }", None, None, None), context)).body
    assert isinstance(body["data"], dict)
    assert body["data"]["eventCursor"]
    assert context.log_position is not None
