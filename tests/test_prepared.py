"""Statements that are built once: what fills them in, and that their rows are what the ORM would have made."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tortoise import fields
from tortoise.expressions import Q
from tortoise.models import Model
from tortoise.queryset import QuerySet

import models
from gateway import clock, rows
from gateway.database import connection
from gateway.gathering import Asked, at_once
from gateway.permissions import Actor, Permission, projects_seen
from gateway.prepared import Built, built, found_by_id, prepared, rows_once
from models import Grant, IssuedKey, Project, Role, Session, TemplateField, User
from models.fields import ID_LENGTH, NOBODY, all_askable, askable
from tests.crowd import new_crowd
from tests.statements import statements
from tests.world import ANONYMOUS, by_key, issued_key, join, owned_project, person, role, template

TABLES = [each for each in vars(models).values() if isinstance(each, type) and issubclass(each, Model)]
ALL = [each for each in TABLES if not each._meta.abstract]
UNSAYABLE = (fields.BinaryField, fields.JSONField)
WITH = [(TemplateField, "node"), (Grant, "role__project"), (Grant, "node"), (IssuedKey, "user"), (Session, "user")]


NOT_IN_JSON = {model for model in ALL if any(isinstance(each, UNSAYABLE) for each in model._meta.fields_map.values())}


def said(row: Any) -> dict[str, Any]:
    """All that a row holds, the rows that were read with it too."""
    return {name: said(value) if isinstance(value, Model) else value for name, value in vars(row).items()}


async def made_alike(model: type[Model], reference: str = "") -> int:
    queryset = model.all().select_related(reference) if reference else model.all()
    ours, theirs = await rows_once(built(queryset.all(), rows.Making(model, rows.models))), await queryset.all()
    assert [said(row) for row in ours] == [said(row) for row in theirs]
    assert [type(row) for row in ours] == [type(row) for row in theirs]
    light = await rows_once(built(queryset.all(), rows.Making(model, rows.light_rows)))
    references = reference.split("__") if reference else []
    assert [told(row) for row in light] == [columns_of(row, references) for row in theirs]
    assert {rows.model_of(type(row)) for row in light} <= {model}
    for write, alone in ((rows.models, ours), (rows.light_rows, light)):
        await come_alike_in_json(built(queryset.all(), rows.Making(model, write)), alone)
    return len(ours)


async def come_alike_in_json(query: Built, alone: list[Any]) -> None:
    """What is asked together with others; a statement with a column that JSON doesn't hold never is."""
    statement = query.statement(connection().capabilities.dialect)
    if statement.json is None:
        assert query.making
        assert query.making.model in NOT_IN_JSON
        return
    for found in await at_once([Asked(statement, query.values), Asked(statement, query.values)]):
        assert [type(row) for row in found] == [type(row) for row in alone]
        assert [held(row) for row in found] == [held(row) for row in alone]


def held(row: Any) -> dict[str, Any]:
    """With the types of the values, which tell 1 from true and a member from its text."""
    values = told(row) if isinstance(row, rows.Light) else said(row)
    return {name: (type(value), value) for name, value in values.items()}


def told(row: Any) -> dict[str, Any]:
    """All that a light row holds."""
    return dict(row._asdict())


def columns_of(row: Any, references: list[str]) -> dict[str, Any]:
    """All that a model holds, by the names of a light row; null for all of a reference that leads to none."""
    model, prefix = type(row), ""
    held = {name: getattr(row, name) for name in model._meta.fields_db_projection}
    for reference in references:
        model, prefix = model._meta.fields_map[reference].related_model, f"{prefix}{reference}__"
        row = getattr(row, reference) if row else None
        held |= {f"{prefix}{name}": getattr(row, name, None) for name in model._meta.fields_db_projection}
    return held


async def test_rows_are_what_the_orm_would_have_made(database: str) -> None:
    crowd = await new_crowd()
    await crowd.grow(3)
    now = clock.now()
    await Session.create(user=crowd.ada.user, created_at=now, expires_at=now + timedelta(hours=1))
    assert sum([await made_alike(model) > 0 for model in ALL]) > len(ALL) / 2
    for model, reference in WITH:
        assert await made_alike(model, reference)


async def test_a_row_of_some_columns_knows_that_others_lack(database: str) -> None:
    ada = await person("Ada")
    [row] = await rows_once(built(User.all().only("id", "name"), rows.Making(User, rows.models)))
    assert (row.id, row.name, row._partial) == (ada.user_id, "Ada", True)
    with pytest.raises(AttributeError):
        assert row.password_hash
    [light] = (await found_by_id(User, [row.id], ("name",))).values()
    assert told(light) == {"id": ada.user_id, "name": "Ada"}
    with pytest.raises(AttributeError):
        assert light.password_hash


BUILT: list[object] = []


@pytest.fixture(autouse=True)
def built_anew() -> None:
    BUILT.clear()


@prepared
def seen(actor: Actor, project_ids: list[str]) -> QuerySet[Project]:
    BUILT.append(actor)
    return Project.filter(deleted_at=None, id__in=projects_seen(actor)).filter(id__in=project_ids).order_by("id")


async def test_one_statement_serves_every_caller_of_a_kind_and_shows_each_what_is_theirs(database: str) -> None:
    ada, bo = await person("Ada"), await person("Bo")
    hers, his = await owned_project(ada), await owned_project(bo, "His")
    both = [hers.id, his.id]
    holder = by_key(bo, await issued_key(await template(hers, await role(hers)), bo))
    for _ in range(2):
        assert [row.id for row in await seen(ada, both)] == [hers.id]
        assert [row.id for row in await seen(bo, both)] == [his.id]
        assert [row.id for row in await seen(bo, [hers.id])] == []
        assert [row.id for row in await seen(holder, both)] == [hers.id]
        assert await seen(ANONYMOUS, both) == []
        assert await seen(ada, []) == []
    assert len(BUILT) <= 3  # one for users, one for keys, one for nobody; fewer, where another test had them built
    await join(his, ada, await role(his, Permission.PROJECT_VIEW))
    assert [row.id for row in await seen(ada, both)] == both


async def test_many_ids_take_the_statement_of_one(database: str) -> None:
    ada = await person("Ada")
    projects = [await owned_project(ada, f"P{number}") for number in range(30)]
    with statements() as sent:
        for quantity in (1, 7, 30):
            found = await seen(ada, [project.id for project in projects[:quantity]])
            assert [row.id for row in found] == [project.id for project in projects[:quantity]]
    assert len(set(sent)) == 1


@pytest.mark.parametrize("strange", ["", "x" * 1000, "prj_\0", "prj_\ud800", "~0~", "é"])
async def test_what_can_be_no_id_finds_nothing(database: str, strange: str) -> None:
    ada = await person("Ada")
    project = await owned_project(ada)
    assert await seen(ada, [strange]) == []
    assert [row.id for row in await seen(ada, [strange, project.id])] == [project.id]
    assert await found_by_id(Project, [strange]) == {}


@prepared
def made_since(project_id: str, since: datetime, states: tuple[bool, ...]) -> QuerySet[Role]:
    BUILT.append(states)
    return Role.filter(Q(is_public__in=states) & Q(created_at__gte=since), project_id=project_id)


async def test_instants_and_ids_fill_in_and_anything_else_makes_another_statement(database: str) -> None:
    ada = await person("Ada")
    project = await owned_project(ada)
    public = await role(project, name="all", is_public=True)
    for _ in range(2):
        assert await made_since(project.id, public.created_at + timedelta(seconds=1), (True,)) == []
        assert [row.id for row in await made_since(project.id, public.created_at, (True,))] == [public.id]
        assert len(await made_since(project.id, project.created_at, (True, False))) == 2
    assert len(BUILT) <= 2


@prepared
def by_another_way(ids: list[str]) -> QuerySet[Project]:
    return Project.exclude(id__in=ids)


@prepared
def by_a_part(id: str) -> QuerySet[Project]:
    return Project.filter(id__contains=id)


async def test_a_statement_that_could_not_be_filled_in_rightly_is_never_sent(database: str) -> None:
    for reading in (by_another_way(["prj_1"]), by_a_part("prj_1")):
        with statements() as sent, pytest.raises(ValueError):  # noqa: PT011  # either says what is wrong
            await reading
        assert sent == []


ids = st.text(max_size=ID_LENGTH + 2) | st.from_regex(r"[a-z]{3}_[0-9a-z]{26}", fullmatch=True)


@given(st.lists(ids))
def test_several_ids_are_askable_as_each_of_them_is(several: list[str]) -> None:
    assert all_askable(several) == [askable(id) for id in several]


@pytest.mark.parametrize("odd", ["x" * (ID_LENGTH + 1), "\N{LOCK}", "a\0b"])
def test_an_id_that_no_row_can_have_is_asked_for_as_nobody_s(odd: str) -> None:
    assert all_askable(["usr_1", odd]) == ["usr_1", NOBODY]
