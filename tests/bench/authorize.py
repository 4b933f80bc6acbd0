"""Decisions at /authorize, durable and metered, beside their limits and under a flood of forged keys."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import inserts
from tests.bench.ground import (
    Gateway,
    folder_on_disk,
    gateway,
    postgres_database,
    prepared,
)
from tests.bench.samples import Goal, Sample, Target, interleaved, print_goals, print_table, sample
from tests.bench.servers import app
from tests.databases import durable_postgres_server

STARLETTE, RAW = "empty Starlette endpoint", "empty raw ASGI endpoint"
SQLITE, POSTGRES, OFF = "metered, SQLite", "metered, PostgreSQL", "meter off, SQLite"
INSERT_SQLITE, INSERT_POSTGRES = "bare insert, SQLite", "bare insert, PostgreSQL"
CALL = {"X-Original-Method": "GET", "X-Original-URI": "/data_layers"}
GOALS = [
    Goal(SQLITE, STARLETTE, at_least=1 / 3),
    Goal(POSTGRES, STARLETTE, at_least=1 / 3),
    Goal(OFF, RAW, at_least=0.8),
    Goal(SQLITE, INSERT_SQLITE, p99_at_most=3),
    Goal(POSTGRES, INSERT_POSTGRES, p99_at_most=3),
]


@dataclass(frozen=True)
class Scene:
    folder: Path
    postgres_url: str
    sqlite: Gateway
    postgres: Gateway
    off: Gateway
    starlette: tuple[str, int]
    raw: tuple[str, int]


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(folder_on_disk())
        server_url = stack.enter_context(durable_postgres_server(str(folder)))
        postgres_url = await stack.enter_async_context(postgres_database(server_url, "tessera"))
        grounds = [
            await prepared(url) for url in (f"sqlite://{folder}/on.db", postgres_url, f"sqlite://{folder}/off.db")
        ]
        sqlite, postgres, off = [
            await stack.enter_async_context(gateway(ground, folder, name, meter=meter))
            for ground, name, meter in zip(grounds, ("sqlite", "postgres", "off"), ("on", "on", "off"), strict=True)
        ]
        starlette, raw = [
            await stack.enter_async_context(app(f"tests.bench.noop:{name}", folder)) for name in ("app", "raw")
        ]
        yield Scene(folder, postgres_url, sqlite, postgres, off, starlette, raw)


def asked(name: str, of: Gateway) -> Target:
    return Target(name, of.authorize, {"Authorization": f"Bearer {of.ground.token}", **CALL}, of.pid)


async def decisions(rounds: int, seconds: float) -> None:
    """Rates and latencies beside the empty endpoints, which get the very same requests, and the bare inserts."""
    async with scene() as at:
        same = asked("", at.sqlite).headers
        targets = [
            Target(STARLETTE, f"{at.starlette[0]}/empty", same, at.starlette[1]),
            Target(RAW, f"{at.raw[0]}/empty", same, at.raw[1]),
            asked(SQLITE, at.sqlite),
            asked(POSTGRES, at.postgres),
            asked(OFF, at.off),
        ]
        for connections in (1, 16, 64):
            samples = await interleaved(targets, rounds=rounds, seconds=seconds, connections=connections)
            samples |= await bare_inserts(at, rounds, seconds)
            print_table(f"Decisions, {connections} connections", samples, (STARLETTE, RAW))
            if connections == 16:
                print_goals(samples, GOALS)


async def bare_inserts(at: Scene, rounds: int, seconds: float) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {INSERT_SQLITE: [], INSERT_POSTGRES: []}
    for _ in range(rounds):
        samples[INSERT_SQLITE].append(await asyncio.to_thread(inserts.on_sqlite, at.folder, seconds))
        samples[INSERT_POSTGRES].append(await inserts.on_postgres(at.postgres_url, seconds))
    return samples


# A flood


async def flood(rounds: int, seconds: float) -> None:
    """Good keys' latency while others send forged ones as quickly as they are refused."""
    async with scene() as at:
        good = asked("no flood", at.sqlite)
        samples: dict[str, list[Sample]] = {good.name: []}
        for _ in range(rounds):
            samples[good.name].append(await sample(good, seconds=seconds, connections=4))
            for name, token in forged(at.sqlite.ground.token).items():
                print(f"  {name}", flush=True)
                flooded = Target(name, good.url, good.headers, good.pid)
                async with flooding(good.url, {**good.headers, "Authorization": f"Bearer {token}"}):
                    samples.setdefault(name, []).append(await sample(flooded, seconds=seconds, connections=4))
        print_table("Good keys on 4 connections, forged ones on 16, metered on SQLite", samples, (good.name,))


def forged(token: str) -> dict[str, str]:
    """Tokens that are none: of no form, of a key that nobody issued, and of this key with another signature."""
    header, claims, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    others = base64.urlsafe_b64encode(json.dumps({**said, "jti": "key_00000000000000000000000000.1"}).encode())
    return {
        "flood of garbage": "x" * len(token),
        "flood of unknown keys": f"{header}.{others.rstrip(b'=').decode()}.{signature}",
        "flood of wrong signatures": f"{header}.{claims}.{signature[::-1]}",
    }


@asynccontextmanager
async def flooding(url: str, headers: Mapping[str, str]) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "tests.bench.flood", url, json.dumps(dict(headers))]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await asyncio.sleep(0.5)
        yield
    finally:
        process.terminate()
        await process.wait()
