"""What can be measured: a server under load, alone or beside another load, and a database's bare inserts."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.load import Answers, load
from tests.bench.samples import Sample
from tests.bench.servers import Server, cpu_seconds

AHEAD_SECONDS = 0.5


@dataclass(eq=False)
class Served:
    """A server, and the requests that it is sent in turn, as they are."""

    name: str
    server: Server
    requests: Sequence[bytes]
    answers: int = field(default=0, init=False)
    """All that were received, of any measurement."""

    async def measure(self, connections: int, seconds: float) -> Sample:
        before = cpu_seconds(self.server.pid)
        answers = await self._good_answers(connections, seconds)
        cpu_ms = 1000 * (cpu_seconds(self.server.pid) - before) / max(answers.number, 1)
        return Sample(answers.rate, answers.p50_ms, answers.p99_ms, cpu_ms)

    async def _good_answers(self, connections: int, seconds: float) -> Answers:
        answers = await load(self.server.url, self.requests, connections=connections, seconds=seconds)
        if answers.refused or answers.broken or not answers.number:
            raise RuntimeError(f"{self.name}: {answers}")
        self.answers += answers.number
        return answers


@dataclass(eq=False)
class Flooded(Served):
    """The same, while others send other requests to the same server."""

    flood: Sequence[bytes] = ()
    flood_connections: int = 16

    async def measure(self, connections: int, seconds: float) -> Sample:
        flooding = asyncio.create_task(
            load(self.server.url, self.flood, connections=self.flood_connections, seconds=seconds + 2 * AHEAD_SECONDS)
        )
        await asyncio.sleep(AHEAD_SECONDS)
        answers = await self._good_answers(connections, seconds)
        flood = await flooding
        if flood.refused != flood.number:
            raise RuntimeError(f"{self.name}: forged keys were let in: {flood}")
        return Sample(answers.rate, answers.p50_ms, answers.p99_ms, beside=flood.rate)


@dataclass(frozen=True)
class Inserts:
    """One durable INSERT after another, each a transaction by itself, on each of the connections; no web server."""

    name: str
    database_url: str

    async def measure(self, connections: int, seconds: float) -> Sample:
        command = [sys.executable, "-m", "tests.bench.inserts", self.database_url, str(connections), str(seconds)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{self.name} failed.")
        return Sample(**json.loads(output))
