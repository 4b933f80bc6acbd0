"""A header becomes an actor, or a refusal: the one verifier of HTTP, event streams and sockets."""

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime

from tortoise.queryset import QuerySet

from gateway import clock
from gateway.callers import Callers
from gateway.database import in_time
from gateway.errors import CursorExpired, Unauthenticated, Unavailable
from gateway.events import FRESH_SECONDS, EventLog
from gateway.permissions import Actor
from gateway.prepared import prepared
from gateway.pricing import micros
from gateway.signing import SESSION_TYP, BadToken, Keyring, SessionSigner, typ_of
from models import Event, IssuedKey, KeyGeneration, KeyState, Session, User

LONGEST_WAIT_SECONDS = 3600.0
RETRY_SECONDS = 0.25
REFUSED = "This token is no good: it is unknown, changed, expired or revoked."
NOT_KNOWN = "Whether the token is still good can't be known now; try again."


class Authenticator:
    """Knows who holds a token, and when that ends. Whom it finds it remembers, where it is given `callers`."""

    def __init__(
        self, keyring: Keyring, sessions: SessionSigner, log: EventLog, callers: Callers | None = None
    ) -> None:
        self._keyring = keyring
        self._sessions = sessions
        self._log = log
        self._callers = callers

    def recognized(self, token: str, address: str | None) -> Actor | None:
        """Who holds the token, where that is known without asking the database; for what only reads."""
        if self._callers is None or not self._log.is_settled:
            return None
        found = self._callers.find(token.encode(), micros(clock.now()))
        return replace(found, address=address, token=token) if found else None

    async def authenticate(self, token: str | None, address: str | None) -> Actor:
        """Who holds the token: a user by a session, or an issued key; anonymous without one.

        Raises Unauthenticated, and Unavailable where the database can't be asked, or the log couldn't for a second.
        """
        await self._log.readable()
        if token is None:
            return Actor(address=address)
        since = self._callers.revision if self._callers else 0
        try:
            is_session = typ_of(token) == SESSION_TYP
            actor = await in_time(self._by_session(token) if is_session else self._by_key(token))
        except BadToken:
            raise Unauthenticated(REFUSED) from None
        actor = replace(actor, address=address, token=token)
        if self._callers:
            self._callers.remember(actor, since)
        return actor

    async def good(self, token: str) -> KeyGeneration:
        """What was stored of an issued key's token that is good now, its key and holder with it. Raises BadToken."""
        generation = await self.unended(token)
        if generation.key.state is not KeyState.ACTIVE or generation.key.user.disabled_at:
            raise BadToken
        return generation

    async def unended(self, token: str) -> KeyGeneration:
        """As `good`, also where the key is suspended or has been ended: of a token whose own time isn't over."""
        generation = await _generation(await self._keyring.verify(token))
        ends_at = _ends_at(generation)
        if ends_at and ends_at <= clock.now():
            raise BadToken
        return generation

    async def ended(self, actor: Actor) -> None:
        """Returns once the actor's token is no longer good; never for an anonymous one.

        Raises Unavailable once that couldn't be known for a second.
        """
        ending = asyncio.create_task(self._ended(actor))
        unreadable = asyncio.create_task(self._log.unreadable())
        try:
            await asyncio.wait({ending, unreadable}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                raise Unavailable(NOT_KNOWN)
            await ending
        finally:
            ending.cancel()
            unreadable.cancel()
            await asyncio.gather(ending, unreadable, return_exceptions=True)

    async def _ended(self, actor: Actor) -> None:
        """Raises Unavailable."""
        if actor.token is None:
            await asyncio.Future()
        while True:
            position = self._log.position
            try:
                actor = await self._again(actor)
                await self._until_it_may_have(actor, position)
            except Unauthenticated:
                return
            except CursorExpired:
                await asyncio.sleep(RETRY_SECONDS)

    async def _again(self, actor: Actor) -> Actor:
        """Who holds the token now. Raises Unauthenticated, and Unavailable after a second of trying."""
        try:
            async with asyncio.timeout(FRESH_SECONDS):
                while True:
                    with suppress(Unavailable):
                        return await self.authenticate(actor.token, actor.address)
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError as error:
            raise Unavailable(NOT_KNOWN) from error

    async def _until_it_may_have(self, actor: Actor, position: int) -> None:
        """Waits for the token's own end, or for an event of its user or of what signed it."""

        def concerns(event: Event) -> bool:
            return event.user_id == actor.user_id or event.kind == "signing_key.withdrawn"

        remaining = (actor.ends_at - clock.now()).total_seconds() if actor.ends_at else LONGEST_WAIT_SECONDS
        try:
            async with asyncio.timeout(max(0.0, min(remaining, LONGEST_WAIT_SECONDS))):
                async with aclosing(self._log.follow(position, concerns)) as concerning:
                    await anext(concerning)
        except TimeoutError:
            pass

    async def _by_session(self, token: str) -> Actor:
        claims = self._sessions.verify(token)
        session = next(iter(await _living_session(str(claims["jti"]))), None)
        if session is None or session.user_id != claims["sub"] or session.user.disabled_at:
            raise BadToken
        if session.expires_at <= clock.now():
            raise BadToken
        return Actor(user=session.user, session=session, ends_at=session.expires_at)

    async def _by_key(self, token: str) -> Actor:
        generation = await self.good(token)
        return Actor(user=generation.key.user, issued_key=generation.key, ends_at=_ends_at(generation))


@prepared
def _living_session(id: str) -> QuerySet[Session]:
    living = Session.filter(id=id, ended_at=None).select_related("user")
    return living.only("id", "user_id", "expires_at", *_of_user("user"))


def _of_user(reference: str) -> list[str]:
    """All columns of a user but one, which nobody needs who is past the door."""
    return [f"{reference}__{column}" for column in User._meta.fields_db_projection if column != "password_hash"]


def _ends_at(generation: KeyGeneration) -> datetime | None:
    return min((at for at in (generation.key.expires_at, generation.ends_at) if at), default=None)


async def _generation(claims: dict[str, object]) -> KeyGeneration:
    """The stored generation that says the same as the token. Raises BadToken."""
    key_id, _, number = str(claims["jti"]).rpartition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise BadToken
    found = next(iter(await _stored_generation(key_id, int(number))), None)
    if found is None or json.loads(found.claims) != claims:
        raise BadToken
    return found


@prepared
def _stored_generation(key_id: str, number: int) -> QuerySet[KeyGeneration]:
    stored = KeyGeneration.filter(key_id=key_id, generation=number).select_related("key__user")
    of_key = [f"key__{column}" for column in IssuedKey._meta.fields_db_projection]
    return stored.only("id", "claims", "ends_at", *of_key, *_of_user("key__user"))
