"""Calls as they were counted, and their hourly and daily buckets.

Instants are whole microseconds since 1970 in UTC. Money is `units + fraction * 10^-10`, carried: whole numbers, which
every database adds exactly. A bucket is the sum of its records; one transaction writes both.
"""

from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint
from tortoise.models import Model

from models.fields import reference
from models.keys import IssuedKey

CARRIED = "units >= 0 AND fraction >= 0 AND fraction < 10000000000"
COUNTED = "requests >= 0 AND refused >= 0"


class UsageRecord(Model):
    id = fields.BigIntField(primary_key=True, generated=True)
    key: fields.ForeignKeyRelation[IssuedKey] = reference("IssuedKey")
    key_id: str
    called_at = fields.BigIntField()
    units = fields.BigIntField()
    fraction = fields.BigIntField()

    class Meta:
        table = "usage_records"
        constraints = (CheckConstraint(CARRIED, "usage_record_carried"),)
        indexes = (("key_id", "called_at"),)


class UsageHour(Model):
    id = fields.BigIntField(primary_key=True, generated=True)
    key: fields.ForeignKeyRelation[IssuedKey] = reference("IssuedKey")
    key_id: str
    hour = fields.BigIntField()
    requests = fields.BigIntField(default=0)
    refused = fields.BigIntField(default=0)
    units = fields.BigIntField(default=0)
    fraction = fields.BigIntField(default=0)

    class Meta:
        table = "usage_hours"
        constraints = (
            CheckConstraint(CARRIED, "usage_hour_carried"),
            CheckConstraint(COUNTED, "usage_hour_counted"),
            CheckConstraint("hour % 3600000000 = 0", "usage_hour_whole"),
        )
        unique_together = (("key", "hour"),)


class UsageDay(Model):
    id = fields.BigIntField(primary_key=True, generated=True)
    key: fields.ForeignKeyRelation[IssuedKey] = reference("IssuedKey")
    key_id: str
    day = fields.BigIntField()
    requests = fields.BigIntField(default=0)
    refused = fields.BigIntField(default=0)
    units = fields.BigIntField(default=0)
    fraction = fields.BigIntField(default=0)

    class Meta:
        table = "usage_days"
        constraints = (
            CheckConstraint(CARRIED, "usage_day_carried"),
            CheckConstraint(COUNTED, "usage_day_counted"),
            CheckConstraint("day % 86400000000 = 0", "usage_day_whole"),
        )
        unique_together = (("key", "day"),)
