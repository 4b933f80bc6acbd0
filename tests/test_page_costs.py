"""What pages cost: as many statements for a hundred of everything as for one."""

from typing import Any

import pytest

from gateway.permissions import Actor
from tests.asking import ask, context_of
from tests.crowd import Crowd, crowd_of, new_crowd
from tests.documents import DOCUMENTS, send
from tests.statements import statements

SIZES = (1, 10, 100)
WHOLE = {"first": 100}
WEEK = {"period": {"lastDays": 7}}

# The most statements for an owner, an asker, an analyst and nobody. PostgreSQL answers several at once: what happens to
# be at hand by then is not asked for, so now and then there is one less.
MOST: dict[str, tuple[dict[str, Any], tuple[int, int, int, int]]] = {
    "TemplateTiles": ({}, (9, 7, 10, 6)),
    "KeyTiles": ({}, (7, 7, 7, 5)),
    "KeyPanel": (WHOLE, (15, 10, 17, 9)),
    "IssuedKeys": ({**WHOLE, **WEEK}, (10, 3, 11, 3)),
    "KeysByCost": ({**WHOLE, **WEEK}, (6, 2, 6, 2)),
    "ProjectUsage": (WEEK, (5, 2, 5, 2)),
    "PendingRequests": (WHOLE, (7, 3, 7, 3)),
    "Roles": ({}, (5, 5, 5, 5)),
    "Members": (WHOLE, (10, 4, 4, 4)),
    "Secrets": ({}, (6, 6, 5, 4)),
    "ProjectSettings": ({}, (6, 5, 5, 5)),
}
MOST_OF_VIEWER: dict[str, tuple[dict[str, Any], tuple[int, int, int, int]]] = {
    "Projects": (WHOLE, (3, 3, 3, 3)),
    "MyKeys": (WHOLE, (4, 16, 4, 1)),
}


@pytest.fixture
async def crowd(database: str) -> Crowd:
    return await new_crowd()


async def cost(actor: Actor, document: str, **variables: Any) -> int:
    with statements() as sent:
        await send(DOCUMENTS[document], context_of(actor), **variables)
    return len(sent)


@pytest.mark.parametrize("document", sorted(MOST))
async def test_a_page_of_a_project_costs_the_same_however_much_is_on_it(crowd: Crowd, document: str) -> None:
    variables, most = MOST[document]
    for size in SIZES:
        await crowd.grow(size)
        for (who, actor), allowed in zip(crowd.callers.items(), most, strict=True):
            sent = await cost(actor, document, projectId=crowd.project.id, **variables)
            assert sent <= allowed, f"{who} with {size}"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)  # where no two statements are under way at once
async def test_the_tile_query_sends_the_very_same_number_for_one_template_and_for_a_hundred(crowd: Crowd) -> None:
    sent: dict[str, set[int]] = {who: set() for who in crowd.callers}
    for size in SIZES:
        await crowd.grow(size)
        for who, actor in crowd.callers.items():
            sent[who].add(await cost(actor, "TemplateTiles", projectId=crowd.project.id))
    assert all(len(numbers) == 1 for numbers in sent.values()), sent


@pytest.mark.parametrize("document", sorted(MOST_OF_VIEWER))
async def test_a_page_of_the_viewer_costs_the_same_however_much_is_on_it(crowd: Crowd, document: str) -> None:
    variables, most = MOST_OF_VIEWER[document]
    for size in SIZES:
        await crowd.grow(size)
        for (who, actor), allowed in zip(crowd.callers.items(), most, strict=True):
            assert await cost(actor, document, **variables) <= allowed, f"{who} with {size}"


NESTED = """
{
  viewer {
    requests(first: 100) { nodes { template { viewerState viewerRequest { template { viewerState } } } } }
    keys(first: 100) { nodes { template { viewerState viewerKey { template { viewerRequest { state } } } } } }
  }
  projects(first: 100) {
    nodes {
      viewerPermissions
      templates {
        viewerState
        viewerKey { fields { value } }
        role { permissions }
        requests(first: 5) { totalCount nodes { user { email } template { viewerState } } }
        issuedKeys(first: 5) { totalCount nodes { role { name } usage(period: {lastDays: 7}) { requests } } }
      }
      requests(first: 5) { totalCount nodes { user { name } } }
      issuedKeys(first: 5, orderBy: { field: USER }) { totalCount nodes { user { name } } }
      dearest: issuedKeys(first: 5, orderBy: { field: TOTAL }, period: {lastDays: 7}) { nodes { user { name } } }
      secrets { importedFrom { name } }
      members(first: 5) { totalCount nodes { roles { permissions } } }
      projectNodes(first: 5) { totalCount nodes { name } }
      usage(period: {lastDays: 7}) { total { requests } byUser { user { name } } }
    }
  }
}"""


async def test_what_is_nested_costs_the_same_for_many_projects_and_many_tiles(crowd: Crowd) -> None:
    """By its depth, however many rows each level has."""
    most = {"owner": 43, "asker": 24, "analyst": 41, "anonymous": 10}  # by the branches of the query
    await crowd.grow(3)
    for more in (2, 6, 0):
        for who, actor in crowd.callers.items():
            with statements() as sent:
                await ask(actor, NESTED)
            assert len(sent) <= most[who]
        for _ in range(more):
            await (await crowd_of(crowd.ada, crowd.ana, crowd.bo)).grow(more)
