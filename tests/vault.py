"""A client project with its secrets, and a key that can be imported into it."""

from typing import Any

from gateway import clock, keys, secrets, templates
from gateway.errors import Forbidden, NotFound, TesseraError, Unauthenticated
from gateway.permissions import Actor, Permission
from gateway.signing import Keyring
from gateway.templates import NewField
from models import IssuedKey, KeyRequest, Project, RequestState, Secret
from tests.asking import ISSUER
from tests.world import (
    ANONYMOUS,
    SEALER,
    by_key,
    issued_key,
    join,
    owned_project,
    person,
    role,
    template,
)

VIEW, MANAGE = Permission.PROJECT_VIEW, Permission.PROJECT_MANAGE
KEYRING = Keyring(SEALER, ISSUER)


class Vault:
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


async def new_vault() -> Vault:
    made = Vault()
    made.ulrich, made.vera = await person("Ulrich"), await person("Vera")
    made.bo, made.olga = await person("Bo"), await person("Olga")
    made.client, made.service = await owned_project(made.ulrich, "Client"), await owned_project(made.olga, "Maps")
    await join(made.client, made.vera, await role(made.client, VIEW, name="Viewer"))
    made.key = await held_key(made)
    return made


async def held_key(vault: Vault, name: str = "Basic", *fields: NewField) -> IssuedKey:
    """A key of the service that Ulrich was issued, with its token."""
    caller = await role(vault.service, VIEW, name=f"Caller of {name}")
    published = await templates.create(
        vault.olga, vault.service.id, role_id=caller.id, name=name, description="Ten calls a day", fields=fields
    )
    now = clock.now()
    decided: dict[str, Any] = {"state": RequestState.APPROVED, "requested_at": now, "decided_at": now}
    request = await KeyRequest.create(template=published, project=vault.service, user=vault.ulrich.user, **decided)
    return await keys.issue(vault.olga, KEYRING, request, published, None)


async def value_of(secret_id: str) -> str | None:
    return await secrets.value_of(await Secret.get(id=secret_id), SEALER, KEYRING)


async def denied_to(vault: Vault) -> list[tuple[Actor, type[TesseraError]]]:
    """Who may not touch secrets, and what each is told."""
    manager = await role(vault.client, MANAGE, name="Manager")
    robot = await issued_key(await template(vault.client, manager, "Robot"), vault.ulrich)
    return [
        (ANONYMOUS, Unauthenticated),
        (vault.bo, NotFound),
        (vault.vera, Forbidden),
        (by_key(vault.ulrich, robot), Forbidden),
    ]
