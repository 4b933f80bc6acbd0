"""Users, who is asking, and signing in."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from gateway import key_table, pages, requests, users
from gateway.errors import Forbidden
from gateway.permissions import Actor
from schema.connections import Connection
from schema.context import Info
from schema.declare import (
    argument,
    attribute,
    chosen,
    described,
    given,
    input_type,
    node_type,
    object_type,
    reading,
    resolved,
)
from schema.mutations import USER_ERRORS, UserError, mutation, settle
from schema.nodes import Node
from schema.states import KeyState, RequestState

if TYPE_CHECKING:
    from schema.keys import IssuedKey
    from schema.requests import KeyRequest
else:  # each refers to the others
    IssuedKey = Annotated["IssuedKey", strawberry.lazy("schema.keys")]
    KeyRequest = Annotated["KeyRequest", strawberry.lazy("schema.requests")]

FIRST = argument("How many rows, 1 to 100.")
AFTER = argument("The cursor of the row before the first one.")


@reading("id", "email")
async def email_of(root: strawberry.Parent[models.User], info: Info) -> str | None:
    return root.email if await info.context.load(users.whose_email_shows, root.id) else None


@node_type(models.User, "A person with an account.")
class User(Node):
    name: str = described("How the person is called.")
    email: str | None = resolved(
        email_of,
        "Null unless the viewer is this user, or manages a project of which this user is a member or has asked for, "
        "or holds, a key.",
    )


@reading()
async def keys_of_viewer(
    root: strawberry.Parent[Actor],
    info: Info,
    first: Annotated[int | None, FIRST] = 20,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
    states: Annotated[list[KeyState] | None, argument("Keys in one of these states; null is every state.")] = (
        strawberry.UNSET
    ),
) -> pages.Page[models.IssuedKey]:
    wanted = chosen(states)
    listing = key_table.of_viewer(root, wanted, info.context.services.sealer, info.context.now)
    return await pages.one(listing, pages.Slice(first, given(after)))


@reading()
async def requests_of_viewer(
    root: strawberry.Parent[Actor],
    info: Info,
    first: Annotated[int | None, FIRST] = 20,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
    states: Annotated[list[RequestState] | None, argument("Requests in one of these states; null is every one.")] = (
        strawberry.UNSET
    ),
) -> pages.Page[models.KeyRequest]:
    listing = requests.of_viewer(root, chosen(states), info.context.services.sealer)
    return await pages.one(listing, pages.Slice(first, given(after)))


@object_type("Who is asking.")
class Viewer:
    user: User = described("The user, or the holder of the key.")
    api_key: IssuedKey | None = resolved(
        attribute("issued_key"), "The key that authenticates this call, if it was not a user's session."
    )
    keys: Connection[IssuedKey] = resolved(keys_of_viewer, "Keys that the viewer has received, the newest first.")
    requests: Connection[KeyRequest] = resolved(
        requests_of_viewer, "Requests that the viewer has made, the newest first."
    )


@reading()
def viewer(info: Info) -> Actor | None:
    return info.context.actor if info.context.actor.user else None


@reading()
def is_sign_up_open(info: Info) -> bool:
    return info.context.services.settings.sign_up == "open"


@object_type("Reading who is asking.")
class UserQueries:
    viewer: Viewer | None = resolved(
        viewer,
        "Who is asking: a signed-in user, or the holder of the key that authenticates this call; null when anonymous.",
    )
    is_sign_up_open: bool = resolved(
        is_sign_up_open, "Whether anybody may make an account by signUp; else the administrator makes them."
    )


COOKIE = "Set the session as a cookie for a page, and return no token."


@input_type("Who signs in.")
class SignInInput:
    email: str = described("The account's e-mail address.")
    password: str = described("The account's password.")
    cookie: bool = described(COOKIE, default=False)


@object_type("The session that was begun.")
class SignInPayload:
    token: str | None = described("A bearer token of the user's session; null where it went into a cookie.")
    user: User | None = described("Who is signed in now.")
    expires_at: datetime | None = described("When the session ends by itself.")
    user_errors: list[UserError] = described(USER_ERRORS)


@input_type("Which sessions end.")
class SignOutInput:
    everywhere: bool = described("Every session of the user, not only this one.", default=False)


@object_type("What became of signing out.")
class SignOutPayload:
    user_errors: list[UserError] = described(USER_ERRORS)


@input_type("A new account.")
class SignUpInput:
    email: str = described("The account's e-mail address; one account each.")
    name: str = described("How the person is called, 1 to 100 characters.")
    password: str = described("8 to 1000 characters.")
    cookie: bool = described(COOKIE, default=False)


@input_type("A change of password; it ends every session and begins a new one.")
class PasswordChangeInput:
    current_password: str = described("The present password.")
    new_password: str = described("8 to 1000 characters.")
    cookie: bool = described(COOKIE, default=False)


async def sign_in(info: Info, input: Annotated[SignInInput, argument("Who signs in.")]) -> SignInPayload:
    services = info.context.services

    async def act() -> models.Session:
        require_way_for(info, cookie=input.cookie)
        return await users.sign_in(
            info.context.actor, services.passwords, services.attempts, input.email, input.password, lifetime(info)
        )

    return hand_over(info, await settle(info, input, _Begun, "session", act), cookie=input.cookie)


async def sign_up(info: Info, input: Annotated[SignUpInput, argument("The new account.")]) -> SignInPayload:
    services = info.context.services

    async def act() -> models.Session:
        if not is_sign_up_open(info):
            raise Forbidden("Accounts are made by the administrator here.")
        require_way_for(info, cookie=input.cookie)
        return await users.sign_up(
            info.context.actor,
            services.passwords,
            services.attempts,
            input.email,
            input.name,
            input.password,
            lifetime(info),
        )

    return hand_over(info, await settle(info, input, _Begun, "session", act), cookie=input.cookie)


async def password_change(
    info: Info, input: Annotated[PasswordChangeInput, argument("The passwords.")]
) -> SignInPayload:
    services = info.context.services

    async def act() -> models.Session:
        require_way_for(info, cookie=input.cookie)
        return await users.change_password(
            info.context.actor,
            services.passwords,
            services.attempts,
            input.current_password,
            input.new_password,
            lifetime(info),
        )

    return hand_over(info, await settle(info, input, _Begun, "session", act), cookie=input.cookie)


async def sign_out(info: Info, input: Annotated[SignOutInput, argument("Which sessions.")]) -> SignOutPayload:
    async def act() -> None:
        await users.sign_out(info.context.actor, everywhere=input.everywhere)

    ended = await settle(info, input, _Begun, "session", act)
    if info.context.accepts_cookies and not ended.user_errors:
        info.context.clear_cookie()
    return SignOutPayload(user_errors=ended.user_errors)


@dataclass(frozen=True)
class _Begun:
    """A session that was begun, or why not; on its way to a payload."""

    session: models.Session | None
    user_errors: list[UserError]


def lifetime(info: Info) -> timedelta:
    return timedelta(hours=info.context.services.settings.session_hours)


def require_way_for(info: Info, *, cookie: bool) -> None:
    """Before a session is begun that could not be handed over. Raises BadInput."""
    if cookie:
        info.context.require_cookies()


def hand_over(info: Info, begun: _Begun, *, cookie: bool) -> SignInPayload:
    """The session's token, to the caller or into a cookie."""
    session = begun.session
    if session is None:
        return SignInPayload(token=None, user=None, expires_at=None, user_errors=begun.user_errors)
    token: str | None = info.context.services.sessions.sign(
        session.id, session.user_id, session.created_at, session.expires_at
    )
    if cookie and token:
        info.context.set_cookie(token, session.expires_at)
        token = None
    user: User = session.user  # type: ignore[assignment]  # a row stands for its type
    return SignInPayload(token=token, user=user, expires_at=session.expires_at, user_errors=[])


@object_type("Signing in and out.")
class UserMutations:
    sign_in: SignInPayload = mutation(
        sign_in,
        "One answer and one duration for an unknown e-mail and a wrong password; limited per address and account.",
    )
    sign_out: SignOutPayload = mutation(sign_out, "Ends this session, or every session of the user.")
    sign_up: SignInPayload = mutation(sign_up, "Makes an account and signs in to it, where the setting opens that.")
    password_change: SignInPayload = mutation(password_change, "Ends every session of the user and begins a new one.")
