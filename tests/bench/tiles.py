"""The tiles of a project, each with its role, fields, pending requests, issued keys and their users.

Asked of the whole gateway, with its permission checks, as an owner; and of others who ask nobody's leave: GraphQL
servers of Node, one statement that has PostgreSQL make the JSON, and the same bytes each time.
"""

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from tests.bench import load, servers, tile_peers, tile_rows
from tests.bench.callers import sign_in, sign_up
from tests.bench.samples import Figures, in_rounds
from tests.bench.servers import Server
from tests.bench.tables import Goal, beside, print_figures, print_goals, rate
from tests.bench.targets import Served
from tests.bench.tile_peers import APOLLO, MERCURIUS
from tests.bench.tile_rows import FIELDS, ISSUED, PENDING

CONNECTIONS = (1, 16, 64)
SLOWER = 2
"""Measured for so many times as long: what is under way at the end doesn't count."""
SIZE, SIZES = 50, (1, 10, 50, 200, 500)
NEW_DOCUMENTS = 2000
"""Sent in turn: by the time that one comes again it has long been forgotten."""
INSTANTS = {"requestedAt", "receivedAt"}
OWNER, SECRET_KEY = "owner", "a secret key of benchmarks, long enough"
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
KNOWN, NEW, KEPT = "{}, known document", "{}, new document each time", "{}, kept answers"
ONE_SQL, CONSTANT = "JSON made by PostgreSQL, Starlette", "constant bytes, Starlette"

QUERY = """
query Tiles($project: ID!) {
  project(id: $project) {
    id name
    templates {
      id name description pricePerRequest { amount }
      role { id name permissions }
      fields { id name description value }
      requests { nodes { id requestedAt user { id name } } }
      issuedKeys { nodes { id receivedAt user { id name } } }
    }
  }
}
"""


@dataclass(frozen=True)
class Tiles:
    """A gateway with projects of several sizes on it."""

    server: Server
    headers: dict[str, str]
    projects: dict[int, str]

    def asked(self, query: str = QUERY, size: int = SIZE, server: Server | None = None) -> bytes:
        body = json.dumps({"query": query, "variables": {"project": self.projects[size]}}).encode()
        return load.request("POST", f"{(server or self.server).url}/graphql", self.headers, body)

    def new(self) -> list[bytes]:
        return [self.asked(QUERY.replace("Tiles", f"Tiles{number}")) for number in range(NEW_DOCUMENTS)]

    async def answer(self, server: Server | None = None) -> bytes:
        body = {"query": QUERY, "variables": {"project": self.projects[SIZE]}}
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            response = await client.post(f"{(server or self.server).url}/graphql", headers=self.headers, json=body)
        return response.content


async def run(folder: Path, postgres_url: str, *, rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        print("tiles: starting gateways and seeding projects", flush=True)
        urls = {POSTGRES: postgres_url, SQLITE: f"sqlite://{folder / 'tiles.db'}"}
        tiles = {name: await seeded(stack, folder / name, url) for name, url in urls.items()}
        targets = [target for name, url in urls.items() for target in await ours(stack, folder, name, url, tiles[name])]
        answer = await tiles[POSTGRES].answer()
        check(json.loads(answer)["data"])
        others = await limits(stack, folder, postgres_url, answer)
        others |= await stack.enter_async_context(tile_peers.started(postgres_url, folder))
        for name, server in others.items():
            prove_alike(name, answer, await tiles[POSTGRES].answer(server))
            targets.append(Served(name, server, [tiles[POSTGRES].asked(server=server)]))
        turns = [(target, number) for number in CONNECTIONS for target in targets]
        figures = await in_rounds(turns, rounds=rounds, seconds=SLOWER * seconds)
        references = {"Mercurius": MERCURIUS, "Apollo": APOLLO, "one SQL": ONE_SQL, "constant": CONSTANT}
        print_figures(f"{SIZE} tiles, {len(answer)} bytes", figures, references)
        print_goals(goals(figures))
        await growth(tiles, others.get(MERCURIUS), rounds=rounds, seconds=seconds)


async def seeded(stack: AsyncExitStack, folder: Path, url: str) -> Tiles:
    server, client = await served(stack, folder, url, kept=False)
    owner = await sign_up(client, OWNER)
    return Tiles(server, owner.headers, await tile_rows.seed(url, owner.email, SIZES))


async def served(stack: AsyncExitStack, folder: Path, url: str, *, kept: bool) -> tuple[Server, httpx2.AsyncClient]:
    """A gateway that keeps answers, or none."""
    settings = {"secret_key": SECRET_KEY, **({} if kept else {"kept_answers_megabytes": "0"})}
    server = await stack.enter_async_context(servers.gateway(folder, url, **settings))
    client = httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=60)
    return server, await stack.enter_async_context(client)


async def ours(stack: AsyncExitStack, folder: Path, name: str, url: str, tiles: Tiles) -> list[Served]:
    targets = [
        Served(KNOWN.format(name), tiles.server, [tiles.asked()]),
        Served(NEW.format(name), tiles.server, tiles.new()),
    ]
    server, client = await served(stack, folder / f"{name}-kept", url, kept=True)
    kept = Tiles(server, (await sign_in(client, OWNER)).headers, tiles.projects)
    return [*targets, Served(KEPT.format(name), server, [kept.asked()])]


async def limits(stack: AsyncExitStack, folder: Path, postgres_url: str, answer: bytes) -> dict[str, Server]:
    """Servers that do less than the task."""
    path = folder / "answer.json"
    path.write_bytes(answer)
    started = {
        ONE_SQL: servers.endpoint("one_sql", folder, module="tile_limits", BENCH_DATABASE_URL=postgres_url),
        CONSTANT: servers.endpoint("constant", folder, BENCH_ANSWER=str(path)),
    }
    return {name: await stack.enter_async_context(server) for name, server in started.items()}


async def growth(tiles: dict[str, Tiles], mercurius: Server | None, *, rounds: int, seconds: float) -> None:
    """From one template to hundreds."""
    for size in SIZES:
        targets = [Served(KNOWN.format(name), each.server, [each.asked(size=size)]) for name, each in tiles.items()]
        if mercurius:
            asked = tiles[POSTGRES].asked(size=size, server=mercurius)
            targets.append(Served(MERCURIUS, mercurius, [asked]))
        figures = await in_rounds([(target, 16) for target in targets], rounds=rounds, seconds=SLOWER * seconds)
        print_figures(f"{size} tiles", figures, {"Mercurius": MERCURIUS})


def goals(figures: Figures) -> list[Goal]:
    known, new, kept = (each.format(POSTGRES) for each in (KNOWN, NEW, KEPT))
    wanted = [(known, MERCURIUS, 2.5), (known, APOLLO, 4.0), (known, ONE_SQL, 0.6), (new, MERCURIUS, 1.0)]
    wanted.append((kept, CONSTANT, 0.9))
    return [
        Goal(f"{name}, 16: requests/s beside {other}", beside(figures, (name, 16), (other, 16), rate), at_least=least)
        for name, other, least in wanted
    ]


def check(data: Any) -> None:
    """The answer is the whole of what was seeded; else there is nothing to measure."""
    templates = data["project"]["templates"]
    assert len(templates) == SIZE
    for each in templates:
        counts = len(each["fields"]), len(each["requests"]["nodes"]), len(each["issuedKeys"]["nodes"])
        assert counts == (FIELDS, PENDING, ISSUED), counts


def prove_alike(name: str, ours: bytes, theirs: bytes) -> None:
    """Raises RuntimeError for another answer; JavaScript's instants end with milliseconds."""
    if in_milliseconds(json.loads(ours)) != in_milliseconds(json.loads(theirs)):
        raise RuntimeError(f"{name} gives other tiles: {theirs[:500]!r}")


def in_milliseconds(value: Any) -> Any:
    if isinstance(value, list):
        return [in_milliseconds(each) for each in value]
    if isinstance(value, dict):
        return {name: cut(each) if name in INSTANTS else in_milliseconds(each) for name, each in value.items()}
    return value


def cut(instant: str) -> str:
    return datetime.fromisoformat(instant).isoformat(timespec="milliseconds")
