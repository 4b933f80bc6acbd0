"""Versions of projects, nodes, information fields and secrets, so that a stale edit is told.

The database gives the first one too: processes of the release before don't know the column.
"""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

VERSIONED = ("Project", "ProjectNode", "TemplateField", "Secret")


class Migration(migrations.Migration):
    dependencies = [("models", "0005_rows_by_key")]

    operations = [
        ops.AddField(model_name=name, name="version", field=fields.IntField(default=1, db_default=1))
        for name in VERSIONED
    ]
