"""What calls are decided by stands in memory: how little the database is asked, and how little is remembered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from gateway import keys
from gateway.plane import decisions
from gateway.plane.admission import Admitted
from gateway.plane.decisions import LONGEST_REMEMBERED, Asked, Decider, Denied
from gateway.plane.tokens import Tokens
from gateway.signing import Keyring
from tests.gatehouse import Offer, offer
from tests.planes import ADDRESS, SILENCE, Call, Plane, plane
from tests.statements import statements
from tests.world import SEALER

FEW, MANY = 3, 50


@pytest.fixture
async def offered(database: str) -> Offer:
    return await offer(Keyring(SEALER, "https://example.org"))


@pytest.fixture
async def at(offered: Offer, database: str) -> AsyncIterator[Plane]:
    """It hears of nothing, and reads on only where a call makes it."""
    async with plane(database, SILENCE) as at:
        yield at


def asked(offered: Offer, target: str, method: str = "GET") -> Asked:
    return Asked(offered.project.id, method, target.encode(), offered.token.encode(), ADDRESS)


# ---------------------------------------------------------------- what is asked of the database


async def test_a_call_that_is_let_in_asks_nothing_of_the_database_but_to_be_counted(at: Plane, offered: Offer) -> None:
    with statements() as sent:
        answers = [await at.admission.admit(asked(offered, f"/data_layers?page={number % 3}")) for number in range(9)]
    assert all(isinstance(answer, Admitted) for answer in answers)
    assert sent == []
    assert (await offered.counted()).requests == 9


async def test_what_no_change_could_make_a_good_token_is_refused_without_the_database(
    at: Plane, offered: Offer
) -> None:
    head, claims, signature = offered.token.split(".")
    with statements() as sent:
        for token in ("nonsense", f"{head}.{claims}.{signature[::-1]}"):
            assert await status_of(at.call(offered.project.id, token, Call())) == 401
    assert sent == []


@pytest.mark.parametrize(
    ("project", "call", "status"),
    [
        ("prj_other", Call(), 404),
        (None, Call("TRACE"), 405),
        (None, Call(target="/nodes/../data_layers"), 400),
        (None, Call("DELETE"), 403),
        (None, Call(target="/nodes/unknown"), 403),
    ],
)
async def test_another_refusal_is_given_once_the_log_was_asked_whether_anything_has_changed(
    at: Plane, offered: Offer, project: str | None, call: Call, status: int
) -> None:
    with statements() as sent:
        assert await status_of(at.call(project or offered.project.id, offered.token, call)) == status
    assert readings(sent) == 1


async def test_calls_that_are_refused_together_ask_the_log_together(at: Plane, offered: Offer) -> None:
    """Those that came while it was asked wait for the next time; so nobody is refused by an answer that is too old."""
    with statements() as sent:
        calls = [at.call(offered.project.id, offered.token, Call("DELETE")) for _ in range(MANY)]
        assert set(await asyncio.gather(*map(status_of, calls))) == {403}
    assert 1 <= readings(sent) <= 2


async def status_of(calling: Awaitable[Admitted | Denied]) -> int:
    answer = await calling
    return answer.status if isinstance(answer, Denied) else 200


def readings(sent: list[str]) -> int:
    return sum("FROM events" in statement for statement in sent)


async def test_a_key_that_was_resumed_while_the_log_was_asked_is_let_in_by_the_next_reading(
    at: Plane, offered: Offer
) -> None:
    await keys.suspend(offered.owner, offered.key.id)
    await at.learner.catch_up()
    early = asyncio.create_task(at.call(offered.project.id, offered.token, Call()))
    await asyncio.sleep(0)
    await keys.resume(offered.owner, offered.key.id)
    late = await at.call(offered.project.id, offered.token, Call())
    assert isinstance(late, Admitted)
    await early  # it began before: either answer is right


# ---------------------------------------------------------------- what is remembered of decisions


async def test_only_so_many_decisions_are_remembered_and_none_of_a_long_target(
    at: Plane, offered: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "MOST_REMEMBERED", FEW)
    remembered = at.decider._remembered._allowed
    long = "/data_layers?" + "x" * LONGEST_REMEMBERED
    for target in [long, *(f"/data_layers?page={number}" for number in range(2 * FEW))]:
        assert at.decider.decide(asked(offered, target)) == fresh(at).decide(asked(offered, target))
        assert len(remembered) <= FEW
        assert not any(long.encode() in question for question in remembered)


async def test_no_refusal_is_remembered(at: Plane, offered: Offer) -> None:
    for call in (Call("DELETE"), Call(target="/nodes/unknown"), Call(target="//")):
        assert isinstance(at.decider.decide(asked(offered, call.target, call.method)), Denied)
    assert not at.decider._remembered._allowed


async def test_what_is_remembered_is_of_one_question_alone(at: Plane, offered: Offer) -> None:
    """Another key, project, method, target or entrance is another question."""
    first = asked(offered, "/data_layers")
    at.decider.decide(first)
    others = [
        first._replace(method="DELETE"),
        first._replace(target=b"/nodes/unknown"),
        first._replace(project_id="prj_other"),
        first._replace(is_passed_on=True),
    ]
    for other in others:
        decision = at.decider.decide(other)
        assert isinstance(decision, Denied)
        assert decision == fresh(at).decide(other)


def fresh(at: Plane) -> Decider:
    """One that remembers nothing yet, and knows the same."""
    return Decider(at.knowledge, Tokens(at.knowledge))
