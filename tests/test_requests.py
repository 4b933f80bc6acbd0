"""Requests: who may ask and decide, once, and what a decision brings about."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tortoise.exceptions import IntegrityError

from gateway import clock, keys, requests, users
from gateway.errors import Conflict, Forbidden, Invalid, NotFound, TesseraError, Unauthenticated
from gateway.pages import Slice
from gateway.permissions import GATEWAY, Actor, Permission
from gateway.signing import Keyring
from models import IssuedKey, KeyRequest, KeyState, Project, RequestState, Template
from tests.world import ANONYMOUS, SEALER, by_key, join, owned_project, person, refused, role, template, told

pytestmark = pytest.mark.usefixtures("database")
KEYRING = Keyring(SEALER, "https://gateway.example")


class Scene:
    """A project that everyone may see, its owner, and one who asks."""

    owner: Actor
    asker: Actor
    project: Project
    template: Template


@pytest.fixture
async def scene(database: str) -> Scene:  # rows need tables
    made = Scene()
    made.owner, made.asker = await person("Olga"), await person("Ulrich")
    made.project = await owned_project(made.owner)
    await role(made.project, Permission.PROJECT_VIEW, name="everyone", is_public=True)
    caller = await role(made.project, Permission.PROJECT_VIEW, Permission.PACKAGE_CREATE)
    made.template = await template(made.project, caller, description="Ten calls a day")
    return made


async def test_asking_makes_a_pending_request_and_tells_it(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id, "Please.")
    assert (request.state, request.note, request.user_id) == (RequestState.PENDING, "Please.", scene.asker.user_id)
    assert await told() == [("request.created", request.id)]


async def test_nobody_asks_without_signing_in(scene: Scene) -> None:
    async with refused(Unauthenticated):
        await requests.create(ANONYMOUS, scene.template.id)


async def test_a_template_of_a_project_that_may_not_be_seen_is_absent(scene: Scene) -> None:
    hidden = await owned_project(scene.owner, "Hidden")
    unseen = await template(hidden, await role(hidden, Permission.PROJECT_VIEW))
    async with refused(NotFound, "templateId"):
        await requests.create(scene.asker, unseen.id)


async def test_a_deleted_template_is_absent(scene: Scene) -> None:
    await Template.filter(id=scene.template.id).update(deleted_at=clock.now())
    async with refused(NotFound, "templateId"):
        await requests.create(scene.asker, scene.template.id)


async def test_one_pending_request_a_user_and_template(scene: Scene) -> None:
    await requests.create(scene.asker, scene.template.id)
    async with refused(Conflict, "templateId"):
        await requests.create(scene.asker, scene.template.id)


async def test_the_database_itself_refuses_a_second_pending_request(scene: Scene) -> None:
    row: dict[str, Any] = {"template": scene.template, "project": scene.project, "user": scene.asker.user}
    await KeyRequest.create(**row, requested_at=clock.now())
    with pytest.raises(IntegrityError):
        await KeyRequest.create(**row, requested_at=clock.now())


async def test_two_askings_at_once_make_one_request(scene: Scene) -> None:
    async def ask() -> TesseraError | KeyRequest:
        try:
            return await requests.create(scene.asker, scene.template.id)
        except Conflict as refusal:
            return refusal

    answers = await asyncio.gather(*(ask() for _ in range(4)))
    assert sum(isinstance(answer, KeyRequest) for answer in answers) == 1
    assert await KeyRequest.all().count() == 1


async def test_after_a_rejection_one_may_ask_again(scene: Scene) -> None:
    first = await requests.create(scene.asker, scene.template.id)
    await requests.reject(scene.owner, first.id, "Not now.")
    second = await requests.create(scene.asker, scene.template.id)
    latest = await requests.latest_of_viewer(scene.asker, [scene.template.id])
    assert latest[scene.template.id].id == second.id


async def test_a_note_that_is_too_long_is_refused(scene: Scene) -> None:
    async with refused(Invalid, "note"):
        await requests.create(scene.asker, scene.template.id, "x" * 2001)


async def test_approval_issues_the_key_in_the_same_transaction(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    approved = await requests.approve(scene.owner, KEYRING, request.id)
    key = await IssuedKey.get(request_id=request.id)
    assert (approved.state, approved.decided_by_id) == (RequestState.APPROVED, scene.owner.user_id)
    assert (key.name, key.description, key.role_id) == ("Basic", "Ten calls a day", scene.template.role_id)
    assert await told() == [("request.created", request.id), ("key.issued", key.id), ("request.approved", request.id)]


async def test_two_owners_at_once_issue_one_key(scene: Scene) -> None:
    other = await person("Otto")
    await join(scene.project, other, await role(scene.project, Permission.PROJECT_MANAGE, name="manager"))
    request = await requests.create(scene.asker, scene.template.id)

    async def approve(actor: Actor) -> bool:
        try:
            await requests.approve(actor, KEYRING, request.id)
        except Conflict:
            return False
        return True

    assert sorted(await asyncio.gather(approve(scene.owner), approve(other))) == [False, True]
    assert await IssuedKey.all().count() == 1


@pytest.mark.parametrize("decided", [RequestState.APPROVED, RequestState.REJECTED, RequestState.CANCELLED])
async def test_what_is_decided_stays_decided(scene: Scene, decided: RequestState) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    await decide(scene, request, decided)
    for again in (RequestState.APPROVED, RequestState.REJECTED, RequestState.CANCELLED):
        async with refused(Conflict, "requestId"):
            await decide(scene, request, again)


async def decide(scene: Scene, request: KeyRequest, state: RequestState) -> None:
    if state is RequestState.APPROVED:
        await requests.approve(scene.owner, KEYRING, request.id)
    elif state is RequestState.REJECTED:
        await requests.reject(scene.owner, request.id, "No.")
    else:
        await requests.cancel(scene.asker, request.id)


async def test_an_expiry_in_the_past_is_refused(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    async with refused(Invalid, "expiresAt"):
        await requests.approve(scene.owner, KEYRING, request.id, clock.now() - timedelta(seconds=1))


async def test_approval_checks_again_that_the_template_stands(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    await Template.filter(id=scene.template.id).update(deleted_at=clock.now())
    async with refused(Conflict, "requestId"):
        await requests.approve(scene.owner, KEYRING, request.id)


async def test_approval_checks_again_that_the_role_may_view_the_project(scene: Scene) -> None:
    blind_project = await owned_project(scene.owner, "Blind")
    await join(blind_project, scene.asker, await role(blind_project, Permission.PROJECT_VIEW, name="viewer"))
    blind = await template(blind_project, await role(blind_project, Permission.PACKAGE_VIEW))
    request = await requests.create(scene.asker, blind.id)
    async with refused(Conflict, "requestId"):
        await requests.approve(scene.owner, KEYRING, request.id)


async def test_nothing_is_issued_to_a_disabled_account(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    await users.disable(GATEWAY, scene.asker.require_user().id)
    async with refused(Conflict, "requestId"):
        await requests.approve(scene.owner, KEYRING, request.id)


async def test_a_rejection_needs_a_reason(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    async with refused(Invalid, "reason"):
        await requests.reject(scene.owner, request.id, "  ")


async def test_only_those_who_manage_decide(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    analyst = await person("Ana")
    await join(scene.project, analyst, await role(scene.project, Permission.KEYS_VIEW, name="analyst"))
    for actor, refusal in ((scene.asker, Forbidden), (analyst, Forbidden), (await person("Eve"), NotFound)):
        path = ["requestId"] if refusal is NotFound else []
        async with refused(refusal, *path):
            await requests.approve(actor, KEYRING, request.id)
        async with refused(refusal, *path):
            await requests.reject(actor, request.id, "No.")


async def test_only_the_asker_cancels(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    async with refused(Forbidden, "requestId"):
        await requests.cancel(scene.owner, request.id)
    stranger = await person("Eve")
    async with refused(NotFound, "requestId"):
        await requests.cancel(stranger, request.id)
    assert (await requests.cancel(scene.asker, request.id)).state is RequestState.CANCELLED


async def test_a_key_sees_the_requests_of_its_holder_on_its_own_project_alone(scene: Scene) -> None:
    here = await requests.create(scene.asker, scene.template.id)
    await requests.approve(scene.owner, KEYRING, here.id)
    elsewhere = await owned_project(scene.asker, "Elsewhere")
    there = await requests.create(
        scene.asker, (await template(elsewhere, await role(elsewhere, Permission.PROJECT_VIEW))).id
    )
    key = by_key(scene.asker, await IssuedKey.get(request_id=here.id))
    assert set(await requests.visible(key, [here.id, there.id])) == {here.id}


async def test_an_expired_key_stands_in_nobodys_way_before_that_was_told(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    await requests.approve(scene.owner, KEYRING, request.id)
    await IssuedKey.filter(request_id=request.id).update(expires_at=clock.now())
    again = await requests.create(scene.asker, scene.template.id)
    await requests.approve(scene.owner, KEYRING, again.id)
    states = [key.state for key in await IssuedKey.all().order_by("id")]
    assert states == [KeyState.EXPIRED, KeyState.ACTIVE]


async def test_one_living_key_a_user_and_template(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    await requests.approve(scene.owner, KEYRING, request.id)
    async with refused(Conflict, "templateId"):
        await requests.create(scene.asker, scene.template.id)


async def test_a_page_of_each_template_is_the_page_of_that_template(scene: Scene) -> None:
    others = [await template(scene.project, await scene.template.role, f"T{number}") for number in range(3)]
    askers = [await person(f"P{number}") for number in range(5)]
    for asker in askers:
        for each in others:
            await requests.create(asker, each.id)
    ids = [each.id for each in others]
    together = await requests.pages_of_templates(scene.owner, ids, None, Slice(first=2), SEALER)
    for id in ids:
        alone = (await requests.pages_of_templates(scene.owner, [id], None, Slice(first=2), SEALER))[id]
        assert [row.id for row in together[id].rows] == [row.id for row in alone.rows]
        assert (together[id].has_next, await together[id].count()) == (True, 5)
        rest = Slice(first=5, after=alone.cursor(alone.rows[-1]))
        more = (await requests.pages_of_templates(scene.owner, ids, None, rest, SEALER))[id]
        assert len(more.rows) == 3
        assert {row.id for row in more.rows}.isdisjoint(row.id for row in alone.rows)
        twice = (await requests.pages_of_templates(scene.owner, [id, id], None, Slice(first=10), SEALER))[id]
        assert len(twice.rows) == 5


async def test_the_token_is_the_same_each_time_it_is_made(scene: Scene) -> None:
    request = await requests.create(scene.asker, scene.template.id)
    await requests.approve(scene.owner, KEYRING, request.id)
    key = await IssuedKey.get(request_id=request.id)
    assert await keys.token(KEYRING, key) == await keys.token(Keyring(SEALER, "https://moved.example"), key)
