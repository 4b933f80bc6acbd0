"""Templates before a real Chromium: each part is edited where it stands, and no edit is lost unawares."""

from contextlib import suppress
from decimal import Decimal

import pytest
from playwright.async_api import Locator, Page, expect
from playwright.async_api import TimeoutError as WaitedInVain

from gateway import requests, templates
from gateway.permissions import Permission
from gateway.templates import FieldValue, NewField
from models import KeyRequest, RequestState, Template, TemplateField
from tests.browsing import NEEDS_BROWSER, Line, Theatre, button, edit, eventually, tile
from tests.world import role, template

pytestmark = [
    NEEDS_BROWSER,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]


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
    await button(gold, "Move Platinum to a later place").press("Enter")
    await expect(ada.page.get_by_role("article").last).to_have_accessible_name("Platinum")
    await expect(button(gold, "Move Platinum to an earlier place")).to_be_focused()
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
    await pick_node(ada.page, button(basic, "Insert a node's id into input node ID"), "Readings")
    await expect(basic.get_by_text(theatre.readings.upstream_id)).to_be_visible()
    await button(basic, "Type a value instead").click()
    await basic.get_by_label("Value").fill("unknown")
    await button(basic, "Add").click()
    field = basic.get_by_role("group", name="input node ID")
    await edit(field.get_by_label("Description of the field"), "Takes your packages.")
    await edit(field.get_by_label("Value"), "still unknown")
    await button(field, "Insert the project's id").click()
    await expect(field.get_by_label("Value")).to_have_value(theatre.project.id)
    await pick_node(ada.page, button(field, "Insert a node's id"), "Readings")
    await expect(field.get_by_label("Value")).to_have_value(theatre.readings.upstream_id)
    await edit(field.get_by_label("Name of the field"), "node")

    await basic.get_by_role("button", name="Field", exact=True).click()
    await button(basic, "Insert the project's id").last.click()
    await button(basic, "Add").click()
    fields = basic.get_by_role("group")
    await button(basic, "Move project ID up").press("Enter")
    await expect(fields.first).to_have_accessible_name("project ID")
    await expect(button(basic, "Move project ID down")).to_be_focused()
    await button(basic, "Move project ID down").press("Enter")
    await expect(fields.last).to_have_accessible_name("project ID")

    await button(basic, "Delete the field node").click()
    await expect(basic.get_by_role("group", name="node")).to_have_count(0)
    await button(ada.page, "Undo").click()
    await expect(basic.get_by_role("group", name="node").get_by_label("Value")).to_have_value(
        theatre.readings.upstream_id
    )


async def pick_node(page: Page, opener: Locator, name: str) -> None:
    await opener.click()
    await page.get_by_role("dialog").get_by_role("button", name=name).click()
    await expect(opener).to_be_focused()


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
    with suppress(WaitedInVain):  # it tries by itself too, and then the button is gone
        await button(ada.page, "Try now").click(timeout=2_000)
    await expect(banner).to_be_hidden()
    await expect(ada.page.get_by_role("row").filter(has_text="Meanwhile.")).to_be_visible()


async def expect_following(theatre: Theatre, page: Page) -> None:
    """The page hears of events: one is made and unmade, and seen both times."""
    await requests.create(theatre.bo, theatre.basic.id, "First.")
    await expect(page.get_by_role("row").filter(has_text="First.")).to_be_visible()
    pending = await KeyRequest.get(state=RequestState.PENDING)
    await requests.cancel(theatre.bo, pending.id)
    await expect(page.get_by_role("row").filter(has_text="First.")).to_have_count(0)


async def test_a_stale_edit_of_a_field_is_refused_with_the_others_value_beside_it(theatre: Theatre) -> None:
    made = await templates.add_field(theatre.ada, theatre.basic.id, NewField("input", FieldValue(literal="first")))
    [field] = (await templates.fields_of(theatre.ada, [made.id]))[made.id]
    ada = await theatre.visitor(theatre.ada, f"/projects/{theatre.project.id}/keys")
    value = ada.page.get_by_role("group", name="input").get_by_label("Value")
    await value.fill("hers")
    await templates.update_field(theatre.ada, field.id, {"value": FieldValue(literal="the other's")})
    await expect(ada.page.get_by_text("Changed meanwhile to “the other's”.")).to_be_visible()
    await value.press("Enter")
    await expect(ada.page.get_by_role("alert")).to_contain_text("changed meanwhile")
    await expect(ada.page.get_by_text("Changed meanwhile to “the other's”.")).to_be_visible()
    assert (await TemplateField.get(id=field.id)).value == "the other's"
    await value.press("Enter")
    await expect(ada.page.get_by_role("alert")).to_have_count(0)
    await eventually(TemplateField.filter(id=field.id, value="hers").exists, True)
