"""Statements that are asked again and again: built by the ORM once for each kind of caller, then filled in.

To build a statement costs the ORM more than the database takes to answer it.

    @prepared
    def _living(actor: Actor, project_ids: list[str]) -> QuerySet[Template]:
        return Template.filter(deleted_at=None, project_id__in=projects_seen(actor), id__in=project_ids)

    for template in await _living(actor, project_ids): ...

What fills it in are texts, all of them ids, lists of ids, instants, and callers; everything else that it is called with
makes another statement. The function meets stand-ins, of which it can't tell one from another, and is called once.
"""

import re
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache, wraps
from itertools import count, zip_longest
from typing import Any, NamedTuple, ParamSpec, Protocol, Self, TypeVar

import orjson
from tortoise.context import require_context
from tortoise.models import Model
from tortoise.queryset import QuerySet

from gateway.gathering import Asked, Statement, alone, asked_rows
from gateway.rows import Making, light_rows, models
from models.fields import all_askable, askable

KEPT = 1000
PLACE = {"sqlite": re.compile(r"\?"), "postgres": re.compile(r"\$\d+")}
BETWEEN_IDS = "\x1f"
"""In no text that can be asked for as an id."""
FIRST_STAND_IN = datetime(1000, 1, 1, tzinfo=UTC)

Parameters = ParamSpec("Parameters")
Row = TypeVar("Row", bound=Model)
Batch = TypeVar("Batch", bound=Callable[..., Any])


class Caller(Protocol):
    """Whose ids fill in a statement; which of them there are makes another one."""

    @property
    def ids(self) -> tuple[str | None, ...]: ...

    @classmethod
    def standing_in(cls, ids: Sequence[str | None]) -> Self: ...


Columns = tuple[str, ...] | None
"""Those of a table that will be read, `reference__name` for what it refers to; None for all."""


class Built(NamedTuple):
    """A statement, what fills it in (lists of ids as `array_of` has them), and what its rows become; if anything."""

    sql: str
    values: Sequence[Any]
    columns: tuple[str, ...]
    making: Making | None

    def statement(self, dialect: str) -> Statement:
        return Statement(dialect, self.sql, self.columns, self.making)


def built(query: Any, making: Making | None) -> Built:
    """What Tortoise would send."""
    query.sql()  # builds the statement, whose parameters the next line has
    sql, values = query.query.get_parameterized_sql()
    columns = tuple([term.alias or term.name for term in query.query._selects])  # noqa: SLF001  Tortoise has no other way
    return Built(sql, values, columns, making)


def prepared(build: Callable[Parameters, QuerySet[Row]]) -> Callable[Parameters, Awaitable[list[Row]]]:
    """The rows of a query that depends on nothing but its arguments."""

    @wraps(build)
    async def read(*arguments: Parameters.args, **_: Parameters.kwargs) -> list[Row]:
        return await rows_of(_of_models, build, *arguments)

    return read


def shown(build: Callable[Parameters, QuerySet[Row]]) -> Callable[Parameters, Awaitable[list[Row]]]:
    """As `prepared`, of rows that are only shown: light ones, which stand for their models."""

    @wraps(build)
    async def read(*arguments: Parameters.args, **_: Parameters.kwargs) -> list[Row]:
        return await rows_of(_of_light_rows, build, *arguments)

    return read


def narrowed(rows: QuerySet[Row], columns: Columns, *more: str) -> QuerySet[Row]:
    """The rows with these columns and more of their own table, and no others."""
    return rows if columns is None else rows.only(*sorted({*columns, *more}))


def narrows(model: type[Model]) -> Callable[[Batch], Batch]:
    """Says of a batch that it finds rows of this model, and takes `columns` where not all of them will be read."""

    def declare(batch: Batch) -> Batch:
        batch.narrows = model  # type: ignore[attr-defined]  # told beside it, for whoever knows what will be read
        return batch

    return declare


def prepared_values(build: Callable[Parameters, Any]) -> Callable[Parameters, Awaitable[list[Any]]]:
    """As `prepared`, of a `values_list`: each row a sequence of values, as the driver gives them."""

    @wraps(build)
    async def read(*arguments: Parameters.args, **_: Parameters.kwargs) -> list[Any]:
        return await rows_of(_of_values, build, *arguments)

    return read


async def found_by_id(model: type[Row], ids: Iterable[str], columns: Columns = None) -> dict[str, Row]:
    """Those that there are, to be shown, by their ids."""
    return {row.id: row for row in await _by_id(model, list(ids), columns)}  # type: ignore[attr-defined]  # of every model


@shown
def _by_id(model: type[Row], ids: list[str], columns: Columns) -> QuerySet[Row]:
    return narrowed(model.filter(id__in=ids), columns, "id")


def _of_models(build: Callable[..., QuerySet[Any]], *arguments: Any) -> Built:
    queryset = build(*arguments)
    model: type[Model] = queryset.model
    return built(queryset, Making(model, models))


def _of_light_rows(build: Callable[..., QuerySet[Any]], *arguments: Any) -> Built:
    queryset = build(*arguments)
    model: type[Model] = queryset.model
    return built(queryset, Making(model, light_rows))


def _of_values(build: Callable[..., Any], *arguments: Any) -> Built:
    return built(build(*arguments), None)


async def rows_of(build: Callable[..., Built], *arguments: Any) -> list[Any]:
    """The rows of the statement that is built so, which depends on nothing but these arguments."""
    database = require_context().db()
    dialect = database.capabilities.dialect
    given: list[Any] = []
    shapes = tuple([_noted(argument, given, dialect) for argument in arguments])
    kept = _kept(dialect, build, shapes)
    return await asked_rows(Asked(kept.statement, kept.filled(given)))


async def rows_once(built: Built) -> list[Any]:
    """The rows of a statement that isn't kept."""
    dialect = require_context().db().capabilities.dialect
    values = [_as_text(value, dialect) if isinstance(value, list) else value for value in built.values]
    return await alone(Asked(built.statement(dialect), values))


class _Filled(Enum):
    """What stands in the place of an argument that fills in a statement."""

    ID = "an id"
    IDS = "ids"
    INSTANT = "an instant"


class _FilledByCaller(NamedTuple):
    kind: type[Caller]
    has: tuple[bool, ...]


def _noted(argument: Any, given: list[Any], dialect: str) -> Hashable:
    """What an argument says of the statement; what it fills in is added to what is given."""
    if isinstance(argument, list):
        given.append(_as_text(argument, dialect))
        return _Filled.IDS
    if type(argument) is str:
        given.append(askable(argument))
        return _Filled.ID
    if isinstance(argument, datetime):
        given.append(argument)
        return _Filled.INSTANT
    if hasattr(argument, "standing_in"):
        given.extend(argument.ids)
        return _FilledByCaller(type(argument), tuple(id is not None for id in argument.ids))
    shape: Hashable = argument
    return shape


@dataclass(frozen=True)
class _Kept:
    statement: Statement
    places: Sequence[tuple[int | None, Any]]
    """What stands at each place: what was given, by its number, or else a value."""

    def filled(self, given: Sequence[Any]) -> list[Any]:
        return [value if number is None else given[number] for number, value in self.places]


@lru_cache(KEPT)
def _kept(dialect: str, build: Callable[..., Built], shapes: tuple[Hashable, ...]) -> _Kept:
    numbers = count()
    sql, values, columns, making = build(*[_stand_in(shape, numbers) for shape in shapes])
    parts, marks = PLACE[dialect].split(sql), PLACE[dialect].findall(sql)
    lists = {index for index, shape in _numbered(shapes) if shape is _Filled.IDS}
    places = [(_number(value), value) for value in values]
    for index, (number, value) in enumerate(places):
        if number in lists and not isinstance(value, list):
            parts[index], marks[index], parts[index + 1] = _any_of(
                dialect, parts[index], marks[index], parts[index + 1]
            )
    sql = "".join(map("".join, zip_longest(parts, marks, fillvalue="")))
    return _Kept(Statement(dialect, sql, columns, making), places)


def _any_of(dialect: str, before: str, mark: str, after: str) -> tuple[str, str, str]:
    """One place for any number of ids, where the ORM has one for each."""
    if not before.endswith(" IN (") or before.endswith(" NOT IN (") or not after.startswith(")"):
        raise ValueError("Ids are asked for by `__in` alone.")
    if dialect == "sqlite":
        return before, f"SELECT value FROM json_each({mark})", after  # noqa: S608  # a mark is `?`
    return before.removesuffix(" IN ("), f" = ANY({array_of(mark)})", after.removeprefix(")")


def array_of(mark: str) -> str:
    """On PostgreSQL the ids that are passed at this place: as one text, since its driver takes long over arrays."""
    return f"string_to_array({mark}, chr({ord(BETWEEN_IDS)}))"


def _as_text(ids: list[str], dialect: str) -> str:
    ids = all_askable(ids)
    return orjson.dumps(ids).decode() if dialect == "sqlite" else BETWEEN_IDS.join(ids)


def _numbered(shapes: Sequence[Hashable]) -> Iterator[tuple[int, Hashable]]:
    """Each shape, by the number of the first that it gives."""
    number = 0
    for shape in shapes:
        yield number, shape
        number += len(shape.has) if isinstance(shape, _FilledByCaller) else isinstance(shape, _Filled)


def _stand_in(shape: Hashable, numbers: Iterator[int]) -> Any:
    if isinstance(shape, _FilledByCaller):
        texts = [_text(next(numbers)) for _ in shape.has]
        return shape.kind.standing_in([text if has else None for text, has in zip(texts, shape.has, strict=True)])
    if shape is _Filled.IDS:
        return [_text(next(numbers))]
    if shape is _Filled.ID:
        return _text(next(numbers))
    return FIRST_STAND_IN + timedelta(seconds=next(numbers)) if shape is _Filled.INSTANT else shape


def _text(number: int) -> str:
    return f"~{number}~"


def _number(value: Any) -> int | None:
    """Which of what was given a stand-in stands for, or the only one in a list. ValueError for a changed one."""
    if isinstance(value, list):
        (value,) = value
    if isinstance(value, datetime) and value.year == FIRST_STAND_IN.year:
        return int((value - FIRST_STAND_IN).total_seconds())
    if not isinstance(value, str) or "~" not in value:
        return None
    return int(value.removeprefix("~").removesuffix("~"))
