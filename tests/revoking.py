"""Those who call every worker of a gateway, at every entrance, with keys that are about to be revoked or just were."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import connect

from tests.following import PROTOCOL
from tests.gatehouse import Offer
from tests.mortal import chance

METERED, GRAPHQL, INTROSPECTION, SOCKET = "metered", "GraphQL", "introspection", "socket"
ENTRANCES = (METERED, GRAPHQL, INTROSPECTION)
PACE_SECONDS, SOCKET_PACE_SECONDS = 0.013, 0.1
PATIENCE_SECONDS = 60
QUERY = "{ eventCursor }"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"


@dataclass
class Subject:
    """A key that is to be revoked, and when the last call with it began that got a yes, by entrance."""

    key_id: str
    token: str
    revoked_at: float = float("inf")
    last_yes: dict[str, float] = field(default_factory=dict)

    def said_yes(self, entrance: str, began_at: float) -> None:
        self.last_yes[entrance] = max(began_at, self.last_yes.get(entrance, began_at))

    @property
    def late(self) -> dict[str, float]:
        """By how many seconds after the revocation was answered the last call with a yes began, by entrance."""
        return {entrance: began_at - self.revoked_at for entrance, began_at in self.last_yes.items()}


def request(method: str, target: str, token: str, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {token}", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def graphql(token: str, query: str, **variables: str) -> bytes:
    body = json.dumps({"query": query, "variables": variables}).encode()
    return request("POST", "/graphql", token, "Content-Type: application/json", body=body)


@dataclass
class Answer:
    status: int
    worker: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """A connection, which stays with the worker that took it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self.worker = 0

    @classmethod
    async def opened(cls, url: str) -> "Line":
        host, port = urlsplit(url).netloc.split(":")
        line = cls(*await asyncio.open_connection(host, int(port)))
        line.worker = (await line.ask(HEALTH)).worker
        return line

    async def ask(self, request: bytes) -> Answer:
        async with self._turn, asyncio.timeout(PATIENCE_SECONDS):
            self._writer.write(request)
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self._reader.readexactly(int(fields["content-length"]))
        return Answer(int(first.split(" ")[1]), int(fields["tessera-worker"]), body)

    def abort(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def lines_to_each(url: str, workers: int, each: int) -> AsyncIterator[dict[int, list[Line]]]:
    """So many to each of the workers."""
    opened: list[Line] = []
    found: defaultdict[int, list[Line]] = defaultdict(list)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < workers or min(map(len, found.values())) < each:
                opened.append(line := await Line.opened(url))
                found[line.worker].append(line)
        yield {worker: lines[:each] for worker, lines in found.items()}
    finally:
        for line in opened:
            line.abort()


@dataclass(frozen=True)
class Asked:
    worker: int
    entrance: str
    is_yes: bool


class Crowd:
    """Asks with any of its subjects, until it is cancelled; what it is told is noted with them."""

    def __init__(self, url: str, offered: Offer) -> None:
        self.subjects: list[Subject] = []
        self.asked: Counter[Asked] = Counter()
        self._url = url
        self._offered = offered
        self._random = chance("who is asked about")
        self._ways: dict[str, Callable[[str], bytes]] = {
            METERED: self._metered,
            GRAPHQL: lambda token: graphql(token, QUERY),
            INTROSPECTION: self._introspection,
        }

    async def ask(self, line: Line, entrance: str) -> None:
        while True:
            began_at = time.monotonic()
            if self.subjects:
                await self._ask_about(self._random.choice(self.subjects), line, entrance, began_at)
            else:
                await line.ask(HEALTH)  # so that it isn't closed
            await asyncio.sleep(began_at + PACE_SECONDS - time.monotonic())

    async def ask_on_socket(self, subject: Subject) -> None:
        """Until it is closed."""
        address = f"{self._url.replace('http', 'ws', 1)}/graphql"
        with suppress(websockets.ConnectionClosed, TimeoutError):
            async with connect(
                address, subprotocols=[PROTOCOL], compression=None, proxy=None, close_timeout=1
            ) as socket:
                assert socket.response
                worker = int(socket.response.headers["tessera-worker"])
                payload = {"authorization": f"Bearer {subject.token}"}
                await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
                await socket.recv()
                while True:
                    began_at = time.monotonic()
                    await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": QUERY}}))
                    is_yes = json.loads(await socket.recv())["type"] == "next"
                    self._note(worker, SOCKET, subject, began_at, is_yes=is_yes)
                    if is_yes:
                        await socket.recv()
                    await asyncio.sleep(SOCKET_PACE_SECONDS)

    async def _ask_about(self, subject: Subject, line: Line, entrance: str, began_at: float) -> None:
        answer = await line.ask(self._ways[entrance](subject.token))
        assert answer.status in {200, 401, 503}, answer
        assert answer.worker == line.worker
        is_yes = answer.status == 200 and (entrance != INTROSPECTION or answer.json["active"])
        self._note(line.worker, entrance, subject, began_at, is_yes=is_yes)

    def _note(self, worker: int, entrance: str, subject: Subject, began_at: float, *, is_yes: bool) -> None:
        self.asked[Asked(worker, entrance, is_yes)] += 1
        if is_yes:
            subject.said_yes(entrance, began_at)

    def _metered(self, token: str) -> bytes:
        original = ("X-Original-Method: GET", "X-Original-URI: /data_layers")
        return request("GET", f"/authorize/{self._offered.project.id}?from=original", token, *original)

    def _introspection(self, token: str) -> bytes:
        form = "Content-Type: application/x-www-form-urlencoded"
        return request("POST", "/oauth/introspect", self._offered.token, form, body=f"token={token}".encode())


@asynccontextmanager
async def asking(crowd: Crowd, lines: Sequence[tuple[Line, str]]) -> AsyncIterator[None]:
    """The crowd asks meanwhile, over each line at one entrance; raises where one of them was told nonsense."""
    async with meanwhile([crowd.ask(line, entrance) for line, entrance in lines]):
        yield


@asynccontextmanager
async def meanwhile(acts: Sequence[Awaitable[None]]) -> AsyncIterator[None]:
    """Raises what ended one of them before its time."""
    tasks = [asyncio.ensure_future(act) for act in acts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end
