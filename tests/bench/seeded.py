"""Databases that `tessera bench seed` filled, each in a folder of its own: made once, and used again where kept."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from tests.bench.servers import BIN
from tests.databases import kept_postgres_server

SQLITE, POSTGRES = "sqlite", "postgres"
DONE = "seeded"
"""A file in the folder of a database that is whole."""


@dataclass(frozen=True)
class Seeded:
    """A database with so many calls. On PostgreSQL its server is known by its process and address."""

    name: str
    records: int
    folder: Path
    place: str = ""
    server_pid: int | None = None
    server_url: str = ""
    size: int = 0

    @property
    def url(self) -> str:
        return self.server_url.replace("/postgres?", f"/{self.place}?") if self.server_url else ""

    @asynccontextmanager
    async def copied(self) -> AsyncIterator["Seeded"]:
        """One that may be written to, and goes when the context ends."""
        copy = replace(self, folder=self.folder.with_name(f"{self.folder.name}-copy"), place=f"{self.place}_copy")
        try:
            await asyncio.to_thread(shutil.copytree, self.folder, copy.folder, dirs_exist_ok=True)
            await copy.make(template=self.place)
            yield copy
        finally:
            await copy.remove()

    async def make(self, template: str = "template0") -> None:
        if self.server_url:
            await self._on_server(f"DROP DATABASE IF EXISTS {self.place} WITH (FORCE)")
            await self._on_server(f"CREATE DATABASE {self.place} TEMPLATE {template} STRATEGY file_copy")

    async def remove(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        if self.server_url:
            await self._on_server(f"DROP DATABASE IF EXISTS {self.place} WITH (FORCE)")

    async def weighed(self) -> "Seeded":
        if not self.server_url:
            return replace(self, size=(self.folder / "tessera.db").stat().st_size)
        return replace(self, size=await self._on_server(f"SELECT pg_database_size('{self.place}')"))

    async def _on_server(self, statement: str) -> int:
        connection = await asyncpg.connect(self.server_url)
        try:
            found: int = await connection.fetchval(statement)
        finally:
            await connection.close()
        return found


@asynccontextmanager
async def seeded_databases(folder: Path, sizes: Sequence[int]) -> AsyncIterator[list[Seeded]]:
    """One of each size on both databases, of the newest schema, in that folder."""
    with kept_postgres_server(folder / POSTGRES) as (server_url, pid):
        wanted = [Seeded(SQLITE, records, folder / f"{SQLITE}-{records}") for records in sizes]
        wanted += [
            Seeded(POSTGRES, records, folder / f"{POSTGRES}-{records}", f"calls_{records}", pid, server_url)
            for records in sizes
        ]
        for database in wanted:
            await _fill(database)
        yield [await database.weighed() for database in wanted]


async def _fill(database: Seeded) -> None:
    done = database.folder / DONE
    if not done.exists():
        await database.remove()
        await database.make()
        database.folder.mkdir()
    await _tessera(database, "migrate")
    if not done.exists():
        print(f"{database.name}: seeding {database.records:,} calls in {database.folder}", flush=True)
        await _tessera(database, "bench", "seed", f"--records={database.records}")
        done.touch()


async def _tessera(database: Seeded, *words: str) -> None:
    """Raises RuntimeError where the command fails. How far it is, it says itself."""
    named = {"TESSERA_DATA_DIR": str(database.folder), "TESSERA_DATABASE_URL": database.url}
    bare = {name: value for name, value in os.environ.items() if not name.startswith("TESSERA_")}
    process = await asyncio.create_subprocess_exec(
        str(BIN / "tessera"), *words, env={**bare, **named}, stdout=asyncio.subprocess.DEVNULL, stderr=sys.stderr
    )
    if await process.wait():
        raise RuntimeError(f"tessera {' '.join(words)} failed in {database.folder}.")
