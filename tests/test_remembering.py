"""No change leaves a memory of callers, or of what they may do, that it made untrue."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from gateway import keys, members, permissions, projects, roles, users
from gateway.attempts import Attempts
from gateway.auth import Authenticator
from gateway.callers import Callers
from gateway.errors import Unauthenticated
from gateway.events import EventLog
from gateway.members import UserRef
from gateway.permissions import GATEWAY, NO_RIGHTS, Actor, Permission, Rights, RightsMemory, rights_on, rights_on_all
from gateway.revisions import Revisions
from gateway.roles import OnNode, RoleChanges
from gateway.signing import Keyring, SessionSigner
from models import Event, Role
from tests.asking import ISSUER
from tests.callers import Scene, new_scene
from tests.operations import calling, mutate
from tests.permission_table import INPUTS
from tests.stage import session_token
from tests.statements import statements
from tests.success_table import SUCCESSES
from tests.world import ANONYMOUS, SEALER, node, owned_project, person, role

WITHOUT_RIGHTS = {"anonymous", "stranger", "holder"}
IN_PERSON = ("owner", "viewer", "holder", "stranger")


@dataclass
class Remembering:
    """What one process remembers, and how it would be told of mutations."""

    log: EventLog
    callers: Callers
    rights: RightsMemory

    def authenticator(self, callers: Callers | None) -> Authenticator:
        return Authenticator(Keyring(SEALER, ISSUER), SessionSigner(SEALER, ISSUER), self.log, callers)

    async def is_known(self, token: str) -> bool:
        await self.log.settled()
        return self.authenticator(self.callers).recognized(token, None) is not None

    async def misknown(self, token: str) -> bool:
        """Whether somebody is remembered by the token who would be found another, or nobody, now."""
        await self.log.settled()
        known = self.authenticator(self.callers).recognized(token, None)
        if known is None:
            return False
        try:
            found = await self.authenticator(None).authenticate(token, None)
        except Unauthenticated:
            return True
        return [row and vars(row) for row in (known.user, known.issued_key)] != [
            row and vars(row) for row in (found.user, found.issued_key)
        ]

    async def standing(self, actor: Actor, project_id: str) -> Rights | None:
        await self.log.settled()
        return self.rights.standing(actor.ids, [project_id]).get(project_id)

    async def do(self, row: str, scene: Scene) -> None:
        success = SUCCESSES[row]
        context = calling(scene.callers[success.caller])
        context = replace(context, services=replace(context.services, log=self.log))
        selection = f"{success.selection} userErrors {{ code path }}"
        told = await mutate(context, row.partition("(")[0], INPUTS[row](scene), selection)
        assert told.word == "yes"


@pytest.fixture
async def process(database: str) -> AsyncIterator[Remembering]:
    log, revisions = EventLog(), Revisions()
    log.listen(revisions)
    async with log.running():
        yield Remembering(log, Callers(revisions), RightsMemory(revisions, lambda: log.is_settled))


async def tokens_of(scene: Scene) -> dict[str, str]:
    by_session = {name: await session_token(scene.callers[name], issuer=ISSUER) for name in IN_PERSON}
    return {**by_session, "key": await keys.token(Keyring(SEALER, ISSUER), scene.key)}


# ---------------------------------------------------------------- every change


async def mistakes_after(process: Remembering, scene: Scene, change: Callable[[Scene], Awaitable[object]]) -> list[str]:
    """Who is remembered otherwise than they are after the change, or with rights that they no longer have."""
    tokens = await tokens_of(scene)
    process.log.wake()  # so that all is heard that was done to the scene
    await process.log.settled()
    for token in tokens.values():
        await process.authenticator(process.callers).authenticate(token, None)
        assert await process.is_known(token)
    for name, actor in scene.callers.items():
        await rights_on(actor.reading(process.rights), scene.project.id)
        assert name in WITHOUT_RIGHTS or await process.standing(actor, scene.project.id)
    await change(scene)
    process.log.wake()
    wrong = [name for name, token in tokens.items() if await process.misknown(token)]
    for name, actor in scene.callers.items():
        standing = await process.standing(actor, scene.project.id)
        if standing is not None and standing != await rights_on(actor, scene.project.id):
            wrong.append(f"the rights of {name}")
    return wrong


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("row", SUCCESSES)
async def test_no_mutation_leaves_a_memory_that_it_made_untrue(process: Remembering, row: str) -> None:
    assert await mistakes_after(process, await new_scene(), partial(process.do, row)) == []


async def member_removed(scene: Scene) -> None:
    await set_roles(scene, "viewer")


async def roles_of_member_replaced(scene: Scene) -> None:
    await set_roles(scene, "viewer", scene.roles["analyst"])


async def set_roles(scene: Scene, name: str, *held: Role) -> None:
    user, ids = UserRef(user_id=scene.callers[name].user_id), [each.id for each in held]
    await members.set_roles(scene.owner, Attempts(), scene.project.id, user=user, role_ids=ids)


async def role_narrowed(scene: Scene) -> None:
    await roles.update(scene.owner, scene.roles["manager"].id, {"permissions": [Permission.KEYS_VIEW]})


async def role_opened_to_everyone(scene: Scene) -> None:
    opened: RoleChanges = {"is_public": True, "permissions": [Permission.CODE_VIEW]}
    await roles.update(scene.owner, scene.spare.id, opened)


async def role_deleted(scene: Scene) -> None:
    await roles.delete(scene.owner, scene.roles["analyst"].id)


async def node_deleted(scene: Scene) -> None:
    await projects.delete_node(scene.owner, scene.node.id)


async def project_deleted(scene: Scene) -> None:
    await projects.delete(scene.owner, scene.project.id)


async def key_revoked(scene: Scene) -> None:
    await keys.revoke(scene.owner, scene.key.id)


async def key_rotated(scene: Scene) -> None:
    await keys.rotate(scene.callers["holder"], Keyring(SEALER, ISSUER), scene.key.id, overlap_seconds=0)


async def signing_key_withdrawn(scene: Scene) -> None:
    await keys.withdraw_signing_key(GATEWAY, (await Keyring(SEALER, ISSUER).current()).id)


async def session_ended(scene: Scene) -> None:
    await users.sign_out(scene.callers["viewer"], everywhere=True)


async def user_disabled(scene: Scene) -> None:
    await users.disable(GATEWAY, scene.callers["viewer"].user_id or "")


CHANGES: dict[Callable[[Scene], Awaitable[None]], set[str]] = {
    member_removed: {"member"},
    roles_of_member_replaced: {"member"},
    role_narrowed: {"role"},
    role_opened_to_everyone: {"role"},
    role_deleted: {"role", "member"},
    node_deleted: {"node"},
    project_deleted: {"project", "key", "request"},
    key_revoked: {"key"},
    key_rotated: {"key"},
    signing_key_withdrawn: {"signing_key", "key"},
    session_ended: {"session"},
    user_disabled: {"user", "session", "key"},
}
"""With the nouns of the events that tell of them."""


async def scene_with_permissions_on_a_node() -> Scene:
    scene = await new_scene()
    on_nodes = [OnNode(scene.node.id, [Permission.PACKAGE_CREATE])]
    await roles.update(scene.owner, scene.roles["analyst"].id, {"node_permissions": on_nodes})
    return scene


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", CHANGES)
async def test_nobody_is_remembered_otherwise_than_a_change_left_them(
    process: Remembering, change: Callable[[Scene], Awaitable[None]]
) -> None:
    assert await mistakes_after(process, await scene_with_permissions_on_a_node(), change) == []


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", CHANGES)
async def test_were_the_events_of_a_change_not_heard_somebody_would_be(
    process: Remembering, change: Callable[[Scene], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Revisions._move

    def deaf(revisions: Revisions, event: Event) -> None:
        if event.kind.partition(".")[0] not in CHANGES[change]:
            move(revisions, event)

    monkeypatch.setattr(Revisions, "_move", deaf)
    assert await mistakes_after(process, await scene_with_permissions_on_a_node(), change) != []


# ---------------------------------------------------------------- rights


async def test_rights_that_are_remembered_take_no_statement_and_are_asked_again_once_something_happens(
    process: Remembering,
) -> None:
    ada, bo = await person("Ada"), await person("Bo")
    project, other = await owned_project(ada), await owned_project(bo, "Charts")
    found = await rights_on(ada.reading(process.rights), project.id)
    await process.log.settled()
    with statements() as sent:
        assert await rights_on(ada.reading(process.rights), project.id) == found
        assert not [each for each in sent if '"grants"' in each]
    await projects.update(bo, other.id, {"name": "Tables"})
    process.log.wake()
    assert await process.standing(ada, project.id) == found
    await projects.update(ada, project.id, {"name": "Plans"})
    process.log.wake()
    assert await process.standing(ada, project.id) is None


async def test_nobody_has_the_rights_that_are_remembered_of_another(process: Remembering) -> None:
    scene = await new_scene()
    for actor in scene.callers.values():
        await rights_on(actor.reading(process.rights), scene.project.id)
    for name, actor in scene.callers.items():
        known, found = await process.standing(actor, scene.project.id), await rights_on(actor, scene.project.id)
        assert (name, known or NO_RIGHTS) == (name, found)


async def test_rights_are_not_taken_from_memory_before_the_process_knows_all_that_it_did(process: Remembering) -> None:
    ada = await person("Ada")
    project = await owned_project(ada)
    await rights_on(ada.reading(process.rights), project.id)
    assert await process.standing(ada, project.id)
    process.log.wake()
    assert process.rights.standing(ada.ids, [project.id]) == {}


async def test_rights_that_changed_while_they_were_read_are_not_remembered(
    process: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await person("Ada")
    project = await owned_project(ada)
    find = permissions._rights_found

    async def find_slowly(actor: Actor, project_ids: list[str]) -> Any:
        monkeypatch.undo()
        found = await find(actor, project_ids)
        await projects.update(ada, project.id, {"name": "Plans"})
        process.log.wake()
        await process.log.settled()
        return found

    monkeypatch.setattr(permissions, "_rights_found", find_slowly)
    await rights_on(ada.reading(process.rights), project.id)
    assert await process.standing(ada, project.id) is None


async def test_in_one_operation_rights_stay_what_they_were(process: Remembering) -> None:
    ada = await person("Ada")
    project = await owned_project(ada)
    reader = ada.reading(process.rights)
    found = await rights_on(reader, project.id)
    await projects.delete(ada, project.id)
    process.log.wake()
    await process.log.settled()
    assert await rights_on(reader, project.id) == found
    assert await rights_on(ada.reading(process.rights), project.id) == NO_RIGHTS


async def test_that_somebody_has_no_rights_is_not_remembered(process: Remembering) -> None:
    """Or whoever asks for what doesn't exist would fill the memory."""
    ada = await person("Ada")
    await rights_on_all(ada.reading(process.rights), ["nothing", "x" * 1000])
    await rights_on_all(ANONYMOUS.reading(process.rights), ["nothing"])
    assert len(process.rights._remembered) == 0


async def test_as_many_rights_are_remembered_as_there_is_room_for_those_on_nodes_too(
    process: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permissions, "MOST_REMEMBERED", 5)
    ada, keyed = await person("Ada"), list[Actor]()
    for number in range(3):
        project = await owned_project(ada, f"Maps {number}")
        nodes = [(await node(project, f"Node {each}")).id for each in range(2)]
        on_nodes = {id: [Permission.PACKAGE_VIEW] for id in nodes}
        viewing = await role(project, Permission.PROJECT_VIEW, name="viewing", on_nodes=on_nodes)
        keyed.append(Actor.standing_in(["a user", f"key {number}", project.id, viewing.id]))
        await rights_on(keyed[-1].reading(process.rights), project.id)
    projects_of = [each.issued_key.project_id for each in keyed if each.issued_key]
    known = [await process.standing(actor, id) is not None for actor, id in zip(keyed, projects_of, strict=True)]
    assert known == [False, False, True]
    assert process.rights._sets == 3
