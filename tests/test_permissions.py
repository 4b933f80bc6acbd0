"""Every caller is answered as the table of permissions says, and whoever is refused has changed nothing."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLObjectType
from tortoise.transactions import in_transaction

from gateway import events
from gateway.events import Cursors
from gateway.permissions import GATEWAY, Actor
from tests.asking import answer_to, context_of
from tests.callers import CALLERS, Scene, new_scene
from tests.operations import Told, calling, elsewhere, exported, fields_of, mutate, read, reading, watch
from tests.permission_table import INPUTS, MUTATIONS, READS, rows
from tests.world import ANONYMOUS, SEALER, unchanged

MAY, SEE = rows(MUTATIONS), rows(READS)
WATCHED = {row for row in SEE if row.startswith("Subscription.")}
APART = {"signIn", "signUp", "signOut", "passwordChange", "projectCreate", "keyRequestCreate"}
"""What one caller does of these stands in no other's way."""
GATED = re.compile(r"\bNeeds [A-Z]|\bNull (unless|without)\b")


async def do(scene: Scene, row: str, caller: str) -> Told:
    return await mutate(calling(scene.callers[caller]), name_of(row), INPUTS[row](scene))


def name_of(row: str) -> str:
    """Of the operation, without the case."""
    return row.partition("(")[0]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("row", MAY)
async def test_a_mutation_is_for_those_of_the_table_and_a_denial_changes_nothing(row: str) -> None:
    scene, told = await new_scene(), dict[str, str]()
    for caller, word in MAY[row].items():
        if word != "yes":
            async with unchanged():
                told[caller] = (await do(scene, row, caller)).word
        else:
            told[caller] = (await do(scene if row in APART else await new_scene(), row, caller)).word
    assert told == MAY[row]


@pytest.mark.usefixtures("database")
async def test_a_field_is_seen_by_those_of_the_table() -> None:
    scene = await new_scene()
    await tell(scene, GATEWAY)
    told = {
        row: {caller: await read(scene.callers[caller], reading(row), scene.ids) for caller in CALLERS}
        for row in SEE.keys() - WATCHED
    }
    assert told == {row: SEE[row] for row in told}


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("row", sorted(WATCHED))
async def test_a_subscription_is_for_those_of_the_table(row: str) -> None:
    scene, told = await new_scene(), dict[str, str]()
    for caller, actor in scene.callers.items():
        await tell(scene, actor)
        variables: dict[str, Any] = scene.ids | {"after": Cursors(SEALER).give(0)}
        told[caller] = Told(await watch(context_of(actor), reading(row), variables)).word
    assert told == SEE[row]


async def tell(scene: Scene, whose: Actor) -> None:
    """An event on the project, and one on a request that is this caller's as far as the log knows."""
    async with in_transaction():
        await events.append(GATEWAY, "template.created", scene.template.id, project_id=scene.project.id)
        await events.append(
            GATEWAY, "request.created", scene.pending.id, project_id=scene.project.id, user_id=whose.user_id
        )


def test_every_operation_and_every_field_that_needs_a_right_has_its_row() -> None:
    roots = {f"{kind}.{field}" for kind in ("Query", "Subscription") for field in fields_of(kind)}
    gated = {f"{kind}.{field}" for kind, field, description in described_fields() if GATED.search(description)}
    assert {name_of(row) for row in MAY} == set(fields_of("Mutation"))
    assert roots | gated <= {name_of(row) for row in SEE}
    assert len(gated) == 14
    assert MAY.keys() == INPUTS.keys()


def described_fields() -> Iterator[tuple[str, str, str]]:
    """Of the types that hang below the roots."""
    schema = exported()
    for name, kind in schema.type_map.items():
        if isinstance(kind, GraphQLObjectType) and kind not in {schema.query_type, schema.mutation_type}:
            yield from ((name, field, declared.description or "") for field, declared in kind.fields.items())


NAMING = [row for row in MAY if MAY[row]["stranger"] == "absent"]


@pytest.mark.usefixtures("database")
async def test_a_stranger_can_not_tell_what_is_forbidden_from_what_is_not_there() -> None:
    """Byte for byte, but for the request's id; nor can a key, of what is on another project than its own."""
    ours, theirs = await new_scene(), await new_scene("Theirs")
    async with unchanged():
        for actor in (ours.callers["stranger"], theirs.callers["key"], theirs.callers["managing_key"]):
            for row in NAMING:
                input = INPUTS[row](ours)
                there = await mutate(calling(actor), name_of(row), input)
                nowhere = await mutate(calling(actor), name_of(row), elsewhere(input))
                assert (row, there.text) == (row, nowhere.text)
                assert there.word in {"absent", "denied" if actor.issued_key else "absent"}


@pytest.mark.usefixtures("database")
async def test_what_may_not_be_seen_reads_as_what_is_not_there() -> None:
    ours, theirs = await new_scene(), await new_scene("Theirs")
    nowhere = elsewhere(ours.ids)
    others = [theirs.callers[name] for name in ("owner", "key", "managing_key")]
    for actor in (ANONYMOUS, ours.callers["stranger"], *others):
        for row in SEE.keys() - WATCHED:
            there = Told(await answer_to(context_of(actor), reading(row), **ours.ids))
            assert (row, there.text) == (row, Told(await answer_to(context_of(actor), reading(row), **nowhere)).text)
