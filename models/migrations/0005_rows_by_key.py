"""What is read for keys and people lies together: on SQLite the days and months of a key, and who asked for keys where.

An SQLite table whose rows lie in the order of their primary key is one tree instead of two, so that the days and months
of a period are read side by side. Hours are written to more than they are read, and stay in the order of their time.
"""

from typing import Any

from tortoise import migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor

BUCKETS = (("usage_days", "day"), ("usage_months", "month"))
COLUMNS = "id, requests, refused, units, fraction, key_id"


def by_key(table: str, column: str) -> str:
    """Of what is new the id is NULL: buckets are known by their keys and instants alone."""
    return f"""
        CREATE TABLE "{table}_by_key" (
            "id" BIGINT,
            "{column}" BIGINT NOT NULL,
            "requests" BIGINT NOT NULL,
            "refused" BIGINT NOT NULL,
            "units" BIGINT NOT NULL,
            "fraction" BIGINT NOT NULL,
            "key_id" VARCHAR(30) NOT NULL REFERENCES "issued_keys" ("id") ON DELETE RESTRICT,
            PRIMARY KEY ("key_id", "{column}"),
            CONSTRAINT "usage_{column}_carried" CHECK (units >= 0 AND fraction >= 0 AND fraction < 10000000000),
            CONSTRAINT "usage_{column}_counted" CHECK (requests >= 0 AND refused >= 0),
            CONSTRAINT "usage_{column}_whole" CHECK ({column} % 86400000000 = 0)
        ) WITHOUT ROWID;
        INSERT INTO "{table}_by_key" ({column}, {COLUMNS}) SELECT {column}, {COLUMNS} FROM "{table}"
            ORDER BY key_id, {column};
        DROP TABLE "{table}";
        ALTER TABLE "{table}_by_key" RENAME TO "{table}";
    """  # noqa: S608  # of names that stand in this file


async def lay_by_key(_: Any, editor: BaseSchemaEditor) -> None:
    if editor.client.capabilities.dialect == "sqlite":
        for bucket in BUCKETS:
            await editor.client.execute_script(by_key(*bucket))


class Migration(migrations.Migration):
    dependencies = [("models", "0004_dropped_records")]

    operations = [
        ops.RunPython(lay_by_key, ops.RunPython.noop),
        ops.AddIndex(model_name="KeyRequest", index=Index(fields=["project_id", "user_id"])),
    ]
