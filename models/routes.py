"""What a project's own paths need, where its API is another than the default."""

from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint
from tortoise.models import Model

from models.fields import IdField, reference
from models.projects import Project

PATTERN_LENGTH = 1000


class RouteRule(Model):
    """The first of a project's rules, by `position`, whose method and pattern match a call says what it needs."""

    id = IdField("rul")
    project: fields.ForeignKeyRelation[Project] = reference("Project")
    project_id: str
    position = fields.IntField()
    method = fields.CharField(max_length=16)
    pattern = fields.CharField(max_length=PATTERN_LENGTH)
    permission = fields.CharField(max_length=32)

    class Meta:
        table = "route_rules"
        constraints = (CheckConstraint("position >= 0", "rule_position"),)
        unique_together = (("project", "position"),)
