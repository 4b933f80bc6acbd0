"""Tables of usage over HTTP: streamed as they are read, refused before the first byte, broken off where one fails."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway import clock, exports
from gateway.auth import Authenticator
from gateway.database import unavailable_when_down
from gateway.errors import BadInput, Forbidden, LimitExceeded, NotFound, PeriodTooFine, TesseraError, Unauthenticated
from gateway.exports import PERIOD, Export
from gateway.formats import Format, Row
from gateway.http import NOT_STORED, problem
from gateway.permissions import Actor
from gateway.usage import records_kept_from

STATUSES: dict[type[TesseraError], HTTPStatus] = {
    BadInput: HTTPStatus.BAD_REQUEST,
    PeriodTooFine: HTTPStatus.BAD_REQUEST,
    LimitExceeded: HTTPStatus.BAD_REQUEST,  # a longer wait doesn't shorten the period
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
}
RANGES = {
    "text/csv": Format.CSV,
    "text/*": Format.CSV,
    "*/*": Format.CSV,
    "application/jsonl": Format.JSONL,
    "application/*": Format.JSONL,
}

Opening: TypeAlias = Callable[[Actor, str, Mapping[str, str]], Awaitable[Export]]


class Exports:
    """`credential_of` reads the token that a call is made with, if any; it raises what the gateway refuses with."""

    def __init__(
        self, authenticator: Authenticator, credential_of: Callable[[Request], str | None], retention_days: int
    ) -> None:
        self._authenticator = authenticator
        self._credential_of = credential_of
        self._retention_days = retention_days

    def routes(self) -> list[Route]:
        return [
            Route("/usage/{project}/records", self.records),
            Route("/usage/{project}/totals", self.totals),
        ]

    async def records(self, request: Request) -> Response:
        """Each call of a period by itself."""
        return await self._respond(request, "records", self._records, PERIOD)

    async def totals(self, request: Request) -> Response:
        """What was called between the steps of a period, by key, template, user, or in all."""
        return await self._respond(request, "totals", self._totals, PERIOD | {"granularity", "by"})

    async def _respond(self, request: Request, name: str, opening: Opening, known: frozenset[str]) -> Response:
        try:
            with unavailable_when_down():
                return await self._stream(request, name, opening, known)
        except tuple(STATUSES) as error:
            headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}
            return problem(STATUSES[type(error)], error.message, headers, code=error.code)

    async def _stream(self, request: Request, name: str, opening: Opening, known: frozenset[str]) -> Response:
        client = request.client.host if request.client else None
        actor = await self._authenticator.authenticate(self._credential_of(request), client)
        actor.require_user()
        exports.check_names([name for name, _ in request.query_params.multi_items()], known | {"format"})
        kind, project_id = _format(request), request.path_params["project"]
        export = await opening(actor, project_id, request.query_params)
        headers = {
            **NOT_STORED,
            "Content-Disposition": f'attachment; filename="{project_id}-{name}.{kind}"',
            "Vary": "Accept",
        }
        if request.method == "HEAD":
            return Response(headers=headers, media_type=kind.media_type)
        first: list[Row] = await anext(export.chunks, [])  # what fails now is told in full
        return StreamingResponse(_text(kind, export, first), headers=headers, media_type=kind.media_type)

    async def _records(self, actor: Actor, project_id: str, parameters: Mapping[str, str]) -> Export:
        now = clock.now()
        period, kept_from = exports.period_in(parameters, now), records_kept_from(now, self._retention_days)
        return await exports.records(actor, project_id, period, kept_from)

    async def _totals(self, actor: Actor, project_id: str, parameters: Mapping[str, str]) -> Export:
        now, by = clock.now(), exports.grouping_in(parameters)
        boundaries, kept_from = exports.boundaries_in(parameters, now), records_kept_from(now, self._retention_days)
        return await exports.totals(actor, project_id, boundaries, by, kept_from)


async def _text(kind: Format, export: Export, first: list[Row]) -> AsyncIterator[bytes]:
    """An error leaves the answer without its end, so that nobody takes it for whole."""
    yield kind.head(export.columns) + kind.text(export.columns, first)
    async for rows in export.chunks:
        yield kind.text(export.columns, rows)


def _format(request: Request) -> Format:
    """By the parameter, else by the header Accept (RFC 9110, 12.5.1); CSV where both are wanted alike."""
    name = request.query_params.get("format")
    if name is None:
        return _accepted(request.headers.get("accept", "*/*"))
    if name not in set(Format):
        raise BadInput(f"format is one of {', '.join(Format)}.")
    return Format(name)


def _accepted(accept: str) -> Format:
    weights = dict.fromkeys(Format, 0.0)
    for part in accept.split(","):
        media_range, _, parameters = part.partition(";")
        if kind := RANGES.get(media_range.strip().lower()):
            weights[kind] = max(weights[kind], _weight(parameters))
    best = max(Format, key=lambda kind: weights[kind])
    if not weights[best]:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, "Tables come as text/csv or application/jsonl.")
    return best


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
