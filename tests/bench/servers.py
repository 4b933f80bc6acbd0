"""Servers in processes of their own, on 127.0.0.1."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2

BIN = Path(sys.executable).parent


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[str]:
    """Tessera as it is served, on SQLite in this folder; yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"TESSERA_DATA_DIR": str(folder), "TESSERA_PUBLIC_URL": url, "TESSERA_SIGN_UP": "open"}
    async with running([str(BIN / "tessera"), "serve", f"--port={port}"], url, settings, folder / "gateway.log"):
        yield url


@asynccontextmanager
async def noop(folder: Path) -> AsyncIterator[str]:
    async with app("tests.bench.noop:app", folder) as (url, _):
        yield url


@asynccontextmanager
async def app(name: str, folder: Path, **environment: str) -> AsyncIterator[tuple[str, int]]:
    """An ASGI app of these benchmarks, served as the gateway is: its URL, and its process's id."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(BIN / "uvicorn"), name, f"--port={port}", "--log-level=warning", "--no-access-log"]
    async with running(command, url, environment, folder / f"{name.rpartition(':')[2]}.log") as pid:
        yield url, pid


@asynccontextmanager
async def running(command: Sequence[str], url: str, settings: Mapping[str, str], log: Path) -> AsyncIterator[int]:
    """Yields the process's id, once it answers."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("TESSERA_")}
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(*command, env={**bare, **settings}, stdout=sink, stderr=sink)
    try:
        if not await answering(process, url):
            raise silence(log)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def silence(log: Path) -> RuntimeError:
    return RuntimeError(f"The server ended before it answered:\n{log.read_text()}")


async def answering(process: Process, url: str) -> bool:
    """Waits until it does; False if it ended before."""
    async with asyncio.timeout(60), httpx2.AsyncClient(trust_env=False) as client:
        while process.returncode is None:
            with suppress(httpx2.TransportError):
                await client.get(f"{url}/healthz")
                return True
            await asyncio.sleep(0.05)
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
