"""Lists that are longer than what the gateway answers at once, before a real Chromium."""

import pytest
from playwright.async_api import Locator, Page, expect

from gateway import requests
from gateway.permissions import Permission
from models import Grant, IssuedKey, KeyRequest, Project, RequestState, Role
from models.fields import named
from tests.browsing import NEEDS_BROWSER, Theatre, button, tile
from tests.crowd import Crowd

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]


async def crowded(theatre: Theatre, size: int) -> None:
    await Crowd(theatre.ada, theatre.bo, theatre.bo, theatre.project).grow(size)


async def show_all(inside: Page | Locator, rows: Locator, quantity: int) -> None:
    """Asks for more by keyboard until all is shown; the focus then stands where their number is told."""
    more, page = button(inside, "Show more"), rows.page
    await expect(more).to_be_visible()
    await more.focus()
    shown = await rows.count()
    while shown < quantity:
        await page.keyboard.press("Enter")
        await expect(rows).not_to_have_count(shown)
        shown = await rows.count()
    assert shown == quantity
    await expect(more).to_have_count(0)
    assert await page.evaluate("document.activeElement.getAttribute('role')") == "status"


async def test_all_that_wait_for_a_key_can_be_reached_and_stay_true(theatre: Theatre) -> None:
    await crowded(theatre, 40)  # three requests on each of as many templates
    page = (await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")).page
    rows = page.get_by_role("region", name="Table of requests").locator("tbody tr")
    await expect(page.get_by_text("The first 50 of 120")).to_be_visible()
    await show_all(page.get_by_role("region", name="Requests 120"), rows, 120)

    newest = await KeyRequest.filter(state=RequestState.PENDING).order_by("-id").first().select_related("user")
    assert newest
    await requests.reject(theatre.ada, newest.id, "Not this year.")
    await expect(rows).to_have_count(119)
    oldest = await KeyRequest.filter(state=RequestState.PENDING).order_by("id").first()
    assert oldest
    await requests.reject(theatre.ada, oldest.id, "Not this year.")
    await expect(rows).to_have_count(118)
    await requests.create(theatre.bo, theatre.basic.id, "The very last.")
    await expect(rows.last).to_contain_text("The very last.")
    await expect(rows).to_have_count(119)


async def test_all_members_secrets_templates_and_nodes_can_be_reached(theatre: Theatre) -> None:
    await crowded(theatre, 60)
    maps = f"/projects/{theatre.project.id}"
    page = (await theatre.visitor(theatre.ada, f"{maps}/members")).page
    members = page.get_by_role("region", name="Table of members").locator("tbody tr")
    await expect(page.get_by_text("61 members")).to_be_visible()
    await show_all(page, members, 61)
    await expect(members.last).to_contain_text("Ada")
    await page.get_by_role("link", name="Secrets").click()
    await expect(page.get_by_label("Name of S59")).to_be_visible()
    await page.get_by_role("link", name="API keys").click()
    await expect(page.get_by_text("The first 30 of 61")).to_be_visible()
    await show_all(page.get_by_role("region", name="API key templates"), page.get_by_role("article"), 61)

    await button(page, "Insert a node's id into F0").first.click()
    dialog = page.get_by_role("dialog")
    nodes = dialog.get_by_role("listitem")
    await expect(dialog.get_by_text("61 nodes")).to_be_visible()
    await show_all(dialog, nodes, 61)
    await dialog.get_by_label("Search nodes").fill("node 59")
    await expect(nodes).to_have_count(1)
    await button(dialog, "Node 59").click()
    value = page.get_by_role("group", name="F0").first.get_by_label("Value")
    await expect(value).to_have_value("n59")

    await page.get_by_role("link", name="Settings").click()
    await expect(page.get_by_text("61 nodes")).to_be_visible()
    rows = page.get_by_role("region", name="Table of nodes").locator("tbody tr")
    await show_all(page.get_by_role("region", name="Nodes", exact=True), rows, 61)
    await page.get_by_label("Search nodes").fill("readings")
    await expect(rows).to_have_count(1)

    await page.get_by_role("link", name="Roles", exact=True).click()
    await button(tile(page, "Role 7"), "Change permissions").click()
    await show_all(dialog, dialog.locator("tbody tr"), 61)
    await dialog.get_by_label("Search nodes").fill("node 59")
    await dialog.get_by_label("Create packages on Node 59").check()
    await button(dialog, "Save").click()
    await expect(tile(page, "Role 7")).to_contain_text("Node 59: 1")


async def test_all_projects_can_be_reached_and_a_search_begins_anew(theatre: Theatre) -> None:
    projects = [Project(currency="USD", **named(f"Charts {number:03}")) for number in range(130)]
    await Project.bulk_create(projects)
    roles = [Role(project_id=each.id, is_public=True, **named("everyone")) for each in projects]
    await Role.bulk_create(roles)
    await Grant.bulk_create([Grant(role_id=each.id, permission=Permission.PROJECT_VIEW.value) for each in roles])
    page = (await theatre.visitor(None, "/projects")).page
    tiles = page.get_by_role("listitem").filter(has=page.get_by_role("heading"))
    await expect(page.get_by_text("131 projects")).to_be_visible()
    await show_all(page, tiles, 131)
    await expect(tiles.last).to_contain_text("Maps")
    await page.get_by_label("Search projects").fill("charts")
    await expect(page.get_by_text("130 projects")).to_be_visible()
    await expect(tiles).to_have_count(60)


async def test_all_of_ones_own_keys_can_be_reached(theatre: Theatre) -> None:
    await crowded(theatre, 90)  # every third template has issued one to Bo
    page = (await theatre.visitor(theatre.bo, "/my-keys")).page
    await expect(page.get_by_text("30 keys")).to_be_visible()
    await show_all(page, page.get_by_role("article"), 30)


async def test_a_table_of_500_keys_is_turned_sorted_and_searched_a_hundred_rows_at_a_time(theatre: Theatre) -> None:
    await crowded(theatre, 100)  # five keys from each template
    assert await IssuedKey.all().count() == 500
    page = (await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/issued")).page
    await page.get_by_label("Rows per page").select_option("100")
    for start in (1, 101, 201, 301):
        await expect(page.get_by_text(f"{start}-{start + 99} of 500")).to_be_visible()
        await button(page, "Next page").click()
    await expect(page.get_by_text("401-500 of 500")).to_be_visible()
    await expect(button(page, "Next page")).to_be_disabled()
    table = page.get_by_role("region", name="Table of issued keys")
    await button(table, "User").click()
    await expect(page.get_by_text("1-100 of 500")).to_be_visible()
    assert await table.locator("tbody tr").count() == 100
    nodes = await page.evaluate("document.querySelectorAll('*').length")
    assert nodes < 3_500  # what a browser lays out in a few milliseconds
