"""Requests for API keys."""

from enum import StrEnum

from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.fields import IdField, reference
from models.projects import Project
from models.templates import Template
from models.users import User


class RequestState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class KeyRequest(Model):
    id = IdField("req")
    template: fields.ForeignKeyRelation[Template] = reference("Template")
    template_id: str
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    user: fields.ForeignKeyRelation[User] = reference("User")
    user_id: str
    state = fields.CharEnumField(RequestState, max_length=16, default=RequestState.PENDING)
    note = fields.TextField(default="")
    requested_at = fields.DatetimeField()
    decided_at = fields.DatetimeField(null=True)
    decided_by: fields.ForeignKeyNullableRelation[User] = reference("User", null=True)
    decided_by_id: str | None
    reason = fields.TextField(null=True)

    class Meta:
        table = "key_requests"
        constraints = (
            CheckConstraint("(state = 'pending') = (decided_at IS NULL)", "decided_unless_pending"),
            CheckConstraint("(state = 'rejected') = (reason IS NOT NULL)", "rejected_with_reason"),
            UniqueConstraint(("template_id", "user_id"), "one_pending_request", "state = 'pending'"),
        )
        indexes = (("project_id", "id"), ("template_id", "id"), ("user_id", "id"), ("project_id", "user_id"))
