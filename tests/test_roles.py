"""What roles permit, what they cost, and what keeps them from changing."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

import pytest

from gateway import projects, roles
from gateway.clock import now
from gateway.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from gateway.permissions import EVERYTHING, ON_NODES, PUBLIC, Actor, Permission, rights_on, seen_of
from gateway.roles import OnNode, RoleChanges
from models import KeyState, MemberRole, Project, ProjectNode, Role
from tests.statements import statements
from tests.world import ANONYMOUS, by_key, issued_key, join, node, owned_project, person, refused, role, template, told

VIEW, EDIT, MANAGE = Permission.PROJECT_VIEW, Permission.PROJECT_EDIT, Permission.PROJECT_MANAGE
CODE_VIEW, PACKAGE_VIEW, PACKAGE_CREATE = Permission.CODE_VIEW, Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE


class Scene:
    """Ada owns a project with a node; Bo has an account and nothing else."""

    ada: Actor
    bo: Actor
    project: Project
    node: ProjectNode


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.bo = await person("Ada"), await person("Bo")
    made.project = await owned_project(made.ada)
    made.node = await node(made.project)
    return made


async def held(actor: Actor, role: Role) -> tuple[list[Permission], dict[str, list[Permission]]]:
    granted = (await roles.granted(actor, [role.id]))[role.id]
    return granted.permissions, {each.node.id: each.permissions for each in granted.node_permissions}


async def denied_to(scene: Scene) -> list[tuple[Actor, type[Exception]]]:
    """Who may not touch roles, and what each is told."""
    editor, key_role = (
        await role(scene.project, VIEW, EDIT, name="Editor"),
        await role(scene.project, MANAGE, name="Key"),
    )
    eve = await person("Eve")
    await join(scene.project, eve, editor)
    key = await issued_key(await template(scene.project, key_role), scene.ada)
    return [(ANONYMOUS, Unauthenticated), (scene.bo, NotFound), (eve, Forbidden), (by_key(scene.ada, key), Forbidden)]


# Creating


async def test_a_role_holds_what_it_is_given_in_the_order_of_the_permissions(scene: Scene) -> None:
    made = await roles.create(
        scene.ada,
        scene.project.id,
        name="  Analyst ",
        description="Reads",
        cost_coefficient=Decimal("0.2500"),
        permissions=[PACKAGE_VIEW, VIEW, PACKAGE_VIEW],
        node_permissions=[OnNode(scene.node.id, [PACKAGE_CREATE, CODE_VIEW]), OnNode(scene.node.id, [CODE_VIEW])],
    )

    stored = await Role.get(id=made.id)
    assert (stored.name, stored.description, stored.version) == ("Analyst", "Reads", 1)
    assert (stored.cost_coefficient, stored.is_public, stored.is_owner) == (Decimal("0.25"), False, False)
    assert await held(scene.ada, made) == ([VIEW, PACKAGE_VIEW], {scene.node.id: [CODE_VIEW, PACKAGE_CREATE]})
    assert await told() == [("role.created", made.id)]


async def test_a_role_costs_once_the_price_and_is_not_public_unless_said_otherwise(scene: Scene) -> None:
    made = await roles.create(scene.ada, scene.project.id, name="Plain", permissions=[])
    assert (made.cost_coefficient, made.is_public, made.description) == (Decimal(1), False, "")
    assert await held(scene.ada, made) == ([], {})


async def test_a_public_role_gives_everyone_what_it_holds(scene: Scene) -> None:
    await roles.create(
        scene.ada,
        scene.project.id,
        name="Everyone",
        is_public=True,
        permissions=[VIEW],
        node_permissions=[OnNode(scene.node.id, [CODE_VIEW])],
    )
    for anyone in (scene.bo, ANONYMOUS):
        rights = await rights_on(anyone, scene.project.id)
        assert rights.project == {VIEW}
        assert rights.nodes == {scene.node.id: frozenset({CODE_VIEW})}


async def test_roles_are_made_by_those_who_manage_the_project_in_person(scene: Scene) -> None:
    for actor, refusal in await denied_to(scene):
        path = ["projectId"] if refusal is NotFound else []
        async with refused(refusal, *path):  # type: ignore[arg-type]  # each is an error of ours
            await roles.create(actor, scene.project.id, name="Mine", permissions=[MANAGE])


@pytest.mark.parametrize("permission", sorted(EVERYTHING - PUBLIC))
async def test_a_public_role_holds_no_more_than_everyone_may(scene: Scene, permission: Permission) -> None:
    async with refused(Invalid, "permissions", "1"):
        await roles.create(scene.ada, scene.project.id, name="All", is_public=True, permissions=[VIEW, permission])


@pytest.mark.parametrize("permission", sorted(ON_NODES - PUBLIC))
async def test_a_public_role_holds_no_more_than_everyone_may_on_a_node(scene: Scene, permission: Permission) -> None:
    on_nodes = [OnNode(scene.node.id, [CODE_VIEW, permission])]
    async with refused(Invalid, "nodePermissions", "0", "permissions", "1"):
        await roles.create(
            scene.ada, scene.project.id, name="All", is_public=True, permissions=[], node_permissions=on_nodes
        )


@pytest.mark.parametrize("permission", sorted(EVERYTHING - ON_NODES))
async def test_what_concerns_a_whole_project_is_not_held_on_a_node(scene: Scene, permission: Permission) -> None:
    async with refused(Invalid, "nodePermissions", "0", "permissions", "0"):
        await roles.create(
            scene.ada,
            scene.project.id,
            name="Odd",
            permissions=[],
            node_permissions=[OnNode(scene.node.id, [permission])],
        )


async def test_a_node_is_a_living_one_of_the_project(scene: Scene) -> None:
    foreign = await node(await owned_project(scene.ada, "Words"))
    gone = await node(scene.project, "Gone")
    await projects.delete_node(scene.ada, gone.id)

    for id in (foreign.id, gone.id, "nod_unknown"):
        on_nodes = [OnNode(scene.node.id, []), OnNode(id, [CODE_VIEW])]
        async with refused(NotFound, "nodePermissions", "1", "projectNodeId"):
            await roles.create(scene.ada, scene.project.id, name="Odd", permissions=[], node_permissions=on_nodes)


@pytest.mark.parametrize("coefficient", ["-0.0001", "10000", "0.00001"])
async def test_a_cost_coefficient_is_one_that_can_be_kept(scene: Scene, coefficient: str) -> None:
    async with refused(Invalid, "costCoefficient"):
        await roles.create(
            scene.ada, scene.project.id, name="Odd", permissions=[], cost_coefficient=Decimal(coefficient)
        )


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
async def test_a_role_has_a_name(scene: Scene, name: str) -> None:
    async with refused(Invalid, "name"):
        await roles.create(scene.ada, scene.project.id, name=name, permissions=[])


async def test_the_name_of_a_role_is_its_own_among_the_living(scene: Scene) -> None:
    first = await roles.create(scene.ada, scene.project.id, name="Caller", permissions=[])
    async with refused(Conflict, "name"):
        await roles.create(scene.ada, scene.project.id, name="Caller", permissions=[])
    await roles.delete(scene.ada, first.id)
    await roles.create(scene.ada, scene.project.id, name="Caller", permissions=[])


# Updating


async def test_an_update_replaces_what_it_names_and_leaves_the_rest(scene: Scene) -> None:
    caller = await role(scene.project, VIEW, on_nodes={scene.node.id: [CODE_VIEW]}, description="Calls")

    await roles.update(scene.ada, caller.id, {"cost_coefficient": Decimal(2), "permissions": [VIEW, EDIT]})

    stored = await Role.get(id=caller.id)
    assert (stored.name, stored.description, stored.cost_coefficient) == ("Caller", "Calls", Decimal(2))
    assert await held(scene.ada, caller) == ([VIEW, EDIT], {scene.node.id: [CODE_VIEW]})
    assert stored.version == 2
    assert await told() == [("role.updated", caller.id)]


async def test_null_clears_the_description_and_the_permissions_on_nodes(scene: Scene) -> None:
    caller = await role(scene.project, VIEW, on_nodes={scene.node.id: [CODE_VIEW]}, description="Calls")

    updated = await roles.update(scene.ada, caller.id, {"description": None, "node_permissions": None})

    assert updated.description == ""
    assert await held(scene.ada, caller) == ([VIEW], {})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": None}, "name"),
        ({"cost_coefficient": None}, "costCoefficient"),
        ({"is_public": None}, "isPublic"),
        ({"permissions": None}, "permissions"),
    ],
)
async def test_null_clears_nothing_else(scene: Scene, changes: RoleChanges, path: str) -> None:
    caller = await role(scene.project, VIEW)
    async with refused(Invalid, path):
        await roles.update(scene.ada, caller.id, changes)


async def test_an_update_of_a_version_that_was_changed_meanwhile_is_refused(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    await roles.update(scene.ada, caller.id, {"name": "Reader"}, expected_version=1)
    async with refused(Conflict, "expectedVersion"):
        await roles.update(scene.ada, caller.id, {"name": "Writer"}, expected_version=1)


async def test_a_role_that_holds_too_much_does_not_become_public(scene: Scene) -> None:
    manager = await role(scene.project, VIEW, MANAGE)
    packer = await role(scene.project, VIEW, name="Packer", on_nodes={scene.node.id: [PACKAGE_CREATE]})

    for each in (manager, packer):
        async with refused(Invalid, "isPublic"):
            await roles.update(scene.ada, each.id, {"is_public": True})
    await roles.update(scene.ada, manager.id, {"is_public": True, "permissions": [VIEW]})
    async with refused(Invalid, "permissions", "0"):
        await roles.update(scene.ada, manager.id, {"permissions": [MANAGE]})
    await projects.delete_node(scene.ada, scene.node.id)
    await roles.update(scene.ada, packer.id, {"is_public": True})


async def test_the_owner_role_neither_changes_nor_goes(scene: Scene) -> None:
    owner = await Role.get(project_id=scene.project.id, is_owner=True)
    changes: list[RoleChanges] = [{"name": "Boss"}, {"is_public": True}, {"permissions": []}]
    for each in changes:
        async with refused(Conflict, "roleId"):
            await roles.update(scene.ada, owner.id, each)
    async with refused(Conflict, "roleId"):
        await roles.delete(scene.ada, owner.id)


async def test_a_role_is_not_given_the_name_of_another(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    async with refused(Conflict, "name"):
        await roles.update(scene.ada, caller.id, {"name": "owner"})


async def test_roles_are_changed_and_deleted_by_those_who_manage_the_project_in_person(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    for actor, refusal in await denied_to(scene):
        path = ["roleId"] if refusal is NotFound else []
        async with refused(refusal, *path):  # type: ignore[arg-type]  # each is an error of ours
            await roles.update(actor, caller.id, {"permissions": [MANAGE]})
        async with refused(refusal, *path):  # type: ignore[arg-type]  # each is an error of ours
            await roles.delete(actor, caller.id)


async def test_a_role_that_may_not_be_seen_is_told_as_one_that_is_not_there(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    sentences = set()
    for id in (caller.id, "rol_unknown"):
        with pytest.raises(NotFound) as raised:
            await roles.delete(scene.bo, id)
        sentences.add((raised.value.message, raised.value.path))
    assert len(sentences) == 1


# Deleting


async def test_a_deleted_role_is_off_its_members_and_stays_readable_from_what_refers_to_it(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    member = await join(scene.project, scene.bo, caller)

    assert await roles.delete(scene.ada, caller.id) == caller.id

    assert not (await rights_on(scene.bo, scene.project.id)).see_project
    assert not await MemberRole.exists(role_id=caller.id)
    assert await roles.visible(scene.ada, [caller.id]) == {}
    assert (await roles.by_id(scene.ada, [caller.id]))[caller.id].deleted_at is not None
    assert await told() == [("role.deleted", caller.id), ("member.updated", member.id)]
    async with refused(NotFound, "roleId"):
        await roles.delete(scene.ada, caller.id)


async def test_a_role_stays_while_a_template_uses_it(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    basic = await template(scene.project, caller)
    async with refused(Conflict, "roleId"):
        await roles.delete(scene.ada, caller.id)
    basic.deleted_at = now()
    await basic.save()
    await roles.delete(scene.ada, caller.id)


@pytest.mark.parametrize("state", [KeyState.ACTIVE, KeyState.SUSPENDED])
async def test_a_role_stays_until_the_last_of_its_keys_has_ended(scene: Scene, state: KeyState) -> None:
    caller = await role(scene.project, VIEW)
    suspended_at = now() if state is KeyState.SUSPENDED else None
    gone = await template(scene.project, caller, deleted_at=now())
    await issued_key(gone, scene.ada, state=KeyState.REVOKED, revoked_at=now())
    key = await issued_key(
        gone, scene.bo, state=state, suspended_at=suspended_at, expires_at=now() + timedelta(hours=1)
    )

    async with refused(Conflict, "roleId"):
        await roles.delete(scene.ada, caller.id)
    key.expires_at = now()
    await key.save()
    await roles.delete(scene.ada, caller.id)


# Reading


async def test_the_roles_of_a_project_are_shown_to_those_who_see_it_the_owners_first(scene: Scene) -> None:
    viewer = await role(scene.project, VIEW, name="Viewer")
    gone = await role(scene.project, VIEW, name="Gone", deleted_at=now())
    other = await owned_project(await person("Cy"), "Words")
    vera = await person("Vera")
    await join(scene.project, vera, viewer)

    async def shown_to(actor: Actor) -> list[list[str]]:
        found = await roles.by_project(actor, [scene.project.id, other.id])
        return [[each.name for each in of_one] for of_one in found.values()]

    assert await shown_to(vera) == [["owner", "Viewer"], []]
    assert await shown_to(scene.bo) == [[], []]
    assert list(await roles.visible(vera, [viewer.id, gone.id])) == [viewer.id]
    assert await roles.visible(scene.bo, [viewer.id]) == {}


async def test_what_a_role_permits_is_shown_where_the_project_is_seen_or_a_key_with_it_is_held(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    holder, former = await person("Hal"), await person("Fay")
    made = await template(scene.project, caller)
    await issued_key(made, holder)
    await issued_key(made, former, state=KeyState.REVOKED, revoked_at=now())
    assert await held(holder, caller) == ([VIEW], {})
    for actor in (former, ANONYMOUS):
        assert await held(actor, caller) == ([], {})


async def test_what_a_role_permits_on_a_deleted_node_is_not_shown(scene: Scene) -> None:
    caller = await role(scene.project, VIEW, on_nodes={scene.node.id: [CODE_VIEW]})
    await projects.delete_node(scene.ada, scene.node.id)
    assert await held(scene.ada, caller) == ([VIEW], {})


async def test_what_many_roles_permit_takes_one_statement(scene: Scene) -> None:
    ada = scene.ada.reading()
    await seen_of(ada, [scene.project.id])

    async def count(ids: Iterable[str]) -> int:
        with statements() as sent:
            await roles.granted(ada, list(ids))
        return len(sent)

    made = [await role(scene.project, VIEW, name=f"{n}", on_nodes={scene.node.id: [CODE_VIEW]}) for n in range(10)]
    assert await count(each.id for each in made) == await count([made[0].id]) == 1
