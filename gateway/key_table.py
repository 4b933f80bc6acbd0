"""The table of a project's issued keys: searched, filtered by state, ordered by any column, usage among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from gateway import keys, pages, usage
from gateway.errors import BadInput
from gateway.names import sought
from gateway.pages import Listing, Page, Slice
from gateway.permissions import Actor
from gateway.pricing import Period, instant_of, micros
from gateway.sealing import Sealer
from models import IssuedKey, KeyState

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


async def page(
    project_id: str,
    query: Query,
    period: Period | None,
    part: Slice,
    sealer: Sealer,
    now: datetime,
    kept_from: datetime,
) -> Page[IssuedKey]:
    """Raises BadInput without the period that an order by usage needs; PeriodTooFine as `usage` does."""
    rows = _filtered(IssuedKey.filter(project_id=project_id).select_related("user"), query, now)
    if query.column not in BY_USAGE:
        sign = "-" if query.descending else ""
        order = tuple(f"{sign}{column}" for column in dict.fromkeys((query.column, "id")))
        return await pages.one(Listing(rows, order, f"{project_id} {query.name}", sealer), part)
    return await _RankedByUsage(project_id, query, part, sealer, kept_from).page(rows, period)


async def pages_of_templates(
    _: Actor, template_ids: Sequence[str], states: States, part: Slice, sealer: Sealer, now: datetime
) -> dict[str, Page[IssuedKey]]:
    """The newest first."""
    rows = _filtered(IssuedKey.all(), Query(states=states), now)
    return await pages.of_each(
        Listing(rows, ("-id",), f"template keys {states}", sealer), "template_id", template_ids, part
    )


def of_viewer(actor: Actor, states: States, sealer: Sealer, now: datetime) -> Listing[IssuedKey]:
    """The keys that the actor has received, the newest first; a key has itself alone."""
    rows = _filtered(keys.held_by(actor), Query(states=states), now)
    return Listing(rows, ("-id",), f"viewer keys {actor.id} {states}", sealer)


def _filtered(rows: QuerySet[IssuedKey], query: Query, now: datetime) -> QuerySet[IssuedKey]:
    if query.search:
        text = sought(query.search)
        rows = rows.filter(Q(name_folded__contains=text) | Q(user__name_folded__contains=text))
    return rows if query.states is None else rows.filter(keys.in_states(query.states, now))


Rank = tuple[int, int, str]
"""Requests and nothing, or units and fraction of a total; then the key's id."""


@dataclass(frozen=True)
class _RankedByUsage:
    """An order that no index has: the totals of all keys of the project are read, ranked here, and one page fetched.

    Cursors carry the period's instants, so that the next page of "the last 30 days" is of the same 30 days.
    """

    project_id: str
    query: Query
    part: Slice
    sealer: Sealer
    kept_from: datetime

    async def page(self, rows: QuerySet[IssuedKey], period: Period | None) -> Page[IssuedKey]:
        bounds = [self._take(cursor) for cursor in (self.part.after, self.part.before)]
        fixed = next((bound[0] for bound in bounds if bound), period)
        if fixed is None:
            raise BadInput("Ordering by REQUESTS or TOTAL needs a period.")
        ranks = await self._ranks(rows, fixed)
        wanted = self._sliced(sorted(ranks.values(), reverse=self.query.descending), *bounds)
        found = await IssuedKey.filter(id__in=[rank[-1] for rank in wanted])
        by_id = {key.id: key for key in found}
        listed = [by_id[rank[-1]] for rank in wanted]
        return self._page(listed, ranks, fixed)

    async def _ranks(self, rows: QuerySet[IssuedKey], period: Period) -> dict[str, Rank]:
        of_project = await usage.of_projects([self.project_id], usage.Grouping.KEY, period, self.kept_from)
        totals = of_project[self.project_id]
        ids: list[str] = await rows.values_list("id", flat=True)  # type: ignore[assignment]  # Tortoise types it as rows
        return {id: self._rank(id, totals.get(id, usage.Totals())) for id in ids}

    def _rank(self, id: str, total: usage.Totals) -> Rank:
        by_total = self.query.column is Column.TOTAL
        return (total.cost.units, total.cost.fraction, id) if by_total else (total.requests, 0, id)

    def _sliced(
        self, ranks: list[Rank], after: tuple[Period, Rank] | None, before: tuple[Period, Rank] | None
    ) -> list[Rank]:
        """One more than the page's size where there are more, in the slice's direction."""
        down = self.query.descending
        inside = [
            rank
            for rank in ranks
            if (after is None or (rank < after[1] if down else rank > after[1]))
            and (before is None or (rank > before[1] if down else rank < before[1]))
        ]
        return (inside[::-1] if self.part.backwards else inside)[: self.part.size + 1]

    def _page(self, rows: list[IssuedKey], ranks: dict[str, Rank], period: Period) -> Page[IssuedKey]:
        async def count() -> int:
            return len(ranks)

        listing = Listing(IssuedKey.all(), ("id",), "", self.sealer)
        made = listing.page(rows, self.part, count)
        return Page(made.rows, made.has_next, made.has_previous, self._giver(ranks, period), count)

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
