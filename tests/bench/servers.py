"""Servers in processes of their own, on 127.0.0.1, each with one worker unless it is told otherwise."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2

BIN = Path(sys.executable).parent
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_WITHIN_SECONDS = 60


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


@asynccontextmanager
async def gateway(folder: Path, database_url: str = "", workers: int = 1, /, **settings: str) -> AsyncIterator[Server]:
    """Tessera as it is served, on SQLite in this folder unless it is told of another database; settings by name."""
    port = free_port()
    named = {
        "TESSERA_DATA_DIR": str(folder),
        "TESSERA_DATABASE_URL": database_url,
        "TESSERA_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TESSERA_SIGN_UP": "open",
        **{f"TESSERA_{name.upper()}": value for name, value in settings.items()},
    }
    command = [str(BIN / "tessera"), "serve", f"--port={port}", f"--workers={workers}"]
    async with running(command, port, folder / "gateway.log", named) as server:
        yield server


@asynccontextmanager
async def endpoint(
    name: str, folder: Path, port: int = 0, *, module: str = "endpoints", **environment: str
) -> AsyncIterator[Server]:
    """One of that file, served as Tessera serves itself."""
    port = port or free_port()
    command = [str(BIN / "uvicorn"), f"tests.bench.{module}:{name}", f"--port={port}", "--log-level=warning"]
    command += ["--no-access-log", "--no-proxy-headers", "--no-server-header", "--no-date-header"]
    async with running(command, port, folder / f"{name}.log", environment) as server:
        yield server


@asynccontextmanager
async def running(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str], cwd: Path | None = None
) -> AsyncIterator[Server]:
    """Raises RuntimeError where it ends before it answers."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("TESSERA_")}
    with opened(log) as sink:
        process = await asyncio.create_subprocess_exec(
            *command, env={**bare, **environment}, cwd=cwd, stdout=sink, stderr=sink
        )
    url = f"http://127.0.0.1:{port}"
    try:
        if not await answering(process, url):
            raise silence(command, log)
        yield Server(url, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def opened(log: Path) -> BinaryIO:
    log.parent.mkdir(exist_ok=True)
    return log.open("wb")


def silence(command: Sequence[str], log: Path) -> RuntimeError:
    return RuntimeError(f"{command[0]} ended before it answered:\n{log.read_text()}")


async def answering(process: Process, url: str) -> bool:
    """Waits until it does; False if it ended before."""
    async with asyncio.timeout(START_WITHIN_SECONDS), httpx2.AsyncClient(trust_env=False) as client:
        while process.returncode is None:
            try:
                await client.get(f"{url}/healthz")
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
            else:
                return True
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def is_taken(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(pid: int) -> float:
    """What the process and its children took of a processor, in user and kernel mode, also those that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, stat[11:15])) / TICKS_PER_SECOND + sum(cpu_seconds(int(child)) for child in children)
