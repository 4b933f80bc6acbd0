"""Every page of the schema: its size, its direction, its cursors, which serve one list under one filter alone."""

from dataclasses import dataclass
from typing import Any

import pytest

from gateway import clock
from models import AuditEntry, KeyRequest, ProjectNode, RequestState
from models.fields import named
from tests.asking import answer_to, ask, codes, context_of
from tests.callers import Scene, new_scene
from tests.world import issued_key, join, owned_project, person, template

ROWS = 5
PAGES = {
    "projects": "{ %s }",
    "projectNodes": "query ($id: ID!) { project(id: $id) { %s } }",
    "requests": "query ($id: ID!) { project(id: $id) { %s } }",
    "issuedKeys": "query ($id: ID!) { project(id: $id) { %s } }",
    "members": "query ($id: ID!) { project(id: $id) { %s } }",
    "auditEntries": "query ($id: ID!) { project(id: $id) { %s } }",
    "keys": "{ viewer { %s } }",
    "viewer requests": "{ viewer { %s } }",
    "template requests": "query ($template: ID!) { node(id: $template) { ... on KeyTemplate { %s } } }",
    "template issuedKeys": "query ($template: ID!) { node(id: $template) { ... on KeyTemplate { %s } } }",
}
FILTERS = {
    "projects": 'search: "m"',
    "projectNodes": 'search: "n"',
    "requests": "states: [APPROVED, PENDING]",
    "issuedKeys": 'search: "basic"',
    "auditEntries": 'action: "key.issued"',
    "keys": "states: [ACTIVE]",
    "viewer requests": "states: [APPROVED]",
    "template requests": "states: [APPROVED]",
    "template issuedKeys": "states: [ACTIVE]",
}
BOTH_WAYS = ("requests", "issuedKeys")
BELOW = """{
  edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount
}"""


@pytest.fixture
async def scene(database: str) -> Scene:
    """Of everything that the owner pages through there are at least five."""
    scene = await new_scene()
    owner = scene.owner
    for number in range(ROWS):
        someone = await person(f"Bo {number}")
        await join(scene.project, someone)
        await issued_key(scene.template, someone)
        elsewhere = await owned_project(owner, f"Map {number}")
        await issued_key(await template(elsewhere, scene.spare), owner)
        await KeyRequest.create(
            project=scene.project, template=scene.template, user=someone.user, requested_at=clock.now()
        )
        await ProjectNode.create(project=scene.project, upstream_id=f"n{number}", **named(f"Node {number}"))
        entry: dict[str, Any] = {"action": "key.issued", "object_id": scene.key.id, "project_id": scene.project.id}
        await AuditEntry.create(at=clock.now(), **entry)
    return scene


def query(page: str, arguments: str) -> str:
    return PAGES[page] % f"page: {page.rpartition(' ')[2]}({arguments}) {BELOW}"


def found(data: Any) -> dict[str, Any]:
    """The page, wherever it hangs."""
    while "page" not in data:
        (data,) = data.values()
    page: dict[str, Any] = data["page"]
    return page


@dataclass
class Reader:
    """The owner, turning the pages of one list."""

    scene: Scene
    page: str

    async def read(self, arguments: str) -> dict[str, Any]:
        return found(await ask(self.scene.owner, query(self.page, arguments), **self.variables))

    async def codes(self, arguments: str) -> set[str]:
        return await codes(context_of(self.scene.owner), query(self.page, arguments), **self.variables)

    @property
    def variables(self) -> dict[str, str]:
        return {"id": self.scene.project.id, "template": self.scene.template.id}


def every(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", names or PAGES)


@every()
async def test_pages_that_follow_each_other_hold_every_row_once(scene: Scene, page: str) -> None:
    reader, ids, after = Reader(scene, page), list[str](), "null"
    whole = await reader.read("first: 100")
    for number in range(100):
        part = await reader.read(f"first: 2, after: {after}")
        ids += [row["id"] for row in part["nodes"]]
        assert part["totalCount"] == whole["totalCount"]
        assert part["pageInfo"]["hasPreviousPage"] is (number > 0)
        assert [edge["node"] for edge in part["edges"]] == part["nodes"]
        assert part["pageInfo"]["startCursor"] == part["edges"][0]["cursor"]
        if not part["pageInfo"]["hasNextPage"]:
            break
        after = f'"{part["pageInfo"]["endCursor"]}"'
    assert ids == [row["id"] for row in whole["nodes"]]
    assert len(ids) == len(set(ids)) == whole["totalCount"] >= ROWS


@every()
async def test_the_newest_come_first_but_of_a_projects_requests_the_oldest(scene: Scene, page: str) -> None:
    ids = [row["id"] for row in (await Reader(scene, page).read("first: 100"))["nodes"]]
    assert ids == sorted(ids, reverse=page != "requests")


@every(*BOTH_WAYS)
async def test_pages_backwards_hold_the_same_rows_in_the_same_order(scene: Scene, page: str) -> None:
    reader, ids, before = Reader(scene, page), list[str](), "null"
    while True:
        part = await reader.read(f"last: 2, before: {before}")
        ids = [row["id"] for row in part["nodes"]] + ids
        if not part["pageInfo"]["hasPreviousPage"]:
            break
        before = f'"{part["pageInfo"]["startCursor"]}"'
    assert ids == [row["id"] for row in (await reader.read("first: 100"))["nodes"]]


@every()
async def test_a_page_has_1_to_100_rows(scene: Scene, page: str) -> None:
    reader = Reader(scene, page)
    for size in (0, -1, 101):
        assert await reader.codes(f"first: {size}") == {"BAD_INPUT"}
    assert len((await reader.read("first: 1"))["nodes"]) == 1
    assert (await reader.read("first: 100")) == (await reader.read("first: null"))


@every(*BOTH_WAYS)
async def test_first_and_last_do_not_go_together(scene: Scene, page: str) -> None:
    reader = Reader(scene, page)
    assert await reader.codes("first: 1, last: 1") == {"BAD_INPUT"}
    for size in (0, -1, 101):
        assert await reader.codes(f"last: {size}") == {"BAD_INPUT"}


@every()
async def test_a_cursor_that_was_never_given_is_bad_input(scene: Scene, page: str) -> None:
    reader = Reader(scene, page)
    cursor = (await reader.read("first: 1"))["pageInfo"]["endCursor"]
    for forged in ("", "1", "YWJj", cursor[:-2], cursor + "AA"):
        assert await reader.codes(f'after: "{forged}"') == {"BAD_INPUT"}


@every(*FILTERS)
async def test_a_cursor_serves_no_other_filter(scene: Scene, page: str) -> None:
    reader = Reader(scene, page)
    plain = (await reader.read("first: 1"))["pageInfo"]["endCursor"]
    filtered = (await reader.read(f"first: 1, {FILTERS[page]}"))["pageInfo"]["endCursor"]
    assert await reader.codes(f'after: "{plain}", {FILTERS[page]}') == {"BAD_INPUT"}
    assert await reader.codes(f'after: "{filtered}"') == {"BAD_INPUT"}


async def test_a_cursor_serves_no_other_order_and_no_other_list(scene: Scene) -> None:
    cursor = (await Reader(scene, "issuedKeys").read("first: 1"))["pageInfo"]["endCursor"]
    by_name = f'after: "{cursor}", orderBy: {{ field: NAME }}'
    assert await Reader(scene, "issuedKeys").codes(by_name) == {"BAD_INPUT"}
    for page in PAGES.keys() - {"issuedKeys"}:
        assert await Reader(scene, page).codes(f'after: "{cursor}"') == {"BAD_INPUT"}


@every("requests", "issuedKeys", "keys", "viewer requests", "template requests", "template issuedKeys")
async def test_states_that_are_null_are_every_state_and_none_are_none(scene: Scene, page: str) -> None:
    reader = Reader(scene, page)
    nothing = await reader.read("states: []")
    assert (nothing["nodes"], nothing["totalCount"], nothing["pageInfo"]["endCursor"]) == ([], 0, None)
    every_state = await reader.read("states: null, first: 100")
    assert every_state["totalCount"] == len(every_state["nodes"])
    if page.endswith("requests"):
        states = ", ".join(state.name for state in RequestState)
        assert {row["id"] for row in every_state["nodes"]} == {
            row["id"] for row in (await reader.read(f"states: [{states}], first: 100"))["nodes"]
        }


async def test_requests_are_the_pending_ones_unless_said_otherwise(scene: Scene) -> None:
    for page in ("requests", "template requests"):
        reader = Reader(scene, page)
        assert (await reader.read("first: 100"))["nodes"] == (await reader.read("states: [PENDING], first: 100"))[
            "nodes"
        ]


async def test_a_bad_page_of_a_field_that_is_null_for_the_viewer_is_null(scene: Scene) -> None:
    """What may not be seen doesn't tell whether its arguments were right."""
    body = await answer_to(context_of(scene.callers["viewer"]), query("requests", "first: 2"), id=scene.project.id)
    assert body == {"data": {"project": {"page": None}}}
