"""The whole gateway on a real server, with a project on it: Ada owns it, Bo asks for keys.

async with staged(database_url, tmp_path) as stage:
    request_id = await stage.ask_for_key()
    await stage.ada.do("keyRequestApprove", "request { id }", requestId=request_id)
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr

from gateway import clock
from gateway.app import create_app
from gateway.events import Cursors, head
from gateway.permissions import Actor, Permission
from gateway.settings import Settings
from gateway.signing import SessionSigner
from gateway.visitors import Caller
from models import Project, Role, Session, Template
from tests.following import Asked, Following, Told, following
from tests.serving import serving
from tests.world import SEALER, join, owned_project, person, role, template

SECRET_KEY = "a secret key of tests, 32 bytes."
CURSORS = Cursors(SEALER)
ONE_HOUR = timedelta(hours=1)


@dataclass
class Person:
    """Somebody, who calls the gateway in person."""

    actor: Actor
    caller: Caller

    @property
    def id(self) -> str:
        return self.actor.require_user().id

    @property
    def token(self) -> str | None:
        return self.caller.token

    async def do(self, mutation: str, member: str, **input: Any) -> Any:
        """As `Caller.do`: what it answers with, through HTTP."""
        return await self.caller.do(mutation, member, **input)


@dataclass
class Stage:
    url: str
    http: httpx2.AsyncClient
    ada: Person
    bo: Person
    project: Project
    viewing: Role
    basic: Template

    async def enter(self, name: str, *permissions: Permission) -> Person:
        """Somebody new, with a role of these permissions on the project if there are any."""
        entered = await signed_in(self.http, name)
        if permissions:
            await join(self.project, entered.actor, await role(self.project, *permissions, name=name))
        return entered

    async def hear(self) -> None:
        """Returns once the gateway knows of all that the log tells, though another process did it."""
        revision = {"Tessera-Revision": CURSORS.give(await head())}
        answer = await self.http.post("/graphql", json={"query": "{ __typename }"}, headers=revision)
        assert answer.status_code == 200, answer.text

    async def event_cursor(self) -> str:
        """The present position of the log, as a page is told it."""
        return str((await self.ada.caller.ask("{ eventCursor }"))["eventCursor"])

    async def ask_for_key(self, who: Person | None = None, template: Template | None = None) -> str:
        """The id of the new request, which is Bo's for the basic template unless another is named."""
        asked = {"templateId": (template or self.basic).id}
        payload = await (who or self.bo).do("keyRequestCreate", "request { id }", **asked)
        return str(payload["request"]["id"])

    async def ask_in_vain(self) -> str:
        """The id of a request that was made and taken back: two events."""
        request_id = await self.ask_for_key()
        await self.bo.do("keyRequestCancel", "request { id }", requestId=request_id)
        return request_id

    async def key(self, **approval: Any) -> tuple[str, str]:
        """The id and the token of a new key of Bo's."""
        request_id = await self.ask_for_key()
        member = "request { issuedKey { id } }"
        approved = await self.ada.do("keyRequestApprove", member, requestId=request_id, **approval)
        key_id = str(approved["request"]["issuedKey"]["id"])
        return key_id, str((await self.bo.do("keyReveal", "token", keyId=key_id))["token"])

    def follow(
        self, transport: str, query: str, token: str | None = None, last_event_id: str | None = None, **variables: Any
    ) -> AbstractAsyncContextManager[Following]:
        return following(transport, self.url, Asked(query, variables, token, last_event_id))


@asynccontextmanager
async def staged(database_url: str, folder: Path, **more: Any) -> AsyncIterator[Stage]:
    """A gateway with these settings besides."""
    where: dict[str, Any] = {"data_dir": folder / "data", "database_url": database_url}
    settings = Settings(_env_file=None, secret_key=SecretStr(SECRET_KEY), **where, **more)  # type: ignore[call-arg]  # pydantic-settings takes _env_file
    app = create_app(settings)
    async with serving(app, on_stop=app.state.stop) as url, httpx2.AsyncClient(base_url=url, timeout=30) as http:
        ada, bo = await signed_in(http, "Ada"), await signed_in(http, "Bo")
        project = await owned_project(ada.actor)
        viewing = await role(project, Permission.PROJECT_VIEW, name="everyone", is_public=True)
        yield Stage(url, http, ada, bo, project, viewing, await template(project, viewing))


async def signed_in(http: httpx2.AsyncClient, name: str) -> Person:
    actor = await person(name)
    return Person(actor, Caller(http, await session_token(actor)))


async def session_token(actor: Actor, lifetime: timedelta = ONE_HOUR, issuer: str = "http://127.0.0.1:8000") -> str:
    now = clock.now()
    session = await Session.create(user=actor.user, created_at=now, expires_at=now + lifetime)
    signer = SessionSigner(SEALER, issuer)
    return signer.sign(session.id, session.user_id, session.created_at, session.expires_at)


async def read(events: Following, quantity: int) -> list[Told]:
    return [await events.next() for _ in range(quantity)]
