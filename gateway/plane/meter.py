"""The meter: a call that is let through is durable before its answer begins.

Calls that come together share a transaction (group commit): while one is under way the next ones gather. Where many
called a moment ago as many are waited for, a moment at most; a lone call waits for nobody. The transaction reads the
head of the event log first; where it is past what the calls were decided by, nothing is written, the log is read, and
they are decided again. By then all is known that was acknowledged before they came, and that is enough: a log that
grows without a pause keeps none of them waiting.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from gateway.counting import (
    DAYS,
    HOURS,
    MONTHS,
    Counted,
    Record,
    adding,
    recording,
    rolled_up,
    subtracting,
    summed_up,
    unrecording,
)
from gateway.errors import Unavailable
from gateway.limits import UNLIMITED
from gateway.metrics import Measures
from gateway.plane.decisions import Allowed, Decision, Denied
from gateway.plane.learning import Learner
from gateway.plane.ledger import AWAY, HEAD, Head, Known, Ledger, Moved, ResultT, Transaction
from gateway.plane.quotas import Counters, Exceeded, Spent, Verdict

MOST_WAITING = 10_000
MOST_IN_GROUP = 1_000
LEAST_WAITED_FOR = 4
GATHER_SECONDS = 0.002
RECENT_SECONDS = 10 * GATHER_SECONDS
MOST_TRIES = 5
LATER_SECONDS = 0.5
RETRY_SECONDS = 1

log = structlog.get_logger(__name__)

Decide = Callable[[], Decision]


class Metered(NamedTuple):
    """A call that is durable: as it was decided last, when, in microseconds, and what its key has called by then."""

    allowed: Allowed
    called_at: int
    spent: Spent | None = None

    @property
    def record(self) -> Record:
        cost = self.allowed.cost
        return self.allowed.key.id, self.called_at, cost.units, cost.fraction


Outcome = Metered | Denied | Exceeded


@dataclass(slots=True)
class Waiting:
    """A call that waits to be counted."""

    call: Metered
    decide: Decide
    done: asyncio.Future[Outcome]

    @property
    def hour(self) -> int:
        return HOURS.start_of(self.call.called_at)

    def settle(self, outcome: Outcome) -> None:
        if not self.done.done():  # whoever asked may have gone
            self.done.set_result(outcome)


class Gathering:
    """How long a group waits for others to join it, since what a group costs is mostly not of its calls.

    As many are waited for as the group before had, and came while it was written: who was just answered calls again.
    """

    def __init__(self) -> None:
        self._expected = 0
        self._expected_at = float("-inf")
        self._wanted = MOST_IN_GROUP
        self._enough = asyncio.Event()

    def come(self, quantity: int) -> None:
        """So many wait by now."""
        if quantity >= self._wanted:
            self._enough.set()

    def expect(self, quantity: int) -> None:
        """So many called lately."""
        self._expected, self._expected_at = quantity, time.monotonic()

    async def enough(self, quantity: int) -> None:
        """Returns once as many wait as are expected, of whom so many do already; at once where those are few."""
        wanted = min(self._expected, MOST_IN_GROUP)
        if quantity >= wanted or wanted < LEAST_WAITED_FOR or time.monotonic() - self._expected_at > RECENT_SECONDS:
            return
        self._wanted = wanted
        self._enough.clear()
        timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._enough.set)
        await self._enough.wait()
        timer.cancel()


class Meter:
    def __init__(self, ledger: Ledger, learner: Learner, measures: Measures) -> None:
        self._ledger = ledger
        self._learner = learner
        self._measures = measures
        self._waiting: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._gathering = Gathering()
        self._writing = asyncio.Lock()
        self._refused: Counter[tuple[str, int]] = Counter()
        self._owed: list[Record] = []
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Meter"]:
        """Counts meanwhile; at the end all that waits is counted, and what was refused."""
        groups = asyncio.create_task(self._count_groups(), name="meter")
        later = asyncio.create_task(self._write_later(), name="refused calls")
        try:
            yield self
        finally:
            self._stopping.set()
            self._arrived.set()
            await asyncio.gather(groups, later)  # not cut off: what is being written must not be written again
            await self._ledger.close()

    async def count(self, allowed: Allowed, decide: Decide) -> Outcome:
        """The call, once it is durable; or why it isn't let through after all, by `decide` as of now or by a quota."""
        if self._stopping.is_set() or len(self._waiting) >= MOST_WAITING:
            return unavailable()
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(Metered(allowed, time.time_ns() // 1000), decide, done))
        self._arrived.set()
        self._gathering.come(len(self._waiting))
        return await done

    async def void(self, call: Metered) -> None:
        """Takes back a call whose upstream was never reached. Raises Unavailable: then it is done as soon as can be."""
        try:
            await self._run(lambda: voiding(self._ledger.dialect, [call.record]))
        except Unavailable:
            self._owed.append(call.record)
            raise
        except Exception as error:
            log.exception("call_not_voided")
            self._owed.append(call.record)
            raise Unavailable(AWAY) from error

    def refuse(self, key_id: str) -> None:
        """Counts a call that was refused; it is written down a moment later."""
        now = time.time_ns() // 1000
        self._refused[key_id, HOURS.start_of(now)] += 1

    async def _count_groups(self) -> None:
        while not self._stopping.is_set():
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._gathering.enough(len(self._waiting))
                group = self._next_group()
                await self._count_group(group)
                self._gathering.expect(len(group) + len(self._waiting))

    def _next_group(self) -> list[Waiting]:
        """Those of one hour that wait, so that one statement adds the same to hours, days and months."""
        hour = self._waiting[0].hour
        group: list[Waiting] = []
        while self._waiting and self._waiting[0].hour == hour and len(group) < MOST_IN_GROUP:
            group.append(self._waiting.popleft())
        return group

    async def _count_group(self, group: list[Waiting]) -> None:
        try:
            await self._count_at_last(group)
        except Unavailable:
            _settle_all(group, unavailable())
        except Exception:
            log.exception("calls_not_counted", calls=len(group))
            _settle_all(group, unavailable())

    async def _count_at_last(self, group: list[Waiting]) -> None:
        """Raises Unavailable, also where again and again another server's log is the one to know."""
        seen: Head | None = None
        for _ in range(MOST_TRIES):
            group = self._decided_again(group)
            if not group:
                return
            try:
                await self._count_once(group, Known(self._learner.knowledge.position, seen))
            except Moved as moved:
                seen = moved.head
                await self._learner.catch_up()
            else:
                return
        raise Unavailable(AWAY)

    def _decided_again(self, group: list[Waiting]) -> list[Waiting]:
        """Those of the group that are let through by what is known now; the others are told."""
        position, still = self._learner.knowledge.position, []
        for waiting in group:
            if waiting.call.allowed.position != position:
                decision = waiting.decide()
                if isinstance(decision, Denied):
                    waiting.settle(decision)
                    continue
                waiting.call = waiting.call._replace(allowed=decision)
            still.append(waiting)
        return still

    async def _count_once(self, group: list[Waiting], known: Known) -> None:
        """Raises Moved, Unavailable."""
        calls, began = [waiting.call for waiting in group], time.perf_counter()
        verdicts = await self._verdicts(calls, known)
        self._measures.wrote_group(len(calls), time.perf_counter() - began)
        for waiting, verdict in zip(group, verdicts, strict=True):
            if isinstance(verdict, Exceeded):
                waiting.settle(verdict)
            else:
                waiting.settle(waiting.call._replace(spent=verdict) if verdict else waiting.call)

    async def _verdicts(self, calls: Sequence[Metered], known: Known) -> Sequence[Verdict | None]:
        """What `counting` says, where it takes more than one statement. Raises Moved, Unavailable."""
        if not all(call.allowed.limits is UNLIMITED for call in calls):
            return await self._run(lambda: counting(self._ledger, known, calls))
        async with self._writing:
            await self._ledger.count(known, [call.record for call in calls])
        return [None] * len(calls)

    async def _run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        async with self._writing:
            return await self._ledger.run(transaction)

    async def _write_later(self) -> None:
        """Writes what may be written a moment later: voids that could not be written in time, and refused calls."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LATER_SECONDS)
            is_last = self._stopping.is_set()
            for write in (self._write_voids, self._write_refusals):
                try:
                    await write()
                except Unavailable:
                    pass  # kept for the next time
                except Exception:
                    log.exception("not_written_later", what=write.__name__)
            if is_last:
                return

    async def _write_voids(self) -> None:
        if owed := self._owed:
            self._owed = []
            try:
                await self._run(lambda: voiding(self._ledger.dialect, owed))
            except Exception:
                self._owed += owed
                raise

    async def _write_refusals(self) -> None:
        if refused := self._refused:
            self._refused = Counter()
            try:
                await self._run(lambda: refusing(self._ledger.dialect, refused))
            except Exception:
                self._refused.update(refused)
                raise


# The meter's transactions


def counting(ledger: Ledger, known: Known, calls: Sequence[Metered]) -> Transaction[Sequence[Verdict]]:
    """Counts those of the calls that fit in their quotas; a verdict on each.

    Raises Moved, before anything is written.
    """
    dialect, rows = ledger.dialect, (yield HEAD)
    head = Head(rows[0][0], ledger.connection)
    if not known.suffices(head):
        raise Moved(head)
    records = [call.record for call in calls]
    hours = rolled_up([_counted(record) for record in records], HOURS)
    days = yield adding(dialect, DAYS, rolled_up(hours, DAYS))
    months = yield adding(dialect, MONTHS, rolled_up(hours, MONTHS))
    counters = Counters(days, months, records)
    verdicts = [counters.verdict(call.record, call.allowed.limits) for call in calls]
    over = [record for record, verdict in zip(records, verdicts, strict=True) if isinstance(verdict, Exceeded)]
    fitting = [record for record, verdict in zip(records, verdicts, strict=True) if isinstance(verdict, Spent)]
    yield from subtracting(dialect, over, (DAYS, MONTHS))
    if fitting:
        yield adding(dialect, HOURS, rolled_up([_counted(record) for record in fitting], HOURS))
        yield recording(dialect, fitting)
    return verdicts


def voiding(dialect: str, records: Sequence[Record]) -> Transaction[None]:
    """Takes back calls that were counted; one whose record is past retention stays."""
    found: list[Record] = []
    for record in sorted(records):
        rows = yield unrecording(dialect, record)
        found += [record] * len(rows)
    yield from subtracting(dialect, found)


def refusing(dialect: str, refused: Counter[tuple[str, int]]) -> Transaction[None]:
    counted: list[Counted] = [(key_id, at, (0, quantity, 0, 0)) for (key_id, at), quantity in refused.items()]
    for bucket, sums in summed_up(counted):
        yield adding(dialect, bucket, sums)


def _counted(record: Record) -> Counted:
    key_id, at, units, fraction = record
    return key_id, at, (1, 0, units, fraction)


def unavailable() -> Denied:
    return Denied(503, AWAY, retry_after=RETRY_SECONDS)


def _settle_all(group: Sequence[Waiting], outcome: Outcome) -> None:
    for waiting in group:
        waiting.settle(outcome)
