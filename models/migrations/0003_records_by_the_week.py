"""On PostgreSQL single calls are partitioned by weeks, so that the oldest go by dropping a table."""

from typing import Any

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor

WEEK_US = 604_800_000_000

# No index leads to an id: it only tells records apart that are alike. What of them is referred to goes by key and time.
PARTITION = f"""
    ALTER TABLE usage_records RENAME TO usage_records_unparted;
    ALTER TABLE usage_records_unparted RENAME CONSTRAINT usage_record_carried TO usage_record_carried_unparted;
    CREATE TABLE usage_records (
        LIKE usage_records_unparted INCLUDING DEFAULTS,
        CONSTRAINT usage_record_carried CHECK (units >= 0 AND fraction >= 0 AND fraction < 10000000000)
    ) PARTITION BY RANGE (called_at);
    ALTER SEQUENCE usage_records_id_seq OWNED BY usage_records.id;
    CREATE TABLE usage_records_rest PARTITION OF usage_records DEFAULT;
    DO $$
    DECLARE first_instant BIGINT;
    BEGIN
        FOR first_instant IN SELECT DISTINCT called_at - called_at % {WEEK_US} FROM usage_records_unparted LOOP
            EXECUTE format(
                'CREATE TABLE usage_records_%s PARTITION OF usage_records FOR VALUES FROM (%s) TO (%s)',
                to_char(to_timestamp(first_instant / 1000000) AT TIME ZONE 'UTC', 'YYYYMMDD'),
                first_instant, first_instant + {WEEK_US}
            );
        END LOOP;
    END $$;
    INSERT INTO usage_records SELECT * FROM usage_records_unparted;
    DROP TABLE usage_records_unparted;
    ALTER TABLE usage_records ADD CONSTRAINT usage_records_key_id_fkey
        FOREIGN KEY (key_id) REFERENCES issued_keys (id) ON DELETE RESTRICT;
    CREATE INDEX idx_usage_recor_key_id_64edc9 ON usage_records (key_id, called_at);
"""  # noqa: S608  # of a number that stands in this file


async def partition(_: Any, editor: BaseSchemaEditor) -> None:
    if editor.client.capabilities.dialect == "postgres":
        await editor.client.execute_script(PARTITION)


class Migration(migrations.Migration):
    dependencies = [("models", "0002_the_gateway")]

    operations = [ops.RunPython(partition, ops.RunPython.noop)]
