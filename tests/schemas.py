"""Databases as earlier releases made them, with a row in every table, and what a migration must keep of them.

await make_a_row_everywhere()
rows = await rows_of_all()
await begin_at("0002_the_gateway", url)
await put(rows)
"""

import pkgutil
import re
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tortoise import Tortoise
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.models import Model
from tortoise.transactions import in_transaction

from gateway import clock
from gateway.database import config, connection
from gateway.permissions import Permission
from models import (
    AuditEntry,
    Event,
    IdempotentAct,
    IssuedKey,
    KeyGeneration,
    ReportedCall,
    RouteRule,
    Secret,
    Session,
    SigningKey,
    TemplateField,
    TemplateLimits,
    UsageDay,
    UsageHour,
    UsageMonth,
    UsageRecord,
    migrations,
)
from tests.world import issued_key, node, owned_project, person, role, template

Rows = dict[str, list[dict[str, Any]]]
SCHEMAS = sorted(found.name for found in pkgutil.iter_modules(migrations.__path__))
"""Every one that a release had, the newest last."""
OURS = "relnamespace = 'public'::regnamespace AND NOT relispartition"
NUMBER_ON = """
    DO $$ DECLARE numbers REGCLASS;
    BEGIN
        FOR numbers IN SELECT oid FROM pg_class WHERE relkind = 'S' AND relname <> 'tortoise_migrations_id_seq' LOOP
            PERFORM setval(numbers, 1000);
        END LOOP;
    END $$
"""
"""Rows that come get numbers beyond those that were put."""
DAY = 86_400_000_000
FEBRUARY = 1_769_904_000_000_000
"""When it began, in 2026."""
DAYS = ((FEBRUARY - 31 * DAY, 2, 1, 1, 9_999_999_999), (FEBRUARY - DAY, 3, 0, 1, 1), (FEBRUARY, 5, 7, 0, 5))
"""Instants, requests, refusals, and the cost as units and fraction."""
MONTHS = ((FEBRUARY - 31 * DAY, 5, 1, 3, 0), (FEBRUARY, 5, 7, 0, 5))


def is_on_sqlite() -> bool:
    return bool(connection().capabilities.dialect == "sqlite")


async def begin_at(schema: str, url: str) -> None:
    """Nothing is left in the connected database but what that release's schema begins with."""
    if is_on_sqlite():
        await connection().execute_script("PRAGMA foreign_keys = OFF")
        for table in [*await tables(), "tortoise_migrations"]:
            await connection().execute_script(f'DROP TABLE "{table}"')
    else:
        await connection().execute_script("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await go_on_to(schema, url)


async def go_on_to(schema: str, url: str) -> None:
    target = MigrationTarget(app_label="models", name=schema)
    await MigrationExecutor(connection(), config(url)["apps"]).migrate([target])


async def put(rows: Rows) -> None:
    """As much of them as the present schema has tables and columns for."""
    async with in_transaction():
        if not is_on_sqlite():
            await connection().execute_script("SET LOCAL session_replication_role = replica")  # no order between tables
        for table in await tables() & rows.keys():
            await connection().execute_script(f'DELETE FROM "{table}"')  # noqa: S608  # a table of ours
            names = await columns(table)
            for row in rows[table]:
                await _insert(table, {name: row[name] for name in names if name in row})
        if not is_on_sqlite():
            await connection().execute_script(NUMBER_ON)


async def _insert(table: str, row: Mapping[str, Any]) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    marks = ", ".join("?" if is_on_sqlite() else f"${number}" for number in range(1, len(row) + 1))
    await connection().execute_query(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))  # noqa: S608  # tables and columns of ours


# ---------------------------------------------------------------- what is there


async def found(query: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection().execute_query_dict(query)]


async def tables() -> set[str]:
    """Without those of weeks, whose rows are read with their parent's."""
    if is_on_sqlite():
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    else:
        query = f"SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p') AND {OURS}"  # noqa: S608  # a constant
    return {row["name"] for row in await found(query)} - {"tortoise_migrations"}


async def columns(table: str) -> set[str]:
    if is_on_sqlite():
        query = f"SELECT name FROM pragma_table_info('{table}')"  # noqa: S608  # a table of ours
    else:
        of_table = f"attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        query = f"SELECT attname AS name FROM pg_attribute WHERE {of_table}"  # noqa: S608  # the same
    return {row["name"] for row in await found(query)}


async def rows_of_all() -> Rows:
    return {table: await found(f'SELECT * FROM "{table}"') for table in await tables()}  # noqa: S608  # a table of ours


def changed(before: Rows, after: Rows) -> list[str]:
    """What of the first rows isn't in the second, or is more often: by the columns that both have."""
    return [difference for table, rows in before.items() for difference in _changed(table, rows, after[table])]


def _changed(table: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    names = sorted({name for row in before[:1] for name in row} & {name for row in after[:1] for name in row})
    old, new = (Counter(str([row[name] for name in names]) for row in rows) for rows in (before, after))
    return [f"{table} {names}: {row}" for row in ((old - new) + (new - old))]


async def rules() -> set[str]:
    """Each index, and each constraint of a table, by what it is called and what it says."""
    return await (_rules_of_sqlite() if is_on_sqlite() else _rules_of_postgres())


async def _rules_of_postgres() -> set[str]:
    constraints = f"""
        SELECT concat_ws(' ', relname, conname, pg_get_constraintdef(c.oid)) AS rule
        FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid WHERE {OURS}
    """  # noqa: S608  # a constant
    indexes = f"""
        SELECT pg_get_indexdef(indexrelid) AS rule FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid WHERE {OURS}
    """  # noqa: S608  # the same
    return {row["rule"].replace(" ONLY ", " ") for query in (constraints, indexes) for row in await found(query)}


async def _rules_of_sqlite() -> set[str]:
    """A rebuilt table says in other words what it said, so that a constraint is known by its name or its columns."""
    of_tables = "FROM sqlite_master t JOIN {} x WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
    keys = of_tables.format("pragma_foreign_key_list(t.name)")
    uniques = of_tables.format("pragma_index_list(t.name)") + " AND x.origin <> 'c'"
    queries = (
        "SELECT sql AS rule FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        f"SELECT t.name || ' ' || x.\"from\" || ' ' || x.\"table\" || ' ' || x.on_delete AS rule {keys}",
        f"SELECT t.name || ' ' || (SELECT group_concat(name) FROM pragma_index_info(x.name)) AS rule {uniques}",  # noqa: S608  # the same
    )
    named = {row["rule"] for query in queries for row in await found(query)}
    statements = await found("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    for row in statements:
        named |= {f"{row['name']} {check}" for check in re.findall(r'CONSTRAINT "(\w+)" CHECK', row["sql"])}
    return named


# ---------------------------------------------------------------- a row in every table


async def make_a_row_everywhere() -> None:
    """In the newest schema: somebody's key, all that may stand around it, and what it called on three days."""
    ada = await person("Ada")
    key = await _key_of_a_project(ada)
    await _tokens_of(key)
    await _calls_of(key)
    now = clock.now()
    whose: dict[str, Any] = {"project_id": key.project_id, "user_id": key.user_id, "object_id": key.id}
    await Session.create(user=ada.user, expires_at=now)
    await AuditEntry.create(at=now, action="key.revoke", address="127.0.0.1", **whose)
    await Event.create(position=1, kind="key.revoked", occurred_at=now, **whose)
    made: dict[str, Any] = {"viewer_id": key.user_id, "mutation": "keyRevoke", "idempotency_key": "once"}
    await IdempotentAct.create(input_hash=b"\x00\xff", object_ids=[key.id], created_at=now, **made)
    empty = [model.__name__ for model in Tortoise.apps["models"].values() if not await _has_rows(model)]
    assert not empty


async def _has_rows(model: type[Model]) -> bool:
    return await model.all().exists()


async def _key_of_a_project(ada: Any) -> IssuedKey:
    project = await owned_project(ada, "Mäps \N{LOCK}", upstream_url="http://127.0.0.1:1/")
    input_node = await node(project)
    caller = await role(project, Permission.PROJECT_VIEW, on_nodes={input_node.id: [Permission.CODE_VIEW]})
    basic = await template(project, caller, price_per_request="0.0000000001")
    await TemplateLimits.create(template=basic, calls_per_second=2, burst=4, cost_per_month="999999999999.9999999999")
    await TemplateField.create(template=basic, name="Where", value="literal", node=input_node, position=0)
    await RouteRule.create(project=project, position=0, method="GET", pattern="/jobs/**", permission="project.view")
    await Secret.create(project=project, name="MAPS_KEY", sealed_value=b"\x00\xff")
    return await issued_key(basic, ada, expires_at=clock.now() + timedelta(days=1))


async def _tokens_of(key: IssuedKey) -> None:
    signing = await SigningKey.create(public_key=b"\x00\xff", sealed_private_key=b"\xfe\x00")
    await KeyGeneration.create(key=key, generation=1, signing_key=signing, header='{"alg":"EdDSA"}', claims="{}")


async def _calls_of(key: IssuedKey) -> None:
    await UsageRecord.create(key=key, called_at=FEBRUARY + 1, units=0, fraction=5)
    await UsageHour.create(key=key, hour=FEBRUARY, requests=5, refused=7, fraction=5)
    await ReportedCall.create(project_id=key.project_id, key=key, call_id="one", called_at=FEBRUARY + 1)
    for day, *counts in DAYS:
        await UsageDay.create(key=key, day=day, **_counted(counts))
    for month, *counts in MONTHS:
        await UsageMonth.create(key=key, month=month, **_counted(counts))


def _counted(counts: list[int]) -> dict[str, Any]:
    return dict(zip(("requests", "refused", "units", "fraction"), counts, strict=True))
