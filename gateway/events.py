"""The event log: appended to in the transaction of the change itself, followed by everyone who must know.

Positions are given out under the lock of one row that is held until the commit, so a position never shows after a
higher one was read, and there are no gaps. A wake-up carries nothing: followers read the log, and look again every
`POLL_SECONDS` in case a wake-up was lost.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import islice

import structlog

from gateway import audit, clock
from gateway.database import connection, in_time
from gateway.errors import BadInput, CursorExpired
from gateway.permissions import Actor
from gateway.sealing import Sealer, Unsealable
from models import Event, EventHead

POLL_SECONDS = 0.25
PAGE = 500
RECENT = 10_000
NO_LONGER_KEPT = "The events after this cursor are no longer kept; read the page again and start anew."

Wanted = Callable[[Event], bool]
log = structlog.get_logger(__name__)


async def append(
    actor: Actor, kind: str, object_id: str, *, project_id: str | None = None, user_id: str | None = None
) -> None:
    """Tells the log, and the audit log, that something became true; in the transaction that makes it so, at its end.

    `kind` is `noun.past_participle`; `user_id` the user whose request, key, session or membership it is.
    """
    occurred_at = clock.now()
    await audit.enter(actor, kind, object_id, project_id, occurred_at)
    rows = await connection().execute_query_dict(
        "UPDATE event_head SET position = position + 1 WHERE id = 1 RETURNING position"
    )
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

    async def take(self, cursor: str) -> int:
        """The position of a cursor. Raises BadInput for one that we never gave, CursorExpired."""
        try:
            position = int.from_bytes(self._sealer.open_text("event cursor", cursor))
        except Unsealable:
            raise BadInput("This is no event cursor of this gateway.") from None
        edge = await EventHead.get(id=1)
        if position > edge.position:
            raise BadInput("This event cursor is ahead of the log: the database may have been restored since.")
        if position < edge.pruned_to:
            raise CursorExpired(NO_LONGER_KEPT)
        return position


class EventLog:
    """The tail of the log in this process: read once, handed to every follower."""

    def __init__(self) -> None:
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._position = 0
        self._woken = asyncio.Event()
        self._grown = asyncio.Condition()

    @property
    def position(self) -> int:
        """Up to where this process knows the log."""
        return self._position

    def wake(self) -> None:
        """Says that there may be something new; called after a commit."""
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["EventLog"]:
        self._position = await head()
        tail = asyncio.create_task(self._tail(), name="event log")
        try:
            yield self
        finally:
            tail.cancel()
            with suppress(asyncio.CancelledError):
                await tail

    async def grown(self, position: int, seconds: float) -> None:
        """Returns once there is more than up to this position, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._grown:
                await self._grown.wait_for(lambda: self._position > position)

    async def follow(self, position: int, wanted: Wanted) -> AsyncGenerator[Event, None]:
        """Every wanted event after the position, in order, each once; waits for the next without end."""
        while True:
            for event in await self._next(position):
                position = event.position
                if wanted(event):
                    yield event

    async def _next(self, position: int) -> list[Event]:
        """At least one event after the position: from memory where it reaches back that far, else from the table."""
        async with self._grown:
            await self._grown.wait_for(lambda: self._position > position)
        known = len(self._recent)
        behind = self._position - position
        if behind <= known:
            return list(islice(reversed(self._recent), behind))[::-1]  # from the end: most followers are close to it
        events = await after(position)
        if not events or events[0].position != position + 1:  # positions have no gaps: it was pruned meanwhile
            raise CursorExpired(NO_LONGER_KEPT)
        return events

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

    async def _read(self) -> None:
        while events := await in_time(after(self._position)):  # a connection may hang, and another not
            async with self._grown:  # both together: followers count back from the position
                self._recent.extend(events)
                self._position = events[-1].position
                self._grown.notify_all()
