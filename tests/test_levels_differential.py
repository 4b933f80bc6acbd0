"""Random operations of every kind of caller, run level by level and the ordinary way: the answers are the same."""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from graphql import build_schema
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from tortoise.models import Model

import models
from gateway import audit, clock, counting
from gateway.permissions import Actor, Permission
from gateway.settings import Settings
from models import IssuedKey, KeyRequest, KeyState, RequestState, RouteRule, Template, TemplateField
from models.fields import named
from schema.context import Context, Services
from schema.root import build
from schema.transport.documents import LimitedSchema
from schema.transport.execution import answer
from schema.transport.operation import Operation
from tests.asking import context_of
from tests.callers import Scene, new_scene
from tests.crowd import new_crowd
from tests.dressing import Asked, Known, documents, dressed
from tests.world import issued_key, join, node, role

NOW = datetime(2026, 5, 5, 12, 34, 56, 789012, tzinfo=UTC)
ROWS: dict[str, type[Model]] = {
    "User": models.User,
    "Project": models.Project,
    "ProjectNode": models.ProjectNode,
    "Role": models.Role,
    "Member": models.Member,
    "KeyTemplate": Template,
    "TemplateField": TemplateField,
    "KeyRequest": KeyRequest,
    "IssuedKey": IssuedKey,
    "Secret": models.Secret,
}
DRESSES = 10
OPERATIONS = int(os.environ.get("TESSERA_DIFFERENTIAL", "500"))
"""On each database. 50,000 take an hour."""

over_documents = settings(
    max_examples=OPERATIONS // DRESSES,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to make a difference smaller takes minutes, for little
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


PROMISED = build_schema((Path(__file__).parent.parent / "graphql" / "schema.graphql").read_text())


@cache
def schema(execution: str) -> LimitedSchema:
    return build(Settings(execution=execution, max_depth=30, max_aliases=200, max_root_fields=50, max_directives=500))  # type: ignore[arg-type]  # one of its words


@dataclass
class World:
    callers: dict[str, Actor] = field(repr=False)
    known: Known = field(repr=False)
    services: Services = field(repr=False)
    ran: Counter[str] = field(default_factory=Counter)

    def context(self, actor: Actor) -> Context:
        context = Context(actor=actor, request_id="the same", address="127.0.0.1", services=self.services)
        context.now = NOW
        return context

    async def answer(self, execution: str, actor: Actor, asked: Asked) -> dict[str, Any]:
        operation = Operation(asked.text, asked.variables, None, None)
        return (await answer(schema(execution), operation, self.context(actor))).body


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
async def world(at_rest: None, database: str) -> World:
    """Three projects, with some of everything that may be asked for, in every state."""
    maps, elsewhere, crowd = await new_scene(), await new_scene("Elsewhere"), await new_crowd()
    await role(elsewhere.project, Permission.PROJECT_VIEW, name="everyone", is_public=True)
    await crowd.grow(4)
    for scene in (maps, elsewhere):
        await fill(scene)
    await join(elsewhere.project, maps.callers["analyst"], elsewhere.roles["manager"])
    callers = {**maps.callers, **crowd.callers, "elsewhere": elsewhere.callers["manager"]}
    return World(callers, await known(), context_of(maps.owner).services)


async def fill(scene: Scene) -> None:
    people = scene.callers
    here: dict[str, Any] = {"project": scene.project}
    inner = await node(scene.project, "Inner")
    gone = await node(scene.project, "Gone")
    gone.deleted_at = NOW - timedelta(days=1)
    await gone.save()
    await role(
        scene.project,
        Permission.PROJECT_VIEW,
        name="nodes",
        cost_coefficient="1.5",
        on_nodes={inner.id: [Permission.PACKAGE_VIEW, Permission.CODE_VIEW], gone.id: [Permission.PACKAGE_VIEW]},
    )
    for place, found in enumerate((inner, gone)):
        await TemplateField.create(
            template=scene.template, name=f"node {place}", value="old", node=found, position=place + 1
        )
    deleted = await Template.create(
        **here, role=scene.roles["viewer"], position=9, deleted_at=NOW - timedelta(hours=3), **named("Deleted")
    )
    states: tuple[dict[str, Any], ...] = (
        {"expires_at": NOW},
        {"expires_at": NOW - timedelta(days=1), "state": KeyState.EXPIRED},
        {"revoked_at": NOW - timedelta(hours=2), "state": KeyState.REVOKED, "revoked_by": scene.owner.user},
    )
    whose = (people["stranger"], people["analyst"], people["editor"])
    keys = [await issued_key(deleted, who, **columns) for who, columns in zip(whose, states, strict=True)]
    for who, state in zip(whose, (RequestState.REJECTED, RequestState.CANCELLED, RequestState.PENDING), strict=True):
        is_pending, is_rejected = state is RequestState.PENDING, state is RequestState.REJECTED
        await KeyRequest.create(
            **here,
            template=scene.template,
            user=who.user,
            state=state,
            requested_at=NOW - timedelta(days=2),
            decided_at=None if is_pending else NOW,
            decided_by=None if is_pending else scene.owner.user,
            reason="no" if is_rejected else None,
        )
    for position, (method, permission) in enumerate((("GET", "project_view"), ("*", "package_create"))):
        await RouteRule.create(
            **here, position=position, method=method, pattern=f"/{position}/*", permission=permission
        )
    await use([scene.key, scene.owners_key, *keys])
    for number in range(3):
        about = (scene.key.id, scene.secret.id, scene.project.id)[number]
        await audit.enter(scene.owner, f"act.{number}", about, scene.project.id, NOW - timedelta(minutes=number))


async def use(keys: list[IssuedKey]) -> None:
    """Calls at odd instants of three days."""
    at = [NOW - timedelta(minutes=97 * number, microseconds=number) for number in range(40)]
    cost = "0.0025000001"
    calls = [
        counting.Call(keys[number % len(keys)].id, instant, Decimal(cost) * number) for number, instant in enumerate(at)
    ]
    await counting.record(calls)
    await counting.refuse(counting.Refused(key.id, NOW - timedelta(hours=5)) for key in keys)


async def known() -> Known:
    ids = {}
    for name, row in ROWS.items():
        ids[name] = [str(id) for id in await row.all().order_by("id").values_list("id", flat=True)]
    days = [NOW - timedelta(days=days) for days in (3, 2, 1, 0)]
    hours = [instant.replace(minute=0, second=0, microsecond=0) for instant in days]
    return Known(ids, [instant.isoformat().replace("+00:00", "Z") for instant in (*days, *hours)])


def remember_cursors(known: Known, value: Any, name: str = "") -> None:
    """Those that an answer gave, by the field that gave them."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in {"cursor", "startCursor", "endCursor"} and isinstance(each, str):
                known.cursors[name] = [*known.cursors.get(name, ())[-5:], each]
            else:
                remember_cursors(known, each, name if key in {"pageInfo", "edges"} else key)
    elif isinstance(value, list):
        for each in value[:2]:
            remember_cursors(known, each, name)


def told(body: dict[str, Any]) -> list[str]:
    """The errors of an answer, in an order of their own: who waits for whom decides which comes first."""
    return sorted(orjson.dumps(error, option=orjson.OPT_SORT_KEYS).decode() for error in body.get("errors", ()))


async def differ(world: World, who: str, asked: Asked) -> None:
    """Fails unless both ways answer alike."""
    note(f"{who}: {asked.text}\n{asked.variables}")
    levels = await world.answer("levels", world.callers[who], asked)
    ordinary = await world.answer("ordinary", world.callers[who], asked)
    assert orjson.dumps(levels.get("data")) == orjson.dumps(ordinary.get("data"))
    assert told(levels) == told(ordinary)
    assert "INTERNAL" not in {error["extensions"]["code"] for error in ordinary.get("errors", ())}
    assert ("data" in levels) == ("data" in ordinary)
    remember_cursors(world.known, ordinary.get("data"))
    world.ran["whole" if "errors" not in ordinary else "with errors" if ordinary.get("data") else "nothing"] += 1


@over_documents
@given(document=documents(PROMISED), seed=st.integers(0, 2**32))
async def test_every_operation_has_the_same_answer_level_by_level_as_the_ordinary_way(
    world: World, document: Any, seed: int
) -> None:
    callers = list(world.callers)
    for number in range(DRESSES):
        asked = dressed(PROMISED, document, world.known, seed + number)
        await differ(world, callers[(seed + number) % len(callers)], asked)
