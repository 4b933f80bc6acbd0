"""A seeded database: whole, exact, the same each time, and open to whoever seeded it."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway import partitions, reconcile, seeding, usage
from gateway.database import connection
from gateway.errors import Conflict
from gateway.passwords import Passwords
from gateway.pricing import Amount, between, cost, micros
from gateway.seeding import PERIOD, Scale
from gateway.signing import Keyring
from gateway.traffic import Traffic
from models import IssuedKey, KeyGeneration, Project, Template, UsageRecord, User
from models.fields import fold
from tests.asking import ISSUER
from tests.test_cli import Tessera
from tests.world import SEALER, owned_project, person, refused

UNTIL = datetime.fromisoformat("2026-11-24T18:30:00Z")
END = UNTIL.replace(minute=0)
SMALL = Scale(projects=2, templates_per_project=3, keys_per_template=2, users=6)
RECORDS = 2_000


async def seed(records: int = RECORDS, *, is_added: bool = False) -> list[int]:
    told: list[int] = []
    passwords, keyring = Passwords(), Keyring(SEALER, ISSUER)
    await seeding.seed(passwords, keyring, told.append, records=records, until=UNTIL, scale=SMALL, is_added=is_added)
    return told


async def test_every_bucket_of_a_seeded_database_is_the_sum_of_its_parts(database: str) -> None:
    told = await seed()
    assert sum(told) == await UsageRecord.all().count() == RECORDS
    assert [str(each) async for each in reconcile.differences(END - PERIOD, lambda _: None)] == []
    projects = await Project.all().values_list("id", flat=True)
    found = await usage.of_projects([str(id) for id in projects], usage.Grouping.KEY, between(END - PERIOD, END))
    totals = [total for keys in found.values() for total in keys.values()]
    assert sum(total.requests for total in totals) == RECORDS
    assert sum(total.refused for total in totals) > 0


async def test_each_call_costs_what_the_key_s_template_and_role_say(database: str) -> None:
    await seed()
    keys = await IssuedKey.all().select_related("template", "role")
    costs = {key.id: Amount.of(cost(key.template.price_per_request, key.role.cost_coefficient)) for key in keys}
    assert len(costs) == 12
    for record in await UsageRecord.all():
        assert Amount(record.units, record.fraction) == costs[record.key_id]


async def test_calls_are_spread_over_the_whole_year_to_the_microsecond_and_a_few_keys_make_most(database: str) -> None:
    await seed()
    records = await UsageRecord.all().order_by("called_at")
    first, last = micros(END - PERIOD), micros(END)
    assert first <= records[0].called_at < first + micros_of(days=2)
    assert last - micros_of(days=2) < records[-1].called_at < last
    assert len({record.called_at % 1_000_000 for record in records}) > RECORDS * 0.9
    [(_, most), *_] = Counter(record.key_id for record in records).most_common()
    assert most > RECORDS / 4


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_each_week_of_seeded_calls_has_a_table_of_its_own(database: str) -> None:
    await seed()
    weeks = await partitions.weeks()
    assert len(weeks) >= 53
    [rest] = await connection().execute_query_dict(f"SELECT count(*) AS calls FROM {partitions.REST}")  # noqa: S608  # our own table
    assert rest["calls"] == 0


def micros_of(days: int) -> int:
    return timedelta(days=days) // timedelta(microseconds=1)


def test_the_same_seed_gives_the_same_calls_and_another_others() -> None:
    costs = {f"key_{number}": Amount(0, number) for number in range(50)}

    def calls(seed: int) -> list[object]:
        batches = Traffic(costs, 5_000, micros(END - PERIOD), micros(END), seed).batches()
        return [(each.records, each.hours, each.days, each.months) for each in batches]

    assert calls(1) == calls(1)
    assert calls(1) != calls(2)


async def test_one_can_sign_in_as_the_owner_who_sees_every_project_and_every_key_has_a_token(database: str) -> None:
    await seed()
    owner = await User.get(email_folded=fold(seeding.OWNER))
    assert await Passwords().verify(seeding.PASSWORD, owner.password_hash)
    assert await Template.all().count() == 6
    generations = await KeyGeneration.all().select_related("key", "signing_key")
    assert len(generations) == 12
    keyring = Keyring(SEALER, ISSUER)
    for each in generations:
        claims = await keyring.verify(keyring.make(each.signing_key, each.header, each.claims))
        assert (claims["aud"], claims["sub"]) == (each.key.project_id, each.key.user_id)


async def test_a_database_that_has_projects_is_refused_unless_it_is_to_be_added_to(database: str) -> None:
    await owned_project(await person("Ada"))
    async with refused(Conflict):
        await seed()
    await seed(100, is_added=True)
    assert await Project.all().count() == 3


def test_the_command_says_how_far_it_is_and_whom_to_sign_in_as_and_reconcile_finds_nothing(
    tmp_path: Path,
) -> None:
    tessera = Tessera(tmp_path)
    done = tessera.run("bench", "seed", "--records=1000")
    assert (done.returncode, seeding.OWNER in done.stdout) == (0, True)
    assert done.stderr.splitlines()[-1] == "1000 of 1000 calls"
    assert "is the sum" in tessera.said("usage", "reconcile")
    again = tessera.run("bench", "seed", "--records=1000")
    assert (again.returncode, again.stderr) == (1, f"tessera: {seeding.FULL}\n")
