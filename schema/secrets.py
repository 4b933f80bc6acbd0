"""Secrets of client projects."""

from typing import Annotated, Any

import strawberry

import models
from gateway import keys, secrets
from schema.context import Info
from schema.declare import (
    argument,
    changes,
    described,
    given,
    input_type,
    node_type,
    object_type,
    optional,
    reading,
    resolved,
)
from schema.keys import IssuedKey
from schema.mutations import (
    REPEATABLE,
    USER_ERRORS,
    DeletePayload,
    UserError,
    all_found_again,
    mutation,
    settle,
    still_gone,
)
from schema.nodes import Node


@reading("imported_from_id")
async def imported_from(root: strawberry.Parent[models.Secret], info: Info) -> models.IssuedKey | None:
    return await info.context.load(keys.visible, root.imported_from_id) if root.imported_from_id else None


@node_type(models.Secret, "A name and a sensitive value in a client project.")
class Secret(Node):
    name: str = described("Latin letters, digits and underscores; unique in its project.")
    description: str = described("What the value is for.")
    imported_from: IssuedKey | None = resolved(
        imported_from, "The key that it came from; then PREFIX_token always reads as the key's present token."
    )
    version: int = described("Grows with each change.")


@reading("id")
async def secrets_of_project(root: strawberry.Parent[models.Project], info: Info) -> list[models.Secret] | None:
    return await info.context.load(secrets.by_project, root.id)


@input_type("A new secret.")
class SecretCreateInput:
    project_id: strawberry.ID = described("The project that it belongs to.")
    name: str = described("1 to 210 Latin letters, digits and underscores; unique in the project.")
    description: str | None = optional("What the value is for.")
    value: str = described("1 to 100,000 characters; kept encrypted.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A change of a secret; what is absent stays as it is.")
class SecretUpdateInput:
    secret_id: strawberry.ID = described("The secret.")
    name: str | None = optional("1 to 210 Latin letters, digits and underscores; unique in the project.")
    description: str | None = optional("What the value is for; null clears it.")
    value: str | None = optional("1 to 100,000 characters; an imported token can't be given another.")
    expected_version: int | None = optional("The version that the change is of; another's edit since is a CONFLICT.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("A secret to delete.")
class SecretDeleteInput:
    secret_id: strawberry.ID = described("The secret.")
    idempotency_key: str | None = optional(REPEATABLE)


@input_type("The secret whose value is wanted.")
class SecretRevealInput:
    secret_id: strawberry.ID = described("The secret.")


@input_type("A key to import as secrets.")
class KeyImportInput:
    key_id: strawberry.ID = described("A key that the viewer holds.")
    project_id: strawberry.ID = described("The project that gets the secrets; the viewer manages it.")
    prefix: str = described("What their names begin with: 1 to 100 Latin letters, digits and underscores.")
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("A secret, or why nothing was done with it.")
class SecretPayload:
    secret: Secret | None = described("The secret as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


@object_type("A secret with its value, or why it isn't shown.")
class SecretRevealPayload:
    secret: Secret | None = described("The secret; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)
    value: str | None = described("The value. Null for the token of a key that has ended.", default=None)


@object_type("The secrets that an import created, or why it created none.")
class KeyImportPayload:
    secrets: list[Secret] | None = described("PREFIX_token and PREFIX_FIELD; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


async def key_import(
    info: Info, input: Annotated[KeyImportInput, argument("The key, and where to.")]
) -> KeyImportPayload:
    async def act() -> list[models.Secret]:
        sealer = info.context.services.sealer
        return await secrets.import_key(info.context.actor, sealer, input.key_id, input.project_id, input.prefix)

    return await settle(info, input, KeyImportPayload, "secrets", act, all_found_again)


async def secret_create(info: Info, input: Annotated[SecretCreateInput, argument("The new secret.")]) -> SecretPayload:
    async def act() -> models.Secret:
        return await secrets.create(
            info.context.actor,
            info.context.services.sealer,
            input.project_id,
            name=input.name,
            value=input.value,
            description=given(input.description),
        )

    return await settle(info, input, SecretPayload, "secret", act)


async def secret_update(info: Info, input: Annotated[SecretUpdateInput, argument("What changes.")]) -> SecretPayload:
    async def act() -> models.Secret:
        changed: Any = changes(input, "name", "description", "value")
        sealer, expected = info.context.services.sealer, given(input.expected_version)
        return await secrets.update(info.context.actor, sealer, input.secret_id, changed, expected)

    return await settle(info, input, SecretPayload, "secret", act)


async def secret_delete(info: Info, input: Annotated[SecretDeleteInput, argument("The secret.")]) -> DeletePayload:
    async def act() -> str:
        return await secrets.delete(info.context.actor, input.secret_id)

    return await settle(info, input, DeletePayload, "deleted_id", act, still_gone)


async def secret_reveal(
    info: Info, input: Annotated[SecretRevealInput, argument("The secret.")]
) -> SecretRevealPayload:
    async def act() -> models.Secret:
        return await secrets.reveal(info.context.actor, input.secret_id)

    payload = await settle(info, input, SecretRevealPayload, "secret", act)
    if payload.secret is not None:
        row: models.Secret = payload.secret  # type: ignore[assignment]  # a row stands for its type
        payload.value = await secrets.value_of(row, info.context.services.sealer, info.context.services.keyring)
    return payload


@object_type("Keeping secrets, and importing keys as such.")
class SecretMutations:
    key_import: KeyImportPayload = mutation(
        key_import,
        "Creates the secrets PREFIX_token and PREFIX_FIELD in a project where the viewer holds PROJECT_MANAGE. Runs of "
        "other characters than Latin letters, digits and underscores in a field's name become one underscore. A name "
        "that is taken is a CONFLICT and nothing is created.",
    )
    secret_create: SecretPayload = mutation(secret_create, "Creates a secret.")
    secret_update: SecretPayload = mutation(secret_update, "Changes a secret.")
    secret_delete: DeletePayload = mutation(secret_delete, "Deletes a secret.")
    secret_reveal: SecretRevealPayload = mutation(secret_reveal, "The value, for those with PROJECT_MANAGE; audited.")
