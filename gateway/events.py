"""The event log: appended to in the transaction of the change itself, followed by everyone who must know.

Positions are given out under the lock of one row that is held until the commit, so a position never shows after a
higher one was read, and there are no gaps. A wake-up carries nothing (on PostgreSQL it is a NOTIFY): followers read the
log, and look again every `POLL_SECONDS` in case a wake-up was lost.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from itertools import islice
from typing import NamedTuple, Protocol

import structlog

from gateway import audit, clock
from gateway.database import connection, in_time
from gateway.errors import BadInput, CursorExpired, Unavailable
from gateway.permissions import Actor
from gateway.prepared import Built, rows_once
from gateway.rows import Making, models
from gateway.sealing import Sealer, Unsealable
from models import Event, EventHead

CHANNEL = "tessera_events"
POLL_SECONDS = 0.25
FRESH_SECONDS = 1.0
PAGE = 500
RECENT = 10_000
NO_LONGER_KEPT = "The events after this cursor are no longer kept; read the page again and start anew."
ANOTHER_LOG = "The database was restored, and events after this cursor are gone; read the page again and start anew."
NEXT_POSITION = "UPDATE event_head SET position = position + 1 WHERE id = 1 RETURNING position"
NEXT_POSITIONS = {"sqlite": NEXT_POSITION, "postgres": f"{NEXT_POSITION}, pg_notify('{CHANNEL}', '')"}
"""By dialect. What is notified is told when the transaction commits, and never if it is rolled back."""

Wanted = Callable[[Event], bool]
Apart = Callable[[], AbstractAsyncContextManager[None]]
log = structlog.get_logger(__name__)


async def append(
    actor: Actor, kind: str, object_id: str, *, project_id: str | None = None, user_id: str | None = None
) -> None:
    """Tells the log, and the audit log, that something became true; in the transaction that makes it so, at its end.

    `kind` is `noun.past_participle`; `user_id` the user whose request, key, session or membership it is.
    """
    occurred_at = clock.now()
    await audit.enter(actor, kind, object_id, project_id, occurred_at)
    rows = await connection().execute_query_dict(NEXT_POSITIONS[connection().capabilities.dialect])
    await Event.create(
        position=rows[0]["position"],
        kind=kind,
        object_id=object_id,
        project_id=project_id,
        user_id=user_id,
        occurred_at=occurred_at,
    )


async def head() -> int:
    """The position of the last event that is true now; 0 before the first."""
    position: int = (await EventHead.get(id=1)).position
    return position


async def after(position: int, limit: int = PAGE) -> list[Event]:
    return await Event.filter(position__gt=position).order_by("position").limit(limit)


class Discontinued(Exception):
    """The log doesn't go on from there: the database was restored, a failover lost events, or they were pruned."""


class Place(NamedTuple):
    """Up to where somebody has read the log, and the last event then, if it was kept."""

    position: int
    last: Event | None

    @classmethod
    async def present(cls) -> "Place":
        position = await head()
        return cls(position, await Event.get_or_none(position=position))

    async def next(self) -> list[Event]:
        """The events behind it, in order; one statement, where the last one is still kept. Raises Discontinued."""
        found = await _page_from(self.position)
        if found and found[0].position == self.position:
            if self.last and not _is_same(found[0], self.last):
                raise Discontinued
            del found[0]
        elif not found:
            found = await self._begun_meanwhile()
        if found and found[0].position != self.position + 1:
            raise Discontinued
        return found

    async def _begun_meanwhile(self) -> list[Event]:
        """What came since nothing at all was found, not even the last event. Raises Discontinued."""
        newest = await head()
        found = await after(self.position) if newest > self.position else []
        if not found and newest != self.position:
            raise Discontinued
        return found


async def _page_from(position: int) -> list[Event]:
    """Asked several times a second, mostly in vain: to have the ORM build it costs more than the answer."""
    place = "?" if connection().capabilities.dialect == "sqlite" else "$1"
    columns = tuple(Event._meta.fields_db_projection_reverse)
    found = f"SELECT {', '.join(columns)} FROM events WHERE position >= {place}"  # noqa: S608  no value
    statement = f"{found} ORDER BY position LIMIT {PAGE}"
    return await rows_once(Built(statement, [position], columns, Making(Event, models)))


def _is_same(one: Event, other: Event) -> bool:
    return (one.kind, one.object_id, one.occurred_at) == (other.kind, other.object_id, other.occurred_at)


def is_all(found: Sequence[Event]) -> bool:
    """Whether what `Place.next` gave is all that there was when it was asked.

    To ask until there is nothing would not end while others write without a pause.
    """
    return len(found) < PAGE - 1  # one of the page may have been the last event before


async def prune(retention: timedelta) -> None:
    """Forgets the events that are older, and remembers up to where, so that a cursor before that is told."""
    last = await Event.filter(occurred_at__lt=clock.now() - retention).order_by("-position").first()
    if last:
        await EventHead.filter(id=1, pruned_to__lt=last.position).update(pruned_to=last.position)
        await Event.filter(position__lte=last.position).delete()


class Cursors:
    """Positions as clients hold them: sealed, so that a forged one is known and none tells how busy the gateway is."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def give(self, position: int) -> str:
        return self._sealer.seal_text("event cursor", position.to_bytes(8))

    def position(self, cursor: str) -> int:
        """What a cursor says, whatever has become of the log. Raises BadInput for one that we never gave."""
        try:
            return int.from_bytes(self._sealer.open_text("event cursor", cursor))
        except Unsealable:
            raise BadInput("This is no event cursor of this gateway.") from None

    async def take(self, cursor: str) -> int:
        """The position of a cursor. Raises BadInput for one that we never gave, CursorExpired."""
        position, edge = self.position(cursor), await EventHead.get(id=1)
        if position > edge.position:
            raise CursorExpired(ANOTHER_LOG)
        if position < edge.pruned_to:
            raise CursorExpired(NO_LONGER_KEPT)
        return position


class Listener(Protocol):
    """Who is told of events at once as they are read, before anybody is told that the log was."""

    def heard(self, events: Sequence[Event]) -> None:
        """These came, in order; each is told once."""

    def begun(self) -> None:
        """The log goes on from somewhere else: what was heard before says nothing of the present."""


class EventLog:
    """The tail of the log in this process: read once, handed to every follower."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._place = Place(0, None)
        self._beginnings = 0
        self._read_at = float("-inf")
        self._changed_at = float("-inf")
        self._was_read = asyncio.Event()
        self._is_unreadable = asyncio.Event()
        self._woken = asyncio.Event()
        self._grown = asyncio.Condition()

    @property
    def position(self) -> int:
        """Up to where this process knows the log."""
        return self._place.position

    @property
    def is_fresh(self) -> bool:
        """Whether all is known that was true a second ago."""
        return time.monotonic() - self._read_at < FRESH_SECONDS

    @property
    def is_settled(self) -> bool:
        """Whether all is known that this process has committed, and all that was true a second ago."""
        return self._read_at > self._changed_at and time.monotonic() - self._read_at < FRESH_SECONDS

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def wake(self) -> None:
        """Says that this process may have appended something; called after a commit, before it is acknowledged."""
        self._changed_at = time.monotonic()
        self._woken.set()

    def look(self) -> None:
        """Says that another process may have appended something."""
        self._woken.set()

    @asynccontextmanager
    async def running(self, apart: Apart = nullcontext) -> AsyncIterator["EventLog"]:
        """Reads the log meanwhile, within `apart`: over a connection for which no other reader is waited."""
        await self._begin()
        tasks = [asyncio.create_task(each, name="event log") for each in (self._read_on(apart), self._watch())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def readable(self) -> None:
        """Returns at once where the log is fresh, else once it is again. Raises Unavailable after a second."""
        await self._until_read(lambda: self.is_fresh)

    async def settled(self) -> None:
        """Returns once all is known that this process has committed by now. Raises Unavailable after a second."""
        changed_at = self._changed_at
        await self._until_read(lambda: self._read_at > changed_at and self.is_fresh)

    async def reached(self, position: int) -> None:
        """Returns once the log is known up to there, or all of it is known that there is. Raises Unavailable."""
        asked_at = time.monotonic()
        await self._until_read(lambda: self.position >= position or self._read_at > asked_at)

    async def _until_read(self, is_enough: Callable[[], bool]) -> None:
        if is_enough():
            return
        try:
            async with asyncio.timeout(FRESH_SECONDS):  # wait_for can miss that it is cancelled
                while not is_enough():
                    self._was_read.clear()
                    self.look()
                    await self._was_read.wait()
        except TimeoutError as error:
            raise Unavailable("What is true now could not be read in time; try again.") from error

    async def unreadable(self) -> None:
        """Returns once the log could not be read for a second."""
        await self._is_unreadable.wait()

    async def grown(self, position: int, seconds: float) -> None:
        """Returns once there is more than up to this position, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._grown:
                await self._grown.wait_for(lambda: self.position > position)

    async def follow(self, position: int, wanted: Wanted) -> AsyncGenerator[Event, None]:
        """Every wanted event after the position, in order, each once; waits for the next without end.

        Raises CursorExpired once an event between is no longer kept, or the log becomes another.
        """
        beginnings = self._beginnings
        while True:
            for event in await self._next(position, beginnings):
                position = event.position
                if wanted(event):
                    yield event

    async def _next(self, position: int, beginnings: int) -> list[Event]:
        """At least one event after the position: from memory where it reaches back that far, else from the table."""
        async with self._grown:
            await self._grown.wait_for(lambda: self.position > position or self._beginnings != beginnings)
        if self._beginnings != beginnings:
            raise CursorExpired(ANOTHER_LOG)
        known = len(self._recent)
        behind = self.position - position
        if behind <= known:
            return list(islice(reversed(self._recent), behind))[::-1]  # from the end: most followers are close to it
        events = await after(position)
        if not events or events[0].position != position + 1:  # positions have no gaps: it was pruned meanwhile
            raise CursorExpired(NO_LONGER_KEPT)
        return events

    async def _read_on(self, apart: Apart) -> None:
        async with apart():
            await self._tail()

    async def _tail(self) -> None:
        is_failing = False
        while True:
            self._woken.clear()
            try:
                await self._read()
                is_failing = False
            except Exception:
                if not is_failing:
                    log.exception("The event log can't be read; trying again and again.")
                is_failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):  # wait_for can miss that it is cancelled
                    await self._woken.wait()

    async def _watch(self) -> None:
        """Tells those who wait for it that the log is no longer fresh, be it that this process stood still."""
        while True:
            remaining = self._read_at + FRESH_SECONDS - time.monotonic()
            if remaining <= 0:
                self._is_unreadable.set()
            await asyncio.sleep(remaining if remaining > 0 else POLL_SECONDS)

    async def _read(self) -> None:
        while True:
            asked_at = time.monotonic()
            try:
                # A connection may hang, and another not.
                events = await in_time(self._place.next(), FRESH_SECONDS)
            except Discontinued:
                log.warning("event_log_discontinued", position=self.position)
                await in_time(self._begin(), FRESH_SECONDS)
                return
            if events:
                async with self._grown:  # both together: followers count back from the position
                    self._recent.extend(events)
                    self._place = Place(events[-1].position, events[-1])
                    for listener in self._listeners:
                        listener.heard(events)
                    self._grown.notify_all()
            if is_all(events):
                self._know(asked_at)
                return

    async def _begin(self) -> None:
        """From the present end of the log; who follows one from before is told."""
        asked_at, place = time.monotonic(), await Place.present()
        async with self._grown:
            self._recent.clear()
            self._place = place
            self._beginnings += 1
            for listener in self._listeners:
                listener.begun()
            self._grown.notify_all()
        self._know(asked_at)

    def _know(self, asked_at: float) -> None:
        self._read_at = asked_at
        self._was_read.set()
        if self.is_fresh:
            self._is_unreadable.clear()
