"""Projects and their nodes: made, changed, found and taken away."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway import keys, permissions, projects, requests, roles
from gateway.clock import now
from gateway.errors import BadInput, Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from gateway.events import head
from gateway.pages import Slice, one
from gateway.permissions import EVERYTHING, Actor, Permission, rights_on, seen_of
from gateway.projects import ProjectChanges
from models import IssuedKey, KeyRequest, KeyState, Member, Project, ProjectNode, RequestState, Role
from tests.statements import statements
from tests.world import (
    ANONYMOUS,
    SEALER,
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

VIEW, EDIT, MANAGE = Permission.PROJECT_VIEW, Permission.PROJECT_EDIT, Permission.PROJECT_MANAGE


class Scene:
    """Ada owns a project that Eve may edit; Bo has an account and nothing else; Key is Ada's, with every right."""

    ada: Actor
    bo: Actor
    eve: Actor
    key: Actor
    project: Project


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.bo, made.eve = await person("Ada"), await person("Bo"), await person("Eve")
    made.project = await owned_project(made.ada, description="All of them", upstream_url="http://maps.example")
    await join(made.project, made.eve, await role(made.project, VIEW, EDIT, name="Editor"))
    powerful = await role(made.project, MANAGE, name="Powerful")
    made.key = by_key(made.ada, await issued_key(await template(made.project, powerful), made.ada))
    return made


# Creating


async def test_who_creates_a_project_owns_it_with_every_permission(scene: Scene) -> None:
    made = await projects.create(scene.bo, name=" Words ", description="A lot", currency="EUR")

    stored = await Project.get(id=made.id)
    assert (stored.name, stored.description, stored.currency) == ("Words", "A lot", "EUR")
    assert not stored.upstream_url
    owner = await Role.get(project_id=made.id)
    assert (owner.name, owner.is_owner, owner.is_public) == ("owner", True, False)
    assert (await roles.granted(scene.bo, [owner.id]))[owner.id].permissions == list(Permission)
    assert await Member.filter(project_id=made.id, user_id=scene.bo.user_id).count() == 1
    rights = await rights_on(scene.bo, made.id)
    assert (rights.project, rights.is_owner) == (EVERYTHING, True)
    assert await told() == [("project.created", made.id)]


async def test_a_project_counts_in_dollars_unless_said_otherwise(scene: Scene) -> None:
    assert (await projects.create(scene.bo, name="Words")).currency == "USD"


async def test_a_project_is_made_by_a_user_in_person(scene: Scene) -> None:
    async with refused(Unauthenticated):
        await projects.create(ANONYMOUS, name="Words")
    async with refused(Forbidden):
        await projects.create(scene.key, name="Words")


@pytest.mark.parametrize("name", ["", " \t ", "x" * 101, "a\x00b"])
async def test_a_project_has_a_name_of_1_to_100_characters(scene: Scene, name: str) -> None:
    async with refused(Invalid, "name"):
        await projects.create(scene.bo, name=name)


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDT", "XYZ", "XXX", "USD "])
async def test_a_currency_is_one_of_iso_4217_that_is_in_use(scene: Scene, currency: str) -> None:
    async with refused(Invalid, "currency"):
        await projects.create(scene.bo, name="Words", currency=currency)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "https://api.example.org",
        "https://api.example.org/",
        "https://api.example.org:8443/v1/projects",
        "http://[2001:db8::1]:8080/base/",
        "http://up_stream-1.internal",
    ],
)
async def test_an_upstream_is_a_base_url_and_kept_as_it_was_given(scene: Scene, url: str) -> None:
    made = await projects.create(scene.bo, name="Words", upstream_url=url)
    assert (await Project.get(id=made.id)).upstream_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.org",
        "//api.example.org",
        "ftp://api.example.org",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:8000",
        "http://user@api.example.org",
        "http://user:secret@api.example.org",
        "http://api.example.org?a=b",
        "http://api.example.org/?",
        "http://api.example.org/#top",
        "http://api.example.org:0",
        "http://api.example.org:65536",
        "http://api.example.org:port",
        "http://[2001:db8::1",
        "http://[::g]/",
        "http://a b.example.org",
        "http://api.example.org/a b",
        "http://api.example.org/a\\b",
        "http://api.example.org/../admin",
        "http://api.example.org/\r\nHost: other",
        " http://api.example.org",
        "http://api.example.org\n",
        "http://bücher.example",
        "http://api%2eexample.org",
        "http://api.example.org/" + "x" * 2000,
    ],
)
async def test_an_upstream_is_nothing_but_a_scheme_a_host_a_port_and_a_path(scene: Scene, url: str) -> None:
    async with refused(Invalid, "upstreamUrl"):
        await projects.create(scene.bo, name="Words", upstream_url=url)


# Updating


async def test_an_update_changes_what_it_names_and_leaves_the_rest(scene: Scene) -> None:
    await projects.update(scene.eve, scene.project.id, {"name": "Charts"})

    stored = await Project.get(id=scene.project.id)
    assert (stored.name, stored.name_folded) == ("Charts", "charts")
    assert (stored.description, stored.upstream_url) == ("All of them", "http://maps.example")
    assert await told() == [("project.updated", scene.project.id)]


async def test_another_s_edit_of_the_project_in_between_is_a_conflict(scene: Scene) -> None:
    await projects.update(scene.ada, scene.project.id, {"name": "Charts"}, 1)
    async with refused(Conflict, "expectedVersion"):
        await projects.update(scene.ada, scene.project.id, {"description": "Stale"}, 1)
    assert (await projects.update(scene.ada, scene.project.id, {"description": "Seen"}, 2)).version == 3


async def test_null_clears_the_description_and_the_upstream_and_not_the_name(scene: Scene) -> None:
    cleared = await projects.update(scene.ada, scene.project.id, {"description": None, "upstream_url": None})
    assert cleared.description == ""
    assert not cleared.upstream_url
    async with refused(Invalid, "name"):
        await projects.update(scene.ada, scene.project.id, {"name": None})


async def test_where_the_service_stands_is_changed_by_those_who_manage_the_project_alone(scene: Scene) -> None:
    changes: ProjectChanges = {"name": "Charts", "upstream_url": "http://elsewhere.example"}
    async with refused(Forbidden):
        await projects.update(scene.eve, scene.project.id, changes)
    assert (await projects.update(scene.ada, scene.project.id, changes)).upstream_url == "http://elsewhere.example"


@pytest.mark.parametrize(
    ("changes", "path"),
    [({"name": " "}, "name"), ({"description": "\x00"}, "description"), ({"upstream_url": "ftp://x"}, "upstreamUrl")],
)
async def test_an_update_is_checked_as_a_creation_is(scene: Scene, changes: ProjectChanges, path: str) -> None:
    async with refused(Invalid, path):
        await projects.update(scene.ada, scene.project.id, changes)


async def test_a_project_is_changed_by_those_who_may_edit_it_in_person(scene: Scene) -> None:
    vera = await person("Vera")
    await join(scene.project, vera, await role(scene.project, VIEW, name="Viewer"))

    async with refused(Unauthenticated):
        await projects.update(ANONYMOUS, scene.project.id, {"name": "Mine"})
    async with refused(NotFound, "projectId"):
        await projects.update(scene.bo, scene.project.id, {"name": "Mine"})
    for actor in (vera, scene.key):
        async with refused(Forbidden):
            await projects.update(actor, scene.project.id, {"name": "Mine"})


# Deleting


async def test_a_deleted_project_takes_its_requests_and_keys_with_it(scene: Scene) -> None:
    caller = await role(scene.project, VIEW)
    pro, old = (
        await template(scene.project, caller, "Pro"),
        await template(scene.project, caller, "Old", deleted_at=now()),
    )
    await join(scene.project, scene.bo, caller)
    request = await requests.create(scene.bo, pro.id)
    living = [await issued_key(pro, scene.eve), await issued_key(old, scene.bo)]
    before = (await told())[-1]

    assert await projects.delete(scene.ada, scene.project.id) == scene.project.id

    assert (await KeyRequest.get(id=request.id)).state is RequestState.CANCELLED
    assert {key.state for key in await IssuedKey.filter(project_id=scene.project.id)} == {KeyState.REVOKED}
    events = await told()
    assert events[events.index(before) + 1] == ("request.cancelled", request.id)
    assert {id for kind, id in events if kind == "key.revoked"} == {*(each.id for each in living), scene.key.key_id}
    assert events[-1] == ("project.deleted", scene.project.id)


async def test_a_deleted_project_is_nowhere_but_where_it_is_referred_to(scene: Scene) -> None:
    input_node, caller = await node(scene.project), await role(scene.project, VIEW)
    await projects.delete(scene.ada, scene.project.id)

    assert await projects.visible(scene.ada, [scene.project.id]) == {}
    assert await projects.visible_nodes(scene.ada, [input_node.id]) == {}
    assert await roles.visible(scene.ada, [caller.id]) == {}
    assert await roles.by_project(scene.ada, [scene.project.id]) == {scene.project.id: []}
    assert (await projects.by_id(scene.ada, [scene.project.id]))[scene.project.id].deleted_at is not None
    for actor in (scene.ada, scene.bo):
        async with refused(NotFound, "projectId"):
            await projects.delete(actor, scene.project.id)


async def test_a_project_is_deleted_by_those_who_manage_it_in_person(scene: Scene) -> None:
    async with refused(Unauthenticated):
        await projects.delete(ANONYMOUS, scene.project.id)
    async with refused(NotFound, "projectId"):
        await projects.delete(scene.bo, scene.project.id)
    for actor in (scene.eve, scene.key):
        async with refused(Forbidden):
            await projects.delete(actor, scene.project.id)


async def test_a_project_that_is_deleted_while_its_keys_are_revoked_ends_each_key_once(scene: Scene) -> None:
    """Neither waits for the other for ever, and no key is told to be revoked twice."""
    pro = await template(scene.project, await role(scene.project, VIEW), "Pro")
    living = [await issued_key(pro, await person(f"U{number}")) for number in range(5)]
    await requests.create(scene.eve, pro.id)  # cancelled first, which locks the head of the log
    await asyncio.gather(*(head() for _ in range(6)))  # opens as many connections, so that all begin at once
    revoked = [keys.revoke(scene.ada, key.id) for key in reversed(living)]

    done = await asyncio.gather(*revoked, projects.delete(scene.ada, scene.project.id), return_exceptions=True)

    assert {type(each) for each in done if isinstance(each, Exception)} <= {NotFound, Conflict}
    ended = [id for kind, id in await told() if kind == "key.revoked"]
    assert sorted(ended) == sorted([*(key.id for key in living), scene.key.key_id or ""])


async def test_who_waited_for_a_key_or_a_request_while_its_project_went_is_told_that_there_is_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    pro = await template(scene.project, await role(scene.project, VIEW), "Pro")
    request, key = await requests.create(scene.eve, pro.id), await issued_key(pro, await person("U"))
    require = permissions.require

    async def require_late(*arguments: Any, **options: Any) -> Any:
        await Project.filter(id=scene.project.id).update(deleted_at=now())
        return await require(*arguments, **options)

    for noun in (keys, requests):
        monkeypatch.setattr(noun, "require", require_late)
    async with refused(NotFound, "keyId"):
        await keys.suspend(scene.ada, key.id)
    async with refused(NotFound, "requestId"):
        await requests.reject(scene.ada, request.id, "no")


# Nodes


async def test_a_node_is_addressed_by_its_own_id_unless_given_another(scene: Scene) -> None:
    own = await projects.create_node(scene.ada, scene.project.id, name="Input")
    given = await projects.create_node(scene.ada, scene.project.id, name="Output", upstream_id="out-1.2_~")

    assert own.upstream_id == own.id
    assert given.upstream_id == "out-1.2_~"
    assert await told() == [("node.created", own.id), ("node.created", given.id)]


@pytest.mark.parametrize("upstream_id", ["", ".", "..", "a/b", "a b", "a%2Fb", "a;b", "é", "x" * 201, "a\n"])
async def test_an_id_in_the_upstream_is_one_segment_of_a_path(scene: Scene, upstream_id: str) -> None:
    async with refused(Invalid, "upstreamId"):
        await projects.create_node(scene.ada, scene.project.id, name="Input", upstream_id=upstream_id)


async def test_names_and_upstream_ids_of_nodes_are_unique_among_the_living_of_a_project(scene: Scene) -> None:
    first = await projects.create_node(scene.ada, scene.project.id, name="Input", upstream_id="7")
    other = await owned_project(scene.ada, "Words")

    async with refused(Conflict, "name"):
        await projects.create_node(scene.ada, scene.project.id, name="Input", upstream_id="8")
    async with refused(Conflict, "upstreamId"):
        await projects.create_node(scene.ada, scene.project.id, name="Output", upstream_id="7")
    await projects.create_node(scene.ada, other.id, name="Input", upstream_id="7")
    await projects.delete_node(scene.ada, first.id)
    await projects.create_node(scene.ada, scene.project.id, name="Input", upstream_id="7")


async def test_a_node_is_renamed_where_nobody_did_so_in_between_and_its_id_in_the_upstream_stays(scene: Scene) -> None:
    made = await projects.create_node(scene.ada, scene.project.id, name="Input", upstream_id="7")
    await projects.create_node(scene.ada, scene.project.id, name="Output")
    renamed = await projects.update_node(scene.ada, made.id, {"name": " Entry "}, 1)
    assert (renamed.name, renamed.upstream_id, renamed.version) == ("Entry", "7", 2)
    async with refused(Conflict, "expectedVersion"):
        await projects.update_node(scene.ada, made.id, {"name": "Door"}, 1)
    async with refused(Conflict, "name"):
        await projects.update_node(scene.ada, made.id, {"name": "Output"}, 2)
    assert (await told())[-1] == ("node.updated", made.id)


async def test_what_a_role_permits_on_a_node_ends_with_it(scene: Scene) -> None:
    gone = await node(scene.project)
    await join(scene.project, scene.bo, await role(scene.project, VIEW, on_nodes={gone.id: [Permission.CODE_VIEW]}))

    assert await projects.delete_node(scene.ada, gone.id) == gone.id

    assert (await rights_on(scene.bo, scene.project.id)).nodes == {}
    assert (await ProjectNode.get(id=gone.id)).deleted_at is not None
    assert await told() == [("node.deleted", gone.id)]
    async with refused(NotFound, "projectNodeId"):
        await projects.delete_node(scene.ada, gone.id)


async def test_nodes_are_made_and_deleted_by_those_who_may_edit_the_graph_in_person(scene: Scene) -> None:
    there = await node(scene.project)
    for actor, refusal in ((ANONYMOUS, Unauthenticated), (scene.eve, Forbidden), (scene.key, Forbidden)):
        async with refused(refusal):
            await projects.create_node(actor, scene.project.id, name="New")
        async with refused(refusal):
            await projects.delete_node(actor, there.id)
    async with refused(NotFound, "projectId"):
        await projects.create_node(scene.bo, scene.project.id, name="New")
    async with refused(NotFound, "projectNodeId"):
        await projects.delete_node(scene.bo, there.id)


# Reading


async def names(actor: Actor, search: str = "", part: Slice | None = None) -> list[str]:
    page = await one(projects.listing(actor, search, SEALER), part or Slice())
    return [project.name for project in page.rows]


async def test_a_list_of_projects_holds_those_that_the_viewer_may_see_the_newest_first(scene: Scene) -> None:
    await owned_project(scene.bo, "Words")
    public = await owned_project(scene.bo, "Public")
    await role(public, VIEW, name="Everyone", is_public=True)
    watched = await owned_project(scene.bo, "Watched")
    await join(watched, scene.ada, await role(watched, Permission.KEYS_VIEW, name="Analyst"))
    hidden = await owned_project(scene.bo, "Hidden")
    await join(hidden, scene.ada, await role(hidden, Permission.CODE_VIEW, name="Reader"))

    assert await names(scene.ada) == ["Watched", "Public", "Maps"]
    assert await names(scene.bo) == ["Hidden", "Watched", "Public", "Words"]
    assert await names(ANONYMOUS) == ["Public"]


async def test_a_key_sees_its_own_project_alone_whatever_its_role_holds(scene: Scene) -> None:
    await role(await owned_project(scene.ada, "Public"), VIEW, name="Everyone", is_public=True)
    poor = await issued_key(await template(scene.project, await role(scene.project, name="Poor"), "Poor"), scene.ada)

    for key in (scene.key, by_key(scene.ada, poor)):
        assert await names(key) == ["Maps"]
        assert list(await projects.visible(key, [scene.project.id])) == [scene.project.id]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        *[(same, True) for same in ("straße", "STRASSE", "каРТ", "50%_")],
        *[(other, False) for other in ("_", "%", "\\", "\0", "\ud800")],
    ],
)
async def test_a_search_folds_case_in_every_alphabet_and_takes_no_character_for_a_pattern(
    scene: Scene, search: str, found: bool
) -> None:
    name = {"50%_": "a 50%_ b"}.get(search, "Straße КАРТЫ")
    await owned_project(scene.bo, name)
    assert await names(scene.bo, search) == ([name] if found else [])


async def test_a_page_of_a_search_goes_on_under_that_search_alone(scene: Scene) -> None:
    for number in range(3):
        await owned_project(scene.bo, f"Words {number}")
    listing = projects.listing(scene.bo, "words", SEALER)
    first = await one(listing, Slice(first=2))
    after = first.cursor(first.rows[-1])

    assert await names(scene.bo, "words", Slice(first=2, after=after)) == ["Words 0"]
    with pytest.raises(BadInput):
        await names(scene.bo, "other", Slice(first=2, after=after))


async def test_the_nodes_of_projects_are_shown_to_those_who_see_them(scene: Scene) -> None:
    other = await owned_project(scene.bo, "Words")
    for each, name in ((scene.project, "Input"), (scene.project, "Output"), (other, "Input")):
        await node(each, name)
    gone = await node(scene.project, "Gone")
    await projects.delete_node(scene.ada, gone.id)
    both = [scene.project.id, other.id]

    async def shown_to(actor: Actor, search: str) -> list[list[str]]:
        pages = await projects.pages_of_nodes(actor, both, search, Slice(), SEALER)
        return [[row.name for row in page.rows] for page in pages.values()]

    assert await shown_to(scene.eve, "") == [["Output", "Input"], []]
    assert await shown_to(scene.bo, "INP") == [[], ["Input"]]
    assert await shown_to(ANONYMOUS, "") == [[], []]


@pytest.mark.parametrize("read", [projects.visible, projects.by_id, roles.by_project])
async def test_many_projects_take_one_statement(scene: Scene, read: Callable[..., object]) -> None:
    ids = [(await owned_project(scene.ada, f"{number}")).id for number in range(10)]
    ada = scene.ada.reading()
    await seen_of(ada, ids)
    with statements() as sent:
        found = await read(ada, ids)  # type: ignore[misc]  # each of them is a batch
    assert set(found) == set(ids)
    assert len(sent) == 1
