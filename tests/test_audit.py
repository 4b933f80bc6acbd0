"""The audit log tells those who manage a project, in person, what was done on it, by whom and from where."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from gateway import audit, clock, events
from gateway.audit import Wanted
from gateway.errors import BadInput
from gateway.pages import Page, Slice
from gateway.permissions import GATEWAY, Actor, Permission
from models import AuditEntry, Project, Role, Template
from tests.asking import ask, codes, context_of
from tests.statements import statements
from tests.world import ANONYMOUS, SEALER, by_key, issued_key, join, owned_project, person, role, template

ENTRIES = """
query ($id: ID!, $first: Int, $after: String, $userId: ID, $action: String) {
  project(id: $id) {
    auditEntries(first: $first, after: $after, userId: $userId, action: $action) {
      totalCount
      pageInfo { hasNextPage endCursor }
      nodes { id at action objectId address user { name } apiKey { id } object { id ... on KeyTemplate { name } } }
    }
  }
}"""
OF_EACH = "{ projects(first: 100) { nodes { auditEntries { nodes { user { name } object { id } } } } } }"


@dataclass
class Managed:
    owner: Actor
    project: Project
    role: Role
    template: Template


@pytest.fixture
async def managed(database: str) -> Managed:
    owner = await person("Ada")
    project = await owned_project(owner)
    caller = await role(project, Permission.PROJECT_VIEW)
    return Managed(owner, project, caller, await template(project, caller))


async def act(actor: Actor, project: Project, *actions: str, object_id: str = "tpl_any") -> None:
    for action in actions:
        await audit.enter(actor, action, object_id, project.id, clock.now())


async def page(
    actor: Actor, project: Project, wanted: Wanted | None = None, part: Slice | None = None
) -> Page[AuditEntry] | None:
    found = await audit.pages_of_projects(actor, [project.id], wanted or Wanted(), part or Slice(), SEALER)
    return found.get(project.id)


async def actions(actor: Actor, project: Project, **wanted: Any) -> list[str] | None:
    found = await page(actor, project, Wanted(**wanted))
    return [entry.action for entry in found.rows] if found else None


async def entries(actor: Actor, project: Project, **arguments: Any) -> Any:
    return (await ask(actor, ENTRIES, id=project.id, **arguments))["project"]["auditEntries"]


# What is written


async def test_an_entry_says_who_did_what_with_which_key_when_and_from_where(managed: Managed) -> None:
    key = await issued_key(managed.template, managed.owner)
    before = clock.now()
    await events.append(
        by_key(managed.owner, key), "template.updated", managed.template.id, project_id=managed.project.id
    )
    entry = await AuditEntry.get()
    assert (entry.user_id, entry.key_id, entry.address) == (managed.owner.user_id, key.id, "127.0.0.1")
    assert (entry.action, entry.object_id) == ("template.updated", managed.template.id)
    assert entry.project_id == managed.project.id
    assert before <= entry.at <= clock.now()


# Pages


async def test_the_newest_comes_first(managed: Managed) -> None:
    await act(managed.owner, managed.project, "a.done", "b.done", "c.done")
    assert await actions(managed.owner, managed.project) == ["c.done", "b.done", "a.done"]


async def test_pages_show_every_entry_once_while_more_are_written(managed: Managed) -> None:
    await act(managed.owner, managed.project, *(f"act.{number}" for number in range(45)))
    seen: list[str] = []
    found = await page(managed.owner, managed.project)
    while found:
        seen += [entry.action for entry in found.rows]
        await act(managed.owner, managed.project, "act.meanwhile")
        after = found.cursor(found.rows[-1])
        found = await page(managed.owner, managed.project, part=Slice(20, after)) if found.has_next else None
    assert seen == [f"act.{number}" for number in reversed(range(45))]


@pytest.mark.parametrize("odd", ["x" * 31, "x" * 65, "\x00", "\ud800", "ключ"])
async def test_what_no_entry_says_is_filtered_for_in_vain(managed: Managed, odd: str) -> None:
    await act(managed.owner, managed.project, "template.updated")
    assert await actions(managed.owner, managed.project, action=odd) == []
    assert await actions(managed.owner, managed.project, user_id=odd) == []


async def test_the_log_is_filtered_by_user_and_by_action(managed: Managed) -> None:
    other = await person("Bo")
    await act(managed.owner, managed.project, "key.revoked", "key.suspended")
    await act(other, managed.project, "key.revoked", "key.revealed")
    owner_id, other_id = str(managed.owner.user_id), str(other.user_id)
    assert await actions(managed.owner, managed.project, user_id=other_id) == ["key.revealed", "key.revoked"]
    assert await actions(managed.owner, managed.project, action="key.revoked") == ["key.revoked"] * 2
    assert await actions(managed.owner, managed.project, user_id=owner_id, action="key.revealed") == []
    found = await page(managed.owner, managed.project, Wanted(action="key.revoked"))
    assert found is not None
    assert await found.count() == 2


async def test_the_log_is_filtered_by_object_and_by_period_and_cursors_serve_the_period_while_time_passes(
    managed: Managed,
) -> None:
    await act(managed.owner, managed.project, "a.done", "b.done", "c.done", object_id=managed.template.id)
    await act(managed.owner, managed.project, "d.done")
    old = await AuditEntry.get(action="a.done")
    await AuditEntry.filter(id=old.id).update(at=clock.now() - timedelta(days=3))
    assert await actions(managed.owner, managed.project, object_id=managed.template.id) == [
        "c.done",
        "b.done",
        "a.done",
    ]

    async def asked(**arguments: Any) -> Any:
        query = """query ($id: ID!, $about: ID, $period: PeriodInput, $after: String) { project(id: $id) {
          auditEntries(first: 1, after: $after, objectId: $about, period: $period) { totalCount
            nodes { action } pageInfo { endCursor } } } }"""
        return (await ask(managed.owner, query, id=managed.project.id, **arguments))["project"]["auditEntries"]

    recent: dict[str, Any] = {"about": managed.template.id, "period": {"lastDays": 1}}
    first = await asked(**recent)
    assert (first["totalCount"], first["nodes"]) == (2, [{"action": "c.done"}])
    assert (await asked(**recent, after=first["pageInfo"]["endCursor"]))["nodes"] == [{"action": "b.done"}]
    bounds = {"from": old.at.isoformat(), "to": clock.now().isoformat()}
    assert (await asked(period={"between": bounds}))["totalCount"] == 3


async def test_a_cursor_serves_no_other_filter(managed: Managed) -> None:
    await act(managed.owner, managed.project, "key.revoked")
    found = await page(managed.owner, managed.project)
    assert found is not None
    with pytest.raises(BadInput):
        await page(managed.owner, managed.project, Wanted(action="key.revoked"), Slice(20, found.cursor(found.rows[0])))


async def test_a_project_has_its_own_entries_alone(managed: Managed) -> None:
    other = await owned_project(managed.owner, "Words")
    await act(managed.owner, managed.project, "template.created")
    await act(managed.owner, other, "template.deleted")
    assert await actions(managed.owner, managed.project) == ["template.created"]
    assert await actions(managed.owner, other) == ["template.deleted"]


# Who may read it


async def test_only_those_who_manage_the_project_read_it_and_only_in_person(managed: Managed) -> None:
    await act(managed.owner, managed.project, "template.created")
    managing = await role(managed.project, Permission.PROJECT_MANAGE, name="Manager")
    analysing = await role(managed.project, Permission.PROJECT_VIEW, Permission.KEYS_VIEW, name="Analyst")
    manager, analyst, viewer, stranger = [await person(name) for name in ("Mo", "An", "Vi", "Su")]
    for who, held in ((manager, managing), (analyst, analysing), (viewer, managed.role)):
        await join(managed.project, who, held)
    key = by_key(manager, await issued_key(await template(managed.project, managing, "Managing"), manager))
    for actor in (managed.owner, manager):
        assert await actions(actor, managed.project) == ["template.created"]
    for actor in (key, analyst, viewer, stranger, ANONYMOUS):
        assert await actions(actor, managed.project) is None


async def test_that_of_a_deleted_project_is_read_by_nobody(managed: Managed) -> None:
    await act(managed.owner, managed.project, "project.deleted")
    await Project.filter(id=managed.project.id).update(deleted_at=clock.now())
    assert await actions(managed.owner, managed.project) is None


# As callers ask for it


async def test_an_entry_shows_its_object_while_it_lives(managed: Managed) -> None:
    key = await issued_key(managed.template, managed.owner)
    await act(by_key(managed.owner, key), managed.project, "template.updated", object_id=managed.template.id)
    (entry,) = (await entries(managed.owner, managed.project))["nodes"]
    assert entry["object"] == {"id": managed.template.id, "name": "Basic"}
    assert (entry["user"], entry["apiKey"]) == ({"name": "Ada"}, {"id": key.id})
    assert (entry["action"], entry["address"]) == ("template.updated", "127.0.0.1")
    await Template.filter(id=managed.template.id).update(deleted_at=clock.now())
    (entry,) = (await entries(managed.owner, managed.project))["nodes"]
    assert (entry["objectId"], entry["object"]) == (managed.template.id, None)


async def test_what_the_gateway_did_by_itself_names_nobody(managed: Managed) -> None:
    await act(GATEWAY, managed.project, "key.expired")
    (entry,) = (await entries(managed.owner, managed.project))["nodes"]
    assert (entry["user"], entry["apiKey"], entry["address"]) == (None, None, None)


async def test_arguments_choose_a_page(managed: Managed) -> None:
    await act(managed.owner, managed.project, "key.revoked", "key.suspended", "key.revoked")
    first = await entries(managed.owner, managed.project, first=1, action="key.revoked")
    assert (first["totalCount"], len(first["nodes"]), first["pageInfo"]["hasNextPage"]) == (2, 1, True)
    after = first["pageInfo"]["endCursor"]
    rest = await entries(managed.owner, managed.project, action="key.revoked", after=after)
    assert (len(rest["nodes"]), rest["pageInfo"]["hasNextPage"]) == (1, False)
    everything = await entries(managed.owner, managed.project, first=None, userId=None, action=None)
    assert everything["totalCount"] == 3
    assert await codes(context_of(managed.owner), ENTRIES, id=managed.project.id, after=after) == {"BAD_INPUT"}
    assert await codes(context_of(managed.owner), ENTRIES, id=managed.project.id, first=101) == {"BAD_INPUT"}


async def test_without_the_right_it_is_null_and_no_error(managed: Managed) -> None:
    viewer = await person("Vi")
    await join(managed.project, viewer, managed.role)
    assert await entries(viewer, managed.project) is None


async def test_the_logs_of_many_projects_take_as_many_statements_as_that_of_two(managed: Managed) -> None:
    async def sent_for(quantity: int) -> int:
        while await Project.all().count() < quantity:
            project = await owned_project(managed.owner, f"Project {await Project.all().count()}")
            made = await template(project, await role(project))
            await act(await person(project.name), project, "template.created", "template.updated", object_id=made.id)
        with statements() as sent:
            data = await ask(managed.owner, OF_EACH)
        assert len(data["projects"]["nodes"]) == quantity
        return len(sent)

    assert await sent_for(2) == await sent_for(10)
