"""Information fields: what stands in each, who reads it, and in which order."""

from typing import Any

import pytest

from gateway import keys, projects, templates
from gateway.errors import Conflict, Invalid, LimitExceeded, NotFound, Refusal
from gateway.permissions import Actor, Permission
from gateway.templates import FieldValue, NewField
from models import Project, ProjectNode, Role, Template, TemplateField
from tests.asking import ask
from tests.world import ANONYMOUS, by_key, issued_key, join, node, owned_project, person, refused, role, template, told

VIEW, MANAGE = Permission.PROJECT_VIEW, Permission.PROJECT_MANAGE
VALUES = "query ($id: ID!) { node(id: $id) { ... on KeyTemplate { fields { value } } } }"


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

    async def create(self, name: str, fields: list[NewField]) -> Template:
        return await templates.create(self.ada, self.project.id, role_id=self.caller.id, name=name, fields=fields)

    async def change_field(self, **changes: Any) -> Template:
        named: Any = changes
        return await templates.update_field(self.ada, self.field.id, named)


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.bo, made.vera = await person("Ada"), await person("Bo"), await person("Vera")
    made.project = await owned_project(made.ada)
    made.caller, made.input = await role(made.project, VIEW), await node(made.project)
    await join(made.project, made.vera, await role(made.project, VIEW, name="Viewer"))
    made.basic = await template(made.project, made.caller)
    made.field = await TemplateField.create(template=made.basic, name="project ID", value="x", position=0)
    return made


def text(name: str, value: str = "1") -> NewField:
    return NewField(name, FieldValue(literal=value))


async def shown(actor: Actor, template_id: str) -> dict[str, str]:
    """The fields of a template as the actor has them, in their order."""
    fields = (await templates.fields_of(actor, [template_id]))[template_id]
    return dict(zip([field.name for field in fields], templates.values_of(fields), strict=True))


async def test_a_field_is_put_last_and_changes_its_template(scene: Scene) -> None:
    answer = await templates.add_field(scene.ada, scene.basic.id, text("plan", "gold"))

    assert await shown(scene.ada, scene.basic.id) == {"project ID": "x", "plan": "gold"}
    assert (answer.id, (await Template.get(id=answer.id)).version) == (scene.basic.id, 2)
    assert await told() == [("template.updated", scene.basic.id)]


async def test_a_field_s_update_changes_what_it_names_and_leaves_the_rest(scene: Scene) -> None:
    await scene.change_field(description="In every path")
    await scene.change_field(value=FieldValue(is_project_id=True))
    stored = await TemplateField.get(id=scene.field.id)
    assert (stored.name, stored.description, stored.value) == ("project ID", "In every path", scene.project.id)

    await scene.change_field(description=None)
    assert (await TemplateField.get(id=scene.field.id)).description == ""
    for member in ("name", "value", "position"):
        async with refused(Invalid, member):
            await scene.change_field(**{member: None})


async def test_a_field_may_say_nothing(scene: Scene) -> None:
    await scene.change_field(value=FieldValue(literal=""))
    assert await shown(scene.ada, scene.basic.id) == {"project ID": ""}


async def test_a_deleted_field_is_gone_and_its_name_free(scene: Scene) -> None:
    await templates.delete_field(scene.ada, scene.field.id)

    assert await shown(scene.ada, scene.basic.id) == {}
    assert await templates.visible_fields(scene.ada, [scene.field.id]) == {}
    for act in (templates.delete_field(scene.ada, scene.field.id), scene.change_field(name="Again")):
        async with refused(NotFound, "fieldId"):
            await act
    await templates.add_field(scene.ada, scene.basic.id, text("project ID"))


async def test_a_node_s_id_in_a_field_follows_the_node(scene: Scene) -> None:
    """Also what it was before the node went, since programs may still use it."""
    await scene.change_field(value=FieldValue(node_id=scene.input.id))
    await ProjectNode.filter(id=scene.input.id).update(upstream_id="in-2")
    assert await shown(scene.ada, scene.basic.id) == {"project ID": "in-2"}

    await projects.delete_node(scene.ada, scene.input.id)
    assert await shown(scene.ada, scene.basic.id) == {"project ID": "in-2"}
    await scene.change_field(value=FieldValue(literal="other"))
    assert await shown(scene.ada, scene.basic.id) == {"project ID": "other"}


async def test_a_field_s_node_is_a_living_one_of_the_same_project(scene: Scene) -> None:
    elsewhere = await node(await owned_project(scene.ada, "Words"))
    await projects.delete_node(scene.ada, scene.input.id)
    for other in (elsewhere.id, scene.input.id, "nod_none"):
        value = FieldValue(node_id=other)
        async with refused(NotFound, "value", "nodeId"):
            await scene.change_field(value=value)
        async with refused(NotFound, "field", "value", "nodeId"):
            await templates.add_field(scene.ada, scene.basic.id, NewField("plan", value))
        async with refused(NotFound, "fields", "1", "value", "nodeId"):
            await scene.create("Pro", [text("plan"), NewField("node", value)])


@pytest.mark.parametrize(
    ("field", "refusal", "path"),
    [
        (text(" "), Invalid, ["name"]),
        (text("x" * 101), Invalid, ["name"]),
        (text("project ID"), Conflict, ["name"]),
        (text("plan", "x" * 10_001), Invalid, ["value", "literal"]),
        (text("plan", "\0"), Invalid, ["value", "literal"]),
        (NewField("plan", FieldValue(literal="1"), "\0"), Invalid, ["description"]),
    ],
)
async def test_a_field_is_refused_at_its_path(
    scene: Scene, field: NewField, refusal: type[Refusal], path: list[str]
) -> None:
    async with refused(refusal, "field", *path):
        await templates.add_field(scene.ada, scene.basic.id, field)
    async with refused(refusal, "fields", "1", *path):
        await scene.create("Pro", [text("project ID"), field])


async def test_a_field_takes_no_name_of_another_of_its_template(scene: Scene) -> None:
    await templates.add_field(scene.ada, scene.basic.id, text("plan"))
    async with refused(Conflict, "name"):
        await scene.change_field(name="plan")
    await scene.change_field(name="project ID", value=FieldValue(literal="2"))


async def test_a_template_has_at_most_50_fields(scene: Scene) -> None:
    fifty = [text(f"F{number}") for number in range(50)]
    full = await scene.create("Pro", fifty)
    async with refused(LimitExceeded, "fields"):
        await scene.create("More", [*fifty, text("last")])
    async with refused(LimitExceeded, "field"):
        await templates.add_field(scene.ada, full.id, text("last"))


# Who reads them


async def test_the_fields_of_a_deleted_template_stay_for_those_who_hold_a_key_from_it(scene: Scene) -> None:
    key = await issued_key(scene.basic, scene.bo)
    await templates.delete(scene.ada, scene.basic.id)
    stranger = await person("Eve")

    for actor in (scene.bo, by_key(scene.bo, key), scene.ada):
        assert await shown(actor, scene.basic.id) == {"project ID": "x"}
    for actor in (stranger, ANONYMOUS):
        assert await shown(actor, scene.basic.id) == {}
    await keys.revoke(scene.bo, key.id)
    assert await shown(scene.bo, scene.basic.id) == {}


async def values(actor: Actor, template_id: str) -> list[str | None]:
    found = (await ask(actor, VALUES, id=template_id))["node"]
    return [field["value"] for field in found["fields"]]


async def test_what_stands_in_a_field_is_for_managers_and_for_holders_of_a_key_from_the_template(scene: Scene) -> None:
    holder = await person("Hal")
    await join(scene.project, holder, scene.caller)
    key = await issued_key(scene.basic, holder)

    for actor in (scene.ada, holder, by_key(holder, key)):
        assert await values(actor, scene.basic.id) == ["x"]
    assert await values(scene.vera, scene.basic.id) == [None]
    await role(scene.project, VIEW, name="Everyone", is_public=True)
    assert await values(ANONYMOUS, scene.basic.id) == [None]


async def test_a_key_reads_the_fields_of_its_own_template_and_of_no_other_that_its_holder_has_a_key_from(
    scene: Scene,
) -> None:
    other = await template(scene.project, scene.caller, "Other")
    await TemplateField.create(template=other, name="plan", value="gold", position=0)
    key = by_key(scene.bo, await issued_key(scene.basic, scene.bo))
    await issued_key(other, scene.bo)

    assert await values(key, scene.basic.id) == ["x"]
    assert await values(key, other.id) == [None]


# Versions


async def test_another_s_edit_of_a_field_in_between_is_a_conflict_and_one_beside_it_is_none(scene: Scene) -> None:
    await templates.update_field(scene.ada, scene.field.id, {"name": "first"}, 1)
    await templates.add_field(scene.ada, scene.basic.id, text("beside"))
    async with refused(Conflict, "expectedVersion"):
        await templates.update_field(scene.ada, scene.field.id, {"value": FieldValue(literal="stale")}, 1)
    await templates.update_field(scene.ada, scene.field.id, {"value": FieldValue(literal="seen")}, 2)
    stored = await TemplateField.get(id=scene.field.id)
    assert (stored.name, stored.value, stored.version) == ("first", "seen", 3)
