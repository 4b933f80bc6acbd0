"""Tokens: their bytes are pinned, and nothing passes for one that isn't."""

import asyncio
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway import clock, keys
from gateway.errors import NotFound
from gateway.permissions import GATEWAY, Permission
from gateway.sealing import Sealer
from gateway.signing import BadToken, Keyring, SessionSigner, key_header, seconds, sign, verify
from models import KeyGeneration, KeyState, SigningKey
from tests.world import SEALER, issued_key, owned_project, person, refused, role, template, told

PRIVATE = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8037, appendix A.1
)
PUBLIC = PRIVATE.public_key()
HEADER = key_header("sig_01")
CLAIMS = {
    "iss": "https://tessera.example",
    "sub": "usr_01",
    "aud": "prj_01",
    "jti": "key_01.1",
    "role": "rol_01",
    "iat": 1_700_000_000,
    "exp": 4_000_000_000,
}
GOLDEN = (
    "eyJ0eXAiOiJ0ZXNzZXJhLWtleStqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6InNpZ18wMSJ9.eyJpc3M"
    "iOiJodHRwczovL3Rlc3NlcmEuZXhhbXBsZSIsInN1YiI6InVzcl8wMSIsImF1ZCI6InByal8wMSIsImp"
    "0aSI6ImtleV8wMS4xIiwicm9sZSI6InJvbF8wMSIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MDAwMDA"
    "wMDAwfQ.Fn80xGg_vnH9j39P35Fm10MTWecMm6m19Zefek1I9UUps0tW_QrrNFLY3MWNBMDzz0w0oc7S"
    "RhDIqYy0kR5zCg"
)
SESSIONS = SessionSigner(SEALER, "https://tessera.example")


def encoded(part: bytes | Mapping[str, Any]) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(
    header: bytes | Mapping[str, Any], claims: bytes | Mapping[str, Any], key: Ed25519PrivateKey = PRIVATE
) -> str:
    """Signed rightly, whatever it says."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(key.sign(signed.encode()))}"


def part(token: str, index: int) -> bytes:
    text = token.split(".")[index]
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


# ---------------------------------------------------------------- what we make


def test_the_bytes_of_a_token_are_pinned() -> None:
    assert sign(PRIVATE, HEADER, CLAIMS) == GOLDEN
    assert part(GOLDEN, 0) == b'{"typ":"tessera-key+jwt","alg":"EdDSA","kid":"sig_01"}'
    assert part(GOLDEN, 1) == json.dumps(CLAIMS, separators=(",", ":")).encode()


def test_every_key_begins_with_the_same_characters_for_secret_scanners() -> None:
    start = encoded(b'{"typ":"tessera-key+jwt","alg":"EdDSA","kid":"sig_')
    assert sign(PRIVATE, key_header("sig_02"), {**CLAIMS, "aud": "other"}).startswith(start)


claims_of_keys = st.fixed_dictionaries(
    {**{name: st.text(max_size=40) for name in ("iss", "sub", "aud", "jti", "role")}, "iat": st.integers(0, 2**33)},
    optional={"exp": st.integers(4_000_000_000, 2**40)},
)


@given(claims=claims_of_keys)
def test_any_claims_come_back_as_they_went_and_twice_the_same_bytes(claims: dict[str, Any]) -> None:
    token = sign(PRIVATE, HEADER, claims)
    assert sign(PRIVATE, HEADER, claims) == token
    assert verify(token, PUBLIC) == claims


def test_a_token_s_time_is_up_at_its_last_second() -> None:
    now = seconds(clock.now())
    assert verify(sign(PRIVATE, HEADER, {**CLAIMS, "exp": now + 60}), PUBLIC)["exp"] == now + 60
    with pytest.raises(BadToken):
        verify(sign(PRIVATE, HEADER, {**CLAIMS, "exp": now}), PUBLIC)


def test_a_session_s_time_is_up_also_where_its_token_was_looked_at_before(monkeypatch: pytest.MonkeyPatch) -> None:
    begun_at = clock.now()
    token = SESSIONS.sign("ses_01", "usr_01", begun_at, begun_at + timedelta(minutes=1))
    assert SESSIONS.verify(token)["sub"] == "usr_01"
    monkeypatch.setattr("gateway.signing.time.time", (begun_at + timedelta(minutes=1)).timestamp)
    with pytest.raises(BadToken):
        SESSIONS.verify(token)


def test_the_clock_of_the_signing_machine_may_be_ahead() -> None:
    assert verify(sign(PRIVATE, HEADER, {**CLAIMS, "iat": seconds(clock.now()) + 30}), PUBLIC)


# ---------------------------------------------------------------- what is none


PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def with_hmac(key: bytes) -> str:
    """The confusion of RFC 8725, 2.1: a public key taken for a shared secret."""
    signed = f"{encoded({**HEADER, 'alg': 'HS256'})}.{encoded(CLAIMS)}"
    return f"{signed}.{encoded(hmac.digest(key, signed.encode(), 'sha256'))}"


def session_token(**claims: Any) -> str:
    now = clock.now()
    return SESSIONS.sign("ses_01", "usr_01", now, now + timedelta(hours=1))


FORGERIES = {
    "absent": "",
    "one part": "token",
    "two parts": ".".join(GOLDEN.split(".")[:2]),
    "four parts": f"{GOLDEN}.x",
    "no base64": GOLDEN.replace("e", "%"),
    "not in ASCII": "\u00fc" + GOLDEN,
    "half a character": "\ud800" + GOLDEN,
    "too long": forged(HEADER, {**CLAIMS, "more": "x" * 5000}),
    "another signature": GOLDEN[:-10] + "A" * 10,
    "another key": forged(HEADER, CLAIMS, Ed25519PrivateKey.generate()),
    "no signature": GOLDEN.rpartition(".")[0] + ".",
    "alg none": f"{encoded({**HEADER, 'alg': 'none'})}.{encoded(CLAIMS)}.",
    "alg None": f"{encoded({**HEADER, 'alg': 'None'})}.{encoded(CLAIMS)}.",
    "alg of another kind": forged({**HEADER, "alg": "ES256"}, CLAIMS),
    "HMAC with the public key": with_hmac(PUBLIC.public_bytes_raw()),
    "HMAC with the public key's PEM": with_hmac(PEM),
    "no typ": forged({"alg": "EdDSA", "kid": "sig_01"}, CLAIMS),
    "plain typ": forged({**HEADER, "typ": "JWT"}, CLAIMS),
    "typ of a session": forged({**HEADER, "typ": "tessera-session+jwt"}, CLAIMS),
    "typ in another case": forged({**HEADER, "typ": "Tessera-Key+JWT"}, CLAIMS),
    "typ is a list": forged({**HEADER, "typ": ["tessera-key+jwt"]}, CLAIMS),
    "a session's": session_token(),
    "unknown crit": forged({**HEADER, "crit": ["x"], "x": 1}, CLAIMS),
    "empty crit": forged({**HEADER, "crit": []}, CLAIMS),
    "payload not encoded": forged({**HEADER, "b64": False, "crit": ["b64"]}, CLAIMS),
    "kid is a number": forged({**HEADER, "kid": 1}, CLAIMS),
    "header is a list": forged(b"[]", CLAIMS),
    "header without end": forged(b"[" * 2900, CLAIMS),
    "claims are a list": forged(HEADER, b"[]"),
    "claims are no JSON": forged(HEADER, b"{"),
    "exp is a string": forged(HEADER, {**CLAIMS, "exp": "4000000000"}),
    "exp is a fraction": forged(HEADER, {**CLAIMS, "exp": 4_000_000_000.5}),
    "exp is true": forged(HEADER, {**CLAIMS, "exp": True}),
    "exp is null": forged(HEADER, {**CLAIMS, "exp": None}),
    "exp is infinite": forged(HEADER, json.dumps({**CLAIMS, "exp": float("inf")}).encode()),
    "expired": forged(HEADER, {**CLAIMS, "exp": 1_700_000_001}),
    "not yet": forged(HEADER, {**CLAIMS, "nbf": 4_000_000_000}),
    "sub is a number": forged(HEADER, {**CLAIMS, "sub": 1}),
    "jti is a number": forged(HEADER, {**CLAIMS, "jti": 1}),
    **{
        f"no {name}": forged(HEADER, {key: value for key, value in CLAIMS.items() if key != name})
        for name in CLAIMS
        if name != "exp"
    },
}


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES.keys())
def test_nothing_else_passes_for_the_token_of_a_key(token: str) -> None:
    with pytest.raises(BadToken):
        verify(token, PUBLIC)


@pytest.mark.parametrize("token", [each for name, each in FORGERIES.items() if name != "a session's"])
def test_nothing_else_passes_for_the_token_of_a_session(token: str) -> None:
    with pytest.raises(BadToken):
        SESSIONS.verify(token)


def test_the_token_of_a_key_is_none_of_a_session() -> None:
    with pytest.raises(BadToken):
        SESSIONS.verify(GOLDEN)


@given(token=st.text(max_size=300))
def test_no_text_makes_it_fall_over(token: str) -> None:
    with pytest.raises(BadToken):
        verify(token, PUBLIC)
    with pytest.raises(BadToken):
        SESSIONS.verify(token)


def test_a_session_s_token_is_of_one_secret_key_alone() -> None:
    with pytest.raises(BadToken):
        SessionSigner(Sealer(b"another secret key of 32 bytes.."), "https://tessera.example").verify(session_token())
    assert SESSIONS.verify(session_token())["sub"] == "usr_01"


# ---------------------------------------------------------------- the keys that sign


async def token_of(keyring: Keyring, **claims: Any) -> str:
    current = await keyring.current()
    return keyring.make(current, json.dumps(key_header(current.id)), json.dumps({**CLAIMS, **claims}))


def keyring() -> Keyring:
    """As each process has its own."""
    return Keyring(SEALER, "https://tessera.example")


async def test_processes_that_start_together_make_one_first_key(database: str) -> None:
    made = await asyncio.gather(*(keyring().current() for _ in range(8)))
    assert len({each.id for each in made}) == 1
    assert await SigningKey.all().count() == 1


async def test_a_key_pair_is_stored_sealed(database: str) -> None:
    current = await keyring().current()
    opened = SEALER.open("signing key", current.sealed_private_key, current.id)
    assert Ed25519PrivateKey.from_private_bytes(opened).public_key().public_bytes_raw() == current.public_key
    assert opened not in current.sealed_private_key


async def test_after_rotation_new_tokens_have_another_key_and_the_old_verify_on(database: str) -> None:
    ring = keyring()
    before = await token_of(ring)
    rotated = await keys.rotate_signing_key(GATEWAY, ring)
    after = await token_of(ring)
    assert jwt.get_unverified_header(after)["kid"] == rotated.id != jwt.get_unverified_header(before)["kid"]
    assert await keyring().verify(before) == await keyring().verify(after) == CLAIMS
    assert ("signing_key.rotated", rotated.id) in await told()


async def test_rotations_at_once_leave_one_current_key(database: str) -> None:
    await keyring().current()
    await asyncio.gather(*(keys.rotate_signing_key(GATEWAY, keyring()) for _ in range(4)), return_exceptions=True)
    assert await SigningKey.filter(is_current=True).count() == 1


async def test_the_jwks_verifies_tokens_by_the_standard_alone(database: str) -> None:
    ring = keyring()
    token = await token_of(ring)
    await ring.add()
    published = jwt.PyJWKSet.from_dict(await keyring().jwks())
    assert len(published.keys) == 2
    kid = jwt.get_unverified_header(token)["kid"]
    assert jwt.decode(token, published[kid], algorithms=["EdDSA"], audience="prj_01") == CLAIMS


async def test_the_jwks_shows_public_halves_alone(database: str) -> None:
    await keyring().current()
    [shown] = (await keyring().jwks())["keys"]
    assert set(shown) == {"kty", "crv", "use", "alg", "kid", "x"}


async def test_a_token_of_an_unknown_key_is_none(database: str) -> None:
    await keyring().current()
    for kid in ("sig_nobody", "", "../../etc/passwd", None):
        header = {**HEADER, "kid": kid} if kid is not None else {"typ": HEADER["typ"], "alg": "EdDSA"}
        with pytest.raises(BadToken):
            await keyring().verify(forged(header, CLAIMS))


async def test_withdrawing_ends_the_keys_whose_present_token_it_signed_and_no_other(database: str) -> None:
    ring, ada, bo, cy = keyring(), await person("Ada"), await person("Bo"), await person("Cy")
    project = await owned_project(ada)
    basic = await template(project, await role(project, Permission.PROJECT_VIEW))
    ended, rotated = await issued_key(basic, bo), await issued_key(basic, cy)
    old = await ring.current()
    for key in (ended, rotated):
        await KeyGeneration.create(key=key, generation=1, signing_key=old, header="{}", claims="{}")
    new = await keys.rotate_signing_key(GATEWAY, ring)
    rotated.generation = 2
    await rotated.save()
    await KeyGeneration.create(key=rotated, generation=2, signing_key=new, header="{}", claims="{}")

    assert [key.id for key in await keys.signed_by(old.id)] == [ended.id]
    await keys.withdraw_signing_key(GATEWAY, old.id)

    for key in (ended, rotated):
        await key.refresh_from_db()
    assert (ended.state, rotated.state) == (KeyState.REVOKED, KeyState.ACTIVE)
    assert {each["kid"] for each in (await ring.jwks())["keys"]} == {new.id}
    assert (await told())[-2:] == [("key.revoked", ended.id), ("signing_key.withdrawn", old.id)]
    async with refused(NotFound):
        await keys.withdraw_signing_key(GATEWAY, old.id)


async def test_a_withdrawn_key_verifies_nothing_and_another_takes_its_place(database: str) -> None:
    ring = keyring()
    token = await token_of(ring)
    withdrawn = await ring.current()
    await keys.withdraw_signing_key(GATEWAY, withdrawn.id)
    with pytest.raises(BadToken):
        await ring.verify(token)
    assert (await ring.current()).id != withdrawn.id
