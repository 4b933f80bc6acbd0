"""Who holds which roles on a project."""

import asyncio

import pytest

from gateway import idempotency, members, projects
from gateway.attempts import LOOK_UP_PER_USER, Attempts
from gateway.clock import now
from gateway.errors import Conflict, Forbidden, LimitExceeded, NotFound, Refusal, Unauthenticated
from gateway.events import head
from gateway.members import UserRef
from gateway.pages import Slice
from gateway.permissions import Actor, Permission, rights_on
from models import AuditEntry, Member, MemberRole, Project, Role, User
from tests.statements import statements
from tests.world import (
    ANONYMOUS,
    SEALER,
    by_key,
    issued_key,
    join,
    owned_project,
    person,
    refused,
    role,
    template,
    told,
    unchanged,
)

FIRST_PAGE = Slice()


class Scene:
    """Ada owns a project that Max manages; Bo has an account and nothing else."""

    ada: Actor
    bo: Actor
    max: Actor
    project: Project
    owner: Role
    manager: Role
    viewer: Role

    def __init__(self) -> None:
        self.attempts = Attempts()

    async def set_roles(self, actor: Actor, who: Actor | str, *roles: Role | str) -> Member:
        user = UserRef(email=who) if isinstance(who, str) else UserRef(user_id=who.user_id)
        ids = [each if isinstance(each, str) else each.id for each in roles]
        return await members.set_roles(actor, self.attempts, self.project.id, user=user, role_ids=ids)

    async def roles_of(self, who: Actor) -> set[str]:
        held = MemberRole.filter(member__user_id=who.user_id, member__deleted_at=None).select_related("role")
        return {each.role.name for each in await held}


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.bo, made.max = await person("Ada"), await person("Bo"), await person("Max")
    made.project = await owned_project(made.ada)
    made.owner = await Role.get(project_id=made.project.id, is_owner=True)
    made.manager = await role(made.project, Permission.PROJECT_MANAGE, name="Manager")
    made.viewer = await role(made.project, Permission.PROJECT_VIEW, name="Viewer")
    await join(made.project, made.max, made.manager)
    return made


async def test_a_user_is_added_by_id_with_the_roles_that_are_named(scene: Scene) -> None:
    member = await scene.set_roles(scene.max, scene.bo, scene.viewer, scene.manager, scene.viewer)

    assert await scene.roles_of(scene.bo) == {"Viewer", "Manager"}
    assert [each.name for each in (await members.roles(scene.ada, [member.id]))[member.id]] == ["Manager", "Viewer"]
    assert await told() == [("member.added", member.id)]


async def test_a_user_is_found_by_e_mail_without_regard_to_case_and_the_look_up_is_audited(scene: Scene) -> None:
    await scene.set_roles(scene.max, " BO@example.org ", scene.viewer)

    assert await scene.roles_of(scene.bo) == {"Viewer"}
    looked_up = await AuditEntry.get(action="user.looked_up")
    assert (looked_up.user_id, looked_up.object_id) == (scene.max.user_id, scene.bo.user_id)


async def test_roles_replace_those_that_were_held(scene: Scene) -> None:
    before = await scene.set_roles(scene.max, scene.bo, scene.viewer)
    after = await scene.set_roles(scene.max, scene.bo, scene.manager)

    assert after.id == before.id
    assert await scene.roles_of(scene.bo) == {"Manager"}
    assert (await told())[-1] == ("member.updated", before.id)


async def test_without_roles_a_user_is_off_the_project_and_the_answer_is_the_member_without_roles(scene: Scene) -> None:
    added = await scene.set_roles(scene.max, scene.bo, scene.viewer)
    gone = await scene.set_roles(scene.max, "bo@example.org")

    assert gone.id == added.id
    assert await members.roles(scene.max, [gone.id]) == {gone.id: []}
    assert await members.visible(scene.max, [gone.id]) == {}
    assert not (await rights_on(scene.bo, scene.project.id)).see_project
    assert (await told())[-1] == ("member.removed", gone.id)


async def test_who_was_taken_off_can_be_added_again(scene: Scene) -> None:
    gone = await scene.set_roles(scene.max, scene.bo, scene.viewer)
    await scene.set_roles(scene.max, scene.bo)
    back = await scene.set_roles(scene.max, scene.bo, scene.viewer)

    assert back.id != gone.id
    assert await scene.roles_of(scene.bo) == {"Viewer"}


async def test_only_those_who_manage_a_project_set_roles(scene: Scene) -> None:
    vera, stranger = await person("Vera"), await person("Stranger")
    await join(scene.project, vera, scene.viewer)
    key = by_key(scene.max, await issued_key(await template(scene.project, scene.manager), scene.max))

    async with refused(Unauthenticated):
        await scene.set_roles(ANONYMOUS, scene.bo, scene.viewer)
    async with refused(NotFound, "projectId"):
        await scene.set_roles(stranger, scene.bo, scene.viewer)
    async with refused(Forbidden):
        await scene.set_roles(vera, vera, scene.manager)
    async with refused(Forbidden):
        await scene.set_roles(key, scene.bo, scene.viewer)


async def test_only_an_owner_gives_or_takes_ownership(scene: Scene) -> None:
    async with refused(Forbidden, "roleIds"):
        await scene.set_roles(scene.max, scene.max, scene.owner)
    async with refused(Forbidden, "roleIds"):
        await scene.set_roles(scene.max, scene.ada, scene.viewer)
    async with refused(Forbidden, "roleIds"):
        await scene.set_roles(scene.max, scene.ada)

    await scene.set_roles(scene.ada, scene.bo, scene.owner)
    assert await scene.roles_of(scene.bo) == {"owner"}


async def test_a_manager_may_change_the_other_roles_of_an_owner(scene: Scene) -> None:
    await scene.set_roles(scene.max, scene.ada, scene.owner, scene.viewer)
    assert await scene.roles_of(scene.ada) == {"owner", "Viewer"}


async def test_whether_somebody_has_an_account_is_not_told_by_a_refusal(scene: Scene) -> None:
    for email in ("bo@example.org", "nobody@example.org"):
        async with refused(Forbidden, "roleIds"):
            await scene.set_roles(scene.max, email, scene.owner)
        async with refused(NotFound, "roleIds", "1"):
            await scene.set_roles(scene.max, email, scene.viewer, "rol_unknown")
        async with refused(NotFound, "user", "email"):
            await scene.set_roles(scene.max, email)


async def test_roles_are_living_ones_of_the_project(scene: Scene) -> None:
    other = await role(await owned_project(scene.max, "Words"), Permission.PROJECT_VIEW)
    gone = await role(scene.project, name="Gone", deleted_at=now())

    for foreign in (other, gone):
        async with refused(NotFound, "roleIds", "1"):
            await scene.set_roles(scene.ada, scene.bo, scene.viewer, foreign)


async def test_an_owner_can_leave_once_there_is_another(scene: Scene) -> None:
    async with refused(Conflict, "roleIds"):
        await scene.set_roles(scene.ada, scene.ada, scene.viewer)
    async with refused(Conflict, "roleIds"):
        await scene.set_roles(scene.ada, scene.ada)

    await scene.set_roles(scene.ada, scene.bo, scene.owner)
    await scene.set_roles(scene.ada, scene.ada)
    assert not (await rights_on(scene.ada, scene.project.id)).see_project


async def test_an_owner_whose_account_is_disabled_is_no_other_owner(scene: Scene) -> None:
    await scene.set_roles(scene.ada, scene.bo, scene.owner)
    await User.filter(id=scene.bo.user_id).update(disabled_at=now())

    async with refused(Conflict, "roleIds"):
        await scene.set_roles(scene.ada, scene.ada)
    await scene.set_roles(scene.ada, scene.bo)
    assert await scene.roles_of(scene.bo) == set()


async def open_connections() -> None:
    """For two to begin at once: opening one takes longer than what they do."""
    await asyncio.gather(head(), head())


@pytest.mark.parametrize("_", range(3))
async def test_of_two_owners_who_take_each_other_off_at_once_one_stays(scene: Scene, _: int) -> None:
    await scene.set_roles(scene.ada, scene.bo, scene.owner)
    await open_connections()

    done = await asyncio.gather(
        scene.set_roles(scene.ada, scene.bo), scene.set_roles(scene.bo, scene.ada), return_exceptions=True
    )

    assert sorted(isinstance(each, Refusal) for each in done) == [False, True]
    assert await MemberRole.filter(role_id=scene.owner.id).count() == 1


@pytest.mark.parametrize("_", range(3))
async def test_of_two_owners_who_leave_at_once_one_stays(scene: Scene, _: int) -> None:
    await scene.set_roles(scene.ada, scene.bo, scene.owner)
    await open_connections()

    done = await asyncio.gather(
        *(scene.set_roles(owner, owner) for owner in (scene.ada, scene.bo)), return_exceptions=True
    )

    assert [type(each) for each in done if isinstance(each, Exception)] == [Conflict]
    assert await MemberRole.filter(role_id=scene.owner.id).count() == 1


async def test_a_user_who_is_added_twice_at_once_is_one_member(scene: Scene) -> None:
    await open_connections()
    twice = [scene.set_roles(scene.ada, scene.bo, each) for each in (scene.viewer, scene.manager)]
    first, second = await asyncio.gather(*twice)

    assert first.id == second.id
    assert len(await scene.roles_of(scene.bo)) == 1


async def failed_look_ups() -> list[tuple[str | None, str | None]]:
    """By whom, and on which project."""
    return [(each.user_id, each.project_id) for each in await AuditEntry.filter(action="user.look_up_failed")]


async def test_a_user_who_is_not_there_is_told_and_changes_the_audit_log_alone(scene: Scene) -> None:
    await User.filter(id=scene.bo.user_id).update(disabled_at=now())
    nobody = [UserRef(user_id="usr_nobody"), UserRef(email="nobody@example.org"), UserRef(user_id=scene.bo.user_id)]
    nobody += [UserRef(user_id="\0"), UserRef(email="\0")]

    for user in nobody:
        with pytest.raises(NotFound) as raised:
            await members.set_roles(scene.max, scene.attempts, scene.project.id, user=user, role_ids=[scene.viewer.id])
        assert raised.value.path == ("user", "email" if user.email else "userId")

    assert await head() == 0
    assert await failed_look_ups() == [(scene.max.user_id, scene.project.id)] * len(nobody)


async def test_a_failed_look_up_is_audited_under_an_idempotency_key_too(scene: Scene) -> None:
    async def act() -> list[str]:
        return [(await scene.set_roles(scene.max, "nobody@example.org", scene.viewer)).id]

    for _ in range(2):
        with pytest.raises(NotFound):
            await idempotency.once(SEALER, scene.max, "memberSetRoles", "once", "input", act)

    assert len(await failed_look_ups()) == 2


async def test_who_asks_for_many_accounts_that_do_not_exist_has_to_wait(scene: Scene) -> None:
    for number in range(LOOK_UP_PER_USER.amount):
        with pytest.raises(NotFound):
            await scene.set_roles(scene.max, f"{number}@example.org", scene.viewer)

    async with refused(LimitExceeded):
        await scene.set_roles(scene.max, "bo@example.org", scene.viewer)
    await scene.set_roles(scene.ada, "bo@example.org", scene.viewer)
    await scene.set_roles(scene.max, "bo@example.org", scene.manager)


async def test_members_are_shown_to_those_who_manage_the_project_alone(scene: Scene) -> None:
    vera = await person("Vera")
    member = await join(scene.project, vera, scene.viewer)
    other = await owned_project(scene.bo, "Words")
    both = [scene.project.id, other.id]

    async def shown_to(actor: Actor) -> list[str]:
        pages = await members.pages_of_projects(actor, both, FIRST_PAGE, SEALER)
        return [row.user_id for page in pages.values() for row in page.rows]

    assert await shown_to(scene.max) == [vera.user_id, scene.max.user_id, scene.ada.user_id]
    assert await shown_to(scene.bo) == [scene.bo.user_id]
    assert await shown_to(vera) == []
    assert list(await members.visible(scene.max, [member.id])) == [member.id]
    assert await members.visible(vera, [member.id]) == {}


async def test_the_members_of_many_projects_take_as_many_statements_as_those_of_two(scene: Scene) -> None:
    async def count(quantity: int) -> int:
        owned = [await owned_project(scene.ada, f"{quantity}-{n}") for n in range(quantity)]
        with statements() as sent:
            pages = await members.pages_of_projects(scene.ada, [each.id for each in owned], FIRST_PAGE, SEALER)
            rows = [row for page in pages.values() for row in page.rows]
            await members.roles(scene.ada, [row.id for row in rows])
        assert len(rows) == quantity
        return len(sent)

    assert await count(2) == await count(10)


async def test_nothing_can_be_set_on_a_deleted_project(scene: Scene) -> None:
    await projects.delete(scene.ada, scene.project.id)
    async with unchanged(), refused(NotFound, "projectId"):
        await scene.set_roles(scene.ada, scene.bo, scene.viewer)
