"""A document that is taken for valid at a glance is valid by all of the rules; and those of pages are taken so."""

import re
from random import Random

import pytest
from graphql import GraphQLError, parse, print_ast, specified_rules
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.schema.schema import validate_document

from schema.root import build
from schema.transport.limits import Limits, OneMutation, size_rule
from schema.transport.plain import is_plainly_valid
from tests.bench.tiles import QUERY
from tests.documents import EVERY_DOCUMENT

LIMITS = Limits(depth=8, fields=60, root_fields=3, aliases=3)
SCHEMA = build()._schema
RULES = (size_rule(LIMITS), OneMutation, *specified_rules)
LITERALS = """
query Literals($id: ID!, $first: Int = 3, $states: [KeyState!]) {
  node(id: "x") { __typename id }
  project(id: $id) { named: name requests(first: 2, states: PENDING) { totalCount nodes { id user { name } } }
    templates { issuedKeys(first: $first, states: $states) { pageInfo { hasNextPage } } }
    usage(period: {lastDays: 3}) { total { requests } } }
}
"""
PLAIN_LITERALS = LITERALS.replace("usage(period: {lastDays: 3}) { total { requests } }", "")
TOKEN = re.compile(r'"[^"]*"|\w+|[^\w\s,]')
WORDS = ["nothing", "null", "1.5", "true", "id", "name", "first", "Int", "ID", "String", "states", "PENDING"]


def is_plain(text: str) -> bool:
    return is_plainly_valid(SCHEMA, parse(text), LIMITS)


EVERY_TEXT = [print_ast(parse(text)) for text in (QUERY, PLAIN_LITERALS, *(each.text for each in EVERY_DOCUMENT))]
TEXTS = [text for text in EVERY_TEXT if is_plain(text)]


def edited(text: str, seed: int) -> str:
    """With one or two of its words lost, doubled, exchanged or replaced."""
    dice, tokens = Random(seed), TOKEN.findall(text)  # noqa: S311  # nothing to be kept secret
    for _ in range(dice.randint(1, 2)):
        words = [place for place, token in enumerate(tokens) if token[0].isalnum()]
        place, other = dice.choice(words), dice.choice(words)
        match dice.randrange(4):
            case 0:
                del tokens[place]
            case 1:
                tokens.insert(other, tokens[place])
            case 2:
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case _:
                tokens[place] = dice.choice([*WORDS, tokens[other]])
    return " ".join(tokens)


@settings(max_examples=1000, deadline=None)
@given(text=st.sampled_from(TEXTS), seed=st.integers(0, 2**32))
def test_what_is_plainly_valid_passes_every_rule(text: str, seed: int) -> None:
    text = edited(text, seed)
    try:
        plain = is_plain(text)
    except GraphQLError:
        return
    if plain:
        assert not validate_document(SCHEMA, parse(text), RULES), text


@pytest.mark.parametrize("text", [QUERY, PLAIN_LITERALS])
def test_a_page_is_plainly_valid(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        "{ nothing }",
        "{ viewer }",
        "{ viewer { user { id { id } } } }",
        "query A { viewer { user { id } } } query B { viewer { user { id } } }",
        "{ node { id } }",
        "{ node(id: 1.5) { id } }",
        "{ node(id: null) { id } }",
        '{ node(id: "a", id: "b") { id } }',
        '{ node(id: "a", other: 1) { id } }',
        '{ node(id: "a") { name } }',
        "{ node(id: $id) { id } }",
        "query ($id: ID) { node(id: $id) { id } }",
        "query ($id: Int!) { node(id: $id) { id } }",
        "query ($id: ID!, $id: ID!) { node(id: $id) { id } }",
        "query ($id: ID!, $other: ID!) { node(id: $id) { id } }",
        "query ($id: User!) { node(id: $id) { id } }",
        "query ($id: Nothing!) { node(id: $id) { id } }",
        "query ($id: ID! = 1.5) { node(id: $id) { id } }",
        '{ node(id: "a") { id } node(id: "b") { id } }',
        "{ viewer { user { id name: id } } viewer { user { name } } }",
        "{ viewer { ...f } }",
        "{ viewer @nothing { user { id } } }",
        "subscription { viewerKeyEvents { cursor } projectEvents { cursor } }",
        "{ a: __typename b: __typename c: __typename d: __typename }",
        "{ eventCursor b: eventCursor c: eventCursor d: eventCursor }",
        "mutation { signOut(input: {}) { userErrors { code } } b: signOut(input: {}) { userErrors { code } } }",
        "{ viewer { user { id } } __schema { types { name } } }",
    ],
)
def test_what_breaks_a_rule_is_not_plainly_valid(text: str) -> None:
    assert not is_plain(text)
