"""A project's route rules: replaced as a whole, read by those who manage it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway import projects, routes
from gateway.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, Unauthenticated
from gateway.permissions import EVERYTHING, Actor, Permission
from gateway.routing import RouteRule, Routes
from models import Project
from tests.asking import ask
from tests.gatehouse import gatehouse, settings_of
from tests.statements import statements
from tests.world import ANONYMOUS, by_key, issued_key, join, owned_project, person, refused, role, template, told

JOBS = [
    RouteRule("POST", "/jobs/{node}", Permission.PACKAGE_CREATE),
    RouteRule("*", "/jobs/**", Permission.CODE_EDIT),
    RouteRule("GET", "/ключи и больше/*", Permission.KEYS_VIEW),
]


class Scene:
    """Ada owns a project without rules that Vera may see."""

    ada: Actor
    vera: Actor
    project: Project

    async def replace(self, rules: Sequence[RouteRule] = JOBS, actor: Actor | None = None) -> Project:
        return await routes.replace(actor or self.ada, self.project.id, rules)

    async def stored(self) -> list[RouteRule]:
        found = (await routes.by_project(self.ada, [self.project.id]))[self.project.id]
        return [RouteRule(rule.method, rule.pattern, Permission(rule.permission)) for rule in found]


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.vera = await person("Ada"), await person("Vera")
    made.project = await owned_project(made.ada)
    await join(made.project, made.vera, await role(made.project, Permission.PROJECT_VIEW, name="Viewer"))
    return made


def rule(method: str = "GET", pattern: str = "/a") -> RouteRule:
    return RouteRule(method, pattern, Permission.CODE_VIEW)


async def test_rules_are_kept_in_their_order_and_told_once(scene: Scene) -> None:
    assert (await scene.replace()).id == scene.project.id
    assert await scene.stored() == JOBS
    assert await told() == [("project.updated", scene.project.id)]
    need = Routes(await scene.stored()).need("POST", ("jobs", "7"))
    assert need
    assert (need.permission, need.node) == (Permission.PACKAGE_CREATE, "7")


async def test_rules_are_replaced_as_a_whole(scene: Scene) -> None:
    await scene.replace()
    await scene.replace(JOBS[:0:-1])
    assert await scene.stored() == JOBS[:0:-1]
    await scene.replace([])
    assert await scene.stored() == []


async def test_of_those_who_replace_at_once_one_is_last_and_nothing_is_mixed(scene: Scene) -> None:
    lists = [[rule(pattern=f"/{writer}/{number}") for number in range(3)] for writer in range(4)]
    await asyncio.gather(*map(scene.replace, lists))
    assert await scene.stored() in lists
    assert await told() == [("project.updated", scene.project.id)] * 4


async def test_rules_are_of_their_project_alone(scene: Scene) -> None:
    await scene.replace()
    other = await owned_project(scene.ada, "Words")
    await routes.replace(scene.ada, other.id, [rule()])
    found = await routes.by_project(scene.ada, [scene.project.id, other.id])
    assert {project_id: len(rules) for project_id, rules in found.items()} == {scene.project.id: 3, other.id: 1}


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ([rule("get")], ("0", "method")),
        ([rule(), rule("POST", "a")], ("1", "pattern")),
        ([rule(pattern="/*"), rule("HEAD", "/b"), rule("GET", "/c/")], ("1", "pattern")),
        ([rule(pattern="/\ud800")], ("0", "pattern")),
        ([rule(pattern="/\x00")], ("0", "pattern")),
        ([rule("x" * 17)], ("0", "method")),
    ],
)
async def test_the_first_rule_that_could_never_decide_is_told(
    scene: Scene, rules: list[RouteRule], path: tuple[str, str]
) -> None:
    await scene.replace()
    async with refused(Invalid, "rules", *path):
        await scene.replace(rules)


async def test_a_project_has_at_most_200_rules_of_1000_characters(scene: Scene) -> None:
    most = [rule(pattern=f"/{number:03}" + "ж" * 996) for number in range(200)]
    await scene.replace(most)
    assert await scene.stored() == most
    async with refused(LimitExceeded, "rules"):
        await scene.replace([*most, rule()])


async def test_rules_are_set_by_those_who_manage_the_project_in_person(scene: Scene) -> None:
    all_of_it = await role(scene.project, *EVERYTHING, name="All")
    key = by_key(scene.ada, await issued_key(await template(scene.project, all_of_it), scene.ada))
    stranger = await person("Bo")
    for actor, refusal, *path in (
        (ANONYMOUS, Unauthenticated),
        (scene.vera, Forbidden),
        (key, Forbidden),
        (stranger, NotFound, "projectId"),
    ):
        async with refused(refusal, *path):
            await scene.replace(actor=actor)
        async with refused(refusal, *path):
            await scene.replace([rule("get")], actor)
        assert await routes.by_project(actor, [scene.project.id]) == {}


async def test_a_deleted_project_has_no_rules_to_set_or_read(scene: Scene) -> None:
    await scene.replace()
    await projects.delete(scene.ada, scene.project.id)
    async with refused(NotFound, "projectId"):
        await scene.replace([])
    async with refused(NotFound, "projectId"):
        await routes.replace(scene.ada, "prj_none", [])
    assert await routes.by_project(scene.ada, [scene.project.id]) == {}


async def test_rules_of_many_projects_take_as_many_statements_as_those_of_one(scene: Scene) -> None:
    query = "{ projects(first: 50) { nodes { routeRules { pattern permission } } } }"
    with statements() as for_one:
        assert (await ask(scene.ada, query))["projects"]["nodes"] == [{"routeRules": []}]
    for number in range(11):
        other = await owned_project(scene.ada, f"P{number}")
        await routes.replace(scene.ada, other.id, JOBS[:1])
    with statements() as for_many:
        found = (await ask(scene.ada, query))["projects"]["nodes"]
    rules = [{"pattern": "/jobs/{node}", "permission": "PACKAGE_CREATE"}]
    assert found == [{"routeRules": rules}] * 11 + [{"routeRules": []}]
    assert len(for_many) == len(for_one)


async def test_rules_hold_from_the_next_call_on(database_url: str, tmp_path: Path) -> None:
    async with gatehouse(settings_of(tmp_path, database_url)) as house:

        async def told_of(*targets: str) -> list[int]:
            calls = (target.split() for target in targets)
            return [(await house.authorize(method, target)).status_code for method, target in calls]

        prefix = f"/api/projects/{house.project.id}"
        calls = (f"POST {prefix}/jobs/readings", f"POST {prefix}/jobs/other", f"GET {prefix}/DATA_layers")
        assert await told_of(*calls) == [403, 403, 200]
        stricter = RouteRule("GET", "/data_layers/**", Permission.CODE_VIEW)
        await routes.replace(house.owner, house.project.id, [*JOBS[:1], stricter])
        assert await told_of(*calls) == [200, 403, 403]
        spelt = (
            "/data_layers/../data_layers",
            "/x/..%2Fdata_layers",
            "/data_layers;x",
            "//data_layers",
            "/data_layers/",
        )
        assert await told_of(*(f"GET {prefix}{target}" for target in spelt)) == [400] * 5
        assert await told_of(f"GET {prefix.upper()}/data_layers", f"GET {prefix}/%64ata_layers") == [403, 403]
        await routes.replace(house.owner, house.project.id, [])
        assert await told_of(*calls) == [403, 403, 200]


async def test_rules_over_a_project_that_somebody_else_changed_are_a_conflict(scene: Scene) -> None:
    await projects.update(scene.ada, scene.project.id, {"name": "Charts"}, 1)
    async with refused(Conflict, "expectedVersion"):
        await routes.replace(scene.ada, scene.project.id, JOBS, 1)
    assert (await routes.replace(scene.ada, scene.project.id, JOBS, 2)).version == 3
    async with refused(Conflict, "expectedVersion"):
        await routes.replace(scene.ada, scene.project.id, [], 2)
    assert await scene.stored() == JOBS
