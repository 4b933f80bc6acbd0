"""Up to which instant single calls were dropped. What earlier releases dropped is not known, and not told."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

from models.operations import CreateTable


class Migration(migrations.Migration):
    dependencies = [("models", "0003_records_by_the_week")]

    operations = [
        CreateTable(
            name="DroppedRecords",
            fields=[
                ("id", fields.IntField(primary_key=True, generated=False)),
                ("until", fields.BigIntField(default=0)),
            ],
            options={
                "table": "dropped_records",
                "app": "models",
                "constraints": [CheckConstraint(check="id = 1", name="single_dropped")],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.RunSQL("INSERT INTO dropped_records (id, until) VALUES (1, 0)", "DELETE FROM dropped_records"),
    ]
