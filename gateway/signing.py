"""Tokens: how they are signed, verified, and how the keys that sign them change. The only file that knows PyJWT.

Tokens of issued keys are signed with EdDSA (RFC 8037) by keys whose public halves are in the JWKS (RFC 7517); those of
sessions with HMAC-SHA256 by a key that is in none. Each kind has its own `typ` and no other passes for it (RFC 8725).
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

from gateway.sealing import Sealer
from models import SigningKey

KEY_TYP = "tessera-key+jwt"
SESSION_TYP = "tessera-session+jwt"
KEY_CLAIMS = ["iss", "sub", "aud", "jti", "role", "iat"]
SESSION_CLAIMS = ["iss", "sub", "jti", "iat", "exp"]
KEY_BEGINNING = urlsafe_b64encode(b'{"typ":"tessera-key+jwt"').decode()
"""What every token of an issued key begins with."""
LONGEST_TOKEN = 4096
REMEMBERED = 256
"""Tokens of sessions whose signature isn't looked at again."""
PURPOSE = "signing key"

# `iat` says when, not whether: the clock of the machine that signed may be a little ahead of this one's.
_jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True, "verify_iat": False})


class BadToken(Exception):
    """Not one of ours, changed since, of another kind, or past its time."""


@lru_cache(REMEMBERED)
def typ_of(token: str) -> str:
    """The kind that a token claims to be, unverified. Raises BadToken."""
    return str(_header(token).get("typ", ""))


def claimed(token: str) -> tuple[str, str]:
    """The `kid` and the `jti` that a token claims, unverified. Raises BadToken where it is none of an issued key.

    Nearly all that is no key falls here, in a few steps: a flood of forged ones is to cost little.
    """
    parts = token.split(".")
    if len(parts) != 3 or not token.startswith(KEY_BEGINNING):
        raise BadToken
    try:
        kid, jti = _member(parts[0], "kid"), _member(parts[1], "jti")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadToken from error
    if not isinstance(kid, str) or not isinstance(jti, str):
        raise BadToken
    return kid, jti


def _member(part: str, name: str) -> Any:
    return orjson.loads(urlsafe_b64decode(part + "=="))[name]


def key_header(kid: str) -> dict[str, str]:
    """`typ` first, so that all keys begin with the same characters and a secret scanner can tell them."""
    return {"typ": KEY_TYP, "alg": "EdDSA", "kid": kid}


def sign(private_key: Ed25519PrivateKey, header: Mapping[str, str], claims: Mapping[str, Any]) -> str:
    """The token of an issued key: the same bytes for the same header and claims (RFC 8032 is deterministic)."""
    return _jwt.encode(dict(claims), private_key, "EdDSA", headers=dict(header), sort_headers=False)


def verify(token: str, public_key: Ed25519PublicKey, *, is_past_allowed: bool = False) -> dict[str, Any]:
    """The claims of an issued key's token. Raises BadToken; for one that is past its time unless that is allowed.

    Issuer and audience are the caller's to compare with what was stored when the token was made.
    """
    options = {
        "require": KEY_CLAIMS,
        "verify_aud": False,
        "verify_iss": False,
        "verify_exp": not is_past_allowed,
    }
    return _decode(token, KEY_TYP, public_key, "EdDSA", options)


class SessionSigner:
    """Signs and verifies the tokens of sessions."""

    def __init__(self, sealer: Sealer, issuer: str) -> None:
        self._key = sealer.key_for("sessions")
        self._issuer = issuer
        self._claims = lru_cache(REMEMBERED)(self._verified)

    def sign(self, session_id: str, user_id: str, created_at: datetime, expires_at: datetime) -> str:
        claims = {
            "iss": self._issuer,
            "sub": user_id,
            "jti": session_id,
            "iat": seconds(created_at),
            "exp": seconds(expires_at),
        }
        return _jwt.encode(claims, self._key, "HS256", headers={"typ": SESSION_TYP}, sort_headers=False)

    def verify(self, token: str) -> dict[str, Any]:
        """The claims. Raises BadToken."""
        claims: dict[str, Any] = self._claims(token)
        if claims["exp"] <= time.time():
            raise BadToken
        return claims

    def _verified(self, token: str) -> dict[str, Any]:
        options = {"require": SESSION_CLAIMS, "verify_iss": False}
        return _decode(token, SESSION_TYP, self._key, "HS256", options)


class Keyring:
    """The signing keys, kept sealed in the database; opened ones and public halves stay in memory."""

    def __init__(self, sealer: Sealer, issuer: str) -> None:
        self.issuer = issuer
        self._sealer = sealer
        self._private: dict[str, Ed25519PrivateKey] = {}
        self._public: dict[str, Ed25519PublicKey] = {}

    async def current(self) -> SigningKey:
        """The key that signs new tokens; made when there is none yet, by one of the processes that start together."""
        if found := await SigningKey.get_or_none(is_current=True):
            return found
        try:
            async with in_transaction():
                return await self._make()
        except IntegrityError:
            return await SigningKey.get(is_current=True)

    async def add(self) -> SigningKey:
        """Makes the key that new tokens are signed with from now on; the former ones go on to verify.

        Raises IntegrityError where another process adds one at the same time.
        """
        async with in_transaction():
            await SigningKey.filter(is_current=True).update(is_current=False)
            return await self._make()

    def make(self, signing_key: SigningKey, header: str, claims: str) -> str:
        """The token of a stored generation, to the byte as it was first handed out."""
        return sign(self._private_of(signing_key), json.loads(header), json.loads(claims))

    async def verify(self, token: str) -> dict[str, Any]:
        """The claims of an issued key's token by a key that was not withdrawn. Raises BadToken."""
        kid = _header(token).get("kid")
        signing_key = await SigningKey.get_or_none(id=kid, withdrawn_at=None) if isinstance(kid, str) else None
        if signing_key is None:
            raise BadToken
        return verify(token, self._public_of(signing_key))

    async def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys of all tokens that verify (RFC 7517, RFC 8037)."""
        return {"keys": [_jwk(each) for each in await SigningKey.filter(withdrawn_at=None).order_by("id")]}

    async def _make(self) -> SigningKey:
        private = Ed25519PrivateKey.generate()
        made = SigningKey(public_key=private.public_key().public_bytes_raw(), sealed_private_key=b"")
        made.sealed_private_key = self._sealer.seal(PURPOSE, private.private_bytes_raw(), made.id)
        await made.save(force_create=True)
        return made

    def _private_of(self, signing_key: SigningKey) -> Ed25519PrivateKey:
        if signing_key.id not in self._private:
            raw = self._sealer.open(PURPOSE, signing_key.sealed_private_key, signing_key.id)
            self._private[signing_key.id] = Ed25519PrivateKey.from_private_bytes(raw)
        return self._private[signing_key.id]

    def _public_of(self, signing_key: SigningKey) -> Ed25519PublicKey:
        if signing_key.id not in self._public:
            self._public[signing_key.id] = Ed25519PublicKey.from_public_bytes(signing_key.public_key)
        return self._public[signing_key.id]


def _header(token: str) -> dict[str, Any]:
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise BadToken
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise BadToken from error


def _decode(token: str, typ: str, key: Ed25519PublicKey | bytes, algorithm: str, options: Any) -> dict[str, Any]:
    """The claims, of a token of this kind alone. `exp` is a number or it is no token of ours."""
    if _header(token).get("typ") != typ:
        raise BadToken
    try:
        claims = _jwt.decode(token, key, algorithms=[algorithm], options=options)
    except jwt.PyJWTError as error:
        raise BadToken from error
    if not isinstance(claims.get("exp", 0), int):
        raise BadToken
    return claims


def _jwk(signing_key: SigningKey) -> dict[str, str]:
    x = urlsafe_b64encode(signing_key.public_key).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": signing_key.id, "x": x}


def public_key_of(jwk: Mapping[str, str]) -> Ed25519PublicKey:
    """The public key of a JWK, as in the answer of `/.well-known/jwks.json`."""
    return Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(jwk["x"] + "=="))


def seconds(instant: datetime) -> int:
    """A NumericDate (RFC 7519): whole seconds since 1970."""
    return int(instant.astimezone(UTC).timestamp())
