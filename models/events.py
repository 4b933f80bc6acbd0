"""The event log: what happened, in the order in which it became true."""

from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint
from tortoise.models import Model

from models.fields import ID_LENGTH


class Event(Model):
    """`kind` is `noun.verb` in the past tense; `user_id` is the user whose request, key or session it concerns."""

    position = fields.BigIntField(primary_key=True, generated=False)
    kind = fields.CharField(max_length=64)
    project_id = fields.CharField(max_length=ID_LENGTH, null=True)
    user_id = fields.CharField(max_length=ID_LENGTH, null=True)
    object_id = fields.CharField(max_length=ID_LENGTH)
    occurred_at = fields.DatetimeField()

    class Meta:
        table = "events"
        indexes = (("project_id", "position"), ("user_id", "position"), ("occurred_at",))


class EventHead(Model):
    """The single row that gives out positions: locked from the append to the commit, so that they show in order."""

    id = fields.IntField(primary_key=True, generated=False)
    position = fields.BigIntField(default=0)
    pruned_to = fields.BigIntField(default=0)

    class Meta:
        table = "event_head"
        constraints = (
            CheckConstraint("id = 1", "single_head"),
            CheckConstraint("0 <= pruned_to AND pruned_to <= position", "pruned_behind_head"),
        )
