"""Accounts and the sessions that they are signed in with."""

from tortoise import fields
from tortoise.models import Model

from models.fields import NAME_LENGTH, FoldedField, IdField, reference


class User(Model):
    id = IdField("usr")
    email = fields.CharField(max_length=254)
    email_folded = FoldedField(max_length=254, unique=True)
    name = fields.CharField(max_length=NAME_LENGTH)
    name_folded = FoldedField()
    password_hash = fields.TextField()
    is_admin = fields.BooleanField(default=False)
    disabled_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "users"


class Session(Model):
    id = IdField("ses")
    user: fields.ForeignKeyRelation[User] = reference("User")
    user_id: str
    created_at = fields.DatetimeField(auto_now_add=True)
    expires_at = fields.DatetimeField()
    ended_at = fields.DatetimeField(null=True)

    class Meta:
        table = "sessions"
        indexes = (("user_id",),)
