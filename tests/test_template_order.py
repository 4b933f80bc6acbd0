"""The order in which an owner puts templates, and the fields of one: always what a list would hold."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import templates
from gateway.errors import Invalid
from gateway.permissions import Actor, Permission
from gateway.templates import FieldValue, NewField
from models import Project, Role, Template, TemplateField
from tests.world import owned_project, person, refused, role

FIRST, LAST = 0, 2**31 - 1
PLACES = st.one_of(st.integers(0, 9), st.just(LAST))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PLACES, PLACES),
        st.tuples(st.just("move"), PLACES, PLACES),
        st.tuples(st.just("delete"), PLACES, PLACES),
    ),
    max_size=25,
)
Steps = Sequence[tuple[str, int, int]]


class Scene:
    """Ada owns a project, empty yet."""

    ada: Actor
    project: Project
    caller: Role

    async def create(self, name: str) -> Template:
        return await templates.create(self.ada, self.project.id, role_id=self.caller.id, name=name)

    async def move(self, template_id: str, position: int | None) -> Template:
        return await templates.update(self.ada, template_id, {"position": position})

    async def order(self) -> list[str]:
        """The templates' names in their order, whose positions are 0, 1, 2 and so on."""
        rows = await Template.filter(project_id=self.project.id, deleted_at=None).order_by("position")
        assert [row.position for row in rows] == list(range(len(rows)))
        listed = (await templates.by_project(self.ada, [self.project.id]))[self.project.id]
        assert [row.id for row in listed] == [row.id for row in rows]
        return [row.name for row in rows]


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada = await person("Ada")
    await start_anew(made)
    return made


async def start_anew(scene: Scene) -> None:
    scene.project = await owned_project(scene.ada)
    scene.caller = await role(scene.project, Permission.PROJECT_VIEW)


async def fields_in_order(scene: Scene, template_id: str) -> list[str]:
    rows = await TemplateField.filter(template_id=template_id, deleted_at=None).order_by("position")
    assert [row.position for row in rows] == list(range(len(rows)))
    listed = (await templates.fields_of(scene.ada, [template_id]))[template_id]
    assert [row.id for row in listed] == [row.id for row in rows]
    return [row.name for row in rows]


class ModelOfTemplates:
    """Does to a project's templates what is done to a list of their names."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.ids: dict[str, str] = {}

    async def add(self, name: str) -> None:
        self.ids[name] = (await self.scene.create(name)).id

    async def move(self, name: str, position: int) -> None:
        await self.scene.move(self.ids[name], position)

    async def delete(self, name: str) -> None:
        await templates.delete(self.scene.ada, self.ids[name])

    async def order(self) -> list[str]:
        return await self.scene.order()


class ModelOfFields:
    """The same with the fields of one template."""

    def __init__(self, scene: Scene, template_id: str) -> None:
        self.scene = scene
        self.template_id = template_id

    async def add(self, name: str) -> None:
        await templates.add_field(self.scene.ada, self.template_id, NewField(name, FieldValue(literal="")))

    async def move(self, name: str, position: int) -> None:
        await templates.update_field(self.scene.ada, await self._id(name), {"position": position})

    async def delete(self, name: str) -> None:
        await templates.delete_field(self.scene.ada, await self._id(name))

    async def order(self) -> list[str]:
        return await fields_in_order(self.scene, self.template_id)

    async def _id(self, name: str) -> str:
        return (await TemplateField.get(template_id=self.template_id, name=name, deleted_at=None)).id


async def behaves_as_a_list(real: ModelOfTemplates | ModelOfFields, steps: Steps) -> None:
    wanted: list[str] = []
    for number, (verb, which, position) in enumerate(steps):
        if verb == "add":
            await real.add(f"N{number}")
            wanted.append(f"N{number}")
        elif wanted:
            name = wanted.pop(which % len(wanted))
            if verb == "delete":
                await real.delete(name)
            else:
                await real.move(name, position)
                wanted.insert(position, name)
        assert await real.order() == wanted


EACH_ON_ITS_OWN = [HealthCheck.function_scoped_fixture]  # each example has a project of its own


@settings(max_examples=15, suppress_health_check=EACH_ON_ITS_OWN)
@given(steps=STEPS)
async def test_templates_stand_as_a_list_would_hold_them_whatever_is_added_moved_and_deleted(
    scene: Scene, steps: Steps
) -> None:
    await start_anew(scene)
    await behaves_as_a_list(ModelOfTemplates(scene), steps)


@settings(max_examples=15, suppress_health_check=EACH_ON_ITS_OWN)
@given(steps=STEPS)
async def test_fields_stand_as_a_list_would_hold_them_whatever_is_added_moved_and_deleted(
    scene: Scene, steps: Steps
) -> None:
    await start_anew(scene)
    await behaves_as_a_list(ModelOfFields(scene, (await scene.create("Basic")).id), steps)


@pytest.mark.parametrize(
    ("position", "wanted"),
    [(FIRST, "CABD"), (1, "ACBD"), (2, "ABCD"), (3, "ABDC"), (4, "ABDC"), (LAST, "ABDC")],
)
async def test_0_is_first_and_past_the_end_is_last(scene: Scene, position: int, wanted: str) -> None:
    ids = [(await scene.create(name)).id for name in "ABCD"]
    moved = await scene.move(ids[2], position)
    assert await scene.order() == list(wanted)
    assert moved.position == wanted.index("C")


async def test_a_place_before_the_first_is_refused(scene: Scene) -> None:
    made = await scene.create("A")
    with_field = await templates.add_field(scene.ada, made.id, NewField("F", FieldValue(literal="")))
    [field] = (await templates.fields_of(scene.ada, [with_field.id]))[made.id]
    async with refused(Invalid, "position"):
        await scene.move(made.id, -1)
    async with refused(Invalid, "position"):
        await templates.update_field(scene.ada, field.id, {"position": -1})


async def test_moving_one_changes_the_version_of_that_one_alone(scene: Scene) -> None:
    ids = [(await scene.create(name)).id for name in "ABC"]
    await scene.move(ids[2], FIRST)
    assert [(await Template.get(id=id)).version for id in ids] == [1, 1, 2]


async def test_what_moves_and_changes_at_once_does_both(scene: Scene) -> None:
    ids = [(await scene.create(name)).id for name in "ABC"]
    await templates.update(scene.ada, ids[2], {"position": FIRST, "name": "Z"})
    assert await scene.order() == ["Z", "A", "B"]


async def test_an_order_is_of_one_project_and_of_one_template(scene: Scene) -> None:
    one = await scene.create("A")
    for name in ("F", "G"):
        await templates.add_field(scene.ada, one.id, NewField(name, FieldValue(literal="")))
    first = scene.project
    await start_anew(scene)
    two = [await scene.create(name) for name in "XYZ"]
    await templates.add_field(scene.ada, two[0].id, NewField("F", FieldValue(literal="")))

    await scene.move(two[2].id, FIRST)

    assert await scene.order() == ["Z", "X", "Y"]
    assert await fields_in_order(scene, one.id) == ["F", "G"]
    assert [each.name for each in (await templates.by_project(scene.ada, [first.id]))[first.id]] == ["A"]


async def test_whatever_owners_do_at_once_leaves_an_order_without_gaps_and_ties(scene: Scene) -> None:
    """Nobody waits for another for ever, either."""
    ids = [(await scene.create(f"N{number}")).id for number in range(8)]
    await asyncio.gather(
        *(scene.move(id, place) for id, place in zip(ids[:5], (7, 0, 3, LAST, 0), strict=True)),
        *(scene.create(name) for name in ("New", "Newer")),
        *(templates.delete(scene.ada, id) for id in ids[5:7]),
    )
    assert sorted(await scene.order()) == ["N0", "N1", "N2", "N3", "N4", "N7", "New", "Newer"]


async def test_whatever_owners_do_at_once_with_fields_leaves_an_order_without_gaps_and_ties(scene: Scene) -> None:
    made = await scene.create("Basic")
    for number in range(6):
        await templates.add_field(scene.ada, made.id, NewField(f"F{number}", FieldValue(literal="")))
    ids = [field.id for field in (await templates.fields_of(scene.ada, [made.id]))[made.id]]
    moves = zip(ids[:4], (5, 0, LAST, 0), strict=True)
    await asyncio.gather(
        *(templates.update_field(scene.ada, id, {"position": place}) for id, place in moves),
        templates.delete_field(scene.ada, ids[4]),
        templates.add_field(scene.ada, made.id, NewField("New", FieldValue(literal=""))),
    )
    assert sorted(await fields_in_order(scene, made.id)) == ["F0", "F1", "F2", "F3", "F5", "New"]
