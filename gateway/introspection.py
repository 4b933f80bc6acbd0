"""What a token is, told to those who may know (RFC 7662), and its end at the word of whoever has it (RFC 7009)."""

import json
from contextlib import suppress
from typing import Any

from gateway import keys, users
from gateway.auth import Authenticator
from gateway.database import in_time, unavailable_when_down
from gateway.errors import Conflict, Unauthenticated
from gateway.permissions import Actor, Permission, permitted, rights_on
from gateway.signing import SESSION_TYP, BadToken, typ_of
from models import IssuedKey, KeyGeneration

INACTIVE: dict[str, Any] = {"active": False}
TOLD_CLAIMS = ("iss", "sub", "aud", "jti", "iat", "exp")


async def introspect(actor: Actor, authenticator: Authenticator, token: str) -> dict[str, Any]:
    """The answer about an issued key's token that is good, to who manages its project or has a key of it.

    About any other token, and to anybody else, there is one answer: INACTIVE. Raises Unavailable.
    """
    return await in_time(_introspect(actor, authenticator, token))


async def _introspect(actor: Actor, authenticator: Authenticator, token: str) -> dict[str, Any]:
    try:
        generation = await authenticator.good(token)
    except BadToken:
        return INACTIVE
    return await _told(generation) if await _may_know(actor, generation.key) else INACTIVE


async def _may_know(actor: Actor, key: IssuedKey) -> bool:
    """A service asks with a key of its own project, whatever that permits; a user in person, by the policy."""
    if actor.issued_key:
        return actor.issued_key.project_id == key.project_id
    return bool(await permitted(actor, "key.introspect", [key.project_id]))


async def _told(generation: KeyGeneration) -> dict[str, Any]:
    """Its claims, and what its role permits now on the whole project."""
    key = generation.key
    claims = json.loads(generation.claims)
    rights = await rights_on(Actor(user=key.user, issued_key=key), key.project_id)
    scope = " ".join(permission for permission in Permission if permission in rights.project)
    return {
        "active": True,
        **{name: claims[name] for name in TOLD_CLAIMS if name in claims},
        "token_type": "Bearer",
        "client_id": key.id,
        **({"scope": scope} if scope else {}),  # a scope names at least one (RFC 6749, 3.3)
    }


async def revoke(authenticator: Authenticator, token: str, address: str | None) -> None:
    """Ends the issued key, also a suspended one, or the session, whose token this is; any other token changes nothing.

    The key itself is who did it. Raises Unavailable.
    """
    try:
        holder = await _possessor(authenticator, token, address)
    except (BadToken, Unauthenticated):
        return
    with unavailable_when_down(), suppress(Conflict):  # it ended meanwhile
        if holder.issued_key:
            await keys.revoke(holder, holder.issued_key.id)
        else:
            await users.sign_out(holder, everywhere=False)


async def _possessor(authenticator: Authenticator, token: str, address: str | None) -> Actor:
    """Raises BadToken, Unauthenticated, Unavailable."""
    if typ_of(token) == SESSION_TYP:
        return await authenticator.authenticate(token, address)
    key = (await in_time(authenticator.unended(token))).key
    return Actor(user=key.user, issued_key=key, address=address)
