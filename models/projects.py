"""Projects, and the nodes of their graphs that the gateway knows."""

from tortoise import fields
from tortoise.migrations.constraints import UniqueConstraint
from tortoise.models import Model

from models.fields import NAME_LENGTH, FoldedField, IdField, reference


class Project(Model):
    id = IdField("prj")
    name = fields.CharField(max_length=NAME_LENGTH)
    name_folded = FoldedField()
    description = fields.TextField(default="")
    currency = fields.CharField(max_length=3)
    upstream_url = fields.TextField(null=True)
    version = fields.IntField(default=1, db_default=1)
    created_at = fields.DatetimeField(auto_now_add=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "projects"


class ProjectNode(Model):
    id = IdField("nod")
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    name = fields.CharField(max_length=NAME_LENGTH)
    name_folded = FoldedField()
    upstream_id = fields.CharField(max_length=200)
    version = fields.IntField(default=1, db_default=1)
    created_at = fields.DatetimeField(auto_now_add=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "project_nodes"
        constraints = (
            UniqueConstraint(("project_id", "name"), "living_node_name", "deleted_at IS NULL"),
            UniqueConstraint(("project_id", "upstream_id"), "living_node_upstream_id", "deleted_at IS NULL"),
        )
