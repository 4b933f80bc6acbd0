"""A metered, durable call through /api/projects, beside the same client alone and other proxies of one upstream."""

from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench import peers, servers
from tests.bench.authorize import prove_counted, seeded
from tests.bench.callers import Project
from tests.bench.load import request
from tests.bench.samples import Figures, Target, in_rounds
from tests.bench.servers import Server
from tests.bench.tables import Goal, beside, print_figures, print_goals, rate
from tests.bench.targets import Served

CONNECTIONS = (1, 16, 64)
SQLITE, POSTGRES, UNMETERED = "metered, SQLite", "metered, PostgreSQL", "meter off"
ALONE, UPSTREAM = "the same client alone", "the upstream itself"


async def run(folder: Path, postgres_url: str, *, rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        has_peers = peers.are_set_up() and not servers.is_taken(peers.UPSTREAM_PORT)
        upstream = await enter(servers.endpoint("upstream", folder, peers.UPSTREAM_PORT if has_peers else 0))
        behind = {"upstream_allow": "127.0.0.0/8", "upstream_url": upstream.url}
        print("proxy: starting gateways and seeding 100 keys in each", flush=True)
        sqlite, sqlite_project = await enter(seeded(folder / "sqlite", **behind))
        postgres, postgres_project = await enter(seeded(folder / "postgres", postgres_url, **behind))
        unmetered, unmetered_project = await enter(seeded(folder / "off", meter="off", **behind))
        alone = await enter(servers.endpoint("passing_alone", folder, BENCH_UPSTREAM=upstream.url))
        metered = [
            (Served(SQLITE, sqlite, requests(sqlite, sqlite_project)), sqlite_project),
            (Served(POSTGRES, postgres, requests(postgres, postgres_project)), postgres_project),
        ]
        asked = requests(sqlite, sqlite_project)
        targets: list[Target] = [
            *(target for target, _ in metered),
            Served(UNMETERED, unmetered, requests(unmetered, unmetered_project)),
            Served(ALONE, alone, asked),
            Served(UPSTREAM, upstream, asked),
        ]
        if has_peers:
            await enter(peers.started([peers.LOOK_UP], folder))
            targets += await enter(peers.started(peers.PROXIES, folder))
        else:
            print(f"no peers: none are set up in {peers.HOME}, or port {peers.UPSTREAM_PORT} is taken", flush=True)
        turns = [(target, number) for number in CONNECTIONS for target in targets]
        figures = await in_rounds(turns, rounds=rounds, seconds=seconds)
        print_figures(
            "A call passed on",
            figures,
            {"client alone": ALONE, "fastify": peers.FASTIFY, "auth_request": peers.AUTH_REQUEST},
        )
        print_goals(goals(figures))
        for target, project in metered:
            await prove_counted(target, project)


def requests(server: Server, project: Project) -> list[bytes]:
    url = f"{server.url}/api/projects/{project.id}/v1/items"
    return [request("GET", url, {"Authorization": f"Bearer {token}"}) for token in project.tokens]


def goals(figures: Figures) -> list[Goal]:
    return [
        Goal(f"{name}, 16: requests/s beside {ALONE}", beside(figures, (name, 16), (ALONE, 16), rate), at_least=0.7)
        for name in (SQLITE, POSTGRES)
    ]
