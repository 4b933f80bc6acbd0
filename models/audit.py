"""The audit log: every act, and every reading of a token or secret."""

from tortoise import fields
from tortoise.models import Model

from models.fields import ID_LENGTH, IdField

ACTION_LENGTH = 64


class AuditEntry(Model):
    """Without a user and a key, the gateway itself acted."""

    id = IdField("aud")
    at = fields.DatetimeField()
    user_id = fields.CharField(max_length=ID_LENGTH, null=True)
    key_id = fields.CharField(max_length=ID_LENGTH, null=True)
    action = fields.CharField(max_length=ACTION_LENGTH)
    object_id = fields.CharField(max_length=ID_LENGTH)
    project_id = fields.CharField(max_length=ID_LENGTH, null=True)
    address = fields.CharField(max_length=64, null=True)

    class Meta:
        table = "audit_entries"
        indexes = (("project_id", "id"),)  # ids sort by time
