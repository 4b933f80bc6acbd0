"""Roles and what each of them permits."""

from decimal import Decimal

from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.fields import NAME_LENGTH, FoldedField, IdField, reference
from models.projects import Project, ProjectNode


class Role(Model):
    id = IdField("rol")
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    name = fields.CharField(max_length=NAME_LENGTH)
    name_folded = FoldedField()
    description = fields.TextField(default="")
    cost_coefficient = fields.DecimalField(max_digits=8, decimal_places=4, default=Decimal(1))
    is_public = fields.BooleanField(default=False)
    is_owner = fields.BooleanField(default=False)
    version = fields.IntField(default=1)
    created_at = fields.DatetimeField(auto_now_add=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "roles"
        constraints = (
            CheckConstraint("CAST(cost_coefficient AS NUMERIC) BETWEEN 0 AND 9999.9999", "coefficient_in_range"),
            CheckConstraint("NOT (is_owner AND is_public)", "owner_role_is_not_public"),
            UniqueConstraint(("project_id", "name"), "living_role_name", "deleted_at IS NULL"),
            UniqueConstraint(("project_id",), "one_owner_role", "is_owner"),
        )


class Grant(Model):
    """A role's permission on its project as a whole, or, with a node, on that node alone."""

    id = fields.BigIntField(primary_key=True, generated=True)
    role: fields.ForeignKeyRelation[Role] = reference("Role")
    role_id: str
    node: fields.ForeignKeyNullableRelation[ProjectNode] = reference("ProjectNode", null=True)
    node_id: str | None
    permission = fields.CharField(max_length=32)

    class Meta:
        table = "grants"
        constraints = (
            UniqueConstraint(("role_id", "permission"), "one_project_grant", "node_id IS NULL"),
            UniqueConstraint(("role_id", "permission", "node_id"), "one_node_grant", "node_id IS NOT NULL"),
        )
