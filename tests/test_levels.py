"""Queries run level by level answer as graphql-core's own execution does: by each rule, and for shapes at random."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, build_schema, execute, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.utils.await_maybe import await_maybe

from schema.levels import Levels

SHAPES = build_schema("""
  type Query { it: Thing  must: Thing! }
  interface Named { name: String }
  type Thing implements Named {
    name: String  required: String!  number: Int  exact: Int!  truth: Boolean  ratio: Float  id: ID  colour: Colour
    list: [Int]  items: [Int!]  every: [Int!]!  deep: [[Int!]]  child: Thing  must: Thing!
    children: [Thing]  all: [Thing!]  grid: [[Thing!]!]  named: Named  any: Either  some: [Either!]
  }
  type Other implements Named { name: String  size: Int! }
  union Either = Thing | Other
  enum Colour { RED GREEN }
""")
LEAVES = "__typename name required number exact truth ratio id colour list items every deep"
NULLABLE = "__typename name number truth ratio id colour list deep"
ABSTRACT = "... on Thing { name number } ... on Other { name size }"


def same_error(error: GraphQLError) -> tuple[Any, ...]:
    return tuple(map(str, error.path or ())), error.message, tuple(error.locations or ())


async def both(
    schema: GraphQLSchema, text: str, context: Callable[[], Any] = lambda: None, **options: Any
) -> tuple[ExecutionResult, ExecutionResult]:
    """What graphql-core answers, and what the executor under test does."""
    document = parse(text)
    core = await await_maybe(execute(schema, document, context_value=context(), **options))
    counted: list[tuple[str, str]] = []
    levels = Levels(count=lambda _, *went: counted.append(went))
    mine = await levels.execute(schema, document, context_value=context(), **options)
    assert counted in ([], [("levels", "")]), "it went the ordinary way"
    return core, mine


async def alike(schema: GraphQLSchema, text: str, *, in_order: bool = True, **options: Any) -> Any:
    """The data that both answer, after a comparison; with the errors in their order, where that hangs on no timing."""
    core, mine = await both(schema, text, **options)
    assert mine.data == core.data
    assert str(mine.data) == str(core.data), "members come in another order"
    wanted, found = ([same_error(each) for each in result.errors or ()] for result in (core, mine))
    assert found == wanted if in_order else sorted(found) == sorted(wanted)
    return mine


# Null, and errors


async def test_null_where_it_may_be_is_null() -> None:
    assert (
        await alike(SHAPES, "{ it { name number list child { name } children { name } } }", root_value={"it": {}})
    ).data


@pytest.mark.parametrize(
    "it",
    [
        {"required": None},
        {"required": ValueError("wrong")},
        {"required": "x", "exact": "no number"},
        {"required": "x", "exact": 2**40},
        {"required": "x", "exact": 1, "items": [1, None]},
        {"required": "x", "exact": 1, "every": [1, ValueError("wrong")]},
        {"required": "x", "exact": 1, "every": 5},
        {"required": "x", "exact": 1, "every": "text"},
        {"required": "x", "exact": 1, "every": [], "list": [None, "x", 1.0, True]},
        {"required": "x", "exact": 1, "every": [], "deep": [[1], None, [None], 7]},
        {"required": "x", "exact": 1, "every": [], "colour": "BLUE"},
        {"required": "x", "exact": 1, "every": [], "id": 7, "ratio": float("inf"), "truth": "x", "name": b"x"},
        {"required": "x", "exact": 1, "every": (each for each in (1, 2))},
        {"required": "x", "exact": 1, "every": []},
        {"required": "x", "exact": True, "every": [True], "number": 1.0, "name": 5, "id": 1.5, "ratio": 1},
        {"name": ValueError("first"), "required": None},
        ValueError("no thing"),
        None,
    ],
)
@pytest.mark.parametrize("text", ["{ it { %s } }", "{ must { %s } }"])
async def test_an_error_goes_up_to_what_may_be_null(it: Any, text: str) -> None:
    found = dict(it) if isinstance(it, dict) else it
    core, mine = await both(SHAPES, text % LEAVES, root_value={"it": _again(found), "must": _again(found)})
    assert mine.data == core.data
    assert [*map(same_error, mine.errors or ())] == [*map(same_error, core.errors or ())]


def _again(it: Any) -> Any:
    """A generator can be read once, but both ways read."""
    if isinstance(it, dict) and not isinstance(it.get("every"), (list, int, str, type(None))):
        return {**it, "every": lambda _: iter((1, 2))}
    return it


async def test_what_an_object_that_became_null_lacks_is_told_once_and_nothing_after_it() -> None:
    bad = {"required": None, "exact": None, "name": ValueError("before")}
    result = await alike(
        SHAPES, "{ it { children { name required exact } } }", root_value={"it": {"children": [bad, bad]}}
    )
    assert result.data == {"it": {"children": [None, None]}}
    assert [error.path[-1] for error in result.errors] == ["name", "required", "name", "required"]


async def test_null_goes_up_through_lists_to_the_nearest_that_may_be_null() -> None:
    thing = {"grid": [[{"required": "x"}], [{"required": "x"}, {"required": None}]], "all": [{"required": None}]}
    result = await alike(SHAPES, "{ it { all { required } grid { required } } }", root_value={"it": thing})
    assert result.data == {"it": {"all": None, "grid": None}}


async def test_null_that_nothing_stops_is_the_whole_answer() -> None:
    assert (
        await alike(SHAPES, "{ it { name } must { must { required } } }", root_value={"must": {"must": {}}})
    ).data is None


# Types


@pytest.mark.parametrize(
    "value",
    [{"__typename": "Other", "name": "o", "size": 1}, {"__typename": "Thing", "name": "t"}, {"__typename": "Other"}]
    + [{"__typename": name} for name in ("Nothing", "Query", "Colour", "String")]
    + [{}, {"__typename": 5}, 7, None, ValueError("none")],
)
async def test_an_abstract_type_is_resolved_and_refused_alike(value: Any) -> None:
    it = {"named": value, "any": value, "some": [{"__typename": "Other", "size": 2}, value]}
    text = "{ it { named { __typename name ... on Other { size } } any { %s } some { __typename %s } } }"
    await alike(SHAPES, text % (ABSTRACT, ABSTRACT), root_value={"it": it})


# Documents


DOCUMENT = """
query Tiles($yes: Boolean!, $no: Boolean = false, $name: String) {
  it { ...One ...Two @include(if: $yes) other: name name @skip(if: $no) child { number } }
  it { child { name ...One @skip(if: true) } ... @include(if: $no) { truth } ... on Thing { id } }
}
fragment One on Named { name ... on Thing { number child { child { name } } } }
fragment Two on Thing { ...One list children { ...One id } }
"""


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("no", [True, False])
async def test_fragments_directives_aliases_and_fields_asked_twice_are_put_together(yes: bool, no: bool) -> None:
    it = {"name": "a", "number": 1, "child": {"name": "b", "child": {"name": "c"}}, "children": [{"id": 1}], "list": []}
    await alike(SHAPES, DOCUMENT, root_value={"it": it}, variable_values={"yes": yes, "no": no})


async def test_one_document_serves_each_set_of_its_conditions() -> None:
    levels, document = Levels(), parse(DOCUMENT)
    root = {"it": {"name": "a", "number": 1, "truth": True, "list": [1]}}
    for _ in range(2):
        for yes, no in ((True, False), (False, True), (True, True), (False, False)):
            variables = {"yes": yes, "no": no}
            wanted = execute(SHAPES, document, root_value=root, variable_values=variables)
            assert await levels.execute(SHAPES, document, root_value=root, variable_values=variables) == wanted


@pytest.mark.parametrize(
    "variables", [{}, {"yes": "x"}, {"yes": None}, {"yes": True, "no": None}, {"yes": True, "name": 5}]
)
async def test_variables_are_refused_alike(variables: dict[str, Any]) -> None:
    document = parse(DOCUMENT)
    wanted = execute(SHAPES, document, variable_values=variables)
    assert await Levels().execute(SHAPES, document, variable_values=variables) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{ __schema { queryType { name } } }", "introspection"),
        ('{ it { name } __type(name: "Thing") { name } }', "introspection"),
        ("query ($c: Boolean = true) { it { name @include(if: $c) } }", "condition"),
        ("query A { it { name } } query B { it { name } }", "unknown operation"),
    ],
)
async def test_what_is_rare_goes_the_ordinary_way_and_is_counted_with_its_reason(text: str, reason: str) -> None:
    counted: list[tuple[str, str]] = []
    levels = Levels(count=lambda _, *went: counted.append(went))
    document, variables = parse(text), {"c": None}
    for _ in range(2):
        result = await levels.execute(SHAPES, document, root_value={"it": {}}, variable_values=variables)
        assert result == execute(SHAPES, document, root_value={"it": {}}, variable_values=variables)
    assert counted == [("ordinary", reason)] * 2


async def test_documents_and_plans_are_remembered_within_bounds() -> None:
    levels = Levels(documents_kept=2, largest=200)
    for number in range(5):
        await levels.execute(SHAPES, parse(f"{{ it {{ a{number}: name }} }}"), root_value={"it": {}})
    await levels.execute(SHAPES, parse("{ it { name " + " " * 200 + "} }"), root_value={"it": {}})
    assert len(levels._prepared) == 2


# At random

LEAF = st.sampled_from([None, 1, "x", True, 1.5, 2**33, "RED", ValueError("bad"), ""])
VALUES = LEAF | st.lists(LEAF, max_size=3) | st.lists(st.lists(LEAF, max_size=2), max_size=2)
NAMES = ("name", "required", "number", "exact", "truth", "ratio", "id", "colour", "list", "items", "every", "deep")


def things(leaf: Any) -> Any:
    plain = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, leaf))
    good = st.fixed_dictionaries({"required": st.just("r"), "exact": st.just(1), "every": st.just([1])})

    def larger(inner: Any) -> Any:
        one, many = st.none() | inner | leaf, st.lists(st.none() | inner, max_size=3) | leaf
        grid = st.lists(st.lists(inner | st.none(), max_size=2) | st.none(), max_size=2)
        return st.builds(
            lambda base, **nested: {**base, **nested},
            plain | good,
            child=one,
            must=one,
            children=many,
            all=many,
            grid=grid,
        )

    return st.recursive(plain | good, larger, max_leaves=6)


NEST = "child {{ {0} }} must {{ {0} }} children {{ {0} }} all {{ {0} }} grid {{ {0} }}"
NESTED = LEAVES + " " + NEST.format(LEAVES + " " + NEST.format(LEAVES))


@given(things(VALUES))
@settings(max_examples=100, deadline=None)
def test_shapes_at_random_are_answered_alike(it: Any) -> None:
    asyncio.run(alike(SHAPES, f"{{ it {{ {NESTED} }} }}", root_value={"it": it}))


@dataclass(frozen=True)
class Later:
    """Resolves to a value after so many turns of the loop."""

    value: Any
    turns: int

    async def __call__(self, _: Any) -> Any:
        for _turn in range(self.turns):
            await asyncio.sleep(0)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


EVENTUAL = VALUES | st.builds(Later, VALUES, st.integers(0, 2))
QUIET = NULLABLE + " " + f"child {{ {NULLABLE} }} children {{ {NULLABLE} }}"


@given(things(EVENTUAL))
@settings(max_examples=100, deadline=None)
def test_what_comes_later_is_answered_alike(it: Any) -> None:
    """With the same errors where no null goes up; where one does, which others are told below it hangs on timing."""
    asyncio.run(alike(SHAPES, f"{{ it {{ {QUIET} }} }}", root_value={"it": it}, in_order=False))
    core, mine = asyncio.run(both(SHAPES, f"{{ it {{ {NESTED} }} }}", root_value={"it": it}))
    assert mine.data == core.data
    assert bool(mine.errors) == bool(core.errors)
