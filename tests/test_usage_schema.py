"""Usage as callers ask for it: by period, of a key and of a project, exact, and in as few statements as for one."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from gateway import clock, counting
from gateway.counting import Call, Refused
from gateway.permissions import Actor, Permission
from models import IssuedKey, Project, Role, Template
from tests.asking import answer_to, ask, codes, context_of
from tests.statements import statements
from tests.world import ANONYMOUS, by_key, issued_key, join, owned_project, person, role, template

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = clock.now().replace(hour=12, minute=0, second=0, microsecond=0) - 10 * DAY
"""A day whose calls are still kept one by one."""

OF_KEY = """
query ($id: ID!, $period: PeriodInput!) {
  node(id: $id) { ... on IssuedKey { usage(period: $period) { requests refused total { amount currency } } } }
}"""
OF_PROJECT = """
query ($id: ID!, $period: PeriodInput!) {
  project(id: $id) {
    usage(period: $period) {
      from to
      total { requests refused total { amount currency } }
      byTemplate { template { id name deletedAt } usage { requests refused total { amount } } }
      byUser { user { id name } usage { requests refused total { amount } } }
    }
  }
}"""
SERIES = """
query ($id: ID!, $period: PeriodInput!, $granularity: Granularity!, $timeZone: String) {
  project(id: $id) {
    usage(period: $period) {
      series(granularity: $granularity, timeZone: $timeZone) { from to usage { requests refused total { amount } } }
    }
  }
}"""
KEYS = """
query ($id: ID!, $period: PeriodInput!) {
  project(id: $id) { issuedKeys(first: 100) { nodes { id usage(period: $period) { requests total { amount } } } } }
}"""
PARTS = """
query ($period: PeriodInput!) {
  projects(first: 100) {
    nodes {
      usage(period: $period) {
        total { requests }
        byTemplate { template { name } usage { requests } }
        byUser { user { name } usage { requests } }
        series(granularity: DAY) { usage { requests } }
      }
    }
  }
}"""


def iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def between(start: datetime, end: datetime) -> dict[str, Any]:
    return {"between": {"from": iso(start), "to": iso(end)}}


AROUND = between(NOON - DAY, NOON + DAY)


@dataclass
class Shop:
    """A project in euros with one role and template, and a key that a user of it holds."""

    owner: Actor
    holder: Actor
    project: Project
    role: Role
    template: Template
    key: IssuedKey


@pytest.fixture
async def shop(database: str) -> Shop:
    owner, holder = await person("Ada"), await person("Bo")
    project = await owned_project(owner, currency="EUR")
    caller = await role(project, Permission.PROJECT_VIEW)
    basic = await template(project, caller)
    return Shop(owner, holder, project, caller, basic, await issued_key(basic, holder))


async def call(key: IssuedKey, *instants: datetime, cost: str = "0.5") -> None:
    await counting.record(Call(key.id, instant, Decimal(cost)) for instant in instants)


async def usage_of_key(actor: Actor, key: IssuedKey, period: dict[str, Any]) -> Any:
    return (await ask(actor, OF_KEY, id=key.id, period=period))["node"]["usage"]


async def report(actor: Actor, project: Project, period: dict[str, Any]) -> Any:
    return (await ask(actor, OF_PROJECT, id=project.id, period=period))["project"]["usage"]


async def series(actor: Actor, project: Project, period: dict[str, Any], granularity: str, **zone: Any) -> Any:
    data = await ask(actor, SERIES, id=project.id, period=period, granularity=granularity, **zone)
    return data["project"]["usage"]["series"]


# Sums


async def test_a_sum_that_breaks_floating_point_is_exact_for_key_project_and_series(shop: Shop) -> None:
    await call(shop.key, NOON, NOON, NOON, cost="1234567.1234567892")
    await call(shop.key, NOON, cost="0.0000000001")
    exact = {"requests": "4", "refused": "0", "total": {"amount": "3703701.3703703677", "currency": "EUR"}}
    assert await usage_of_key(shop.owner, shop.key, AROUND) == exact
    assert (await report(shop.owner, shop.project, AROUND))["total"] == exact
    points = await series(shop.owner, shop.project, AROUND, "WEEK")
    assert sum(Decimal(point["usage"]["total"]["amount"]) for point in points) == Decimal("3703701.3703703677")


async def test_what_nobody_called_is_zero_and_has_no_parts(shop: Shop) -> None:
    nothing = {"requests": "0", "refused": "0", "total": {"amount": "0", "currency": "EUR"}}
    assert await usage_of_key(shop.owner, shop.key, AROUND) == nothing
    found = await report(shop.owner, shop.project, AROUND)
    assert (found["total"], found["byTemplate"], found["byUser"]) == (nothing, [], [])


async def test_a_period_begins_with_its_first_instant_and_ends_before_its_last_at_odd_minutes_too(shop: Shop) -> None:
    start, end, tick = NOON + 7 * MINUTE, NOON + 13 * MINUTE, timedelta(microseconds=1)
    await call(shop.key, start - tick, start, end - tick, end)
    assert (await usage_of_key(shop.owner, shop.key, between(start, end)))["requests"] == "2"
    assert (await report(shop.owner, shop.project, between(start, end)))["total"]["requests"] == "2"
    assert (await usage_of_key(shop.owner, shop.key, between(start - tick, end + tick)))["requests"] == "4"


async def test_refused_calls_cost_nothing_and_an_hour_that_an_edge_cuts_counts_them_whole(shop: Shop) -> None:
    await counting.refuse([Refused(shop.key.id, NOON + 5 * MINUTE, 3), Refused(shop.key.id, NOON + HOUR, 4)])
    inside = await usage_of_key(shop.owner, shop.key, between(NOON + 30 * MINUTE, NOON + 45 * MINUTE))
    assert inside == {"requests": "0", "refused": "3", "total": {"amount": "0", "currency": "EUR"}}
    points = await series(shop.owner, shop.project, between(NOON + 30 * MINUTE, NOON + 2 * HOUR), "HOUR")
    assert [point["usage"]["refused"] for point in points] == ["3", "4"]


async def test_a_count_beyond_what_json_numbers_hold_keeps_every_digit(shop: Shop) -> None:
    await counting.refuse([Refused(shop.key.id, NOON, 2**53 + 1)])
    assert (await report(shop.owner, shop.project, AROUND))["total"]["refused"] == "9007199254740993"


# The parts of a project


async def test_the_parts_of_a_project_are_listed_with_the_highest_total_first_then_by_id(shop: Shop) -> None:
    holders = [shop.holder, *[await person(name) for name in ("Cy", "Di", "Ed")]]
    templates = [shop.template, *[await template(shop.project, shop.role, name) for name in ("Pro", "Max", "Old")]]
    keys = [shop.key, *[await issued_key(t, h) for t, h in zip(templates[1:], holders[1:], strict=True)]]
    for key, cost in zip(keys, ("0.5", "2", "0.5"), strict=False):
        await call(key, NOON, cost=cost)
    await counting.refuse([Refused(keys[3].id, NOON)])
    found = await report(shop.owner, shop.project, AROUND)
    order = [1, 0, 2, 3]  # the last was only refused
    assert [part["template"]["id"] for part in found["byTemplate"]] == [templates[index].id for index in order]
    assert [part["user"]["id"] for part in found["byUser"]] == [holders[index].user_id for index in order]
    assert [part["usage"]["total"]["amount"] for part in found["byUser"]] == ["2", "0.5", "0.5", "0"]
    assert [part["usage"]["refused"] for part in found["byTemplate"]] == ["0", "0", "0", "1"]


async def test_a_template_that_was_deleted_keeps_its_part(shop: Shop) -> None:
    await call(shop.key, NOON)
    await Template.filter(id=shop.template.id).update(deleted_at=clock.now())
    (part,) = (await report(shop.owner, shop.project, AROUND))["byTemplate"]
    assert part["template"]["name"] == "Basic"
    assert part["template"]["deletedAt"]


async def test_a_template_or_user_of_no_call_in_the_period_has_no_part(shop: Shop) -> None:
    await call(shop.key, NOON)
    await counting.refuse([Refused(shop.key.id, NOON + HOUR, 0)])  # a bucket that holds nothing
    found = await report(shop.owner, shop.project, between(NOON + HOUR, NOON + 2 * HOUR))
    assert (found["byTemplate"], found["byUser"]) == ([], [])


# Series


@pytest.mark.parametrize(
    ("midnight", "hours"), [(datetime(2026, 3, 28, 23, tzinfo=UTC), 23), (datetime(2026, 10, 24, 22, tzinfo=UTC), 25)]
)
async def test_a_day_on_which_the_clocks_change_has_as_many_hours_as_pass(
    shop: Shop, midnight: datetime, hours: int
) -> None:
    period = between(midnight, midnight + hours * HOUR)
    points = await series(shop.owner, shop.project, period, "HOUR", timeZone="Europe/Berlin")
    edges = [iso(midnight + number * HOUR) for number in range(hours + 1)]
    assert [(point["from"], point["to"]) for point in points] == list(pairwise(edges))
    (day,) = await series(shop.owner, shop.project, period, "DAY", timeZone="Europe/Berlin")
    assert (day["from"], day["to"]) == (edges[0], edges[-1])


async def test_a_repeated_hour_is_two_points_with_their_own_calls(shop: Shop) -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, and an hour later again
    await call(shop.key, first, first + HOUR, first + HOUR)
    period = between(first - HOUR / 2, first + 3 * HOUR / 2)
    points = await series(shop.owner, shop.project, period, "HOUR", timeZone="Europe/Berlin")
    assert [point["usage"]["requests"] for point in points] == ["1", "2"]


async def test_points_tile_a_period_whose_edges_are_odd(shop: Shop) -> None:
    start, end = NOON - 3 * DAY + 7 * MINUTE, NOON + 11 * MINUTE
    await call(shop.key, *[start + step * (end - start) / 50 for step in range(50)])
    points = await series(shop.owner, shop.project, between(start, end), "HOUR", timeZone="Asia/Kathmandu")
    assert (points[0]["from"], points[-1]["to"]) == (iso(start), iso(end))
    assert [point["from"] for point in points[1:]] == [point["to"] for point in points[:-1]]
    assert sum(int(point["usage"]["requests"]) for point in points) == 50


async def test_a_series_is_of_utc_where_the_time_zone_is_null_or_absent(shop: Shop) -> None:
    await call(shop.key, NOON)
    in_utc = await series(shop.owner, shop.project, AROUND, "DAY", timeZone="UTC")
    assert await series(shop.owner, shop.project, AROUND, "DAY", timeZone=None) == in_utc
    assert await series(shop.owner, shop.project, AROUND, "DAY") == in_utc


async def test_a_series_has_up_to_ten_thousand_points(shop: Shop) -> None:
    start = NOON - 10_000 * HOUR
    assert len(await series(shop.owner, shop.project, between(start, NOON), "HOUR")) == 10_000
    variables = {"id": shop.project.id, "granularity": "HOUR", "period": between(start - HOUR, NOON)}
    assert await codes(context_of(shop.owner), SERIES, **variables) == {"LIMIT_EXCEEDED"}


# Periods


async def test_now_is_one_instant_for_the_whole_operation(shop: Shop) -> None:
    query = """query ($id: ID!, $key: ID!) {
      project(id: $id) { a: usage(period: {lastDays: 1}) { from to }, b: usage(period: {lastDays: 2}) { from to } }
      node(id: $key) { ... on IssuedKey { usage(period: {lastDays: 1}) { requests } } }
    }"""
    now = NOON + 7 * MINUTE
    await call(shop.key, now - DAY, now - timedelta(microseconds=1), now)
    data = (await answer_to(context_of(shop.owner, now), query, id=shop.project.id, key=shop.key.id))["data"]
    assert data["project"]["a"] == {"from": iso(now - DAY), "to": iso(now)}
    assert data["project"]["b"] == {"from": iso(now - 2 * DAY), "to": iso(now)}
    assert data["node"]["usage"]["requests"] == "2"


async def test_a_month_is_that_of_its_time_zone(shop: Shop) -> None:
    in_utc = await report(shop.owner, shop.project, {"month": {"month": "2026-03"}})
    assert (in_utc["from"], in_utc["to"]) == ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    berlin = {"month": {"month": "2026-03", "timeZone": "Europe/Berlin"}}
    in_berlin = await report(shop.owner, shop.project, berlin)
    assert (in_berlin["from"], in_berlin["to"]) == ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")


@pytest.mark.parametrize(
    "period",
    [
        {},
        {"lastDays": None},
        {"lastDays": 1, "month": {"month": "2026-03"}},
        {"lastDays": 0},
        {"lastDays": -1},
        {"lastDays": 3661},
        {"month": {"month": "2026-13"}},
        {"month": {"month": "2026-3"}},
        {"month": {"month": "9999-12"}},
        {"month": {"month": "2026-03", "timeZone": "Europe/Atlantis"}},
        {"month": {"month": "2026-03", "timeZone": "../UTC"}},
        {"month": {"month": "2026-03", "timeZone": None}},
        {"between": {"from": iso(NOON), "to": iso(NOON)}},
        {"between": {"from": iso(NOON + HOUR), "to": iso(NOON)}},
        {"between": {"from": "2026-03-01T00:00:00", "to": iso(NOON)}},
        {"between": {"from": iso(NOON)}},
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_period_that_is_none_is_bad_input(shop: Shop, period: dict[str, Any]) -> None:
    for query, id in ((OF_KEY, shop.key.id), (OF_PROJECT, shop.project.id)):
        assert await codes(context_of(shop.owner), query, id=id, period=period) == {"BAD_INPUT"}


async def test_an_unknown_time_zone_of_a_series_is_bad_input(shop: Shop) -> None:
    variables = {"id": shop.project.id, "period": AROUND, "granularity": "DAY", "timeZone": "Mars/Olympus"}
    assert await codes(context_of(shop.owner), SERIES, **variables) == {"BAD_INPUT"}


@pytest.mark.parametrize("days", [1, 3660])
async def test_the_last_days_are_1_to_3660(shop: Shop, days: int) -> None:
    context = context_of(shop.owner, NOON)  # whole hours, so that no record is needed
    body = await answer_to(context, OF_PROJECT, id=shop.project.id, period={"lastDays": days})
    assert body["data"]["project"]["usage"]["from"] == iso(NOON - days * DAY)


async def test_where_single_calls_are_no_longer_kept_edges_fall_on_whole_hours_of_utc(shop: Shop) -> None:
    now = NOON + 7 * MINUTE
    kept_from, end = NOON - 3 * DAY, NOON + DAY
    await call(shop.key, kept_from - HOUR, kept_from)
    asked = {kept_from - HOUR: "2", kept_from - MINUTE: None, kept_from: "1", kept_from + MINUTE: "0"}
    for start, requests in asked.items():
        for query, id in ((OF_KEY, shop.key.id), (OF_PROJECT, shop.project.id)):
            context = context_of(shop.owner, now, record_retention_days=3)
            body = await answer_to(context, query, id=id, period=between(start, end))
            if requests is None:
                assert {error["extensions"]["code"] for error in body["errors"]} == {"PERIOD_TOO_FINE"}
            else:
                part = body["data"].get("node") or {"usage": body["data"]["project"]["usage"]["total"]}
                assert part["usage"]["requests"] == requests


async def test_steps_that_begin_inside_an_hour_of_utc_are_too_fine_there_too(shop: Shop) -> None:
    variables = {"id": shop.project.id, "period": between(NOON - 5 * DAY, NOON), "granularity": "DAY"}
    context = context_of(shop.owner, NOON, record_retention_days=2)
    assert await codes(context, SERIES, timeZone="Asia/Kolkata", **variables) == {"PERIOD_TOO_FINE"}
    context = context_of(shop.owner, NOON, record_retention_days=2)
    assert await codes(context, SERIES, timeZone="Europe/Berlin", **variables) == set()


# Who may read it


async def test_a_projects_usage_is_null_without_keys_view(shop: Shop) -> None:
    await call(shop.key, NOON)
    public = await role(shop.project, Permission.PROJECT_VIEW, name="All", is_public=True)
    viewer, stranger, analyst = await person("Vi"), await person("Su"), await person("An")
    await join(shop.project, viewer, shop.role)
    analysing = await role(shop.project, Permission.KEYS_VIEW, name="Analyst")
    await join(shop.project, analyst, analysing)
    analysts_key = by_key(analyst, await issued_key(await template(shop.project, analysing, "Data"), analyst))
    holders_key = by_key(shop.holder, shop.key)
    assert public.is_public
    for actor in (ANONYMOUS, stranger, viewer, shop.holder, holders_key):
        assert await report(actor, shop.project, AROUND) is None
    for actor in (shop.owner, analyst, analysts_key):
        assert (await report(actor, shop.project, AROUND))["total"]["requests"] == "1"


async def test_a_keys_usage_is_read_by_whoever_sees_the_key(shop: Shop) -> None:
    await call(shop.key, NOON)
    for actor in (shop.owner, shop.holder, by_key(shop.holder, shop.key)):
        assert (await usage_of_key(actor, shop.key, AROUND))["requests"] == "1"
    viewer, stranger = await person("Vi"), await person("Su")
    await join(shop.project, viewer, shop.role)
    for actor in (ANONYMOUS, stranger, viewer):
        assert (await ask(actor, OF_KEY, id=shop.key.id, period=AROUND))["node"] is None


# What it costs


async def test_the_usage_of_a_page_of_keys_takes_as_many_statements_as_that_of_one(shop: Shop) -> None:
    sent_for = {1: 0, 10: 0, 100: 0}
    period = {"lastDays": 3}
    for quantity in sent_for:
        while await IssuedKey.all().count() < quantity:
            made = await template(shop.project, shop.role, f"T{await Template.all().count()}")
            await call(await issued_key(made, shop.holder), NOON)
        with statements() as sent:
            data = await ask(shop.owner, KEYS, id=shop.project.id, period=period)
        assert len(data["project"]["issuedKeys"]["nodes"]) == quantity
        sent_for[quantity] = len(sent)
        assert len([statement for statement in sent if "usage_" in statement]) == 1
    assert len(set(sent_for.values())) == 1, sent_for


async def test_reports_take_as_many_statements_for_many_projects_templates_and_users_as_for_one(shop: Shop) -> None:
    await call(shop.key, NOON)
    with statements() as for_one:
        await ask(shop.owner, PARTS, period=AROUND)
    for number in range(9):
        project = await owned_project(shop.owner, f"Project {number}")
        caller = await role(project)
        for name in ("Basic", "Pro"):
            holder = await person(f"{name} {number}")
            await call(await issued_key(await template(project, caller, name), holder), NOON)
    with statements() as for_ten:
        data = await ask(shop.owner, PARTS, period=AROUND)
    assert sum(int(project["usage"]["total"]["requests"]) for project in data["projects"]["nodes"]) == 19
    assert len(for_ten) == len(for_one)
    assert len([statement for statement in for_ten if "usage_" in statement]) == 4
