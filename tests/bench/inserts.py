"""The database's bare durable insert: what counting a call can't be quicker than."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from tests.bench.samples import Sample

TABLE = "CREATE TABLE bare (key_id TEXT, called_at BIGINT, units BIGINT, fraction BIGINT)"
ROW = ("key_01m86z00000000000000000000", 1_795_000_000_000_000, 0, 125_000_000)


def on_sqlite(folder: Path, seconds: float) -> Sample:
    """One INSERT a transaction on one connection, with the settings of the gateway's own."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'bare'").fetchone():
        connection.execute(TABLE)
    durations, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        connection.execute("INSERT INTO bare VALUES (?, ?, ?, ?)", ROW)
        durations.append(time.perf_counter() - began)
    connection.close()
    return _sample(durations, seconds)


async def on_postgres(url: str, seconds: float, connections: int = 1) -> Sample:
    """One INSERT a transaction on each of some connections."""
    opened = [await asyncpg.connect(url) for _ in range(connections)]
    await opened[0].execute(TABLE.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
    inserts = [await one.prepare("INSERT INTO bare VALUES ($1, $2, $3, $4)") for one in opened]
    end = time.perf_counter() + seconds
    all_durations = await asyncio.gather(*(_again(insert.fetch, end) for insert in inserts))
    for one in opened:
        await one.close()
    return _sample([duration for durations in all_durations for duration in durations], seconds)


async def _again(insert: Callable[..., Awaitable[object]], end: float) -> list[float]:
    durations = []
    while (began := time.perf_counter()) < end:
        await insert(*ROW)
        durations.append(time.perf_counter() - began)
    return durations


def _sample(durations: list[float], seconds: float) -> Sample:
    durations.sort()
    p50, p99 = (durations[int(len(durations) * share)] * 1000 for share in (0.5, 0.99))
    return Sample(len(durations) / seconds, p50, p99)
