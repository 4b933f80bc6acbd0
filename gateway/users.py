"""Accounts, and signing in to them."""

import re
from collections.abc import Sequence
from datetime import timedelta

from tortoise.expressions import Q, Subquery
from tortoise.transactions import in_transaction

from gateway import clock, events, keys
from gateway.attempts import SIGN_IN_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, SIGN_UP_PER_ADDRESS, Attempts
from gateway.database import refusing_duplicates
from gateway.errors import Forbidden, Invalid, NotFound
from gateway.names import checked_name
from gateway.passwords import Passwords
from gateway.permissions import Actor, Permission, projects_with, require_caller
from gateway.prepared import Columns, found_by_id, narrows
from models import IssuedKey, KeyRequest, Member, Session, User
from models.fields import fold, named

SHORTEST_PASSWORD, LONGEST_PASSWORD, LONGEST_EMAIL = 8, 1000, 254
EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]{1,64}@[^@\s\x00-\x1f\x7f\ud800-\udfff]{1,189}")
WRONG = "The e-mail or the password is wrong."


async def sign_in(
    actor: Actor, passwords: Passwords, attempts: Attempts, email: str, password: str, lifetime: timedelta
) -> Session:
    """A new session. One answer and one duration for an unknown e-mail and a wrong password.

    Raises Invalid, Forbidden by a key, LimitExceeded after too many failures of the account or from the address.
    """
    _refuse_key(actor)
    account = fold(email.strip()) if EMAIL.fullmatch(email.strip()) else ""
    async with (
        attempts.guessing(SIGN_IN_PER_ADDRESS, "sign in from", actor.address),
        attempts.guessing(SIGN_IN_PER_ACCOUNT, "sign in as", account),
    ):
        user = await User.get_or_none(email_folded=account, disabled_at=None)
        if not await passwords.verify(password, user.password_hash if user else None) or user is None:
            raise Invalid(WRONG)
        async with in_transaction():
            return await _begin_session(actor, user, lifetime)


async def sign_up(
    actor: Actor, passwords: Passwords, attempts: Attempts, email: str, name: str, password: str, lifetime: timedelta
) -> Session:
    """A new account, signed in. Raises Invalid, Conflict, Forbidden by a key, LimitExceeded."""
    _refuse_key(actor)
    await attempts.spend(SIGN_UP_PER_ADDRESS, "sign up from", actor.address)
    user = await create(actor, passwords, email, name, password)
    async with in_transaction():
        return await _begin_session(actor, user, lifetime)


async def sign_out(actor: Actor, *, everywhere: bool) -> None:
    """Ends this session, or every one of the user."""
    user = require_caller(actor, "session.end")
    own = {} if everywhere or actor.session is None else {"id": actor.session.id}
    async with in_transaction():
        await end_sessions(actor, user, **own)


async def change_password(
    actor: Actor, passwords: Passwords, attempts: Attempts, current: str, new: str, lifetime: timedelta
) -> Session:
    """Ends every session and begins a new one. Raises Invalid."""
    user = await User.get(id=require_caller(actor, "user.change_password").id)
    _checked_password(new, "newPassword")
    async with attempts.guessing(SIGN_IN_PER_ACCOUNT, "sign in as", user.email_folded):
        if not await passwords.verify(current, user.password_hash):
            raise Invalid("This is not the present password.", ["currentPassword"])
    password_hash = await passwords.hash(new)
    async with in_transaction():
        await _require_unchanged(user)
        await User.filter(id=user.id).update(password_hash=password_hash)
        user.password_hash = password_hash
        await end_sessions(actor, user)
        await events.append(actor, "user.password_changed", user.id, user_id=user.id)
        return await _begin_session(actor, user, lifetime)


async def create(
    actor: Actor, passwords: Passwords, email: str, name: str, password: str, *, is_admin: bool = False
) -> User:
    """A new account. Raises Invalid, Conflict where the e-mail has one."""
    email, name = _checked_email(email), checked_name(name)
    password_hash = await passwords.hash(_checked_password(password, "password"))
    with refusing_duplicates("There is an account with this e-mail; sign in.", ["email"]):
        async with in_transaction():
            user = await User.create(
                email=email,
                email_folded=fold(email),
                password_hash=password_hash,
                is_admin=is_admin,
                **named(name),
            )
            await events.append(actor, "user.created", user.id, user_id=user.id)
    return user


async def visible(actor: Actor, user_ids: Sequence[str]) -> dict[str, User]:
    """The actor, who asked for a key where the actor holds KEYS_VIEW, and the members of projects that they manage."""
    asked = await _askers(projects_with(actor, {Permission.KEYS_VIEW}), user_ids)
    shown = asked | await _members(projects_with(actor, {Permission.PROJECT_MANAGE}), user_ids)
    return await by_id(actor, [id for id in user_ids if id in shown or id == actor.user_id])


async def whose_email_shows(actor: Actor, user_ids: Sequence[str]) -> dict[str, bool]:
    """The actor, and on projects that they manage the members and those who asked for, or hold, a key."""
    managed = projects_with(actor, {Permission.PROJECT_MANAGE})
    shown = {actor.user_id}
    for known_there in (_askers, _members):
        if others := [id for id in user_ids if id not in shown]:
            shown |= await known_there(managed, others)
    return {id: id in shown for id in user_ids}


async def _askers(project_ids: Subquery, user_ids: Sequence[str]) -> set[str]:
    """Every holder of a key has asked for it."""
    requests = KeyRequest.filter(project_id__in=project_ids, user_id__in=user_ids)
    return {row[0] for row in await requests.distinct().values_list("user_id")}


async def _members(project_ids: Subquery, user_ids: Sequence[str]) -> set[str]:
    members = Member.filter(project_id__in=project_ids, user_id__in=user_ids, deleted_at=None)
    return {row[0] for row in await members.values_list("user_id")}


@narrows(User)
async def by_id(_: Actor, user_ids: Sequence[str], *, columns: Columns = None) -> dict[str, User]:
    """Users as others refer to them."""
    return await found_by_id(User, user_ids, columns)


async def disable(actor: Actor, id_or_email: str) -> User:
    """Ends the user's sessions and suspends their keys; they can't sign in. Raises NotFound."""
    async with in_transaction():
        found = User.filter(Q(id=id_or_email) | Q(email_folded=fold(id_or_email.strip()))).select_for_update(
            no_key=True
        )
        user = await found.get_or_none()
        if user is None:
            raise NotFound("There is no such account.")
        if user.disabled_at is None:
            await User.filter(id=user.id).update(disabled_at=clock.now())
            await keys.locking(IssuedKey.filter(user_id=user.id))  # as sessions are: before the first event
            await end_sessions(actor, user)
            await keys.suspend_all_of(actor, user.id)
            await events.append(actor, "user.disabled", user.id, user_id=user.id)
    return user


async def _begin_session(actor: Actor, user: User, lifetime: timedelta) -> Session:
    """In the caller's transaction."""
    await _require_unchanged(user)
    now = clock.now()
    session = await Session.create(user=user, created_at=now, expires_at=now + lifetime)
    await events.append(Actor(user=user, address=actor.address), "session.begun", session.id, user_id=user.id)
    return session


async def _require_unchanged(user: User) -> None:
    """Hashing takes its time; an account that was disabled or got another password meanwhile is not signed in to."""
    same = User.filter(id=user.id, password_hash=user.password_hash, disabled_at=None)
    if not await same.select_for_update(no_key=True).get_or_none():
        raise Invalid(WRONG)


async def end_sessions(actor: Actor, user: User, **which: str) -> None:
    """Ends the user's sessions, all or those that the filter says; in the caller's transaction, before its first event.

    The first event locks the log's head: who waits for a session only then may wait for one who waits for the head.
    """
    living = Session.filter(user_id=user.id, ended_at=None, expires_at__gt=clock.now(), **which)
    sessions = await living.order_by("id").select_for_update()
    await Session.filter(id__in=[session.id for session in sessions]).update(ended_at=clock.now())
    for session in sessions:
        await events.append(actor, "session.ended", session.id, user_id=user.id)


def _refuse_key(actor: Actor) -> None:
    if actor.issued_key:
        raise Forbidden("An API key may not do this.")


def _checked_email(email: str) -> str:
    email = email.strip()
    if not EMAIL.fullmatch(email) or len(fold(email)) > LONGEST_EMAIL:
        raise Invalid("This is no e-mail address.", ["email"])
    return email


def _checked_password(password: str, member: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Invalid(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.", [member])
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise Invalid("A password has no half of a character.", [member])
    return password
