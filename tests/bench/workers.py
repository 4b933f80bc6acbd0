"""What a metered decision costs as workers are added: processors' time of the gateway and of PostgreSQL, told apart.

A second of a processor is worth less where all of them are busy and many processes take turns on them: caches, and
often the core itself, are shared. So the workers are also beside as many gateways of one worker that share nothing,
each on a database of its own: what these cost more than one alone is the machine's. All gateways run meanwhile, and
take turns within each round.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg
import httpx2

from tests.bench import servers
from tests.bench.authorize import requests
from tests.bench.callers import Project, with_keys
from tests.bench.growth import Figure
from tests.bench.load import Answers, load
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
POOL = "4"  # connections of each process, of whom a dozen share PostgreSQL's hundred


class Case(NamedTuple):
    processes: int
    keys: str
    connections: int
    generators: int = 1
    is_apart: bool = False
    """As many gateways of one worker, each of which needs a generator, instead of one gateway of so many."""

    def __str__(self) -> str:
        what = "gateway" if self.is_apart else "worker"
        generators = f" of {self.generators} generators" if self.generators > 1 else ""
        return f"{self.processes} {what}{'s' if self.processes > 1 else ''}, {self.connections} connections{generators}"


def cases(keys: str, processes: int) -> list[Case]:
    ours = [Case(processes, keys, connections) for connections in sorted({TOGETHER, processes * EACH})]
    shared = Case(processes, keys, processes * EACH, processes)
    return ours if processes == 1 else [*ours, shared, shared._replace(is_apart=True)]


Figures = dict[Case, list[Figure]]
CASES = [case for keys in (HOT, MANY) for processes in WORKERS for case in cases(keys, processes)]


async def run(folder: Path, postgres_url: str, *, rounds: int, seconds: float) -> None:
    figures: Figures = {case: [] for case in CASES}
    async with started(folder, postgres_url) as site:
        for number in range(rounds):
            for case in CASES if number % 2 == 0 else reversed(CASES):
                figure = await site.measure(case, seconds)
                figures[case].append(figure)
                print(f"round {number + 1} of {rounds}: {case}, {case.keys}: {figure.cost_ms:.4f} ms", flush=True)
    for keys in (HOT, MANY):
        print_figures(keys, figures)
    print_goals(goals(figures))


class Asked(NamedTuple):
    """A gateway, and the project whose keys are presented to it."""

    server: Server
    project: Project

    async def load(self, keys: str, connections: int, seconds: float) -> Answers:
        tokens = self.project.tokens if keys == MANY else self.project.tokens[:1]
        asked = requests(self.server, self.project, tokens)
        return await load(self.server.url, asked, connections=connections, seconds=seconds)


@dataclass(frozen=True)
class Site:
    database_pid: int
    by_workers: dict[int, Asked]
    apart: list[Asked]

    async def measure(self, case: Case, seconds: float) -> Figure:
        asked = self.apart[: case.processes] if case.is_apart else [self.by_workers[case.processes]] * case.generators
        gateways = {each.server for each in asked}
        before = self._spent(gateways)
        callers = case.connections // case.generators
        answers = together(await asyncio.gather(*(each.load(case.keys, callers, seconds) for each in asked)))
        if answers.refused or answers.broken or not answers.number:
            raise RuntimeError(f"{case}, {case.keys}: {answers}")
        after = self._spent(gateways)
        return Figure(
            answers, *(1000 * (late - early) / answers.number for early, late in zip(before, after, strict=True))
        )

    def _spent(self, gateways: Iterable[Server]) -> tuple[float, float]:
        return sum(cpu_seconds(each.pid) for each in gateways), cpu_seconds(self.database_pid)


def together(answers: list[Answers]) -> Answers:
    """Of generators that ran at once; the times are the middle and the worst of theirs."""
    return Answers(
        sum(each.number for each in answers),
        max(each.seconds for each in answers),
        median(each.p50_ms for each in answers),
        max(each.p99_ms for each in answers),
        sum(each.refused for each in answers),
        sum(each.broken for each in answers),
    )


@asynccontextmanager
async def started(folder: Path, postgres_url: str) -> AsyncIterator[Site]:
    """The first of those apart is the gateway of one worker."""
    database_pid = await process_of(postgres_url)
    urls = [postgres_url, *await copies(postgres_url, max(WORKERS) - 1)]
    async with AsyncExitStack() as stack:

        async def gateway(url: str, workers: int) -> Server:
            place = folder / f"{urlsplit(url).path[1:]}-{workers}"
            settings = {"secret_key": SECRET_KEY, "database_connections": POOL}
            return await stack.enter_async_context(servers.gateway(place, url, workers, **settings))

        apart = [await seeded(await gateway(url, 1)) for url in urls]
        alone = apart[0]
        by_workers = {1: alone} | {
            workers: Asked(await gateway(postgres_url, workers), alone.project) for workers in WORKERS[1:]
        }
        for asked in (*apart, *by_workers.values()):
            await asked.load(MANY, TOGETHER, WARM_SECONDS)
        yield Site(database_pid, by_workers, apart)


async def seeded(server: Server) -> Asked:
    print(f"workers: seeding {MANY}", flush=True)
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client:
        return Asked(server, await with_keys(client, templates=TEMPLATES))


async def copies(postgres_url: str, quantity: int) -> list[str]:
    """The URLs of others like this database, to which nobody is connected yet; they go with the server."""
    parts = urlsplit(postgres_url)
    name = parts.path[1:]
    names = [f"{name}_{number + 1}" for number in range(quantity)]
    connection = await asyncpg.connect(parts._replace(path="/postgres").geturl())
    for each in names:
        await connection.execute(f"CREATE DATABASE {each} TEMPLATE {name}")
    await connection.close()
    return [parts._replace(path=f"/{each}").geturl() for each in names]


async def process_of(postgres_url: str) -> int:
    """The server's first process, of which all others are children."""
    connection = await asyncpg.connect(postgres_url)
    folder = Path(await connection.fetchval("SHOW data_directory"))
    await connection.close()
    return int((folder / "postmaster.pid").read_text().split()[0])


def print_figures(keys: str, figures: Figures) -> None:
    print(f"\nA metered decision at /authorize, PostgreSQL, {keys}")
    headings = ["requests/s", "p50 ms", "p99 ms", "gateway CPU ms", "PostgreSQL CPU ms", "both"]
    print_table(headings, [(str(case), cells(figures[case])) for case in CASES if case.keys == keys])


def cells(mine: list[Figure]) -> list[str]:
    times = [(figure.answers.p50_ms, figure.answers.p99_ms) for figure in mine]
    costs = [(figure.gateway_ms, figure.database_ms, figure.cost_ms) for figure in mine]
    middle = [f"{median(figure.answers.rate for figure in mine):.0f}"]
    middle += [f"{median(each):.1f}" for each in zip(*times, strict=True)]
    return middle + [f"{median(each):.4f}" for each in zip(*costs, strict=True)]


def goals(figures: Figures) -> list[Goal]:
    """What gateways that share nothing cost beside one is told: no worker could cost less."""
    found = []
    for keys in (HOT, MANY):
        for workers in WORKERS[1:]:
            each = Case(workers, keys, workers * EACH)
            shared = each._replace(generators=workers)
            apart = shared._replace(is_apart=True)
            what = f"{keys}, {workers} workers"
            one, among = Case(1, keys, EACH), Case(1, keys, TOGETHER)
            found += [
                Goal(f"{what}, {EACH} callers each, beside one", beside(figures, each, one), at_most=MOST),
                Goal(
                    f"{what}, {EACH} callers each, beside gateways apart", beside(figures, shared, apart), at_most=MOST
                ),
                Goal(f"{keys}, {workers} gateways apart, beside one", beside(figures, apart, one)),
                Goal(
                    f"{what}, {TOGETHER} callers in all, beside one",
                    beside(figures, Case(workers, keys, TOGETHER), among),
                    at_most=MOST,
                ),
            ]
    return found


def beside(figures: Figures, mine: Case, other: Case) -> list[float]:
    """How many times the processors' time, gateway and PostgreSQL together, in the same round."""
    return ratios([figure.cost_ms for figure in figures[mine]], [figure.cost_ms for figure in figures[other]])
