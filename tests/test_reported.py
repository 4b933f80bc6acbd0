"""Calls that an upstream tells of count once for good, however it tells of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import clock, counting, reported, usage
from gateway.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, Unauthenticated
from gateway.permissions import Actor, Permission
from gateway.pricing import Amount, between
from gateway.reported import MOST_CALLS, Reported, Told
from gateway.usage import Totals
from models import AuditEntry, IssuedKey, KeyState, Project, ReportedCall, Role, Template, UsageRecord
from tests.asking import ask
from tests.world import ANONYMOUS, by_key, issued_key, join, owned_project, person, refused, role, template

MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
NOON = clock.now().replace(hour=12, minute=0, second=0, microsecond=0) - 2 * DAY
REPORT = """
mutation ($input: UsageReportInput!) {
  usageReport(input: $input) { counted repeated userErrors { code path } }
}"""

# Its database is one for all examples, on purpose: what was told of before must not matter.
over_examples = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Shop:
    """A project with two keys, whose calls cost 1.5 and 3 each, and one by which its upstream reports."""

    owner: Actor
    upstream: Actor
    project: Project
    role: Role
    template: Template
    keys: Sequence[IssuedKey]

    async def report(self, *calls: Told) -> Reported:
        return await reported.report(self.upstream, self.project.id, calls, NOON - 10 * DAY)

    async def totals(self, key: IssuedKey) -> Totals:
        return (await usage.of_keys([key.id], between(NOON - DAY, NOON + 2 * DAY)))[key.id]

    def told(self, id: str, at: datetime = NOON, key: int = 0) -> Told:
        return Told(id, self.keys[key].id, at)


@pytest.fixture
async def shop(database: str) -> Shop:
    owner = await person("Ada")
    project = await owned_project(owner)
    calling = await role(project, Permission.PROJECT_VIEW, cost_coefficient=Decimal("1.5"))
    managing = await role(project, Permission.PROJECT_MANAGE, name="Upstream")
    basic = await template(project, calling, price_per_request=Decimal(1))
    dear = await template(project, calling, "Dear", price_per_request=Decimal(2))
    keys = [await issued_key(basic, owner), await issued_key(dear, owner)]
    upstream = await issued_key(await template(project, managing, "Upstream"), owner)
    return Shop(owner, by_key(owner, upstream), project, calling, basic, keys)


async def test_calls_are_counted_at_their_keys_price_and_what_was_told_before_is_not(shop: Shop) -> None:
    first, second = shop.told("a"), shop.told("b", key=1)
    assert await shop.report(first) == (1, 0)
    assert await shop.report(first, second) == (1, 1)
    assert [await shop.totals(key) for key in shop.keys] == [
        Totals(1, 0, Amount.of(Decimal("1.5"))),
        Totals(1, 0, Amount(3)),
    ]


@over_examples
@given(data=st.data())
async def test_each_id_counts_once_however_calls_are_put_together(shop: Shop, data: st.DataObject) -> None:
    known = await ReportedCall.all().count()
    quantity = data.draw(st.integers(0, 12))
    calls = [shop.told(f"{known + number}", NOON + number * HOUR, number % 2) for number in range(quantity)]
    reports = data.draw(st.lists(st.lists(st.sampled_from(calls), max_size=20), max_size=5)) if calls else []
    before = [await shop.totals(key) for key in shop.keys]
    told = await asyncio.gather(*(shop.report(*report) for report in [*reports, calls]))
    assert sum(counted for counted, _ in told) == len(calls)
    assert [sum(result) for result in told] == [*map(len, reports), len(calls)]
    assert await ReportedCall.all().count() == known + len(calls)
    after = [await shop.totals(key) for key in shop.keys]
    assert [now.requests - then.requests for now, then in zip(after, before, strict=True)] == [
        len(calls[0::2]),
        len(calls[1::2]),
    ]


async def test_reports_of_the_same_calls_at_the_same_time_count_each_once(shop: Shop) -> None:
    calls = [shop.told(f"call {number}", key=number % 2) for number in range(100)]
    orders = [calls, calls[::-1], calls[50:] + calls[:50], calls[::3]]
    told = await asyncio.gather(*(shop.report(*order) for order in orders))
    assert sum(result.counted for result in told) == 100
    assert await UsageRecord.all().count() == 100


async def test_a_failure_between_claim_and_count_leaves_neither_and_the_retry_counts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Any) -> None:
        assert await ReportedCall.all().count() == 1
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(counting, "record", fail)
        with pytest.raises(ConnectionResetError):
            await shop.report(shop.told("a"))
    assert [await table.all().count() for table in (ReportedCall, UsageRecord, AuditEntry)] == [0, 0, 0]
    assert await shop.report(shop.told("a")) == (1, 0)
    assert (await shop.totals(shop.keys[0])).requests == 1


async def test_an_id_that_tells_of_another_call_than_before_is_a_conflict_and_nothing_is_counted(shop: Shop) -> None:
    await shop.report(shop.told("a"))
    for other in (shop.told("a", key=1), shop.told("a", NOON + MICROSECOND)):
        async with refused(Conflict, "calls", "1", "id"):
            await shop.report(shop.told("b"), other)
        async with refused(Conflict, "calls", "1", "id"):
            await shop.report(other._replace(call_id="new"), shop.told("new", NOON - HOUR))


async def test_an_id_is_its_projects_own(shop: Shop) -> None:
    await shop.report(shop.told("a"))
    other = await owned_project(shop.owner, "Words")
    key = await issued_key(await template(other, await role(other, Permission.PROJECT_VIEW)), shop.owner)
    assert await reported.report(shop.owner, other.id, [Told("a", key.id, NOON)], NOON) == (1, 0)


async def test_a_call_counts_at_the_present_price_and_the_past_stays_as_it_was(shop: Shop) -> None:
    await shop.report(shop.told("a"))
    await Template.filter(id=shop.template.id).update(price_per_request=Decimal("0.000001"), deleted_at=clock.now())
    await Role.filter(id=shop.role.id).update(cost_coefficient=Decimal("0.0001"))
    await IssuedKey.filter(id=shop.keys[0].id).update(
        state=KeyState.REVOKED, revoked_at=clock.now(), revoked_by_id=shop.owner.user_id
    )
    assert await shop.report(shop.told("a"), shop.told("b")) == (1, 1)
    assert await shop.totals(shop.keys[0]) == Totals(2, 0, Amount.of(Decimal("1.5000000001")))


async def test_a_call_is_refused_before_retention_and_far_in_the_future(shop: Shop) -> None:
    kept_from = NOON - 10 * DAY
    assert await shop.report(shop.told("oldest", kept_from), shop.told("newest", clock.now() + timedelta(minutes=4)))
    for at in (kept_from - MICROSECOND, clock.now() + timedelta(minutes=6)):
        async with refused(Invalid, "calls", "1", "calledAt"):
            await shop.report(shop.told("b"), shop.told("c", at))


async def test_keys_are_of_the_project(shop: Shop) -> None:
    other = await owned_project(shop.owner, "Words")
    key = await issued_key(await template(other, await role(other, Permission.PROJECT_VIEW)), shop.owner)
    for key_id in (key.id, "key_unknown", "\x00", "x" * 1000):
        async with refused(NotFound, "calls", "1", "keyId"):
            await shop.report(shop.told("a"), Told("b", key_id, NOON))


@pytest.mark.parametrize("id", ["", "x" * 129, "\x00", "\ud800"])
async def test_an_id_that_can_not_be_kept_is_invalid(shop: Shop, id: str) -> None:
    async with refused(Invalid, "calls", "0", "id"):
        await shop.report(shop.told(id))


async def test_a_thousand_calls_are_told_of_at_once_and_no_more(shop: Shop) -> None:
    calls = [shop.told(f"{'ж' * 120} {number}") for number in range(MOST_CALLS)]
    async with refused(LimitExceeded, "calls"):
        await shop.report(*calls, shop.told("one more"))
    assert await shop.report(*calls) == (MOST_CALLS, 0)
    assert await shop.report() == (0, 0)


async def test_those_who_manage_the_project_report_and_a_key_whose_role_does(shop: Shop) -> None:
    analyst, stranger = await person("An"), await person("Su")
    await join(shop.project, analyst, await role(shop.project, Permission.KEYS_VIEW, name="Analyst"))
    denied = [(ANONYMOUS, Unauthenticated), (stranger, NotFound), (analyst, Forbidden)]
    denied += [(by_key(shop.owner, shop.keys[0]), Forbidden)]
    for actor, refusal in denied:
        async with refused(refusal, *(["projectId"] if refusal is NotFound else [])):
            await reported.report(actor, shop.project.id, [shop.told("a")], NOON)
    assert await reported.report(shop.owner, shop.project.id, [shop.told("a")], NOON) == (1, 0)
    assert await shop.report(shop.told("b")) == (1, 0)


async def test_the_audit_log_holds_one_entry_for_each_report(shop: Shop) -> None:
    await shop.report(shop.told("a"), shop.told("b"))
    entry = await AuditEntry.get()
    assert (entry.action, entry.object_id, entry.project_id) == ("usage.reported", shop.project.id, shop.project.id)
    assert (entry.user_id, entry.key_id) == (shop.upstream.user_id, shop.upstream.key_id)


async def test_over_graphql_a_report_says_what_it_counted_and_its_repeat_says_the_same(shop: Shop) -> None:
    call = {"id": "a", "keyId": shop.keys[0].id, "calledAt": NOON.isoformat()}
    input = {"projectId": shop.project.id, "calls": [call, call], "idempotencyKey": "once"}
    first, again = [await ask(shop.upstream, REPORT, input=input) for _ in range(2)]
    assert first["usageReport"] == {"counted": 1, "repeated": 1, "userErrors": []}
    assert again == first
    del input["idempotencyKey"]
    assert (await ask(shop.upstream, REPORT, input=input))["usageReport"]["counted"] == 0
