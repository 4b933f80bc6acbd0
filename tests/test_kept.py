"""An answer is kept for as long as nothing that it hangs on has changed, and given to nobody else."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from graphql import get_named_type, is_composite_type

from gateway import clock, keys, projects, templates
from gateway.events import EventLog
from gateway.revisions import Revisions
from models import Event, IssuedKey
from schema.kept.fields import PAGES, TABLE, UNKEPT, hangs_on
from schema.kept.reach import Reach, Reaches
from schema.kept.store import LARGEST_PART
from schema.transport.operation import Operation
from tests.asking import schema
from tests.callers import Scene, new_scene
from tests.keeping import ANYWHERE, HERE, KeptHere, anew, asked_by
from tests.operations import calling, exported, mutate
from tests.permission_table import INPUTS
from tests.success_table import SUCCESSES

VIEWERS = ("owner", "viewer", "holder", "anonymous")
NAME = "query ($id: ID!) { project(id: $id) { name } }"


@pytest.fixture
async def kept(database: str) -> AsyncIterator[KeptHere]:
    async with EventLog().running() as log:
        kept = KeptHere(log)
        kept.keeping.revisions.begun()
        yield kept


# ---------------------------------------------------------------- what an answer hangs on


def test_the_table_names_every_field_that_a_query_reaches_and_no_other() -> None:
    reached: dict[str, set[str]] = {}
    ahead = ["Query", *(each.name for each in exported().get_implementations(exported().type_map["Node"]).objects)]  # type: ignore[arg-type]  # it is an interface
    while ahead:
        name = ahead.pop()
        if name in reached:
            continue
        reached[name] = set(exported().type_map[name].fields)  # type: ignore[attr-defined]  # what is composite has fields
        inner = [(get_named_type(each.type), field) for field, each in exported().type_map[name].fields.items()]  # type: ignore[attr-defined]  # the same
        ahead += [kind.name for kind, field in inner if is_composite_type(kind) and UNKEPT not in hangs_on(name, field)]
    table = {name: {field for names in kinds.values() for field in names.split()} for name, kinds in TABLE.items()}
    assert table == reached


def reach(query: str, name: str | None = None, **variables: object) -> Reach | None:
    return Reaches(schema()).of(Operation(query, variables, name, None))


def test_a_read_of_projects_by_their_ids_hangs_on_those_alone() -> None:
    assert reach("{ project(id: 5) { name } }") == Reach(frozenset({"5"}), has_clock=False)
    assert reach(NAME, id="a") == Reach(frozenset({"a"}), has_clock=False)
    two = 'query ($id: ID! = "b") { x: project(id: "a") { id } ...F } fragment F on Query { project(id: $id) { id } }'
    assert reach(two) == Reach(frozenset({"a", "b"}), has_clock=False)
    assert reach(two, id="c") == Reach(frozenset({"a", "c"}), has_clock=False)
    assert reach(NAME, id=5) == Reach(None, has_clock=False)
    assert reach("{ viewer { user { name } } __typename }") == Reach(frozenset(), has_clock=False)


def test_a_read_that_reaches_further_hangs_on_everything() -> None:
    for selection in ("secrets { importedFrom { name } }", "members { nodes { user { email } } }"):
        assert reach(f"{{ project(id: 5) {{ {selection} }} }}") == Reach(None, has_clock=False)
    assert reach("{ projects { nodes { name } } }") == Reach(None, has_clock=False)
    assert reach('{ node(id: "a") { ... on Project { name } } }') == Reach(None, has_clock=False)


def test_a_read_of_what_expires_hangs_on_the_clock() -> None:
    for selection in ("templates { viewerState }", "issuedKeys { totalCount }", "templates { fields { value } }"):
        assert reach(f"{{ project(id: 5) {{ {selection} }} }}") == Reach(frozenset({"5"}), has_clock=True)


@pytest.mark.parametrize(
    "query",
    [
        "{ eventCursor project(id: 5) { name } }",
        "{ project(id: 5) { usage(period: {lastDays: 1}) { total { requests } } } }",
        "{ project(id: 5) { auditEntries { totalCount } } }",
        "{ project(id: 5) { issuedKeys(period: {lastDays: 1}) { totalCount } } }",
        "{ project(id: 5) { issuedKeys { nodes { ...K } } } } fragment K on IssuedKey { lastUsedAt }",
        "{ viewer { keys { nodes { allowances { left } } } } }",
        "{ __schema { queryType { name } } }",
    ],
)
def test_what_hangs_on_calls_and_on_the_present_instant_is_never_kept(query: str) -> None:
    assert reach(query) is None


def test_the_documents_of_these_tests_select_all_that_can_be_kept() -> None:
    wanted = {
        f"{name}.{field}"
        for name, kinds in TABLE.items()
        for k, fs in kinds.items()
        if UNKEPT not in k
        for field in fs.split()
    }
    generic = {f"{page}Edge.node" for page in PAGES}
    assert {each for each in wanted if each.rpartition(".")[2] not in HERE + ANYWHERE} - generic == set()
    assert reach(HERE, id="a") == Reach(frozenset({"a"}), has_clock=True)
    assert reach(ANYWHERE, id="a", ids=[]) == Reach(None, has_clock=True)


# ---------------------------------------------------------------- every change


async def pages_of(scene: Scene) -> list[tuple[str, str, dict[str, object]]]:
    """Who asks, and what."""
    everything: dict[str, object] = {"id": scene.project.id, "ids": list(scene.ids.values())}
    pages = ((HERE, {"id": everything["id"]}), (ANYWHERE, everything))
    return [(who, query, variables) for who in VIEWERS for query, variables in pages]


async def change_and_find_stale(kept: KeptHere, row: str) -> list[tuple[str, str]]:
    """Whose answers are given as they were before the mutation, though they are others now."""
    scene, success = await new_scene(), SUCCESSES[row]
    for who, query, variables in await pages_of(scene):
        body = await kept.ask(scene.callers[who], query, **variables)
        assert b'"errors"' not in body, body
        assert await kept.stands(scene.callers[who], query, **variables)
    before = {
        (who, query): await kept.ask(scene.callers[who], query, **variables)
        for who, query, variables in await pages_of(scene)
    }
    context = kept.told(calling(scene.callers[success.caller]))
    told = await mutate(
        context, row.partition("(")[0], INPUTS[row](scene), f"{success.selection} userErrors {{ code path }}"
    )
    assert told.word == "yes"
    return [
        (who, query)
        for who, query, variables in await pages_of(scene)
        if await kept.stands(scene.callers[who], query, **variables)
        and await anew(scene.callers[who], query, **variables) != before[who, query]
    ]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("row", SUCCESSES)
async def test_no_mutation_leaves_an_answer_that_it_made_untrue(kept: KeptHere, row: str) -> None:
    assert await change_and_find_stale(kept, row) == []


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("row", ["templateUpdate", "roleUpdate", "memberSetRoles(owner)", "keyRevoke"])
async def test_were_one_kind_of_event_not_heard_stale_answers_would_be_found(
    kept: KeptHere, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, noun = Revisions._move, row[:3]

    def deaf(revisions: Revisions, event: Event) -> None:
        if event.kind[:3] != noun:
            move(revisions, event)

    monkeypatch.setattr(Revisions, "_move", deaf)
    assert await change_and_find_stale(kept, row) != []


# ---------------------------------------------------------------- for whom, and for how long


async def test_an_answer_is_kept_until_something_of_its_own_project_changes(kept: KeptHere) -> None:
    scene, other = await new_scene(), await new_scene("Charts")
    first = await kept.ask(scene.owner, HERE, id=scene.project.id)
    await projects.update(other.owner, other.project.id, {"name": "Tables"})
    kept.log.wake()
    assert await kept.ask(scene.owner, HERE, id=scene.project.id) == first
    assert (kept.measures.kept_given, kept.measures.kept_made) == (1, 1)
    await projects.update(scene.owner, scene.project.id, {"name": "Plans"})
    kept.log.wake()
    assert b"Plans" in await kept.ask(scene.owner, HERE, id=scene.project.id)
    assert (kept.measures.kept_given, kept.measures.kept_made) == (1, 2)


async def test_nobody_is_given_what_was_kept_for_another(kept: KeptHere) -> None:
    scene = await new_scene()
    for who, caller in scene.callers.items():
        assert await kept.ask(caller, HERE, id=scene.project.id) == await anew(caller, HERE, id=scene.project.id), who
    assert kept.measures.kept_given == 0


async def test_other_variables_are_another_question(kept: KeptHere) -> None:
    scene, other = await new_scene(), await new_scene("Charts")
    assert await kept.ask(scene.owner, NAME, id=scene.project.id) == b'{"data":{"project":{"name":"Maps"}}}'
    assert await kept.ask(scene.owner, NAME, id=other.project.id) == b'{"data":{"project":null}}'


async def test_an_answer_is_kept_no_longer_than_until_a_key_of_its_project_expires(
    kept: KeptHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing tells of that yet."""
    scene, now = await new_scene(), clock.now()
    await IssuedKey.filter(id=scene.key.id).update(expires_at=now + timedelta(hours=1))
    await kept.ask(scene.owner, HERE, id=scene.project.id)
    assert await kept.stands(scene.owner, HERE, id=scene.project.id)
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(hours=1))
    assert not await kept.stands(scene.owner, HERE, id=scene.project.id)


async def test_a_key_that_expired_while_an_answer_was_made_is_not_kept_in_it(kept: KeptHere) -> None:
    scene, now = await new_scene(), clock.now()
    await IssuedKey.filter(id=scene.key.id).update(expires_at=now)
    begun_before = kept.keeping.moment()._replace(at=now - timedelta(seconds=1))
    await kept.answer(asked_by(scene.owner, HERE, {"id": scene.project.id}, begun_before))
    assert not await kept.stands(scene.owner, HERE, id=scene.project.id)


async def test_what_changes_while_an_answer_is_made_is_seen_by_the_next(kept: KeptHere) -> None:
    scene = await new_scene()
    asked = asked_by(scene.owner, NAME, {"id": scene.project.id}, kept.keeping.moment())
    made = await anew(scene.owner, NAME, id=scene.project.id)
    await projects.update(scene.owner, scene.project.id, {"name": "Plans"})
    kept.log.wake()
    await kept.log.settled()
    assert made != await kept.answer(asked)
    assert not await kept.stands(scene.owner, NAME, id=scene.project.id)


async def test_a_log_that_goes_on_from_somewhere_else_has_nothing_kept(kept: KeptHere) -> None:
    scene = await new_scene()
    await kept.ask(scene.owner, NAME, id=scene.project.id)
    kept.keeping.revisions.begun()
    assert not await kept.stands(scene.owner, NAME, id=scene.project.id)


async def test_an_answer_with_errors_is_not_kept(kept: KeptHere) -> None:
    scene = await new_scene()
    query = "query ($id: ID!) { project(id: $id) { name requests(first: 0) { totalCount } } }"
    assert b"BAD_INPUT" in await kept.ask(scene.owner, query, id=scene.project.id)
    assert len(kept.keeping.store) == 0


async def test_what_is_kept_stays_within_its_room_and_the_last_that_were_given_stay(database: str) -> None:
    scene = await new_scene()
    async with EventLog().running() as log:
        kept = KeptHere(log, limit_bytes=20_000)
        for number in range(100):
            await kept.ask(scene.owner, f"{NAME} # {number}", id=scene.project.id)
            await kept.ask(scene.owner, f"{NAME} # 0", id=scene.project.id)
        assert kept.measures.kept_bytes <= 20_000
        assert kept.measures.kept_evicted == 100 - len(kept.keeping.store)
        assert kept.measures.kept_made == 100
        assert kept.measures.kept_given == 100
        await kept.ask(scene.owner, f"{NAME} # {'x' * (20_000 // LARGEST_PART)}", id=scene.project.id)
        assert kept.measures.kept_made == 101
        assert await kept.stands(scene.owner, f"{NAME} # 0", id=scene.project.id)


async def test_the_next_expiry_is_that_of_a_key_that_lives(kept: KeptHere) -> None:
    scene, now = await new_scene(), clock.now()
    in_an_hour, in_two = now + timedelta(hours=1), now + timedelta(hours=2)
    await IssuedKey.filter(id=scene.key.id).update(expires_at=in_two)
    await IssuedKey.filter(id=scene.owners_key.id).update(expires_at=in_an_hour)
    assert await keys.next_expiry(now, [scene.project.id]) == in_an_hour
    assert await keys.next_expiry(in_an_hour, None) == in_two
    assert await keys.next_expiry(now, ["another"]) is None
    await keys.revoke(scene.owner, scene.owners_key.id)
    assert await keys.next_expiry(now, [scene.project.id]) == in_two
    await templates.delete(scene.owner, scene.free.id)
    assert await keys.next_expiry(in_two, [scene.project.id]) is None
