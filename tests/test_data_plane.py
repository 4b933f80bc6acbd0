"""One table of what becomes of a call, whichever way into the data plane it takes."""

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import clock, keys, projects, requests, templates, users
from gateway.app import assembled
from gateway.database import connected
from gateway.limits import LimitsWanted
from gateway.permissions import GATEWAY
from gateway.plane import ledger
from gateway.plane.ledger import Ledger, Transaction
from gateway.settings import Settings
from gateway.signing import LONGEST_TOKEN, sign
from models import IssuedKey, Session
from tests.entrances import ENTRANCES, Call, Said
from tests.gatehouse import Gatehouse, gatehouse, settings_of
from tests.planes import SILENCE, plane
from tests.serving import serving
from tests.wire import Wire
from tests.world import person

PRICE = Decimal("0.0000005")
BAD_PATHS = [
    *["/nodes/../data_layers", "/./data_layers", "//data_layers", "/data_layers/", "/nodes/%2e%2e/data_layers"],
    *["/data%2Flayers", "/data%5clayers", "/data\\layers", "/data;a=b", "/data%3blayers", "/data%00", "/data%", "/%zz"],
]


async def upstream(scope: Any, _: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Gatehouse]:
    async with serving(upstream) as url, gatehouse(settings, url) as house:
        yield house


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return settings_of(tmp_path, database_url, upstream_allow=["127.0.0.0/8"])


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[Gatehouse]:
    async with opened(settings) as house:
        yield house


async def at_every_entrance(house: Gatehouse, call: Call) -> dict[str, Said]:
    said = await asyncio.gather(*[entrance(house, call) for entrance in ENTRANCES.values()])
    return dict(zip(ENTRANCES, said, strict=True))


def statuses(said: dict[str, Said]) -> set[int]:
    for each in said.values():
        if each.status != 200:
            assert_refusal(each)
    return {each.status for each in said.values()}


def assert_refusal(said: Said) -> None:
    """It says what RFC 9457 and RFC 9110 ask of it."""
    answer = said.answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail"}
    assert answer.json()["status"] == answer.status_code
    assert answer.headers["x-request-id"]
    assert ("www-authenticate" in answer.headers) == (said.status == 401)
    assert (int(answer.headers.get("retry-after", 0)) > 0) == (said.status in {429, 503})


# ---------------------------------------------------------------- what depends on the call alone


async def table(house: Gatehouse, settings: Settings) -> list[tuple[int, str, Call]]:
    """The status, why, and the call."""
    other = await projects.create(house.owner, name="Other")
    head, claims, signature = house.token.split(".")
    bad_credentials = {
        "absent": "",
        "without a token": "Bearer",
        "malformed": "Bearer nonsense",
        "of another scheme": f"Basic {house.token}",
        "no scheme": house.token,
        "forged": f"Bearer {head}.{claims}.{signature[::-1]}",
        "unsigned": f"Bearer {head}.{claims}.",
        "of another gateway": f"Bearer {sign(Ed25519PrivateKey.generate(), {'kid': 'sig_1'}, {'jti': 'key_1.1'})}",
        "too long": f"Bearer {'x' * (LONGEST_TOKEN + 1)}",
        "of a session": f"Bearer {await session_token(house, settings)}",
    }
    hopeless = {
        "of another project": Call(project=other.id),
        "with a bad path": Call(path="//"),
        "with an upgrade": Call(headers=[("Upgrade", "h2c")]),
    }
    return [
        (200, "GET", Call()),
        (200, "HEAD", Call("HEAD", "/nodes/readings")),
        (200, "POST", Call("POST", "/nodes/readings/packages")),
        (200, "a query", Call(path="/data_layers?a=/../b;c")),
        (200, "a scheme in capitals", Call(credential=f"BEARER {house.token}")),
        *[(401, f"a key {why}", Call(credential=each)) for why, each in bad_credentials.items()],
        *[(401, f"no key, {why}", call._replace(credential="")) for why, call in hopeless.items()],
        (401, "two keys", Call(headers=[("Authorization", f"Bearer {house.token}")])),
        (404, "another's project", Call(project=other.id)),
        (404, "no project", Call(project="prj_none")),
        (404, "another's project, path aside", Call(project=other.id, path="//")),
        (403, "a method that isn't in the table", Call("DELETE", "/data_layers")),
        (403, "an unknown node to read packages of", Call(path="/nodes/unknown/packages")),
        (403, "an unknown node to look at", Call(path="/nodes/unknown")),
        (403, "an unknown node to send to", Call("POST", "/nodes/unknown/packages")),
        (403, "a node spelt otherwise", Call(path="/nodes/Readings")),
        *[(400, f"the path {path}", Call(path=path)) for path in BAD_PATHS],
        (405, "TRACE", Call("TRACE")),
        (501, "an upgrade", Call(headers=[("Upgrade", "h2c")])),
    ]


async def session_token(house: Gatehouse, settings: Settings) -> str:
    user, now = house.caller.require_user(), clock.now()
    session = await Session.create(user=user, created_at=now, expires_at=now + timedelta(hours=1))
    return assembled(settings).sessions.sign(session.id, user.id, session.created_at, session.expires_at)


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_each_entrance_says_what_the_table_says_and_counts_so(
    settings: Settings, database_url: str, entrance: str
) -> None:
    async with opened(settings) as house:
        expected = await table(house, settings)
        said = [(await ENTRANCES[entrance](house, call), why) for _, why, call in expected]
    for each, _ in said:
        if each.status != 200:
            assert_refusal(each)
    assert [(each.status, why) for each, why in said] == [(status, why) for status, why, _ in expected]
    quantities = Counter(status for status, _, _ in expected)
    async with connected(database_url):  # what was refused is written when the gateway stops, if not before
        counted = await house.counted()
    assert (counted.requests, counted.refused) == (quantities[200], quantities[403])
    assert counted.cost.decimal == quantities[200] * PRICE


async def test_no_answer_tells_whether_something_exists(house: Gatehouse) -> None:
    other = await projects.create(house.owner, name="Other")
    await projects.create_node(house.owner, other.id, name="Theirs", upstream_id="theirs")
    for alike in (
        [Call(project=other.id), Call(project="prj_none"), Call(project=other.id, path="/nodes/theirs")],
        [Call("DELETE", "/nodes/readings"), Call("POST", "/nodes/unknown/packages"), Call(path="/nodes/theirs")],
    ):
        for entrance in ENTRANCES.values():
            said = [(await entrance(house, call)).answer for call in alike]
            assert len({(answer.status_code, answer.content, told(answer.headers)) for answer in said}) == 1


def told(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers.items() if name not in {"date", "x-request-id"})


# ---------------------------------------------------------------- what became of the key

Fate = Callable[[Gatehouse], Awaitable[None]]


async def suspended(house: Gatehouse) -> None:
    await keys.suspend(house.owner, house.key.id)


async def revoked(house: Gatehouse) -> None:
    await keys.revoke(house.owner, house.key.id)


async def rotated_out(house: Gatehouse) -> None:
    await keys.rotate(house.caller, house.keyring, house.key.id, overlap_seconds=0)


async def holder_disabled(house: Gatehouse) -> None:
    await users.disable(GATEWAY, house.caller.require_user().id)


async def expired(house: Gatehouse) -> None:
    """Its key is another one, whose time is over by now."""
    expires_at = clock.now() + timedelta(seconds=0.5)
    request = await requests.create(await person("Ella"), house.template.id, "")
    await requests.approve(house.owner, house.keyring, request.id, expires_at)
    house.key = await IssuedKey.get(request_id=request.id)
    house.token = await keys.token(house.keyring, house.key)
    await asyncio.sleep((expires_at - clock.now()).total_seconds())


@pytest.mark.parametrize("fate", [suspended, revoked, rotated_out, holder_disabled, expired])
async def test_a_key_that_has_ended_is_refused_everywhere_for_nothing_and_its_owner_sees_how_often(
    settings: Settings, database_url: str, fate: Fate
) -> None:
    async with opened(settings) as house:
        assert statuses(await at_every_entrance(house, Call())) == {200}
        await fate(house)
        before = await house.counted()
        assert statuses(await at_every_entrance(house, Call())) == {401}
    async with connected(database_url):
        assert await house.counted() == replace(before, refused=len(ENTRANCES))


# ---------------------------------------------------------------- limits

TWO = {
    "second": LimitsWanted(calls_per_second=1, burst=2),
    "day": LimitsWanted(calls_per_day=2),
    "month": LimitsWanted(calls_per_month=2),
    "day-cost": LimitsWanted(cost_per_day=2 * PRICE),
    "month-cost": LimitsWanted(cost_per_month=2 * PRICE),
}


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """To rates no time goes by."""
    monkeypatch.setattr("gateway.plane.admission.time", SimpleNamespace(monotonic=lambda: 0.0, time_ns=time.time_ns))


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize("policy", TWO)
async def test_a_key_that_has_called_so_often_is_refused_everywhere_and_told_until_when(
    settings: Settings, database_url: str, policy: str
) -> None:
    async with opened(settings) as house:
        await templates.update(house.owner, house.template.id, {"limits": TWO[policy]})
        for left, entrance in ((1, "Envoy"), (0, "passed on")):
            allowed = await ENTRANCES[entrance](house, Call())
            assert allowed.status == 200
            assert_left(allowed, policy, left)
        refused = await at_every_entrance(house, Call())
    assert statuses(refused) == {429}
    for said in refused.values():
        assert_left(said, policy, 0)
    async with connected(database_url):
        counted = await house.counted()
    assert (counted.requests, counted.refused, counted.cost.decimal) == (2, len(ENTRANCES), 2 * PRICE)


def assert_left(said: Said, policy: str, left: int) -> None:
    if policy.endswith("cost"):  # money is no quota of the RateLimit fields
        assert "ratelimit" not in said.answer.headers
    else:
        assert said.answer.headers["ratelimit-policy"].startswith(f'"{policy}";q=2;w=')
        assert said.answer.headers["ratelimit"].startswith(f'"{policy}";r={left};t=')


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize("policy", TWO)
async def test_the_last_units_go_to_one_call_each_of_many_at_once_at_all_entrances(
    house: Gatehouse, policy: str
) -> None:
    await templates.update(house.owner, house.template.id, {"limits": TWO[policy]})
    said = await asyncio.gather(*[entrance(house, Call()) for entrance in islice(cycle(ENTRANCES.values()), 30)])
    assert Counter(each.status for each in said) == {200: 2, 429: 28}
    assert (await house.counted()).requests == 2


# ---------------------------------------------------------------- a database that goes and comes back


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_while_another_process_keeps_the_database_for_itself_calls_are_refused_and_not_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.database.BUSY_MILLISECONDS", 100)
    async with opened(settings) as house:
        with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite://"))) as other:
            other.execute("BEGIN IMMEDIATE")
            assert statuses(await at_every_entrance(house, Call())) == {503}
        assert statuses(await at_every_entrance(house, Call())) == {200}
        assert (await house.counted()).requests == len(ENTRANCES)


@pytest.mark.skipif("TESSERA_TEST_POSTGRES_URL" in os.environ, reason="the wire goes to a Unix socket")
@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
@pytest.mark.parametrize("take_away", [Wire.cut, Wire.hang])
async def test_while_the_database_is_away_calls_are_refused_and_not_counted_until_it_is_back(
    settings: Settings, take_away: Callable[[Wire], Awaitable[None]]
) -> None:
    """What isn't signed is told so; whether a suspended key was resumed can't be known."""
    wire = Wire(settings.database_url)
    await wire.mend()
    async with opened(settings.model_copy(update={"database_url": wire.url})) as house:
        suspended_key, token = await house.issue(await person("Sue"))
        await keys.suspend(house.owner, suspended_key.id)
        assert statuses(await at_every_entrance(house, Call())) == {200}
        await take_away(wire)
        assert statuses(await at_every_entrance(house, Call())) == {503}
        assert statuses(await at_every_entrance(house, Call(credential=f"Bearer {token}"))) == {503}
        assert statuses(await at_every_entrance(house, Call(credential="Bearer nonsense"))) == {401}
        await wire.cut()
        await wire.mend()
        calls = len(ENTRANCES) + await calls_until_let_in(house)
        assert (await house.counted()).requests == calls
    await wire.cut()


async def calls_until_let_in(house: Gatehouse) -> int:
    """How many calls were let in until each entrance let one in again."""
    let_in = 0
    async with asyncio.timeout(60):
        for entrance in ENTRANCES.values():
            while (await entrance(house, Call())).status != 200:  # noqa: ASYNC110  # only asking tells
                await asyncio.sleep(0.05)
            let_in += 1
    return let_in


# ---------------------------------------------------------------- stopping


class Dawdling:
    """A ledger that takes its time to say that something is written."""

    def __init__(self, real: Ledger) -> None:
        self._real = real
        self.dialect, self.count, self.close = real.dialect, real.count, real.close
        self.wrote, self.goes_on = asyncio.Event(), asyncio.Event()

    @property
    def connection(self) -> int:
        return self._real.connection

    async def run(self, transaction: Callable[[], Transaction[Any]]) -> Any:
        result = await self._real.run(transaction)
        self.wrote.set()
        await self.goes_on.wait()
        return result


async def test_a_gateway_that_stops_while_it_writes_refused_calls_counts_each_once(
    settings: Settings, database_url: str
) -> None:
    async with opened(settings) as house:
        pass
    async with connected(database_url):
        dawdling = Dawdling(ledger.opened(database_url))
        async with plane(database_url, SILENCE, dawdling) as here:
            here.meter.refuse(house.key.id)
            await dawdling.wrote.wait()
            asyncio.get_running_loop().call_later(0.2, dawdling.goes_on.set)
        assert (await house.counted()).refused == 1
