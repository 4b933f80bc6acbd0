"""A call is durable before its answer begins, and not only written: what was not synced doesn't count here."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from gateway.database import connected
from gateway.plane.ledger import PostgresLedger, Transaction
from gateway.signing import Keyring
from gateway.statements import Statement
from tests.gatehouse import Offer, offer
from tests.mortal import children_of
from tests.stage import SECRET_KEY
from tests.test_cli import COMMAND, Tessera
from tests.tracing import NEEDS_STRACE, Disk, traced
from tests.world import SEALER

LESS_DURABLE: list[str | Path] = [
    sys.executable,
    "-P",
    Path(__file__).with_name("less_durable.py"),
]  # -P: beside it lie no libraries
ALONE, TOGETHER, TIMES = 8, 16, 4
MARKS = (b"HTTP/1.1 200", b"x-tessera-key")  # /healthz answers too
ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
ON_POSTGRES = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


class Traced:
    """A gateway that served calls, alone and many at once, and what it did meanwhile."""

    def __init__(self, database_url: str, folder: Path, command: list[str | Path]) -> None:
        self._database_url = database_url
        self._path = Path(database_url.removeprefix("sqlite://"))
        self._folder = folder
        self._trace = folder / "trace"
        self._tessera = Tessera(folder, database_url=database_url, secret_key=SECRET_KEY)
        self._tessera.command = [*traced(self._trace), *command]

    async def serve(self) -> None:
        async with connected(self._database_url):
            offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"))
        files = {str(self._path): bytearray(self._path.read_bytes()), f"{self._path}-wal": bytearray()}
        self._disk = Disk(files)
        with self._tessera.serving() as served:
            await ask(await served.url(), offered)
            for process_id in children_of(served.process.pid):
                os.kill(process_id, signal.SIGKILL)
            await asyncio.to_thread(served.process.wait)  # strace has written all

    def durable_at_answers(self) -> Iterator[int]:
        """How many calls would be found after the machine stopped, for each answer, when it begins."""
        counted_at, durable = -1, 0
        for _ in self._disk.answers(self._trace, *MARKS):
            if self._disk.syncs != counted_at:
                counted_at, durable = self._disk.syncs, self._found_calls()
            yield durable

    def _found_calls(self) -> int:
        for path, content in self._disk.kept.items():
            (self._folder / f"found{path.removeprefix(str(self._path))}").write_bytes(content)
        with closing(sqlite3.connect(self._folder / "found")) as database:
            [(calls,)] = database.execute("SELECT count(*) FROM usage_records")
        return int(calls)


async def ask(url: str, offered: Offer) -> None:
    target = f"/authorize/{offered.project.id}?from=original"
    fields = {"X-Original-Method": "GET", "X-Original-URI": "/data_layers", "Authorization": f"Bearer {offered.token}"}
    async with httpx2.AsyncClient(base_url=url, headers=fields, timeout=30, trust_env=False) as client:
        answers = [await client.get(target) for _ in range(ALONE)]
        for _ in range(TIMES):
            answers += await asyncio.gather(*(client.get(target) for _ in range(TOGETHER)))
    assert {answer.status_code for answer in answers} == {200}


@NEEDS_STRACE
@ON_SQLITE
async def test_when_an_answer_begins_its_call_has_been_synced_to_the_disk(database_url: str, tmp_path: Path) -> None:
    gateway = Traced(database_url, tmp_path, [COMMAND])
    await gateway.serve()
    durable = list(gateway.durable_at_answers())
    assert len(durable) == ALONE + TIMES * TOGETHER
    assert [(answers, calls) for answers, calls in enumerate(durable, start=1) if calls < answers] == []
    assert durable[:ALONE] == list(range(1, ALONE + 1))  # one at a time, none earlier than it was asked for


@NEEDS_STRACE
@ON_SQLITE
@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
async def test_were_sqlite_less_durable_than_full_it_would_be_seen(
    database_url: str, tmp_path: Path, synchronous: str
) -> None:
    gateway = Traced(database_url, tmp_path, [*LESS_DURABLE, synchronous])
    await gateway.serve()
    durable = list(gateway.durable_at_answers())
    assert len(durable) == ALONE + TIMES * TOGETHER
    assert all(calls < answers for answers, calls in enumerate(durable, start=1))


@ON_POSTGRES
async def test_postgresql_syncs_what_the_meter_commits_before_it_says_so(database_url: str) -> None:
    def asking() -> Transaction[str]:
        rows = yield Statement("SHOW synchronous_commit", [])
        return str(rows[0][0])

    ledger = PostgresLedger(database_url)
    assert await ledger.run(asking) == "on"
    await ledger.close()
