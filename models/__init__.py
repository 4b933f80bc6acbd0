"""What is stored: tables declare, rules are elsewhere."""

from models.audit import AuditEntry
from models.events import Event, EventHead
from models.idempotency import IdempotentAct
from models.keys import IssuedKey, KeyGeneration, KeyState, SigningKey
from models.members import Member, MemberRole
from models.projects import Project, ProjectNode
from models.requests import KeyRequest, RequestState
from models.roles import Grant, Role
from models.secrets import Secret
from models.templates import Template, TemplateField
from models.usage import UsageDay, UsageHour, UsageRecord
from models.users import Session, User

__all__ = [
    "AuditEntry",
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
    "RequestState",
    "Role",
    "Secret",
    "Session",
    "SigningKey",
    "Template",
    "TemplateField",
    "UsageDay",
    "UsageHour",
    "UsageRecord",
    "User",
]
