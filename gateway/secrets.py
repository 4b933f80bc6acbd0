"""Secrets of client projects: values that only those who manage the project read, and keys imported as such."""

import re
from collections.abc import Sequence
from typing import Any, TypedDict

from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from gateway import audit, clock, events, keys, templates
from gateway.database import refusing_duplicates
from gateway.errors import Conflict, Invalid, LimitExceeded, NotFound, require_version
from gateway.names import checked_text
from gateway.permissions import Actor, Permission, permitted, projects_with, require, require_caller
from gateway.sealing import Sealer
from gateway.signing import Keyring
from models import IssuedKey, Project, Secret, User

NAME = re.compile(r"[A-Za-z0-9_]{1,210}")
PREFIX = re.compile(r"[A-Za-z0-9_]{1,100}")
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")
LONGEST_VALUE = 100_000
MOST_SECRETS = 1000
UNKNOWN = "There is no such secret."
TAKEN = "The project has a secret of this name."
PURPOSE = "secret"


class SecretChanges(TypedDict, total=False):
    """What an update changes. None clears the description, and is invalid elsewhere."""

    name: str | None
    description: str | None
    value: str | None


# Who sees which


def visible_to(actor: Actor) -> QuerySet[Secret]:
    """Those of the projects that the actor manages in person; a key sees none."""
    if actor.issued_key or actor.user is None:
        return Secret.filter(id__in=[])
    return Secret.filter(deleted_at=None, project_id__in=projects_with(actor, {Permission.PROJECT_MANAGE}))


async def visible(actor: Actor, secret_ids: Sequence[str]) -> dict[str, Secret]:
    return {secret.id: secret for secret in await visible_to(actor).filter(id__in=secret_ids)}


async def by_project(actor: Actor, project_ids: Sequence[str]) -> dict[str, list[Secret]]:
    """The secrets of each project, by name; the actor must manage it in person, else it is left out."""
    readable = await permitted(actor, "secret.read", project_ids)
    secrets: dict[str, list[Secret]] = {project_id: [] for project_id in readable}
    for secret in await Secret.filter(deleted_at=None, project_id__in=readable):
        secrets[secret.project_id].append(secret)
    return {project_id: sorted(found, key=lambda secret: secret.name) for project_id, found in secrets.items()}


# Changing


async def create(
    actor: Actor, sealer: Sealer, project_id: str, *, name: str, value: str, description: str | None = None
) -> Secret:
    """Raises NotFound, Forbidden, Invalid, Conflict, LimitExceeded."""
    with refusing_duplicates(TAKEN, ["name"]):
        async with in_transaction():
            await _lock_project(project_id)
            await require(actor, "secret.create", project_id)
            await _require_room(project_id, 1)
            secret = Secret(
                project_id=project_id,
                name=_checked_name(name),
                description=checked_text(description, "description"),
            )
            secret.sealed_value = _sealed(sealer, secret, _checked_value(value))
            return await _added(actor, secret)


async def update(
    actor: Actor, sealer: Sealer, secret_id: str, changes: SecretChanges, expected_version: int | None = None
) -> Secret:
    """Raises NotFound, Forbidden, Invalid.

    Conflict for a name that is taken, the value of an imported token, or another's edit in between.
    """
    with refusing_duplicates(TAKEN, ["name"]):
        async with in_transaction():
            secret = await _locked(actor, "secret.update", secret_id)
            require_version(secret.version, expected_version, "secret")
            columns = _columns(sealer, secret, changes)
            await secret.update_from_dict({**columns, "version": secret.version + 1}).save()
            await events.append(actor, "secret.updated", secret.id, project_id=secret.project_id)
    return secret


async def delete(actor: Actor, secret_id: str) -> str:
    """Hides the secret, which nobody may read again; its id. Raises NotFound."""
    async with in_transaction():
        secret = await _locked(actor, "secret.delete", secret_id)
        secret.deleted_at = clock.now()
        await secret.save(update_fields=["deleted_at"])
        await events.append(actor, "secret.deleted", secret.id, project_id=secret.project_id)
    return secret.id


async def reveal(actor: Actor, secret_id: str) -> Secret:
    """Lets one who manages the project have the value, and remembers that. Raises NotFound."""
    async with in_transaction():
        secret = await _locked(actor, "secret.reveal", secret_id)
        await audit.enter(actor, "secret.revealed", secret.id, secret.project_id, clock.now())
    return secret


async def value_of(secret: Secret, sealer: Sealer, keyring: Keyring) -> str | None:
    """The value; of an imported token the key's present one, None once the key has ended."""
    if secret.sealed_value is not None:
        return sealer.open(PURPOSE, secret.sealed_value, secret.id).decode()
    key = await IssuedKey.get(id=secret.imported_from_id)
    return await keys.token(keyring, key) if keys.present_state(key, clock.now()) in keys.LIVING else None


async def import_key(actor: Actor, sealer: Sealer, key_id: str, project_id: str, prefix: str) -> list[Secret]:
    """The secrets PREFIX_token and PREFIX_FIELD for each information field: all of them, or none.

    Raises NotFound, Forbidden, Invalid, LimitExceeded; Conflict for a name that is taken or a key that has ended.
    """
    user = require_caller(actor, "key.import")
    if not PREFIX.fullmatch(prefix):
        raise Invalid("A prefix has 1 to 100 Latin letters, digits and underscores.", ["prefix"])
    with refusing_duplicates("A secret of one of these names was made meanwhile.", ["prefix"]):
        async with in_transaction():
            await _lock_project(project_id)
            await require(actor, "key.import", project_id)
            key = await _held_key(user, key_id)
            secrets = await _secrets_of(actor, sealer, key, project_id, prefix)
            await _require_free_names(project_id, [secret.name for secret in secrets])
            await _require_room(project_id, len(secrets))
            return [await _added(actor, secret) for secret in secrets]


async def _held_key(user: User, key_id: str) -> IssuedKey:
    key = await IssuedKey.get_or_none(id=key_id, user_id=user.id)
    if key is None:
        raise NotFound("There is no such key among those that you hold.", ["keyId"])
    if keys.present_state(key, clock.now()) not in keys.LIVING:
        raise Conflict("This key has ended.", ["keyId"])
    return key


async def _secrets_of(actor: Actor, sealer: Sealer, key: IssuedKey, project_id: str, prefix: str) -> list[Secret]:
    def secret(name: str, description: str) -> Secret:
        return Secret(
            project_id=project_id,
            name=_checked_name(f"{prefix}_{NOT_IN_NAMES.sub('_', name)}"),
            description=description,
            imported_from_id=key.id,
        )

    made = [secret("token", key.description)]
    for field in (await templates.fields_of(actor, [key.template_id]))[key.template_id]:
        made.append(secret(field.name, field.description))
        made[-1].sealed_value = _sealed(sealer, made[-1], templates.values_of([field])[0])
    return made


async def _require_free_names(project_id: str, names: Sequence[str]) -> None:
    taken = await Secret.filter(project_id=project_id, deleted_at=None, name__in=names).values_list("name", flat=True)
    twice = {name for name in names if names.count(name) > 1}
    if clash := sorted({*map(str, taken), *twice}):
        raise Conflict(f"These names are taken, or would be given twice: {', '.join(clash)}.", ["prefix"])


async def _lock_project(project_id: str) -> None:
    """Until the transaction ends nobody else adds a secret to it, or deletes it."""
    await Project.filter(id=project_id).select_for_update(no_key=True).first()


async def _require_room(project_id: str, more: int) -> None:
    if await Secret.filter(project_id=project_id, deleted_at=None).count() + more > MOST_SECRETS:
        raise LimitExceeded(f"There can be at most {MOST_SECRETS} secrets in a project.")


async def _added(actor: Actor, secret: Secret) -> Secret:
    await secret.save(force_create=True)
    await events.append(actor, "secret.created", secret.id, project_id=secret.project_id)
    return secret


async def _locked(actor: Actor, action: str, secret_id: str) -> Secret:
    """The secret as it stands until the transaction ends, for one who may act so on it."""
    require_caller(actor, action)
    secret = await Secret.filter(id=secret_id, deleted_at=None).select_for_update().first()
    # Without the right to read it a secret isn't even seen.
    if secret is None or not await permitted(actor, action, [secret.project_id]):
        raise NotFound(UNKNOWN, ["secretId"])
    return secret


def _columns(sealer: Sealer, secret: Secret, changes: SecretChanges) -> dict[str, Any]:
    columns: dict[str, Any] = {"name": _checked_name(changes["name"])} if "name" in changes else {}
    if "description" in changes:
        columns["description"] = checked_text(changes["description"], "description")
    if "value" in changes:
        if secret.sealed_value is None:
            raise Conflict("This always reads as the key's present token; rotate the key instead.", ["value"])
        columns["sealed_value"] = _sealed(sealer, secret, _checked_value(changes["value"]))
    return columns


def _sealed(sealer: Sealer, secret: Secret, value: str) -> bytes:
    return sealer.seal(PURPOSE, value.encode(), secret.id)


def _checked_name(name: str | None) -> str:
    trimmed = (name or "").strip()
    if not NAME.fullmatch(trimmed):
        raise Invalid("A secret's name has 1 to 210 Latin letters, digits and underscores.", ["name"])
    return trimmed


def _checked_value(value: str | None) -> str:
    if not value:
        raise Invalid("A secret has a value.", ["value"])
    return checked_text(value, "value", LONGEST_VALUE)
