"""A key's life before a real Chromium: asker and owner see what the other does, and a table tells of all."""

import re

import pytest
from playwright.async_api import expect

from gateway import requests
from models import IssuedKey, KeyState
from models.fields import named
from tests.browsing import NEEDS_BROWSER, Theatre, button, opens, tile, use

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]


async def test_a_key_is_asked_for_approved_copied_rotated_and_given_up(theatre: Theatre) -> None:
    path = f"/projects/{theatre.project.id}"
    ada, bo = await theatre.visitor(theatre.ada, f"{path}/keys"), await theatre.visitor(theatre.bo, path)
    basic = tile(bo.page, "Basic")
    await expect(ada.page.get_by_text("Nobody waits for a key")).to_be_visible()

    await button(basic, "Request").click()
    dialog = bo.page.get_by_role("dialog")
    await dialog.get_by_role("textbox").fill("For my thesis.")
    await button(dialog, "Request").click()
    await expect(basic).to_contain_text("Requested today at")

    row = ada.page.get_by_role("row").filter(has_text="For my thesis.")
    await expect(row).to_contain_text("Bo")
    await button(row, "Approve Bo's request for Basic").first.click()
    await expect(row).to_have_count(0)
    await expect(ada.page.get_by_role("heading", name="Requests")).to_be_focused()

    await expect(basic).to_contain_text("Received today at")
    await button(basic, "Copy key").click()
    await expect(bo.page.get_by_text("The key Basic is in the clipboard.", exact=True)).to_be_visible()
    token = await bo.page.evaluate("navigator.clipboard.readText()")
    assert await opens(theatre, token)

    await button(basic, "Rotate").click()
    await dialog.get_by_label("The old token works on").select_option("not at all")
    await button(dialog, "Rotate").click()
    rotated = await dialog.get_by_label("Token", exact=True).input_value()
    assert await opens(theatre, rotated)
    await button(dialog, "Close").click()

    await button(basic, "Revoke this key").click()
    await button(bo.page.get_by_role("alertdialog"), "Revoke").click()
    await expect(button(basic, "Request")).to_be_visible()


async def test_a_request_is_rejected_with_a_reason_or_taken_back(theatre: Theatre) -> None:
    path = f"/projects/{theatre.project.id}"
    ada, bo = await theatre.visitor(theatre.ada, f"{path}/keys"), await theatre.visitor(theatre.bo, path)
    basic, row = tile(bo.page, "Basic"), ada.page.get_by_role("row", name="Bo")

    await button(basic, "Request").click()
    await button(bo.page.get_by_role("dialog"), "Request").click()
    await button(row, "Reject").click()
    dialog = ada.page.get_by_role("dialog")
    await dialog.get_by_label("Reason").fill("Not this year.")
    await button(dialog, "Reject").click()
    await expect(basic).to_contain_text("Rejected today at")
    await expect(basic).to_contain_text("Not this year.")

    await button(basic, "Request").click()
    await button(bo.page.get_by_role("dialog"), "Request").click()
    await expect(row).to_be_visible()
    await button(basic, "Cancel request").click()
    await expect(row).to_have_count(0)
    await expect(button(basic, "Request")).to_be_visible()


async def test_a_key_is_approved_until_a_day(theatre: Theatre) -> None:
    await requests.create(theatre.bo, theatre.basic.id)
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")
    bo = await theatre.visitor(theatre.bo, f"/projects/{theatre.project.id}")
    await button(ada.page, "until a day").click()
    dialog = ada.page.get_by_role("dialog")
    await dialog.get_by_label("Works until").fill("2040-05-06T07:08")
    await button(dialog, "Approve").click()
    await expect(tile(bo.page, "Basic")).to_contain_text("Expires on 6 May 2040 at 07:08")


async def test_the_table_of_issued_keys_is_sorted_searched_paged_and_exported(theatre: Theatre) -> None:
    issued = await use(theatre, {f"User {number:02}": number for number in range(1, 13)})
    await IssuedKey.filter(id=issued[2].id).update(**named("Zinc"))
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/issued")
    page, table = ada.page, ada.page.get_by_role("table", name="").last
    await page.get_by_role("combobox", name="Period").select_option("Last 7 days")
    await expect(page.get_by_text("1-10 of 12")).to_be_visible()
    await expect(page.get_by_role("figure", name="Cost")).to_contain_text("$7.80")  # 78 calls in all

    await button(table, "Total").click()
    await expect(table.get_by_role("row").nth(1)).to_contain_text("User 12")
    await expect(table.get_by_role("row").nth(1)).to_contain_text("$1.20")
    await button(page, "Next page").click()
    await expect(page.get_by_text("11-12 of 12")).to_be_visible()
    await expect(table.get_by_role("row").last).to_contain_text("User 01")
    await button(page, "Previous page").click()
    await page.get_by_label("Rows per page").select_option("20")
    await expect(page.get_by_text("1-12 of 12")).to_be_visible()
    await button(table, "Total").click()
    await expect(table.get_by_role("row").nth(1)).to_contain_text("User 01")
    await page.get_by_text("As a table").click()
    usage = page.get_by_role("table").first
    await expect(usage.get_by_role("row").last).to_contain_text("$7.80")
    await page.get_by_text("As a table").click()
    for column, first, last in (("API key", "Basic", "Zinc"), ("Received", "User 01", "User 12")):
        await button(table, column).click()
        await expect(table.get_by_role("row").nth(1)).to_contain_text(first)
        await button(table, column).click()
        await expect(table.get_by_role("columnheader", name=column)).to_have_attribute("aria-sort", "descending")
        await expect(table.get_by_role("row").nth(1)).to_contain_text(last)
    await page.get_by_label("Search by key or user").fill("user 07")
    await expect(page.get_by_text("1-1 of 1")).to_be_visible()

    await page.get_by_role("combobox", name="Period").select_option("From day to day")
    await page.get_by_label("First day").fill("2020-01-01")
    await page.get_by_label("Last day").fill("2020-01-31")
    await expect(table.get_by_role("row").nth(1)).to_contain_text("$0.00")
    await page.get_by_role("combobox", name="Period").select_option("Last … days")
    await page.get_by_label("Number of days").fill("3")
    await page.get_by_label("Number of days").press("Enter")
    await expect(table.get_by_role("row").nth(1)).to_contain_text("$0.70")
    await page.get_by_role("combobox", name="Period").select_option("Last month")
    first_bar = page.get_by_role("figure", name="Cost").locator("title").first
    await expect(first_bar).to_have_text(re.compile(r"^1 "))
    await page.get_by_role("combobox", name="Period").select_option("Last 30 days")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export CSV").click()
    exported = (await (await download.value).path()).read_text()
    assert exported.count("\n") == 13
    assert "User 12" not in exported  # groups are keys, by their names
    assert ",12," in exported


async def test_a_key_is_suspended_taken_back_and_revoked_where_it_is_listed(theatre: Theatre) -> None:
    [key] = await use(theatre, {"Cem": 1})
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/issued")
    row = ada.page.get_by_role("row").filter(has_text="Cem")
    await button(row, "Suspend").click()
    await expect(row).to_contain_text("Suspended")
    await button(ada.page, "Undo").click()
    await expect(button(row, "Suspend")).to_be_visible()
    await button(row, "Suspend").click()
    await button(row, "Resume").click()
    await expect(button(row, "Suspend")).to_be_visible()
    await button(row, "Revoke").click()
    await button(ada.page.get_by_role("alertdialog"), "Revoke").click()
    await expect(row).to_contain_text("Revoked")
    assert (await IssuedKey.get(id=key.id)).state is KeyState.REVOKED
    for state, is_shown in {"Active": False, "Revoked": True, "Suspended": False, "Every state": True}.items():
        await ada.page.get_by_label("State").select_option(state)
        await expect(ada.page.get_by_text("Nothing found")).to_have_count(0 if is_shown else 1)
        await expect(row).to_have_count(1 if is_shown else 0)
