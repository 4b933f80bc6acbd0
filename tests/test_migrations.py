"""A database of an earlier release is brought to the newest schema, and loses nothing by it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.migrations.recorder import MigrationRecorder

from gateway.database import (
    OutOfDate,
    check_schema,
    config,
    connected,
    connection,
    is_sqlite,
    migrate,
    pending_migrations,
)
from gateway.permissions import Permission
from models import UsageDay
from tests.world import issued_key, owned_project, person, role, template

FIRST = MigrationTarget(app_label="models", name="0001_the_whole")
DAY = 86_400_000_000
JANUARY, FEBRUARY = 1_767_225_600_000_000, 1_769_904_000_000_000  # of 2026
TABLES = (
    "users",
    "projects",
    "roles",
    "grants",
    "templates",
    "key_requests",
    "issued_keys",
    "usage_days",
    "event_head",
)
DAYS = [(JANUARY, 2, 1, 1, 9_999_999_999), (FEBRUARY - DAY, 3, 0, 1, 1), (FEBRUARY, 5, 7, 0, 5)]


@pytest.fixture
async def first_schema(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """A database as the first release made it; nothing is in it."""
    url = f"sqlite://{tmp_path / 'first.db'}" if is_sqlite(database_url) else database_url
    async with connected(url):
        if not is_sqlite(url):
            await connection().execute_script("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await MigrationExecutor(connection(), config(url)["apps"]).migrate([FIRST])
        yield url


async def rows_of(table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection().execute_query_dict(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608  # a table of ours


async def indexes() -> set[str]:
    if connection().capabilities.dialect == "sqlite":
        found = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        found = "SELECT indexname AS name FROM pg_indexes WHERE schemaname = 'public'"
    return {row["name"] for row in await connection().execute_query_dict(found)}


async def fill() -> None:
    """A key, and what it called on three days; what this takes of the tables is the same in every schema."""
    await connection().execute_script("ALTER TABLE projects ADD COLUMN version INT DEFAULT 1")
    await fill_as_today()
    await connection().execute_script("ALTER TABLE projects DROP COLUMN version")


async def fill_as_today() -> None:
    ada = await person("Ada")
    project = await owned_project(ada)
    key = await issued_key(await template(project, await role(project, Permission.PROJECT_VIEW)), ada)
    for day, requests, refused, units, fraction in DAYS:
        counts: dict[str, Any] = {"requests": requests, "refused": refused, "units": units, "fraction": fraction}
        await UsageDay.create(key=key, day=day, **counts)


async def test_a_filled_database_of_the_first_schema_keeps_every_row_and_every_index(first_schema: str) -> None:
    await fill()
    before = {table: await rows_of(table) for table in TABLES}
    indexes_before = await indexes()
    assert (await migrate(first_schema))[0] == "0002_the_gateway"
    assert await pending_migrations() == []
    after = {table: await rows_of(table) for table in TABLES}
    for row in before["issued_keys"]:
        assert row.pop("last_used_at") is None
    for row in after["projects"]:
        assert row.pop("version") == 1
    assert after == before
    assert await indexes() >= indexes_before - {"usage_records_pkey"}  # no index leads to a record's id on PostgreSQL


async def test_the_months_begin_as_the_sums_of_the_days_that_were_counted_before(first_schema: str) -> None:
    await fill()
    await migrate(first_schema)
    months = [
        (row["month"], row["requests"], row["refused"], row["units"], row["fraction"])
        for row in await rows_of("usage_months")
    ]
    assert sorted(months) == [(JANUARY, 5, 1, 3, 0), (FEBRUARY, 5, 7, 0, 5)]


async def test_a_schema_one_release_ahead_is_served_and_any_further_one_is_refused(database: str) -> None:
    for name, age in (("9998_ahead", 1), ("9999_further", 2)):
        await MigrationRecorder(connection()).record_applied("models", name)
        if age == 1:
            await check_schema()
            assert await migrate(database) == []
    for refusing in (check_schema(), migrate(database)):
        with pytest.raises(OutOfDate, match="9998_ahead, 9999_further"):
            await refusing


async def test_a_migration_that_breaks_off_before_it_is_noted_leaves_nothing_and_is_taken_the_next_time(
    first_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill()
    lacking, before = await pending_migrations(), await indexes()
    with monkeypatch.context() as patch:
        patch.setattr(MigrationRecorder, "record_applied", break_off)
        with pytest.raises(RuntimeError):
            await migrate(first_schema)
    assert (await pending_migrations(), await indexes()) == (lacking, before)
    assert await migrate(first_schema) == lacking


async def break_off(*_: Any) -> None:
    raise RuntimeError
