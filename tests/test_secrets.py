"""Secrets: values that those who manage a project read, in person."""

import logging
from typing import Any

import pytest
from tortoise.exceptions import IntegrityError

from gateway import projects, secrets
from gateway.errors import Conflict, Invalid, LimitExceeded, NotFound
from gateway.permissions import Actor
from gateway.sealing import Unsealable
from gateway.secrets import SecretChanges
from models import AuditEntry, IssuedKey, Secret
from tests.asking import ask
from tests.statements import statements
from tests.vault import Vault, denied_to, new_vault, value_of
from tests.world import (
    SEALER,
    by_key,
    owned_project,
    refused,
    told,
    unchanged,
)


@pytest.fixture
async def scene(database: str) -> Vault:
    return await new_vault()


# Keeping


async def test_a_secret_is_kept_sealed_and_told_without_its_value(scene: Vault) -> None:
    before = len(await told())
    made = await scene.create("  DB_PASSWORD ", "correct horse", description="Of the database")

    stored = await Secret.get(id=made.id)
    assert (stored.name, stored.description, stored.imported_from_id) == ("DB_PASSWORD", "Of the database", None)
    assert stored.sealed_value is not None
    assert b"correct horse" not in stored.sealed_value
    assert await value_of(made.id) == "correct horse"
    assert (await told())[before:] == [("secret.created", made.id)]


async def test_what_is_sealed_for_one_secret_is_of_no_use_in_another(scene: Vault) -> None:
    first, second = await scene.create("A", "same"), await scene.create("B", "same")
    assert first.sealed_value != second.sealed_value
    await Secret.filter(id=second.id).update(sealed_value=first.sealed_value)
    with pytest.raises(Unsealable):
        await value_of(second.id)


async def test_no_value_is_logged(scene: Vault, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = await scene.create(value="correct horse")
    await secrets.update(scene.ulrich, SEALER, made.id, {"value": "battery staple"})
    await secrets.reveal(scene.ulrich, made.id)
    assert caplog.text
    assert "correct horse" not in caplog.text
    assert "battery staple" not in caplog.text


@pytest.mark.parametrize("name", ["", "a-b", "é", "a b", "a.b", "x" * 211, "٣"])
async def test_a_name_holds_latin_letters_digits_and_underscores_only(scene: Vault, name: str) -> None:
    async with refused(Invalid, "name"):
        await scene.create(name)
    made = await scene.create("_0aZ")
    async with refused(Invalid, "name"):
        await secrets.update(scene.ulrich, SEALER, made.id, {"name": name})


@pytest.mark.parametrize("value", ["", "x" * 100_001, "\ud800"])
async def test_a_value_has_1_to_100000_characters(scene: Vault, value: str) -> None:
    async with refused(Invalid, "value"):
        await scene.create(value=value)
    made = await scene.create(value="\U0001f511" * 100_000)
    assert await value_of(made.id) == "\U0001f511" * 100_000
    async with refused(Invalid, "value"):
        await secrets.update(scene.ulrich, SEALER, made.id, {"value": value})


async def test_a_name_is_unique_among_the_living_of_the_project(scene: Vault) -> None:
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


async def test_a_project_has_at_most_a_thousand_living_secrets(scene: Vault) -> None:
    await Secret.bulk_create([Secret(project=scene.client, name=f"S{n}", sealed_value=b"x") for n in range(999)])
    last = await scene.create()
    async with refused(LimitExceeded):
        await scene.create("ONE_MORE")
    async with refused(LimitExceeded):
        await scene.import_key()
    await secrets.delete(scene.ulrich, last.id)
    await scene.import_key()


async def test_secrets_are_made_by_those_who_manage_the_project_in_person(scene: Vault) -> None:
    for actor, refusal in await denied_to(scene):
        async with refused(refusal, *(["projectId"] if refusal is NotFound else [])):
            await secrets.create(actor, SEALER, scene.client.id, name="MINE", value="x")


async def test_what_is_done_with_a_secret_is_done_by_those_who_manage_the_project_in_person(scene: Vault) -> None:
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


async def test_an_update_changes_what_it_names_and_nothing_else(scene: Vault) -> None:
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
async def test_what_a_secret_must_have_is_not_cleared(scene: Vault, member: str) -> None:
    made = await scene.create()
    changes: Any = {member: None}
    async with refused(Invalid, member):
        await secrets.update(scene.ulrich, SEALER, made.id, changes)


async def test_a_deleted_secret_is_hidden_from_everyone_and_not_erased(scene: Vault) -> None:
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


async def test_the_secrets_of_a_deleted_project_are_gone_with_it(scene: Vault) -> None:
    made = await scene.create()
    await projects.delete(scene.ulrich, scene.client.id)
    assert await secrets.visible(scene.ulrich, [made.id]) == {}
    async with refused(NotFound, "secretId"):
        await secrets.reveal(scene.ulrich, made.id)
    async with refused(NotFound, "projectId"):
        await scene.create("LATE")


async def test_each_reading_is_in_the_audit_log(scene: Vault) -> None:
    made = await scene.create()
    before = len(await told())
    for _ in range(2):
        await secrets.reveal(scene.ulrich, made.id)
    entries = await AuditEntry.filter(action="secret.revealed").values_list("user_id", "object_id", "project_id")
    assert list(entries) == [(scene.ulrich.user_id, made.id, scene.client.id)] * 2
    assert len(await told()) == before


async def test_a_reading_that_is_refused_is_not_in_the_audit_log(scene: Vault) -> None:
    made = await scene.create()
    async with unchanged():
        with pytest.raises(NotFound):
            await secrets.reveal(scene.vera, made.id)


# Who reads what


async def test_secrets_are_listed_to_those_who_manage_the_project_in_person(scene: Vault) -> None:
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


async def test_the_secrets_of_many_projects_take_as_many_statements_as_those_of_one(scene: Vault) -> None:
    async def count(quantity: int) -> int:
        for number in range(quantity):
            project = await owned_project(scene.ulrich, f"P{number}")
            await secrets.create(scene.ulrich, SEALER, project.id, name="A", value="x")
        with statements() as sent:
            await ask(scene.ulrich, "{ projects(first: 100) { nodes { secrets { name importedFrom { name } } } } }")
        return len(sent)

    await scene.import_key()
    assert await count(1) == await count(8)


# Versions


async def test_another_s_edit_of_a_secret_in_between_is_a_conflict(scene: Vault) -> None:
    made = await scene.create("PASSWORD", "first")
    await secrets.update(scene.ulrich, SEALER, made.id, {"value": "second"}, 1)
    for stale in (SecretChanges(value="third"), SecretChanges(name="WORD"), SecretChanges(description="Of it")):
        async with refused(Conflict, "expectedVersion"):
            await secrets.update(scene.ulrich, SEALER, made.id, stale, 1)
    assert await value_of(made.id) == "second"
    assert (await secrets.update(scene.ulrich, SEALER, made.id, {"value": "third"}, 2)).version == 3
