"""All pages before a real Chromium: who may see them, how they are reached, and that everybody can use them."""

import pytest
from playwright.async_api import expect

from gateway import users
from gateway.passwords import Passwords
from gateway.permissions import GATEWAY
from tests.browsing import NEEDS_BROWSER, Theatre, button, tile

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]
PASSWORD = "correct horse battery"


@pytest.mark.parametrize("theatre", ["closed"], indirect=True)
async def test_people_sign_in_by_keyboard_come_where_they_were_going_and_sign_out(theatre: Theatre) -> None:
    await users.create(GATEWAY, Passwords(), "eve@example.org", "Eve", PASSWORD)
    eve = await theatre.visitor(None, "/my-keys")
    page = eve.page
    await expect(page.get_by_role("link", name="Create an account")).to_have_count(
        0
    )  # it is the administrator who does
    await page.get_by_label("E-mail").fill("eve@example.org")
    await page.get_by_label("Password").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="My keys")).to_be_visible()
    await page.goto(f"/projects/{theatre.project.id}")
    await expect(tile(page, "Basic")).to_be_visible()

    menu = button(page, "Eve")
    await menu.press("Enter")
    await page.get_by_role("menuitemradio", name="Русский").press("Enter")
    await page.get_by_role("menuitemradio", name="Тёмная").press("Enter")
    await expect(page.locator("html[lang=ru][data-theme=dark]")).to_be_attached()
    await page.reload()
    await expect(button(tile(page, "Basic"), "Запросить")).to_be_visible()
    await menu.press("Enter")
    await page.get_by_role("menuitem", name="Выйти", exact=True).press("Enter")
    await expect(page.get_by_label("Пароль")).to_be_visible()
    await page.goto("/sign-up?next=/my-keys")
    await expect(page.get_by_label("Пароль")).to_be_visible()


async def test_who_is_signed_out_elsewhere_is_asked_to_sign_in_again(theatre: Theatre) -> None:
    bo = await theatre.visitor(theatre.bo, f"/projects/{theatre.project.id}")
    await expect(tile(bo.page, "Basic")).to_be_visible()
    elsewhere = await theatre.visitor(theatre.bo, "/projects")
    await button(elsewhere.page, "Bo").click()
    await elsewhere.page.get_by_role("menuitem", name="Sign out everywhere").click()
    await expect(bo.page.get_by_label("Password")).to_be_visible()


async def test_a_screen_that_can_not_be_loaded_is_told_and_one_that_an_update_replaced_is_opened_afresh(
    theatre: Theatre,
) -> None:
    bo = await theatre.visitor(theatre.bo, "/projects")
    keys = bo.page.get_by_role("link", name="My keys")
    await expect(bo.page.get_by_role("link", name="Maps")).to_be_visible()
    await bo.page.context.set_offline(True)
    await keys.click()
    await expect(bo.page.get_by_text("The gateway could not be reached.").first).to_be_visible()
    await bo.page.context.set_offline(False)
    await bo.page.route("**/assets/MyKeys-*", lambda route: route.fulfill(status=404), times=1)
    await keys.click()
    await expect(bo.page.get_by_role("heading", name="My keys")).to_be_visible()
    bo.troubles.clear()  # which the browser tells of what it could not load


async def test_projects_are_found_and_made(theatre: Theatre) -> None:
    ada = await theatre.visitor(theatre.ada, "/")
    await ada.page.get_by_label("Search projects").fill("nothing like it")
    await expect(ada.page.get_by_text("Nothing found")).to_be_visible()
    await button(ada.page, "New project").click()
    await ada.page.get_by_label("Name").fill("Charts")
    await button(ada.page.get_by_role("dialog"), "Create").click()
    await expect(ada.page.get_by_role("heading", name="Charts")).to_be_visible()
    await expect(ada.page.get_by_text("No templates yet")).to_be_visible()
