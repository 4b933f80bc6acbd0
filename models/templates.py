"""API key templates and their information fields."""

from decimal import Decimal

from tortoise import fields
from tortoise.fields import OnDelete
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.fields import NAME_LENGTH, FoldedField, IdField, reference
from models.projects import Project, ProjectNode
from models.roles import Role


class Template(Model):
    id = IdField("tpl")
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    role: fields.ForeignKeyRelation[Role] = reference("Role")
    role_id: str
    name = fields.CharField(max_length=NAME_LENGTH)
    name_folded = FoldedField()
    description = fields.TextField(default="")
    price_per_request = fields.DecimalField(max_digits=12, decimal_places=6, default=Decimal(0))
    position = fields.IntField()
    version = fields.IntField(default=1)
    created_at = fields.DatetimeField(auto_now_add=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "templates"
        constraints = (
            CheckConstraint("CAST(price_per_request AS NUMERIC) BETWEEN 0 AND 999999.999999", "price_in_range"),
            UniqueConstraint(("project_id", "name"), "living_template_name", "deleted_at IS NULL"),
        )
        indexes = (("project_id", "position"),)


class TemplateLimits(Model):
    """How much each key of a template may call; what is null is unlimited. Without a row nothing is limited.

    Days and months are those of UTC. `burst` goes with `calls_per_second`.
    """

    template: fields.OneToOneRelation[Template] = fields.OneToOneField(
        "models.Template", on_delete=OnDelete.RESTRICT, related_name=False, primary_key=True
    )
    template_id: str
    calls_per_second = fields.IntField(null=True)
    burst = fields.IntField(null=True)
    calls_per_day = fields.BigIntField(null=True)
    calls_per_month = fields.BigIntField(null=True)
    cost_per_day = fields.DecimalField(max_digits=22, decimal_places=10, null=True)
    cost_per_month = fields.DecimalField(max_digits=22, decimal_places=10, null=True)

    class Meta:
        table = "template_limits"
        constraints = (
            CheckConstraint("calls_per_second > 0 AND burst > 0", "rate_positive"),
            CheckConstraint("(calls_per_second IS NULL) = (burst IS NULL)", "rate_with_burst"),
            CheckConstraint("calls_per_day >= 0 AND calls_per_month >= 0", "calls_not_negative"),
            CheckConstraint(
                "CAST(cost_per_day AS NUMERIC) >= 0 AND CAST(cost_per_month AS NUMERIC) >= 0", "costs_not_negative"
            ),
        )


class TemplateField(Model):
    """A value is a literal, or, where `node` is set, that node's id in the upstream's paths."""

    id = IdField("fld")
    template: fields.ForeignKeyRelation[Template] = reference("Template")
    template_id: str
    name = fields.CharField(max_length=NAME_LENGTH)
    description = fields.TextField(default="")
    value = fields.TextField()
    node: fields.ForeignKeyNullableRelation[ProjectNode] = reference("ProjectNode", null=True)
    node_id: str | None
    node__upstream_id: str | None  # of rows that are only shown, as the next one
    template__project_id: str
    position = fields.IntField()
    version = fields.IntField(default=1, db_default=1)
    created_at = fields.DatetimeField(auto_now_add=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "template_fields"
        constraints = (UniqueConstraint(("template_id", "name"), "living_field_name", "deleted_at IS NULL"),)
