"""What is stored: tables declare, rules are elsewhere."""

from tortoise.models import Model as Row

from models.audit import AuditEntry
from models.events import Event, EventHead
from models.idempotency import IdempotentAct
from models.keys import IssuedKey, KeyGeneration, KeyState, SigningKey
from models.members import Member, MemberRole
from models.projects import Project, ProjectNode
from models.requests import KeyRequest, RequestState
from models.roles import Grant, Role
from models.routes import RouteRule
from models.secrets import Secret
from models.templates import Template, TemplateField, TemplateLimits
from models.usage import DroppedRecords, ReportedCall, UsageDay, UsageHour, UsageMonth, UsageRecord
from models.users import Session, User

__all__ = [
    "AuditEntry",
    "DroppedRecords",
    "Event",
    "EventHead",
    "Grant",
    "IdempotentAct",
    "IssuedKey",
    "KeyGeneration",
    "KeyRequest",
    "KeyState",
    "Member",
    "MemberRole",
    "Project",
    "ProjectNode",
    "ReportedCall",
    "RequestState",
    "Role",
    "RouteRule",
    "Row",
    "Secret",
    "Session",
    "SigningKey",
    "Template",
    "TemplateField",
    "TemplateLimits",
    "UsageDay",
    "UsageHour",
    "UsageMonth",
    "UsageRecord",
    "User",
]
