"""Errors as callers see them: each with a code and the request's id, and nothing of our inside.

A caller's mistake is told as it is. What we did not expect is told as INTERNAL, and logged with
its traceback under that id.
"""

from collections.abc import Mapping

import structlog
from graphql import FieldNode, GraphQLError

from gateway.database import is_lost
from gateway.errors import TesseraError

log = structlog.get_logger("tessera.graphql")

INTERNAL = "INTERNAL"
PUBLIC_CODES = {
    "UNAUTHENTICATED": "UNAUTHENTICATED",
    "NOT_FOUND": "NOT_FOUND",
    "FORBIDDEN": "NOT_FOUND",
    "BAD_INPUT": "BAD_INPUT",
    "INVALID": "BAD_INPUT",
    "CONFLICT": "BAD_INPUT",
    "PERIOD_TOO_FINE": "PERIOD_TOO_FINE",
    "LIMIT_EXCEEDED": "LIMIT_EXCEEDED",
    "CURSOR_EXPIRED": "CURSOR_EXPIRED",
    "UNAVAILABLE": "UNAVAILABLE",
}
STATUSES = {"UNAUTHENTICATED": 401, "NOT_FOUND": 404, "LIMIT_EXCEEDED": 429, "UNAVAILABLE": 503, INTERNAL: 500}


class Refused(Exception):
    """A request that HTTP has an own word for; nothing of it was run."""

    def __init__(
        self, status: int, message: str, *, code: str = "BAD_INPUT", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})


def refused(error: TesseraError) -> Refused:
    """The same refusal, in HTTP's words."""
    code, message = _told(error)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
    status = STATUSES.get(code, 400)
    return Refused(status, message, code=code, headers=headers.get(status))


def public(error: GraphQLError, request_id: str) -> dict[str, object]:
    """The error for the answer. Logs it where it is a fault of ours."""
    code, message = _code_and_message(error)
    cause = _cause(error) or error
    if code == INTERNAL or is_lost(cause):
        log.error("graphql_fault", request_id=request_id, path=error.path, error=error.message, exc_info=cause)
    formatted: dict[str, object] = {"message": message, "extensions": {"code": code, "requestId": request_id}}
    if error.locations:
        formatted["locations"] = [{"line": line, "column": column} for line, column in error.locations]
    if error.path is not None:
        formatted["path"] = error.path
    return formatted


def code_of(error: GraphQLError) -> str:
    return _code_and_message(error)[0]


def fault(error: Exception, request_id: str) -> dict[str, object]:
    """The error for an answer to a request that could not even be run."""
    return public(GraphQLError(str(error), original_error=error), request_id)


def bare(code: str, message: str, request_id: str) -> dict[str, object]:
    """An error that no document is to blame for."""
    return {"message": message, "extensions": {"code": code, "requestId": request_id}}


def _code_and_message(error: GraphQLError) -> tuple[str, str]:
    cause = _cause(error)
    if isinstance(cause, TesseraError):
        return _told(cause)
    if is_lost(cause):
        return "UNAVAILABLE", "The database can't be reached now; try again."
    if _is_about_the_document(error, cause):
        return str((error.extensions or {}).get("code", "BAD_INPUT")), error.message
    return INTERNAL, "Internal error"


def _told(error: TesseraError) -> tuple[str, str]:
    code = PUBLIC_CODES.get(error.code, INTERNAL)
    sentences = {INTERNAL: "Internal error", "NOT_FOUND": "Not found."}  # forbidden and absent read the same
    return code, sentences.get(code, error.message)


def _cause(error: GraphQLError) -> Exception | None:
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _is_about_the_document(error: GraphQLError, cause: Exception | None) -> bool:
    """Whether graphql-core complains of the text or its variables, rather than of what a resolver did."""
    if error.path is None:
        return cause is None or bool(error.locations)
    # While a field runs, a complaint about an argument points at the argument; one about our result, at the field.
    return cause is None and not any(isinstance(node, FieldNode) for node in error.nodes or ())
