"""The states of requests and keys."""

from models import KeyState, RequestState
from schema.declare import enum

enum(
    RequestState,
    "What became of a request.",
    PENDING="Nobody has decided yet.",
    APPROVED="A key was issued.",
    REJECTED="It was turned down, with a reason.",
    CANCELLED="The asker took it back, or its template went.",
)
enum(
    KeyState,
    "Whether a key works.",
    ACTIVE="It works.",
    SUSPENDED="It is refused until a manager resumes it.",
    EXPIRED="Its time is over.",
    REVOKED="It was ended, for good.",
)

__all__ = ["KeyState", "RequestState"]
