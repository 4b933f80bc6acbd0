"""A database's bare durable insert: `python -m tests.bench.inserts URL CONNECTIONS SECONDS` prints a sample as JSON.

The row is as wide as the record of a call; each INSERT is a transaction by itself.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from time import perf_counter

import asyncpg
import uvloop

from gateway import database
from tests.bench.samples import Sample, latencies

TABLE = "CREATE TABLE IF NOT EXISTS bare (key_id TEXT, called_at BIGINT, units BIGINT, fraction BIGINT)"
KEY_ID = "key_00000000000000000000000000"
Clock = Callable[[], bool]


def in_sqlite(url: str, goes_on: Clock) -> list[float]:
    pragmas = database.config(url)["connections"]["sqlite"]["credentials"]
    connection = sqlite3.connect(pragmas.pop("file_path"), isolation_level=None)
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name}={value}")
    connection.execute(TABLE)
    took = []
    while goes_on():
        began = perf_counter()
        connection.execute("INSERT INTO bare VALUES (?, ?, ?, ?)", (KEY_ID, time.time_ns() // 1000, 0, 25_000_000))
        took.append(perf_counter() - began)
    connection.close()
    return took


async def in_postgres(connection: asyncpg.Connection, goes_on: Clock) -> list[float]:
    insert = await connection.prepare("INSERT INTO bare VALUES ($1, $2, $3, $4)")
    took = []
    while goes_on():
        began = perf_counter()
        await insert.fetch(KEY_ID, time.time_ns() // 1000, 0, 25_000_000)
        took.append(perf_counter() - began)
    return took


async def on_each(url: str, connections: int, seconds: float) -> list[float]:
    opened = [await asyncpg.connect(url) for _ in range(connections)]
    await opened[0].execute(TABLE)
    goes_on = for_seconds(seconds)
    took = await asyncio.gather(*(in_postgres(connection, goes_on) for connection in opened))
    await asyncio.gather(*(connection.close() for connection in opened))
    return [each for some in took for each in some]


def for_seconds(seconds: float) -> Clock:
    end = perf_counter() + seconds
    return lambda: perf_counter() < end


def measured(url: str, connections: int, seconds: float) -> Sample:
    if database.is_sqlite(url):
        took = in_sqlite(url, for_seconds(seconds))
    else:
        took = uvloop.run(on_each(url, connections, seconds))
    return Sample(len(took) / seconds, *latencies(took, seconds, connections))


if __name__ == "__main__":
    print(json.dumps(asdict(measured(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
