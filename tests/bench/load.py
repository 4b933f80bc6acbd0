"""Load: connections that stay open, each of which sends the next request when it has the whole answer to the last.

wrk makes it where it is installed, in a thread of its own and with few steps; else this process does, at a higher cost.
"""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import httptools

from tests.bench.samples import latencies

SCRIPT = Path(__file__).with_name("wrk.lua")
WRK = shutil.which("wrk")
GENERATOR = "wrk" if WRK else "this process"


@dataclass(frozen=True)
class Answers:
    """What came in: whole answers, those of them whose status is from 400 on, and connections that failed."""

    number: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        return self.number / self.seconds


def request(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"Content-Length: {len(body)}"] if body else []
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def load(url: str, requests: Sequence[bytes], *, connections: int, seconds: float) -> Answers:
    """Sends the requests in turn for so many seconds; wrk takes whole ones."""
    if WRK:
        return await wrk(WRK, url, requests, connections, seconds)
    return await own(url, requests, connections, seconds)


async def wrk(program: str, url: str, requests: Sequence[bytes], connections: int, seconds: float) -> Answers:
    options = ["-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    with written(requests) as path:
        process = await asyncio.create_subprocess_exec(
            program,
            *options,
            env={**os.environ, "BENCH_REQUESTS": str(path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    try:
        told = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"wrk failed: {output.decode()}") from None
    elapsed, p50, p99 = told["microseconds"] / 1e6, told["p50"] / 1000, told["p99"] / 1000
    return Answers(told["answers"], elapsed, p50, p99, told["refused"], told["broken"])


@contextmanager
def written(requests: Sequence[bytes]) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="tessera-bench-") as file:
        file.write(b"\0".join(requests))
        file.flush()
        yield Path(file.name)


async def own(url: str, requests: Sequence[bytes], connections: int, seconds: float) -> Answers:
    turn, began = cycle(requests), perf_counter()
    opened = [await connected(url, turn) for _ in range(connections)]
    await asyncio.sleep(seconds)
    elapsed = perf_counter() - began
    for connection in opened:
        connection.close()
    took = [each for connection in opened for each in connection.took]
    refused, broken = sum(each.refused for each in opened), sum(each.is_broken for each in opened)
    return Answers(len(took), elapsed, *latencies(took, elapsed, connections), refused, broken)


async def connected(url: str, requests: Iterator[bytes]) -> "Timed":
    host, port = urlsplit(url).netloc.rsplit(":", 1)
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Timed(requests), host, int(port))
    return connection


class Connection(asyncio.Protocol):
    """Sends a request again and again, as long as the answers are of status 200; `ended` tells why it stopped."""

    def __init__(self, request: bytes) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one without being told so
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            self._end(RuntimeError(f"status {self._parser.get_status_code()}"))

    def on_message_complete(self) -> None:
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or RuntimeError("the server closed a connection"))

    def close(self) -> None:
        self._end(None)
        self.ended.exception()  # seen, where another connection's ended the run
        self._transport.close()

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)


class Timed(Connection):
    """Sends requests in turn, whatever is answered, and notes how long each answer took."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        super().__init__(next(requests))
        self.took: list[float] = []
        self.refused = 0
        self._requests = requests
        self._began = perf_counter()

    @property
    def is_broken(self) -> bool:
        return self.ended.done() and self.ended.exception() is not None

    def on_headers_complete(self) -> None:
        self.refused += self._parser.get_status_code() >= 400

    def on_message_complete(self) -> None:
        now = perf_counter()
        self.took.append(now - self._began)
        self._request, self._began = next(self._requests), now
        super().on_message_complete()
