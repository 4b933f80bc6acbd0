"""Roles, members and secrets before a real Chromium."""

from decimal import Decimal

import pytest
from playwright.async_api import expect

from gateway import requests, secrets, templates
from gateway.permissions import Permission
from gateway.templates import FieldValue, NewField
from models import Role, Secret
from tests.browsing import NEEDS_BROWSER, Theatre, button, edit, eventually, opens, tile
from tests.world import SEALER, owned_project, role

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]


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
    await eventually(Role.filter(id=theatre.seeing.id, is_public=True).exists, False)
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
    await button(bo.page, "Hide the value of maps_project_ID").click()
    await expect(bo.page.get_by_role("textbox", name="Value of maps_project_ID")).to_have_count(0)
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


async def test_a_stale_edit_of_a_secrets_value_is_refused_with_the_others_value_beside_it(theatre: Theatre) -> None:
    made = await secrets.create(theatre.ada, SEALER, theatre.project.id, name="MOTTO", value="first")
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/secrets")
    row = ada.page.get_by_role("row").filter(has=ada.page.get_by_label("Name of MOTTO"))
    await button(row, "Show the value of MOTTO").click()
    value = row.get_by_role("textbox", name="Value of MOTTO")
    await edit(row.get_by_label("Description of MOTTO"), "Of the house.")
    await edit(value, "second")  # her own edits are no stale ones
    await eventually(lambda: value_of(made.id), b"second")
    await expect(row.get_by_role("alert")).to_have_count(0)
    await value.fill("hers")
    await secrets.update(theatre.ada, SEALER, made.id, {"value": "the other's"})
    await expect(row.get_by_text("The secret was changed meanwhile.")).to_be_visible()
    await value.press("Enter")
    await expect(row.get_by_role("alert")).to_contain_text("changed meanwhile")
    await expect(row.get_by_text("Changed meanwhile to “the other's”.")).to_be_visible()
    await expect(value).to_have_value("hers")
    await value.press("Enter")
    await expect(row.get_by_role("alert")).to_have_count(0)
    await eventually(lambda: value_of(made.id), b"hers")


async def value_of(secret_id: str) -> bytes:
    return SEALER.open(secrets.PURPOSE, bytes((await Secret.get(id=secret_id)).sealed_value or b""), secret_id)
