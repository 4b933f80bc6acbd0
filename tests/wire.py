"""A connection to PostgreSQL that can be cut, and mended, while the server knows nothing of it."""

import asyncio
from urllib.parse import parse_qs, urlsplit


class Wire:
    """Carries a PostgreSQL's connections, until it is cut."""

    def __init__(self, database_url: str) -> None:
        self._parts = urlsplit(database_url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self._port}{self._parts.path}"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def hang(self) -> None:
        self._flows.clear()

    async def cut(self) -> None:
        self._flows.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        folder = parse_qs(self._parts.query)["host"][0]
        far_reader, far_writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flows.wait()
                target.write(data)
                await target.drain()
        finally:
            target.close()
