"""Issued keys, the generations of their tokens, and the keys that sign them."""

from enum import StrEnum

from tortoise import fields
from tortoise.fields import OnDelete
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.fields import NAME_LENGTH, FoldedField, IdField, reference
from models.projects import Project
from models.requests import KeyRequest
from models.roles import Role
from models.templates import Template
from models.users import User


class KeyState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"


class SigningKey(Model):
    """An Ed25519 key pair; its id is the `kid` of the tokens that it signs."""

    id = IdField("sig")
    public_key = fields.BinaryField()
    sealed_private_key = fields.BinaryField()
    is_current = fields.BooleanField(default=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    withdrawn_at = fields.DatetimeField(null=True)

    class Meta:
        table = "signing_keys"
        constraints = (
            CheckConstraint("NOT is_current OR withdrawn_at IS NULL", "current_is_not_withdrawn"),
            UniqueConstraint(("is_current",), "one_current_signing_key", "is_current"),
        )


class IssuedKey(Model):
    """`state` says EXPIRED only once that was told; whoever asks before goes by `expires_at`."""

    id = IdField("key")
    request: fields.OneToOneRelation[KeyRequest] = fields.OneToOneField(
        "models.KeyRequest", on_delete=OnDelete.RESTRICT, related_name=False
    )
    request_id: str
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    template: fields.ForeignKeyRelation[Template] = reference("Template")
    template_id: str
    role: fields.ForeignKeyRelation[Role] = reference("Role")
    role_id: str
    user: fields.ForeignKeyRelation[User] = reference("User")
    user_id: str
    name = fields.CharField(max_length=NAME_LENGTH)
    name_folded = FoldedField()
    description = fields.TextField(default="")
    state = fields.CharEnumField(KeyState, max_length=16, default=KeyState.ACTIVE)
    generation = fields.IntField(default=1)
    received_at = fields.DatetimeField()
    expires_at = fields.DatetimeField(null=True)
    suspended_at = fields.DatetimeField(null=True)
    revoked_at = fields.DatetimeField(null=True)
    revoked_by: fields.ForeignKeyNullableRelation[User] = reference("User", null=True)
    revoked_by_id: str | None

    @property
    def user_at_hand(self) -> User | None:
        """The holder, where it was read together with the key; asking for `user` would prepare a statement."""
        return self.__dict__.get("_user")

    class Meta:
        table = "issued_keys"
        constraints = (
            CheckConstraint("(state = 'suspended') = (suspended_at IS NOT NULL)", "suspended_since"),
            CheckConstraint("(state = 'revoked') = (revoked_at IS NOT NULL)", "revoked_since"),
            CheckConstraint("state <> 'expired' OR expires_at IS NOT NULL", "expired_since"),
            UniqueConstraint(("template_id", "user_id"), "one_living_key", "state IN ('active', 'suspended')"),
        )
        indexes = (
            ("project_id", "id"),
            ("template_id", "id"),
            ("user_id", "id"),
            ("role_id",),
            ("state", "expires_at"),
        )


class KeyGeneration(Model):
    """One token of an issued key: its header and claims as JSON text, to make it again to the byte."""

    id = fields.BigIntField(primary_key=True, generated=True)
    key: fields.ForeignKeyRelation[IssuedKey] = reference("IssuedKey")
    key_id: str
    generation = fields.IntField()
    signing_key: fields.ForeignKeyRelation[SigningKey] = reference("SigningKey")
    signing_key_id: str
    header = fields.TextField()
    claims = fields.TextField()
    created_at = fields.DatetimeField(auto_now_add=True)
    ends_at = fields.DatetimeField(null=True)

    class Meta:
        table = "key_generations"
        unique_together = (("key", "generation"),)
        indexes = (("signing_key_id",),)
