"""The console before a real Chromium: what its people do, and what they see of each other."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from gateway import clock, counting, requests, secrets, templates, users
from gateway.passwords import Passwords
from gateway.permissions import GATEWAY, Permission
from gateway.templates import FieldValue, NewField
from models import IssuedKey, KeyRequest, KeyState, RequestState, Role, Template
from tests.browsing import NEEDS_BROWSER, Line, Theatre, chromium, opened
from tests.world import SEALER, issued_key, join, owned_project, person, role, template

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]
PASSWORD = "correct horse battery"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests, each of which has contexts of its own."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def theatre(browser: Browser, database_url: str, tmp_path: Path) -> AsyncIterator[Theatre]:
    async with opened(browser, database_url, tmp_path) as theatre:
        yield theatre


def tile(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


def button(inside: Page | Locator, name: str) -> Locator:
    return inside.get_by_role("button", name=name)


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


async def opens(theatre: Theatre, token: str) -> bool:
    """Whether the gateway takes the token for a key."""
    query = {"query": "{ viewer { apiKey { id } } }"}
    async with httpx2.AsyncClient(base_url=theatre.url, headers={"Authorization": f"Bearer {token}"}) as http:
        answer = (await http.post("/graphql", json=query)).json()
    return bool(answer["data"]["viewer"]["apiKey"])


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


async def test_a_template_is_made_edited_where_it_stands_limited_moved_and_deleted(theatre: Theatre) -> None:
    await role(theatre.project, Permission.PROJECT_VIEW, name="reader")
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")
    await button(ada.page, "New template").click()
    dialog = ada.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("Gold")
    await dialog.get_by_label("Role").select_option("everyone")
    await dialog.get_by_label("Description").fill("The best.")
    await button(dialog, "Create").click()
    gold = tile(ada.page, "Gold")
    await expect(gold).to_be_visible()

    await edit(gold.get_by_label("Name of the template"), "Platinum")
    gold = tile(ada.page, "Platinum")
    await edit(gold.get_by_label("Description of the template"), "Better still.")
    await edit(gold.get_by_label("Price per request in USD"), "0,0125")
    await button(gold, "Role: everyone").click()
    await ada.page.get_by_role("menuitemradio", name="reader").click()
    await expect(button(gold, "Role: reader")).to_be_visible()

    await button(gold, "Limits").click()
    await dialog.get_by_label("Calls per second").fill("5")
    await dialog.get_by_label("Calls per day").fill("1000")
    await dialog.get_by_label("Cost per month in USD").fill("0,5")
    await button(dialog, "Save").click()
    await expect(gold).to_contain_text("5 per second")
    await expect(gold).to_contain_text("1,000 per day")
    await expect(gold).to_contain_text("$0.50 per month")

    made = await Template.get(name="Platinum").select_related("role")
    assert (made.description, made.price_per_request, made.role.name) == ("Better still.", Decimal("0.0125"), "reader")
    await button(gold, "Move Platinum to an earlier place").click()
    await expect(ada.page.get_by_role("article").first).to_have_accessible_name("Platinum")
    await button(gold, "Delete the template Platinum").click()
    await button(ada.page.get_by_role("alertdialog"), "Delete").click()
    await expect(gold).to_have_count(0)
    await expect(ada.page.get_by_text("The template Platinum is deleted.", exact=True)).to_be_visible()
    assert (await Template.get(id=made.id)).deleted_at is not None


async def test_a_field_is_added_filled_by_hand_and_by_ids_and_deleted_or_brought_back(theatre: Theatre) -> None:
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")
    basic = tile(ada.page, "Basic")
    await button(basic, "Field").click()
    await basic.get_by_label("Name of the field").fill("input node ID")
    await basic.get_by_label("Description of the field").fill("Takes packages.")
    await basic.get_by_label("Value").fill("unknown")
    await button(basic, "Add").click()
    field = basic.get_by_role("group", name="input node ID")
    await edit(field.get_by_label("Description of the field"), "Takes your packages.")
    await edit(field.get_by_label("Value"), "still unknown")
    await button(field, "Insert the project's id").click()
    await expect(field.get_by_label("Value")).to_have_value(theatre.project.id)
    await button(field, "Insert a node's id").click()
    await ada.page.get_by_role("menuitem", name="Readings").click()
    await expect(field.get_by_label("Value")).to_have_value(theatre.readings.upstream_id)
    await edit(field.get_by_label("Name of the field"), "node")

    await button(basic, "Delete the field node").click()
    await expect(basic.get_by_role("group", name="node")).to_have_count(0)
    await button(ada.page, "Undo").click()
    await expect(basic.get_by_role("group", name="node").get_by_label("Value")).to_have_value(
        theatre.readings.upstream_id
    )


async def edit(control: Locator, text: str) -> None:
    await control.fill(text)
    await control.press("Enter")


async def test_what_is_refused_is_told_in_the_gateways_words_and_the_text_stays(theatre: Theatre) -> None:
    await template(theatre.project, theatre.seeing, "Gold", position=1)
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")
    name = tile(ada.page, "Gold").get_by_label("Name of the template")
    await name.fill("Basic")
    await name.press("Enter")
    told = tile(ada.page, "Gold").get_by_role("alert")
    await expect(told).to_contain_text("name")
    await expect(name).to_have_value("Basic")
    await name.press("Escape")
    await expect(name).to_have_value("Gold")
    await expect(told).to_have_count(0)


async def test_two_owners_see_each_others_edits_and_neither_loses_one_unawares(theatre: Theatre) -> None:
    path = f"/projects/{theatre.project.id}/keys"
    ada, other = await theatre.visitor(theatre.ada, path), await theatre.visitor(theatre.ada, path)
    name = "Name of the template"
    hers, his = ada.page.get_by_label(name), other.page.get_by_label(name)
    await his.fill("Silver")
    await hers.fill("Gold")
    await hers.press("Enter")
    await expect(other.page.get_by_text("Changed meanwhile to “Gold”.")).to_be_visible()
    await expect(his).to_have_value("Silver")
    await his.press("Enter")
    await expect(other.page.get_by_role("alert")).to_be_visible()
    assert (await Template.get(id=theatre.basic.id)).name == "Gold"
    await his.press("Enter")
    await expect(hers).to_have_value("Silver")


async def test_a_lost_connection_is_shown_and_what_happened_meanwhile_appears_when_it_heals(theatre: Theatre) -> None:
    line = Line()
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys", line)
    await expect(ada.page.get_by_text("Nobody waits for a key")).to_be_visible()
    await expect_following(theatre, ada.page)
    banner = ada.page.get_by_text("The connection to the gateway is lost.")
    await line.cut()
    await expect(banner).to_be_visible()
    await requests.create(theatre.bo, theatre.basic.id, "Meanwhile.")
    line.mend()
    await button(ada.page, "Try now").click()
    await expect(banner).to_be_hidden()
    await expect(ada.page.get_by_role("row").filter(has_text="Meanwhile.")).to_be_visible()


async def expect_following(theatre: Theatre, page: Page) -> None:
    """The page hears of events: one is made and unmade, and seen both times."""
    await requests.create(theatre.bo, theatre.basic.id, "First.")
    await expect(page.get_by_role("row").filter(has_text="First.")).to_be_visible()
    pending = await KeyRequest.get(state=RequestState.PENDING)
    await requests.cancel(theatre.bo, pending.id)
    await expect(page.get_by_role("row").filter(has_text="First.")).to_have_count(0)


async def test_the_table_of_issued_keys_is_sorted_searched_paged_and_exported(theatre: Theatre) -> None:
    await use(theatre, {f"User {number:02}": number for number in range(1, 13)})
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
    await page.get_by_label("Search by key or user").fill("user 07")
    await expect(page.get_by_text("1-1 of 1")).to_be_visible()

    await page.get_by_role("combobox", name="Period").select_option("From day to day")
    await page.get_by_label("First day").fill("2020-01-01")
    await page.get_by_label("Last day").fill("2020-01-31")
    await expect(table.get_by_role("row").nth(1)).to_contain_text("$0.00")
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
    await ada.page.get_by_label("State").select_option("Active")
    await expect(ada.page.get_by_text("Nothing found")).to_be_visible()


async def use(theatre: Theatre, calls: dict[str, int]) -> list[IssuedKey]:
    """Issues a key to each of these people, and has it called so often, a dime each."""
    issued = [await issued_key(theatre.basic, await person(name)) for name in calls]
    called_at = clock.now() - timedelta(hours=1)
    await counting.record(
        [
            counting.Call(key.id, called_at, Decimal("0.1"))
            for key, quantity in zip(issued, calls.values(), strict=True)
            for _ in range(quantity)
        ]
    )
    return issued


async def test_a_role_is_made_weighed_permitted_on_the_project_and_on_a_node_and_deleted(theatre: Theatre) -> None:
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/roles")
    await button(ada.page, "New role").click()
    dialog = ada.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("caller")
    await dialog.get_by_label("Cost coefficient").fill("0,5")
    await button(dialog, "Create").click()
    caller = tile(ada.page, "caller")
    await edit(caller.get_by_label("Description of the role"), "For programs.")
    await edit(caller.get_by_label("Cost coefficient"), "1.25")
    await button(caller, "Change permissions").click()
    await dialog.get_by_label("View graph").check()
    await dialog.get_by_label("Create packages on Readings").check()
    await button(dialog, "Save").click()
    await expect(caller).to_contain_text("View graph")
    await expect(caller).to_contain_text("Readings: 1")
    await edit(caller.get_by_label("Name of the role"), "program")
    program = tile(ada.page, "program")
    await expect(program).to_be_visible()
    made = await Role.get(name="program")
    assert (made.description, made.cost_coefficient) == ("For programs.", Decimal("1.25"))

    everyone = tile(ada.page, "everyone")
    await everyone.get_by_label("Public").click()
    await button(program, "Delete the role program").click()
    await button(ada.page.get_by_role("alertdialog"), "Delete").click()
    await expect(program).to_have_count(0)
    await expect(everyone.get_by_label("Public")).not_to_be_checked()
    assert not (await Role.get(id=theatre.seeing.id)).is_public
    await button(everyone, "Delete the role everyone").click()
    await button(ada.page.get_by_role("alertdialog"), "Delete").click()
    await expect(ada.page.get_by_role("alertdialog").get_by_role("alert")).to_contain_text("template")


async def test_a_member_is_added_given_roles_and_taken_off(theatre: Theatre) -> None:
    await role(theatre.project, Permission.PROJECT_VIEW, name="reader")
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/members")
    row, dialog = ada.page.get_by_role("row").filter(has_text="Bo@example.org"), ada.page.get_by_role("dialog")
    await button(ada.page, "Add member").click()
    await dialog.get_by_label("E-mail").fill("nobody@example.org")
    await dialog.get_by_label("reader").check()
    await button(dialog, "Add").click()
    await expect(dialog.get_by_role("alert")).not_to_be_empty()
    await dialog.get_by_label("E-mail").fill("bo@example.org")
    await button(dialog, "Add").click()
    await button(row, "Roles of Bo: reader").click()
    await ada.page.get_by_role("menuitemcheckbox", name="everyone").click()
    await ada.page.keyboard.press("Escape")
    await expect(button(row, "Roles of Bo: everyone, reader")).to_be_visible()
    await button(row, "Remove").click()
    await button(ada.page.get_by_role("alertdialog"), "Remove").click()
    await expect(row).to_have_count(0)
    await button(ada.page, "Remove Ada").click()
    await button(ada.page.get_by_role("alertdialog"), "Remove").click()
    await expect(ada.page.get_by_role("alertdialog").get_by_role("alert")).to_contain_text("owner")


async def test_a_key_becomes_secrets_whose_values_are_hidden_until_asked_for(theatre: Theatre) -> None:
    await requests.create(theatre.bo, theatre.basic.id)
    await templates.add_field(
        theatre.ada, theatre.basic.id, NewField("project ID", FieldValue(is_project_id=True), "Which")
    )
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")
    await button(ada.page, "Approve Bo's request for Basic").first.click()
    await expect(ada.page.get_by_text("Nobody waits for a key")).to_be_visible()
    client = await owned_project(theatre.bo, "Client")
    bo = await theatre.visitor(theatre.bo, f"/projects/{client.id}/secrets")
    dialog = bo.page.get_by_role("dialog")
    await button(bo.page, "Add an API key").click()
    await dialog.get_by_label("Project / key").select_option("Maps / Basic")
    await dialog.get_by_label("Prefix").fill("maps")
    await expect(dialog).to_contain_text("maps_project_ID")
    await button(dialog, "Add").click()
    await expect(bo.page.get_by_text("from Maps / Basic")).to_have_count(2)

    await expect(bo.page.get_by_role("textbox", name="Value of maps_project_ID")).to_have_count(0)
    await button(bo.page, "Show the value of maps_project_ID").click()
    await expect(bo.page.get_by_role("textbox", name="Value of maps_project_ID")).to_have_value(theatre.project.id)
    await button(bo.page, "Copy the value of maps_token").click()
    await expect(bo.page.get_by_text("maps_token is in the clipboard.", exact=True)).to_be_visible()
    assert await opens(theatre, await bo.page.evaluate("navigator.clipboard.readText()"))

    await button(bo.page, "New secret").click()
    await dialog.get_by_label("Name").fill("MOTTO")
    await dialog.get_by_label("Value").fill("two words")
    await button(dialog, "Create").click()
    await edit(bo.page.get_by_label("Description of MOTTO"), "For the wall.")
    async with bo.page.expect_download() as download:
        await button(bo.page, "Export .env").click()
    exported = (await (await download.value).path()).read_text()
    assert "MOTTO='two words'\n" in exported
    assert f"maps_project_ID={theatre.project.id}\n" in exported
    await button(bo.page, "Delete the secret MOTTO").click()
    await button(bo.page.get_by_role("alertdialog"), "Delete").click()
    await expect(bo.page.get_by_label("Name of MOTTO")).to_have_count(0)


async def test_people_sign_in_by_keyboard_come_where_they_were_going_and_sign_out(theatre: Theatre) -> None:
    await users.create(GATEWAY, Passwords(), "eve@example.org", "Eve", PASSWORD)
    eve = await theatre.visitor(None, f"/projects/{theatre.project.id}")
    page = eve.page
    await page.get_by_label("E-mail").fill("eve@example.org")
    await page.get_by_label("Password").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Maps")).to_be_visible()
    await expect(tile(page, "Basic")).to_be_visible()

    menu = button(page, "Eve")
    await menu.press("Enter")
    await page.get_by_role("menuitemradio", name="Русский").press("Enter")
    await page.get_by_role("menuitemradio", name="Тёмная").press("Enter")
    assert await page.locator("html").get_attribute("lang") == "ru"
    assert await page.locator("html").get_attribute("data-theme") == "dark"
    await page.reload()
    await expect(button(tile(page, "Basic"), "Запросить")).to_be_visible()
    await menu.press("Enter")
    await page.get_by_role("menuitem", name="Выйти", exact=True).press("Enter")
    await expect(page.get_by_label("Пароль")).to_be_visible()
    await page.goto("/projects")
    await expect(page.get_by_label("Пароль")).to_be_visible()


async def test_who_is_signed_out_elsewhere_is_asked_to_sign_in_again(theatre: Theatre) -> None:
    bo = await theatre.visitor(theatre.bo, f"/projects/{theatre.project.id}")
    await expect(tile(bo.page, "Basic")).to_be_visible()
    elsewhere = await theatre.visitor(theatre.bo, "/projects")
    await button(elsewhere.page, "Bo").click()
    await elsewhere.page.get_by_role("menuitem", name="Sign out everywhere").click()
    await expect(bo.page.get_by_label("Password")).to_be_visible()


async def test_projects_are_found_and_made(theatre: Theatre) -> None:
    ada = await theatre.visitor(theatre.ada, "/")
    await ada.page.get_by_label("Search projects").fill("nothing like it")
    await expect(ada.page.get_by_text("Nothing found")).to_be_visible()
    await button(ada.page, "New project").click()
    await ada.page.get_by_label("Name").fill("Charts")
    await button(ada.page.get_by_role("dialog"), "Create").click()
    await expect(ada.page.get_by_role("heading", name="Charts")).to_be_visible()
    await expect(ada.page.get_by_text("No templates yet")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_everybody_can_use_each_screen_in_both_themes(theatre: Theatre, theme: str) -> None:
    await requests.create(theatre.bo, theatre.basic.id, "Please.")
    await join(theatre.project, theatre.bo, theatre.seeing)
    maps = f"/projects/{theatre.project.id}"
    await use(theatre, {"Cem": 3})
    await secrets.create(theatre.ada, SEALER, theatre.project.id, name="MOTTO", value="two words")
    screens = {
        "/projects": "Maps",
        maps: "Basic",
        f"{maps}/issued": "Cem",
        f"{maps}/roles": "everyone",
        f"{maps}/members": "Bo",
        f"{maps}/secrets": "••",
        f"{maps}/keys": "Please.",
    }
    stranger = await theatre.visitor(None, "/sign-in", color_scheme=theme)
    await expect(stranger.page.get_by_label("Password")).to_be_visible()
    assert await stranger.violations() == []
    ada = await theatre.visitor(theatre.ada, "/projects", color_scheme=theme)
    for path, shown in screens.items():
        await ada.page.goto(path)
        await expect(ada.page.get_by_text(shown).first).to_be_visible()
        assert await ada.violations() == [], path
    await button(ada.page, "Reject").click()
    assert await ada.violations() == []


@pytest.mark.parametrize("path", ["/sign-in", "/projects/{}", "/projects/{}/keys", "/projects/{}/issued"])
async def test_a_first_view_is_small_and_nothing_in_it_jumps(theatre: Theatre, path: str) -> None:
    who = None if path == "/sign-in" else theatre.ada
    visitor = await theatre.visitor(who, path.format(theatre.project.id))
    await visitor.page.wait_for_load_state("networkidle")
    assert 0 < await visitor.page.evaluate(SCRIPT_BYTES) < 300_000
    assert await visitor.page.evaluate(SHIFT) < 0.02


SCRIPT_BYTES = """() => performance.getEntriesByType("resource")
  .filter((one) => one.name.endsWith(".js"))
  .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
SHIFT = """() => new Promise((resolve) => {
  const observer = new PerformanceObserver(() => undefined);
  observer.observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => resolve(observer.takeRecords().reduce((sum, one) => sum + one.value, 0)));
})"""
"""The sum of all layout shifts so far (https://web.dev/articles/cls counts 0.1 as good)."""
