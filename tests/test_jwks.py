"""The public keys, as anyone verifies tokens by them (RFC 7517, RFC 8037): with PyJWT, which knows nothing of ours."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway import keys
from gateway.permissions import GATEWAY
from gateway.signing import Keyring
from models import SigningKey
from tests.stage import Stage, staged
from tests.world import SEALER


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        yield stage


async def published(stage: Stage) -> dict[str, Any]:
    answer = await stage.http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jwk-set+json"
    return dict(answer.json())


def verified(token: str, key_set: dict[str, Any], audience: str) -> dict[str, Any]:
    """The claims, as a service reads them that has nothing but the set. Raises KeyError, PyJWTError."""
    key = jwt.PyJWKSet.from_dict(key_set)[jwt.get_unverified_header(token)["kid"]]
    return dict(jwt.decode(token, key, algorithms=["EdDSA"], audience=audience, issuer="http://127.0.0.1:8000"))


async def test_whoever_has_the_set_verifies_every_key_by_it(stage: Stage) -> None:
    key_id, token = await stage.key()
    assert verified(token, await published(stage), stage.project.id)["jti"] == f"{key_id}.1"
    with pytest.raises(jwt.InvalidSignatureError):
        verified(token[:-10] + "A" * 10, await published(stage), stage.project.id)


async def test_each_key_is_told_as_the_rfcs_say_and_without_its_private_half(stage: Stage) -> None:
    await keys.rotate_signing_key(GATEWAY, Keyring(SEALER, "http://127.0.0.1:8000"))
    told = await published(stage)
    assert set(told) == {"keys"}
    assert len({each["kid"] for each in told["keys"]}) == len(told["keys"]) == 2
    for each in told["keys"]:
        x = each.pop("x")
        assert re.fullmatch("[A-Za-z0-9_-]{43}", x)  # 32 bytes in base64url, without padding
        assert await SigningKey.exists(id=each.pop("kid"))
        assert each == {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA"}


async def test_a_key_that_signs_no_more_is_told_until_it_is_withdrawn(stage: Stage) -> None:
    _, earlier = await stage.key()
    [former] = (await published(stage))["keys"]
    await keys.rotate_signing_key(GATEWAY, Keyring(SEALER, "http://127.0.0.1:8000"))
    assert verified(earlier, await published(stage), stage.project.id)
    await keys.withdraw_signing_key(GATEWAY, former["kid"])
    left = await published(stage)
    assert former["kid"] not in {each["kid"] for each in left["keys"]}
    with pytest.raises(KeyError):
        verified(earlier, left, stage.project.id)
