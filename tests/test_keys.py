"""Issued keys: what becomes of them, by whom, and what is told of it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tortoise.exceptions import IntegrityError

from gateway import clock, keys, requests, users
from gateway.auth import Authenticator
from gateway.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from gateway.events import EventLog
from gateway.permissions import GATEWAY, Actor, Permission
from gateway.signing import Keyring, SessionSigner
from models import AuditEntry, IssuedKey, KeyState, Project
from tests.world import SEALER, by_key, join, owned_project, person, refused, role, template, told

pytestmark = pytest.mark.usefixtures("database")
KEYRING = Keyring(SEALER, "https://gateway.example")


class Scene:
    owner: Actor
    holder: Actor
    project: Project
    key: IssuedKey


@pytest.fixture
async def scene(database: str) -> Scene:  # rows need tables
    made = Scene()
    made.owner, made.holder = await person("Olga"), await person("Ulrich")
    made.project = await owned_project(made.owner)
    await role(made.project, Permission.PROJECT_VIEW, name="everyone", is_public=True)
    made.key = await issue(made)
    return made


async def issue(scene: Scene, name: str = "Basic", *permissions: Permission) -> IssuedKey:
    caller = await role(scene.project, *(permissions or (Permission.PROJECT_VIEW,)), name=f"Caller of {name}")
    request = await requests.create(scene.holder, (await template(scene.project, caller, name)).id)
    await requests.approve(scene.owner, KEYRING, request.id)
    return await IssuedKey.get(request_id=request.id)


async def works(token: str) -> bool:
    async with EventLog().running() as log:
        authenticator = Authenticator(KEYRING, SessionSigner(SEALER, "https://gateway.example"), log)
        try:
            actor = await authenticator.authenticate(token, None)
        except Unauthenticated:
            return False
    return actor.issued_key is not None


async def test_the_token_works_until_the_key_is_revoked(scene: Scene) -> None:
    token = await keys.token(KEYRING, scene.key)
    assert await works(token)
    await keys.revoke(scene.owner, scene.key.id)
    assert not await works(token)


async def test_a_suspended_key_is_refused_until_it_is_resumed(scene: Scene) -> None:
    token = await keys.token(KEYRING, scene.key)
    await keys.suspend(scene.owner, scene.key.id)
    assert not await works(token)
    await keys.resume(scene.owner, scene.key.id)
    assert await works(token)


async def test_refusal_of_an_expired_key_does_not_wait_for_its_being_told(scene: Scene) -> None:
    token = await keys.token(KEYRING, scene.key)
    await IssuedKey.filter(id=scene.key.id).update(expires_at=clock.now())
    assert not await works(token)
    assert ("key.expired", scene.key.id) not in await told()


async def test_expiry_is_told_once_whoever_tells_it(scene: Scene) -> None:
    await IssuedKey.filter(id=scene.key.id).update(expires_at=clock.now())
    assert sum(await asyncio.gather(*(keys.expire_due() for _ in range(4)))) == 1
    assert (await told()).count(("key.expired", scene.key.id)) == 1


async def test_a_suspended_key_expires_too(scene: Scene) -> None:
    await keys.suspend(scene.owner, scene.key.id)
    await IssuedKey.filter(id=scene.key.id).update(expires_at=clock.now())
    assert await keys.expire_due() == 1
    async with refused(Conflict, "keyId"):
        await keys.resume(scene.owner, scene.key.id)


async def test_rotation_makes_a_new_token_and_ends_the_old_at_once(scene: Scene) -> None:
    old = await keys.token(KEYRING, scene.key)
    rotated = await keys.rotate(scene.holder, KEYRING, scene.key.id, 0)
    new = await keys.token(KEYRING, rotated)
    assert (await works(old), await works(new)) == (False, True)


async def test_the_old_token_works_through_the_overlap(scene: Scene) -> None:
    old = await keys.token(KEYRING, scene.key)
    rotated = await keys.rotate(scene.holder, KEYRING, scene.key.id, 60)
    assert await works(old)
    assert await works(await keys.token(KEYRING, rotated))


async def test_the_end_of_an_overlap_ends_every_earlier_token(scene: Scene) -> None:
    first = await keys.token(KEYRING, scene.key)
    second = await keys.token(KEYRING, await keys.rotate(scene.holder, KEYRING, scene.key.id, 3600))
    await keys.rotate(scene.holder, KEYRING, scene.key.id, 0)
    assert (await works(first), await works(second)) == (False, False)


async def test_a_later_rotation_never_lengthens_an_overlap(scene: Scene) -> None:
    first = await keys.token(KEYRING, scene.key)
    await keys.rotate(scene.holder, KEYRING, scene.key.id, 0)
    await keys.rotate(scene.holder, KEYRING, scene.key.id, 3600)
    assert not await works(first)


async def test_tokens_survive_a_new_signing_key_and_end_with_its_withdrawal(scene: Scene) -> None:
    old, old_signer = await keys.token(KEYRING, scene.key), await KEYRING.current()
    await KEYRING.add()
    assert await works(old)
    await keys.withdraw_signing_key(GATEWAY, old_signer.id)
    assert not await works(old)
    assert (await IssuedKey.get(id=scene.key.id)).state is KeyState.REVOKED


async def test_a_key_that_was_rotated_since_outlives_its_former_signing_key(scene: Scene) -> None:
    old_signer = await KEYRING.current()
    await KEYRING.add()
    rotated = await keys.rotate(scene.holder, KEYRING, scene.key.id, 3600)
    await keys.withdraw_signing_key(GATEWAY, old_signer.id)
    assert await works(await keys.token(KEYRING, rotated))


async def test_revealing_is_for_the_holder_and_is_audited(scene: Scene) -> None:
    await keys.reveal(scene.holder, scene.key.id)
    assert await AuditEntry.filter(action="key.revealed", object_id=scene.key.id, user_id=scene.holder.user_id).count()
    async with refused(Forbidden, "keyId"):
        await keys.reveal(scene.owner, scene.key.id)
    stranger = await person("Eve")
    async with refused(NotFound, "keyId"):
        await keys.reveal(stranger, scene.key.id)
    async with refused(Forbidden):
        await keys.reveal(by_key(scene.holder, scene.key), scene.key.id)


async def test_an_ended_key_is_neither_revealed_nor_rotated_nor_ended_again(scene: Scene) -> None:
    await keys.revoke(scene.holder, scene.key.id)
    acts: list[Callable[[], Awaitable[IssuedKey]]] = [
        lambda: keys.reveal(scene.holder, scene.key.id),
        lambda: keys.rotate(scene.holder, KEYRING, scene.key.id, 0),
        lambda: keys.revoke(scene.owner, scene.key.id),
        lambda: keys.suspend(scene.owner, scene.key.id),
        lambda: keys.resume(scene.owner, scene.key.id),
    ]
    for act in acts:
        async with refused(Conflict, "keyId"):
            await act()


@pytest.mark.parametrize("seconds", [-1, 2_592_001])
async def test_an_overlap_out_of_bounds_is_refused(scene: Scene, seconds: int) -> None:
    async with refused(Invalid, "overlapSeconds"):
        await keys.rotate(scene.holder, KEYRING, scene.key.id, seconds)


async def test_a_key_may_revoke_itself_and_no_other(scene: Scene) -> None:
    other = await issue(scene, "Other", Permission.PROJECT_VIEW, Permission.KEYS_VIEW)
    async with refused(Forbidden):
        await keys.revoke(by_key(scene.holder, other), scene.key.id)
    assert (await keys.revoke(by_key(scene.holder, other), other.id)).state is KeyState.REVOKED


async def test_a_key_with_the_right_manages_other_keys(scene: Scene) -> None:
    manager = by_key(scene.holder, await issue(scene, "Manager", Permission.PROJECT_MANAGE))
    assert (await keys.suspend(manager, scene.key.id)).state is KeyState.SUSPENDED


async def test_only_managers_suspend(scene: Scene) -> None:
    analyst = await person("Ana")
    await join(scene.project, analyst, await role(scene.project, Permission.KEYS_VIEW, name="analyst"))
    async with refused(Forbidden):
        await keys.suspend(analyst, scene.key.id)
    async with refused(Forbidden):
        await keys.suspend(scene.holder, scene.key.id)
    stranger = await person("Eve")
    async with refused(NotFound, "keyId"):
        await keys.suspend(stranger, scene.key.id)


async def test_a_key_of_a_disabled_account_stays_suspended(scene: Scene) -> None:
    await users.disable(GATEWAY, scene.holder.require_user().id)
    async with refused(Conflict, "keyId"):
        await keys.resume(scene.owner, scene.key.id)


async def test_leaving_a_project_does_not_end_a_key(scene: Scene) -> None:
    token = await keys.token(KEYRING, scene.key)
    await Project.filter(id=scene.project.id).update(name="Private now")
    assert await works(token)


async def test_the_database_itself_refuses_a_second_living_key(scene: Scene) -> None:
    twin = await IssuedKey.get(id=scene.key.id)
    request = await requests.create(await person("Vera"), twin.template_id)
    with pytest.raises(IntegrityError):
        await IssuedKey.create(
            request=request,
            project_id=twin.project_id,
            template_id=twin.template_id,
            role_id=twin.role_id,
            user_id=twin.user_id,
            name=twin.name,
            name_folded=twin.name_folded,
            received_at=clock.now(),
        )


@pytest.mark.parametrize("state", [KeyState.SUSPENDED, KeyState.REVOKED, KeyState.EXPIRED])
async def test_the_database_itself_refuses_a_state_without_its_instant(scene: Scene, state: KeyState) -> None:
    with pytest.raises(IntegrityError):
        await IssuedKey.filter(id=scene.key.id).update(state=state)


async def test_states_filter_by_what_is_true_now(scene: Scene) -> None:
    now = clock.now()
    await IssuedKey.filter(id=scene.key.id).update(expires_at=now - timedelta(seconds=1))
    in_state = {state: await IssuedKey.filter(keys.in_states([state], now)).count() for state in KeyState}
    assert in_state == {
        KeyState.ACTIVE: 0,
        KeyState.SUSPENDED: 0,
        KeyState.EXPIRED: 1,
        KeyState.REVOKED: 0,
    }
    assert await IssuedKey.filter(keys.in_states([], now)).count() == 0
