"""Writes and reads at random, by several people over several connections, and whether any read was too old.

What somebody may see of something is a `Fact`: values, one after the other. A read may see the last that it must
contain, and any later one. Who changes a fact reads it before, so that it is kept, and at once after the change was
acknowledged.

TESSERA_STALE_READS says how many reads there are, TESSERA_STALE_SEED repeats the choices of a run.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from tests.bench.load import request

READS = int(os.environ.get("TESSERA_STALE_READS", "0"))
"""0 where each test has its own number."""
SEED = int(os.environ.get("TESSERA_STALE_SEED", "0")) or SystemRandom().randrange(1, 2**32)
ELSEWHERE_SECONDS = 1.0
WARMING = 3
MANY = 10_000
REVISION, WORKER = "tessera-revision", "tessera-worker"
URL = "http://127.0.0.1/graphql"


class Stale(AssertionError):
    """An answer misses a change that it had to contain."""


@dataclass
class Change:
    """A value that something has from then on, and how its writer was answered."""

    value: Any
    begun_at: float
    acknowledged_at: float = float("inf")
    worker: str = ""
    revision: str = ""


@dataclass
class Read:
    """When and where something was read; `presented` is a change whose revision was sent along."""

    begun_at: float
    presented: Change | None
    ended_at: float = float("inf")
    worker: str = ""

    def must_contain(self, change: Change) -> bool:
        if change.acknowledged_at > self.begun_at:
            return False
        if change.worker == self.worker or change.acknowledged_at <= self.begun_at - ELSEWHERE_SECONDS:
            return True
        return bool(self.presented and (change is self.presented or change.acknowledged_at <= self.presented.begun_at))


class Fact:
    """What somebody may see of something."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.changes = [Change(value, float("-inf"), float("-inf"))]
        self.turn = asyncio.Lock()
        """Of those who change it: it is changed by one at a time, so that the order is known."""

    @property
    def value(self) -> Any:
        return self.changes[-1].value

    def allowed(self, read: Read) -> list[Any]:
        """The newest first: those that were begun when the read had ended, back to the last that it must contain."""
        values = []
        for change in reversed(self.changes):
            if change.begun_at <= read.ended_at:
                values.append(change.value)
            if read.must_contain(change):
                break
        return values

    def check(self, read: Read, seen: Any) -> None:
        """Raises Stale."""
        if seen not in (allowed := self.allowed(read)):
            raise Stale(f"{self.name} was read as {seen!r}, and must be one of {allowed!r}: {read}")


Seen = Callable[[Any], Any]


@dataclass(frozen=True)
class Question:
    """What is asked by whom, and what its answer shows of which facts; None of an answer is a refusal, 401."""

    token: str | None
    query: str
    variables: dict[str, Any]
    shows: tuple[tuple[Fact, Seen], ...]


@dataclass
class Tally:
    """What came of it all."""

    reads: int = 0
    broken: int = 0
    """Reads without an answer."""
    presented: int = 0
    elsewhere: int = 0
    """Reads in another process than the last change before them."""
    changes: Counter[str] = field(default_factory=Counter)
    """By the mutations that made them."""


class Trial:
    """People who read and write at random, until there were so many reads."""

    def __init__(self, url: str, reads: int) -> None:
        self._burst = 40 if reads > MANY else 4
        self.tally = Tally()
        self.questions: list[Question] = []
        self.writes: list[Callable[[], Awaitable[None]]] = []
        self._url = url
        self._wanted = reads
        self._random = Random(SEED)  # noqa: S311  # it hides nothing
        self._lines: list[Line] = []
        self._last = Change(None, float("-inf"), float("-inf"))

    async def run(self, readers: int = 3, writers: int = 2, connections: int = 12) -> None:
        """Raises Stale, in a group."""
        async with self._connected(connections), asyncio.TaskGroup() as group:
            writing = [group.create_task(self._write_on()) for _ in range(writers)]
            reading = [group.create_task(self._read_on()) for _ in range(readers)]
            await asyncio.gather(*reading)
            for each in writing:
                each.cancel()

    async def change(self, fact: Fact, value: Any, token: str | None, mutation: str, **input: Any) -> None:
        """Makes the fact another by a mutation that must succeed."""
        name = mutation[0].upper() + mutation[1:]
        showing = [each for each in self.questions if any(fact is shown for shown, _ in each.shows)]
        await self._read(self._random.choice(showing), WARMING)
        query = f"mutation ($input: {name}Input!) {{ {mutation}(input: $input) {{ userErrors {{ message }} }} }}"
        change = Change(value, time.monotonic())
        fact.changes.append(change)
        async with self._line() as line:
            line.close()  # the next is a fresh one, which the server has no reason to close
            answer = await line.ask(token, query, {"input": input}, {})
        assert answer.data == {mutation: {"userErrors": []}}, answer
        change.worker, change.revision = answer.fields.get(WORKER, ""), answer.fields[REVISION]
        change.acknowledged_at = time.monotonic()
        self._last = change
        self.tally.changes[mutation] += 1
        await self._read(self._random.choice(showing), 1)
        await self._read(self._random.choice(showing), WARMING)

    async def _write_on(self) -> None:
        while True:
            await self._random.choice(self.writes)()
            await asyncio.sleep(0)  # a fact that can't be changed any more isn't

    async def _read_on(self) -> None:
        while self.tally.reads < self._wanted:
            await self._read(self._random.choice(self.questions), self._random.randrange(2 * self._burst))

    async def _read(self, question: Question, times: int) -> None:
        """Several times, over one connection."""
        async with self._line() as line:
            for _ in range(times):
                await self._read_once(question, line)

    async def _read_once(self, question: Question, line: "Line") -> None:
        presented = self._last if self._last.revision and self._random.random() < 0.1 else None
        headers = {REVISION: presented.revision} if presented else {}
        read = Read(time.monotonic(), presented)
        try:
            answer = await line.ask(question.token, question.query, question.variables, headers)
        except (ConnectionError, asyncio.IncompleteReadError):  # the server closed it, which had been quiet
            line.close()
            self.tally.broken += 1
            return
        self.tally.reads += 1
        read.ended_at, read.worker = time.monotonic(), answer.fields.get(WORKER, "")
        for fact, seen in question.shows:
            fact.check(read, seen(answer.data))
        self.tally.presented += presented is not None
        self.tally.elsewhere += read.worker != self._last.worker

    @asynccontextmanager
    async def _line(self) -> AsyncIterator["Line"]:
        """One at random, which one process has at its other end."""
        line = self._random.choice(self._lines)
        async with line.turn:
            yield line

    @asynccontextmanager
    async def _connected(self, connections: int) -> AsyncIterator[None]:
        self._lines += [Line(self._url) for _ in range(connections)]
        try:
            yield
        finally:
            for line in self._lines:
                line.close()


class Answer(NamedTuple):
    """`data` is None where the token is refused."""

    fields: dict[str, str]
    data: Any


class Line:
    """A connection, for one question after the other; in few steps, since most of what is measured is in them."""

    def __init__(self, url: str) -> None:
        self.turn = asyncio.Lock()
        self._parts = urlsplit(url)
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, token: str | None, query: str, variables: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        """Raises AssertionError for any answer but data and 401."""
        body = orjson.dumps({"query": query, "variables": variables})
        bearer = {"authorization": f"Bearer {token}"} if token else {}
        reader, writer = await self._opened()
        writer.write(request("POST", URL, {"content-type": "application/json", **bearer, **headers}, body))
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        fields = dict(line.split(": ", 1) for line in lines if line)
        read = await reader.readexactly(int(fields["content-length"]))
        if " 401 " in head:
            return Answer(fields, None)
        told = orjson.loads(read)
        assert " 200 " in head, head
        assert "errors" not in told, told
        return Answer(fields, told["data"])

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Anew, where the server has closed what was quiet for a while."""
        if self._open is None or self._open[0].at_eof():
            self.close()
            self._open = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        return self._open

    def close(self) -> None:
        if self._open:
            self._open[1].close()
            self._open = None
