"""The audit log before a real Chromium: who did what, as it happens and as far back as one looks."""

import pytest
from playwright.async_api import expect

from gateway import audit, clock, projects, requests, templates
from models import AuditEntry
from tests.browsing import NEEDS_BROWSER, Theatre, button

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]


async def test_what_is_done_appears_by_itself_with_who_did_it_and_leads_to_what_it_was_done_to(
    theatre: Theatre,
) -> None:
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}")
    await ada.page.get_by_role("link", name="Audit log").click()
    await expect(ada.page.get_by_text("Nothing was done yet")).to_be_visible()
    await requests.create(theatre.bo, theatre.basic.id)
    row = ada.page.get_by_role("row").filter(has_text="Key requested")
    await expect(row).to_contain_text("Bo")
    await expect(row).to_contain_text("today at")
    await row.get_by_role("link", name="Basic, Bo").click()
    await expect(ada.page.get_by_role("heading", name="Requests")).to_be_visible()


async def test_the_log_is_filtered_by_who_what_when_and_what_it_was_done_to(theatre: Theatre) -> None:
    await requests.create(theatre.bo, theatre.basic.id)
    await templates.update(theatre.ada, theatre.basic.id, {"description": "New."})
    made = await projects.create_node(theatre.ada, theatre.project.id, name="Results")
    await projects.delete_node(theatre.ada, made.id)
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/audit")
    page, rows = ada.page, ada.page.locator("tbody tr")
    await expect(rows).to_have_count(4)
    await expect(page.get_by_role("row").filter(has_text="Node deleted")).to_contain_text(made.id)

    await page.get_by_label("Who").select_option("Bo")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Key requested")
    await page.get_by_label("What", exact=True).select_option("Template changed")
    await expect(page.get_by_text("Nothing found")).to_be_visible()
    await button(page, "Clear the filter").click()
    await expect(rows).to_have_count(4)
    await button(rows.filter(has_text="Node deleted"), f"Show only what was done to {made.id}").click()
    await expect(rows).to_have_count(2)
    await button(page, "Clear the filter").click()
    await page.get_by_label("First day").fill("2020-01-01")
    await page.get_by_label("Last day").fill("2020-01-31")
    await expect(page.get_by_text("Nothing found")).to_be_visible()


async def test_older_entries_follow_when_they_are_asked_for_and_none_is_lost_when_new_ones_come(
    theatre: Theatre,
) -> None:
    for number in range(120):
        await audit.enter(theatre.ada, f"act.{number}", theatre.basic.id, theatre.project.id, clock.now())
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/audit")
    page, rows = ada.page, ada.page.locator("tbody tr")
    await expect(rows.first).to_contain_text("act.119")
    while await rows.count() < 120:
        seen = await rows.count()
        await button(page, "Show more").click()
        await expect(rows.nth(seen)).to_be_attached()
    await expect(rows.last).to_contain_text("act.0")
    await expect(button(page, "Show more")).to_have_count(0)
    await templates.update(theatre.ada, theatre.basic.id, {"description": "New."})
    await expect(rows.first).to_contain_text("Template changed")
    await expect(rows).to_have_count(await AuditEntry.filter(project_id=theatre.project.id).count())
