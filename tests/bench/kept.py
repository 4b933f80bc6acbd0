"""The nested tile query answered with kept bytes, beside the same bytes from Starlette."""

import json
from pathlib import Path

import httpx2

from tests.bench import load, servers, tile_rows, tiles
from tests.bench.callers import sign_up
from tests.bench.samples import in_rounds
from tests.bench.tables import Goal, beside, print_figures, print_goals, rate
from tests.bench.targets import Served

KEPT, CONSTANT = "kept answer", "constant bytes, Starlette"
CONNECTIONS = (1, 16, 64)


async def run(folder: Path, _: str, *, rounds: int, seconds: float) -> None:
    answer = folder / "answer.json"
    async with (
        servers.gateway(folder / "kept") as gateway,
        httpx2.AsyncClient(base_url=gateway.url, trust_env=False, timeout=60) as client,
    ):
        print(f"kept: seeding {tiles.SIZE} templates", flush=True)
        owner = await sign_up(client, tiles.OWNER)
        database = f"sqlite://{folder / 'kept' / 'tessera.db'}"
        project_id = (await tile_rows.seed(database, owner.email, (tiles.SIZE,)))[tiles.SIZE]
        asked = json.dumps({"query": tiles.QUERY, "variables": {"project": project_id}}).encode()
        headers = {**owner.headers, "Content-Type": "application/json"}
        first, again = [await client.post("/graphql", content=asked, headers=headers) for _ in range(2)]
        tiles.check(first.json()["data"])
        assert first.content == again.content
        answer.write_bytes(again.content)
        print(f"kept: {len(again.content)} bytes", flush=True)
        async with servers.endpoint("constant", folder, BENCH_ANSWER=str(answer)) as constant:
            targets = [
                Served(name, server, [load.request("POST", f"{server.url}/graphql", headers, asked)])
                for name, server in ((KEPT, gateway), (CONSTANT, constant))
            ]
            turns = [(target, connections) for connections in CONNECTIONS for target in targets]
            figures = await in_rounds(turns, rounds=rounds, seconds=seconds)
    print_figures("Kept answers", figures, {"Starlette": CONSTANT})
    print_goals(
        [
            Goal(
                f"kept beside constant bytes from Starlette, {connections} connections",
                beside(figures, (KEPT, connections), (CONSTANT, connections), rate),
                at_least=0.9,
            )
            for connections in CONNECTIONS
        ]
    )
