"""The data plane: `/api/projects/{project}/...` and `/authorize/{project}`, where issued keys open projects.

Both have calls admitted in the same way; the one then passes the call on, the other says whose it is. It speaks ASGI
without a framework, since every call goes through here.
"""

from contextlib import suppress

import structlog
from starlette.types import Receive, Scope, Send

from gateway import clock
from gateway.errors import Unavailable
from gateway.http import problem_body
from gateway.metrics import Measures
from gateway.plane.admission import Admission, Admitted
from gateway.plane.decisions import Denied
from gateway.plane.heads import Header, Outgoing
from gateway.plane.heard import (
    AUTHORIZE,
    PROJECTS,
    REQUEST_ID,
    Heard,
    RequestIds,
    Unserved,
    address_of,
    asked_of_authorize,
    asked_of_nothing,
    asked_of_proxy,
    question_in,
)
from gateway.plane.meter import Meter, Metered, unavailable
from gateway.plane.passing import (
    BodyNeverCame,
    BrokenOff,
    CallerTooSlow,
    NeverReached,
    Passing,
    UpstreamFailed,
    UpstreamTooSlow,
)

PREFIXES = (PROJECTS, AUTHORIZE)
FAULT = "Something went wrong here; the log tells of it under"
TOO_SLOW = Denied(408, "The request's body stopped coming.", headers=[(b"connection", b"close")])
NO_BODY = (b"content-length", b"0")
EMPTY = {"type": "http.response.body", "body": b""}

log = structlog.get_logger(__name__)


class DataPlane:
    def __init__(self, admission: Admission, meter: Meter, passing: Passing, measures: Measures) -> None:
        self._admission = admission
        self._meter = meter
        self._passing = passing
        self._measures = measures
        self._ids = RequestIds()

    async def __call__(self, path: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a call whose path, as it was sent, begins with one of PREFIXES."""
        heard = Heard(scope, path, self._ids)
        try:
            if path.startswith(AUTHORIZE):
                await self._authorize(heard, send)
            else:
                await self._pass_on(heard, receive, send)
        except BrokenOff:
            raise  # for the server, which breaks off too
        except Exception:
            log.exception("call_failed", request_id=heard.request_id.decode())
            with suppress(RuntimeError):  # an answer has begun, which the server then breaks off
                await answer(Denied(500, f"{FAULT} {heard.request_id.decode()}."), heard, send)

    async def _authorize(self, heard: Heard, send: Send) -> None:
        question = question_in(heard.path, heard.scope["query_string"])
        try:
            outcome = await self._admission.admit(asked_of_authorize(heard, question))
        except Unserved as unserved:
            outcome = await self._unserved(unserved.denied, heard)
        if isinstance(outcome, Denied):
            await self._refuse(as_403(outcome) if question.is_403_alone else outcome, heard, send)
            return
        self._measures.allowed += 1
        fields = [
            *outcome.call.allowed.key.identity,
            (REQUEST_ID, heard.request_id),
            NO_BODY,
            dated(),
            *outcome.headers,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send(EMPTY)

    async def _pass_on(self, heard: Heard, receive: Receive, send: Send) -> None:
        try:
            outcome = await self._admission.admit(asked_of_proxy(heard))
        except Unserved as unserved:
            outcome = await self._unserved(unserved.denied, heard)
        if isinstance(outcome, Denied):
            await self._refuse(outcome, heard, send)
            return
        self._measures.allowed += 1
        if failed := await self._failure_of(outcome, heard, receive, send):
            if failed.status >= 500:
                self._measures.upstream_failures[failed.status] += 1
            await answer(failed, heard, send)

    async def _unserved(self, denied: Denied, heard: Heard) -> Denied:
        """Why the request isn't served; but who has no good key of the project is told that, as on every other."""
        outcome = await self._admission.admit(asked_of_nothing(heard))
        return outcome if isinstance(outcome, Denied) and outcome.status != 400 else denied

    async def _failure_of(self, admitted: Admitted, heard: Heard, receive: Receive, send: Send) -> Denied | None:
        """Why the call came to no answer of its upstream; None where it has one, which was sent."""
        try:
            await self._passing.pass_on(outgoing(admitted, heard), heard.scope, receive, send)
        except NeverReached as failure:
            log.warning("upstream_not_reached", **_where(admitted.call, failure))
            return await self._voided(admitted.call, failure)
        except CallerTooSlow:
            return TOO_SLOW
        except UpstreamTooSlow as failure:
            log.warning("upstream_too_slow", **_where(admitted.call, failure))
            return Denied(504, "The project's service took too long to answer.")
        except UpstreamFailed as failure:
            log.warning("upstream_failed", **_where(admitted.call, failure))
            return Denied(502, "The project's service gave no answer.")
        except BrokenOff as failure:
            log.warning("upstream_broke_off", **_where(admitted.call, failure))
            raise  # for the server, which breaks off too
        return None

    async def _voided(self, call: Metered, failure: NeverReached) -> Denied:
        try:
            await self._meter.void(call)
        except Unavailable:
            return unavailable()
        self._measures.voided += 1
        if isinstance(failure, BodyNeverCame):
            return TOO_SLOW
        if failure.is_slow:
            return Denied(504, "The project's service could not be reached in time; the call is not counted.")
        return Denied(502, "The project's service could not be reached; the call is not counted.")

    async def _refuse(self, denied: Denied, heard: Heard, send: Send) -> None:
        self._measures.refused[denied.status] += 1
        await answer(denied, heard, send)


def outgoing(admitted: Admitted, heard: Heard) -> Outgoing:
    allowed, scope = admitted.call.allowed, heard.scope
    target = allowed.target
    return Outgoing(
        base_url=allowed.service.upstream_url or "",
        rest=target.rest.encode(),
        query=None if target.query is None else target.query.encode(),
        method=scope["method"],
        identity=[*allowed.key.identity, (REQUEST_ID, heard.request_id)],
        answer=[(REQUEST_ID, heard.request_id), *admitted.headers],
        peer=address_of(scope) or None,
        scheme=scope["scheme"],
        host=heard.host,
    )


def as_403(denied: Denied) -> Denied:
    """For nginx, which takes every refusal but 401 and 403 for a fault of its own."""
    if denied.status in {401, 403}:
        return denied
    return denied._replace(status=403, headers=[*denied.headers, (b"x-tessera-status", str(denied.status).encode())])


async def answer(denied: Denied, heard: Heard, send: Send) -> None:
    """The refusal as problem details (RFC 9457)."""
    body = problem_body(denied.status, denied.detail)
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (REQUEST_ID, heard.request_id),
        dated(),
        *denied.headers,
    ]
    if denied.status == 401:
        fields.append((b"www-authenticate", b"Bearer"))
    if denied.retry_after is not None:
        fields.append((b"retry-after", b"%d" % denied.retry_after))
    kind = "websocket.http.response" if heard.scope["type"] == "websocket" else "http.response"
    await send({"type": f"{kind}.start", "status": denied.status, "headers": fields})
    await send({"type": f"{kind}.body", "body": body})


def dated() -> Header:
    return (b"date", clock.http_date())


def _where(call: Metered, failure: Exception) -> dict[str, str]:
    return {"project_id": call.allowed.key.project_id, "cause": repr(failure.__cause__ or failure)}
