"""A program that was written for a project's service works through the gateway: its base URL, its key and its ids are
others, and nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from gateway import weather
from tests.client import Client, Forecast
from tests.serving import serving
from tests.stage import Stage, staged

BASE = "/api"
PROJECT = "17"
"""The project's id in the service's own paths, as the program had it before."""
PRICE = "0.000001"
FIELDS = {
    "project ID": {"insert": "PROJECT_ID"},
    "input node ID": {"nodeId": weather.READINGS},
    "output node ID": {"nodeId": weather.FORECASTS},
}
CALLER = ["PROJECT_VIEW", "PACKAGE_VIEW", "PACKAGE_CREATE"]
NOTES = bytes(range(256)) * 1000

IDENTITY = {"x-tessera-key", "x-tessera-user", "x-tessera-project", "x-tessera-role", "x-request-id"}
OF_EACH_HOP = {"connection", "keep-alive", "te", "transfer-encoding", "upgrade"}
OF_THE_WAY = {"via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Seen:
    """A call, as it came to the service."""

    method: str
    target: bytes
    body: bytes
    headers: Headers

    def named(self, *names: str) -> Headers:
        return [(name, value) for name, value in self.headers if name in names]

    def without(self, *names: str) -> Headers:
        return sorted((name, value) for name, value in self.headers if name not in names)


class Service:
    """The weather service at the paths of its project, which computes once it was asked for a forecast in vain.

    So a program calls it in the same way each time.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._held: list[Callable[[], None]] = []
        service = weather.create_weather(self._held.append)
        self._app = Starlette(routes=[Mount(f"{BASE}/projects/{PROJECT}", service)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()

        async def heard() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        await self._app(scope, heard, send)
        if scope["type"] == "http":
            self._note(scope, bytes(body))

    def _note(self, scope: Scope, body: bytes) -> None:
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        self.seen.append(Seen(scope["method"], target, body, headers))
        if b"/packages/search" in target:
            while self._held:
                self._held.pop()()


@asynccontextmanager
async def service() -> AsyncIterator[tuple[Service, str]]:
    """The service, and where its projects are."""
    app = Service()
    async with serving(app) as url:
        yield app, f"{url}{BASE}"


@dataclass
class Key:
    """What a key's holder has in hand."""

    id: str
    user_id: str
    token: str
    fields: dict[str, str]

    def client(self, url: str) -> Client:
        """The program, with nothing changed but what the key's fields say."""
        return Client(
            f"{url}{BASE}",
            self.token,
            project=self.fields["project ID"],
            input_node=self.fields["input node ID"],
            output_node=self.fields["output node ID"],
        )


async def key_of(stage: Stage, upstream_url: str) -> Key:
    """A key of Bo's, got as anyone gets one, to a project of Ada's that stands before the service."""
    ada, bo = stage.ada, stage.bo
    made = await ada.do("projectCreate", "project { id }", name="Weather", upstreamUrl=upstream_url)
    where = {"projectId": made["project"]["id"]}
    role = (await ada.do("roleCreate", "role { id }", name="caller", permissions=CALLER, **where))["role"]
    await ada.do("roleCreate", "role { id }", name="everyone", isPublic=True, permissions=["PROJECT_VIEW"], **where)
    ids = {}
    for node in (weather.READINGS, weather.FORECASTS):
        payload = await ada.do("projectNodeCreate", "projectNode { id }", name=node, upstreamId=node, **where)
        ids[node] = payload["projectNode"]["id"]
    fields = [
        {"name": name, "value": {kind: ids.get(value, value) for kind, value in values.items()}}
        for name, values in FIELDS.items()
    ]
    basic = {"name": "Basic", "pricePerRequest": PRICE, "fields": fields}
    template = (await ada.do("templateCreate", "template { id }", roleId=role["id"], **basic, **where))["template"]
    asked = await bo.do("keyRequestCreate", "request { id }", templateId=template["id"])
    member = "request { issuedKey { id } }"
    approved = await ada.do("keyRequestApprove", member, requestId=asked["request"]["id"])
    key_id = approved["request"]["issuedKey"]["id"]
    query = "query($id: ID!) { node(id: $id) { ... on IssuedKey { fields { name value } } } }"
    told = (await bo.caller.ask(query, id=key_id))["node"]["fields"]
    token = (await bo.do("keyReveal", "token", keyId=key_id))["token"]
    return Key(key_id, bo.id, token, {field["name"]: field["value"] for field in told})


@asynccontextmanager
async def gateway_before(upstream_url: str, database_url: str, folder: Path) -> AsyncIterator[tuple[Stage, Key]]:
    allowed = [f"127.0.0.1/32:{urlsplit(upstream_url).port}"]
    async with staged(database_url, folder, upstream_allow=allowed) as stage:
        yield stage, await key_of(stage, f"{upstream_url}/projects/{PROJECT}")


async def all_of_it(client: Client) -> list[Any]:
    """Whatever the program does with the service, and what it is told."""
    async with client:
        return [
            await client.layers(),
            await client.put_bit_by_bit(NOTES),
            await client.forecast_of("Kyiv", {"temperature": 11.5, "pressure": 1023.25}, notes=NOTES),
            await client.forecast_of("Львів", {"temperature": -3, "wind": "NW / 4;5%"}),
            [item async for item in client.results(page_size=1)],
        ]


def without_caller(found: Any) -> Any:
    """Less what tells who called."""
    if isinstance(found, dict):
        return {name: without_caller(value) for name, value in found.items() if name != "called_by"}
    if isinstance(found, list):
        return [without_caller(value) for value in found]
    if isinstance(found, Forecast):
        return replace(found, reading=without_caller(found.reading), package=without_caller(found.package))
    return found


async def test_a_program_works_through_the_gateway_as_it_works_without(database_url: str, tmp_path: Path) -> None:
    async with service() as (alone, url):
        directly = await all_of_it(
            Client(url, "any", project=PROJECT, input_node=weather.READINGS, output_node=weather.FORECASTS)
        )
    async with service() as (behind, url), gateway_before(url, database_url, tmp_path) as (stage, key):
        through = await all_of_it(key.client(stage.url))
        usage = await usage_of(stage, key)

    assert without_caller(through) == without_caller(directly)
    assert through[2].files.keys() == {"forecast.csv"}
    assert through[2].package["called_by"] == {"key": key.id, "user": key.user_id}
    assert_the_same_calls(alone.seen, behind.seen, key, urlsplit(url).netloc)
    assert usage == (len(behind.seen), Decimal(PRICE) * len(behind.seen))


def assert_the_same_calls(alone: list[Seen], behind: list[Seen], key: Key, host: str) -> None:
    """To the byte, less the key and what belongs to one connection; with who calls, and which way it came."""
    assert [(seen.method, seen.target, seen.body) for seen in behind] == [
        (seen.method, seen.target, seen.body) for seen in alone
    ]
    told = {"x-tessera-key": key.id, "x-tessera-user": key.user_id, "x-tessera-project": key.fields["project ID"]}
    for sent, seen in zip(alone, behind, strict=True):
        assert seen.without(*IDENTITY, *OF_EACH_HOP, *OF_THE_WAY, "host") == sent.without(
            *OF_EACH_HOP, "host", "authorization"
        )
        assert dict(seen.named(*told)) == told
        assert sorted(name for name, _ in seen.named(*IDENTITY, *OF_THE_WAY)) == sorted(IDENTITY | OF_THE_WAY)
        assert seen.named("host") == [("host", host)]
        assert key.token not in str(seen.headers)


async def usage_of(stage: Stage, key: Key) -> tuple[int, Decimal]:
    query = (
        "query($id: ID!) { node(id: $id) { ... on IssuedKey { usage(period: {lastDays: 2}) "
        "{ requests total { amount } } } } }"
    )
    usage = (await stage.ada.caller.ask(query, id=key.id))["node"]["usage"]
    return int(usage["requests"]), Decimal(usage["total"]["amount"])
