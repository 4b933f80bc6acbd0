"""Who belongs to a project, and in which roles."""

from tortoise import fields
from tortoise.migrations.constraints import UniqueConstraint
from tortoise.models import Model

from models.fields import IdField, reference
from models.projects import Project
from models.roles import Role
from models.users import User


class Member(Model):
    id = IdField("mem")
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    user: fields.ForeignKeyRelation[User] = reference("User")
    user_id: str
    created_at = fields.DatetimeField(auto_now_add=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "members"
        constraints = (UniqueConstraint(("project_id", "user_id"), "one_membership", "deleted_at IS NULL"),)
        indexes = (("user_id",),)


class MemberRole(Model):
    id = fields.BigIntField(primary_key=True, generated=True)
    member: fields.ForeignKeyRelation[Member] = reference("Member")
    member_id: str
    role: fields.ForeignKeyRelation[Role] = reference("Role")
    role_id: str

    class Meta:
        table = "member_roles"
        unique_together = (("member", "role"),)
        indexes = (("role_id",),)
