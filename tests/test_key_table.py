"""The table of a project's issued keys: searched, filtered, ordered by any column, and read page by page."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import clock, counting, key_table, keys, usage
from gateway.errors import BadInput
from gateway.key_table import BY_USAGE, Column, Query
from gateway.pages import Page, Slice
from gateway.permissions import Actor, Permission
from gateway.pricing import Period
from models import IssuedKey, KeyState, Project, Template
from models.fields import fold, named
from tests.asking import answer_to, codes, context_of
from tests.statements import statements
from tests.world import SEALER, issued_key, join, owned_project, person, role, template

ORDERS = [(column, descending) for column in Column for descending in (False, True)]
EACH_ON_ITS_OWN = [HealthCheck.function_scoped_fixture]  # examples read, or begin with a project of their own
DOTLESS = "\N{LATIN SMALL LETTER DOTLESS I}"
NAMES = ["Straße", "STRASSE 2", "КАРТЫ", "карты 2", "İzmir", "izmir", f"{DOTLESS}ğd{DOTLESS}r"]
NAMES += ["Cafe\u0301", "CAFÉ", "ﬁne", "Zoë", "100%_a"]


class Scene:
    """Olga's project, whose keys have names and holders of the same names, and calls in the last week."""

    olga: Actor
    project: Project
    template: Template
    now: datetime

    async def start_anew(self) -> None:
        self.project = await owned_project(self.olga)
        self.template = await template(self.project, await role(self.project, Permission.PROJECT_VIEW))

    async def issue(self, name: str = "Basic", holder: Actor | None = None, **columns: Any) -> IssuedKey:
        return await issued_key(self.template, holder or await a_person(name), **named(name), **columns)

    @property
    def week(self) -> Period:
        return Period(self.now - timedelta(days=7), self.now)

    async def page(self, query: Query, part: Slice | None = None, period: Period | None = None) -> Page[IssuedKey]:
        return (await self.pages([self.project], query, part, period))[self.project.id]

    async def pages(
        self, projects: list[Project], query: Query, part: Slice | None = None, period: Period | None = None
    ) -> dict[str, Page[IssuedKey]]:
        ids, at = [project.id for project in projects], self.now
        part, period, kept_from = part or Slice(first=100), period or self.week, at - timedelta(days=400)
        return await key_table.pages_of_projects(self.olga, ids, query, period, part, SEALER, at, kept_from)

    async def names(self, **wanted: Any) -> list[str]:
        return [key.name for key in (await self.page(Query(**wanted))).rows]


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.olga, made.now = await person("Olga"), clock.now()
    await made.start_anew()
    return made


COUNTER = iter(range(10**9))


async def a_person(name: str) -> Actor:
    return await person(name, f"{next(COUNTER)}@example.org")


@pytest.fixture
async def full(scene: Scene) -> Scene:
    await fill(scene)
    return scene


async def fill(scene: Scene) -> None:
    """A project with nine keys: three names, three holders' names, and calls so that every column has ties."""
    await scene.start_anew()
    calls = []
    for number in range(9):
        holder = await a_person("ABC"[number // 3])
        key = await scene.issue("xyz"[number % 3], holder)
        call = counting.Call(key.id, scene.now - timedelta(days=1), Decimal("0.1") * (number % 4))
        calls += [call] * (number % 2 + 1)
    await counting.record(calls)


# Searching


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("strasse", ["Straße", "STRASSE 2"]),
        ("STRAßE", ["Straße", "STRASSE 2"]),
        ("картЫ", ["КАРТЫ", "карты 2"]),
        ("İZ", ["İzmir"]),
        ("zmir", ["İzmir", "izmir"]),
        ("IĞDIR", []),
        (f"{DOTLESS}Ğ", [f"{DOTLESS}ğd{DOTLESS}r"]),
        ("café", ["Cafe\u0301", "CAFÉ"]),
        ("FI", ["ﬁne"]),
        ("ZOE\u0308", ["Zoë"]),
        ("%", ["100%_a"]),
        ("_", ["100%_a"]),
        ("\\", []),
        ("\0", []),
        ("", NAMES),
        ("x" * 60_000, []),
    ],
)
async def test_a_search_folds_case_in_every_alphabet(scene: Scene, search: str, found: list[str]) -> None:
    for name in NAMES:
        await scene.issue(name, await a_person("Bo"))
    assert sorted(await scene.names(search=search)) == sorted(found)


async def test_a_search_looks_at_the_key_and_at_its_holder(scene: Scene) -> None:
    await scene.issue("Straße", await a_person("Bo"))
    await scene.issue("Basic", await a_person("STRASSER"))
    await scene.issue("Pro", await a_person("Eve"))
    assert sorted(await scene.names(search="strasse")) == ["Basic", "Straße"]


PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
CLOSE = st.text(st.sampled_from("aAßsSiIİ\u0131\u0435\u0415é\u0301%_\\ﬁ"), min_size=1, max_size=5)


@settings(max_examples=20, suppress_health_check=EACH_ON_ITS_OWN)
@given(names=st.lists(PRINTABLE | CLOSE, min_size=1, max_size=5), search=st.text(max_size=2) | CLOSE)
async def test_every_database_searches_and_sorts_as_python_folds(scene: Scene, names: list[str], search: str) -> None:
    await scene.start_anew()
    holder = "\N{SNOWMAN}"
    for name in names:
        await scene.issue(name, await a_person(holder))
    listed = await scene.names(search=search, column=Column.NAME, descending=False)
    wanted = [name for name in names if fold(search) in fold(name) or fold(search) in holder]
    assert listed == sorted(wanted, key=fold)


# States


async def test_a_filter_by_state_goes_by_the_clock(scene: Scene) -> None:
    """A key whose time is over is expired, also before that was told, and unless it was revoked."""
    now, past, future = scene.now, scene.now - timedelta(days=1), scene.now + timedelta(days=1)
    suspended: dict[str, Any] = {"state": KeyState.SUSPENDED, "suspended_at": past}
    revoked: dict[str, Any] = {"state": KeyState.REVOKED, "revoked_at": past}
    made = [
        await scene.issue(**columns)
        for columns in (
            {},
            {"expires_at": future},
            {"expires_at": now},
            {"expires_at": past, "state": KeyState.EXPIRED},
            suspended,
            {"expires_at": past, **suspended},
            revoked,
            {"expires_at": past, **revoked},
        )
    ]
    subsets = chain.from_iterable(combinations(KeyState, size) for size in range(5))
    for states in subsets:
        page = await scene.page(Query(states=states))
        wanted = [key.id for key in reversed(made) if keys.present_state(key, now) in states]
        assert ([key.id for key in page.rows], await page.count()) == (wanted, len(wanted))
    assert len((await scene.page(Query(states=None))).rows) == len(made)


# Orders


async def values_of(scene: Scene, column: Column) -> dict[str, Any]:
    """What each key is ordered by."""
    listed = await IssuedKey.filter(project_id=scene.project.id).select_related("user")
    totals = await usage.of_keys([key.id for key in listed], scene.week)
    read: dict[Column, Callable[[IssuedKey], Any]] = {
        Column.NAME: lambda key: key.name_folded,
        Column.USER: lambda key: key.user.name_folded,
        Column.RECEIVED_AT: lambda key: key.received_at,
        Column.REQUESTS: lambda key: totals[key.id].requests,
        Column.TOTAL: lambda key: totals[key.id].cost,
    }
    return {key.id: read[column](key) for key in listed}


async def wanted_order(scene: Scene, column: Column, *, descending: bool) -> list[str]:
    values = await values_of(scene, column)
    return sorted(values, key=lambda id: (values[id], id), reverse=descending)


@pytest.mark.parametrize(("column", "descending"), ORDERS)
async def test_keys_stand_in_the_order_of_any_column_and_ties_by_id(
    full: Scene, column: Column, descending: bool
) -> None:
    values = await values_of(full, column)
    assert column is Column.RECEIVED_AT or len(set(values.values())) < len(values)
    listed = (await full.page(Query(column=column, descending=descending))).rows
    assert [key.id for key in listed] == await wanted_order(full, column, descending=descending)


async def read_all(scene: Scene, query: Query, size: int, *, backwards: bool) -> list[list[str]]:
    """The pages of the table, in the order of the table, read from its beginning or from its end."""
    found: list[list[str]] = []
    part = Slice(last=size) if backwards else Slice(first=size)
    while True:
        page = await scene.page(query, part)
        found.insert(0 if backwards else len(found), [key.id for key in page.rows])
        assert (page.has_previous if not backwards else page.has_next) == (len(found) > 1)
        if not (page.has_previous if backwards else page.has_next):
            return found
        edge = page.cursor(page.rows[0 if backwards else -1])
        part = Slice(last=size, before=edge) if backwards else Slice(first=size, after=edge)


@settings(max_examples=40, suppress_health_check=EACH_ON_ITS_OWN)
@given(order=st.sampled_from(ORDERS), size=st.integers(1, 11), backwards=st.booleans(), is_search=st.booleans())
async def test_pages_of_any_size_cover_the_table_once_from_either_end(
    full: Scene, order: tuple[Column, bool], size: int, backwards: bool, is_search: bool
) -> None:
    query = Query(column=order[0], descending=order[1], search="x" if is_search else "")
    whole = [key.id for key in (await full.page(query)).rows]
    pages = await read_all(full, query, size, backwards=backwards)
    assert list(chain.from_iterable(pages)) == whole
    assert {len(page) for page in (pages[1:] if backwards else pages[:-1])} <= {size}


@settings(max_examples=25, suppress_health_check=EACH_ON_ITS_OWN)
@given(order=st.sampled_from(ORDERS), bounds=st.tuples(st.integers(0, 8), st.integers(0, 8)), backwards=st.booleans())
async def test_a_page_between_two_cursors_holds_what_stands_between_them(
    full: Scene, order: tuple[Column, bool], bounds: tuple[int, int], backwards: bool
) -> None:
    query = Query(column=order[0], descending=order[1])
    whole = await full.page(query)
    after, before = (whole.cursor(whole.rows[place]) for place in bounds)
    between = whole.rows[bounds[0] + 1 : bounds[1]]
    part = Slice(last=3, after=after, before=before) if backwards else Slice(first=3, after=after, before=before)
    page = await full.page(query, part)
    assert [key.id for key in page.rows] == [key.id for key in (between[-3:] if backwards else between[:3])]


@pytest.mark.parametrize("column", sorted(BY_USAGE))
async def test_an_order_by_usage_needs_a_period(full: Scene, column: Column) -> None:
    at = full.now
    with pytest.raises(BadInput):
        await key_table.pages_of_projects(
            full.olga, [full.project.id], Query(column=column), None, Slice(), SEALER, at, at
        )


@pytest.mark.parametrize(("column", "descending"), ORDERS)
@pytest.mark.parametrize("part", [Slice(first=2), Slice(last=2)])
async def test_the_tables_of_several_projects_are_those_of_each_and_cost_no_more_for_many(
    full: Scene, column: Column, descending: bool, part: Slice
) -> None:
    query = Query(column=column, descending=descending, search="x", states=(KeyState.ACTIVE,))
    projects = [full.project]
    for _ in range(3):
        await fill(full)
        projects.append(full.project)
    with statements() as for_two:
        await full.pages(projects[:2], query, part)
    with statements() as for_four:
        together = await full.pages(projects, query, part)
    assert len(for_two) == len(for_four)
    for project in projects:
        alone, page = (await full.pages([project], query, part))[project.id], together[project.id]
        assert [row.id for row in page.rows] == [row.id for row in alone.rows]
        assert (page.has_next, page.has_previous, await page.count()) == (alone.has_next, alone.has_previous, 3)
        assert [page.cursor(row) for row in page.rows] == [alone.cursor(row) for row in alone.rows]


# Cursors


LISTED = """
query ($id: ID!, $first: Int, $after: String, $search: String, $states: [KeyState!], $order: IssuedKeyOrder,
       $period: PeriodInput) {
  project(id: $id) {
    issuedKeys(first: $first, after: $after, search: $search, states: $states, orderBy: $order, period: $period) {
      nodes { id } pageInfo { endCursor hasNextPage }
    }
  }
}"""
BY_TOTAL = {"field": "TOTAL", "direction": "DESC"}


async def listed(scene: Scene, at: datetime, **variables: Any) -> Any:
    answer = await answer_to(context_of(scene.olga, at), LISTED, id=scene.project.id, **variables)
    assert "errors" not in answer, answer
    return answer["data"]["project"]["issuedKeys"]


async def test_the_next_page_of_the_last_days_is_of_the_same_days(full: Scene) -> None:
    """However late it is asked for, and whatever is called meanwhile."""
    whole = await wanted_order(full, Column.TOTAL, descending=True)
    found, after = [], None
    for day in range(9):
        at = full.now + timedelta(days=day)
        page = await listed(full, at, first=1, after=after, order=BY_TOTAL, period={"lastDays": 7})
        found += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        assert page["pageInfo"]["hasNextPage"] is (day < 8)
        await counting.record([counting.Call(whole[-1], at + timedelta(hours=1), Decimal(1000))])
    assert found == whole


GIVEN = {"first": 1, "search": "x", "states": ["ACTIVE"], "order": BY_TOTAL, "period": {"lastDays": 7}}


@pytest.mark.parametrize(
    "other",
    [
        {"search": "y"},
        {"search": None},
        {"states": None},
        {"states": ["ACTIVE", "EXPIRED"]},
        {"order": {"field": "TOTAL", "direction": "ASC"}},
        {"order": {"field": "REQUESTS", "direction": "DESC"}},
        {"order": {"field": "NAME", "direction": "DESC"}},
        {"order": None},
        {"period": {"lastDays": 8}},
        {"period": {"month": {"month": "2026-11"}}},
        {"period": None},
    ],
)
async def test_a_cursor_serves_no_other_filter_order_or_period(full: Scene, other: dict[str, Any]) -> None:
    cursor = (await listed(full, full.now, **GIVEN))["pageInfo"]["endCursor"]
    variables = {**GIVEN, **other, "after": cursor}
    assert await codes(context_of(full.olga, full.now), LISTED, id=full.project.id, **variables) == {"BAD_INPUT"}


async def test_a_cursor_serves_no_other_project(full: Scene) -> None:
    cursors = [
        (await listed(full, full.now, **{**GIVEN, "order": order}))["pageInfo"]["endCursor"]
        for order in (BY_TOTAL, {"field": "NAME", "direction": "ASC"})
    ]
    other = await owned_project(full.olga, "Other")
    for cursor, order in zip(cursors, (BY_TOTAL, {"field": "NAME", "direction": "ASC"}), strict=True):
        variables = {**GIVEN, "order": order, "after": cursor}
        assert await codes(context_of(full.olga), LISTED, id=other.id, **variables) == {"BAD_INPUT"}


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "\0", "é"])
async def test_a_cursor_that_was_never_given_is_bad_input(full: Scene, cursor: str) -> None:
    for order in (BY_TOTAL, None):
        variables = {**GIVEN, "order": order, "after": cursor}
        assert await codes(context_of(full.olga), LISTED, id=full.project.id, **variables) == {"BAD_INPUT"}


async def test_the_period_is_no_part_of_an_order_that_does_not_look_at_it(full: Scene) -> None:
    by_name = {"first": 1, "order": {"field": "NAME", "direction": "ASC"}}
    first = await listed(full, full.now, period={"lastDays": 7}, **by_name)
    second = await listed(full, full.now, period={"lastDays": 8}, after=first["pageInfo"]["endCursor"], **by_name)
    assert first["nodes"] != second["nodes"]


# Counting


@pytest.mark.parametrize("column", list(Column))
async def test_all_rows_under_the_filter_are_counted_and_only_when_asked_for(full: Scene, column: Column) -> None:
    query = Query(column=column, search="x")
    with statements() as sent:
        page = await full.page(query, Slice(first=2))
    reading = len(sent)
    with statements() as sent:
        assert await page.count() == 3
    assert len(page.rows) == 2
    assert (reading, len(sent)) == ((3, 0) if column in BY_USAGE else (1, 1))


# Who sees it


async def test_the_table_is_for_those_who_may_view_keys(full: Scene) -> None:
    analyst, viewer = await person("Ana"), await person("Vera")
    await join(full.project, analyst, await role(full.project, Permission.KEYS_VIEW, name="Analyst"))
    await join(full.project, viewer, await role(full.project, Permission.PROJECT_VIEW, name="Viewer"))

    async def shown_to(actor: Actor) -> Any:
        answer = await answer_to(context_of(actor), LISTED, id=full.project.id)
        return answer["data"]["project"]["issuedKeys"]

    assert len((await shown_to(analyst))["nodes"]) == 9
    assert await shown_to(viewer) is None
