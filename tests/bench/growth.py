"""What reports cost as calls gather: the same questions of a nearly empty year and of a full one, over HTTP.

Both databases are seeded at both sizes; the sizes take turns, so that how busy the machine is touches both alike.
"""

import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from gateway.clock import now
from gateway.seeding import OWNER, PASSWORD, PERIOD
from tests.bench import load, servers
from tests.bench.callers import Caller
from tests.bench.load import Answers
from tests.bench.seeded import Seeded, seeded_databases
from tests.bench.servers import Server, cpu_seconds
from tests.bench.tables import Goal, print_goals, print_table

OPERATIONS = Path(__file__).parents[2] / "graphql" / "operations"
SMALL, LARGE = 100_000, 10_000_000
PERIODS = 200
FEWEST_DAYS, MOST_DAYS = 60, 160
HOLDERS = 20
CONNECTIONS = 16
TABLE = "issued keys by total, odd period"
TILES, SERIES, LAST_CALLS, INGEST = "tiles", "report by the day, odd period", "last calls of 100 keys", "metered calls"
P99_MS, GROWTH = 150, 2
LAST_CALLED = (
    "query($projectId: ID!) { project(id: $projectId) { issuedKeys(first: 100) { nodes { id lastUsedAt } } } }"
)


@dataclass(frozen=True)
class Figure:
    """One measurement; the processors' time of gateway and database is that for one answer."""

    answers: Answers
    gateway_ms: float
    database_ms: float

    @property
    def cost_ms(self) -> float:
        return self.gateway_ms + self.database_ms


@dataclass
class Site:
    """A gateway on a seeded database, and the questions that it is asked by what they are."""

    seeded: Seeded
    server: Server
    questions: dict[str, list[bytes]]

    async def measure(self, question: str, connections: int, seconds: float) -> Figure:
        before = self._spent()
        answers = await load.load(self.server.url, self.questions[question], connections=connections, seconds=seconds)
        if answers.refused or answers.broken or not answers.number:
            raise RuntimeError(f"{question}: {answers}")
        spent = [1000 * (late - early) / answers.number for early, late in zip(before, self._spent(), strict=True)]
        return Figure(answers, *spent)

    def _spent(self) -> tuple[float, float]:
        database = cpu_seconds(self.seeded.server_pid) if self.seeded.server_pid else 0.0
        return cpu_seconds(self.server.pid), database


async def run(
    folder: Path, _: str, *, rounds: int, seconds: float, records: int = LARGE, kept: Path | None = None
) -> None:
    """What is seeded goes with the folder, unless it is kept in another."""
    async with seeded_databases(kept or folder, [SMALL, records]) as databases:
        for name in ("sqlite", "postgres"):
            pair = [database for database in databases if database.name == name]
            await _compare(pair, rounds, seconds)


async def _compare(pair: Sequence[Seeded], rounds: int, seconds: float) -> None:
    figures: dict[str, list[list[Figure]]] = {}
    async with AsyncExitStack() as stack:
        sites = [await stack.enter_async_context(_open(database)) for database in pair]
        for question in (TABLE, TILES, SERIES, LAST_CALLS):
            figures[question] = [await _measured(sites, question, 1, seconds) for _ in range(rounds + 1)][1:]
            print(f"{pair[0].name}: {question} measured", flush=True)
    figures[INGEST] = [[await _ingested(database, seconds) for database in pair] for _ in range(rounds)]
    _print(pair, figures)


async def _measured(sites: Sequence[Site], question: str, connections: int, seconds: float) -> list[Figure]:
    return [await site.measure(question, connections, seconds) for site in sites]


async def _ingested(database: Seeded, seconds: float) -> Figure:
    """Of a copy, which is thrown away, since it grows."""
    async with database.copied() as copy, _open(copy) as site:
        return await site.measure(INGEST, CONNECTIONS, seconds)


@asynccontextmanager
async def _open(database: Seeded) -> AsyncIterator[Site]:
    async with (
        servers.gateway(database.folder, database.url, kept_answers_megabytes="0") as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client,
    ):
        owner = await _signed_in(client, OWNER)
        projects = (await owner.ask("{ projects(first: 20) { nodes { id } } }"))["projects"]["nodes"]
        ids = [project["id"] for project in projects]
        holders = [await _signed_in(client, f"user{number}@seed.example.com") for number in range(1, HOLDERS + 1)]
        yield Site(database, server, {**_questions(server, owner, ids), INGEST: await _calls(server, holders)})


async def _signed_in(client: httpx2.AsyncClient, email: str) -> Caller:
    payload = await Caller(client).do("signIn", "token", email=email, password=PASSWORD)
    return Caller(client, payload["token"])


def _questions(server: Server, owner: Caller, project_ids: Sequence[str]) -> dict[str, list[bytes]]:
    by_total = {"first": 20, "orderBy": {"field": "TOTAL", "direction": "DESC"}}
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        TABLE: (_document("pages/issued_keys"), by_total),
        TILES: (_document("pages/template_tiles"), {}),
        SERIES: (_document("analysts/usage_series"), {"granularity": "DAY", "timeZone": "UTC"}),
        LAST_CALLS: (LAST_CALLED, {}),
    }
    return {
        name: [
            _asking(
                server, owner, query, {**variables, "projectId": project_ids[n % len(project_ids)], "period": period}
            )
            for n, period in enumerate(_odd_periods())
        ]
        for name, (query, variables) in asked.items()
    }


def _document(name: str) -> str:
    return (OPERATIONS / f"{name}.graphql").read_text()


def _asking(server: Server, owner: Caller, query: str, variables: dict[str, Any]) -> bytes:
    body = json.dumps({"query": query, "variables": variables}).encode()
    return load.request("POST", f"{server.url}/graphql", owner.headers, body)


def _odd_periods() -> Iterator[dict[str, Any]]:
    """Of the last year, the same each time but for when it ends; they begin and end inside an hour."""
    chance, latest = random.Random(7), now()  # noqa: S311  # the same each time
    for _ in range(PERIODS):
        length = timedelta(days=chance.randrange(FEWEST_DAYS, MOST_DAYS), minutes=chance.randrange(24 * 60))
        earlier = (PERIOD - length - timedelta(days=7)) * chance.random()
        edges = [_odd(at, chance) for at in (latest - earlier - length, latest - earlier)]
        yield {"between": {"from": edges[0].isoformat(), "to": edges[1].isoformat()}}


def _odd(at: datetime, chance: random.Random) -> datetime:
    return at.astimezone(UTC).replace(minute=chance.randrange(1, 60), second=0, microsecond=0)


async def _calls(server: Server, holders: Sequence[Caller]) -> list[bytes]:
    """What a proxy sends that asks about a call, with each of these people's keys."""
    query = "{ viewer { keys(first: 20) { nodes { id project { id } } } } }"
    told = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/v1/items/42"}
    sent = []
    for holder in holders:
        for key in (await holder.ask(query))["viewer"]["keys"]["nodes"]:
            token = (await holder.do("keyReveal", "token", keyId=key["id"]))["token"]
            url = f"{server.url}/authorize/{key['project']['id']}?from=forwarded"
            sent.append(load.request("GET", url, {"Authorization": f"Bearer {token}", **told}))
    return sent


# What is told of it


def _print(pair: Sequence[Seeded], figures: dict[str, list[list[Figure]]]) -> None:
    rows = []
    for question, rounds in figures.items():
        for place, database in enumerate(pair):
            rows.append((f"{question}, {database.records:,} calls", _cells([each[place] for each in rounds])))
    print(f"\nWhat is asked of {pair[0].name}, on one connection; metered calls on {CONNECTIONS}")
    print_table(["answers/s", "p50 ms", "p99 ms", "gateway's CPU ms", "database's CPU ms"], rows)
    print("size: " + ", ".join(f"{each.size / 1e6:,.0f} MB of {each.records:,} calls" for each in pair))
    print_goals(_goals(pair[0].name, figures))


def _cells(figures: Sequence[Figure]) -> list[str]:
    answers = [figure.answers for figure in figures]
    columns = [
        [each.rate for each in answers],
        [each.p50_ms for each in answers],
        [each.p99_ms for each in answers],
        [figure.gateway_ms for figure in figures],
        [figure.database_ms for figure in figures],
    ]
    return [f"{median(column):.1f}" for column in columns]


def _goals(name: str, figures: dict[str, list[list[Figure]]]) -> list[Goal]:
    table = figures[TABLE]
    goals = [Goal(f"{name}: {TABLE}, full: p99 ms", [full.answers.p99_ms for _, full in table], at_most=P99_MS)]
    for question, rounds in figures.items():
        most = GROWTH if question == TABLE else None
        p50 = [full.answers.p50_ms / few.answers.p50_ms for few, full in rounds]
        cost = [full.cost_ms / few.cost_ms for few, full in rounds]
        p99 = [full.answers.p99_ms / few.answers.p99_ms for few, full in rounds]
        goals += [
            Goal(f"{name}: {question}: growth of {what}", each, at_most=most)
            for what, each in (("p50", p50), ("p99", p99), ("CPU time", cost))
        ]
    return goals
