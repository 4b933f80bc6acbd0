"""All pages before a real Chromium: who may see them, how they are reached, and that everybody can use them."""

import pytest
from playwright.async_api import expect

from gateway import requests, secrets, users
from gateway.passwords import Passwords
from gateway.permissions import GATEWAY
from tests.browsing import NEEDS_BROWSER, Theatre, button, tile, use
from tests.world import SEALER, join

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]
PASSWORD = "correct horse battery"


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
