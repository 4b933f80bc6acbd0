"""A mutation that is sent again under its idempotency key is done once, whatever became of the first answer."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gateway import clock
from gateway.permissions import Actor
from models import AuditEntry, IdempotentAct, IssuedKey, KeyState, Member, Role
from tests.callers import Scene, new_scene
from tests.operations import Told, calling, members_of_input, mutate
from tests.permission_table import INPUTS
from tests.success_table import SUCCESSES
from tests.world import ANONYMOUS, by_key, unchanged

REPEATABLE = [row for row in SUCCESSES if "idempotencyKey" in members_of_input(row.partition("(")[0])]


@pytest.fixture
async def scene(database: str) -> Scene:
    return await new_scene()


async def do(
    actor: Actor, row: str, input: dict[str, Any], selection: str | None = None, idempotency_key: str = "once"
) -> Told:
    return await mutate(calling(actor), row.partition("(")[0], input | {"idempotencyKey": idempotency_key}, selection)


async def make_role(
    scene: Scene, name: str = "Guest", actor: Actor | None = None, idempotency_key: str = "once"
) -> Told:
    input = INPUTS["roleCreate"](scene) | {"name": name}
    return await do(actor or scene.owner, "roleCreate", input, idempotency_key=idempotency_key)


@pytest.mark.parametrize("row", [row for row in REPEATABLE if row != "keyRotate"])
async def test_a_repeat_with_the_same_input_changes_nothing_and_answers_alike(scene: Scene, row: str) -> None:
    success, input = SUCCESSES[row], INPUTS[row](scene)
    actor, selection = scene.callers[success.caller], f"{success.selection} userErrors {{ code path }}"
    first = await do(actor, row, input, selection)
    async with unchanged():
        again = await do(actor, row, input, selection)
    assert (first.refusals, again.body) == ([], first.body)


async def test_a_repeated_rotation_gives_the_same_token_and_is_audited_as_a_reading(scene: Scene) -> None:
    holder, input = scene.callers["holder"], INPUTS["keyRotate"](scene)
    first, again = await do(holder, "keyRotate", input), await do(holder, "keyRotate", input)
    assert first.body == again.body
    assert (await IssuedKey.get(id=scene.key.id)).generation == scene.key.generation + 1
    acts = await AuditEntry.filter(object_id=scene.key.id, user_id=holder.user_id).order_by("id")
    assert [entry.action for entry in acts] == ["key.rotated", "key.revealed"]


async def test_a_repeated_rotation_gives_no_token_of_a_key_that_has_ended_since(scene: Scene) -> None:
    holder, input = scene.callers["holder"], INPUTS["keyRotate"](scene)
    await do(holder, "keyRotate", input)
    now = clock.now()
    await IssuedKey.filter(id=scene.key.id).update(state=KeyState.REVOKED, revoked_at=now, revoked_by_id=holder.user_id)
    async with unchanged():
        assert (await do(holder, "keyRotate", input)).refusals == [("CONFLICT", "keyId")]


async def test_a_repeat_answers_with_the_object_as_it_now_stands(scene: Scene) -> None:
    first = await make_role(scene)
    made = (first.payload or {})["role"]["id"]
    await do(scene.owner, "roleUpdate", {"roleId": made, "name": "Visitor"})
    again = await do(
        scene.owner, "roleCreate", INPUTS["roleCreate"](scene), "role { id name version } userErrors { code }"
    )
    assert again.payload == {"role": {"id": made, "name": "Visitor", "version": 2}, "userErrors": []}


async def test_a_repeat_with_another_input_is_a_conflict(scene: Scene) -> None:
    await make_role(scene)
    async with unchanged():
        assert (await make_role(scene, "Visitor")).refusals == [("CONFLICT", "idempotencyKey")]


async def test_the_same_number_or_instant_written_otherwise_is_the_same_input(scene: Scene) -> None:
    price = INPUTS["templateUpdate"](scene)
    assert (await do(scene.owner, "templateUpdate", price | {"pricePerRequest": "1.50"})).word == "yes"
    async with unchanged():
        assert (await do(scene.owner, "templateUpdate", price | {"pricePerRequest": "1.5"})).word == "yes"
    expiry = INPUTS["keyRequestApprove"](scene)
    assert (await do(scene.owner, "keyRequestApprove", expiry | {"expiresAt": "2100-01-01T00:00:00Z"})).word == "yes"
    async with unchanged():
        told = await do(scene.owner, "keyRequestApprove", expiry | {"expiresAt": "2100-01-01T05:00:00+05:00"})
    assert told.word == "yes"


async def test_an_absent_member_and_a_null_one_are_two_inputs(scene: Scene) -> None:
    role = {"roleId": scene.spare.id}
    await do(scene.owner, "roleUpdate", role)
    assert (await do(scene.owner, "roleUpdate", role | {"description": None})).refusals == [
        ("CONFLICT", "idempotencyKey")
    ]


async def test_a_refusal_is_not_remembered(scene: Scene) -> None:
    async with unchanged():
        assert (await make_role(scene, "spare")).refusals == [("CONFLICT", "name")]
    await Role.filter(id=scene.spare.id).update(deleted_at=clock.now())
    assert (await make_role(scene, "spare")).refusals == []


async def test_a_repeat_at_the_same_time_waits_for_the_first(scene: Scene) -> None:
    told = await asyncio.gather(*(make_role(scene) for _ in range(4)))
    assert [each.word for each in told] == ["yes"] * 4
    assert len({each.text for each in told}) == 1
    assert await Role.filter(name="Guest").count() == 1


async def test_a_repeat_at_the_same_time_as_one_that_is_refused_is_refused_for_itself(scene: Scene) -> None:
    told = await asyncio.gather(*(make_role(scene, "spare") for _ in range(3)))
    assert [each.refusals for each in told] == [[("CONFLICT", "name")]] * 3


async def test_after_the_loss_of_rights_a_repeat_finds_nothing(scene: Scene) -> None:
    manager = scene.callers["manager"]
    rows = ("roleCreate", "templateUpdate", "secretCreate", "keyRequestApprove", "memberSetRoles", "keySuspend")
    for row in rows:
        assert (await do(manager, row, INPUTS[row](scene))).word == "yes"
    await Member.filter(user_id=manager.user_id).update(deleted_at=clock.now())
    async with unchanged():
        assert {row: (await do(manager, row, INPUTS[row](scene))).word for row in rows} == dict.fromkeys(rows, "absent")


async def test_a_repeat_of_what_is_gone_since_finds_nothing(scene: Scene) -> None:
    made = (await make_role(scene)).payload or {}
    await do(scene.owner, "roleDelete", {"roleId": made["role"]["id"]})
    async with unchanged():
        assert (await make_role(scene)).word == "absent"


async def test_an_idempotency_key_is_its_viewers_and_its_mutations_own(scene: Scene) -> None:
    manager, key, holder = scene.callers["manager"], scene.callers["key"], scene.callers["holder"]
    assert (await make_role(scene, "Guest")).word == "yes"
    assert (await make_role(scene, "Visitor", manager)).word == "yes"
    assert (await do(scene.owner, "secretCreate", INPUTS["secretCreate"](scene))).word == "yes"
    assert (await do(key, "keyRequestCreate", INPUTS["keyRequestCreate"](scene))).word == "yes"
    assert (await do(holder, "keyRequestCreate", INPUTS["keyRequestCreate"](scene))).word == "absent"
    assert await Role.filter(name__in=["Guest", "Visitor"]).count() == 2


async def test_a_key_does_not_repeat_in_person_acts_of_its_holder(scene: Scene) -> None:
    await make_role(scene)
    async with unchanged():
        assert (await make_role(scene, actor=by_key(scene.owner, scene.owners_key))).word == "denied"


async def test_after_24_hours_it_is_done_again(scene: Scene) -> None:
    await make_role(scene)
    await IdempotentAct.all().update(created_at=clock.now() - timedelta(hours=24, seconds=1))
    assert (await make_role(scene)).refusals == [("CONFLICT", "name")]
    assert (await make_role(scene, "Visitor")).word == "yes"


@pytest.mark.parametrize("idempotency_key", ["", "x" * 256, "a\x00b", "\ud800"])
async def test_an_idempotency_key_that_can_not_be_kept_is_invalid(scene: Scene, idempotency_key: str) -> None:
    async with unchanged():
        told = await make_role(scene, idempotency_key=idempotency_key)
    assert told.refusals == [("INVALID", "idempotencyKey")]


async def test_nobody_repeats_anything_without_signing_in(scene: Scene) -> None:
    async with unchanged():
        assert (await make_role(scene, actor=ANONYMOUS)).word == "nobody"
