"""`make bench`: the tile query beside a no-op of the same web stack, in rounds that take turns.

The machine's speed cancels out in the ratio: read that, and the figures only beside those of the same run.
"""

import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx2
import typer
import uvloop

from tests.bench import servers, tiles
from tests.bench.load import post, requests_per_second


def main(
    rounds: Annotated[int, typer.Option(min=1, help="how often each is measured; the median counts")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="how long, each time")] = 4,
) -> None:
    uvloop.run(tile_query(rounds, seconds))


async def tile_query(rounds: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        async with servers.gateway(Path(folder)) as gateway, servers.noop(Path(folder)) as noop:
            async with httpx2.AsyncClient(base_url=gateway, trust_env=False, timeout=60) as client:
                print(f"seeding {tiles.TEMPLATES} templates over GraphQL", flush=True)
                owner, project_id = await tiles.seed(client)
                tiles.check(await owner.ask(tiles.QUERY, project=project_id))
            body = tiles.body(project_id)
            targets = {"tile query": f"{gateway}/graphql", "no-op Starlette": f"{noop}/graphql"}
            requests = {name: post(url, owner.headers, body) for name, url in targets.items()}
            print_table(await measured(targets, requests, rounds, seconds))


async def measured(
    targets: dict[str, str], requests: dict[str, bytes], rounds: int, seconds: float
) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in targets}
    for number in range(rounds):
        for name, url in targets.items():
            print(f"round {number + 1} of {rounds}: {name}", flush=True)
            figures[name].append(await requests_per_second(url, requests[name], seconds=seconds))
    return figures


def print_table(figures: dict[str, list[float]]) -> None:
    floor = median(figures["no-op Starlette"])
    print(f"\n{'':20}{'requests/s':>12}{'lowest':>10}{'highest':>10}{'beside the no-op':>20}")
    for name, each in figures.items():
        print(f"{name:20}{median(each):12.1f}{min(each):10.1f}{max(each):10.1f}{median(each) / floor:20.4f}")
    print(f"\n16 connections, one worker each, SQLite, load from the same machine; {os.cpu_count()} cores")


if __name__ == "__main__":
    typer.run(main)
