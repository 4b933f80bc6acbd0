"""A process that sends one request again and again on 16 connections, whatever is answered, for a minute at most."""

import asyncio
import json
import sys

import httptools
import uvloop

from tests.bench.load import Connection, connection_to, request_bytes

CONNECTIONS, MOST_SECONDS = 16, 60


class Careless(Connection):
    """Doesn't look at the status."""

    def __init__(self, request: bytes) -> None:
        super().__init__(request)
        self._parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.durations.clear()


async def main(url: str, headers: dict[str, str]) -> None:
    request = request_bytes(url, headers)
    opened = [connection_to(url, request, Careless) for _ in range(CONNECTIONS)]
    for each in opened:
        await each.__aenter__()
    await asyncio.sleep(MOST_SECONDS)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], json.loads(sys.argv[2])))
