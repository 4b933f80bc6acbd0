"""Pages in the shape of the GraphQL Cursor Connections specification."""

from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import strawberry

from gateway.pages import Page
from schema.declare import attribute, described, object_type, resolved

NodeT = TypeVar("NodeT")


async def where_shown(
    rows: Sequence[Any], project_ids: Container[str], read: Callable[[list[str]], Awaitable[Sequence[Any]]]
) -> list[Any]:
    """What is read, at once, of those rows whose projects these are; null of others, also where reading fails."""
    shown = [row.id for row in rows if row.project_id in project_ids]
    try:
        found = await read(shown)
    except Exception as error:  # noqa: BLE001  told at each row that it was read for
        found = [error for _ in shown]
    if len(shown) == len(rows):
        return list(found)
    of_row = dict(zip(shown, found, strict=True))
    return [of_row.get(row.id) for row in rows]


class RowOnPage(NamedTuple):
    page: Page[Any]
    node: Any


def cursor_of(root: strawberry.Parent[RowOnPage]) -> str:
    return root.page.cursor(root.node)


def edges_of(root: strawberry.Parent[Page[Any]]) -> list[RowOnPage]:
    return [RowOnPage(root, row) for row in root.rows]


def start_of(root: strawberry.Parent[Page[Any]]) -> str | None:
    return root.cursor(root.rows[0]) if root.rows else None


def end_of(root: strawberry.Parent[Page[Any]]) -> str | None:
    return root.cursor(root.rows[-1]) if root.rows else None


async def total_of(root: strawberry.Parent[Page[Any]]) -> int:
    return await root.count()


@object_type("Where a page begins and ends, and whether there is more on either side.")
class PageInfo:
    has_next_page: bool = resolved(attribute("has_next"), "Whether there are rows after this page.")
    has_previous_page: bool = resolved(attribute("has_previous"), "Whether there are rows before this page.")
    start_cursor: str | None = resolved(start_of, "The cursor of the first row; null on an empty page.")
    end_cursor: str | None = resolved(end_of, "The cursor of the last row; null on an empty page.")


@object_type("A row of a page, with its cursor.")
class Edge(Generic[NodeT]):
    cursor: str = resolved(cursor_of, "Give it back as `after` or `before` to go on from this row.")
    node: NodeT = described("The row.")


@object_type("A page of a list.")
class Connection(Generic[NodeT]):
    edges: list[Edge[NodeT]] = resolved(edges_of, "The rows of the page, each with its cursor.")
    nodes: list[NodeT] = resolved(attribute("rows"), "The rows of the page.")
    page_info: PageInfo = resolved(lambda root: root, "Where the page begins and ends.")
    total_count: int = resolved(total_of, "How many rows the list has under this filter; counted when asked for.")
