"""How large an operation may be."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from graphql import get_introspection_query

from schema.transport.documents import REMEMBERED_CHARACTERS, Documents
from schema.transport.limits import Limits
from tests.toy import Toy, serving_toy, toy_schema

LIMITS = Limits(depth=5, fields=40, root_fields=4, aliases=4, directives=4, tokens=2000, documents_kept=8)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving_toy(Toy(), LIMITS) as url:
        yield url


def nested(levels: int) -> str:
    return "{ box " + "{ inner " * (levels - 2) + "{ name }" + " }" * (levels - 1)


def amplified(doublings: int) -> str:
    """A short text that unfolds to twice as many fields with each fragment."""
    fragments = [
        f"fragment f{n} on Box {{ inner {{ ...f{n + 1} inner {{ ...f{n + 1} }} }} }}" for n in range(doublings)
    ]
    return "{ box { ...f0 } } " + " ".join(fragments) + f" fragment f{doublings} on Box {{ name }}"


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(nested(6), id="levels"),
        pytest.param(
            "{ box { ...a } } fragment a on Box { inner { inner { inner { inner { name } } } } }",
            id="levels in a fragment",
        ),
        pytest.param("{ hello " + "box { name } " * 4 + "}", id="root fields"),
        pytest.param("{ box { " + "name " * 40 + "} }", id="fields"),
        pytest.param(amplified(12), id="fields in fragments"),
        pytest.param("{ box { a: name b: name c: name d: name e: name } }", id="aliases"),
        pytest.param("{ hello " + "@include(if: true) " * 5 + "}", id="directives"),
        pytest.param("{ " + "hello " * 2001 + "}", id="tokens"),
    ],
)
async def test_an_operation_beyond_a_limit_is_refused(url: str, query: str) -> None:
    async with httpx2.AsyncClient() as client:
        body = (await client.post(url, json={"query": query})).json()
    assert {error["extensions"]["code"] for error in body["errors"]} == {"LIMIT_EXCEEDED"}
    assert "data" not in body


@pytest.mark.parametrize(
    "query",
    [
        nested(5),
        "{ hello box { name } __typename }",
        "{ box { a: name b: name c: name d: name } }",
        "{ box { " + "name " * 38 + "} }",
        "{ hello @include(if: true) @skip(if: false) }",
    ],
)
async def test_an_operation_at_a_limit_runs(url: str, query: str) -> None:
    async with httpx2.AsyncClient() as client:
        assert "errors" not in (await client.post(url, json={"query": query})).json()


async def test_the_introspection_query_of_tools_is_admitted() -> None:
    async with serving_toy(Toy(), Limits(depth=2)) as url, httpx2.AsyncClient() as client:
        query = get_introspection_query(input_value_deprecation=True, specified_by_url=True)
        assert "errors" not in (await client.post(url, json={"query": query})).json()


async def test_introspection_that_turns_in_circles_is_refused(url: str) -> None:
    circle = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    async with httpx2.AsyncClient() as client:
        assert "data" not in (await client.post(url, json={"query": circle})).json()


@pytest.mark.parametrize(
    "mutation",
    [
        "mutation { signIn signOut }",
        "mutation { a: signIn b: signIn }",
        "mutation { ...a ... on Mutation { signOut } } fragment a on Mutation { signIn }",
    ],
)
async def test_an_operation_holds_one_mutation_and_of_more_none_runs(mutation: str) -> None:
    toy = Toy()
    async with serving_toy(toy) as url, httpx2.AsyncClient() as client:
        response = await client.post(url, json={"query": mutation})
        assert "set-cookie" not in response.headers
        assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["BAD_INPUT"]
        assert (await client.post(url, json={"query": "mutation { signIn __typename }"})).json()["data"]["signIn"]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("{" * 900, id="braces"),
        pytest.param("{ hello(name: " + "[" * 900 + "]" * 900 + ") }", id="lists"),
        pytest.param("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", id="fragments in a circle"),
        pytest.param(
            "{ ...f0 } " + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} }}" for n in range(1200)), id="long chain"
        ),
    ],
)
async def test_a_text_that_would_exhaust_the_stack_is_the_clients_mistake(query: str) -> None:
    async with serving_toy(Toy(), Limits(tokens=20_000)) as url, httpx2.AsyncClient() as client:
        response = await client.post(url, json={"query": query})
    assert response.status_code == 200
    assert {error["extensions"]["code"] for error in response.json()["errors"]} <= {"BAD_INPUT", "LIMIT_EXCEEDED"}


def test_a_document_is_parsed_and_validated_once() -> None:
    schema = toy_schema(LIMITS)
    assert schema.documents.parse("{ hello }") is schema.documents.parse("{ hello }")
    first, second = schema.faults("{ nothing }"), schema.faults("{ nothing }")
    assert first[0] is second[0]


def test_what_is_remembered_is_bounded_in_number_and_in_size() -> None:
    documents = Documents(LIMITS)
    oldest = documents.parse("{ hello }")
    for number in range(LIMITS.documents_kept):
        documents.parse(f"{{ a{number}: hello }}")
    assert documents.parse("{ hello }") is not oldest
    long = "{ hello } #" + "x" * REMEMBERED_CHARACTERS
    assert documents.parse(long) is not documents.parse(long)
