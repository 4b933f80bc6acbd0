"""What each mutation refuses changes nothing and names the member at fault; what it does is told and can be read."""

import pytest

from gateway import events
from tests.asking import context_of
from tests.callers import new_scene
from tests.operations import calling, mutate
from tests.permission_table import INPUTS
from tests.refusal_table import REFUSALS, changed
from tests.success_table import SUCCESSES
from tests.world import told, unchanged

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize("row", SUCCESSES)
async def test_a_mutation_answers_with_what_it_did_and_tells_of_it(row: str) -> None:
    scene, success = await new_scene(), SUCCESSES[row]
    name, head = row.partition("(")[0], await events.head()
    context = calling(scene.callers[success.caller])
    told_of = await mutate(context, name, INPUTS[row](scene), f"{success.selection} userErrors {{ code path }}")
    assert told_of.payload == success.told(scene) | {"userErrors": []}
    assert tuple(kind for kind, _ in await told(head)) == success.events


@pytest.mark.parametrize("name", [name for name in REFUSALS if REFUSALS[name]])
async def test_a_refusal_says_why_and_which_member_is_at_fault_and_changes_nothing(name: str) -> None:
    scene = await new_scene()
    for code, at, change in REFUSALS[name]:
        caller, _, path = (at or "").rpartition(":")
        input = INPUTS[name](scene) | await changed(scene, change)
        async with unchanged():
            refusal = await mutate(calling(scene.callers[caller or "owner"]), name, input)
        assert (refusal.refusals, change) == ([(code, path or None)], change)


async def test_nobody_signs_up_where_the_setting_closes_it() -> None:
    scene = await new_scene()
    async with unchanged():
        refusal = await mutate(context_of(scene.callers["anonymous"]), "signUp", INPUTS["signUp"](scene))
    assert refusal.refusals == [("FORBIDDEN", None)]


def test_every_mutation_has_its_success_and_its_refusals() -> None:
    assert SUCCESSES.keys() == INPUTS.keys()
    assert REFUSALS.keys() == {name for name in INPUTS if "(" not in name}


@pytest.mark.parametrize("name", ["signIn", "signUp", "passwordChange"])
async def test_a_session_that_could_not_be_handed_over_is_not_begun(name: str) -> None:
    """A cookie is asked for where none can be set: on a socket, in a stream."""
    scene = await new_scene()
    context = calling(scene.callers["anonymous" if name.startswith("sign") else "owner"])
    context.accepts_cookies = False
    async with unchanged():
        assert (await mutate(context, name, INPUTS[name](scene) | {"cookie": True})).word == "BAD_INPUT"
    context.accepts_cookies = True
    told_of = await mutate(
        context, name, INPUTS[name](scene) | {"cookie": True}, "token user { id } userErrors { code }"
    )
    assert told_of.payload is not None
    assert (told_of.payload["token"], told_of.payload["userErrors"]) == (None, [])
    assert context.session_cookie is not None
