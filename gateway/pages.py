"""Pages of lists, by keyset: a cursor holds the sort values of its row, so that changes elsewhere never shift a page.

(https://use-the-index-luke.com/no-offset; the shape is that of the GraphQL Cursor Connections specification.)
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from operator import attrgetter
from typing import Any, Generic, TypeVar

from tortoise.expressions import Q, RawSQL
from tortoise.functions import Count
from tortoise.models import Model
from tortoise.queryset import QuerySet

from gateway.database import connection
from gateway.errors import BadInput
from gateway.prepared import Built, Columns, array_of, built, narrowed, rows_of, rows_once
from gateway.rows import Light, Making, light_rows
from gateway.sealing import Sealer, Unsealable

LARGEST = 100
DEFAULT = 20

THE_PARENT = "~the parent~"
"""Stands for the id of whichever parent it is, until the statement is written."""

Row = TypeVar("Row", bound=Model)
Values = list[Any]
Counting = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Slice:
    """Which part of a list: the `first` n rows `after` a cursor, or the `last` n `before` one. Raises BadInput."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None:
            raise BadInput("Ask for the first rows or for the last, not for both.")
        if not 1 <= self.size <= LARGEST:
            raise BadInput(f"A page has 1 to {LARGEST} rows.")

    @cached_property
    def size(self) -> int:
        if self.first is not None:
            return self.first
        return DEFAULT if self.last is None else self.last

    @cached_property
    def backwards(self) -> bool:
        return self.last is not None


@dataclass(slots=True, eq=False)
class Page(Generic[Row]):
    rows: list[Row]
    has_next: bool
    has_previous: bool
    cursor: Callable[[Row], str]
    count: Counting
    """Counts all rows of the list, in a statement of its own; for when it is asked for."""


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """Rows in an order: columns, with `-` before one that descends; the last of them is unique.

    `name` says which list this is, with its filter and order: a cursor of one serves no other.
    """

    rows: Callable[[], QuerySet[Row]]
    """Builds them, where the statement isn't kept already."""
    order: tuple[str, ...]
    name: str
    sealer: Sealer
    is_all_of_name: bool = False
    """Whether the rows depend on nothing but the name, so that one statement serves all of that name."""

    def give_cursor(self, row: Row) -> str:
        return seal(self.sealer, self.name, [_value(row, column.lstrip("-")) for column in self.order])

    def between(self, part: Slice) -> QuerySet[Row]:
        rows = self.rows()
        if part.after is not None:
            rows = rows.filter(self._beyond(take(self.sealer, self.name, part.after)))
        if part.before is not None:
            rows = rows.filter(self._beyond(take(self.sealer, self.name, part.before), reverse=True))
        return rows

    def direction(self, part: Slice) -> list[str]:
        return [_reversed(column) for column in self.order] if part.backwards else list(self.order)

    def page(self, rows: list[Row], part: Slice, count: Counting) -> Page[Row]:
        """Of rows in the slice's direction, one more than its size where there are more."""
        return self.pages([rows], part, [count])[0]

    def pages(self, lists: Iterable[list[Row]], part: Slice, counts: Iterable[Counting]) -> list[Page[Row]]:
        """One of each list, as `page` has it."""
        size, before, after, cursor = part.size, part.before is not None, part.after is not None, self.give_cursor
        if part.backwards:
            return [
                Page(rows[:size][::-1], before, len(rows) > size or after, cursor, count)
                for rows, count in zip(lists, counts, strict=True)
            ]
        return [
            Page(rows[:size], len(rows) > size or before, after, cursor, count)
            for rows, count in zip(lists, counts, strict=True)
        ]

    def _beyond(self, values: Values, *, reverse: bool = False) -> Q:
        """Rows that sort after these values, or before them: `a > x OR a = x AND b > y` for the order (a, b)."""

        def step(rest: Q | None, at: tuple[str, Any]) -> Q:
            column, value = at
            name, descends = column.lstrip("-"), column.startswith("-")
            past = Q(**{f"{name}__{'lt' if descends != reverse else 'gt'}": value})
            return past if rest is None else past | (Q(**{name: value}) & rest)

        steps: Iterable[tuple[str, Any]] = zip(reversed(self.order), reversed(values), strict=True)
        return reduce(step, steps, None) or Q()


async def one(listing: Listing[Row], part: Slice) -> Page[Row]:
    """The page of a list, in one statement."""
    rows = await listing.between(part).order_by(*listing.direction(part)).limit(part.size + 1)
    return listing.page(list(rows), part, lambda: _count(listing.rows()))


async def of_each(
    listing: Listing[Row], parent: str, parent_ids: Sequence[str], part: Slice, columns: Columns = None
) -> dict[str, Page[Row]]:
    """The same page of the list of each parent (a column that refers to them), in one statement for any number."""
    counts = _Once(lambda: count_each(listing.rows(), parent, parent_ids))
    grouped: dict[str, list[Row]] = {parent_id: [] for parent_id in parent_ids}
    rows = await _rows_of_each(listing, parent, list(grouped), part, columns)
    for parent_id, row in zip(map(attrgetter(parent), rows), rows, strict=True):
        grouped[parent_id].append(row)
    pages = listing.pages(grouped.values(), part, [partial(counts.of, parent_id) for parent_id in grouped])
    return dict(zip(grouped, pages, strict=True))


async def _rows_of_each(
    listing: Listing[Row], parent: str, parent_ids: Sequence[str], part: Slice, columns: Columns
) -> list[Row]:
    """The first rows of each parent, one more than a page has, in the slice's direction."""
    if listing.is_all_of_name and part.after is None and part.before is None:
        first = _FirstOfEach(listing.name, listing.order, parent, part, columns, listing)
        return await rows_of(first, list(parent_ids))
    return await rows_once(_first_of_each(listing, parent, parent_ids, part, columns))


@dataclass(frozen=True)
class _FirstOfEach(Generic[Row]):
    """Builds the statement of a listing whose name says all that it depends on."""

    name: str
    order: tuple[str, ...]
    parent: str
    part: Slice
    columns: Columns
    listing: Listing[Row] = field(compare=False)

    def __call__(self, parent_ids: list[str]) -> Built:
        return _first_of_each(self.listing, self.parent, parent_ids, self.part, self.columns)


def _first_of_each(
    listing: Listing[Row], parent: str, parent_ids: Sequence[str], part: Slice, columns: Columns
) -> Built:
    dialect = connection().capabilities.dialect
    write = _by_lateral if dialect == "postgres" else _by_rank
    return write(listing, parent, parent_ids, part, columns)


def _by_lateral(listing: Listing[Row], parent: str, parent_ids: Sequence[str], part: Slice, columns: Columns) -> Built:
    """Reads no more rows of a parent than are wanted, by an index; they come in the order of its own SELECT."""
    wanted = _wanted(listing, parent, part, columns).filter(**{parent: THE_PARENT})
    sql, values, names, _ = built(wanted.order_by(*listing.direction(part)).limit(part.size + 1), None)
    number = list(values).index(THE_PARENT) + 1
    of_one = re.sub(rf"\${number}\b", "parents.id", sql)
    parents = f"unnest({array_of(f'${number}')}) AS parents(id)"
    sql = f"SELECT page.* FROM {parents}, LATERAL ({of_one}) AS page"  # noqa: S608  our own text
    filled = [list(parent_ids) if value == THE_PARENT else value for value in values]
    return Built(sql, filled, names, Making(wanted.model, light_rows))


def _by_rank(listing: Listing[Row], parent: str, parent_ids: Sequence[str], part: Slice, columns: Columns) -> Built:
    wanted, direction = _wanted(listing, parent, part, columns), listing.direction(part)
    table = wanted.model._meta.db_table
    order = ", ".join(f"{_in_sql(table, c.lstrip('-'))} {'DESC' if c.startswith('-') else 'ASC'}" for c in direction)
    place = RawSQL(f"ROW_NUMBER() OVER (PARTITION BY {_in_sql(table, parent)} ORDER BY {order})")
    found = wanted.filter(**{f"{parent}__in": parent_ids})
    numbered = found.order_by(*direction).annotate(place=place)  # ordered, so that it joins what it is ordered by
    sql, values, names, _ = built(numbered, None)
    ranked = f"SELECT * FROM ({sql}) AS numbered WHERE place <= {part.size + 1} ORDER BY place"  # noqa: S608  our own text
    return Built(ranked, values, names, Making(wanted.model, light_rows))


def _wanted(listing: Listing[Row], parent: str, part: Slice, columns: Columns) -> QuerySet[Row]:
    """The rows between the cursors, of whichever parents, with what is read of them here or later."""
    rows = listing.between(part)
    shown = columns or tuple(rows.model._meta.fields_db_projection)
    return narrowed(rows, shown, parent, *(column.lstrip("-") for column in listing.order))


async def count_each(rows: QuerySet[Row], parent: str, parent_ids: Sequence[str]) -> dict[str, int]:
    """How many rows each parent has, in one statement."""
    counted = rows.filter(**{f"{parent}__in": parent_ids}).annotate(quantity=Count("id")).group_by(parent)
    found = dict(await counted.values_list(parent, "quantity"))
    return {parent_id: found.get(parent_id, 0) for parent_id in parent_ids}


class _Once:
    """Counts that several ask for and one of them fetches."""

    def __init__(self, fetch: Callable[[], Coroutine[Any, Any, dict[str, int]]]) -> None:
        self._fetch = fetch
        self._task: asyncio.Task[dict[str, int]] | None = None

    async def of(self, parent_id: str) -> int:
        self._task = self._task or asyncio.create_task(self._fetch())
        counts = await asyncio.shield(self._task)  # one who is cancelled must not take it from the others
        return counts[parent_id]


async def _count(rows: QuerySet[Row]) -> int:
    return await rows.count()


def seal(sealer: Sealer, name: str, values: Values) -> str:
    return sealer.seal_text("page cursor", json.dumps(values).encode(), name)


def take(sealer: Sealer, name: str, cursor: str) -> Values:
    """The sort values in a cursor of this list. Raises BadInput for any other."""
    try:
        values: Values = json.loads(sealer.open_text("page cursor", cursor, name))
    except Unsealable:
        raise BadInput("This cursor is not of this list under this filter and order.") from None
    return values


def _value(row: Model, column: str) -> Any:
    return getattr(row, column) if isinstance(row, Light) else reduce(getattr, column.split("__"), row)


def _in_sql(table: str, column: str) -> str:
    """A column, of the table or of one that Tortoise joins to it."""
    *joined, name = column.split("__")
    return f'"{"__".join([table, *joined])}"."{name}"'


def _reversed(column: str) -> str:
    return column[1:] if column.startswith("-") else f"-{column}"
