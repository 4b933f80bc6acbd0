"""No call that was answered is lost and none is counted that was not sent, while the gateway is killed under load.

TESSERA_CRASH_ROUNDS=200 TESSERA_CRASH_CALLS=100000 is the long form; mortal.py says how to repeat a run.
"""

import asyncio
import logging
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from gateway import reconcile, roles, templates
from gateway.database import connected, is_sqlite
from gateway.limits import LimitsWanted
from gateway.signing import Keyring
from models import IssuedKey, UsageRecord
from tests import mortal
from tests.bench.load import Connection
from tests.gatehouse import CALLING, Offer, offer
from tests.mortal import SEED, Mortal, chance
from tests.passage import Bytes, Line, ok
from tests.test_reconcile import EVER
from tests.world import SEALER, person

ROUNDS = mortal.ROUNDS or 3
CALLS = int(os.environ.get("TESSERA_CRASH_CALLS", str(500 * ROUNDS)))
CALLERS = 16
PRICES = [("0.000001", "0.5"), ("0.1", "1"), ("999999.999999", "9999.9999"), ("0.333333", "0.3333")]
"""Each with the cost coefficient of its role."""
ENOUGH = LimitsWanted(calls_per_day=10**12)
LEAST_ANSWERED = 0.9
PATIENCE_SECONDS = 60
REFUSED_SECONDS = 0.05

log = logging.getLogger(__name__)


# ---------------------------------------------------------------- those who call


@dataclass
class Key:
    """One that is called with, and what is known of its calls outside the gateway."""

    issued: IssuedKey
    request: bytes
    cost: Decimal
    sent: int = 0
    answered: int = 0
    received: int = 0
    """By the upstream."""


class Calls(Connection):
    """One connection's: each is sent when the one before was answered whole, with 200, until there are enough."""

    def __init__(self, key: Key, crowd: "Crowd") -> None:
        super().__init__(key.request)
        self._key = key
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._count_sent()
        super().connection_made(transport)

    def on_headers_complete(self) -> None:
        self._crowd.statuses[self._parser.get_status_code()] += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.ended.done():
            return
        self._key.answered += 1
        if self._crowd.is_enough:
            self.close()
            return
        self._count_sent()
        super().on_message_complete()

    def _count_sent(self) -> None:
        """Before it is: nobody may have counted it earlier."""
        self._key.sent += 1
        self._crowd.look()


class Crowd:
    """Callers that call without a pause, each with one key, and come back whenever the gateway does."""

    def __init__(self, keys: list[Key], gateway: Mortal) -> None:
        self.keys = keys
        self.statuses: Counter[int] = Counter()
        self.is_enough = False
        self._gateway = gateway
        self._goal = 0
        self._is_reached = asyncio.Event()

    @property
    def sent(self) -> int:
        return sum(key.sent for key in self.keys)

    @property
    def answered(self) -> int:
        return sum(key.answered for key in self.keys)

    def look(self) -> None:
        if self.sent >= self._goal:
            self._is_reached.set()

    async def until_sent(self, calls: int) -> None:
        self._goal = calls
        self._is_reached.clear()
        self.look()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._is_reached.wait()

    async def call(self) -> None:
        """Returns when there is enough, and no call under way."""
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(self._call_with(self.keys[number % len(self.keys)]))

    async def _call_with(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        while not self.is_enough:
            host, port = urlsplit(await self._gateway.url()).netloc.split(":")
            with suppress(OSError):
                _, calls = await loop.create_connection(lambda: Calls(key, self), host, int(port))
                await self._until_ended(calls)

    async def _until_ended(self, calls: Calls) -> None:
        """Raises OSError for a connection that broke."""
        try:
            await calls.ended
        except RuntimeError:  # closed, or refused: whoever asks again at once is as good as a flood
            await asyncio.sleep(REFUSED_SECONDS)
        finally:
            calls.close()


# ---------------------------------------------------------------- what they call with


async def authorize_keys(offered: Offer, limits: LimitsWanted | None = None) -> list[Key]:
    target = f"/authorize/{offered.project.id}?from=original"
    fields = ("X-Original-Method: GET", "X-Original-URI: /data_layers")
    return await keys(offered, target, *fields, limits=limits)


async def keys(offered: Offer, target: str, *fields: str, limits: LimitsWanted | None = None) -> list[Key]:
    """One of each price, which asks for this target."""
    return [await priced_key(offered, *each, target, fields, limits) for each in PRICES]


async def priced_key(
    offered: Offer, price: str, coefficient: str, target: str, fields: tuple[str, ...], limits: LimitsWanted | None
) -> Key:
    owner, project_id = offered.owner, offered.project.id
    of = f"{price} x {coefficient}{' within quotas' if limits else ''}"
    role = await roles.create(owner, project_id, name=of, permissions=CALLING, cost_coefficient=Decimal(coefficient))
    template = await templates.create(
        owner, project_id, role_id=role.id, name=of, price_per_request=Decimal(price), limits=limits
    )
    issued, token = await offered.issue(await person(of, f"{of.replace(' ', '.')}@example.org"), template)
    lines = [f"GET {target} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {token}", *fields, "", ""]
    return Key(issued, "\r\n".join(lines).encode(), Decimal(price) * Decimal(coefficient))


# ---------------------------------------------------------------- the promise


async def test_every_call_that_was_answered_is_counted_however_often_the_gateway_is_killed(
    database_url: str, tmp_path: Path
) -> None:
    async with connected(database_url):
        offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"))
        all_keys = await authorize_keys(offered)
    crowd = await called_through_deaths(Mortal(database_url, tmp_path), all_keys, offered, database_url, ROUNDS)
    assert crowd.sent >= CALLS


async def test_every_call_that_reached_the_upstream_is_counted_however_often_the_gateway_is_killed(
    database_url: str, tmp_path: Path
) -> None:
    """Their keys have quotas, so that what counts them is several statements, not one."""
    by_id: dict[str, Key] = {}

    async def answer(line: Line) -> None:
        while True:
            by_id[key_id_in(await line.head())].received += 1
            await line.say(ok(b"[]"))

    async with Bytes.listening(answer) as upstream:
        async with connected(database_url):
            offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"), upstream.url)
            all_keys = await keys(offered, f"/api/projects/{offered.project.id}/data_layers", limits=ENOUGH)
        by_id |= {key.issued.id: key for key in all_keys}
        gateway = Mortal(database_url, tmp_path, upstream_allow="127.0.0.0/8")
        await called_through_deaths(gateway, all_keys, offered, database_url, (ROUNDS + 1) // 2)
    assert all(key.answered <= key.received for key in all_keys)


def key_id_in(head: bytes) -> str:
    [value] = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"x-tessera-key:")]
    return value.decode()


async def called_through_deaths(
    gateway: Mortal, all_keys: list[Key], offered: Offer, database_url: str, rounds: int
) -> Crowd:
    """The crowd, when it has called enough, and what was counted was right after each death."""
    log.warning("To repeat: TESSERA_CRASH_SEED=%d TESSERA_CRASH_ROUNDS=%d TESSERA_CRASH_CALLS=%d", SEED, ROUNDS, CALLS)
    crowd, lives = Crowd(all_keys, gateway), chance("lives")
    mean = CALLS / ROUNDS / (1 if is_sqlite(database_url) else 1.7)  # lives that are lived twice

    async def some_time() -> None:
        await crowd.until_sent(crowd.sent + int(lives.uniform(0.3, 1.6) * mean))
        await asyncio.sleep(lives.uniform(0, 0.02))

    calling = asyncio.create_task(crowd.call())
    for _ in range(rounds):
        await gateway.live_and_die(some_time)
        await assert_counted(all_keys, offered, database_url)
    async with gateway.alive():
        await crowd.until_sent(CALLS * rounds // ROUNDS)
        crowd.is_enough = True
        await calling
    await assert_counted(all_keys, offered, database_url)
    assert "sum of its parts" in await asyncio.to_thread(gateway.tessera.said, "usage", "reconcile")
    tell_what_happened(crowd, rounds)
    assert set(crowd.statuses) <= ({200} if is_sqlite(database_url) else {200, 503})
    assert sum(key.answered for key in all_keys) >= LEAST_ANSWERED * crowd.sent
    return crowd


async def assert_counted(all_keys: list[Key], offered: Offer, database_url: str) -> None:
    """Neither too few nor too many, by the records as by the totals, and to the last digit of their cost."""
    known = [max(key.answered, key.received) for key in all_keys]
    async with connected(database_url):
        records = [await UsageRecord.filter(key_id=key.issued.id).count() for key in all_keys]
        totals = [await offered.counted(key.issued) for key in all_keys]
        assert [str(difference) async for difference in reconcile.differences(EVER, lambda _: None)] == []
    for key, least, recorded, total in zip(all_keys, known, records, totals, strict=True):
        assert least <= recorded <= key.sent
        assert least <= total.requests <= key.sent
        assert (total.cost.decimal, total.refused) == (total.requests * key.cost, 0)


def tell_what_happened(crowd: Crowd, rounds: int) -> None:
    answered, received = (sum(getattr(key, what) for key in crowd.keys) for what in ("answered", "received"))
    sentence = "%d deaths; of %d calls sent %d were answered, %d reached the upstream; statuses %s"
    log.warning(sentence, rounds, crowd.sent, answered, received, dict(crowd.statuses))
