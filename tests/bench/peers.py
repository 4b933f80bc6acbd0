"""The peers' own harness, with the gateway as rows of its tables; where it is set up, which PEERS_HOME tells."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.ground import Gateway, folder_on_disk, gateway, postgres_database, prepared

HOME = Path(os.environ.get("PEERS_HOME", Path.home() / ".cache" / "tessera-peers"))
POSTGRES = "postgres://peers@127.0.0.1:20432/postgres"
UPSTREAM = "http://127.0.0.1:20200"  # it runs while proxies.py does


async def beside(rounds: int, seconds: float) -> None:
    if not (HOME / "data" / "installed").exists():
        print(f"\nNo peers in {HOME}: PEERS_HOME names where they are set up.")
        return
    await _run(HOME / "start.sh")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(folder_on_disk())
        name = f"tessera_{os.getpid()}"
        postgres_url = await stack.enter_async_context(postgres_database(POSTGRES, name))
        urls = {"Tessera on SQLite": f"sqlite://{folder}/on.db", "Tessera on PostgreSQL": postgres_url}
        gateways = {
            title: await stack.enter_async_context(gateway(await prepared(url, UPSTREAM), folder, title))
            for title, url in urls.items()
        }
        options = [f"--rounds={rounds}", f"--seconds={max(1, round(seconds))}"]
        authorize = [
            part for title, each in gateways.items() for part in row(title, each, folder, ours_authorize(each))
        ]
        through = [part for title, each in gateways.items() for part in row(title, each, folder, ours_through(each))]
        await _run(HOME / "verifiers.py", *options, *authorize)
        await _run(HOME / "proxies.py", *options, *through)
    await _run(HOME / "stop.sh")


def ours_authorize(of: Gateway) -> list[str]:
    url = f"{of.url}/authorize/{of.ground.project_id}?from=forwarded"
    return [url, "X-Forwarded-Method: GET", "X-Forwarded-Uri: /data_layers"]


def ours_through(of: Gateway) -> list[str]:
    return [f"{of.through}/v1/items"]


def row(title: str, of: Gateway, folder: Path, asked: list[str]) -> list[str]:
    tokens = folder / f"{title}.txt"
    tokens.write_text(f"{of.ground.token}\n")
    url, *headers = asked
    named = [part for header in headers for part in ("--ours-header", header)]
    return ["--ours", f"{title}={url}", *named, "--ours-tokens", str(tokens), "--ours-pid", str(of.pid)]


async def _run(script: Path, *arguments: str) -> None:
    command = [sys.executable, str(script)] if script.suffix == ".py" else [str(script)]
    process = await asyncio.create_subprocess_exec(*command, *arguments, cwd=HOME)
    await process.wait()
