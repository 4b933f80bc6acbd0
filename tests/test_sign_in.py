"""Signing in: one answer for whatever is wrong, so often and no more, and to the account as it stands."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from gateway import users
from gateway.attempts import SIGN_IN_PER_ACCOUNT, SIGN_IN_PER_ADDRESS, SIGN_UP_PER_ADDRESS, Attempts
from gateway.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, Unauthenticated
from gateway.passwords import Passwords
from gateway.permissions import GATEWAY, Actor, Permission
from models import AuditEntry, IssuedKey, KeyState, Session, User
from tests.world import by_key, issued_key, owned_project, person, refused, role, template, told, unchanged

TWELVE_HOURS = timedelta(hours=12)
RIGHT, WRONG = "correct horse", "wrong horse"
STRANGER = Actor(address="192.0.2.1")


class CountingPasswords(Passwords):
    """Cheap ones, which count what takes the hasher's time."""

    def __init__(self) -> None:
        super().__init__()
        self._hasher = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)])
        self.hashings = 0
        hash_it, verify_it = self._hasher.hash, self._hasher.verify

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object) -> object:
                self.hashings += 1
                return function(*arguments)

            return call

        self._hasher.hash, self._hasher.verify = counted(hash_it), counted(verify_it)  # type: ignore[method-assign, assignment]  # to be counted


@dataclass
class Desk:
    """Where one signs in."""

    passwords: CountingPasswords = field(default_factory=CountingPasswords)
    attempts: Attempts = field(default_factory=Attempts)

    async def create(self, email: str = "ada@example.org", **columns: bool) -> User:
        return await users.create(GATEWAY, self.passwords, email, "Ada", RIGHT, **columns)

    async def sign_in(self, email: str = "ada@example.org", password: str = RIGHT, actor: Actor = STRANGER) -> Session:
        return await users.sign_in(actor, self.passwords, self.attempts, email, password, TWELVE_HOURS)

    async def change(self, user: User, current: str, new: str, session: Session | None = None) -> Session:
        actor = Actor(user=user, session=session)
        return await users.change_password(actor, self.passwords, self.attempts, current, new, TWELVE_HOURS)


@pytest.fixture
def desk(database: str) -> Desk:
    return Desk()


async def living_sessions(user: User) -> set[str]:
    return {each.id for each in await Session.filter(user_id=user.id, ended_at=None)}


# ---------------------------------------------------------------- accounts


async def test_a_password_is_kept_as_an_argon2id_hash_alone(desk: Desk) -> None:
    user = await users.create(GATEWAY, Passwords(), "ada@example.org", "Ada", RIGHT)
    assert user.password_hash.startswith("$argon2id$v=19$m=65536,t=3,")
    assert RIGHT not in user.password_hash


async def test_one_e_mail_has_one_account_in_whatever_case(desk: Desk) -> None:
    await desk.create("ada@example.org")
    async with refused(Conflict, "email"):
        await desk.create("ADA@example.org")


@pytest.mark.parametrize("email", ["", "ada", "@example.org", "ada@", "a@b@c", "a da@x", "a\x00@x", "a@" + "x" * 300])
async def test_what_is_no_e_mail_makes_no_account(desk: Desk, email: str) -> None:
    async with refused(Invalid, "email"):
        await desk.create(email)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1001, "half of \ud800"])
async def test_what_is_no_password_makes_no_account(desk: Desk, password: str) -> None:
    async with refused(Invalid, "password"):
        await users.create(GATEWAY, desk.passwords, "ada@example.org", "Ada", password)


# ---------------------------------------------------------------- signing in


async def test_a_sign_in_begins_a_session_and_is_audited(desk: Desk) -> None:
    user = await desk.create()
    session = await desk.sign_in(" ADA@Example.org ")
    assert await living_sessions(user) == {session.id}
    assert session.expires_at - session.created_at == TWELVE_HOURS
    assert ("session.begun", session.id) in await told()
    entry = await AuditEntry.get(action="session.begun")
    assert (entry.user_id, entry.address) == (user.id, "192.0.2.1")


async def refusal_of(desk: Desk, email: str, password: str) -> tuple[str, int]:
    """What it says, and how often it called the hasher."""
    before = desk.passwords.hashings
    with pytest.raises(Invalid) as refusal:
        await desk.sign_in(email, password)
    assert refusal.value.path == ()
    return refusal.value.message, desk.passwords.hashings - before


async def test_whatever_is_wrong_the_answer_is_one_and_takes_one_hashing(desk: Desk) -> None:
    await desk.create()
    disabled = await desk.create("disabled@example.org")
    await users.disable(GATEWAY, disabled.id)
    async with unchanged():
        refusals = {
            await refusal_of(desk, "ada@example.org", WRONG),
            await refusal_of(desk, "nobody@example.org", RIGHT),
            await refusal_of(desk, "disabled@example.org", RIGHT),
            await refusal_of(desk, "no e-mail\x00", RIGHT),
            await refusal_of(desk, "ada@example.org", ""),
        }
    assert refusals == {(users.WRONG, 1)}


async def test_a_right_password_takes_one_hashing_too(desk: Desk) -> None:
    await desk.create()
    before = desk.passwords.hashings
    await desk.sign_in()
    assert desk.passwords.hashings == before + 1


async def test_an_issued_key_signs_nobody_in_or_up(desk: Desk) -> None:
    await desk.create()
    project = await owned_project(bo := await person("Bo"))
    key = await issued_key(await template(project, await role(project, Permission.PROJECT_VIEW)), bo)
    async with refused(Forbidden):
        await desk.sign_in(actor=by_key(bo, key))
    async with refused(Forbidden):
        await users.sign_up(by_key(bo, key), desk.passwords, desk.attempts, "cy@example.org", "Cy", RIGHT, TWELVE_HOURS)


# ---------------------------------------------------------------- how often


async def test_after_ten_failures_an_account_is_closed_even_to_the_right_password(desk: Desk) -> None:
    await desk.create()
    for _ in range(SIGN_IN_PER_ACCOUNT.amount):
        with pytest.raises(Invalid):
            await desk.sign_in(password=WRONG)
    before = desk.passwords.hashings
    async with refused(LimitExceeded):
        await desk.sign_in()
    assert desk.passwords.hashings == before
    await desk.create("bo@example.org")
    await desk.sign_in("bo@example.org")


async def test_guesses_at_once_are_no_more_than_one_after_another(desk: Desk) -> None:
    await desk.create()
    guesses = [desk.sign_in(password=WRONG) for _ in range(3 * SIGN_IN_PER_ACCOUNT.amount)]
    before = desk.passwords.hashings
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Invalid, LimitExceeded}
    assert desk.passwords.hashings - before <= SIGN_IN_PER_ACCOUNT.amount


async def test_signing_in_rightly_uses_nothing_up(desk: Desk) -> None:
    user = await desk.create()
    for _ in range(SIGN_IN_PER_ACCOUNT.amount + 1):
        await desk.sign_in()
    assert len(await living_sessions(user)) == SIGN_IN_PER_ACCOUNT.amount + 1


async def test_many_who_sign_in_rightly_at_once_are_all_let_in(desk: Desk) -> None:
    user = await desk.create()
    await asyncio.gather(*(desk.sign_in() for _ in range(2 * SIGN_IN_PER_ACCOUNT.amount)))
    assert len(await living_sessions(user)) == 2 * SIGN_IN_PER_ACCOUNT.amount


async def test_an_address_has_so_many_failures_over_all_accounts(desk: Desk) -> None:
    for _ in range(SIGN_IN_PER_ADDRESS.amount):
        await desk.attempts.spend(SIGN_IN_PER_ADDRESS, "sign in from", "192.0.2.1")
    await desk.create()
    async with refused(LimitExceeded):
        await desk.sign_in()
    await desk.sign_in(actor=Actor(address="192.0.2.2"))


async def test_signing_up_is_limited_per_address(desk: Desk) -> None:
    for _ in range(SIGN_UP_PER_ADDRESS.amount):
        await desk.attempts.spend(SIGN_UP_PER_ADDRESS, "sign up from", "192.0.2.1")
    async with refused(LimitExceeded):
        await users.sign_up(STRANGER, desk.passwords, desk.attempts, "cy@example.org", "Cy", RIGHT, TWELVE_HOURS)


async def test_the_present_password_can_t_be_guessed_by_changing_it(desk: Desk) -> None:
    user = await desk.create()
    for _ in range(SIGN_IN_PER_ACCOUNT.amount):
        with pytest.raises(Invalid):
            await desk.change(user, WRONG, "another horse")
    async with refused(LimitExceeded):
        await desk.change(user, RIGHT, "another horse")


# ---------------------------------------------------------------- what ends sessions


async def test_a_change_of_password_ends_every_session_and_begins_one(desk: Desk) -> None:
    user = await desk.create()
    before = [await desk.sign_in(), await desk.sign_in()]
    session = await desk.change(user, RIGHT, "another horse", before[0])
    assert await living_sessions(user) == {session.id}
    with pytest.raises(Invalid):
        await desk.sign_in(password=RIGHT)
    await desk.sign_in(password="another horse")


@pytest.mark.parametrize(
    ("current", "new", "path"), [(WRONG, "another horse", "currentPassword"), (RIGHT, "short", "newPassword")]
)
async def test_a_change_of_password_that_is_refused_ends_nothing(desk: Desk, current: str, new: str, path: str) -> None:
    user = await desk.create()
    await desk.sign_in()
    async with refused(Invalid, path):
        await desk.change(user, current, new)


async def test_nobody_and_no_key_changes_a_password(desk: Desk) -> None:
    with pytest.raises(Unauthenticated):
        await users.change_password(STRANGER, desk.passwords, desk.attempts, RIGHT, "another horse", TWELVE_HOURS)
    project = await owned_project(bo := await person("Bo"))
    key = await issued_key(await template(project, await role(project, Permission.PROJECT_VIEW)), bo)
    async with refused(Forbidden):
        await users.change_password(
            by_key(bo, key), desk.passwords, desk.attempts, RIGHT, "another horse", TWELVE_HOURS
        )


async def test_a_password_that_was_changed_meanwhile_signs_nobody_in(desk: Desk) -> None:
    """The old one was verified just before; the session would outlive the change."""
    user = await desk.create()
    as_it_was = await User.get(id=user.id)
    await desk.change(user, RIGHT, "another horse")
    async with refused(Invalid):
        await users._begin_session(STRANGER, as_it_was, TWELVE_HOURS)
    async with refused(Invalid, "currentPassword"):
        await desk.change(as_it_was, RIGHT, "a third horse")


async def test_a_password_that_is_changed_by_another_meanwhile_is_not_changed_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other is quicker: while this one's new password is hashed, the present one has been verified already."""
    user, hash_it = await desk.create(), desk.passwords.hash

    async def hash_slowly(password: str) -> str:
        monkeypatch.undo()
        await desk.change(user, RIGHT, "another horse")
        return await hash_it(password)

    monkeypatch.setattr(desk.passwords, "hash", hash_slowly)
    with pytest.raises(Invalid):
        await desk.change(user, RIGHT, "a third horse")
    await desk.sign_in(password="another horse")


async def test_signing_out_ends_this_session_or_all(desk: Desk) -> None:
    user = await desk.create()
    first, second, third = [await desk.sign_in() for _ in range(3)]
    await users.sign_out(Actor(user=user, session=first), everywhere=False)
    assert await living_sessions(user) == {second.id, third.id}
    await users.sign_out(Actor(user=user, session=second), everywhere=True)
    assert await living_sessions(user) == set()


async def test_disabling_ends_sessions_suspends_keys_and_closes_the_account(desk: Desk) -> None:
    user = await desk.create()
    ada = Actor(user=user)
    session = await desk.sign_in()
    project = await owned_project(await person("Bo"))
    viewer = await role(project, Permission.PROJECT_VIEW)
    key = await issued_key(await template(project, viewer), ada)

    await users.disable(GATEWAY, "ADA@example.org")

    assert await living_sessions(user) == set()
    assert (await IssuedKey.get(id=key.id)).state is KeyState.SUSPENDED
    assert (await told())[-3:] == [
        ("session.ended", session.id),
        ("key.suspended", key.id),
        ("user.disabled", user.id),
    ]
    with pytest.raises(Invalid):
        await desk.sign_in()
    async with unchanged():
        await users.disable(GATEWAY, user.id)


async def test_nobody_can_t_be_disabled(desk: Desk) -> None:
    for unknown in ("usr_nobody", "nobody@example.org", ""):
        async with refused(NotFound):
            await users.disable(GATEWAY, unknown)
