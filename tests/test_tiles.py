"""Template tiles as pages ask for them: their state for each who looks, and what they show to whom."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway import clock, keys, projects, requests, templates
from gateway.errors import NotFound
from gateway.events import head
from gateway.permissions import Actor, Permission
from gateway.templates import FieldValue, NewField
from models import KeyState, Project, ProjectNode, Role, Template
from tests.asking import ask
from tests.stage import staged
from tests.statements import statements
from tests.world import ANONYMOUS, issued_key, join, node, owned_project, person, role

VIEW, KEYS_VIEW = Permission.PROJECT_VIEW, Permission.KEYS_VIEW

TILES = """
query ($id: ID!) {
  project(id: $id) {
    templates {
      id name version description createdAt deletedAt pricePerRequest { amount currency }
      project { id } role { name } fields { id name value }
      viewerState viewerRequest { state } viewerKey { id }
      pendingRequestCount requests { totalCount nodes { id } } issuedKeys { totalCount nodes { id } }
    }
  }
}"""
SHOWN = """
query ($id: ID!) {
  project(id: $id) {
    name templates { name role { name } fields { name } issuedKeys { nodes { user { name } } } }
  }
}"""
CREATE = """
mutation ($input: TemplateCreateInput!) {
  templateCreate(input: $input) { template { id fields { id name value } } userErrors { code path } }
}"""
UPDATE_FIELD = """
mutation ($input: TemplateFieldUpdateInput!) {
  templateFieldUpdate(input: $input) { template { version fields { name value } } userErrors { code path } }
}"""


class Scene:
    """Ada owns a project with a node that everyone may see, and one tile on it; Bo and Vera have accounts."""

    ada: Actor
    bo: Actor
    vera: Actor
    project: Project
    node: ProjectNode
    caller: Role
    basic: Template

    async def create(self, name: str) -> Template:
        fields = [NewField("input node ID", FieldValue(node_id=self.node.id))]
        price = Decimal("0.0100")
        return await templates.create(
            self.ada, self.project.id, role_id=self.caller.id, name=name, price_per_request=price, fields=fields
        )

    async def tile(self, actor: Actor) -> dict[str, Any]:
        [only] = (await ask(actor, TILES, id=self.project.id))["project"]["templates"]
        found: dict[str, Any] = only
        return found

    async def state(self, actor: Actor) -> tuple[str, str | None, str | None]:
        """The tile's state, that of the latest request, and the key's id."""
        tile = await self.tile(actor)
        request, key = tile["viewerRequest"], tile["viewerKey"]
        return tile["viewerState"], request and request["state"], key and key["id"]


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.bo, made.vera = await person("Ada"), await person("Bo"), await person("Vera")
    made.project = await owned_project(made.ada)
    made.node, made.caller = await node(made.project), await role(made.project, VIEW)
    await role(made.project, VIEW, name="Everyone", is_public=True)
    made.basic = await made.create("Basic")
    return made


async def test_a_tile_can_be_requested_by_everyone_who_looks(scene: Scene) -> None:
    for actor in (ANONYMOUS, scene.ada, scene.bo):
        assert await scene.state(actor) == ("CAN_REQUEST", None, None)


async def test_a_tile_is_requested_for_the_one_who_asked_while_the_request_is_pending(scene: Scene) -> None:
    request = await requests.create(scene.bo, scene.basic.id)
    assert await scene.state(scene.bo) == ("REQUESTED", "PENDING", None)
    assert await scene.state(scene.vera) == ("CAN_REQUEST", None, None)
    await requests.reject(scene.ada, request.id, "Not now.")
    assert await scene.state(scene.bo) == ("CAN_REQUEST", "REJECTED", None)


async def test_a_tile_is_confirmed_while_a_key_is_active_or_suspended(scene: Scene) -> None:
    key = await issued_key(scene.basic, scene.bo)
    assert await scene.state(scene.bo) == ("CONFIRMED", "APPROVED", key.id)
    await keys.suspend(scene.ada, key.id)
    assert await scene.state(scene.bo) == ("CONFIRMED", "APPROVED", key.id)
    await keys.revoke(scene.ada, key.id)
    assert await scene.state(scene.bo) == ("CAN_REQUEST", "APPROVED", None)


async def test_a_tile_can_be_requested_again_from_the_instant_at_which_the_key_expires(scene: Scene) -> None:
    key = await issued_key(scene.basic, scene.bo, expires_at=clock.now())
    assert key.state is KeyState.ACTIVE  # nobody was told yet
    assert await scene.state(scene.bo) == ("CAN_REQUEST", "APPROVED", None)


async def test_what_needs_a_right_is_null_without_it(scene: Scene) -> None:
    await join(scene.project, scene.vera, await role(scene.project, KEYS_VIEW, name="Analyst"))
    await requests.create(scene.bo, scene.basic.id)
    await issued_key(scene.basic, await person("Cy"))

    async def shown_to(actor: Actor) -> list[Any]:
        tile = await scene.tile(actor)
        counts = [connection and connection["totalCount"] for connection in (tile["requests"], tile["issuedKeys"])]
        return [tile["fields"][0]["value"], tile["pendingRequestCount"], *counts]

    assert await shown_to(scene.ada) == [scene.node.upstream_id, 1, 1, 1]
    assert await shown_to(scene.vera) == [None, 1, 1, 1]
    for actor in (scene.bo, ANONYMOUS):
        assert await shown_to(actor) == [None, None, None, None]
    holder = await person("Dee")
    await issued_key(scene.basic, holder)
    assert (await shown_to(holder))[0] == scene.node.upstream_id


async def test_a_price_is_in_the_currency_of_the_project(scene: Scene) -> None:
    tile = await scene.tile(ANONYMOUS)
    assert tile["pricePerRequest"] == {"amount": "0.01", "currency": "USD"}
    assert (tile["project"]["id"], tile["role"]["name"]) == (scene.project.id, "Caller")


async def test_many_tiles_take_as_many_statements_as_two(scene: Scene) -> None:
    async def count(quantity: int) -> int:
        for number in range(quantity):
            made = await scene.create(f"{quantity} {number}")
            await requests.create(scene.bo, made.id)
            await issued_key(made, scene.ada)
        with statements() as sent:
            await ask(scene.ada, TILES, id=scene.project.id)
        return len(sent)

    assert await count(1) == await count(8)


async def test_tiles_take_a_statement_a_level_to_who_is_known(database_url: str, tmp_path: Path) -> None:
    """The project and its templates are one level, since a project's templates are asked for by the same id."""
    async with staged(database_url, tmp_path, kept_answers_megabytes=0) as stage:
        await stage.key()
        body = {"query": SHOWN, "variables": {"id": stage.project.id}}
        async with asyncio.timeout(60):
            sent, answer = [""] * 4, httpx2.Response(200)
            while len(sent) > 3:  # until the process knows who asks, and what they may do
                with statements() as all_sent:
                    answer = await stage.http.post("/graphql", json=body, headers=stage.ada.caller.headers)
                sent = [each for each in all_sent if "event" not in each]
        [tile] = answer.json()["data"]["project"]["templates"]
        assert [key["user"]["name"] for key in tile["issuedKeys"]["nodes"]] == ["Bo"]
        assert len(sent) == 3


async def test_a_template_is_made_once_under_an_idempotency_key_and_refused_at_its_path(scene: Scene) -> None:
    fields = [
        {"name": "project ID", "value": {"insert": "PROJECT_ID"}},
        {"name": "input node ID", "value": {"nodeId": scene.node.id}},
        {"name": "hint", "value": {"literal": "x"}},
    ]
    wanted = {"projectId": scene.project.id, "roleId": scene.caller.id, "name": "Pro", "fields": fields}

    twice = [await ask(scene.ada, CREATE, input={**wanted, "idempotencyKey": "k"}) for _ in range(2)]
    assert twice[0] == twice[1]
    values = [field["value"] for field in twice[0]["templateCreate"]["template"]["fields"]]
    assert values == [scene.project.id, scene.node.upstream_id, "x"]

    fields[2]["name"] = "project ID"
    refused = await ask(scene.ada, CREATE, input={**wanted, "name": "Max"})
    assert refused["templateCreate"] == {
        "template": None,
        "userErrors": [{"code": "CONFLICT", "path": ["input", "fields", "2", "name"]}],
    }


async def test_a_field_is_changed_in_every_part_and_shown_as_it_now_is(scene: Scene) -> None:
    await templates.add_field(scene.ada, scene.basic.id, NewField("hint", FieldValue(literal="x")))
    field_id = (await scene.tile(scene.ada))["fields"][1]["id"]
    change = {"fieldId": field_id, "name": "tip", "value": {"literal": ""}, "position": 0}
    changed = (await ask(scene.ada, UPDATE_FIELD, input=change))["templateFieldUpdate"]
    assert changed["userErrors"] == []
    assert changed["template"]["version"] == 3
    assert changed["template"]["fields"][0] == {"name": "tip", "value": ""}


async def test_null_is_refused_where_it_clears_nothing(scene: Scene) -> None:
    field_id = (await scene.tile(scene.ada))["fields"][0]["id"]
    refused = await ask(scene.ada, UPDATE_FIELD, input={"fieldId": field_id, "value": None})
    errors = refused["templateFieldUpdate"]["userErrors"]
    assert errors == [{"code": "INVALID", "path": ["input", "value"]}]


@pytest.mark.parametrize("_", range(3))
async def test_no_tile_is_put_on_a_project_that_goes_meanwhile(scene: Scene, _: int) -> None:
    await asyncio.gather(head(), head())  # opens as many connections, so that both begin at once
    made, deleted = await asyncio.gather(
        scene.create("Late"), projects.delete(scene.ada, scene.project.id), return_exceptions=True
    )
    assert deleted == scene.project.id
    gone = (await projects.by_id(scene.ada, [scene.project.id]))[scene.project.id].deleted_at
    assert isinstance(made, NotFound) or (isinstance(made, Template) and gone and made.created_at < gone)
