"""A metered, durable decision at /authorize, beside what it can't be faster than and what others do."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2

from tests.bench import peers, servers
from tests.bench.callers import Project, with_keys
from tests.bench.load import request
from tests.bench.samples import Figures, Target, in_rounds
from tests.bench.servers import Server
from tests.bench.tables import Goal, beside, p99, print_figures, print_goals, rate
from tests.bench.targets import Inserts, Served

CONNECTIONS = (1, 16, 64)
SQLITE, POSTGRES, UNMETERED = "metered, SQLite", "metered, PostgreSQL", "meter off"
RAW, STARLETTE = "empty raw ASGI", "empty Starlette"
SQLITE_INSERT, POSTGRES_INSERT = "bare INSERT, SQLite", "bare INSERT, PostgreSQL"


async def run(folder: Path, postgres_url: str, *, rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(peers.stores())
        print("authorize: starting gateways and seeding 100 keys in each", flush=True)
        sqlite, sqlite_project = await enter(seeded(folder / "sqlite"))
        postgres, postgres_project = await enter(seeded(folder / "postgres", postgres_url))
        unmetered, unmetered_project = await enter(seeded(folder / "off", meter="off"))
        raw = await enter(servers.endpoint("raw", folder))
        framework = await enter(servers.endpoint("framework", folder))
        metered = [
            (Served(SQLITE, sqlite, requests(sqlite, sqlite_project)), sqlite_project),
            (Served(POSTGRES, postgres, requests(postgres, postgres_project)), postgres_project),
        ]
        asked = requests(sqlite, sqlite_project)
        served: list[Target] = [
            *(target for target, _ in metered),
            Served(UNMETERED, unmetered, requests(unmetered, unmetered_project)),
            Served(RAW, raw, asked),
            Served(STARLETTE, framework, asked),
            *await enter(peers.started(peers.VERIFIERS, folder)),
        ]
        inserts = [
            (Inserts(SQLITE_INSERT, f"sqlite://{folder / 'bare.db'}"), 1),
            (Inserts(POSTGRES_INSERT, postgres_url), 1),
            (Inserts(POSTGRES_INSERT, postgres_url), 16),
        ]
        turns = [*((target, number) for number in CONNECTIONS for target in served), *inserts]
        figures = await in_rounds(turns, rounds=rounds, seconds=seconds)
        print_figures(
            "A decision at /authorize",
            figures,
            {"Starlette": STARLETTE, "raw ASGI": RAW, "better-auth": peers.BETTER_AUTH},
        )
        print_goals(goals(figures))
        for target, project in metered:
            await prove_counted(target, project)


@asynccontextmanager
async def seeded(
    folder: Path, database_url: str = "", *, upstream_url: str | None = None, **settings: str
) -> AsyncIterator[tuple[Server, Project]]:
    """A gateway, and a project of it with keys."""
    async with (
        servers.gateway(folder, database_url, **settings) as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client,
    ):
        yield server, await with_keys(client, upstream_url)


def requests(server: Server, project: Project, tokens: list[str] | None = None) -> list[bytes]:
    """What a proxy sends that asks about a call, for each of the keys."""
    url = f"{server.url}/authorize/{project.id}?from=forwarded"
    told = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/v1/items/42"}
    return [request("GET", url, {"Authorization": f"Bearer {token}", **told}) for token in tokens or project.tokens]


def goals(figures: Figures) -> list[Goal]:
    found = []
    for name, insert in ((SQLITE, SQLITE_INSERT), (POSTGRES, POSTGRES_INSERT)):
        each = beside(figures, (name, 16), (STARLETTE, 16), rate)
        found.append(Goal(f"{name}, 16: requests/s beside {STARLETTE}", each, at_least=1 / 3))
        for connections in (1, 16):
            each = beside(figures, (name, connections), (insert, 1), p99)
            found.append(Goal(f"{name}, {connections}: p99 beside {insert} on one", each, at_most=3))
    each = beside(figures, (POSTGRES, 16), (POSTGRES_INSERT, 16), p99)
    found.append(Goal(f"{POSTGRES}, 16: p99 beside {POSTGRES_INSERT} on 16", each, at_most=3))
    each = beside(figures, (POSTGRES, 16), (peers.BETTER_AUTH, 16), rate)
    found.append(Goal(f"{POSTGRES}, 16: requests/s beside {peers.BETTER_AUTH}", each, at_least=6))
    each = beside(figures, (UNMETERED, 16), (RAW, 16), rate)
    found.append(Goal(f"{UNMETERED}, 16: requests/s beside {RAW}", each, at_least=0.8))
    return found


async def prove_counted(target: Served, project: Project) -> None:
    """Raises RuntimeError where a call was answered and not counted; those under way at each end are counted alone."""
    counted = await project.counted()
    print(f"{target.name}: {target.answers} answers received, {counted} calls counted", flush=True)
    if counted < target.answers:
        raise RuntimeError("A call was answered and not counted.")
