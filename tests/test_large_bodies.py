"""Bodies of any size pass through the whole gateway, in its own process, and leave its memory as it was."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import pytest

from gateway.database import connected
from gateway.signing import Keyring
from tests.gatehouse import Offer, offer
from tests.passage import Bytes, Line
from tests.stage import SECRET_KEY
from tests.test_cli import Served, Tessera
from tests.world import SEALER

MEBIBYTE = 1 << 20
SIZE = 1024 * MEBIBYTE
GROWTH = 64 * MEBIBYTE
IN_FLIGHT = 48 * MEBIBYTE
"""What the sockets on the way hold, and the gateway between them, while nobody reads."""
CHUNK = bytes(range(256)) * 1024
STILL_SECONDS = 0.3

Transfer = Callable[["Way"], Coroutine[None, None, object]]

HAS_PROC = Path("/proc/self/status").exists()
pytestmark = [
    pytest.mark.skipif(not HAS_PROC, reason="a process's memory is read in /proc, as Linux has it"),
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]
log = logging.getLogger(__name__)


@dataclass
class Flow:
    """A body on its way: how much of it was written and read, outside the gateway; whoever reads waits for `opened`."""

    written: int = 0
    read: int = 0
    is_intact: bool = True
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, line: Line) -> None:
        while self.written < SIZE:
            await line.say(CHUNK)
            self.written += len(CHUNK)

    async def take(self, line: Line) -> None:
        """All of it; each byte must be the one that was written at its place."""
        while self.read < SIZE:
            await self.opened.wait()
            data = await line.reader.read(len(CHUNK))
            assert data, "the body broke off"
            begin = self.read % len(CHUNK)
            self.is_intact &= data == (CHUNK + CHUNK)[begin : begin + len(data)]
            self.read += len(data)

    async def until_still(self) -> None:
        """Returns when nothing more is taken from who writes; it is no event to wait for."""
        seen = -1
        while seen != self.written or not seen:
            seen = self.written
            await asyncio.sleep(STILL_SECONDS)


class Upstream:
    """Takes a body and says that it has it; gives a body to whoever asks for one."""

    def __init__(self) -> None:
        self.flow = Flow()

    async def speak(self, line: Line) -> None:
        head = await line.head()
        if head.startswith(b"PUT"):
            await self.flow.take(line)
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            await self.flow.write(line)
        await line.rest()


@dataclass
class Way:
    """From a caller through a gateway to an upstream."""

    served: Served
    caller: Line
    offered: Offer
    flow: Flow

    async def ask(self, method: str, target: str, *fields: str) -> None:
        lines = [f"{method} /api/projects/{self.offered.project.id}{target} HTTP/1.1", "Host: gateway"]
        lines += [f"Authorization: Bearer {self.offered.token}", *fields, "", ""]
        await self.caller.say("\r\n".join(lines).encode())

    def memory(self, name: str) -> int:
        """The process's, in bytes: VmRSS is what it has now, VmHWM the most that it ever had."""
        status = Path(f"/proc/{self.served.process.pid}/status").read_text()
        [kibibytes] = re.findall(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kibibytes) * 1024


@asynccontextmanager
async def way(database_url: str, folder: Path) -> AsyncIterator[Way]:
    upstream = Upstream()
    async with Bytes.listening(upstream.speak) as listening:
        async with connected(database_url):
            offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"), listening.url)
        tessera = Tessera(folder, database_url=database_url, secret_key=SECRET_KEY, upstream_allow="127.0.0.0/8")
        with tessera.serving() as served:
            parts = urlsplit(await served.url())
            caller = Line(*await asyncio.open_connection(parts.hostname, parts.port))
            yield Way(served, caller, offered, upstream.flow)
            caller.writer.transport.abort()


@asynccontextmanager
async def flat(way: Way, what: str) -> AsyncIterator[None]:
    """Around a body, which must arrive whole: the gateway's memory never grows by much."""
    before, began = way.memory("VmRSS"), perf_counter()
    yield
    growth, seconds = way.memory("VmHWM") - before, perf_counter() - began
    log.warning("%s: %d MiB in %.1f s, growth %.1f MiB", what, SIZE // MEBIBYTE, seconds, growth / MEBIBYTE)
    assert growth < GROWTH
    assert (way.flow.read, way.flow.is_intact) == (SIZE, True)


async def upload(way: Way) -> bytes:
    """The head of the answer."""
    await way.ask("PUT", "/objects/0af1", f"Content-Length: {SIZE}")
    await way.flow.write(way.caller)
    return await way.caller.head()


async def download(way: Way) -> None:
    await way.ask("GET", "/objects/0af1")
    head = await way.caller.head()
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: %d\r\n" % SIZE in head.lower()
    await way.flow.take(way.caller)


async def test_a_large_body_passes_to_the_upstream_in_flat_memory(database_url: str, tmp_path: Path) -> None:
    async with way(database_url, tmp_path) as there:
        there.flow.opened.set()
        async with flat(there, "upload"):
            assert (await upload(there)).startswith(b"HTTP/1.1 200")


async def test_a_large_body_passes_to_the_caller_in_flat_memory(database_url: str, tmp_path: Path) -> None:
    async with way(database_url, tmp_path) as there:
        there.flow.opened.set()
        async with flat(there, "download"):
            await download(there)


@pytest.mark.parametrize("transfer", [upload, download])
async def test_who_reads_slowly_is_waited_for_and_nothing_is_heaped_up(
    database_url: str, tmp_path: Path, transfer: Transfer
) -> None:
    async with way(database_url, tmp_path) as there, flat(there, f"slow {transfer.__name__}"):
        transferring = asyncio.create_task(transfer(there))
        await there.flow.until_still()
        assert there.flow.read == 0
        assert 0 < there.flow.written < IN_FLIGHT
        there.flow.opened.set()
        await transferring
