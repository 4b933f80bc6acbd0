"""A real nginx in front of a service, which asks the gateway about each call, by the very lines that the docs show."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway import keys, templates
from gateway.limits import LimitsWanted
from gateway.plane.meter import Meter, unavailable
from gateway.settings import Settings
from tests.gatehouse import Gatehouse, gatehouse, settings_of
from tests.nginx import NEEDS_NGINX, nginx_serving
from tests.test_targets import CLEAN, REFUSED

pytestmark = NEEDS_NGINX

PAGE = Path(__file__).parent.parent / "docs" / "reverse-proxies.md"
IDENTITY = ("key", "user", "project", "role")
ANSWER = (207, {"X-Request-Id": "the service's", "X-Own": "yes"}, b"from the service")


class Received(NamedTuple):
    """A request as it came, to the byte."""

    method: str
    target: str
    fields: Sequence[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for given, value in self.fields if given.lower() == name.lower()]


@dataclass
class Listener:
    """A service that remembers what it received, and answers all alike."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    received: list[Received] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while received := await read_request(reader):
                self.received.append(received)
                lines = [f"HTTP/1.1 {self.status} So", f"Content-Length: {len(self.body)}"]
                lines += [f"{name}: {value}" for name, value in self.headers.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if received.method == "HEAD" else self.body))
                await writer.drain()
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None
    line, *rest = head.rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    fields = [(name, value.strip()) for name, _, value in (each.partition(":") for each in rest)]
    length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    return Received(method, target, fields, await reader.readexactly(length))


# ---------------------------------------------------------------- the stage


def configuration(gateway: str, service: str, project_id: str) -> str:
    """The docs' lines, with addresses of these instead of the docs' own."""
    [block] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for shown, real in {
        "listen 80;": "listen LISTEN;",
        "127.0.0.1:8000": gateway,
        "127.0.0.1:9000": service,
        "PROJECT": project_id,
    }.items():
        assert block.count(shown) == 1, shown
        block = block.replace(shown, real)
    return str(block)


@dataclass
class Front:
    """Nginx, what it stands before, and whom it asks."""

    house: Gatehouse
    service: Listener
    client: httpx2.AsyncClient

    async def call(
        self, method: str = "GET", target: str = "/data_layers", *fields: tuple[str, str], **more: str | bytes | None
    ) -> httpx2.Response:
        token = more.get("token", self.house.token)
        own = [("Authorization", f"Bearer {token!s}")] if token else []
        request = self.client.build_request(
            method, "/", headers=[*own, *fields], content=more.get("content"), extensions={"target": target.encode()}
        )
        return await self.client.send(request)


@asynccontextmanager
async def fronted(settings: Settings) -> AsyncIterator[Front]:
    service = Listener(*ANSWER)
    async with gatehouse(settings) as house, service.listening() as address:
        block = configuration(urlsplit(house.url).netloc, address, house.project.id)
        with nginx_serving(block) as url:
            async with httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
                yield Front(house, service, client)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return settings_of(tmp_path, database_url)


@pytest.fixture
async def front(settings: Settings) -> AsyncIterator[Front]:
    async with fronted(settings) as front:
        yield front


# ---------------------------------------------------------------- what goes through


async def test_a_good_call_goes_through_as_it_was_named_and_counted_once(front: Front) -> None:
    target = "/nodes/readings/packages?data_layer_id=1&a=%2F../;"
    answer = await front.call("POST", target, ("X-Request-Id", "mine"), content=b"a package")
    assert (answer.status_code, answer.content, answer.headers["x-own"]) == (207, b"from the service", "yes")
    assert answer.headers.get_list("x-request-id") == ["mine"]
    [received] = front.service.received
    assert (received.method, received.target, received.body) == ("POST", target, b"a package")
    assert received.all("X-Request-Id") == ["mine"]
    assert received.all("Authorization") == []
    assert_named(front, received)
    counted = await front.house.counted()
    assert (counted.requests, counted.cost.decimal) == (1, Decimal("0.0000005"))


def assert_named(front: Front, received: Received) -> None:
    key = front.house.key
    named = {name: received.all(f"X-Tessera-{name}") for name in IDENTITY}
    assert named == {"key": [key.id], "user": [key.user_id], "project": [key.project_id], "role": [key.role_id]}


async def test_nobody_can_name_themselves(front: Front) -> None:
    spelt = [f"{x}{a}Tessera{b}{name}" for x in ("X", "x") for a in "-_." for b in "-_." for name in IDENTITY]
    answer = await front.call("GET", "/data_layers", *[(name, "forged") for name in spelt])
    assert answer.status_code == 207
    [received] = front.service.received
    assert_named(front, received)
    assert "forged" not in {value for _, value in received.fields}


async def test_a_request_id_is_the_same_on_both_sides(front: Front) -> None:
    for given in ([], [("X-Request-Id", "two words")], [("X-Request-Id", "one"), ("X-Request-Id", "two")]):
        answer = await front.call("GET", "/data_layers", *given)
        [made] = answer.headers.get_list("x-request-id")
        assert made not in {"", "two words", "one", "two"}
        assert front.service.received[-1].all("X-Request-Id") == [made]


async def test_each_of_many_calls_is_counted_once(front: Front) -> None:
    answers = await asyncio.gather(*[front.call() for _ in range(60)])
    assert {answer.status_code for answer in answers} == {207}
    assert len(front.service.received) == 60
    assert (await front.house.counted()).requests == 60


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_what_the_service_answers_is_not_touched(front: Front, status: int) -> None:
    front.service.status = status
    answer = await front.call()
    assert (answer.status_code, answer.content) == (status, b"from the service")
    assert "retry-after" not in answer.headers
    assert (await front.house.counted()).requests == 1


async def test_what_is_left_of_limits_is_told_with_the_answer(front: Front) -> None:
    await limit(front, 5)
    answer = await front.call()
    assert answer.headers["ratelimit-policy"] == '"day";q=5;w=86400'
    assert answer.headers["ratelimit"].startswith('"day";r=4;t=')


# ---------------------------------------------------------------- what doesn't


async def limit(front: Front, calls_per_day: int) -> None:
    limits = LimitsWanted(calls_per_day=calls_per_day)
    await templates.update(front.house.owner, front.house.template.id, {"limits": limits})


async def assert_refused(front: Front, status: int, answer: httpx2.Response) -> None:
    """It reached the client as what it is, and nothing reached the service."""
    assert answer.status_code == status
    assert "x-tessera-status" not in answer.headers
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    assert front.service.received == []
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


async def test_a_call_without_a_good_key_is_401(front: Front) -> None:
    await assert_refused(front, 401, await front.call(token=None))
    await assert_refused(front, 401, await front.call(token="nonsense"))
    twice = await front.call("GET", "/data_layers", ("Authorization", f"Bearer {front.house.token}"))
    assert twice.status_code in {400, 401}  # newer ones refuse it by themselves
    await keys.revoke(front.house.owner, front.house.key.id)
    await assert_refused(front, 401, await front.call())
    assert (await front.house.counted()).requests == 0


async def test_a_call_that_is_not_permitted_is_403(front: Front) -> None:
    await assert_refused(front, 403, await front.call("DELETE", "/nodes/readings"))
    await assert_refused(front, 403, await front.call("GET", "/nodes/unknown"))


async def test_a_call_of_another_project_is_404(front: Front) -> None:
    await assert_refused(front, 404, await front.call("GET", "/api/projects/prj_other/data_layers"))


async def test_a_call_over_a_limit_is_429_and_tells_until_when(front: Front) -> None:
    await limit(front, 0)
    answer = await front.call()
    await assert_refused(front, 429, answer)
    assert 0 < int(answer.headers["retry-after"]) <= 86400
    assert answer.headers["ratelimit"].startswith('"day";r=0;t=')


async def test_a_call_that_can_not_be_counted_is_503(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    async def count(*_: object) -> object:
        return unavailable()

    monkeypatch.setattr(Meter, "count", count)
    await assert_refused(front, 503, await front.call())


async def test_while_the_gateway_is_away_a_call_is_503() -> None:
    service = Listener()
    async with service.listening() as address:
        with nginx_serving(configuration("127.0.0.1:9", address, "prj_1")) as url:
            async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
                answer = await client.get("/data_layers", headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["status"]) == (503, "1", 503)
    assert service.received == []


# ---------------------------------------------------------------- which target


async def test_a_target_reaches_the_service_to_the_byte_or_not_at_all(front: Front) -> None:
    own, passed = f"/api/projects/{front.house.project.id}", 0
    targets = [each.replace("/api/projects/prj_1", prefix) for prefix in ("", own) for each, _ in CLEAN]
    for target in [each for each in targets if each.startswith("/")]:
        front.service.received.clear()
        answer = await front.call("GET", target)
        assert answer.status_code in {207, 403, 404}, target
        assert [received.target for received in front.service.received] == [target] * (answer.status_code == 207)
        passed += answer.status_code == 207
    assert passed > len(CLEAN)


async def test_what_could_be_read_in_two_ways_reaches_no_service(front: Front) -> None:
    own = f"/api/projects/{front.house.project.id}".encode()
    tricky = [each for targets in REFUSED.values() for each in targets if not re.search(rb"[\x00-\x20\x7f-\xff]", each)]
    for target in [prefix + each for prefix in (b"", own) for each in tricky if each.startswith(b"/")]:
        answer = await front.call("GET", target.decode())
        assert answer.status_code == 400, target
        assert front.service.received == []
    assert (await front.house.counted()).requests == 0


# ---------------------------------------------------------------- what the gateway is asked


async def test_the_gateway_is_asked_once_and_gets_no_body_and_nothing_that_a_client_says_of_the_call() -> None:
    service, gateway = Listener(), Listener(headers={f"X-Tessera-{name}": "x" for name in IDENTITY})
    forged = [
        *[(name, "DELETE") for name in ("X-Original-Method", "X_Original_Method", "X-Forwarded-Method")],
        *[(name, "/secret") for name in ("X-Original-URI", "X_Original_URI", "X-Forwarded-Uri")],
        ("X-Forwarded-For", "10.0.0.1"),
    ]
    async with service.listening() as there, gateway.listening() as here:
        with nginx_serving(configuration(here, there, "prj_1")) as url:
            async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
                headers = [("Authorization", "Bearer x"), *forged]
                for body in (b"x" * 100_000, pieces()):
                    assert (await client.put("/a?b", headers=headers, content=body)).status_code == 200
    assert [received.body for received in service.received] == [b"x" * 100_000] * 2
    assert len(gateway.received) == 2
    for asked in gateway.received:
        assert (asked.method, asked.target, asked.body) == ("GET", "/authorize/prj_1?from=original&deny=403", b"")
        assert asked.all("Authorization") == ["Bearer x"]
        assert asked.all("X-Original-Method") == ["PUT"]
        assert asked.all("X-Original-URI") == ["/a?b"]
        assert asked.all("X-Forwarded-For") == ["127.0.0.1"]
        assert asked.all("Transfer-Encoding") == asked.all("X_Original_URI") == []


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b"x" * 1_000
