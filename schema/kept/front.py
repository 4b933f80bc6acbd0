"""Kept answers for plain calls, before anything else of the web stack runs: it would cost more than the answer.

Whatever is not plain goes on to the view as it came: a cookie, another page's call, a revision to be waited for, a
token that isn't known yet, a body in parts.
"""

import time
from functools import lru_cache
from os import urandom
from typing import NamedTuple

from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from gateway import clock
from gateway.callers import Callers
from gateway.errors import BadInput
from schema.kept.keeping import NOT_STORED, TO_ASK_AGAIN, Keeping, matches, variables_of
from schema.kept.store import Kept, Question
from schema.transport.accept import MediaType, negotiated
from schema.transport.call import VISIBLE_ASCII
from schema.transport.errors import Refused
from schema.transport.operation import Operation, from_url, json_of, operation_of

BEARER = b"Bearer "
JSON = b"application/json"
ELSEWHERE = frozenset({b"cookie", b"origin", b"tessera-revision", b"expect", b"upgrade"})
"""Header fields that say more than is understood here."""
LONGEST_SPELLING, SPELLINGS = 4096, 1024
"""Of texts that are remembered as what they ask, 4 MB at most."""
ACCEPTS = 256
NO_BODY: Message = {"type": "http.request", "body": b""}

Fields = list[tuple[bytes, bytes]]
Head = dict[bytes, bytes]


class FrontDoor:
    def __init__(self, keeping: Keeping, callers: Callers) -> None:
        self._keeping = keeping
        self._callers = callers

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """None where it was answered; else how the call is received from here on."""
        head = head_of(scope)
        if head is None or not self._keeping.log.is_settled:
            return receive
        has_body = scope["method"] != "GET"
        message = await receive() if has_body else NO_BODY
        kept = self._found(scope, head, message)
        if kept is None:
            return again(message, receive) if has_body else receive
        await give(kept, head, scope, send)
        return None

    def _found(self, scope: Scope, head: Head, message: Message) -> Kept | None:
        """Nothing here waits: what is true when it begins is true when it ends."""
        instant = now()
        viewer_id = self._viewer(head, instant)
        if viewer_id is None or not self._keeping.log.is_settled:
            return None
        question = _question(scope, head, viewer_id, message)
        return self._keeping.standing(question, instant) if question else None

    def _viewer(self, head: Head, instant: int) -> str | None:
        authorization = head.get(b"authorization")
        if authorization is None:
            return ""
        if not authorization.startswith(BEARER):
            return None
        caller = self._callers.find(authorization[len(BEARER) :], instant)
        return caller.id if caller else None


def head_of(scope: Scope) -> Head | None:
    """The header fields of a plain call; None where it isn't one."""
    fields = scope["headers"]
    head: Head = dict(fields)
    is_plain = len(head) == len(fields) and ELSEWHERE.isdisjoint(head)
    return head if is_plain and (scope["method"] == "GET" or head.get(b"content-type") == JSON) else None


class Spelled(NamedTuple):
    """What a text asks, whoever asks it."""

    query: str
    name: str | None
    variables: bytes


def _question(scope: Scope, head: Head, viewer_id: str, message: Message) -> Question | None:
    """None where the view has to say what is wrong, or more is to come."""
    try:
        media_type, spelled = _media_type(head.get(b"accept")), _spelled(scope, message)
    except (BadInput, Refused):
        return None
    return Question(viewer_id, media_type, spelled.query, spelled.name, spelled.variables) if spelled else None


def _spelled(scope: Scope, message: Message) -> Spelled | None:
    """Raises BadInput."""
    if scope["method"] == "GET":
        text: bytes = scope["query_string"]
        return (_of_url if len(text) <= LONGEST_SPELLING else _of_url.__wrapped__)(text)
    if scope["method"] != "POST" or message["type"] != "http.request" or message.get("more_body"):
        return None
    body: bytes = message["body"]
    return (_of_body if len(body) <= LONGEST_SPELLING else _of_body.__wrapped__)(body)


@lru_cache(SPELLINGS)
def _of_body(body: bytes) -> Spelled | None:
    return _spelling(operation_of(json_of(body, "The body")))


@lru_cache(SPELLINGS)
def _of_url(query_string: bytes) -> Spelled | None:
    return _spelling(operation_of(from_url(QueryParams(query_string))))


def _spelling(operation: Operation) -> Spelled | None:
    if operation.extensions:
        return None
    return Spelled(operation.query, operation.name, variables_of(operation))


@lru_cache(ACCEPTS)
def _media_type(accept: bytes | None) -> MediaType:
    """Raises Refused."""
    return negotiated(None if accept is None else accept.decode("latin-1"))


async def give(kept: Kept, head: Head, scope: Scope, send: Send) -> None:
    fields: Fields = [*kept.fields, (b"x-request-id", _request_id(head)), (b"date", clock.http_date())]
    status, body = 200, kept.body
    if scope["method"] == "GET":
        fields += [*TO_ASK_AGAIN_FIELDS, (b"etag", kept.etag.encode())]
        if_none_match = head.get(b"if-none-match")
        if if_none_match is not None and matches(if_none_match.decode("latin-1"), kept.etag):
            status, body, fields = 304, b"", fields[len(kept.fields) :]
    else:
        fields += NOT_STORED_FIELDS
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def _request_id(head: Head) -> bytes:
    given = head.get(b"x-request-id")
    if given is not None and VISIBLE_ASCII.fullmatch(given.decode("latin-1")):
        return given
    return urandom(16).hex().encode()


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


TO_ASK_AGAIN_FIELDS, NOT_STORED_FIELDS = _fields(TO_ASK_AGAIN), _fields(NOT_STORED)
