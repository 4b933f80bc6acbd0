"""Route rules, limits, usage by the month, calls that were reported; keys lose a column that nothing filled."""

from typing import Any

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint
from tortoise.migrations.schema_editor.base import BaseSchemaEditor

from models.fields import IdField
from models.operations import CreateTable, DropColumn

FIRST_OF_MONTH = {
    "sqlite": "CAST(strftime('%s', day / 1000000, 'unixepoch', 'start of month') AS INTEGER) * 1000000",
    "postgres": "CAST(extract(epoch FROM date_trunc('month', to_timestamp(day / 1000000) AT TIME ZONE 'UTC'))"
    " AS BIGINT) * 1000000",
}


async def sum_up_months(_: Any, editor: BaseSchemaEditor) -> None:
    """Has the months hold what the days do."""
    month = FIRST_OF_MONTH[editor.client.capabilities.dialect]
    units, fraction = "CAST(SUM(units) AS BIGINT)", "CAST(SUM(fraction) AS BIGINT)"
    await editor.client.execute_query(
        f"""
        INSERT INTO usage_months (key_id, month, requests, refused, units, fraction)
        SELECT key_id, {month}, SUM(requests), SUM(refused),
            {units} + {fraction} / 10000000000, {fraction} % 10000000000
        FROM usage_days GROUP BY key_id, {month}
        """  # noqa: S608  # both come from this file
    )


class Migration(migrations.Migration):
    dependencies = [("models", "0001_the_whole")]

    operations = [
        CreateTable(
            name="ReportedCall",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("call_id", fields.CharField(max_length=128)),
                (
                    "key",
                    fields.ForeignKeyField(
                        "models.IssuedKey",
                        source_field="key_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("called_at", fields.BigIntField()),
            ],
            options={
                "table": "reported_calls",
                "app": "models",
                "unique_together": (("project", "call_id"),),
                "indexes": [Index(fields=["called_at"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="RouteRule",
            fields=[
                ("id", IdField(prefix="rul")),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("position", fields.IntField()),
                ("method", fields.CharField(max_length=16)),
                ("pattern", fields.CharField(max_length=1000)),
                ("permission", fields.CharField(max_length=32)),
            ],
            options={
                "table": "route_rules",
                "app": "models",
                "unique_together": (("project", "position"),),
                "constraints": [CheckConstraint(check="position >= 0", name="rule_position")],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="TemplateLimits",
            fields=[
                (
                    "template",
                    fields.OneToOneField(
                        "models.Template",
                        source_field="template_id",
                        primary_key=True,
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("calls_per_second", fields.IntField(null=True)),
                ("burst", fields.IntField(null=True)),
                ("calls_per_day", fields.BigIntField(null=True)),
                ("calls_per_month", fields.BigIntField(null=True)),
                ("cost_per_day", fields.DecimalField(null=True, max_digits=22, decimal_places=10)),
                ("cost_per_month", fields.DecimalField(null=True, max_digits=22, decimal_places=10)),
            ],
            options={
                "table": "template_limits",
                "app": "models",
                "constraints": [
                    CheckConstraint(check="calls_per_second > 0 AND burst > 0", name="rate_positive"),
                    CheckConstraint(check="(calls_per_second IS NULL) = (burst IS NULL)", name="rate_with_burst"),
                    CheckConstraint(check="calls_per_day >= 0 AND calls_per_month >= 0", name="calls_not_negative"),
                    CheckConstraint(
                        check="CAST(cost_per_day AS NUMERIC) >= 0 AND CAST(cost_per_month AS NUMERIC) >= 0",
                        name="costs_not_negative",
                    ),
                ],
                "pk_attr": "template_id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="UsageMonth",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True)),
                (
                    "key",
                    fields.ForeignKeyField(
                        "models.IssuedKey",
                        source_field="key_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("month", fields.BigIntField()),
                ("requests", fields.BigIntField(default=0)),
                ("refused", fields.BigIntField(default=0)),
                ("units", fields.BigIntField(default=0)),
                ("fraction", fields.BigIntField(default=0)),
            ],
            options={
                "table": "usage_months",
                "app": "models",
                "unique_together": (("key", "month"),),
                "constraints": [
                    CheckConstraint(
                        check="units >= 0 AND fraction >= 0 AND fraction < 10000000000", name="usage_month_carried"
                    ),
                    CheckConstraint(check="requests >= 0 AND refused >= 0", name="usage_month_counted"),
                    CheckConstraint(check="month % 86400000000 = 0", name="usage_month_whole"),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        DropColumn(model_name="IssuedKey", name="last_used_at"),
        ops.RunPython(sum_up_months, ops.RunPython.noop),
    ]
