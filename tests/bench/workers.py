"""What a metered decision costs as workers are added: processors' time of the gateway and of PostgreSQL, told apart.

The same gateway is started with each number of workers in turn, round by round, on one database, and alone.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import asyncpg
import httpx2

from tests.bench import servers
from tests.bench.authorize import requests
from tests.bench.callers import Project, with_keys
from tests.bench.growth import Figure
from tests.bench.load import load
from tests.bench.samples import ratios
from tests.bench.servers import Server, cpu_seconds
from tests.bench.tables import Goal, print_goals, print_table

WORKERS = (1, 2, 4)
TOGETHER, EACH = 64, 16
"""Connections: so many whatever the workers, and so many for each of them."""
TEMPLATES = 50  # for each of ten users
HOT, MANY = "one key", f"{10 * TEMPLATES} keys"
WARM_SECONDS = 3  # in which each worker meets each key
MOST = 1.15
SECRET_KEY = "the secret key of all gateways here"  # nobody else's


class Case(NamedTuple):
    workers: int
    keys: str
    connections: int


Figures = dict[Case, list[Figure]]
CASES = [
    Case(workers, keys, connections)
    for keys in (HOT, MANY)
    for workers in WORKERS
    for connections in sorted({TOGETHER, workers * EACH})
]


async def run(folder: Path, postgres_url: str, *, rounds: int, seconds: float) -> None:
    print(f"workers: seeding {MANY}", flush=True)
    server_pid = await process_of(postgres_url)
    async with (
        started(folder, postgres_url, 1) as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client,
    ):
        project = await with_keys(client, templates=TEMPLATES)
    figures: Figures = {case: [] for case in CASES}
    for number in range(rounds):
        for workers in WORKERS if number % 2 == 0 else reversed(WORKERS):
            async with started(folder, postgres_url, workers) as server:
                site = Site(server, server_pid, project)
                await site.measure(Case(workers, MANY, TOGETHER), WARM_SECONDS)
                for case in (case for case in CASES if case.workers == workers):
                    figures[case].append(await site.measure(case, seconds))
                    print(
                        f"round {number + 1} of {rounds}: {named(case)}: {figures[case][-1].cost_ms:.4f} ms", flush=True
                    )
    for keys in (HOT, MANY):
        print_figures(keys, figures)
    print_goals(goals(figures))


class Site(NamedTuple):
    server: Server
    database_pid: int
    project: Project

    async def measure(self, case: Case, seconds: float) -> Figure:
        tokens = self.project.tokens if case.keys == MANY else self.project.tokens[:1]
        before = self._spent()
        asked = requests(self.server, self.project, tokens)
        answers = await load(self.server.url, asked, connections=case.connections, seconds=seconds)
        if answers.refused or answers.broken or not answers.number:
            raise RuntimeError(f"{named(case)}: {answers}")
        spent = [1000 * (late - early) / answers.number for early, late in zip(before, self._spent(), strict=True)]
        return Figure(answers, *spent)

    def _spent(self) -> tuple[float, float]:
        return cpu_seconds(self.server.pid), cpu_seconds(self.database_pid)


@asynccontextmanager
async def started(folder: Path, postgres_url: str, workers: int) -> AsyncIterator[Server]:
    async with servers.gateway(folder / "workers", postgres_url, workers, secret_key=SECRET_KEY) as server:
        yield server


async def process_of(postgres_url: str) -> int:
    """The server's first process, of which all others are children."""
    connection = await asyncpg.connect(postgres_url)
    folder = Path(await connection.fetchval("SHOW data_directory"))
    await connection.close()
    return int((folder / "postmaster.pid").read_text().split()[0])


def named(case: Case) -> str:
    return f"{case.workers} worker{'s' if case.workers > 1 else ''}, {case.connections} connections, {case.keys}"


def print_figures(keys: str, figures: Figures) -> None:
    print(f"\nA metered decision at /authorize, PostgreSQL, {keys}")
    headings = ["requests/s", "p50 ms", "p99 ms", "gateway CPU ms", "PostgreSQL CPU ms", "both"]
    rows = [(f"{case.workers} x {case.connections}", cells(case, figures)) for case in CASES if case.keys == keys]
    print_table(headings, rows)


def cells(case: Case, figures: Figures) -> list[str]:
    mine = figures[case]
    times = [(figure.answers.p50_ms, figure.answers.p99_ms) for figure in mine]
    costs = [(figure.gateway_ms, figure.database_ms, figure.cost_ms) for figure in mine]
    middle = [f"{median(figure.answers.rate for figure in mine):.0f}"]
    middle += [f"{median(each):.1f}" for each in zip(*times, strict=True)]
    return middle + [f"{median(each):.4f}" for each in zip(*costs, strict=True)]


def goals(figures: Figures) -> list[Goal]:
    """That of both is wanted; the gateway's own is told."""
    found = []
    for keys in (HOT, MANY):
        for workers in WORKERS[1:]:
            for how, connections, before in (("in all", TOGETHER, TOGETHER), ("each", workers * EACH, EACH)):
                mine, one = figures[Case(workers, keys, connections)], figures[Case(1, keys, before)]
                what = f"{keys}, {workers} workers, {before} connections {how}: CPU beside one worker"
                both = ratios([figure.cost_ms for figure in mine], [figure.cost_ms for figure in one])
                own = ratios([figure.gateway_ms for figure in mine], [figure.gateway_ms for figure in one])
                found += [Goal(what, both, at_most=MOST), Goal(f"{what}, gateway alone", own)]
    return found
