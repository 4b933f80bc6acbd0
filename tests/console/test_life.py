"""The whole life of a key before a real Chromium: owner and caller at a page each, calls through the gateway."""

import httpx2
import pytest
from playwright.async_api import Page, expect
from starlette.types import Receive, Scope, Send

from gateway import projects
from tests.browsing import NEEDS_BROWSER, Theatre, button, edit, tile
from tests.serving import serving

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]


async def service(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers each call with its target."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["raw_path"]})


async def call(theatre: Theatre, token: str) -> int:
    """The status that a program of the key's holder is answered with."""
    target = f"{theatre.url}/api/projects/{theatre.project.id}/data_layers"
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as program:
        return (await program.get(target)).status_code


async def make_template(page: Page, name: str, price: str) -> None:
    await button(page, "New template").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill(name)
    await dialog.get_by_label("Role").select_option("everyone")
    await button(dialog, "Create").click()
    gold = tile(page, name)
    await edit(gold.get_by_label("Price per request in USD"), price)
    await button(gold, "Field").click()
    await button(gold, "Insert the project's id").click()
    await button(gold, "Add").click()
    await expect(gold.get_by_role("group", name="project ID")).to_be_visible()


async def test_a_key_lives_from_its_template_to_the_call_that_is_refused(theatre: Theatre) -> None:
    maps = f"/projects/{theatre.project.id}"
    async with serving(service) as upstream:
        await projects.update(theatre.ada, theatre.project.id, {"upstream_url": upstream})
        ada = (await theatre.visitor(theatre.ada, f"{maps}/keys")).page
        bo = (await theatre.visitor(theatre.bo, maps)).page

        await make_template(ada, "Gold", "0.25")
        gold = tile(bo, "Gold")
        await bo.reload()
        await button(gold, "Request").click()
        await button(bo.get_by_role("dialog"), "Request").click()
        await button(ada, "Approve Bo's request for Gold").first.click()
        await button(gold, "Copy key").click()
        await expect(bo.get_by_text("The key Gold is in the clipboard.", exact=True)).to_be_visible()
        token = await bo.evaluate("navigator.clipboard.readText()")
        await expect(gold).to_contain_text(theatre.project.id)  # the field's value, which the holder of a key sees

        assert [await call(theatre, token) for _ in range(3)] == [200, 200, 200]
        await bo.get_by_role("link", name="My keys").click()
        mine = tile(bo, "Maps / Gold")
        await expect(mine).to_contain_text("$0.75")
        await ada.get_by_role("link", name="Issued keys").click()
        row = ada.get_by_role("row").filter(has_text="Gold").first
        await expect(row).to_contain_text("$0.75")
        assert await call(theatre, token) == 200
        await button(ada, "Refresh").click()
        await expect(row).to_contain_text("$1.00")
        await button(bo, "Refresh").click()
        await expect(mine).to_contain_text("$1.00")

        await button(row, "Revoke").click()
        await button(ada.get_by_role("alertdialog"), "Revoke").click()
        await expect(row).to_contain_text("Revoked")
        await expect(mine).to_have_count(0)
        assert await call(theatre, token) == 401
        await button(ada, "Refresh").click()
        await expect(ada.get_by_role("figure", name="Cost")).to_contain_text("$1.00")
