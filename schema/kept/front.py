"""Kept answers for plain calls, before anything else of the web stack runs: it would cost more than the answer.

Whatever is not plain goes on to the view as it came: a cookie, another page's call, a revision to be waited for, a
token that isn't known yet, a body in parts.
"""

import time
from typing import NamedTuple
from uuid import uuid4

from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from gateway import clock
from gateway.errors import BadInput
from schema.kept.keeping import NOT_STORED, TO_ASK_AGAIN, Keeping, matches, question_of
from schema.kept.store import Kept
from schema.transport.accept import MediaType, negotiated
from schema.transport.call import VISIBLE_ASCII
from schema.transport.errors import Refused
from schema.transport.operation import Operation, from_url, json_of, operation_of

BEARER = b"Bearer "
ELSEWHERE = frozenset({b"cookie", b"origin", b"tessera-revision", b"expect", b"upgrade"})
"""Headers that say more than is understood here."""
REMEMBERED_ACCEPTS = 256

Fields = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """What a plain call says before its body."""

    token: bytes | None
    accept: str | None
    request_id: str | None
    if_none_match: str | None


class FrontDoor:
    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._media_types: dict[str | None, MediaType] = {}

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """None where it was answered; else how the call is received from here on."""
        head = head_of(scope)
        if head is None or not self._keeping.log.is_settled:
            return receive
        viewer_id = self._viewer(head.token)
        if viewer_id is None:
            return receive
        message = await receive()
        kept = self._found(scope, head, viewer_id, message)
        if kept is None:
            return again(message, receive)
        await give(kept, head, self._media_types[head.accept], scope, send)
        return None

    def _viewer(self, token: bytes | None) -> str | None:
        return "" if token is None else self._keeping.viewers.find(token, now())

    def _found(self, scope: Scope, head: Head, viewer_id: str, message: Message) -> Kept | None:
        try:
            operation, media_type = asked(scope, message), self._media_type(head.accept)
        except (BadInput, Refused):
            return None  # for the view to say
        if operation is None or operation.extensions or not self._keeping.log.is_settled:
            return None  # while the body came, this process may have committed something
        return self._keeping.standing(question_of(viewer_id, media_type, operation), now())

    def _media_type(self, accept: str | None) -> MediaType:
        """Raises Refused."""
        found = self._media_types.get(accept)
        if found is None:
            if len(self._media_types) >= REMEMBERED_ACCEPTS:
                self._media_types.clear()
            found = self._media_types[accept] = negotiated(accept)
        return found


def head_of(scope: Scope) -> Head | None:
    """None where the call isn't plain."""
    seen: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in ELSEWHERE or name in seen:
            return None
        seen[name] = value
    authorization = seen.get(b"authorization")
    if authorization is not None and not authorization.startswith(BEARER):
        return None
    if scope["method"] == "POST" and seen.get(b"content-type") != b"application/json":
        return None
    given = _text(seen.get(b"x-request-id"))
    return Head(
        token=authorization[len(BEARER) :] if authorization is not None else None,
        accept=_text(seen.get(b"accept")),
        request_id=given if given and VISIBLE_ASCII.fullmatch(given) else None,
        if_none_match=_text(seen.get(b"if-none-match")),
    )


def asked(scope: Scope, message: Message) -> Operation | None:
    """The operation, where it came whole. Raises BadInput."""
    if scope["method"] == "GET":
        return operation_of(from_url(QueryParams(scope["query_string"])))
    if scope["method"] != "POST" or message["type"] != "http.request" or message.get("more_body"):
        return None
    return operation_of(json_of(message["body"], "The body"))


async def give(kept: Kept, head: Head, media_type: MediaType, scope: Scope, send: Send) -> None:
    fields: Fields = [
        (b"content-type", media_type.encode()),
        (b"x-request-id", (head.request_id or uuid4().hex).encode()),
        (b"date", clock.http_date()),
    ]
    status, body = 200, kept.body
    if scope["method"] == "GET":
        fields += TO_ASK_AGAIN_FIELDS
        fields.append((b"etag", kept.etag.encode()))
        if matches(head.if_none_match, kept.etag):
            status, body, fields = 304, b"", fields[1:]
    else:
        fields += NOT_STORED_FIELDS
    if status != 304:
        fields.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def again(message: Message, receive: Receive) -> Receive:
    """Gives what was received, and then what is to come."""
    messages = [message]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def now() -> int:
    """In microseconds."""
    return time.time_ns() // 1000


def _fields(headers: dict[str, str]) -> Fields:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


TO_ASK_AGAIN_FIELDS, NOT_STORED_FIELDS = _fields(TO_ASK_AGAIN), _fields(NOT_STORED)
