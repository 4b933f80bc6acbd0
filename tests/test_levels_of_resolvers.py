"""Level by level, Strawberry's resolvers get what they would get otherwise, and wait for batches without tasks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Annotated, Any

import pytest
import strawberry
from graphql import build_schema, parse
from strawberry.extensions import FieldExtension
from strawberry.schema.config import StrawberryConfig

from gateway.errors import BadInput
from schema.declare import attribute, described, related, related_rows, resolved, selects, together
from schema.levels import Levels
from schema.levels.driving import Driver
from schema.loaders import Loaders, Loads
from schema.scalars import SCALARS
from tests.test_levels import alike, both

WHOSE: ContextVar[str] = ContextVar("whose", default="nobody's")


@dataclass
class Asked:
    """A context that loads as the gateway's does, and remembers how often each batch was called for which keys."""

    actor: str = "actor"
    loaders: Loads = field(init=False)
    calls: list[tuple[str, list[int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loaders = Loaders(self)  # type: ignore[arg-type]  # the batches below take it for the actor

    def load(self, batch: Any, key: Any, *arguments: Any) -> Awaitable[Any]:
        return self.loaders.load(batch, key, *arguments)

    def load_all(self, batch: Any, keys: Sequence[Any], *arguments: Any) -> Awaitable[list[Any]]:
        return self.loaders.load_all(batch, keys, *arguments)


Info = strawberry.Info[Asked, None]
_context: ContextVar[Asked] = ContextVar("context")


async def squares(_: Any, keys: Sequence[int]) -> dict[int, int]:
    _context.get().calls.append(("squares", sorted(keys)))
    await asyncio.sleep(0)
    return {key: key * key for key in keys if key != 3}


async def sums(_: Any, keys: Sequence[int], more: int) -> dict[int, int]:
    _context.get().calls.append((f"sums of {more}", sorted(keys)))
    return {key: key + more for key in keys}


async def failing(_: Any, keys: Sequence[int]) -> dict[int, int]:
    raise BadInput(f"not {sorted(keys)}")


async def boxes(_: Any, keys: Sequence[int]) -> dict[int, "Row"]:
    _context.get().calls.append(("boxes", sorted(keys)))
    return {key: Row(key) for key in keys if key}


async def contents(_: Any, keys: Sequence[int]) -> dict[int, list["Row"]]:
    return {key: [Row(number) for number in range(key)] for key in keys if key}


@dataclass(frozen=True)
class Row:
    number: int

    @property
    def none(self) -> int | None:
        return None

    @property
    def shared(self) -> int:
        return 4 + self.number % 2

    @property
    def at(self) -> datetime:
        return datetime(2026, 1, 1, self.number, tzinfo=timezone(timedelta(hours=self.number)))

    @property
    def never(self) -> datetime | None:
        return None

    @property
    def size(self) -> "Size":
        return Size.LARGE if self.number % 2 else Size.SMALL

    @property
    def broken(self) -> int:
        raise BadInput("This row is broken.")


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


strawberry.enum(Size)


@strawberry.input
class Wanted:
    sizes: list[Size]
    since: datetime | None = strawberry.UNSET
    inner: "Wanted | None" = None


class Doubling(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **arguments: Any) -> Any:
        return 2 * next_(source, info, **arguments)


def heard(root: strawberry.Parent[Row]) -> int:
    _context.get().calls.append(("heard", [root.number]))
    return root.number


async def square(root: strawberry.Parent[Row], info: Info) -> Any:
    return await info.context.load(squares, root.number)


def at_once(root: strawberry.Parent[Row], info: Info) -> Any:
    return info.context.load(squares, root.number)


async def square_of_square(root: strawberry.Parent[Row], info: Info) -> int | None:
    first = await info.context.load(squares, root.number)
    return await info.context.load(squares, first) if first else None


async def both_sums(root: strawberry.Parent[Row], info: Info) -> list[int]:
    return list(await asyncio.gather(*(info.context.load(sums, root.number, more) for more in (1, 2))))


async def slowly(root: strawberry.Parent[Row], info: Info) -> int:
    await asyncio.sleep(0.001)
    found: int = await info.context.load(sums, root.number, 10)
    return found


async def counted(root: strawberry.Parent[Row], info: Info) -> AsyncIterator[int]:
    for number in range(root.number):
        yield await info.context.load(sums, number, 100)


async def own(root: strawberry.Parent[Row]) -> str:
    token = WHOSE.set(f"{root.number}'s")
    try:
        await asyncio.sleep(0)
        return WHOSE.get()
    finally:
        WHOSE.reset(token)


async def of_all(rows: Sequence[Row], info: Info) -> list[Any]:
    first = await info.context.load_all(squares, [row.number for row in rows])
    found = [each for each in first if each is not None]
    second = dict(zip(found, await info.context.load_all(squares, found), strict=True))
    return [second.get(each) for each in first]


async def of_all_but(rows: Sequence[Row], info: Info) -> list[Any]:
    await asyncio.sleep(0)
    found = await info.context.load_all(squares, [row.number for row in rows])
    return [BadInput("Not of this.") if each is None else each for each in found]


async def of_all_more(
    rows: Sequence[Row], info: Info, more: Annotated[int, "how many more"] = 1, size: Size | None = None
) -> list[str]:
    found = await info.context.load_all(sums, [row.number for row in rows], more)
    return [f"{each} {size} {info.field_name}" for each in found]


async def of_none(rows: Sequence[Row], info: Info) -> list[Any]:
    return await info.context.load_all(failing, [row.number for row in rows])


async def caught(root: strawberry.Parent[Row], info: Info) -> str:
    try:
        return str(await info.context.load(failing, root.number))
    except BadInput as error:
        return error.message


async def foreseen(root: strawberry.Parent[Row], info: Info) -> Row | None:
    for name, batch in (("square", squares), ("failed", failing), ("none", contents)):
        if selects(info, name):  # type: ignore[arg-type]  # of another context
            info.context.loaders.foresee(batch, root.number)
    found: Row | None = await info.context.load(boxes, root.number)
    return found


def told(
    root: strawberry.Parent[Row], info: Info, wanted: Wanted | None = None, times: Annotated[int, "how often"] = 2
) -> str:
    return f"{root.number} {info.field_name} {info.python_name} {wanted} {times} {info.variable_values}"


@strawberry.type
class Box:
    number: int = described("Its number.")
    none: int | None = described("Nothing.")
    broken: int | None = described("Always broken.")
    at: datetime = described("An instant.")
    never: datetime | None = described("None.")
    size: Size = described("How large it is.")
    sizes: list[Size | None] = resolved(lambda root: [root.size, None], "In a list.")
    square: int | None = resolved(square, "Its square.")
    square_of_square: int | None = resolved(square_of_square, "Twice.")
    both_sums: list[int] = resolved(both_sums, "Two batches at once.")
    slowly: int = resolved(slowly, "Waits for something else first.")
    counted: list[int] = resolved(counted, "One after the other.")
    own: str = resolved(own, "In a context of its own.")
    of_all: int | None = resolved(together(of_all), "For all at once.")
    of_all_but: int = resolved(together(of_all_but), "For all but some.")
    of_all_more: str = resolved(together(of_all_more), "For all at once, by arguments.")
    of_none: int | None = resolved(together(of_none), "For none of them.")
    caught: str = resolved(caught, "What a batch failed with.")
    failed: int | None = resolved(related(failing, "number"), "From a batch that fails.")
    told: str = resolved(told, "What the resolver is told.")
    at_once: int | None = resolved(at_once, "Not async itself.")
    doubled: int = strawberry.field(resolver=lambda root: root.number, extensions=[Doubling()])
    other: "Box | None" = resolved(related(boxes, "number"), "Another one.")
    foreseen: "Box | None" = resolved(foreseen, "Another one, of which it is known what will be asked.")
    nothing: "Box | None" = resolved(related(boxes, "none"), "There is none.")
    unknowable: "Box | None" = resolved(related(boxes, "broken"), "What of can't be known.")
    all_shared: list["Box"] = resolved(related_rows(contents, "shared"), "Some that others have too.")
    contents: list["Box"] = resolved(related_rows(contents, "number"), "What is in it.")
    heard: int = resolved(heard, "Remembers that it was asked.")
    known_as: int = resolved(attribute("number"), "Its number, by another name.")
    breaks: int | None = resolved(attribute("broken"), "Always broken, by another name.")
    shared: "Box | None" = resolved(related(boxes, "shared"), "One that others have too.")
    same: list["Box"] = resolved(lambda root: [root, root], "Twice the same.")


@strawberry.type
class Query:
    @strawberry.field
    def boxes(self, first: int = 5) -> list[Box]:
        return [Row(number) for number in range(first)]  # type: ignore[misc]  # rows stand for their types

    @strawberry.field
    async def since(self, instant: datetime) -> datetime:
        return instant

    @strawberry.field
    async def refused(self, at_once: bool) -> int:
        if not at_once:
            await asyncio.sleep(0)
        raise BadInput("No.")

    @strawberry.field
    async def never(self) -> int:
        await asyncio.Event().wait()
        return 1


SCHEMA = strawberry.Schema(Query, config=StrawberryConfig(scalar_map=SCALARS))._schema


FIELDS = [
    "number",
    "at",
    "never size sizes",
    "none",
    "broken",
    "square",
    "squareOfSquare",
    "bothSums",
    "slowly",
    "counted",
    "own",
    "caught",
    "ofAll",
    "ofAllBut",
    "ofAllMore",
    "ofAllMore(more: 3, size: LARGE)",
    "ofNone",
    "failed",
    "atOnce",
    "doubled",
    "told",
    "told(times: 3, wanted: {sizes: [LARGE], inner: {sizes: []}})",
    'told(wanted: {sizes: SMALL, since: "2026-01-01T00:00:00Z"})',
    "other { number square }",
    "foreseen { square ... { none } }",
    "nothing { number }",
    "unknowable { number }",
    "contents { number square other { number } }",
    "knownAs breaks",
    "shared { number square shared { number broken } }",
    "allShared { number nothing { number } shared { number allShared { broken } } }",
    "same { number square contents { number broken } }",
]


ALONE = [
    "allShared { number ofAllBut }",
    "allShared { number shared { ofAllBut allShared { broken ofAllBut } } }",
]
"""Where null goes up, and what is told of what is below it hangs on what else is asked for."""


@pytest.mark.parametrize("selected", [*FIELDS, *ALONE, " ".join(f"f{n}: {each}" for n, each in enumerate(FIELDS))])
async def test_resolvers_answer_alike(selected: str) -> None:
    for _ in range(2):
        await alike(SCHEMA, f"{{ boxes {{ {selected} }} }}", context=Asked, in_order=False)


@pytest.fixture(autouse=True)
def _heard() -> None:
    _context.set(Asked())


async def test_arguments_come_from_variables_as_they_do_otherwise() -> None:
    text = """
    query ($wanted: Wanted, $times: Int, $first: Int = 2, $instant: DateTime!) {
      boxes(first: $first) { told(wanted: $wanted, times: $times) ofAllMore(more: $times) }  since(instant: $instant)
    }"""
    given: list[dict[str, Any]] = [
        {"instant": "2026-01-01T01:00:00+01:00"},
        {"instant": "2026-01-01T01:00:00+01:00", "wanted": {"sizes": ["SMALL"], "inner": None}, "times": 1},
        {"instant": "2026-01-01T01:00:00+01:00", "wanted": None, "first": None},
        {"instant": "never"},
        {"instant": "2026-01-01T01:00:00Z", "times": None},
    ]
    for variables in given:
        core, mine = await both(SCHEMA, text, Asked, variable_values=variables)
        assert (mine.data, str(mine.errors)) == (core.data, str(core.errors))


async def test_a_batch_is_called_once_for_all_that_a_level_wants_and_never_twice_for_a_key() -> None:
    context = Asked()
    _context.set(context)
    text = "{ boxes { square squareOfSquare again: square atOnce same { square } other { number square } } }"
    await Levels().execute(SCHEMA, parse(text), context_value=context)
    assert context.calls == [("squares", [0, 1, 2, 3, 4]), ("boxes", [0, 1, 2, 3, 4]), ("squares", [16])]


async def test_what_is_foreseen_is_fetched_with_what_is_wanted_before_it() -> None:
    context = Asked()
    _context.set(context)
    await Levels().execute(SCHEMA, parse("{ boxes { foreseen { square } } }"), context_value=context)
    assert sorted(context.calls) == [("boxes", [0, 1, 2, 3, 4]), ("squares", [0, 1, 2, 3, 4])], "the box 0 isn't there"
    context.calls.clear()
    await Levels().execute(SCHEMA, parse("{ boxes { foreseen { number } } }"), context_value=context)
    assert context.calls == [("boxes", [0, 1, 2, 3, 4])], "what isn't selected is asked for"


async def test_what_was_foreseen_and_failed_is_asked_for_again_and_told_who_asks() -> None:
    await alike(SCHEMA, "{ boxes { foreseen { failed square } } }", context=Asked)


async def test_what_several_rows_refer_to_is_done_once() -> None:
    context = Asked()
    _context.set(context)
    await Levels().execute(SCHEMA, parse("{ boxes { shared { heard } allShared { heard } } }"), context_value=context)
    heard = sorted(keys for what, keys in context.calls if what == "heard")
    assert heard == sorted([[4], [5], *([number] for number in range(4)), *([number] for number in range(5))])


async def test_tasks_that_resolvers_start_share_the_batches_of_the_level() -> None:
    context = Asked()
    _context.set(context)
    for _ in range(2):  # the second time it is known that these need tasks
        context.calls.clear()
        await Levels().execute(SCHEMA, parse("{ boxes { bothSums slowly } }"), context_value=context)
        assert sorted(context.calls) == [(f"sums of {more}", [0, 1, 2, 3, 4]) for more in (1, 10, 2)]
        context = Asked()
        _context.set(context)


async def test_what_waits_for_batches_alone_needs_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise AssertionError("a task was made")

    text = "{ boxes { square squareOfSquare caught contents { square } other { number } } }"
    await Levels().execute(SCHEMA, parse(text), context_value=Asked())
    monkeypatch.setattr(Driver, "_go_on_as_task", none)
    await Levels().execute(SCHEMA, parse(text), context_value=Asked())


async def test_what_is_known_to_wait_and_fails_at_once_has_failed_before_what_did_wait() -> None:
    """Which is told alone then, where it makes the answer null."""
    levels, text = Levels(), "query ($now: Boolean!) { boxes { failed } refused(atOnce: $now) }"
    _, known = [
        await levels.execute(SCHEMA, parse(text), context_value=Asked(), variable_values={"now": now})
        for now in (False, True)
    ]
    assert (known.data, [error.path for error in known.errors or ()]) == (None, [["refused"]])


@pytest.mark.parametrize("times", [1, 2])
async def test_who_goes_away_leaves_nothing_behind(times: int) -> None:
    levels, before = Levels(), asyncio.all_tasks()
    for _ in range(times):
        task = asyncio.ensure_future(
            levels.execute(SCHEMA, parse("{ never boxes { square slowly } }"), context_value=Asked())
        )
        await asyncio.sleep(0.01)  # until it waits for what never comes
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before


async def test_a_resolver_that_asks_for_its_path_is_told_that_it_has_none() -> None:
    @strawberry.type
    class Root:
        @strawberry.field
        def where(self, info: strawberry.Info) -> str | None:
            return str(info.path)

    result = await Levels().execute(strawberry.Schema(Root)._schema, parse("{ where }"))
    assert result.data == {"where": None}
    assert "no path" in str(result.errors)


async def test_an_instant_is_told_in_utc_whatever_its_zone() -> None:
    result = await alike(SCHEMA, '{ since(instant: "2026-01-01T01:00:00.5+01:30") }', context=Asked)
    assert result.data == {"since": datetime(2025, 12, 31, 23, 30, 0, 500000, UTC).isoformat().replace("+00:00", "Z")}


ECHO = build_schema(
    "input Part { names: [String!] part: Part } type Query { echo(part: Part, parts: [Part!]): String }"
)
WITH_VARIABLES = [
    "($name: String!) { echo(part: {names: [$name]}) }",
    "($name: String!) { echo(part: {part: {part: {names: [$name]}}}) }",
    '($name: String!) { echo(parts: [{names: ["a"]}, {names: ["b", $name]}]) }',
    "($part: Part) { echo(part: {names: []}, parts: [{}, {part: $part}]) }",
]


@pytest.mark.parametrize("text", WITH_VARIABLES)
async def test_a_variable_within_an_argument_is_what_each_run_gives_it(text: str) -> None:
    levels, document = Levels(), parse(f"query {text}")
    for name in ("one", "two"):
        result = await levels.execute(
            ECHO,
            document,
            root_value={"echo": lambda _, **given: str(given)},
            variable_values={"name": name, "part": {"names": [name]}},
        )
        assert result.data
        assert name in result.data["echo"]
