"""Keys imported as secrets: all of the secrets or none, and a token that is always the present one."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from gateway import clock, keys, secrets, templates
from gateway.errors import Conflict, Invalid, NotFound, TesseraError
from gateway.events import head
from gateway.templates import FieldValue, NewField
from models import IssuedKey, Secret
from tests.asking import ask
from tests.vault import KEYRING, Vault, denied_to, held_key, new_vault, value_of
from tests.world import (
    SEALER,
    node,
    owned_project,
    refused,
    told,
)


@pytest.fixture
async def scene(database: str) -> Vault:
    return await new_vault()


async def test_an_import_makes_a_secret_of_the_token_and_of_each_living_field(scene: Vault) -> None:
    entry = await node(scene.service)
    fields = [
        NewField("project ID", FieldValue(is_project_id=True), "Which project"),
        NewField("input -- node/ID", FieldValue(node_id=entry.id), "Where to send"),
        NewField("Größe", FieldValue(literal="")),
        NewField("gone", FieldValue(literal="x")),
    ]
    scene.key = await held_key(scene, "Rich", *fields)
    listed = (await templates.fields_of(scene.olga, [scene.key.template_id]))[scene.key.template_id]
    await templates.delete_field(scene.olga, listed[-1].id)
    before = len(await told())

    made = await scene.import_key("maps")

    expected = {
        "maps_token": ("Ten calls a day", await keys.token(KEYRING, scene.key)),
        "maps_project_ID": ("Which project", scene.service.id),
        "maps_input_node_ID": ("Where to send", entry.upstream_id),
        "maps_Gr_e": ("", ""),
    }
    assert {each.name: (each.description, await value_of(each.id)) for each in made} == expected
    assert {each.imported_from_id for each in made} == {scene.key.id}
    assert (await told())[before:] == [("secret.created", each.id) for each in made]
    assert (await Secret.get(id=made[0].id)).sealed_value is None


async def test_the_longest_names_fit(scene: Vault) -> None:
    scene.key = await held_key(scene, "Long", NewField("f" * 100, FieldValue(literal="x")))
    made = await scene.import_key("p" * 100)
    assert [each.name for each in made] == ["p" * 100 + "_token", "p" * 100 + "_" + "f" * 100]


async def test_an_imported_token_always_reads_as_the_keys_present_one(scene: Vault) -> None:
    [made] = await scene.import_key()
    old = await value_of(made.id)
    await keys.rotate(scene.ulrich, KEYRING, scene.key.id, 0)
    present = await keys.token(KEYRING, await IssuedKey.get(id=scene.key.id))
    assert old != present
    assert await value_of(made.id) == present
    await keys.suspend(scene.olga, scene.key.id)
    assert await value_of(made.id) == present
    await keys.revoke(scene.olga, scene.key.id)
    assert await value_of(made.id) is None
    await secrets.reveal(scene.ulrich, made.id)


async def test_the_token_of_an_expired_key_is_not_shown_though_nobody_was_told_yet(scene: Vault) -> None:
    [made] = await scene.import_key()
    await IssuedKey.filter(id=scene.key.id).update(expires_at=clock.now())
    assert await value_of(made.id) is None


async def test_an_imported_token_is_not_edited_by_hand(scene: Vault) -> None:
    [made] = await scene.import_key()
    async with refused(Conflict, "value"):
        await secrets.update(scene.ulrich, SEALER, made.id, {"value": "mine", "name": "mine"})
    await secrets.update(scene.ulrich, SEALER, made.id, {"name": "mine", "description": "Of the maps"})
    assert await value_of(made.id) == await keys.token(KEYRING, scene.key)
    await secrets.delete(scene.ulrich, made.id)
    assert (await Secret.get(id=made.id)).sealed_value is None


async def test_the_value_of_an_imported_field_can_be_changed(scene: Vault) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    [_, made] = await scene.import_key()
    changed = await secrets.update(scene.ulrich, SEALER, made.id, {"value": "y"})
    assert (await value_of(made.id), changed.imported_from_id) == ("y", scene.key.id)


@pytest.mark.parametrize("taken", ["maps_token", "maps_hint"])
async def test_an_import_creates_nothing_where_a_name_is_taken(scene: Vault, taken: str) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    made = await scene.create(taken)
    async with refused(Conflict, "prefix"):
        await scene.import_key()
    await secrets.delete(scene.ulrich, made.id)
    await scene.import_key()


@pytest.mark.parametrize("names", [("node ID", "node-ID"), ("hint", "token")])
async def test_an_import_creates_nothing_where_two_would_have_one_name(scene: Vault, names: list[str]) -> None:
    scene.key = await held_key(scene, "Rich", *(NewField(name, FieldValue(literal="x")) for name in names))
    async with refused(Conflict, "prefix"):
        await scene.import_key()


@pytest.mark.parametrize("prefix", ["", "a-b", "a b", "é", "x" * 101])
async def test_a_prefix_is_one_that_names_can_begin_with(scene: Vault, prefix: str) -> None:
    async with refused(Invalid, "prefix"):
        await scene.import_key(prefix)


async def test_only_a_key_that_one_holds_is_imported(scene: Vault) -> None:
    for actor, project in ((scene.olga, scene.service), (scene.bo, await owned_project(scene.bo, "Bo's"))):
        async with refused(NotFound, "keyId"):
            await secrets.import_key(actor, SEALER, scene.key.id, project.id, "maps")
    async with refused(NotFound, "keyId"):
        await secrets.import_key(scene.ulrich, SEALER, "key_unknown", scene.client.id, "maps")


async def test_a_suspended_key_is_imported_and_one_that_has_ended_is_not(scene: Vault) -> None:
    await keys.suspend(scene.olga, scene.key.id)
    await scene.import_key()
    await keys.revoke(scene.olga, scene.key.id)
    async with refused(Conflict, "keyId"):
        await scene.import_key("again")
    expired = await held_key(scene, "Short")
    await IssuedKey.filter(id=expired.id).update(expires_at=clock.now())
    async with refused(Conflict, "keyId"):
        await secrets.import_key(scene.ulrich, SEALER, expired.id, scene.client.id, "again")


async def test_a_key_is_imported_into_a_project_that_one_manages_in_person(scene: Vault) -> None:
    for actor, refusal in await denied_to(scene):
        async with refused(refusal, *(["projectId"] if refusal is NotFound else [])):
            await secrets.import_key(actor, SEALER, scene.key.id, scene.client.id, "maps")


async def test_a_key_of_a_deleted_template_is_imported_with_its_fields(scene: Vault) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    await templates.delete(scene.olga, scene.key.template_id)
    assert [each.name for each in await scene.import_key()] == ["maps_token", "maps_hint"]


async def outcome(act: Awaitable[Any]) -> type[TesseraError] | None:
    try:
        await act
    except TesseraError as refusal:
        return type(refusal)
    return None


async def test_of_imports_at_once_under_one_prefix_one_is_made_whole(scene: Vault) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    await asyncio.gather(*(head() for _ in range(4)))  # opens as many connections, so that all begin at once
    done = await asyncio.gather(*(outcome(scene.import_key()) for _ in range(4)))
    assert (done.count(None), done.count(Conflict)) == (1, 3)
    assert await scene.names() == ["maps_hint", "maps_token"]


async def test_a_key_is_imported_and_its_token_read_over_graphql(scene: Vault) -> None:
    take = """mutation ($input: KeyImportInput!) { keyImport(input: $input) {
        secrets { id name description importedFrom { id } } userErrors { code path } } }"""
    wanted = {"keyId": scene.key.id, "projectId": scene.client.id, "prefix": "maps"}
    again = [(await ask(scene.ulrich, take, input={**wanted, "idempotencyKey": "k"}))["keyImport"] for _ in "12"]
    assert again[0] == again[1]
    [token] = again[0]["secrets"]
    assert (token["name"], token["importedFrom"]["id"]) == ("maps_token", scene.key.id)
    taken = (await ask(scene.ulrich, take, input=wanted))["keyImport"]
    assert taken == {"secrets": None, "userErrors": [{"code": "CONFLICT", "path": ["input", "prefix"]}]}

    reveal = "mutation ($input: SecretRevealInput!) { secretReveal(input: $input) { value userErrors { code path } } }"
    shown = (await ask(scene.ulrich, reveal, input={"secretId": token["id"]}))["secretReveal"]
    assert shown == {"value": await keys.token(KEYRING, scene.key), "userErrors": []}
    hidden = (await ask(scene.vera, reveal, input={"secretId": token["id"]}))["secretReveal"]
    assert hidden == {"value": None, "userErrors": [{"code": "NOT_FOUND", "path": ["input", "secretId"]}]}
