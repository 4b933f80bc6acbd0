"""Templates and their fields: made, changed, shown and taken away."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from gateway import requests, roles, templates
from gateway.clock import now
from gateway.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, Unauthenticated
from gateway.permissions import Actor, Permission, seen_of
from gateway.templates import FieldValue, NewField
from models import IssuedKey, KeyRequest, KeyState, Project, ProjectNode, RequestState, Role, Template, TemplateField
from tests.statements import statements
from tests.world import (
    ANONYMOUS,
    by_key,
    issued_key,
    join,
    node,
    owned_project,
    person,
    refused,
    role,
    template,
    told,
)

VIEW, MANAGE = Permission.PROJECT_VIEW, Permission.PROJECT_MANAGE
Act = Callable[[Actor], Awaitable[Any]]


class Scene:
    """Ada owns a project that Vera may see, with a template of one field; Bo has an account and nothing else."""

    ada: Actor
    bo: Actor
    vera: Actor
    project: Project
    caller: Role
    input: ProjectNode
    basic: Template
    field: TemplateField

    async def create(self, name: str = "Pro", actor: Actor | None = None, **more: Any) -> Template:
        columns = {"role_id": self.caller.id, **more}
        return await templates.create(actor or self.ada, self.project.id, name=name, **columns)

    async def change(self, **changes: Any) -> Template:
        named: Any = changes
        return await templates.update(self.ada, self.basic.id, named)

    def verbs(self) -> dict[str, Act]:
        """Everything that can be done with a template that is there."""
        field = text("input node ID")
        return {
            "update": lambda actor: templates.update(actor, self.basic.id, {"name": "Mine"}),
            "delete": lambda actor: templates.delete(actor, self.basic.id),
            "add_field": lambda actor: templates.add_field(actor, self.basic.id, field),
            "update_field": lambda actor: templates.update_field(actor, self.field.id, {"name": "Mine"}),
            "delete_field": lambda actor: templates.delete_field(actor, self.field.id),
        }


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.bo, made.vera = await person("Ada"), await person("Bo"), await person("Vera")
    made.project = await owned_project(made.ada)
    made.caller, made.input = await role(made.project, VIEW), await node(made.project)
    await join(made.project, made.vera, await role(made.project, VIEW, name="Viewer"))
    made.basic = await template(made.project, made.caller, description="Ten a day")
    made.field = await TemplateField.create(template=made.basic, name="project ID", value="x", position=0)
    return made


def text(name: str, value: str = "1") -> NewField:
    return NewField(name, FieldValue(literal=value))


async def shown(actor: Actor, template_id: str) -> dict[str, str]:
    """The fields of a template as the actor has them, in their order."""
    fields = (await templates.fields_of(actor, [template_id]))[template_id]
    return dict(zip([field.name for field in fields], templates.values_of(fields), strict=True))


# Creating


async def test_a_template_is_made_whole_and_told_once(scene: Scene) -> None:
    fields = [
        NewField(" project ID ", FieldValue(is_project_id=True), "In every path"),
        NewField("input node ID", FieldValue(node_id=scene.input.id)),
        text("plan", "gold"),
    ]
    made = await scene.create(" Pro ", description="All day", price_per_request=Decimal("0.0125"), fields=fields)

    stored = await Template.get(id=made.id)
    assert (stored.name, stored.name_folded, stored.description) == ("Pro", "pro", "All day")
    assert (stored.role_id, stored.price_per_request, stored.position) == (scene.caller.id, Decimal("0.0125"), 1)
    assert list((await shown(scene.ada, made.id)).items()) == [
        ("project ID", scene.project.id),
        ("input node ID", scene.input.upstream_id),
        ("plan", "gold"),
    ]
    assert (await TemplateField.get(template_id=made.id, position=0)).description == "In every path"
    assert await told() == [("template.created", made.id)]


async def test_a_template_costs_nothing_and_says_nothing_unless_told_otherwise(scene: Scene) -> None:
    stored = await Template.get(id=(await scene.create()).id)
    assert (stored.price_per_request, stored.description, stored.version) == (Decimal(0), "", 1)


@pytest.mark.parametrize("name", ["", " \t ", "x" * 101, "a\x00b"])
async def test_a_template_has_a_name_of_1_to_100_characters(scene: Scene, name: str) -> None:
    async with refused(Invalid, "name"):
        await scene.create(name)
    async with refused(Invalid, "name"):
        await scene.change(name=name)


@pytest.mark.parametrize("price", ["-0.000001", "1000000", "0.0000001", "NaN", "Infinity"])
async def test_a_price_is_0_to_999999_999999_with_at_most_6_decimals(scene: Scene, price: str) -> None:
    async with refused(Invalid, "pricePerRequest"):
        await scene.create(price_per_request=Decimal(price))
    async with refused(Invalid, "pricePerRequest"):
        await scene.change(price_per_request=Decimal(price))


@pytest.mark.parametrize("price", ["0", "0.000001", "999999.999999"])
async def test_a_price_is_kept_to_the_last_digit(scene: Scene, price: str) -> None:
    made = await scene.create(price_per_request=Decimal(price))
    assert (await Template.get(id=made.id)).price_per_request == Decimal(price)


async def test_a_name_is_unique_among_the_living_of_its_project(scene: Scene) -> None:
    other = await owned_project(scene.ada, "Words")
    async with refused(Conflict, "name"):
        await scene.create("Basic")
    await templates.create(scene.ada, other.id, name="Basic", role_id=(await role(other, VIEW)).id)

    pro = await scene.create("Pro")
    async with refused(Conflict, "name"):
        await templates.update(scene.ada, pro.id, {"name": "Basic"})
    await templates.delete(scene.ada, scene.basic.id)
    assert (await templates.update(scene.ada, pro.id, {"name": "Basic"})).name == "Basic"


async def test_a_project_has_at_most_1000_templates(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert templates.MOST_TEMPLATES == 1000
    monkeypatch.setattr(templates, "MOST_TEMPLATES", 2)
    await scene.create("Second")
    async with refused(LimitExceeded):
        await scene.create("Third")
    await templates.delete(scene.ada, scene.basic.id)
    await scene.create("Third")


# The role


async def test_the_role_is_a_living_one_of_the_same_project(scene: Scene) -> None:
    elsewhere = await role(await owned_project(scene.ada, "Words"), VIEW)
    gone = await role(scene.project, VIEW, name="Gone", deleted_at=now())
    for other in (elsewhere.id, gone.id, "rol_none"):
        async with refused(NotFound, "roleId"):
            await scene.create(role_id=other)
        async with refused(NotFound, "roleId"):
            await scene.change(role_id=other)


async def test_the_role_must_see_the_project(scene: Scene) -> None:
    blind = await role(scene.project, Permission.PACKAGE_VIEW, name="Blind")
    async with refused(Invalid, "roleId"):
        await scene.create(role_id=blind.id)
    async with refused(Invalid, "roleId"):
        await scene.change(role_id=blind.id)


async def test_a_role_that_manages_sees_and_so_does_any_beside_a_public_one(scene: Scene) -> None:
    powerful = await role(scene.project, MANAGE, name="Powerful")
    assert (await scene.create(role_id=powerful.id)).role_id == powerful.id

    blind = await role(scene.project, Permission.PACKAGE_VIEW, name="Blind")
    public = await role(scene.project, VIEW, name="Everyone", is_public=True)
    assert (await scene.change(role_id=blind.id)).role_id == blind.id
    await roles.delete(scene.ada, public.id)
    async with refused(Invalid, "roleId"):
        await scene.create("Late", role_id=blind.id)


async def test_a_key_keeps_the_role_that_its_template_had(scene: Scene) -> None:
    key = await issued_key(scene.basic, scene.bo)
    await scene.change(role_id=(await role(scene.project, VIEW, name="Other")).id)
    assert (await IssuedKey.get(id=key.id)).role_id == scene.caller.id


async def test_a_role_is_not_deleted_while_a_template_is_given_it(scene: Scene) -> None:
    """Whichever comes first wins, and no living template has a role that is gone."""
    spare = await role(scene.project, VIEW, name="Spare")
    done = await asyncio.gather(
        roles.delete(scene.ada, spare.id), scene.create(role_id=spare.id), return_exceptions=True
    )
    assert [type(each) for each in done if isinstance(each, Exception)] in ([Conflict], [NotFound])
    assert await Template.filter(deleted_at=None, role__deleted_at__not_isnull=True).count() == 0


# Updating


async def test_an_update_changes_what_it_names_and_leaves_the_rest(scene: Scene) -> None:
    await scene.change(price_per_request=Decimal("2.5"))

    stored = await Template.get(id=scene.basic.id)
    assert (stored.name, stored.description, stored.role_id) == ("Basic", "Ten a day", scene.caller.id)
    assert (stored.price_per_request, stored.version) == (Decimal("2.5"), 2)
    assert await told() == [("template.updated", scene.basic.id)]


async def test_null_clears_the_description_alone(scene: Scene) -> None:
    assert (await scene.change(description=None)).description == ""
    for member, path in (
        ("name", "name"),
        ("role_id", "roleId"),
        ("price_per_request", "pricePerRequest"),
        ("position", "position"),
    ):
        async with refused(Invalid, path):
            await scene.change(**{member: None})


async def test_another_s_edit_in_between_is_a_conflict(scene: Scene) -> None:
    seen = scene.basic.version
    await templates.update(scene.ada, scene.basic.id, {"name": "First"}, seen)
    async with refused(Conflict, "expectedVersion"):
        await templates.update(scene.ada, scene.basic.id, {"name": "Second"}, seen)
    assert (await templates.update(scene.ada, scene.basic.id, {"name": "Third"}, seen + 1)).version == seen + 2


async def test_of_edits_at_once_that_saw_the_same_version_one_is_made(scene: Scene) -> None:
    async def edit(number: int) -> None:
        await templates.update(scene.ada, scene.basic.id, {"name": f"N{number}"}, scene.basic.version)

    done = await asyncio.gather(*(edit(number) for number in range(5)), return_exceptions=True)
    assert [type(each) for each in done].count(Conflict) == 4
    assert (await Template.get(id=scene.basic.id)).version == 2


async def test_edits_at_once_of_different_members_are_all_made(scene: Scene) -> None:
    await asyncio.gather(
        scene.change(name="Pro"),
        scene.change(description="All day"),
        scene.change(price_per_request=Decimal(3)),
        templates.update_field(scene.ada, scene.field.id, {"name": "plan"}),
        templates.add_field(scene.ada, scene.basic.id, text("more")),
    )
    stored = await Template.get(id=scene.basic.id)
    assert (stored.name, stored.description, stored.price_per_request) == ("Pro", "All day", Decimal(3))
    assert stored.version == 6
    assert list(await shown(scene.ada, stored.id)) == ["plan", "more"]


# Deleting


async def test_a_deleted_template_takes_its_pending_requests_with_it_and_leaves_its_keys(scene: Scene) -> None:
    request = await requests.create(scene.vera, scene.basic.id)
    key = await issued_key(scene.basic, scene.bo)

    assert await templates.delete(scene.ada, scene.basic.id) == scene.basic.id

    assert (await KeyRequest.get(id=request.id)).state is RequestState.CANCELLED
    assert (await IssuedKey.get(id=key.id)).state is KeyState.ACTIVE
    assert (await told())[1:] == [("request.cancelled", request.id), ("template.deleted", scene.basic.id)]


async def test_a_deleted_template_is_nowhere_but_where_it_is_referred_to(scene: Scene) -> None:
    await templates.delete(scene.ada, scene.basic.id)

    assert await templates.visible(scene.ada, [scene.basic.id]) == {}
    assert await templates.visible_fields(scene.ada, [scene.field.id]) == {}
    assert await templates.by_project(scene.ada, [scene.project.id]) == {scene.project.id: []}
    assert (await templates.by_id(scene.bo, [scene.basic.id]))[scene.basic.id].deleted_at is not None
    for verb, act in scene.verbs().items():
        async with refused(NotFound, "fieldId" if verb in {"update_field", "delete_field"} else "templateId"):
            await act(scene.ada)


async def test_nothing_is_done_with_what_never_was(scene: Scene) -> None:
    async with refused(NotFound, "templateId"):
        await templates.update(scene.ada, "tpl_none", {"name": "Mine"})
    async with refused(NotFound, "fieldId"):
        await templates.delete_field(scene.ada, scene.basic.id)


async def test_a_template_goes_once_however_many_delete_it_while_others_ask_for_a_key(scene: Scene) -> None:
    """Nobody waits for another for ever, and no request is left pending on a template that is gone."""
    askers = [await person(f"U{number}") for number in range(3)]
    for asker in askers:
        await join(scene.project, asker, scene.caller)
    asked = [requests.create(asker, scene.basic.id) for asker in askers]
    deleted = [templates.delete(scene.ada, scene.basic.id) for _ in range(2)]

    done = await asyncio.gather(asked[0], deleted[0], asked[1], deleted[1], asked[2], return_exceptions=True)

    assert {type(each) for each in done if isinstance(each, BaseException)} == {NotFound}
    assert [kind for kind, _ in await told()].count("template.deleted") == 1
    assert await KeyRequest.filter(state=RequestState.PENDING).count() == 0


# Who may


async def test_templates_are_changed_by_those_who_manage_the_project(scene: Scene) -> None:
    for actor, refusal in ((ANONYMOUS, Unauthenticated), (scene.vera, Forbidden)):
        async with refused(refusal):
            await scene.create(actor=actor)
        for act in scene.verbs().values():
            async with refused(refusal):
                await act(actor)


async def test_a_key_changes_templates_where_its_role_manages(scene: Scene) -> None:
    powerful = await role(scene.project, MANAGE, name="Powerful")
    key = by_key(scene.bo, await issued_key(scene.basic, scene.bo, role=powerful))
    verbs = scene.verbs()
    for verb in ("update", "add_field", "update_field", "delete_field", "delete"):
        await verbs[verb](key)
    await scene.create(actor=key)


async def test_to_who_does_not_see_the_project_its_templates_are_not_there(scene: Scene) -> None:
    async with refused(NotFound, "projectId"):
        await scene.create(actor=scene.bo)
    for verb, act in scene.verbs().items():
        async with refused(NotFound, "fieldId" if verb in {"update_field", "delete_field"} else "templateId"):
            await act(scene.bo)


async def test_a_template_is_shown_to_those_who_see_its_project(scene: Scene) -> None:
    key = by_key(scene.bo, await issued_key(scene.basic, scene.bo))
    for actor in (scene.ada, scene.vera, key):
        assert set(await templates.visible(actor, [scene.basic.id])) == {scene.basic.id}
        assert set(await templates.visible_fields(actor, [scene.field.id])) == {scene.field.id}
        assert [each.id for each in (await templates.by_project(actor, [scene.project.id]))[scene.project.id]] == [
            scene.basic.id
        ]
    for actor in (scene.bo, ANONYMOUS):
        assert await templates.visible(actor, [scene.basic.id]) == {}
        assert await templates.visible_fields(actor, [scene.field.id]) == {}
        assert await templates.by_project(actor, [scene.project.id]) == {scene.project.id: []}


@pytest.mark.parametrize("read", ["by_project", "by_id", "visible", "fields_of", "visible_fields"])
async def test_many_take_one_statement(scene: Scene, read: str) -> None:
    many = [scene.basic, *[await template(scene.project, scene.caller, f"T{number}") for number in range(9)]]
    ids = {"by_project": [scene.project.id], "visible_fields": [scene.field.id]}.get(read, [each.id for each in many])
    ada = scene.ada.reading()
    await seen_of(ada, [scene.project.id])
    with statements() as sent:
        found = await getattr(templates, read)(ada, ids)
    assert set(found) == set(ids)
    assert len(sent) == 1


async def test_no_look_is_taken_at_templates_that_are_known_to_be_seen_to_show_their_fields(scene: Scene) -> None:
    ada, asked = scene.ada.reading(), []
    for _ in range(2):
        with statements() as sent:
            found = await templates.fields_of(ada, [scene.basic.id])
        asked.append('JOIN "templates"' in sent[0])
        assert [field.id for field in found[scene.basic.id]] == [scene.field.id]
        await templates.by_project(ada, [scene.project.id])
    assert asked == [True, False]
