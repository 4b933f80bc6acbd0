"""`make bench`: tables of how fast the gateway is beside its limits and others; ARGS="authorize proxy" makes some.

The machine's speed cancels out in the ratios: read those, and the figures only beside those of the same table.
"""

import os
import platform
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import typer
import uvloop

from tests.bench import authorize, flood, growth, kept, proxy, tiles, workers
from tests.bench.load import GENERATOR
from tests.databases import PostgresDatabases, durable_postgres_server

DISK = "/var/tmp"  # noqa: S108  # the folder in it has a name of its own


class Section(StrEnum):
    AUTHORIZE = "authorize"
    PROXY = "proxy"
    FLOOD = "flood"
    TILES = "tiles"
    GROWTH = "growth"
    KEPT = "kept"
    WORKERS = "workers"


class Run(Protocol):
    def __call__(self, folder: Path, postgres_url: str, /, *, rounds: int, seconds: float) -> Awaitable[None]: ...


RUNS: dict[Section, Run] = {
    Section.AUTHORIZE: authorize.run,
    Section.PROXY: proxy.run,
    Section.FLOOD: flood.run,
    Section.TILES: tiles.run,
    Section.GROWTH: growth.run,
    Section.KEPT: kept.run,
    Section.WORKERS: workers.run,
}
SHORT = [section for section in Section if section is not Section.GROWTH]


def main(
    sections: Annotated[
        list[Section] | None,
        typer.Argument(help="which tables; unless some are named all but growth, which takes long"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="how often each is measured; the median counts")] = 3,
    seconds: Annotated[int, typer.Option(min=1, help="how long, each time")] = 3,
    records: Annotated[int, typer.Option(min=1, help="how many calls growth goes up to")] = growth.LARGE,
    keep: Annotated[Path | None, typer.Option(help="where growth keeps what it seeded, and finds it again")] = None,
) -> None:
    print(f"load from {GENERATOR} on the same machine, which has {os.cpu_count()} cores ({platform.machine()})")
    print(f"load average before: {os.getloadavg()[0]:.2f}; medians of {rounds} rounds of {seconds} s", flush=True)
    with databases() as postgres:
        RUNS[Section.GROWTH] = partial(growth.run, records=records, kept=keep)
        for section in sections or SHORT:
            uvloop.run(one(section, postgres, rounds, seconds))


@contextmanager
def databases() -> Iterator[PostgresDatabases]:
    """A PostgreSQL that keeps what it acknowledged, as one that serves does."""
    print("starting PostgreSQL", flush=True)
    with folder_on_disk() as folder, durable_postgres_server(str(folder)) as url:
        yield PostgresDatabases(url)


@contextmanager
def folder_on_disk() -> Iterator[Path]:
    """Where files are synced to a disk, which the folder for temporary ones need not be on."""
    with tempfile.TemporaryDirectory(prefix="tessera-bench-", dir=os.environ.get("TMPDIR", DISK)) as folder:
        yield Path(folder)


async def one(section: Section, postgres: PostgresDatabases, rounds: int, seconds: float) -> None:
    with folder_on_disk() as folder:
        async with postgres.fresh() as url:
            await RUNS[section](folder, url, rounds=rounds, seconds=seconds)
            print(flush=True)


if __name__ == "__main__":
    typer.run(main)
