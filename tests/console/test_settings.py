"""A project's settings before a real Chromium: what it is, its nodes, its route rules, and its end."""

import pytest
from playwright.async_api import Page, expect

from gateway import projects, routes
from gateway.permissions import Permission
from gateway.routing import RouteRule
from models import Project, ProjectNode
from models import RouteRule as Stored
from tests.browsing import NEEDS_BROWSER, Theatre, button, edit, eventually
from tests.world import join, role

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]
GET_A = RouteRule("GET", "/a", Permission.PROJECT_VIEW)
POST_B = RouteRule("POST", "/b/*", Permission.PACKAGE_CREATE)


async def test_a_project_is_renamed_described_and_given_an_upstream_and_another_owner_sees_it(theatre: Theatre) -> None:
    path = f"/projects/{theatre.project.id}/settings"
    ada, other = await theatre.visitor(theatre.ada, path), await theatre.visitor(theatre.ada, path)
    await expect(ada.page.get_by_text("Everyone, by the public role everyone.")).to_be_visible()
    await expect(other.page.get_by_label("Name of the project")).to_have_value("Maps")
    await edit(ada.page.get_by_label("Name of the project"), "Charts")
    await edit(ada.page.get_by_label("Description of the project"), "All of them.")
    await edit(ada.page.get_by_label("Upstream", exact=True), "maps.example")
    await expect(ada.page.get_by_role("alert")).to_contain_text("An upstream is http:// or https://")
    await edit(ada.page.get_by_label("Upstream", exact=True), "http://maps.example/v1")
    await expect(other.page.get_by_label("Upstream", exact=True)).to_have_value("http://maps.example/v1")
    await expect(other.page.get_by_role("heading", name="Charts")).to_be_visible()
    await expect(other.page.get_by_label("Description of the project")).to_have_value("All of them.")
    stored = await Project.get(id=theatre.project.id)
    assert (stored.name, stored.description, stored.upstream_url) == (
        "Charts",
        "All of them.",
        "http://maps.example/v1",
    )
    await edit(ada.page.get_by_label("Upstream", exact=True), "")
    await expect(other.page.get_by_label("Upstream", exact=True)).to_have_value("")
    await button(ada.page, "Copy the project's id").click()
    await expect(ada.page.get_by_text("Project ID is in the clipboard.", exact=True)).to_be_visible()


async def test_of_two_owners_who_describe_a_project_at_once_neither_loses_it_unawares(theatre: Theatre) -> None:
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/settings")
    field = ada.page.get_by_label("Description of the project")
    await field.fill("Hers")
    await projects.update(theatre.ada, theatre.project.id, {"description": "The other's"})
    await expect(ada.page.get_by_text("Changed meanwhile to “The other's”.")).to_be_visible()
    await field.press("Enter")
    await expect(ada.page.get_by_role("alert")).to_contain_text("changed meanwhile")
    await expect(field).to_have_value("Hers")
    await expect(ada.page.get_by_text("Changed meanwhile to “The other's”.")).to_be_visible()
    assert (await Project.get(id=theatre.project.id)).description == "The other's"
    await field.press("Escape")
    await expect(field).to_have_value("The other's")


async def test_nodes_are_added_renamed_and_taken_away_as_another_owner_watches(theatre: Theatre) -> None:
    path = f"/projects/{theatre.project.id}/settings"
    ada, other = await theatre.visitor(theatre.ada, path), await theatre.visitor(theatre.ada, path)
    page, nodes = ada.page, other.page.get_by_role("table").first
    await expect(nodes).to_contain_text(theatre.readings.upstream_id)
    await button(page, "New node").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("Results")
    await dialog.get_by_label("ID in the upstream's paths").fill("a/b")
    await button(dialog, "Create").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("1 to 200 Latin letters")
    await dialog.get_by_label("ID in the upstream's paths").fill("out-1")
    await dialog.get_by_label("ID in the upstream's paths").press("Enter")
    await expect(nodes.get_by_label("Name of the node Results")).to_be_visible()
    await edit(page.get_by_label("Name of the node Results"), "Output")
    await expect(nodes.get_by_label("Name of the node Output")).to_be_visible()
    await button(page, "Delete the node Output").click()
    await button(page.get_by_role("alertdialog"), "Delete").click()
    await expect(nodes).not_to_contain_text("out-1")
    await expect(page.get_by_role("heading", name="Nodes")).to_be_focused()
    stored = await ProjectNode.get(upstream_id="out-1")
    assert (stored.name, stored.deleted_at is None) == ("Output", False)


async def test_route_rules_are_made_changed_put_in_order_taken_away_and_brought_back(theatre: Theatre) -> None:
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/settings")
    page, table = ada.page, ada.page.get_by_role("region", name="Table of route rules")
    dialog = page.get_by_role("dialog")
    await expect(page.get_by_text("No rules yet")).to_be_visible()
    await make_rule(page, "GET, HEAD", "/jobs/{node}", "View code")
    await make_rule(page, "Any method", "/jobs/**", "Create packages")
    await expect(table.get_by_role("row").nth(1)).to_contain_text("on that node")
    await expect(table.get_by_role("row").nth(2)).to_contain_text("Any method")

    await button(table, "Change GET /jobs/{node}").click()
    await dialog.get_by_label("Path").fill("/jobs")
    await button(dialog, "Save").click()
    await expect(dialog).to_have_count(0)
    await button(table, "Move GET /jobs down").press("Enter")
    await expect(page.get_by_text("so it would never decide.").last).to_be_visible()
    assert await patterns() == ["/jobs", "/jobs/**"]

    await make_rule(page, "POST", "/free", "View project")
    await button(table, "Move POST /free up").press("Enter")
    await expect(table.get_by_role("row").nth(2)).to_contain_text("/free")
    await expect(button(table, "Move POST /free up")).to_be_focused()
    await button(table, "Move POST /free up").press("Enter")
    await expect(table.get_by_role("row").nth(1)).to_contain_text("/free")
    await expect(button(table, "Move POST /free down")).to_be_focused()
    await button(table, "Delete GET /jobs").click()
    await expect(table).not_to_contain_text("GET, HEAD")
    await expect(page.get_by_role("heading", name="Route rules")).to_be_focused()
    await button(page, "Undo").click()
    await expect(table.get_by_role("row").nth(2)).to_contain_text("GET, HEAD")
    await eventually(patterns, ["/free", "/jobs", "/jobs/**"])


async def test_rules_that_another_owner_changes_meanwhile_are_not_overwritten_unawares(theatre: Theatre) -> None:
    project = theatre.project
    await routes.replace(theatre.ada, project.id, [GET_A])
    ada = await theatre.visitor(theatre.ada, f"/projects/{project.id}/settings")
    table, dialog = ada.page.get_by_role("region", name="Table of route rules"), ada.page.get_by_role("dialog")
    await button(table, "Change GET /a").click()
    await dialog.get_by_label("Path").fill("/hers")
    await routes.replace(theatre.ada, project.id, [POST_B, GET_A])
    await expect(ada.page.get_by_text("/b/*")).to_be_visible()
    await button(dialog, "Save").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("changed meanwhile")
    await expect(dialog.get_by_label("Path")).to_have_value("/hers")
    assert await patterns() == ["/b/*", "/a"]
    await button(dialog, "Save").click()
    await expect(table.get_by_role("row").nth(2)).to_contain_text("/hers")
    await eventually(patterns, ["/b/*", "/hers"])


async def test_a_project_is_deleted_once_its_name_is_typed_and_is_gone_from_every_page(theatre: Theatre) -> None:
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/settings")
    other = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/settings")
    await expect(button(other.page, "Delete project")).to_be_visible()
    await button(ada.page, "Delete project").click()
    dialog = ada.page.get_by_role("alertdialog")
    await dialog.get_by_label("To confirm").fill("Map")
    await expect(button(dialog, "Delete project")).to_be_disabled()
    await dialog.get_by_label("To confirm").fill("Maps")
    await button(dialog, "Delete project").click()
    await expect(ada.page.get_by_text("The project Maps is deleted.", exact=True)).to_be_visible()
    await expect(ada.page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
    assert (await Project.get(id=theatre.project.id)).deleted_at is not None


async def test_settings_offer_what_one_may_change_and_no_more(theatre: Theatre) -> None:
    await join(theatre.project, theatre.bo, await role(theatre.project, Permission.PROJECT_EDIT, name="editor"))
    bo = await theatre.visitor(theatre.bo, f"/projects/{theatre.project.id}")
    await bo.page.get_by_role("link", name="Settings").click()
    await edit(bo.page.get_by_label("Name of the project"), "Charts")
    await expect(bo.page.get_by_role("heading", name="Charts")).to_be_visible()
    for hidden in ("New node", "New rule", "Delete project"):
        await expect(button(bo.page, hidden)).to_have_count(0)
    await expect(bo.page.get_by_text("Upstream", exact=True)).to_have_count(0)
    await expect(bo.page.get_by_role("link", name="Audit log")).to_have_count(0)


async def make_rule(page: Page, method: str, pattern: str, permission: str) -> None:
    await button(page, "New rule").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Method").select_option(label=method)
    await dialog.get_by_label("Path").fill(pattern)
    await dialog.get_by_label("Needs").select_option(permission)
    await button(dialog, "Save").click()
    await expect(dialog).to_have_count(0)


async def patterns() -> list[str]:
    return [rule.pattern for rule in await Stored.all().order_by("position")]
