"""Who is asking: every way in which a token is good or not, and what ends it while it is used."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import clock, keys, users
from gateway.auth import Authenticator
from gateway.errors import Unauthenticated
from gateway.events import EventLog
from gateway.permissions import GATEWAY, Actor, Permission
from gateway.sealing import Sealer
from gateway.signing import SESSION_TYP, Keyring, SessionSigner, key_header, seconds, sign
from models import Event, IssuedKey, KeyGeneration, Session, User
from tests.world import SEALER, issued_key, owned_project, person, role, template, unchanged

ISSUER = "https://tessera.example"
OTHER_SEALER = Sealer(b"the secret key of another gateway")
TWELVE_HOURS = timedelta(hours=12)
WITHIN_SECONDS = 60.0


@dataclass
class Door:
    """A gateway's verifier, with Bo before it, who holds a session and a key."""

    log: EventLog
    keyring: Keyring
    sessions: SessionSigner
    bo: Actor
    session: Session
    key: IssuedKey

    @property
    def authenticator(self) -> Authenticator:
        return Authenticator(self.keyring, self.sessions, self.log)

    async def let_in(self, token: str | None) -> Actor:
        return await self.authenticator.authenticate(token, "192.0.2.1")

    def session_token(self, **changes: Any) -> str:
        told = {"session_id": self.session.id, "user_id": self.session.user_id, **changes}
        times = {"created_at": self.session.created_at, "expires_at": self.session.expires_at}
        return self.sessions.sign(**{**times, **told})

    async def key_token(self) -> str:
        return await keys.token(self.keyring, self.key)

    async def signed(self, keyring: Keyring | None = None, header: Any = None, **changes: Any) -> str:
        """The key's token with other claims, by a signing key of the gateway's own, or of another keyring."""
        ring = keyring or self.keyring
        signing_key = await ring.current()
        stored = await KeyGeneration.get(key_id=self.key.id, generation=1)
        claims = {name: each for name, each in {**json.loads(stored.claims), **changes}.items() if each is not None}
        return ring.make(signing_key, json.dumps({**key_header(signing_key.id), **(header or {})}), json.dumps(claims))


@pytest.fixture
async def door(database: str) -> AsyncIterator[Door]:
    ada, bo, ring = await person("Ada"), await person("Bo"), Keyring(SEALER, ISSUER)
    project = await owned_project(ada)
    basic = await template(project, await role(project, Permission.PROJECT_VIEW))
    key = await issued_key(basic, bo)
    await keys._add_generation(ring, key)
    session = await begun(bo.require_user())
    async with EventLog().running() as log:
        yield Door(log, ring, SessionSigner(SEALER, ISSUER), bo, session, key)


async def begun(user: User, lifetime: timedelta = TWELVE_HOURS) -> Session:
    now = clock.now()
    return await Session.create(user=user, created_at=now, expires_at=now + lifetime)


# ---------------------------------------------------------------- a token is good


async def test_without_a_token_it_is_nobody(door: Door) -> None:
    assert await door.let_in(None) == Actor(address="192.0.2.1")


async def test_a_session_is_its_user_in_person(door: Door) -> None:
    actor = await door.let_in(door.session_token())
    assert (actor.user_id, actor.key_id, actor.address) == (door.bo.user_id, None, "192.0.2.1")
    assert actor.session == door.session
    assert actor.ends_at == door.session.expires_at


async def test_a_key_is_its_holder_by_that_key(door: Door) -> None:
    actor = await door.let_in(await door.key_token())
    assert (actor.user_id, actor.key_id, actor.session) == (door.bo.user_id, door.key.id, None)


async def test_a_key_is_good_by_a_former_issuer_and_a_former_signing_key(door: Door) -> None:
    token = await door.key_token()
    await keys.rotate_signing_key(GATEWAY, door.keyring)
    moved = replace(door, keyring=Keyring(SEALER, "https://elsewhere.example"))
    assert (await moved.let_in(token)).key_id == door.key.id


async def test_an_actor_doesn_t_show_its_token(door: Door) -> None:
    token = await door.key_token()
    actor = await door.let_in(token)
    assert actor.token == token
    assert token not in repr(actor)


# ---------------------------------------------------------------- a token is no good

Spoil = Callable[[Door], Awaitable[str]]


async def ended_session(door: Door) -> str:
    await Session.filter(id=door.session.id).update(ended_at=clock.now())
    return door.session_token()


async def session_that_expired_in_the_table(door: Door) -> str:
    await Session.filter(id=door.session.id).update(expires_at=clock.now())
    return door.session_token()


async def session_of_a_disabled_user(door: Door) -> str:
    await User.filter(id=door.bo.user_id).update(disabled_at=clock.now())
    return door.session_token()


async def key_of_a_disabled_user(door: Door) -> str:
    await User.filter(id=door.bo.user_id).update(disabled_at=clock.now())
    return await door.key_token()


async def session_token_of_another_gateway(door: Door) -> str:
    return replace(door, sessions=SessionSigner(OTHER_SEALER, ISSUER)).session_token()


async def expired_session_token(door: Door) -> str:
    return door.session_token(expires_at=clock.now())


async def session_token_of_another_user(door: Door) -> str:
    return door.session_token(user_id=(await person("Cy")).user_id)


async def session_token_of_no_session(door: Door) -> str:
    return door.session_token(session_id="ses_nobody")


async def session_token_as_key(door: Door) -> str:
    claims = {"iss": ISSUER, "sub": door.session.user_id, "jti": door.session.id, "iat": 1, "exp": 4_000_000_000}
    signing_key = await door.keyring.current()
    return sign(door.keyring._private_of(signing_key), {**key_header(signing_key.id), "typ": SESSION_TYP}, claims)


async def key_token_as_session(door: Door) -> str:
    return await door.signed(header={"typ": SESSION_TYP})


async def key_without_typ_of_ours(door: Door) -> str:
    return await door.signed(header={"typ": "JWT"})


async def key_with_alg_none(door: Door) -> str:
    _, claims, _ = (await door.key_token()).split(".")
    return f"eyJ0eXAiOiJ0ZXNzZXJhLWtleStqd3QiLCJhbGciOiJub25lIn0.{claims}."


async def key_signed_by_another_gateway(door: Door) -> str:
    stored = await KeyGeneration.get(key_id=door.key.id, generation=1)
    return sign(Ed25519PrivateKey.generate(), json.loads(stored.header), json.loads(stored.claims))


async def suspended_key(door: Door) -> str:
    await keys.suspend_all_of(GATEWAY, door.key.user_id)
    return await door.key_token()


async def expired_key(door: Door) -> str:
    await IssuedKey.filter(id=door.key.id).update(expires_at=clock.now())
    return await door.key_token()


async def key_whose_signing_key_was_withdrawn(door: Door) -> str:
    token = await door.key_token()
    await keys.withdraw_signing_key(GATEWAY, (await door.keyring.current()).id)
    return token


async def generation_that_ended(door: Door) -> str:
    await KeyGeneration.filter(key_id=door.key.id).update(ends_at=clock.now())
    return await door.key_token()


SPOILT: list[Spoil] = [
    ended_session,
    session_that_expired_in_the_table,
    session_of_a_disabled_user,
    session_token_of_another_gateway,
    expired_session_token,
    session_token_of_another_user,
    session_token_of_no_session,
    session_token_as_key,
    key_token_as_session,
    key_without_typ_of_ours,
    key_with_alg_none,
    key_signed_by_another_gateway,
    key_of_a_disabled_user,
    suspended_key,
    expired_key,
    key_whose_signing_key_was_withdrawn,
    generation_that_ended,
]


@pytest.mark.parametrize("spoil", SPOILT)
async def test_a_token_that_is_no_good_is_nobody_s(door: Door, spoil: Spoil) -> None:
    token = await spoil(door)
    async with unchanged():
        with pytest.raises(Unauthenticated):
            await door.let_in(token)


@pytest.mark.parametrize(
    "token", ["", " ", "x", "a.b.c", "Bearer x", "\x00", "\ud800", "é" * 10, "e30.e30.e30", "x" * 10_000]
)
async def test_a_malformed_token_is_nobody_s(door: Door, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await door.let_in(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"jti": "key_nobody.1"},
        {"jti": ".1"},
        {"role": "rol_another"},
        {"aud": "prj_another"},
        {"sub": "usr_another"},
        {"iss": "https://another.example"},
        {"iat": 1},
        {"exp": 4_000_000_000},
        {"more": "than was stored"},
        {"role": None},
    ],
    ids=str,
)
async def test_claims_that_were_not_stored_are_refused_though_signed_by_us(door: Door, changes: dict[str, Any]) -> None:
    token = await door.signed(**changes)
    with pytest.raises(Unauthenticated):
        await door.let_in(token)


@pytest.mark.parametrize("number", ["", "2", "01", "+1", "-1", "1.0", "1e0", "\u0661", "99999999999"])
async def test_a_generation_is_named_in_one_way(door: Door, number: str) -> None:
    token = await door.signed(jti=f"{door.key.id}.{number}")
    with pytest.raises(Unauthenticated):
        await door.let_in(token)


@pytest.mark.parametrize("kid", ["x" * 100, "\x00", "sig_\u0661", "' OR 1=1 --"])
async def test_a_kid_that_can_t_be_is_one_that_nobody_has(door: Door, kid: str) -> None:
    token = await door.signed(header={"kid": kid})
    with pytest.raises(Unauthenticated):
        await door.let_in(token)


@pytest.mark.parametrize("id", ["usr_" + "x" * 100, "usr_\x00", "usr_\ud800", "usr_é"])
async def test_an_id_that_can_t_be_finds_nothing(database: str, id: str) -> None:
    assert await User.get_or_none(id=id) is None
    assert await User.filter(id__in=[id]) == []
    assert await Session.filter(user_id=id).exists() is False


# ---------------------------------------------------------------- a token ends while it is used


@asynccontextmanager
async def ends(door: Door, actor: Actor) -> AsyncIterator[None]:
    """Fails unless what happens inside ends the actor's token, and nothing before did."""
    watch = asyncio.create_task(door.authenticator.ended(actor))
    done, _ = await asyncio.wait({watch}, timeout=0.05)
    assert not done
    yield
    await asyncio.wait_for(watch, WITHIN_SECONDS)


async def test_it_is_noticed_when_a_session_ends(door: Door) -> None:
    actor = await door.let_in(door.session_token())
    async with ends(door, actor):
        await users.sign_out(actor, everywhere=False)


async def test_it_is_noticed_when_a_key_is_revoked(door: Door) -> None:
    actor = await door.let_in(await door.key_token())
    async with ends(door, actor):
        await keys.revoke(actor, door.key.id)


async def test_it_is_noticed_when_a_signing_key_is_withdrawn(door: Door) -> None:
    token = await door.key_token()
    signed_by = await door.keyring.current()
    await keys.rotate_signing_key(GATEWAY, door.keyring)
    await keys.rotate(door.bo, door.keyring, door.key.id, overlap_seconds=3600)
    async with ends(door, await door.let_in(token)):
        await keys.withdraw_signing_key(GATEWAY, signed_by.id)
    assert (await door.let_in(await present_token(door))).key_id == door.key.id


async def present_token(door: Door) -> str:
    return await keys.token(door.keyring, await IssuedKey.get(id=door.key.id))


@pytest.mark.parametrize("by", ["session", "key"])
async def test_it_is_noticed_when_a_user_is_disabled(door: Door, by: str) -> None:
    actor = await door.let_in(door.session_token() if by == "session" else await door.key_token())
    async with ends(door, actor):
        await users.disable(GATEWAY, door.bo.require_user().id)


async def test_it_is_noticed_when_a_session_s_time_is_over(door: Door) -> None:
    session = await begun(door.bo.require_user(), timedelta(seconds=2))
    door = replace(door, session=session)
    async with ends(door, await door.let_in(door.session_token())):
        pass
    assert seconds(clock.now()) >= seconds(session.expires_at)


def is_disabling(event: Event) -> bool:
    return event.kind == "user.disabled"


async def test_what_happens_to_others_ends_nothing(door: Door) -> None:
    actor = await door.let_in(door.session_token())
    other = await begun(door.bo.require_user())
    watch = asyncio.create_task(door.authenticator.ended(actor))
    await users.sign_out(replace(actor, session=other), everywhere=False)
    await users.disable(GATEWAY, (await person("Cy")).require_user().id)
    async with asyncio.timeout(WITHIN_SECONDS), aclosing(door.log.follow(0, is_disabling)) as disablings:
        await anext(disablings)
    done, _ = await asyncio.wait({watch}, timeout=0.05)
    assert not done
    watch.cancel()


async def test_nobody_s_token_never_ends(door: Door) -> None:
    watch = asyncio.create_task(door.authenticator.ended(await door.let_in(None)))
    done, _ = await asyncio.wait({watch}, timeout=0.05)
    assert not done
    watch.cancel()
