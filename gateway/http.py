"""The plain routes beside GraphQL, and how they say no: problem details (RFC 9457)."""

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ExceptionHandler

from gateway import clock, database, migrating
from gateway.errors import BadInput, LimitExceeded, TesseraError, Unauthenticated, Unavailable
from gateway.metrics import Metrics
from gateway.signing import Keyring

JWKS_SECONDS = 60
NOT_STORED = {"Cache-Control": "no-store"}
RETRY_AFTER = {"Retry-After": "1"}

log = structlog.get_logger(__name__)


def routes(keyring: Keyring, metrics: Metrics) -> list[Route]:
    async def jwks(_: Request) -> Response:
        return json_response(
            await database.in_time(keyring.jwks()),
            "application/jwk-set+json",
            {"Cache-Control": f"public, max-age={JWKS_SECONDS}"},
        )

    async def measured(request: Request) -> Response:
        text, media_type = metrics.text(request.headers.get("accept", ""))
        return Response(text, headers={**NOT_STORED, "Content-Type": media_type, "Vary": "Accept"})

    return [
        Route("/.well-known/jwks.json", jwks),
        Route("/healthz", healthy),
        Route("/readyz", ready),
        Route("/metrics", measured),
    ]


async def healthy(_: Request) -> Response:
    """Whether the process answers at all."""
    return json_response({"status": "ok"})


async def ready(_: Request) -> Response:
    """Whether calls can be served: the database is reached, and has the schema that the code needs."""
    try:
        await database.in_time(migrating.check_schema())
    except migrating.OutOfDate as error:
        raise Unavailable(error.message) from error
    return json_response({"status": "ready"})


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **members: str) -> Response:
    """The refusal as RFC 9457 has it; `members` are its extensions."""
    fields = {**NOT_STORED, **(headers or {})}
    return Response(problem_body(status, detail, **members), status, fields, "application/problem+json")


@lru_cache(maxsize=256)
def problem_body(status: int, detail: str, **members: str) -> bytes:
    title = HTTPStatus(status).phrase
    return orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **members})


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # Starlette chose this handler by the type
    return problem(error.status_code, DETAILS.get(error.status_code, error.detail), error.headers)


async def _unavailable(_: Request, error: Exception) -> Response:
    log.warning("unavailable", cause=repr(error.__cause__ or error))
    return problem(503, str(error), RETRY_AFTER)


async def _refused_by_gateway(_: Request, error: Exception) -> Response:
    assert isinstance(error, TesseraError)  # noqa: S101  # Starlette chose this handler by the type
    status, headers = REFUSALS[type(error)]
    return problem(status, error.message, headers)


async def _left(_: Request, __: Exception) -> Response:
    """To nobody: the caller went away before all was said."""
    return problem(400, "The request broke off.")


async def _faulty(request: Request, _: Exception) -> Response:
    """Starlette raises the error again after this, so that the server logs it."""
    request_id = request.headers["x-request-id"]
    headers = {"X-Request-Id": request_id, "Date": clock.http_date().decode()}  # which the access log adds to others
    return problem(500, f"Something went wrong here; the log tells of it under {request_id}.", headers)


DETAILS = {
    404: "There is nothing at this path.",
    405: "This path doesn't take this method; Allow tells which it takes.",
}
REFUSALS: dict[type[TesseraError], tuple[int, dict[str, str]]] = {
    BadInput: (400, {}),
    Unauthenticated: (401, {"WWW-Authenticate": "Bearer"}),
    LimitExceeded: (429, {"Retry-After": "60"}),
}
EXCEPTION_HANDLERS: dict[Any, ExceptionHandler] = {
    HTTPException: _refused,
    Unavailable: _unavailable,
    **dict.fromkeys(REFUSALS, _refused_by_gateway),
    ClientDisconnect: _left,
    Exception: _faulty,
}


class Cors(CORSMiddleware):
    """Starlette's, whose refusals are problem details too."""

    def preflight_response(self, request_headers: Any) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        return problem(response.status_code, "Pages of this origin may not make this call.", {"Vary": "Origin"})


def json_response(
    body: object, media_type: str = "application/json", headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    return Response(orjson.dumps(body), status, {**NOT_STORED, **(headers or {})}, media_type)
