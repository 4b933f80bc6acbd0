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
from tests.plain_documents import OF_CLIENTS, UNLIKE, random_document

LIMITS = Limits(depth=8, fields=60, root_fields=3, aliases=3, directives=6)
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
TOKEN = re.compile(r'"[^"]*"|\w+|\.\.\.|[^\w\s,]')
WORDS = ["nothing", "null", "1.5", "true", "id", "name", "first", "Int", "ID", "String", "states", "PENDING"]
WORDS += ["include", "skip", "if", "Project", "User", "KeyTemplate", "Node", "ProjectFields", "Row_request", "Error"]
SELECTED = [
    "id",
    "name",
    "id: name",
    "id(if: 1)",
    "template { id }",
    "user { id: name }",
    "__typename @skip",
    "...on Node { id }",
]
SELECTED += ["... @include(if: true) { id }", "...Person_user", "...PersonFields", "...Nothing", "node(id: 1) { id }"]


def is_plain(text: str) -> bool:
    return is_plainly_valid(SCHEMA, parse(text), LIMITS)


EVERY_TEXT = [QUERY, PLAIN_LITERALS, *OF_CLIENTS.values(), *(each.text for each in EVERY_DOCUMENT)]
TEXTS = [print_ast(parse(text)) for text in EVERY_TEXT if is_plain(text)]


def edited(text: str, seed: int) -> str:
    """With one or two of its words lost, doubled, exchanged or replaced, or something more selected."""
    dice, tokens = Random(seed), TOKEN.findall(text)  # noqa: S311  # nothing to be kept secret
    for _ in range(dice.randint(1, 2)):
        words = [place for place, token in enumerate(tokens) if token[0].isalnum()]
        place, other = dice.choice(words), dice.choice(words)
        match dice.randrange(5):
            case 0:
                del tokens[place]
            case 1:
                tokens.insert(other, tokens[place])
            case 2:
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case 3:
                opened = [place for place, token in enumerate(tokens) if token in "{}"]
                tokens.insert(dice.choice(opened) + 1, dice.choice(SELECTED))
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


@settings(max_examples=1000, deadline=None)
@given(dice=st.randoms(use_true_random=False))
def test_what_is_plainly_valid_of_types_whose_fields_differ_passes_every_rule(dice: Random) -> None:
    document = parse(random_document(dice))
    if is_plainly_valid(UNLIKE, document, LIMITS):
        assert not validate_document(UNLIKE, document, RULES), print_ast(document)


def test_of_what_is_valid_among_random_documents_most_is_plainly_so() -> None:
    documents = [parse(random_document(Random(seed))) for seed in range(400)]  # noqa: S311  # nothing to be kept secret
    valid = [document for document in documents if not validate_document(UNLIKE, document, RULES)]
    plain = [document for document in valid if is_plainly_valid(UNLIKE, document, LIMITS)]
    assert 50 < len(valid) < 350
    assert len(plain) > 0.9 * len(valid)


@pytest.mark.parametrize("client", OF_CLIENTS)
def test_what_clients_send_with_fragments_and_conditions_is_plainly_valid(client: str) -> None:
    assert is_plainly_valid(SCHEMA, parse(OF_CLIENTS[client]), Limits())
    assert not validate_document(SCHEMA, parse(OF_CLIENTS[client]), specified_rules)


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
        "{ viewer { ...f } } fragment f on Viewer { ...f }",
        "{ viewer { ...f } } fragment f on Viewer { user { id } } fragment h on User { id }",
        "{ viewer { ...f } } fragment f on Viewer { user { id } } fragment f on Viewer { user { name } }",
        "{ viewer { ...f } } fragment f on User { id }",
        "{ viewer { ...f } } fragment f on Nothing { id }",
        "{ viewer { ...f } } fragment f on ID { id }",
        "{ viewer { ...f } } fragment f on Viewer @skip(if: true) { user { id } }",
        "{ viewer { ... on User { id } } }",
        "{ viewer { ... on Viewer { id } } }",
        "{ viewer { user { id } ... on Viewer { user { id: name } } } }",
        "{ viewer { user { id ...f } } } fragment f on User { id: name }",
        '{ ...f node(id: "a") { id } } fragment f on Query { node(id: "b") { id } }',
        "{ viewer { user { id @include } } }",
        "{ viewer { user { id @include(if: 1) } } }",
        "{ viewer { user { id @include(if: null) } } }",
        "{ viewer { user { id @include(if: true) @include(if: true) } } }",
        "{ viewer { user { id @deprecated } } }",
        "query ($if: Boolean) { viewer { user { id @include(if: $if) } } }",
        "query ($if: String!) { viewer { user { id @include(if: $if) } } }",
        "query @include(if: true) { viewer { user { id } } }",
        "query ($if: Boolean!) { viewer { ...f } } fragment f on Viewer { user { id } }",
        "{ viewer { ...f } } fragment f on Viewer { user { id @skip(if: $if) } }",
        "{ viewer { user { " + "id @skip(if: false) " * 7 + "} } }",
        "{ viewer { user { ...f ...f } } } fragment f on User { a: id b: id }",
        "mutation { ...f ...f } fragment f on Mutation { signOut(input: {}) { userErrors { code } } }",
        "fragment f on User { id }",
        "{ viewer @nothing { user { id } } }",
        "subscription { viewerKeyEvents { cursor } b: viewerKeyEvents { cursor } }",
        "{ a: __typename b: __typename c: __typename d: __typename }",
        "{ eventCursor b: eventCursor c: eventCursor d: eventCursor }",
        "mutation { signOut(input: {}) { userErrors { code } } b: signOut(input: {}) { userErrors { code } } }",
        "{ viewer { user { id } } __schema { types { name } } }",
    ],
)
def test_what_breaks_a_rule_is_not_plainly_valid(text: str) -> None:
    assert not is_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        "{ a { k: name k: y } }",
        "{ named { ... on A { y } ... on B { y } } }",
        "{ named { ... on A { again: twin { name } } ... on Named { again: twin { name: x } } } }",
        "{ a { x ...f } } fragment f on B { x }",
        "{ any { x } }",
        "{ again " * 9 + "{ __typename" + " }" * 10,
        "{ a { ...f twin { ...f b { ...f a { ...f twin { ...f } } } } } } fragment f on Named { " + "x " * 12 + "}",
    ],
)
def test_what_breaks_a_rule_of_types_whose_fields_differ_is_not_plainly_valid(text: str) -> None:
    document = parse(text)
    assert validate_document(UNLIKE, document, RULES)
    assert not is_plainly_valid(UNLIKE, document, LIMITS)


@pytest.mark.parametrize(
    "text",
    ["{ a { " + "... { " * 60 + "x" + " }" * 60 + " } }", "{ a { " + "x " * 33 + "} }"],
    ids=["many fragments", "many fields under one name"],
)
def test_what_the_rules_might_give_up_is_left_to_them(text: str) -> None:
    document = parse(text)
    assert not validate_document(UNLIKE, document, specified_rules)
    assert not is_plainly_valid(UNLIKE, document, Limits())
