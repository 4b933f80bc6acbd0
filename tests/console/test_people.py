"""What people do who own no project: look around, make an account, and keep their keys."""

import pytest
from playwright.async_api import expect

from gateway import keys, requests, templates, users
from gateway.limits import LimitsWanted
from gateway.passwords import Passwords
from gateway.permissions import GATEWAY, Actor
from gateway.templates import FieldValue, NewField
from models import IssuedKey, KeyRequest, KeyState, RequestState
from tests.browsing import NEEDS_BROWSER, Theatre, button, opens, tile, use
from tests.world import issued_key, owned_project, template

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]
PASSWORD = "correct horse battery"
ANOTHER = "another horse battery"


async def granted(theatre: Theatre) -> IssuedKey:
    """A key of Bo's, which Ada approved at her page."""
    await requests.create(theatre.bo, theatre.basic.id)
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")
    await button(ada.page, "Approve Bo's request for Basic").first.click()
    await expect(ada.page.get_by_text("Nobody waits for a key")).to_be_visible()
    return await IssuedKey.get()


async def test_who_is_not_signed_in_sees_what_is_public_and_a_request_leads_through_an_account_and_back(
    theatre: Theatre,
) -> None:
    await owned_project(theatre.ada, "Hidden")
    page = (await theatre.visitor(None, "/")).page
    await expect(page.get_by_text("1 project", exact=True)).to_be_visible()
    await expect(button(page, "New project")).to_have_count(0)
    await page.get_by_role("link", name="Maps").click()
    await tile(page, "Basic").get_by_role("link", name="Request").click()
    await page.get_by_role("link", name="Create an account").click()
    await page.get_by_label("Your name").fill("Eve")
    await page.get_by_label("E-mail").fill("eve@example.org")
    await page.get_by_label("Password").fill(PASSWORD)
    await button(page, "Create").click()
    await button(page.get_by_role("dialog"), "Request").click()
    await expect(tile(page, "Basic")).to_contain_text("Requested today at")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.reload()
    await expect(tile(page, "Basic")).to_contain_text("Requested today at")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert (await KeyRequest.get().select_related("user")).user.name == "Eve"


async def test_an_account_is_not_made_twice_and_the_reason_is_told(theatre: Theatre) -> None:
    page = (await theatre.visitor(None, "/sign-up")).page
    await page.get_by_label("Your name").fill("Ada again")
    await page.get_by_label("E-mail").fill("ada@example.org")
    await page.get_by_label("Password").fill(PASSWORD)
    await button(page, "Create").click()
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await expect(page.get_by_label("Your name")).to_have_value("Ada again")


async def test_a_project_that_is_not_public_asks_who_is_there_and_is_shown_after_that(theatre: Theatre) -> None:
    eve = await users.create(GATEWAY, Passwords(), "eve@example.org", "Eve", PASSWORD)
    hidden = await owned_project(Actor(user=eve), "Hidden")
    page = (await theatre.visitor(None, f"/projects/{hidden.id}")).page
    await page.get_by_label("E-mail").fill("eve@example.org")
    await page.get_by_label("Password").fill(PASSWORD)
    await button(page, "Sign in").click()
    await expect(page.get_by_role("heading", name="Hidden")).to_be_visible()


async def test_a_password_is_changed_which_ends_every_other_session_and_not_this_one(theatre: Theatre) -> None:
    await users.create(GATEWAY, Passwords(), "eve@example.org", "Eve", PASSWORD)
    here, elsewhere = [(await theatre.visitor(None, "/sign-in?next=/account")).page for _ in range(2)]
    for page in (here, elsewhere):
        await page.get_by_label("E-mail").fill("eve@example.org")
        await page.get_by_label("Password").fill(PASSWORD)
        await button(page, "Sign in").click()
        await expect(page.get_by_role("heading", name="My account")).to_be_visible()
    await elsewhere.get_by_role("link", name="My keys").click()
    await expect(elsewhere.get_by_text("No keys yet")).to_be_visible()

    await here.get_by_label("Present password").fill("wrong")
    await here.get_by_label("New password").fill(ANOTHER)
    await button(here, "Change the password").click()
    await expect(here.get_by_role("alert")).not_to_be_empty()
    await here.get_by_label("Present password").fill(PASSWORD)
    await button(here, "Change the password").click()
    await expect(here.get_by_text("Your password is changed.", exact=True)).to_be_visible()
    await expect(elsewhere.get_by_label("Password")).to_be_visible()
    await here.reload()
    await expect(here.get_by_role("heading", name="My account")).to_be_visible()
    await button(here, "Sign out everywhere").click()
    await here.get_by_label("E-mail").fill("eve@example.org")
    await here.get_by_label("Password").fill(ANOTHER)
    await button(here, "Sign in").click()
    await expect(here.get_by_role("heading", name="My account")).to_be_visible()


async def test_ones_own_keys_of_all_projects_stand_together_with_what_they_called_and_may_call(
    theatre: Theatre,
) -> None:
    await templates.update(theatre.ada, theatre.basic.id, {"limits": LimitsWanted(calls_per_day=10)})
    await templates.add_field(theatre.ada, theatre.basic.id, NewField("node", FieldValue(literal="n-1"), "Which"))
    held = await granted(theatre)
    charts = await owned_project(theatre.ada, "Charts")
    ended = await issued_key(await template(charts, theatre.seeing, "Old"), theatre.bo)
    await keys.revoke(theatre.ada, ended.id)
    await use(theatre, {"Cem": 5})  # which is nobody else's business

    page = (await theatre.visitor(theatre.bo, "/projects")).page
    await page.get_by_role("link", name="My keys").click()
    mine = tile(page, "Maps / Basic")
    await expect(mine).to_contain_text("10 calls of 10 left today")
    await expect(mine).to_contain_text("$0.00")
    await expect(page.get_by_text("1 key", exact=True)).to_be_visible()
    await mine.get_by_text("1 information field").click()
    await button(mine, "Copy the value of node").click()
    assert await page.evaluate("navigator.clipboard.readText()") == "n-1"
    await button(mine, "Copy key").click()
    await expect(page.get_by_text("The key Basic is in the clipboard.", exact=True)).to_be_visible()
    assert await opens(theatre, await page.evaluate("navigator.clipboard.readText()"))

    await page.get_by_label("Also those that ended").check()
    await expect(tile(page, f"Charts / {ended.name}")).to_contain_text("Revoked")
    await expect(page.get_by_text("2 keys", exact=True)).to_be_visible()
    await page.get_by_label("Also those that ended").uncheck()
    await keys.suspend(theatre.ada, held.id)
    await expect(mine).to_contain_text("Suspended")
    await keys.resume(theatre.ada, held.id)
    await expect(mine).to_contain_text("Active")
    await button(mine, "Revoke this key").click()
    await button(page.get_by_role("alertdialog"), "Revoke").click()
    await expect(page.get_by_text("No keys yet")).to_be_visible()
    assert (await IssuedKey.get(id=held.id)).state is KeyState.REVOKED


async def test_what_one_waits_for_stands_among_ones_own_keys_and_can_be_taken_back(theatre: Theatre) -> None:
    await requests.create(theatre.bo, theatre.basic.id, "For my thesis.")
    await template(theatre.project, theatre.seeing, "Gold", position=1)
    page = (await theatre.visitor(theatre.bo, "/my-keys")).page
    await expect(page.get_by_text("For my thesis.")).to_be_visible()
    await button(page, "Cancel request for Basic").click()
    await expect(page.get_by_text("For my thesis.")).to_have_count(0)
    await expect(page.get_by_text("No keys yet")).to_be_visible()
    assert (await KeyRequest.get()).state is RequestState.CANCELLED


async def test_where_a_browser_lets_no_page_copy_a_key_is_shown_instead(theatre: Theatre) -> None:
    await granted(theatre)
    bo = await theatre.visitor(theatre.bo, "/my-keys")
    await bo.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    await button(bo.page, "Copy key").click()
    token = await bo.page.get_by_role("dialog").get_by_label("Token", exact=True).input_value()
    assert await opens(theatre, token)
