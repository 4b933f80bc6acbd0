"""Who stops the gateway drops no request of which a byte was read, and no count; who restarts it isn't noticed."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.database import connected
from gateway.protocol import QUIET_SECONDS
from gateway.signing import Keyring
from models import Event
from tests.gatehouse import offer
from tests.mortal import chance, children_of
from tests.serving import serving
from tests.stage import SECRET_KEY, session_token
from tests.test_cli import Served, Tessera
from tests.world import SEALER

PATIENCE_SECONDS = 60.0
CALLERS = 8
LONGER_THAN_QUIET_SECONDS = QUIET_SECONDS + 0.2
STOPS = int(os.environ.get("TESSERA_STOPS", "3"))
BODY = b"a body that comes in pieces" * 100
ASK = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"


@dataclass
class Answered:
    status: int
    closes: bool
    body: bytes


class Line:
    """A connection on which requests are written as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> Answered:
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = head.split("content-length: ")[1].split("\r\n")[0]
            body = await self.reader.readexactly(int(length))
        return Answered(int(head.split()[1]), "connection: close" in head, body)

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await self.reader.read() == b""


@asynccontextmanager
async def line(url: str) -> AsyncIterator[Line]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


class Stopping:
    """A server that is told to stop while it answers; each answer waits until it may go."""

    def __init__(self) -> None:
        self.asked, self.may_answer, self._over = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
        self._stopped = asyncio.Event()
        self._url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._serving = asyncio.create_task(self._serve())

    async def url(self) -> str:
        return await self._url

    async def stop(self) -> None:
        """Returns once each connection was told: uvicorn does that at once when it has closed its listener."""
        self._over.set()
        await self._stopped.wait()
        with suppress(ConnectionRefusedError):
            while True:
                async with line(await self.url()):
                    pass

    async def end(self) -> None:
        self.may_answer.set()
        await self.stop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._serving

    async def _serve(self) -> None:
        app = Starlette(routes=[Route("/", self._answer, methods=["GET", "POST"])])
        async with serving(app, on_stop=self._stopped.set) as url:
            self._url.set_result(url)
            await self._over.wait()

    async def _answer(self, request: Request) -> Response:
        self.asked.release()
        await self.may_answer.wait()
        return Response(await request.body() or b"yes")


@pytest.fixture
async def server() -> AsyncIterator[Stopping]:
    server = Stopping()
    yield server
    await server.end()


async def test_what_is_under_way_is_answered_and_its_connection_closed(server: Stopping) -> None:
    async with line(await server.url()) as caller:
        caller.writer.write(ASK)
        await server.asked.acquire()
        await server.stop()
        server.may_answer.set()
        assert await caller.answer() == Answered(200, True, b"yes")
        await caller.ended()


@pytest.mark.parametrize("cut", [1, 8, len(ASK) - 1])
async def test_half_a_head_is_waited_for(server: Stopping, cut: int) -> None:
    server.may_answer.set()
    async with line(await server.url()) as caller:
        caller.writer.write(ASK)
        assert not (await caller.answer()).closes
        caller.writer.write(ASK[:cut])
        await server.stop()
        await asyncio.sleep(LONGER_THAN_QUIET_SECONDS)
        caller.writer.write(ASK[cut:])
        assert await caller.answer() == Answered(200, True, b"yes")
        await caller.ended()


async def test_half_a_body_is_waited_for(server: Stopping) -> None:
    server.may_answer.set()
    async with line(await server.url()) as caller:
        caller.writer.write(b"POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 6\r\n\r\nhal")
        await server.asked.acquire()
        await server.stop()
        await asyncio.sleep(LONGER_THAN_QUIET_SECONDS)
        caller.writer.write(b"ves")
        assert await caller.answer() == Answered(200, True, b"halves")


async def test_each_of_several_requests_that_were_sent_at_once_is_answered(server: Stopping) -> None:
    async with line(await server.url()) as caller:
        caller.writer.write(ASK * 3 + ASK[:9])
        await server.asked.acquire()
        await server.stop()
        caller.writer.write(ASK[9:] + ASK)
        server.may_answer.set()
        assert [(await caller.answer()).closes for _ in range(5)] == [False] * 4 + [True]
        await caller.ended()


async def test_a_request_on_its_way_to_an_idle_connection_is_answered(server: Stopping) -> None:
    server.may_answer.set()
    async with line(await server.url()) as caller:
        caller.writer.write(ASK)
        await caller.answer()
        await server.stop()
        caller.writer.write(ASK)
        assert await caller.answer() == Answered(200, True, b"yes")
        await caller.ended()


async def test_a_connection_that_stays_quiet_is_closed_in_order(server: Stopping) -> None:
    async with line(await server.url()) as silent:
        await server.stop()
        await silent.ended()


# ---------------------------------------------------------------- the gateway


class Caller:
    """Calls over connections that it keeps, and asks again where one was closed before a byte of its answer came."""

    def __init__(self, head: bytes, body: bytes = b"") -> None:
        self._parts = (head, body[: len(body) // 2], body[len(body) // 2 :])
        self.answered = self.failed = 0
        self.is_over = False

    async def call(self, url: str) -> None:
        while not self.is_over:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                async with line(url) as kept:
                    await self._call_over(kept)

    async def _call_over(self, kept: Line) -> None:
        while not self.is_over:
            await self._ask(kept)
            try:
                answer = await kept.answer()
            except asyncio.IncompleteReadError as error:
                self.failed += bool(error.partial)
                raise
            is_good = answer.status == 200 and b'"errors"' not in answer.body
            self.answered += is_good
            self.failed += not is_good
            if answer.closes:
                return

    async def _ask(self, kept: Line) -> None:
        """What has a body comes in pieces, between which others have their turn."""
        for part in filter(None, self._parts):
            kept.writer.write(part)
            await kept.writer.drain()
            await asyncio.sleep(0)


@asynccontextmanager
async def calling(url: str, *callers: Caller, lines: int = CALLERS) -> AsyncIterator[None]:
    """Each of the callers on so many connections at once."""
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            caller.is_over = False
            for _ in range(lines):
                group.create_task(caller.call(url))
        yield
        for caller in callers:
            caller.is_over = True


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.005)


async def until(caller: Caller, more: int) -> None:
    enough = caller.answered + more
    await eventually(lambda: caller.answered >= enough)


async def stopped(served: Served) -> int:
    served.process.send_signal(signal.SIGTERM)
    await eventually(lambda: served.process.poll() is not None)
    return served.process.returncode


async def test_a_gateway_that_is_stopped_under_load_has_done_and_counted_just_what_it_answered(
    database_url: str, tmp_path: Path
) -> None:
    """Decisions, calls with bodies that it passes on, and changes."""
    async with serving(Starlette(routes=[Route("/nodes/readings/packages", take, methods=["POST"])])) as upstream:
        async with connected(database_url):
            offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"), upstream)
            renaming = renaming_with(offered.project.id, await session_token(offered.owner))
            events_before = await Event.all().count()
        deciding = Caller(asked_with(offered.project.id, offered.token))
        posting = Caller(*posted_with(offered.project.id, offered.token))
        changing, random = Caller(*renaming), chance("who stops")
        settings = {"secret_key": SECRET_KEY, "upstream_allow": "127.0.0.0/8"}
        tessera = Tessera(tmp_path, database_url=database_url, **settings)
        for _ in range(STOPS):
            with tessera.serving() as served:
                async with calling(await served.url(), deciding, posting, changing, lines=4):
                    await until(deciding, random.randrange(1, 100))
                    assert await stopped(served) == 0
    assert deciding.failed == posting.failed == changing.failed == 0
    assert posting.answered > 0
    assert changing.answered > 0
    async with connected(database_url):
        assert (await offered.counted()).requests == deciding.answered + posting.answered
        assert await Event.all().count() - events_before == changing.answered


async def take(request: Request) -> Response:
    """As an upstream that fails where a body isn't whole."""
    return Response(status_code=200 if await request.body() == BODY else 400)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_workers_that_are_restarted_under_load_fail_no_call_and_count_each(
    database_url: str, tmp_path: Path
) -> None:
    async with connected(database_url):
        offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"))
    caller = Caller(asked_with(offered.project.id, offered.token))
    tessera = Tessera(tmp_path, database_url=database_url, secret_key=SECRET_KEY)
    with tessera.serving("--workers", "2") as served:
        async with calling(await served.url(), caller, lines=2):
            await until(caller, 100)
            before = set(children_of(served.process.pid))
            served.process.send_signal(signal.SIGHUP)
            await eventually(lambda: not before & set(children_of(served.process.pid)))
            await until(caller, 100)
        assert await stopped(served) == 0
    async with connected(database_url):
        assert (await offered.counted()).requests == caller.answered
    assert caller.failed == 0


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_workers_end_with_the_process_that_looks_after_them(database_url: str, tmp_path: Path) -> None:
    tessera = Tessera(tmp_path, database_url=database_url, secret_key=SECRET_KEY)
    with tessera.serving("--workers", "2") as served:
        await served.url()
        workers = children_of(served.process.pid)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
        await eventually(lambda: not any(map(is_there, workers)))


def asked_with(project_id: str, token: str) -> bytes:
    return head_of(
        f"GET /authorize/{project_id}?from=original",
        token,
        {"X-Original-Method": "GET", "X-Original-URI": "/data_layers"},
    )


def posted_with(project_id: str, token: str) -> tuple[bytes, bytes]:
    target = f"POST /api/projects/{project_id}/nodes/readings/packages"
    return head_of(target, token, {"Content-Length": len(BODY)}), BODY


def renaming_with(project_id: str, token: str) -> tuple[bytes, bytes]:
    query = 'mutation ($id: ID!) { projectUpdate(input: {projectId: $id, name: "Maps"}) { userErrors { code } } }'
    body = json.dumps({"query": query, "variables": {"id": project_id}}).encode()
    return head_of("POST /graphql", token, {"Content-Type": "application/json", "Content-Length": len(body)}), body


def head_of(target: str, token: str, fields: dict[str, object]) -> bytes:
    lines = {"Host": "gateway", "Authorization": f"Bearer {token}", **fields}
    return "\r\n".join([f"{target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]).encode()


def is_there(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"
