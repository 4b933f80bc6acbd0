"""Each screen before a real Chromium: everybody can use it, in both themes, on a phone and on the widest display."""

import pytest
from playwright.async_api import CDPSession, Page, ViewportSize, expect

from tests.browsing import NEEDS_BROWSER, Theatre, Visitor, button
from tests.console.furniture import OPEN, furnish, screens
from tests.console.looking import SCRIPT_BYTES, UNFIT, WATCH_SHIFTS, seconds_of_a_core

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]

PHONE, WIDEST = ViewportSize(width=360, height=780), ViewportSize(width=3840, height=900)
DIALOGS = {"keys": "Reject", "roles": "Change permissions", "members": "Add member", "settings": "New rule"}
"""The button of a dialog, by the end of its screen's path."""
MOST_SCRIPT = 300_000
MOST_WORK = 2.0
"""Until a screen can be used, in seconds of a core: it takes 0.1, and what else runs changes little of that."""


async def test_each_screen_stands_still_as_it_loads_fits_any_width_and_is_for_everybody_in_both_themes(
    theatre: Theatre,
) -> None:
    await furnish(theatre)
    faults: list[str] = []
    for who, paths in ((None, screens(theatre, OPEN)), (theatre.ada, screens(theatre))):
        visitor = await theatre.visitor(who, "/sign-in", viewport=PHONE)
        await visitor.page.add_init_script(WATCH_SHIFTS)
        devtools = await visitor.page.context.new_cdp_session(visitor.page)
        await devtools.send("Performance.enable")
        for path, shown in paths.items():
            faults += [f"{path}: {fault}" for fault in await faults_of(visitor, devtools, path, shown)]
    assert not faults, "\n".join(faults)


async def faults_of(visitor: Visitor, devtools: CDPSession, path: str, shown: str) -> list[str]:
    page = visitor.page
    await page.set_viewport_size(PHONE)
    await page.goto(path)
    await expect(page.get_by_text(shown).first).to_be_visible()
    await expect(page.locator(".skeleton")).to_have_count(0)
    await two_frames(page)
    faults = [f"{what} moved by {far:.4f}" for far, what in await page.evaluate("shifts")]
    faults += await excesses(page, devtools)
    faults += [*await visitor.violations(), *await unfit(page)]
    opener = DIALOGS.get(path.rpartition("/")[2])
    if opener:
        await button(page, opener).first.click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        faults += [*await visitor.violations("[role=dialog]"), *await unfit(page)]
        await page.keyboard.press("Escape")
    await page.emulate_media(color_scheme="dark")
    faults += await visitor.violations()
    await page.emulate_media(color_scheme="light")
    return faults


async def two_frames(page: Page) -> None:
    """After which what was just shown is laid out, and its shifts are told."""
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def excesses(page: Page, devtools: CDPSession) -> list[str]:
    """Over the budget of what a screen may cost before it can be used."""
    size, work = await page.evaluate(SCRIPT_BYTES), await seconds_of_a_core(devtools)
    spent = {f"{size} bytes of script": size > MOST_SCRIPT, f"{work:.2f} s of a core": work > MOST_WORK}
    return [what for what, is_too_much in spent.items() if is_too_much]


async def unfit(page: Page) -> list[str]:
    found = []
    for size in (WIDEST, PHONE):
        await page.set_viewport_size(size)
        found += [f"at {size['width']}: {each}" for each in await page.evaluate(UNFIT)]
    return found
