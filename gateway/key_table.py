"""The table of a project's issued keys: searched, filtered by state, ordered by any column, usage among them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from gateway import keys, pages, usage
from gateway.errors import BadInput
from gateway.names import sought
from gateway.pages import Listing, Page, Slice
from gateway.permissions import Actor
from gateway.prepared import Columns, narrows
from gateway.pricing import Period, instant_of, micros
from gateway.sealing import Sealer
from models import IssuedKey, KeyState, User

States = tuple[KeyState, ...] | None


class Column(StrEnum):
    NAME = "name_folded"
    USER = "user__name_folded"
    RECEIVED_AT = "id"
    REQUESTS = "requests"
    TOTAL = "total"


BY_USAGE = frozenset({Column.REQUESTS, Column.TOTAL})


@dataclass(frozen=True)
class Query:
    """What is asked of the table. `period_text` is the period as it was given, before it was resolved to instants."""

    search: str = ""
    states: States = None
    column: Column = Column.RECEIVED_AT
    descending: bool = True
    period_text: str = ""

    @property
    def name(self) -> str:
        period_text = self.period_text if self.column in BY_USAGE else ""
        return f"issued keys {self.search!r} {self.states} {self.column} {self.descending} {period_text}"


async def pages_of_projects(
    _: Actor,
    project_ids: Sequence[str],
    query: Query,
    period: Period | None,
    part: Slice,
    sealer: Sealer,
    now: datetime,
    kept_from: datetime,
) -> dict[str, Page[IssuedKey]]:
    """Raises BadInput without the period that an order by usage needs; PeriodTooFine as `usage` does."""
    rows = _filtered(IssuedKey.filter(project_id__in=project_ids), query, now)
    if query.column in BY_USAGE:
        tables = [_RankedByUsage(project_id, query, part, sealer) for project_id in project_ids]
        return await _ranked_pages(tables, rows, period, kept_from)
    with_users = rows.select_related("user")
    listings = {project_id: _listing(project_id, with_users, query, sealer) for project_id in project_ids}
    if len(listings) == 1:
        return {project_id: await pages.one(listing, part) for project_id, listing in listings.items()}
    found = await pages.of_each(_listing("", rows, query, sealer), "project_id", project_ids, part)
    return {project_id: replace(page, cursor=listings[project_id].give_cursor) for project_id, page in found.items()}


def _listing(project_id: str, rows: QuerySet[IssuedKey], query: Query, sealer: Sealer) -> Listing[IssuedKey]:
    sign = "-" if query.descending else ""
    order = tuple(f"{sign}{column}" for column in dict.fromkeys((query.column, "id")))
    return Listing(lambda: rows, order, f"{project_id} {query.name}", sealer)


def users_at_hand(page: Page[IssuedKey]) -> list[User]:
    """The holders, as far as they were read with their keys."""
    holders = [getattr(key, "user_at_hand", None) for key in page.rows]
    return [holder for holder in holders if holder]


@narrows(IssuedKey)
async def pages_of_templates(
    _: Actor,
    template_ids: Sequence[str],
    states: States,
    part: Slice,
    sealer: Sealer,
    now: datetime,
    *,
    columns: Columns = None,
) -> dict[str, Page[IssuedKey]]:
    """The newest first."""

    def rows() -> QuerySet[IssuedKey]:
        return _filtered(IssuedKey.all(), Query(states=states), now)

    listing = Listing(rows, ("-id",), f"template keys {states}", sealer, is_all_of_name=states is None)
    return await pages.of_each(listing, "template_id", template_ids, part, columns)


def of_viewer(actor: Actor, states: States, sealer: Sealer, now: datetime) -> Listing[IssuedKey]:
    """The keys that the actor has received, the newest first; a key has itself alone."""
    rows = _filtered(keys.held_by(actor), Query(states=states), now)
    return Listing(lambda: rows, ("-id",), f"viewer keys {actor.id} {states}", sealer)


def _filtered(rows: QuerySet[IssuedKey], query: Query, now: datetime) -> QuerySet[IssuedKey]:
    if query.search:
        text = sought(query.search)
        rows = rows.filter(Q(name_folded__contains=text) | Q(user__name_folded__contains=text))
    return rows if query.states is None else rows.filter(keys.in_states(query.states, now))


Rank = tuple[int, int, str]
"""Requests and nothing, or units and fraction of a total; then the key's id."""


@dataclass(frozen=True)
class _RankedByUsage:
    """The table of one project in an order that no index has.

    Cursors carry the period's instants, so that the next page of "the last 30 days" is of the same 30 days.
    """

    project_id: str
    query: Query
    part: Slice
    sealer: Sealer

    @property
    def bounds(self) -> list[tuple[Period, Rank] | None]:
        """What the slice's cursors say. Raises BadInput for one of another table."""
        return [self._take(cursor) for cursor in (self.part.after, self.part.before)]

    def rank(self, id: str, total: usage.Totals) -> Rank:
        by_total = self.query.column is Column.TOTAL
        return (total.cost.units, total.cost.fraction, id) if by_total else (total.requests, 0, id)

    def sliced(self, ranks: Iterable[Rank]) -> list[Rank]:
        """One more than the page's size where there are more, in the slice's direction."""
        down = self.query.descending
        after, before = self.bounds
        inside = [
            rank
            for rank in sorted(ranks, reverse=down)
            if (after is None or (rank < after[1] if down else rank > after[1]))
            and (before is None or (rank > before[1] if down else rank < before[1]))
        ]
        return (inside[::-1] if self.part.backwards else inside)[: self.part.size + 1]

    def page(self, rows: list[IssuedKey], ranks: dict[str, Rank], period: Period) -> Page[IssuedKey]:
        async def count() -> int:
            return len(ranks)

        listing = Listing(IssuedKey.all, ("id",), "", self.sealer)
        return replace(listing.page(rows, self.part, count), cursor=self._giver(ranks, period))

    def _giver(self, ranks: dict[str, Rank], period: Period) -> Callable[[IssuedKey], str]:
        instants = [micros(period.start), micros(period.end)]
        return lambda key: pages.seal(self.sealer, self._name, [*instants, *ranks[key.id]])

    def _take(self, cursor: str | None) -> tuple[Period, Rank] | None:
        if cursor is None:
            return None
        start, end, first, second, id = pages.take(self.sealer, self._name, cursor)
        return Period(instant_of(start), instant_of(end)), (first, second, id)

    @property
    def _name(self) -> str:
        return f"{self.project_id} {self.query.name}"


async def _ranked_pages(
    tables: Sequence[_RankedByUsage], rows: QuerySet[IssuedKey], period: Period | None, kept_from: datetime
) -> dict[str, Page[IssuedKey]]:
    """The totals of all keys of the projects are read and ranked here, and the rows of the pages fetched."""
    fixed = next((bound[0] for table in tables for bound in table.bounds if bound), period)
    if fixed is None:
        raise BadInput("Ordering by REQUESTS or TOTAL needs a period.")
    ranks: dict[str, dict[str, Rank]] = {table.project_id: {} for table in tables}
    totals = await usage.of_projects(list(ranks), usage.Grouping.KEY, fixed, kept_from)
    for id, project_id in await rows.values_list("id", "project_id"):
        ranks[project_id][id] = tables[0].rank(id, totals[project_id].get(id, usage.Totals()))
    wanted = {table.project_id: table.sliced(ranks[table.project_id].values()) for table in tables}
    ids = [rank[-1] for found in wanted.values() for rank in found]
    by_id = {key.id: key for key in await IssuedKey.filter(id__in=ids).select_related("user")}
    return {
        table.project_id: table.page(
            [by_id[rank[-1]] for rank in wanted[table.project_id]], ranks[table.project_id], fixed
        )
        for table in tables
    }
