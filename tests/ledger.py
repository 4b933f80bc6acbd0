"""What was called, remembered in plain Python: to compare with what the gateway says of it.

ledger = await new_ledger()
await ledger.count(random_calls(ledger, 2000), random_refusals(ledger, 300))
assert await usage.of_keys([key.id], period) == {key.id: ledger.total(period, [key])}
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gateway import counting
from gateway.counting import Call, Refused
from gateway.pricing import Amount, Period, between
from gateway.usage import Grouping, Totals
from models import IssuedKey, KeyRequest, Project, RequestState, Role, Template, User
from models.fields import fold

MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 3, 20, tzinfo=UTC)
END = datetime(2026, 4, 20, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham", "America/St_Johns"]

# Its database is one for all examples, on purpose: what was counted before must not matter.
over_examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Ledger:
    keys: list[IssuedKey]
    calls: list[Call] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)

    def total(self, period: Period, keys: Iterable[IssuedKey]) -> Totals:
        """What the calls of keys add up to. Refused calls are known by the hour alone."""
        ids = {key.id for key in keys}
        costs = [call.cost for call in self.calls if call.key_id in ids and period.start <= call.called_at < period.end]
        refused = [
            refusal.quantity
            for refusal in self.refusals
            if refusal.key_id in ids and hour_of(period.start) <= hour_of(refusal.refused_at) < period.end
        ]
        return Totals(len(costs), sum(refused), Amount.carried(0, sum(int(one.scaleb(10)) for one in costs)))

    def grouped(self, project_id: str, by: Grouping, period: Period) -> dict[str, Totals]:
        groups: dict[str, list[IssuedKey]] = {}
        for key in self.of(project_id):
            groups.setdefault(getattr(key, by), []).append(key)
        totals = {group: self.total(period, keys) for group, keys in groups.items()}
        return {group: total for group, total in totals.items() if total != Totals()}

    def of(self, project_id: str) -> list[IssuedKey]:
        return [key for key in self.keys if key.project_id == project_id]

    async def count(self, calls: Iterable[Call], refusals: Iterable[Refused] = ()) -> None:
        calls, refusals = list(calls), list(refusals)
        await counting.record(calls)
        await counting.refuse(refusals)
        self.calls += calls
        self.refusals += refusals

    async def void(self, calls: Iterable[Call]) -> None:
        calls = list(calls)
        await counting.void(calls)
        for call in calls:
            self.calls.remove(call)


def hour_of(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


async def new_ledger() -> Ledger:
    """Two projects of two templates, and two users who hold a key from each."""
    users = [await make_user(name) for name in ("Ada", "Bo")]
    templates = [await make_template(project, name) for project in ("Maps", "Words") for name in ("Basic", "Pro")]
    return Ledger([await make_key(template, user) for template in templates for user in users])


async def make_user(name: str) -> User:
    email = f"{name}@example.org"
    return await User.create(
        email=email, email_folded=fold(email), name=name, name_folded=fold(name), password_hash="none"
    )


async def make_template(project_name: str, name: str) -> Template:
    folded = {"name_folded": fold(project_name), "currency": "EUR"}
    project, _ = await Project.get_or_create(defaults=folded, name=project_name)
    role, _ = await Role.get_or_create(defaults={"name_folded": "caller"}, project=project, name="caller")
    return await Template.create(project=project, role=role, name=name, name_folded=fold(name), position=1)


async def make_key(template: Template, user: User) -> IssuedKey:
    whose: dict[str, Any] = {"project_id": template.project_id, "template": template, "user": user}
    request = await KeyRequest.create(**whose, requested_at=START, decided_at=START, state=RequestState.APPROVED)
    named: dict[str, Any] = {"name": template.name, "name_folded": template.name_folded}
    return await IssuedKey.create(request=request, role_id=template.role_id, **whose, **named, received_at=START)


def random_calls(ledger: Ledger, quantity: int) -> list[Call]:
    """Calls in bursts, some of them on the hour, with costs of all ten decimals."""
    dice = random.Random(2026)  # noqa: S311  # a proof that fails must fail again
    bursts = [START + dice.randrange((END - START) // MICROSECOND) * MICROSECOND for _ in range(60)]
    bursts += [hour_of(burst) for burst in bursts[:20]]
    return [
        Call(
            dice.choice(ledger.keys).id,
            dice.choice(bursts) + timedelta(microseconds=dice.choice([-1, 0, 1, dice.randrange(9_000_000_000)])),
            Decimal(dice.randrange(10 ** dice.randrange(1, 21))).scaleb(-10),
        )
        for _ in range(quantity)
    ]


def random_refusals(ledger: Ledger, quantity: int) -> list[Refused]:
    dice = random.Random(2027)  # noqa: S311  # the same
    span = (END - START) // timedelta(seconds=1)
    return [
        Refused(dice.choice(ledger.keys).id, START + timedelta(seconds=dice.randrange(span)), dice.randrange(1, 5))
        for _ in range(quantity)
    ]


# Drawn at random

odd = st.integers(0, (END - START) // MICROSECOND).map(lambda us: START + timedelta(microseconds=us))
hours = odd.map(hour_of) | odd.map(lambda at: hour_of(at).replace(hour=0))
instants = odd | hours | hours.map(lambda at: at + MICROSECOND) | hours.map(lambda at: at - MICROSECOND)
few_instants = st.builds(
    lambda days, at: START + days + (at - START) % HOUR, st.sampled_from([0 * DAY, 1 * DAY]), instants
)
periods = st.sets(instants, min_size=2, max_size=2).map(lambda two: between(min(two), max(two)))
costs = st.integers(0, 10**20 - 1).map(lambda tiny: Decimal(tiny).scaleb(-10))
prices = st.integers(0, 10**12 - 1).map(lambda tiny: Decimal(tiny).scaleb(-6))
coefficients = st.integers(0, 10**8 - 1).map(lambda tiny: Decimal(tiny).scaleb(-4))
cuts = st.sets(instants, min_size=2, max_size=7).map(sorted)
