"""What may be seen is one decision, whichever way leads to it: by id, in a list, from what refers to it."""

from fnmatch import fnmatch
from typing import Any

import pytest

from gateway.permissions import EVERYTHING, Permission
from models import KeyRequest, RequestState
from tests.asking import ask, codes, context_of
from tests.callers import CALLERS, Scene, new_scene, secret
from tests.operations import calling, mutate
from tests.permission_table import INPUTS, MUTATIONS, rows
from tests.statements import statements
from tests.world import ANONYMOUS, by_key, issued_key, node, role, template, unchanged

NEVER_BY_KEY = (
    *("signIn", "signUp", "passwordChange", "keyReveal", "keyRotate", "keyImport", "memberSetRoles"),
    *("role*", "project*", "secret*"),
)
PROJECT = """
  name deletedAt upstreamUrl routeRules { method } viewerPermissions
  roles { id } templates { id } projectNodes { totalCount nodes { id } }
  requests { totalCount } issuedKeys { totalCount } usage(period: { lastDays: 1 }) { total { requests } }
  secrets { id } members { totalCount } auditEntries { totalCount }
"""
BY_REFERENCE: dict[str, Any] = {
    "name": "Maps",
    "deletedAt": None,
    "viewerPermissions": [],
    "roles": [],
    "templates": [],
    "projectNodes": {"totalCount": 0, "nodes": []},
    **dict.fromkeys(
        ["upstreamUrl", "routeRules", "requests", "issuedKeys", "usage", "secrets", "members", "auditEntries"],
    ),
}


@pytest.fixture
async def scene(database: str) -> Scene:
    return await new_scene()


# Keys as callers


@pytest.mark.parametrize("row", [row for row in rows(MUTATIONS) if any(fnmatch(row, each) for each in NEVER_BY_KEY)])
async def test_what_a_key_may_never_do_is_denied_whatever_its_role_holds(scene: Scene, row: str) -> None:
    everything = await template(scene.project, await role(scene.project, *EVERYTHING, name="all"), "All", position=3)
    key = by_key(scene.owner, await issued_key(everything, scene.owner))
    async with unchanged():
        assert (await mutate(calling(key), row.partition("(")[0], INPUTS[row](scene))).word == "denied"


async def test_a_key_sees_itself_its_holders_requests_there_and_its_one_project(scene: Scene) -> None:
    elsewhere = await new_scene("Elsewhere")
    await role(elsewhere.project, Permission.PROJECT_VIEW, name="everyone", is_public=True)
    holder, key = scene.callers["holder"], scene.callers["key"]
    await issued_key(scene.free, holder)
    await issued_key(elsewhere.free, holder)
    seen = await ask(
        key,
        """query ($project: ID!, $template: ID!) {
          viewer { apiKey { id } keys { nodes { id } } requests { nodes { template { project { name } } } } }
          projects { nodes { name } } project(id: $project) { name } node(id: $template) { id }
        }""",
        project=elsewhere.project.id,
        template=elsewhere.free.id,
    )
    assert seen["viewer"]["apiKey"]["id"] == scene.key.id
    assert seen["viewer"]["keys"]["nodes"] == [{"id": scene.key.id}]
    asked = seen["viewer"]["requests"]["nodes"]
    assert {request["template"]["project"]["name"] for request in asked} == {"Maps"}
    assert len(asked) == 3
    assert seen["projects"]["nodes"] == [{"name": "Maps"}]
    assert (seen["project"], seen["node"]) == (None, None)


async def test_a_key_sees_no_other_key_of_its_holder_behind_a_request(scene: Scene) -> None:
    await issued_key(scene.free, scene.callers["holder"])
    query = "{ viewer { requests(states: [APPROVED]) { nodes { issuedKey { id } } } } }"
    by_the_key = (await ask(scene.callers["key"], query))["viewer"]["requests"]["nodes"]
    assert by_the_key == [{"issuedKey": None}, {"issuedKey": {"id": scene.key.id}}]
    in_person = (await ask(scene.callers["holder"], query))["viewer"]["requests"]["nodes"]
    assert None not in [request["issuedKey"] for request in in_person]


# Public roles


async def test_a_public_role_is_held_by_everyone_signed_in_or_not(scene: Scene) -> None:
    query = (
        "query ($id: ID!) { project(id: $id) { viewerPermissions upstreamUrl secrets { id } members { totalCount } } }"
    )
    await role(scene.project, Permission.PROJECT_VIEW, Permission.GRAPH_VIEW, name="everyone", is_public=True)
    for caller in ("anonymous", "stranger", "holder"):
        seen = (await ask(scene.callers[caller], query, id=scene.project.id))["project"]
        assert seen["viewerPermissions"] == ["PROJECT_VIEW", "GRAPH_VIEW"]
        assert (seen["upstreamUrl"], seen["secrets"], seen["members"]) == (None, None, None)
    told = {caller: (await ask_for_a_key(scene, caller)) for caller in ("anonymous", "stranger")}
    assert told == {"anonymous": "nobody", "stranger": "yes"}


async def ask_for_a_key(scene: Scene, caller: str) -> str:
    return (await mutate(calling(scene.callers[caller]), "keyRequestCreate", {"templateId": scene.free.id})).word


# References


@pytest.mark.parametrize("way", ["key { ... on IssuedKey", "pending { ... on KeyRequest { template"])
async def test_who_reaches_a_project_by_a_reference_reads_its_name_and_nothing_that_needs_a_right(
    scene: Scene, way: str
) -> None:
    variable, _, inside = way.partition(" ")
    query = f"query ($id: ID!) {{ node(id: $id) {inside} {{ project {{ {PROJECT} }} " + "}" * (inside.count("{") + 2)
    data = await ask(scene.callers["holder"], query, id=scene.ids[variable])
    found = data["node"].get("template", data["node"])["project"]
    assert found == BY_REFERENCE


async def test_what_is_deleted_leaves_node_and_lists_and_stays_readable_from_what_refers_to_it(scene: Scene) -> None:
    query = """query ($key: ID!, $template: ID!, $project: ID!) {
      key: node(id: $key) { ... on IssuedKey { name template { name deletedAt fields { name } } project { name } } }
      template: node(id: $template) { id }
      project(id: $project) { templates { name } }
    }"""
    variables = {"key": scene.key.id, "template": scene.template.id, "project": scene.project.id}
    await mutate(calling(scene.owner), "templateDelete", {"templateId": scene.template.id})
    seen = await ask(scene.owner, query, **variables)
    assert seen["key"]["template"]["name"] == "Basic"
    assert seen["key"]["template"]["deletedAt"].endswith("Z")
    assert seen["key"]["template"]["fields"] == [{"name": "project ID"}]
    assert seen["template"] is None
    assert seen["project"]["templates"] == [{"name": "Managing"}, {"name": "Free"}]


async def test_a_deleted_project_is_read_by_its_holders_keys_alone(scene: Scene) -> None:
    await mutate(calling(scene.owner), "projectDelete", {"projectId": scene.project.id})
    query = "query ($id: ID!) { project(id: $id) { name } node(id: $id) { id } projects { totalCount } }"
    for caller in CALLERS[:-2]:
        seen = await ask(scene.callers[caller], query, id=scene.project.id)
        assert seen == {"project": None, "node": None, "projects": {"totalCount": 0}}
    query = f"query ($id: ID!) {{ node(id: $id) {{ ... on IssuedKey {{ state project {{ {PROJECT} }} }} }} }}"
    for caller in ("holder", "owner"):
        key = scene.key if caller == "holder" else scene.owners_key
        seen = (await ask(scene.callers[caller], query, id=key.id))["node"]
        assert seen["project"].pop("deletedAt").endswith("Z")
        assert seen == {"state": "REVOKED", "project": {k: v for k, v in BY_REFERENCE.items() if k != "deletedAt"}}


async def test_what_a_role_permits_on_a_deleted_node_is_gone_with_it(scene: Scene) -> None:
    there = await node(scene.project, "There")
    made = await role(scene.project, name="There", on_nodes={there.id: [Permission.CODE_VIEW]})
    query = (
        "query ($id: ID!) { node(id: $id) { ... on Role { nodePermissions { projectNode { name } permissions } } } }"
    )
    seen = await ask(scene.owner, query, id=made.id)
    assert seen["node"]["nodePermissions"] == [{"projectNode": {"name": "There"}, "permissions": ["CODE_VIEW"]}]
    await mutate(calling(scene.owner), "projectNodeDelete", {"projectNodeId": there.id})
    assert (await ask(scene.owner, query, id=made.id))["node"]["nodePermissions"] == []


# What is somebody's own


async def test_managing_a_project_includes_everything_on_it(scene: Scene) -> None:
    query = "query ($id: ID!) { project(id: $id) { viewerPermissions } }"
    for caller in ("manager", "owner", "managing_key"):
        seen = await ask(scene.callers[caller], query, id=scene.project.id)
        assert seen["project"]["viewerPermissions"] == [permission.name for permission in Permission]


async def test_an_e_mail_is_shown_to_its_owner_and_to_managers_of_what_they_belong_to_or_asked_for(
    scene: Scene,
) -> None:
    """Asked of a member, a holder and an asker whose request was cancelled long ago; of a stranger nobody sees any."""
    stranger = scene.callers["stranger"].require_user()
    query = "query ($id: ID!) { node(id: $id) { ... on User { email } } }"
    assert (await ask(scene.owner, query, id=stranger.id))["node"] is None
    await KeyRequest.create(
        template=scene.free,
        project=scene.project,
        user=stranger,
        requested_at=scene.pending.requested_at,
        decided_at=scene.pending.requested_at,
        state=RequestState.CANCELLED,
    )
    seen = {}
    for caller in CALLERS:
        found = (await ask(scene.callers[caller], query, id=stranger.id))["node"]
        seen[caller] = found and found["email"] is not None
    assert {caller for caller, shown in seen.items() if shown} == {"stranger", "manager", "owner", "managing_key"}
    assert {caller for caller, shown in seen.items() if shown is False} == {"analyst"}


async def test_an_imported_secret_names_its_key_to_those_who_see_the_key(scene: Scene) -> None:
    ours = await new_scene("Ours")
    imported = await secret(ours.project, "maps_token")
    imported.imported_from_id = scene.key.id
    await imported.save()
    query = "query ($id: ID!) { node(id: $id) { ... on Secret { name importedFrom { id } } } }"
    seen = await ask(ours.owner, query, id=imported.id)
    assert seen["node"] == {"name": "maps_token", "importedFrom": None}


# Many at once


async def test_nodes_come_in_the_order_of_their_ids_with_null_for_what_is_not_there(scene: Scene) -> None:
    ids = [scene.key.id, "key_", scene.secret.id, "", "xyz_1", scene.project.id, "\x00", "prj_\ud800"]
    query = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
    found = (await ask(scene.callers["analyst"], query, ids=ids))["nodes"]
    assert found == [
        {"__typename": "IssuedKey", "id": scene.key.id},
        *[None] * 4,
        {"__typename": "Project", "id": scene.project.id},
        *[None] * 2,
    ]
    assert await codes(context_of(scene.owner), query, ids=ids * 20) == {"BAD_INPUT"}


async def test_many_nodes_take_as_many_statements_as_two(scene: Scene) -> None:
    made = [await node(scene.project, f"Node {number}") for number in range(40)]
    counts = []
    for quantity in (2, 40):
        with statements() as sent:
            query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on ProjectNode { name } } }"
            data: Any = await ask(scene.owner, query, ids=[each.id for each in made[:quantity]])
        assert len(data["nodes"]) == quantity
        counts.append(len(sent))
    assert counts[0] == counts[1]


async def test_nobody_is_anybody_without_signing_in(scene: Scene) -> None:
    assert await ask(ANONYMOUS, "{ eventCursor viewer { user { id } } projects { totalCount } }") == {
        "eventCursor": None,
        "viewer": None,
        "projects": {"totalCount": 0},
    }
