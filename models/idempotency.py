"""What was done under an idempotency key."""

from tortoise import fields
from tortoise.models import Model

from models.fields import ID_LENGTH


class IdempotentAct(Model):
    """The input is kept as a keyed hash alone, the answer as the ids of the objects."""

    id = fields.BigIntField(primary_key=True, generated=True)
    viewer_id = fields.CharField(max_length=ID_LENGTH)
    mutation = fields.CharField(max_length=64)
    idempotency_key = fields.CharField(max_length=255)
    input_hash = fields.BinaryField()
    object_ids: fields.Field[list[str]] = fields.JSONField()
    created_at = fields.DatetimeField()

    class Meta:
        table = "idempotent_acts"
        unique_together = (("viewer_id", "mutation", "idempotency_key"),)
        indexes = (("created_at",),)
