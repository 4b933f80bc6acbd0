"""On PostgreSQL a call that is written looks for its key's row no longer, nor locks it: docs/decisions/0015."""

from typing import Any

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor


async def let_go_of_keys(_: Any, editor: BaseSchemaEditor) -> None:
    if editor.client.capabilities.dialect == "postgres":
        await editor.client.execute_script("ALTER TABLE usage_records DROP CONSTRAINT usage_records_key_id_fkey")


class Migration(migrations.Migration):
    dependencies = [("models", "0006_versions")]

    operations = [ops.RunPython(let_go_of_keys, ops.RunPython.noop)]
