"""`make bench`: what the gateway does, beside its limits and its peers, in rounds that take turns.

The machine's speed cancels out in the ratios: read those, and the figures only beside others of the same run.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
import uvloop

from tests.bench import authorize, peers, proxying, tiles
from tests.bench.samples import WRK

PARTS: dict[str, Callable[[int, float], Awaitable[None]]] = {
    "authorize": authorize.decisions,
    "flood": authorize.flood,
    "proxy": proxying.calls,
    "peers": peers.beside,
    "tiles": tiles.beside_noop,
}


def main(
    parts: Annotated[
        list[str] | None, typer.Argument(help=f"which of {', '.join(PARTS)}; all of them unless told")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="how often each is measured; the median counts")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="how long, each time")] = 4,
) -> None:
    unknown = set(parts or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"There is no {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    load = "wrk" if WRK else "a load generator in Python, which bounds the quickest"
    print(f"{os.cpu_count()} cores, shared by servers, databases and the load, which is {load}", flush=True)
    for name in parts or PARTS:
        uvloop.run(PARTS[name](rounds, seconds))  # type: ignore[arg-type]  # each is a coroutine


if __name__ == "__main__":
    typer.run(main)
