"""One verdict on a key at every entrance, whatever became of it: what one refuses no other lets in.

An entrance is a function that says whether it lets a token in; to add one is to name it in ENTRANCES.
"""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.responses import PlainTextResponse

from gateway import clock, keys, users
from gateway.permissions import GATEWAY
from gateway.signing import Keyring, sign
from models import KeyGeneration
from tests.following import Ended, Refused
from tests.serving import serving
from tests.stage import Stage, staged
from tests.world import SEALER

OWN = "subscription { viewerKeyEvents { type } }"
WHO = "{ viewer { user { id } } }"
LIFETIME = timedelta(minutes=10)
OVERLAP_SECONDS = 600


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Ada's project has an upstream, which answers every call."""
    loopback = {"upstream_allow": ["127.0.0.0/8"]}
    async with serving(PlainTextResponse("well")) as upstream, staged(database_url, tmp_path, **loopback) as stage:
        # The stage's rows were put straight into the tables: these changes tell of them.
        await stage.ada.do("projectUpdate", "__typename", projectId=stage.project.id, upstreamUrl=upstream)
        await stage.ada.do("roleUpdate", "__typename", roleId=stage.viewing.id, name="everybody")
        await stage.ada.do("templateUpdate", "__typename", templateId=stage.basic.id, pricePerRequest="0.25")
        yield stage


# ---------------------------------------------------------------- entrances

Entrance = Callable[[Stage, str], Awaitable[bool]]


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def lets_in(answer: httpx2.Response) -> bool:
    assert answer.status_code in {200, 401}, answer.text
    return answer.status_code == 200


async def graphql(stage: Stage, token: str) -> bool:
    return lets_in(await stage.http.post("/graphql", json={"query": WHO}, headers=bearer(token)))


async def graphql_by_get(stage: Stage, token: str) -> bool:
    return lets_in(await stage.http.get("/graphql", params={"query": WHO}, headers=bearer(token)))


async def event_stream(stage: Stage, token: str) -> bool:
    try:
        async with stage.follow("sse", OWN, token):
            return True
    except Refused as refused:
        if refused.status != 401:
            raise
        return False


async def websocket(stage: Stage, token: str) -> bool:
    try:
        async with stage.follow("websocket", OWN, token):
            return True
    except Ended as ended:
        if ended.code != 4403:
            raise
        return False


async def introspection_of_it(stage: Stage, token: str) -> bool:
    answer = await stage.http.post("/oauth/introspect", data={"token": token}, headers=bearer(stage.ada.token))
    told = answer.json()
    assert told["active"] or told == {"active": False}
    return bool(told["active"])


async def introspection_by_it(stage: Stage, token: str) -> bool:
    return lets_in(await stage.http.post("/oauth/introspect", data={"token": token}, headers=bearer(token)))


async def proxy(stage: Stage, token: str) -> bool:
    return lets_in(await stage.http.get(target_on(stage), headers=bearer(token)))


async def authorize(stage: Stage, token: str) -> bool:
    """As nginx asks."""
    original = {"X-Original-Method": "GET", "X-Original-URI": target_on(stage)}
    path = f"/authorize/{stage.project.id}?from=original"
    return lets_in(await stage.http.get(path, headers={**bearer(token), **original}))


async def authorize_forwarded(stage: Stage, token: str) -> bool:
    """As Traefik asks."""
    forwarded = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": target_on(stage)}
    path = f"/authorize/{stage.project.id}?from=forwarded"
    return lets_in(await stage.http.get(path, headers={**bearer(token), **forwarded}))


async def authorize_by_prefix(stage: Stage, token: str) -> bool:
    """As Envoy asks."""
    return lets_in(await stage.http.get(f"/authorize/{stage.project.id}{target_on(stage)}", headers=bearer(token)))


def target_on(stage: Stage) -> str:
    return f"/api/projects/{stage.project.id}/data_layers"


ENTRANCES: list[Entrance] = [
    graphql,
    graphql_by_get,
    event_stream,
    websocket,
    introspection_of_it,
    introspection_by_it,
    proxy,
    authorize,
    authorize_forwarded,
    authorize_by_prefix,
]


async def assert_all(stage: Stage, token: str, *, let_in: bool) -> None:
    await stage.hear()  # of what another process did what isn't metered may hear a moment later
    verdicts = {entrance.__name__: await entrance(stage, token) for entrance in ENTRANCES}
    assert verdicts == dict.fromkeys(verdicts, let_in)


# ---------------------------------------------------------------- what becomes of a key

Fate = Callable[[Stage, str, str], Awaitable[str]]
"""Given the id and the token of a good key, the token that is tried afterwards."""


async def nothing(_: Stage, __: str, token: str) -> str:
    return token


async def resumed(stage: Stage, key_id: str, token: str) -> str:
    await suspended(stage, key_id, token)
    await assert_all(stage, token, let_in=False)
    await stage.ada.do("keyResume", "issuedKey { id }", keyId=key_id)
    return token


async def rotated(stage: Stage, key_id: str, _: str) -> str:
    return str((await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=0))["token"])


async def rotated_with_an_overlap(stage: Stage, key_id: str, token: str) -> str:
    await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=OVERLAP_SECONDS)
    return token


async def signing_key_rotated(_: Stage, __: str, token: str) -> str:
    await keys.rotate_signing_key(GATEWAY, Keyring(SEALER, "http://127.0.0.1:8000"))
    return token


async def template_deleted(stage: Stage, _: str, token: str) -> str:
    await stage.ada.do("templateDelete", "deletedId", templateId=stage.basic.id)
    return token


async def holder_left_the_project(stage: Stage, _: str, token: str) -> str:
    on_it = {"projectId": stage.project.id, "user": {"userId": stage.bo.id}}
    for role_ids in ([stage.viewing.id], []):
        await stage.ada.do("memberSetRoles", "member { id }", **on_it, roleIds=role_ids)
    return token


async def suspended(stage: Stage, key_id: str, token: str) -> str:
    await stage.ada.do("keySuspend", "issuedKey { id }", keyId=key_id)
    return token


async def revoked(stage: Stage, key_id: str, token: str) -> str:
    await stage.ada.do("keyRevoke", "issuedKey { id }", keyId=key_id)
    return token


async def revoked_by_possession(stage: Stage, _: str, token: str) -> str:
    assert lets_in(await stage.http.post("/oauth/revoke", data={"token": token}))
    return token


async def revoked_by_another_process(stage: Stage, key_id: str, token: str) -> str:
    await keys.revoke(stage.ada.actor, key_id)
    return token


async def rotated_out(stage: Stage, key_id: str, token: str) -> str:
    await rotated(stage, key_id, token)
    return token


async def holder_disabled(stage: Stage, _: str, token: str) -> str:
    await users.disable(GATEWAY, stage.bo.id)
    return token


async def signing_key_withdrawn(_: Stage, key_id: str, token: str) -> str:
    await keys.withdraw_signing_key(GATEWAY, (await KeyGeneration.get(key_id=key_id)).signing_key_id)
    return token


async def earlier_signing_key_withdrawn(stage: Stage, key_id: str, token: str) -> str:
    """The key lives on by its later token; this one is no good, though its overlap isn't over."""
    await signing_key_rotated(stage, key_id, token)
    first = await KeyGeneration.get(key_id=key_id)
    later = await stage.bo.do("keyRotate", "token", keyId=key_id, overlapSeconds=OVERLAP_SECONDS)
    await keys.withdraw_signing_key(GATEWAY, first.signing_key_id)
    await assert_all(stage, str(later["token"]), let_in=True)
    return token


async def project_deleted(stage: Stage, _: str, token: str) -> str:
    await stage.ada.do("projectDelete", "deletedId", projectId=stage.project.id)
    return token


async def another_signature(_: Stage, __: str, token: str) -> str:
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[::-1]}"


async def signed_by_another_gateway(_: Stage, key_id: str, __: str) -> str:
    stored = await KeyGeneration.get(key_id=key_id)
    return sign(Ed25519PrivateKey.generate(), json.loads(stored.header), json.loads(stored.claims))


async def signed_by_us_with_more_claims(_: Stage, key_id: str, __: str) -> str:
    stored = await KeyGeneration.get(key_id=key_id).select_related("signing_key")
    claims = stored.claims.replace('"role"', '"admin": true, "role"')
    return Keyring(SEALER, "").make(stored.signing_key, stored.header, claims)


async def of_a_generation_to_come(_: Stage, key_id: str, __: str) -> str:
    stored = await KeyGeneration.get(key_id=key_id).select_related("signing_key")
    claims = stored.claims.replace(f"{key_id}.1", f"{key_id}.2")
    return Keyring(SEALER, "").make(stored.signing_key, stored.header, claims)


async def unsigned(_: Stage, __: str, token: str) -> str:
    return token.rpartition(".")[0] + "."


LIVING: list[Fate] = [
    nothing,
    resumed,
    rotated,
    rotated_with_an_overlap,
    signing_key_rotated,
    template_deleted,
    holder_left_the_project,
]
ENDED: list[Fate] = [
    suspended,
    revoked,
    revoked_by_possession,
    revoked_by_another_process,
    rotated_out,
    holder_disabled,
    signing_key_withdrawn,
    earlier_signing_key_withdrawn,
    project_deleted,
]
FORGED: list[Fate] = [
    another_signature,
    signed_by_another_gateway,
    signed_by_us_with_more_claims,
    of_a_generation_to_come,
    unsigned,
]


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize("fate", LIVING)
async def test_a_key_that_lives_is_let_in_everywhere(stage: Stage, fate: Fate) -> None:
    key_id, token = await stage.key()
    await assert_all(stage, token, let_in=True)
    await assert_all(stage, await fate(stage, key_id, token), let_in=True)


@pytest.mark.parametrize("fate", [*ENDED, *FORGED])
async def test_a_key_that_is_no_good_is_let_in_nowhere_though_it_was_before(stage: Stage, fate: Fate) -> None:
    key_id, token = await stage.key()
    await assert_all(stage, token, let_in=True)
    await assert_all(stage, await fate(stage, key_id, token), let_in=False)


def let_pass(duration: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both clocks: what counts calls reads the machine's own, in nanoseconds."""
    now, time_ns = clock.now, time.time_ns
    monkeypatch.setattr(clock, "now", lambda: now() + duration)
    monkeypatch.setattr(time, "time_ns", lambda: time_ns() + int(duration.total_seconds() * 1e9))


@pytest.mark.parametrize("is_rotated", [False, True])
async def test_a_key_whose_time_is_over_is_let_in_nowhere_though_nobody_has_told_yet(
    stage: Stage, is_rotated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own time, or that of an earlier token."""
    expiry = {} if is_rotated else {"expiresAt": (clock.now() + LIFETIME).isoformat()}
    key_id, token = await stage.key(**expiry)
    if is_rotated:
        await rotated_with_an_overlap(stage, key_id, token)
    await assert_all(stage, token, let_in=True)
    let_pass(LIFETIME, monkeypatch)
    await assert_all(stage, token, let_in=False)
