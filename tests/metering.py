"""A meter over a ledger that can be held up, for tests: who waits, and in how many transactions they go.

async with opened(offered, database) as house:
    call = await house.call_under_way()
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from gateway.counting import Record
from gateway.plane import ledger
from gateway.plane.admission import Admitted
from gateway.plane.decisions import Denied
from gateway.plane.ledger import Known, Transaction
from gateway.usage import Totals
from tests.gatehouse import Offer
from tests.planes import SILENCE, Call, Plane, plane

ResultT = TypeVar("ResultT")


class Watched:
    """A ledger that counts its transactions; it holds them up, and has them fail, where it is told to."""

    def __init__(self, url: str) -> None:
        self._ledger = ledger.opened(url)
        self.dialect = self._ledger.dialect
        self.transactions = 0
        self.failures: list[Exception] = []
        """What the next ones fail with, one after another."""
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.is_asked = asyncio.Event()

    @property
    def connection(self) -> int:
        return self._ledger.connection

    async def run(self, transaction: Callable[[], Transaction[ResultT]]) -> ResultT:
        await self._begin()
        return await self._ledger.run(transaction)

    async def count(self, known: Known, records: Sequence[Record]) -> None:
        await self._begin()
        await self._ledger.count(known, records)

    async def close(self) -> None:
        await self._ledger.close()

    async def _begin(self) -> None:
        self.transactions += 1
        self.is_asked.set()
        await self.is_open.wait()
        if self.failures:
            raise self.failures.pop(0)


class Instant:
    """A ledger that does nothing, and takes no time for it."""

    dialect = "sqlite"
    connection = 1

    async def run(self, _: Callable[[], Transaction[ResultT]]) -> ResultT:
        raise NotImplementedError

    async def count(self, _: Known, __: Sequence[Record]) -> None: ...

    async def close(self) -> None: ...


class House(NamedTuple):
    offered: Offer
    at: Plane
    ledger: Watched

    async def call(self) -> Admitted | Denied:
        return await self.at.call(self.offered.project.id, self.offered.token, Call())

    async def calls(self, quantity: int) -> list[asyncio.Task[Admitted | Denied]]:
        """So many calls that wait for the meter."""
        begun = [asyncio.create_task(self.call()) for _ in range(quantity)]
        await asyncio.sleep(0)
        return begun

    async def call_under_way(self) -> asyncio.Task[Admitted | Denied]:
        """A call whose transaction has begun, and is held up."""
        self.ledger.is_open.clear()
        self.ledger.is_asked.clear()
        call = asyncio.create_task(self.call())
        await self.ledger.is_asked.wait()
        return call

    async def counted(self) -> Totals:
        return await self.offered.counted()


@asynccontextmanager
async def opened(offered: Offer, database: str) -> AsyncIterator[House]:
    watched = Watched(database)
    async with plane(database, SILENCE, watched) as at:
        yield House(offered, at, watched)


def statuses(answers: Sequence[Admitted | Denied]) -> set[int]:
    return {answer.status if isinstance(answer, Denied) else 200 for answer in answers}
