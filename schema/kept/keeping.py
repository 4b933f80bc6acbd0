"""Answers as the view has them kept, and gives them again; and what writes and reads say of the event log."""

import re
from datetime import datetime

import orjson
from graphql import OperationType
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock, keys
from gateway.database import in_time
from gateway.errors import BadInput, Unavailable
from gateway.events import Cursors, EventLog
from gateway.metrics import Measures
from gateway.pricing import micros
from gateway.revisions import Revisions, slots_of
from schema.kept.reach import Reach, Reaches
from schema.kept.store import Kept, Question, Store
from schema.transport.accept import MediaType
from schema.transport.documents import LimitedSchema
from schema.transport.execution import Answer
from schema.transport.keeping import Asked, Moment
from schema.transport.operation import Operation

REVISION = "Tessera-Revision"
TO_ASK_AGAIN = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie, Accept"}
NOT_STORED = {"Cache-Control": "no-store"}
ETAG = re.compile(r'"[\x21\x23-\x7e]*"')


class Keeping:
    """A `schema.transport.keeping.Keeper`, true by the event log, for which it waits where it must."""

    def __init__(
        self,
        schema: LimitedSchema,
        log: EventLog,
        revisions: Revisions,
        cursors: Cursors,
        measures: Measures,
        limit_bytes: int,
    ) -> None:
        self.log = log
        self.measures = measures
        self.revisions = revisions
        self.store = Store(limit_bytes, measures)
        self.is_on = limit_bytes > 0
        self._cursors = cursors
        self._reaches = Reaches(schema)

    def moment(self) -> Moment:
        return Moment(clock.now(), self.revisions.now)

    def has_heard(self, request: Request) -> bool:
        revision = request.headers.get(REVISION)
        try:
            return revision is None or self._cursors.position(revision) <= self.log.position
        except BadInput:
            return False

    async def found(self, asked: Asked) -> Response | None:
        """Raises BadInput for a revision that this gateway never gave, Unavailable where the log can't be read."""
        if asked.kind is not OperationType.QUERY:
            return None
        if revision := asked.request.headers.get(REVISION):
            await self.log.reached(self._cursors.position(revision))
        if not self.is_on:
            return None
        question = question_of(asked.actor.id, asked.media_type, asked.operation)
        if question not in self.store:
            return None
        await self.log.settled()
        kept = self.standing(question, micros(clock.now()))
        return given(asked.request, kept, asked.media_type) if kept else None

    async def answered(self, asked: Asked, answer: Answer, response: Response) -> Response:
        if asked.kind is OperationType.MUTATION:
            await self._tell_revision(response)
            return response
        reach = self._reach(asked, answer)
        return await self._keep(asked, reach, bytes(response.body)) if reach else response

    def standing(self, question: Question, now: int) -> Kept | None:
        """What is kept and true at this instant, in microseconds; to be asked when the log is settled."""
        kept = self.store.get(question)
        if kept is None:
            return None
        if (kept.until is not None and kept.until <= now) or not self.revisions.stands(kept.since, kept.slots):
            self.store.drop(question)
            return None
        self.measures.kept_given += 1
        return kept

    def _reach(self, asked: Asked, answer: Answer) -> Reach | None:
        """None where the answer isn't to be kept."""
        is_query = asked.kind is OperationType.QUERY and not asked.operation.extensions
        is_good = answer.was_run and not answer.codes
        return self._reaches.of(asked.operation) if self.is_on and is_query and is_good else None

    async def _keep(self, asked: Asked, reach: Reach, body: bytes) -> Response:
        self.measures.kept_made += 1
        kept = Kept.made(body, asked.media_type, since=asked.moment.revision, slots=slots_of(reach.project_ids))
        try:
            until = await self._until(reach, asked.moment.at)
        except Unavailable:
            return given(asked.request, kept, asked.media_type)
        self.store.put(question_of(asked.actor.id, asked.media_type, asked.operation), kept._replace(until=until))
        return given(asked.request, kept, asked.media_type)

    async def _until(self, reach: Reach, begun_at: datetime) -> int | None:
        """The first instant, in microseconds, at which a key expires that the answer may hang on. Raises Unavailable.

        Of those that hadn't when the answer was begun: one that did meanwhile may be told in it as it was.
        """
        if not reach.has_clock:
            return None
        expires_at = await in_time(keys.next_expiry(begun_at, reach.project_ids))
        return micros(expires_at) if expires_at else None

    async def _tell_revision(self, response: Response) -> None:
        """Up to where a reader has to know the log in order to know of this write. Nothing, where it can't be read."""
        try:
            await self.log.settled()
        except Unavailable:
            return
        response.headers[REVISION] = self._cursors.give(self.log.position)


def question_of(viewer_id: str | None, media_type: MediaType, operation: Operation) -> Question:
    return Question(viewer_id or "", media_type, operation.query, operation.name, variables_of(operation))


def variables_of(operation: Operation) -> bytes:
    """The same bytes for the same variables."""
    return orjson.dumps(operation.variables, option=orjson.OPT_SORT_KEYS) if operation.variables else b""


def given(request: Request, kept: Kept, media_type: MediaType) -> Response:
    """The answer; 304 to a GET of who has it already (RFC 9110, 13.1.2). What a POST is answered with no one stores."""
    if request.method != "GET":
        return Response(kept.body, 200, NOT_STORED, media_type)
    fields = {**TO_ASK_AGAIN, "ETag": kept.etag}
    if matches(request.headers.get("if-none-match"), kept.etag):
        return Response(status_code=304, headers=fields)
    return Response(kept.body, 200, fields, media_type)


def matches(if_none_match: str | None, etag: str) -> bool:
    """By the weak comparison that RFC 9110, 13.1.2 asks for."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in ETAG.findall(if_none_match)
