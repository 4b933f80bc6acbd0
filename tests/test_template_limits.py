"""Limits of templates: set, shown, and what is left of them to each key."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import counting, limits, templates
from gateway.counting import Call
from gateway.errors import Conflict, Invalid
from gateway.limits import UNLIMITED, Allowance, AllowanceKind, Limits, LimitsWanted, Used
from gateway.permissions import Actor, Permission
from gateway.pricing import Amount
from models import Project, Role, Template, TemplateLimits
from tests.asking import answer_to, ask, context_of
from tests.statements import statements
from tests.world import by_key, issued_key, owned_project, person, refused, role, template, told

NOW = datetime(2026, 12, 31, 23, 59, 59, 999_999, UTC)
TOMORROW = datetime(2027, 1, 1, tzinfo=UTC)
EVERY = LimitsWanted(5, 20, 1000, 20_000, Decimal("2.5"), Decimal("0.0000000001"))
KEPT = Limits(5, 20, 1000, 20_000, Amount.of(Decimal("2.5")), Amount(0, 1))


class Scene:
    """Ada owns a project with a template, from which Bo has a key."""

    ada: Actor
    bo: Actor
    project: Project
    caller: Role
    basic: Template

    async def limit(self, wanted: LimitsWanted | None, version: int | None = None) -> Template:
        return await templates.update(self.ada, self.basic.id, {"limits": wanted}, version)

    async def create(self, wanted: LimitsWanted | None = None) -> Template:
        return await templates.create(self.ada, self.project.id, role_id=self.caller.id, name="Pro", limits=wanted)


@pytest.fixture
async def scene(database: str) -> Scene:
    made = Scene()
    made.ada, made.bo = await person("Ada"), await person("Bo")
    made.project = await owned_project(made.ada)
    made.caller = await role(made.project, Permission.PROJECT_VIEW)
    made.basic = await template(made.project, made.caller)
    return made


async def limits_of(template: Template) -> Limits:
    return (await limits.of_templates(Actor(), [template.id]))[template.id]


# Setting


async def test_limits_are_kept_to_the_last_digit_and_told_with_the_template(scene: Scene) -> None:
    assert await limits_of(scene.basic) == UNLIMITED
    changed = await scene.limit(EVERY)
    assert (await limits_of(scene.basic), changed.version) == (KEPT, 2)
    made = await scene.create(EVERY)
    assert await limits_of(made) == KEPT
    assert await told() == [("template.updated", scene.basic.id), ("template.created", made.id)]


async def test_limits_are_replaced_whole_left_alone_or_taken_away(scene: Scene) -> None:
    await scene.limit(EVERY)
    await templates.update(scene.ada, scene.basic.id, {"name": "Same limits"})
    assert await limits_of(scene.basic) == KEPT
    await scene.limit(LimitsWanted(calls_per_day=0))
    assert await limits_of(scene.basic) == Limits(calls_per_day=0)
    await scene.limit(None)
    assert (await limits_of(scene.basic), await TemplateLimits.all().count()) == (UNLIMITED, 0)


@pytest.mark.parametrize("wanted", [None, LimitsWanted()])
async def test_without_any_limit_nothing_is_kept(scene: Scene, wanted: LimitsWanted | None) -> None:
    await scene.limit(EVERY)
    await scene.limit(wanted)
    await scene.create(wanted)
    assert await TemplateLimits.all().count() == 0


async def test_a_rate_without_a_burst_has_one_second_s_calls(scene: Scene) -> None:
    await scene.limit(LimitsWanted(calls_per_second=7))
    assert await limits_of(scene.basic) == Limits(calls_per_second=7, burst=7)


async def test_the_largest_limits_are_kept(scene: Scene) -> None:
    money = Decimal(999_999_999_999)
    await scene.limit(LimitsWanted(100_000, 1_000_000, 10**15, 10**15, money, money))
    amount = Amount(999_999_999_999)
    assert await limits_of(scene.basic) == Limits(100_000, 1_000_000, 10**15, 10**15, amount, amount)


@pytest.mark.parametrize(
    ("member", "wanted"),
    [
        ("callsPerSecond", {"calls_per_second": 0}),
        ("callsPerSecond", {"calls_per_second": 100_001}),
        ("burst", {"calls_per_second": 1, "burst": 0}),
        ("burst", {"calls_per_second": 1, "burst": 1_000_001}),
        ("burst", {"burst": 5}),
        ("callsPerDay", {"calls_per_day": -1}),
        ("callsPerDay", {"calls_per_day": 10**15 + 1}),
        ("callsPerMonth", {"calls_per_month": -1}),
        ("costPerDay", {"cost_per_day": Decimal("-0.0000000001")}),
        ("costPerDay", {"cost_per_day": Decimal("0.00000000001")}),
        ("costPerMonth", {"cost_per_month": Decimal("999999999999.0000000001")}),
        ("costPerMonth", {"cost_per_month": Decimal("NaN")}),
        ("costPerMonth", {"cost_per_month": Decimal("Infinity")}),
    ],
)
async def test_what_can_t_be_a_limit_is_refused_at_its_member(
    scene: Scene, member: str, wanted: dict[str, Any]
) -> None:
    await scene.limit(EVERY)
    async with refused(Invalid, "limits", member):
        await scene.limit(LimitsWanted(**wanted))
    async with refused(Invalid, "limits", member):
        await scene.create(LimitsWanted(**wanted))


async def test_limits_are_not_changed_over_another_s_edit(scene: Scene) -> None:
    await scene.limit(EVERY)
    async with refused(Conflict, "expectedVersion"):
        await scene.limit(None, version=1)


# What is left


async def test_what_is_left_to_a_key_is_read_from_its_day_and_its_month(scene: Scene) -> None:
    await scene.limit(
        LimitsWanted(calls_per_day=3, calls_per_month=9, cost_per_day=Decimal(5), cost_per_month=Decimal(1))
    )
    key = await issued_key(scene.basic, scene.bo)
    today, yesterday, last_month = (NOW - timedelta(days=days) for days in (0, 1, 31))
    await counting.record(Call(key.id, at, Decimal("0.4000000001")) for at in (today, today, yesterday, last_month))

    found = (await limits.standing(scene.ada, [key.id], NOW))[key.id]

    assert found == [
        Allowance(AllowanceKind.CALLS_PER_DAY, Decimal(3), Decimal(2), Decimal(1), TOMORROW),
        Allowance(AllowanceKind.CALLS_PER_MONTH, Decimal(9), Decimal(3), Decimal(6), TOMORROW),
        Allowance(AllowanceKind.COST_PER_DAY, Decimal(5), Decimal("0.8000000002"), Decimal("4.1999999998"), TOMORROW),
        Allowance(AllowanceKind.COST_PER_MONTH, Decimal(1), Decimal("1.2000000003"), Decimal(0), TOMORROW),
    ]


async def test_each_key_has_counters_of_its_own_and_one_without_limits_has_none(scene: Scene) -> None:
    free = await template(scene.project, scene.caller, name="Free")
    await scene.limit(LimitsWanted(calls_per_day=3))
    used, fresh = await issued_key(scene.basic, scene.bo), await issued_key(scene.basic, scene.ada)
    unlimited = await issued_key(free, scene.bo)
    await counting.record([Call(used.id, NOW, Decimal(0)), Call(unlimited.id, NOW, Decimal(0))])

    found = await limits.standing(scene.ada, [used.id, fresh.id, unlimited.id, "key_none"], NOW)

    assert {id: [allowance.left for allowance in each] for id, each in found.items()} == {
        used.id: [2],
        fresh.id: [3],
        unlimited.id: [],
        "key_none": [],
    }


async def test_a_new_day_and_a_new_month_begin_with_all_of_a_quota(scene: Scene) -> None:
    await scene.limit(LimitsWanted(calls_per_day=3, calls_per_month=9))
    key = await issued_key(scene.basic, scene.bo)
    await counting.record([Call(key.id, NOW, Decimal(0))])
    for now, left in ((NOW, [2, 8]), (TOMORROW, [3, 9])):
        assert [each.left for each in (await limits.standing(scene.bo, [key.id], now))[key.id]] == left


async def test_one_statement_is_enough_for_many_keys(scene: Scene) -> None:
    await scene.limit(LimitsWanted(calls_per_day=3))
    keys = [await issued_key(scene.basic, await person(f"U{number}")) for number in range(5)]
    for quantity in (1, 5):
        with statements() as sent:
            await limits.standing(scene.ada, [key.id for key in keys[:quantity]], NOW)
        assert len(sent) == 1


# As GraphQL has it


UPDATE = """mutation ($input: TemplateUpdateInput!) { templateUpdate(input: $input) {
  template { version limits {
    callsPerSecond burst callsPerDay callsPerMonth costPerDay { amount currency } costPerMonth { amount currency }
  } } userErrors { code path } } }"""
KEYS = "{ viewer { keys(first: 9) { nodes { allowances { kind limit used left resetsAt } } } } }"


async def test_limits_are_set_and_shown_over_graphql_and_null_takes_them_away(scene: Scene) -> None:
    async def shown(**members: Any) -> Any:
        payload = (await ask(scene.ada, UPDATE, input={"templateId": scene.basic.id, **members}))["templateUpdate"]
        assert payload["userErrors"] == []
        return payload["template"]["limits"]

    wanted = {"callsPerSecond": 5, "callsPerDay": str(10**15), "callsPerMonth": "0", "costPerDay": "0.0000000001"}
    unlimited = dict.fromkeys((*wanted, "burst", "costPerMonth"))
    kept = {**unlimited, **wanted, "burst": 5, "costPerDay": {"amount": "0.0000000001", "currency": "USD"}}
    assert await shown(limits=wanted) == kept
    assert await shown(name="Still limited") == kept
    assert await shown(limits={"costPerMonth": 0}) == {**unlimited, "costPerMonth": {"amount": "0", "currency": "USD"}}
    assert await shown(limits=None) == unlimited
    assert await shown(limits={}) == unlimited


async def test_a_holder_sees_what_is_left_of_a_key_and_so_does_the_key_itself(scene: Scene) -> None:
    await scene.limit(LimitsWanted(calls_per_second=1, calls_per_day=3, cost_per_month=Decimal("0.5")))
    key = await issued_key(scene.basic, scene.bo)
    await counting.record([Call(key.id, NOW, Decimal("0.4"))])
    december = {"resetsAt": "2027-01-01T00:00:00Z"}
    for actor in (scene.bo, by_key(scene.bo, key)):
        body = await answer_to(context_of(actor, NOW), KEYS)
        assert body["data"]["viewer"]["keys"]["nodes"][0]["allowances"] == [
            {"kind": "CALLS_PER_DAY", "limit": "3", "used": "1", "left": "2", **december},
            {"kind": "COST_PER_MONTH", "limit": "0.5", "used": "0.4", "left": "0.1", **december},
        ]


# Room for a call


AMOUNTS = st.builds(Amount, st.integers(0, 3), st.sampled_from([0, 1, 10**10 - 1]))
SOME = st.none() | st.integers(0, 3)
LIMITS = st.builds(Limits, st.none(), st.none(), SOME, SOME, st.none() | AMOUNTS, st.none() | AMOUNTS)
USED = st.builds(Used, st.integers(0, 4), AMOUNTS)


@given(LIMITS, AMOUNTS, USED, USED)
def test_a_call_has_room_where_it_leaves_no_quota_overdrawn(
    wanted: Limits, cost: Amount, day: Used, month: Used
) -> None:
    left = {each.kind: each.left for each in limits.allowances(wanted, day, month, NOW)}
    needed = {kind: cost.decimal if kind.is_money else Decimal(1) for kind in AllowanceKind}
    short = [kind for kind, remaining in left.items() if remaining < needed[kind]]
    overdrawn = [
        each.kind
        for each in limits.allowances(wanted, day, month, NOW)
        if not needed[each.kind] and each.used > each.limit
    ]
    assert limits.exceeded(wanted, cost, day, month) == [kind for kind in AllowanceKind if kind in {*short, *overdrawn}]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # bounds are naive there
def test_a_quota_is_there_again_when_the_day_or_the_month_ends(now: datetime) -> None:
    tomorrow = now.date() + timedelta(days=1)
    next_month = (now.date().replace(day=1) + timedelta(days=32)).replace(day=1)
    for kind in AllowanceKind:
        again = limits.resets_at(kind, now)
        assert again == datetime.combine(next_month if kind.is_monthly else tomorrow, datetime.min.time(), UTC)
        seconds = limits.retry_after([kind], now)
        assert now + timedelta(seconds=seconds - 1) < again <= now + timedelta(seconds=seconds)


def test_where_several_quotas_are_used_up_the_last_to_come_again_is_waited_for() -> None:
    now = datetime(2026, 11, 30, 23, 59, 58, 1, UTC)
    earlier = datetime(2026, 11, 29, 23, 59, 58, 1, UTC)
    kinds = [AllowanceKind.CALLS_PER_MONTH, AllowanceKind.CALLS_PER_DAY]
    assert limits.retry_after(kinds, now) == 2
    assert limits.retry_after(kinds, earlier) == 86_402
