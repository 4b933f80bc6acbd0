"""A database of an earlier release is brought to the newest schema, and loses nothing by it."""

import asyncio
import logging
import os
import signal

import pytest
from tortoise.migrations.recorder import MigrationRecorder

from gateway.database import connection
from gateway.migrating import OutOfDate, check_schema, migrate, pending_migrations
from gateway.permissions import Permission
from models import UsageRecord
from tests import quick_starts
from tests.mortal import ROUNDS, SEED, chance
from tests.schemas import (
    MONTHS,
    SCHEMAS,
    Rows,
    begin_at,
    changed,
    go_on_to,
    make_a_row_everywhere,
    put,
    rows_of_all,
    rules,
)
from tests.statements import CLIENT, statements
from tests.world import issued_key, owned_project, person, role, template

FIRST = SCHEMAS[0]
DEATHS = ROUNDS or 2
GIVEN_UP = ("usage_records_pkey", "usage_records_key_id_fkey")
"""Rules of records that a later release gave up on PostgreSQL."""

NOTE = 'INSERT INTO "tortoise_migrations"'

log = logging.getLogger(__name__)


@pytest.fixture
async def rows(database: str) -> Rows:
    """Of every table of the newest schema."""
    await make_a_row_everywhere()
    return await rows_of_all()


async def test_a_filled_database_of_each_schema_keeps_every_row_and_rule_in_the_next_and_ends_as_a_new_one_begins(
    database: str, rows: Rows
) -> None:
    rules_of_new = await rules()
    await begin_at(FIRST, database)
    for schema in SCHEMAS[1:]:
        await put(rows)  # those of tables that came last too
        rows_before, rules_before = await rows_of_all(), await rules()
        await go_on_to(schema, database)
        assert changed(rows_before, await rows_of_all()) == []
        assert {rule for rule in rules_before - await rules() if not is_given_up(rule)} == set()
    assert await rules() == rules_of_new
    await see_that_more_can_be_written()


def is_given_up(rule: str) -> bool:
    return any(name in rule for name in GIVEN_UP)


async def see_that_more_can_be_written() -> None:
    """What numbers rows goes on where it was."""
    bo = await person("Bo")
    project = await owned_project(bo)
    key = await issued_key(await template(project, await role(project, Permission.PROJECT_VIEW)), bo)
    await UsageRecord.create(key=key, called_at=1, units=0, fraction=0)


async def test_the_months_begin_as_the_sums_of_the_days_that_were_counted_before(database: str, rows: Rows) -> None:
    await begin_at(FIRST, database)
    await put(rows)
    await go_on_to(SCHEMAS[1], database)
    after = await rows_of_all()
    names = ("month", "requests", "refused", "units", "fraction")
    months = [tuple(row[name] for name in names) for row in after["usage_months"]]
    assert sorted(months) == sorted(MONTHS)


async def test_a_schema_one_release_ahead_is_served_and_any_further_one_is_refused(database: str) -> None:
    for name, age in (("9998_ahead", 1), ("9999_further", 2)):
        await MigrationRecorder(connection()).record_applied("models", name)
        if age == 1:
            await check_schema()
            assert await migrate(database) == []
    for refusing in (check_schema(), migrate(database)):
        with pytest.raises(OutOfDate, match="9998_ahead, 9999_further"):
            await refusing


async def test_a_migration_that_is_killed_at_any_statement_is_there_whole_or_not_at_all_and_taken_the_next_time(
    database: str, rows: Rows
) -> None:
    log.warning("To repeat this run: TESSERA_CRASH_SEED=%d TESSERA_CRASH_ROUNDS=%d", SEED, ROUNDS)
    rules_of, quantity = await walked(database)
    random = chance("who migrates")
    for death in range(DEATHS):
        await begin_at(FIRST, database)
        await put(rows)
        before = await rows_of_all()
        # Every other time when all is done, and only not yet noted.
        beginning, last = (NOTE, len(SCHEMAS) - 1) if death % 2 else ("", quantity)
        ending = (migrate_and_die, database, beginning, random.randrange(last))
        assert await asyncio.to_thread(quick_starts.status_of, *ending) == -signal.SIGKILL
        lacking = await pending_migrations()
        assert await rules() == rules_of[SCHEMAS[-len(lacking) - 1]]
        assert await migrate(database) == lacking
        assert await rules() == rules_of[SCHEMAS[-1]]
        assert changed(before, await rows_of_all()) == []


async def walked(url: str) -> tuple[dict[str, set[str]], int]:
    """The rules of each schema, and how many statements lead from the first to the newest."""
    quantity = 0
    await begin_at(FIRST, url)
    found = {FIRST: await rules()}
    for schema in SCHEMAS[1:]:
        with statements() as sent:
            await go_on_to(schema, url)
        quantity += len(sent)
        found[schema] = await rules()
    return found, quantity


class Reaper(logging.Handler):
    """Kills the process that it is in, before it sends another statement that begins so, after so many of them."""

    def __init__(self, beginning: str, quantity: int) -> None:
        super().__init__()
        self._beginning = beginning
        self._left = quantity

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith(self._beginning):
            return
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def migrate_and_die(url: str, beginning: str, quantity: int) -> None:
    CLIENT.addHandler(Reaper(beginning, quantity))
    CLIENT.setLevel(logging.DEBUG)
    asyncio.run(migrate(url))
