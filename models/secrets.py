"""Secrets of client projects."""

from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.fields import IdField, reference
from models.keys import IssuedKey
from models.projects import Project


class Secret(Model):
    """Without a value of its own it reads as the present token of the key that it was imported from."""

    id = IdField("sec")
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    name = fields.CharField(max_length=210)
    description = fields.TextField(default="")
    sealed_value = fields.BinaryField(null=True)
    imported_from: fields.ForeignKeyNullableRelation[IssuedKey] = reference("IssuedKey", null=True)
    imported_from_id: str | None
    version = fields.IntField(default=1, db_default=1)
    created_at = fields.DatetimeField(auto_now_add=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "secrets"
        constraints = (
            CheckConstraint("sealed_value IS NOT NULL OR imported_from_id IS NOT NULL", "has_a_value"),
            UniqueConstraint(("project_id", "name"), "living_secret_name", "deleted_at IS NULL"),
        )
