"""Secrets: values that those who manage a project read, in person, and keys that are imported as such."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import pytest
from tortoise.exceptions import IntegrityError

from gateway import clock, keys, projects, secrets, templates
from gateway.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, TesseraError, Unauthenticated
from gateway.events import head
from gateway.permissions import Actor, Permission
from gateway.sealing import Unsealable
from gateway.secrets import SecretChanges
from gateway.signing import Keyring
from gateway.templates import FieldValue, NewField
from models import AuditEntry, IssuedKey, KeyRequest, Project, RequestState, Secret
from tests.asking import ISSUER, ask
from tests.statements import statements
from tests.world import (
    ANONYMOUS,
    SEALER,
    by_key,
    issued_key,
    join,
    node,
    owned_project,
    person,
    refused,
    role,
    template,
    told,
    unchanged,
)

VIEW, MANAGE = Permission.PROJECT_VIEW, Permission.PROJECT_MANAGE
KEYRING = Keyring(SEALER, ISSUER)


class Scene:
    """Ulrich owns a client project, which Vera sees; he holds a key of Olga's project, and Bo has an account."""

    ulrich: Actor
    vera: Actor
    bo: Actor
    olga: Actor
    client: Project
    service: Project
    key: IssuedKey

    async def create(self, name: str = "PASSWORD", value: str = "hush", **more: Any) -> Secret:
        return await secrets.create(self.ulrich, SEALER, self.client.id, name=name, value=value, **more)

    async def import_key(self, prefix: str = "maps") -> list[Secret]:
        return await secrets.import_key(self.ulrich, SEALER, self.key.id, self.client.id, prefix)

    async def names(self) -> list[str]:
        return [each.name for each in (await secrets.by_project(self.ulrich, [self.client.id]))[self.client.id]]


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ulrich, made.vera = await person("Ulrich"), await person("Vera")
    made.bo, made.olga = await person("Bo"), await person("Olga")
    made.client, made.service = await owned_project(made.ulrich, "Client"), await owned_project(made.olga, "Maps")
    await join(made.client, made.vera, await role(made.client, VIEW, name="Viewer"))
    made.key = await held_key(made)
    return made


async def held_key(scene: Scene, name: str = "Basic", *fields: NewField) -> IssuedKey:
    """A key of the service that Ulrich was issued, with its token."""
    caller = await role(scene.service, VIEW, name=f"Caller of {name}")
    published = await templates.create(
        scene.olga, scene.service.id, role_id=caller.id, name=name, description="Ten calls a day", fields=fields
    )
    now = clock.now()
    decided: dict[str, Any] = {"state": RequestState.APPROVED, "requested_at": now, "decided_at": now}
    request = await KeyRequest.create(template=published, project=scene.service, user=scene.ulrich.user, **decided)
    return await keys.issue(scene.olga, KEYRING, request, published, None)


async def value_of(secret_id: str) -> str | None:
    return await secrets.value_of(await Secret.get(id=secret_id), SEALER, KEYRING)


async def denied_to(scene: Scene) -> list[tuple[Actor, type[TesseraError]]]:
    """Who may not touch secrets, and what each is told."""
    manager = await role(scene.client, MANAGE, name="Manager")
    robot = await issued_key(await template(scene.client, manager, "Robot"), scene.ulrich)
    return [
        (ANONYMOUS, Unauthenticated),
        (scene.bo, NotFound),
        (scene.vera, Forbidden),
        (by_key(scene.ulrich, robot), Forbidden),
    ]


# Keeping


async def test_a_secret_is_kept_sealed_and_told_without_its_value(scene: Scene) -> None:
    before = len(await told())
    made = await scene.create("  DB_PASSWORD ", "correct horse", description="Of the database")

    stored = await Secret.get(id=made.id)
    assert (stored.name, stored.description, stored.imported_from_id) == ("DB_PASSWORD", "Of the database", None)
    assert stored.sealed_value is not None
    assert b"correct horse" not in stored.sealed_value
    assert await value_of(made.id) == "correct horse"
    assert (await told())[before:] == [("secret.created", made.id)]


async def test_what_is_sealed_for_one_secret_is_of_no_use_in_another(scene: Scene) -> None:
    first, second = await scene.create("A", "same"), await scene.create("B", "same")
    assert first.sealed_value != second.sealed_value
    await Secret.filter(id=second.id).update(sealed_value=first.sealed_value)
    with pytest.raises(Unsealable):
        await value_of(second.id)


async def test_no_value_is_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = await scene.create(value="correct horse")
    await secrets.update(scene.ulrich, SEALER, made.id, {"value": "battery staple"})
    await secrets.reveal(scene.ulrich, made.id)
    assert caplog.text
    assert "correct horse" not in caplog.text
    assert "battery staple" not in caplog.text


@pytest.mark.parametrize("name", ["", "a-b", "é", "a b", "a.b", "x" * 211, "٣"])
async def test_a_name_holds_latin_letters_digits_and_underscores_only(scene: Scene, name: str) -> None:
    async with refused(Invalid, "name"):
        await scene.create(name)
    made = await scene.create("_0aZ")
    async with refused(Invalid, "name"):
        await secrets.update(scene.ulrich, SEALER, made.id, {"name": name})


@pytest.mark.parametrize("value", ["", "x" * 100_001, "\ud800"])
async def test_a_value_has_1_to_100000_characters(scene: Scene, value: str) -> None:
    async with refused(Invalid, "value"):
        await scene.create(value=value)
    made = await scene.create(value="\U0001f511" * 100_000)
    assert await value_of(made.id) == "\U0001f511" * 100_000
    async with refused(Invalid, "value"):
        await secrets.update(scene.ulrich, SEALER, made.id, {"value": value})


async def test_a_name_is_unique_among_the_living_of_the_project(scene: Scene) -> None:
    made = await scene.create("A")
    async with refused(Conflict, "name"):
        await scene.create("A")
    other = await scene.create("a")
    async with refused(Conflict, "name"):
        await secrets.update(scene.ulrich, SEALER, other.id, {"name": "A"})
    await secrets.create(scene.olga, SEALER, scene.service.id, name="A", value="x")
    await secrets.delete(scene.ulrich, made.id)
    await secrets.update(scene.ulrich, SEALER, other.id, {"name": "A"})
    with pytest.raises(IntegrityError):
        await Secret.create(project=scene.client, name="A", sealed_value=b"x")


async def test_a_project_has_at_most_a_thousand_living_secrets(scene: Scene) -> None:
    await Secret.bulk_create([Secret(project=scene.client, name=f"S{n}", sealed_value=b"x") for n in range(999)])
    last = await scene.create()
    async with refused(LimitExceeded):
        await scene.create("ONE_MORE")
    async with refused(LimitExceeded):
        await scene.import_key()
    await secrets.delete(scene.ulrich, last.id)
    await scene.import_key()


async def test_secrets_are_made_by_those_who_manage_the_project_in_person(scene: Scene) -> None:
    for actor, refusal in await denied_to(scene):
        async with refused(refusal, *(["projectId"] if refusal is NotFound else [])):
            await secrets.create(actor, SEALER, scene.client.id, name="MINE", value="x")


async def test_what_is_done_with_a_secret_is_done_by_those_who_manage_the_project_in_person(scene: Scene) -> None:
    """To others who see the project the secret isn't there: that it exists is a secret too."""
    made = await scene.create()
    for actor, refusal in await denied_to(scene):
        seen_as = NotFound if actor is scene.vera else refusal
        path = ["secretId"] if seen_as is NotFound else []
        async with refused(seen_as, *path):
            await secrets.update(actor, SEALER, made.id, {"value": "mine"})
        async with refused(seen_as, *path):
            await secrets.delete(actor, made.id)
        async with refused(seen_as, *path):
            await secrets.reveal(actor, made.id)


# Changing


async def test_an_update_changes_what_it_names_and_nothing_else(scene: Scene) -> None:
    made = await scene.create("A", "old", description="Of the database")

    async def read() -> tuple[str, str, str | None]:
        stored = await Secret.get(id=made.id)
        return stored.name, stored.description, await value_of(made.id)

    before = len(await told())
    steps: list[tuple[SecretChanges, tuple[str, str, str]]] = [
        ({}, ("A", "Of the database", "old")),
        ({"name": " B "}, ("B", "Of the database", "old")),
        ({"value": "new"}, ("B", "Of the database", "new")),
        ({"description": None}, ("B", "", "new")),
    ]
    for changes, expected in steps:
        await secrets.update(scene.ulrich, SEALER, made.id, changes)
        assert await read() == expected
    assert (await told())[before:] == [("secret.updated", made.id)] * len(steps)


@pytest.mark.parametrize("member", ["name", "value"])
async def test_what_a_secret_must_have_is_not_cleared(scene: Scene, member: str) -> None:
    made = await scene.create()
    changes: Any = {member: None}
    async with refused(Invalid, member):
        await secrets.update(scene.ulrich, SEALER, made.id, changes)


async def test_a_deleted_secret_is_hidden_from_everyone_and_not_erased(scene: Scene) -> None:
    made = await scene.create()
    before = len(await told())
    assert await secrets.delete(scene.ulrich, made.id) == made.id
    assert (await told())[before:] == [("secret.deleted", made.id)]
    assert await scene.names() == []
    assert await secrets.visible(scene.ulrich, [made.id]) == {}
    assert (await Secret.get(id=made.id)).sealed_value == made.sealed_value
    for act in (
        secrets.update(scene.ulrich, SEALER, made.id, {"name": "B"}),
        secrets.delete(scene.ulrich, made.id),
        secrets.reveal(scene.ulrich, made.id),
    ):
        async with refused(NotFound, "secretId"):
            await act


async def test_the_secrets_of_a_deleted_project_are_gone_with_it(scene: Scene) -> None:
    made = await scene.create()
    await projects.delete(scene.ulrich, scene.client.id)
    assert await secrets.visible(scene.ulrich, [made.id]) == {}
    async with refused(NotFound, "secretId"):
        await secrets.reveal(scene.ulrich, made.id)
    async with refused(NotFound, "projectId"):
        await scene.create("LATE")


async def test_each_reading_is_in_the_audit_log(scene: Scene) -> None:
    made = await scene.create()
    before = len(await told())
    for _ in range(2):
        await secrets.reveal(scene.ulrich, made.id)
    entries = await AuditEntry.filter(action="secret.revealed").values_list("user_id", "object_id", "project_id")
    assert list(entries) == [(scene.ulrich.user_id, made.id, scene.client.id)] * 2
    assert len(await told()) == before


async def test_a_reading_that_is_refused_is_not_in_the_audit_log(scene: Scene) -> None:
    made = await scene.create()
    async with unchanged():
        with pytest.raises(NotFound):
            await secrets.reveal(scene.vera, made.id)


# Importing


async def test_an_import_makes_a_secret_of_the_token_and_of_each_living_field(scene: Scene) -> None:
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


async def test_the_longest_names_fit(scene: Scene) -> None:
    scene.key = await held_key(scene, "Long", NewField("f" * 100, FieldValue(literal="x")))
    made = await scene.import_key("p" * 100)
    assert [each.name for each in made] == ["p" * 100 + "_token", "p" * 100 + "_" + "f" * 100]


async def test_an_imported_token_always_reads_as_the_keys_present_one(scene: Scene) -> None:
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


async def test_the_token_of_an_expired_key_is_not_shown_though_nobody_was_told_yet(scene: Scene) -> None:
    [made] = await scene.import_key()
    await IssuedKey.filter(id=scene.key.id).update(expires_at=clock.now())
    assert await value_of(made.id) is None


async def test_an_imported_token_is_not_edited_by_hand(scene: Scene) -> None:
    [made] = await scene.import_key()
    async with refused(Conflict, "value"):
        await secrets.update(scene.ulrich, SEALER, made.id, {"value": "mine", "name": "mine"})
    await secrets.update(scene.ulrich, SEALER, made.id, {"name": "mine", "description": "Of the maps"})
    assert await value_of(made.id) == await keys.token(KEYRING, scene.key)
    await secrets.delete(scene.ulrich, made.id)
    assert (await Secret.get(id=made.id)).sealed_value is None


async def test_the_value_of_an_imported_field_can_be_changed(scene: Scene) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    [_, made] = await scene.import_key()
    changed = await secrets.update(scene.ulrich, SEALER, made.id, {"value": "y"})
    assert (await value_of(made.id), changed.imported_from_id) == ("y", scene.key.id)


@pytest.mark.parametrize("taken", ["maps_token", "maps_hint"])
async def test_an_import_creates_nothing_where_a_name_is_taken(scene: Scene, taken: str) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    made = await scene.create(taken)
    async with refused(Conflict, "prefix"):
        await scene.import_key()
    await secrets.delete(scene.ulrich, made.id)
    await scene.import_key()


@pytest.mark.parametrize("names", [("node ID", "node-ID"), ("hint", "token")])
async def test_an_import_creates_nothing_where_two_would_have_one_name(scene: Scene, names: list[str]) -> None:
    scene.key = await held_key(scene, "Rich", *(NewField(name, FieldValue(literal="x")) for name in names))
    async with refused(Conflict, "prefix"):
        await scene.import_key()


@pytest.mark.parametrize("prefix", ["", "a-b", "a b", "é", "x" * 101])
async def test_a_prefix_is_one_that_names_can_begin_with(scene: Scene, prefix: str) -> None:
    async with refused(Invalid, "prefix"):
        await scene.import_key(prefix)


async def test_only_a_key_that_one_holds_is_imported(scene: Scene) -> None:
    for actor, project in ((scene.olga, scene.service), (scene.bo, await owned_project(scene.bo, "Bo's"))):
        async with refused(NotFound, "keyId"):
            await secrets.import_key(actor, SEALER, scene.key.id, project.id, "maps")
    async with refused(NotFound, "keyId"):
        await secrets.import_key(scene.ulrich, SEALER, "key_unknown", scene.client.id, "maps")


async def test_a_suspended_key_is_imported_and_one_that_has_ended_is_not(scene: Scene) -> None:
    await keys.suspend(scene.olga, scene.key.id)
    await scene.import_key()
    await keys.revoke(scene.olga, scene.key.id)
    async with refused(Conflict, "keyId"):
        await scene.import_key("again")
    expired = await held_key(scene, "Short")
    await IssuedKey.filter(id=expired.id).update(expires_at=clock.now())
    async with refused(Conflict, "keyId"):
        await secrets.import_key(scene.ulrich, SEALER, expired.id, scene.client.id, "again")


async def test_a_key_is_imported_into_a_project_that_one_manages_in_person(scene: Scene) -> None:
    for actor, refusal in await denied_to(scene):
        async with refused(refusal, *(["projectId"] if refusal is NotFound else [])):
            await secrets.import_key(actor, SEALER, scene.key.id, scene.client.id, "maps")


async def test_a_key_of_a_deleted_template_is_imported_with_its_fields(scene: Scene) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    await templates.delete(scene.olga, scene.key.template_id)
    assert [each.name for each in await scene.import_key()] == ["maps_token", "maps_hint"]


async def outcome(act: Awaitable[Any]) -> type[TesseraError] | None:
    try:
        await act
    except TesseraError as refusal:
        return type(refusal)
    return None


async def test_of_imports_at_once_under_one_prefix_one_is_made_whole(scene: Scene) -> None:
    scene.key = await held_key(scene, "Rich", NewField("hint", FieldValue(literal="x")))
    await asyncio.gather(*(head() for _ in range(4)))  # opens as many connections, so that all begin at once
    done = await asyncio.gather(*(outcome(scene.import_key()) for _ in range(4)))
    assert (done.count(None), done.count(Conflict)) == (1, 3)
    assert await scene.names() == ["maps_hint", "maps_token"]


# Who reads what


async def test_secrets_are_listed_to_those_who_manage_the_project_in_person(scene: Scene) -> None:
    made = [await scene.create(name) for name in ("B", "A")]

    async def listed_to(actor: Actor) -> Any:
        data = await ask(actor, "query ($id: ID!) { project(id: $id) { secrets { name } } }", id=scene.client.id)
        return data["project"]["secrets"]

    assert await listed_to(scene.ulrich) == [{"name": "A"}, {"name": "B"}]
    assert len(await secrets.visible(scene.ulrich, [each.id for each in made])) == 2
    for actor, _ in await denied_to(scene):
        assert await secrets.visible(actor, [made[0].id]) == {}
        assert await secrets.by_project(actor, [scene.client.id]) == {}
    robot = by_key(scene.ulrich, await IssuedKey.get(project_id=scene.client.id))
    for sees_project in (scene.vera, robot):
        assert await listed_to(sees_project) is None


async def test_the_secrets_of_many_projects_take_as_many_statements_as_those_of_one(scene: Scene) -> None:
    async def count(quantity: int) -> int:
        for number in range(quantity):
            project = await owned_project(scene.ulrich, f"P{number}")
            await secrets.create(scene.ulrich, SEALER, project.id, name="A", value="x")
        with statements() as sent:
            await ask(scene.ulrich, "{ projects(first: 100) { nodes { secrets { name importedFrom { name } } } } }")
        return len(sent)

    await scene.import_key()
    assert await count(1) == await count(8)


async def test_a_key_is_imported_and_its_token_read_over_graphql(scene: Scene) -> None:
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
