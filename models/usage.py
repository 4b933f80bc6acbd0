"""Calls as they were counted, and their buckets by the hour, the day and the month of UTC.

Instants are whole microseconds since 1970 in UTC. Money is `units + fraction * 10^-10`, carried: whole numbers, which
every database adds exactly. A bucket is the sum of its records; one transaction writes both. Quotas are kept by the
buckets of days and months themselves, so that no other count can differ from them.

A bucket is known by its key and instant. Its id is of no use: that of a day or month is NULL on SQLite, where those of
a key lie side by side.
"""

from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint
from tortoise.models import Model

from models.fields import reference
from models.keys import IssuedKey
from models.projects import Project

CARRIED = "units >= 0 AND fraction >= 0 AND fraction < 10000000000"
COUNTED = "requests >= 0 AND refused >= 0"
CALL_ID_LENGTH = 128


class UsageRecord(Model):
    """On PostgreSQL the database doesn't look whether the key is there: it always is."""

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


class DroppedRecords(Model):
    """The single row that remembers before which instant records were dropped, whatever is kept by now's setting."""

    id = fields.IntField(primary_key=True, generated=False)
    until = fields.BigIntField(default=0)

    class Meta:
        table = "dropped_records"
        constraints = (CheckConstraint("id = 1", "single_dropped"),)


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


class UsageMonth(Model):
    """`month` is the first instant of a month of UTC."""

    id = fields.BigIntField(primary_key=True, generated=True)
    key: fields.ForeignKeyRelation[IssuedKey] = reference("IssuedKey")
    key_id: str
    month = fields.BigIntField()
    requests = fields.BigIntField(default=0)
    refused = fields.BigIntField(default=0)
    units = fields.BigIntField(default=0)
    fraction = fields.BigIntField(default=0)

    class Meta:
        table = "usage_months"
        constraints = (
            CheckConstraint(CARRIED, "usage_month_carried"),
            CheckConstraint(COUNTED, "usage_month_counted"),
            CheckConstraint("month % 86400000000 = 0", "usage_month_whole"),
        )
        unique_together = (("key", "month"),)


class ReportedCall(Model):
    """A call that didn't come through the gateway, as its upstream told of it; `call_id` is the upstream's own."""

    id = fields.BigIntField(primary_key=True, generated=True)
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    call_id = fields.CharField(max_length=CALL_ID_LENGTH)
    key: fields.ForeignKeyRelation[IssuedKey] = reference("IssuedKey")
    key_id: str
    called_at = fields.BigIntField()

    class Meta:
        table = "reported_calls"
        unique_together = (("project", "call_id"),)
        indexes = (("called_at",),)
