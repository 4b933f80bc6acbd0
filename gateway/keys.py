"""Issued keys: made, shown to their holder, rotated, suspended, and ended for good or by the clock."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from tortoise.expressions import Q
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from gateway import audit, clock, events
from gateway.database import refusing_duplicates
from gateway.errors import Conflict, Forbidden, Invalid, NotFound
from gateway.permissions import GATEWAY, Actor, Permission, projects_with, require, require_caller
from gateway.prepared import Columns, found_by_id, narrows, shown
from gateway.signing import Keyring, key_header, seconds
from models import IssuedKey, KeyGeneration, KeyRequest, KeyState, SigningKey, Template, User
from models.fields import named

LIVING = (KeyState.ACTIVE, KeyState.SUSPENDED)
LONGEST_OVERLAP_SECONDS = 30 * 24 * 3600
UNKNOWN = "There is no such key."


# Who sees which


def visible_to(actor: Actor) -> QuerySet[IssuedKey]:
    """Its holder's, and those of projects where the actor holds KEYS_VIEW; a key sees itself."""
    seen = Q(project_id__in=projects_with(actor, {Permission.KEYS_VIEW}))
    if actor.issued_key:
        seen |= Q(id=actor.issued_key.id)
    elif actor.user:
        seen |= Q(user_id=actor.user.id)
    return IssuedKey.filter(seen)


async def visible(actor: Actor, key_ids: Sequence[str]) -> dict[str, IssuedKey]:
    return {key.id: key for key in await visible_to(actor).filter(id__in=key_ids)}


@narrows(IssuedKey)
async def by_id(_: Actor, key_ids: Sequence[str], *, columns: Columns = None) -> dict[str, IssuedKey]:
    return await found_by_id(IssuedKey, key_ids, columns)


async def by_request(actor: Actor, request_ids: Sequence[str]) -> dict[str, IssuedKey]:
    """Where they may be seen: a key sees its holder's requests, and of what they led to itself alone."""
    return {key.request_id: key for key in await visible_to(actor).filter(request_id__in=request_ids)}


def held_by(actor: Actor) -> QuerySet[IssuedKey]:
    """The keys that the actor has received; a key has itself alone."""
    return IssuedKey.filter(id=actor.key_id) if actor.issued_key else IssuedKey.filter(user_id=actor.user_id or "")


async def living_of_viewer(actor: Actor, template_ids: Sequence[str]) -> dict[str, IssuedKey]:
    """The actor's own active or suspended key from each template."""
    if actor.user is None:
        return {}
    return {key.template_id: key for key in await _living(actor, list(template_ids), clock.now())}


@shown
def _living(actor: Actor, template_ids: list[str], now: datetime) -> QuerySet[IssuedKey]:
    return held_by(actor).filter(in_states(LIVING, now), template_id__in=template_ids)


def present_state(key: IssuedKey, now: datetime) -> KeyState:
    """A key is expired from that instant on, though the log may tell it a moment later."""
    return KeyState.EXPIRED if key.state in LIVING and _is_due(key, now) else key.state


def in_states(states: Iterable[KeyState], now: datetime) -> Q:
    """Keys that are in one of the states now."""
    wanted = set(states)
    due = Q(expires_at__isnull=False, expires_at__lte=now)
    found = Q(state__in=wanted & set(LIVING)) & ~due | Q(state__in=wanted - set(LIVING))
    return found | Q(state__in=LIVING) & due if KeyState.EXPIRED in wanted else found


async def next_expiry(after: datetime, project_ids: Iterable[str] | None) -> datetime | None:
    """When the first of the living keys expires after that instant, of these projects or of all; None if none will."""
    found = IssuedKey.filter(state__in=LIVING, expires_at__gt=after)
    if project_ids is not None:
        found = found.filter(project_id__in=list(project_ids))
    first = await found.order_by("expires_at").first()
    return first.expires_at if first else None


# Making


async def issue(
    actor: Actor, keyring: Keyring, request: KeyRequest, template: Template, expires_at: datetime | None
) -> IssuedKey:
    """The key that a request is approved with, and its first token; in the transaction of the approval."""
    key = await IssuedKey.create(
        request=request,
        project_id=template.project_id,
        template=template,
        role_id=template.role_id,
        user_id=request.user_id,
        description=template.description,
        received_at=clock.now(),
        expires_at=expires_at,
        **named(template.name),
    )
    await _add_generation(keyring, key)
    await _tell(actor, "key.issued", key)
    return key


async def _add_generation(keyring: Keyring, key: IssuedKey) -> None:
    await generation_of(key, await keyring.current(), keyring.issuer, clock.now()).save(force_create=True)


def generation_of(key: IssuedKey, signing_key: SigningKey, issuer: str, signed_at: datetime) -> KeyGeneration:
    """What the key's present token is made from; not yet saved."""
    claims = {
        "iss": issuer,
        "sub": key.user_id,
        "aud": key.project_id,
        "jti": f"{key.id}.{key.generation}",
        "role": key.role_id,
        "iat": seconds(signed_at),
    }
    if key.expires_at:
        claims["exp"] = seconds(key.expires_at) + 1  # whole seconds: the last begun one counts; the row is exact
    return KeyGeneration(
        key_id=key.id,
        generation=key.generation,
        signing_key_id=signing_key.id,
        header=json.dumps(key_header(signing_key.id)),
        claims=json.dumps(claims),
    )


async def token(keyring: Keyring, key: IssuedKey) -> str:
    """The present token of a key, made again from what was stored when it was first made."""
    present = await KeyGeneration.get(key_id=key.id, generation=key.generation).select_related("signing_key")
    return keyring.make(present.signing_key, present.header, present.claims)


# What its holder does


async def reveal(actor: Actor, key_id: str) -> IssuedKey:
    """Lets the holder have the token, and remembers that. Raises NotFound, Forbidden, Conflict for a key that ended."""
    async with in_transaction():
        key = await _held(actor, "key.reveal", key_id)
        _require_living(key)
        await audit.enter(actor, "key.revealed", key.id, key.project_id, clock.now())
    return key


async def rotate(actor: Actor, keyring: Keyring, key_id: str, overlap_seconds: int) -> IssuedKey:
    """A new token for the key; every earlier one ends after the overlap. Raises as `reveal`, and Invalid."""
    async with in_transaction():
        key = await _held(actor, "key.rotate", key_id)
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP_SECONDS:
            raise Invalid(f"The overlap is 0 to {LONGEST_OVERLAP_SECONDS} seconds.", ["overlapSeconds"])
        if present_state(key, clock.now()) is not KeyState.ACTIVE:
            raise Conflict("Only an active key can be rotated.", ["keyId"])
        ends_at = clock.now() + timedelta(seconds=overlap_seconds)
        earlier = KeyGeneration.filter(key_id=key.id).filter(Q(ends_at=None) | Q(ends_at__gt=ends_at))
        await earlier.update(ends_at=ends_at)
        key.generation += 1
        await key.save(update_fields=["generation"])
        await _add_generation(keyring, key)
        await _tell(actor, "key.rotated", key)
    return key


# What ends it, or interrupts it


async def revoke(actor: Actor, key_id: str) -> IssuedKey:
    """For good, by a manager, by the holder, or by the key itself. Raises NotFound, Forbidden, Conflict."""
    async with in_transaction():
        key = await _locked(actor, key_id)
        if not _is_own(actor, key):
            await _require_on(actor, "key.revoke", key)
        _require_living(key)
        await _revoke(actor, key)
    return key


async def suspend(actor: Actor, key_id: str) -> IssuedKey:
    """Has the key refused until it is resumed. Raises NotFound, Forbidden, Conflict."""
    async with in_transaction():
        key = await _locked(actor, key_id)
        await _require_on(actor, "key.suspend", key)
        if present_state(key, clock.now()) is not KeyState.ACTIVE:
            raise Conflict("Only an active key can be suspended.", ["keyId"])
        await _suspend(actor, key)
    return key


async def resume(actor: Actor, key_id: str) -> IssuedKey:
    """Raises NotFound, Forbidden, Conflict."""
    async with in_transaction():
        key = await _locked(actor, key_id)
        await _require_on(actor, "key.resume", key)
        if present_state(key, clock.now()) is not KeyState.SUSPENDED:
            raise Conflict("Only a suspended key can be resumed.", ["keyId"])
        if await User.exists(id=key.user_id, disabled_at__isnull=False):
            raise Conflict("The holder's account is disabled.", ["keyId"])
        key.state, key.suspended_at = KeyState.ACTIVE, None
        await key.save(update_fields=["state", "suspended_at"])
        await _tell(actor, "key.resumed", key)
    return key


async def revoke_all(actor: Actor, project_id: str) -> None:
    """Every key of a project that goes; in the caller's transaction."""
    for key in await locking(IssuedKey.filter(project_id=project_id, state__in=LIVING)):
        await _revoke(actor, key)


async def signed_by(signing_key_id: str) -> list[IssuedKey]:
    """The keys that end with a signing key: those whose present token it signed."""
    tokens = KeyGeneration.filter(signing_key_id=signing_key_id, key__state__in=LIVING).select_related("key__user")
    return [token.key for token in await tokens.order_by("key_id") if token.generation == token.key.generation]


async def rotate_signing_key(actor: Actor, keyring: Keyring) -> SigningKey:
    """Has new tokens signed by another key; the former ones go on to verify. Raises Conflict."""
    with refusing_duplicates("Another signing key was made at the same time."):
        async with in_transaction():
            made = await keyring.add()
            await events.append(actor, "signing_key.rotated", made.id)
    return made


async def withdraw_signing_key(actor: Actor, signing_key_id: str) -> None:
    """No token that it signed verifies any longer; keys that have no other are revoked. Raises NotFound."""
    async with in_transaction():
        withdrawn = SigningKey.filter(id=signing_key_id, withdrawn_at=None)
        if not await withdrawn.update(is_current=False, withdrawn_at=clock.now()):
            raise NotFound("There is no such signing key, or it was withdrawn before.")
        ended = [key.id for key in await signed_by(signing_key_id)]
        for key in await locking(IssuedKey.filter(id__in=ended, state__in=LIVING).order_by("id")):
            await _revoke(actor, key)
        await events.append(actor, "signing_key.withdrawn", signing_key_id)


async def suspend_all_of(actor: Actor, user_id: str) -> None:
    """Every active key of a user who is disabled; in the caller's transaction."""
    for key in await locking(IssuedKey.filter(user_id=user_id, state=KeyState.ACTIVE)):
        await _suspend(actor, key)


async def expire_due() -> int:
    """Tells of each key whose time is over, once, whichever process comes first; how many this one told."""
    due = await IssuedKey.filter(state__in=LIVING, expires_at__lte=clock.now()).limit(1000)
    return sum([await expire(key) for key in due])


async def expire(key: IssuedKey) -> bool:
    """Tells that the key's time is over, unless that was told; whether it was this call that did."""
    async with in_transaction():
        unclaimed = IssuedKey.filter(id=key.id, state__in=LIVING, expires_at__lte=clock.now())
        claimed = await unclaimed.update(state=KeyState.EXPIRED, suspended_at=None)
        if claimed:
            await _tell(GATEWAY, "key.expired", key)
    return bool(claimed)


async def _revoke(actor: Actor, key: IssuedKey) -> None:
    key.state, key.suspended_at = KeyState.REVOKED, None
    key.revoked_at, key.revoked_by_id = clock.now(), actor.user_id
    await key.save(update_fields=["state", "suspended_at", "revoked_at", "revoked_by_id"])
    await _tell(actor, "key.revoked", key)


async def _suspend(actor: Actor, key: IssuedKey) -> None:
    key.state, key.suspended_at = KeyState.SUSPENDED, clock.now()
    await key.save(update_fields=["state", "suspended_at"])
    await _tell(actor, "key.suspended", key)


async def _tell(actor: Actor, kind: str, key: IssuedKey) -> None:
    await events.append(actor, kind, key.id, project_id=key.project_id, user_id=key.user_id)


def locking(found: QuerySet[IssuedKey]) -> QuerySet[IssuedKey]:
    """Keys as they stand until the transaction ends; what refers to them is written meanwhile, so calls are counted."""
    return found.select_for_update(no_key=True)


async def _locked(actor: Actor, key_id: str) -> IssuedKey:
    """The key as it stands until the transaction ends, for one who may see it."""
    actor.require_user()
    key = await locking(visible_to(actor).filter(id=key_id)).first()
    if key is None:
        raise NotFound(UNKNOWN, ["keyId"])
    return key


async def _held(actor: Actor, action: str, key_id: str) -> IssuedKey:
    """The key, for its holder in person."""
    user = require_caller(actor, action)
    key = await _locked(actor, key_id)
    if key.user_id != user.id:
        raise Forbidden("Only its holder may do this.", ["keyId"])
    return key


async def _require_on(actor: Actor, action: str, key: IssuedKey) -> None:
    """Of a manager; the project may have gone while the key was waited for, and then only its holder sees it."""
    is_seen = key.user_id == actor.user_id
    await require(actor, action, key.project_id, NotFound(UNKNOWN, ["keyId"]), is_seen=is_seen)


def _is_own(actor: Actor, key: IssuedKey) -> bool:
    return actor.key_id == key.id if actor.issued_key else actor.user_id == key.user_id


def _require_living(key: IssuedKey) -> None:
    if present_state(key, clock.now()) not in LIVING:
        raise Conflict("This key has ended.", ["keyId"])


def _is_due(key: IssuedKey, now: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= now
