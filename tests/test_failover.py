"""The gateway survives its database: another server takes its place, and nothing that was acknowledged is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from gateway.database import BadDatabaseUrl, connected, postgres_credentials
from gateway.migrating import migrate
from models import Project, UsageRecord
from tests.databases import own_postgres_server
from tests.gatehouse import Gatehouse, gatehouse, settings_of
from tests.stage import SECRET_KEY, session_token
from tests.standby import Pair, standing_by

CALLERS = 4
HEALED_WITHIN_SECONDS = 60  # on a machine with much else to do
SOME = 5


# ---------------------------------------------------------------- where it may be


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgres://ada@db/tessera", ["db"], [5432]),
        ("postgres://ada@a:5433,b/tessera", ["a", "b"], [5433, 5432]),
        ("postgres://ada@[::1]:5433,[fd00::2]/tessera", ["::1", "fd00::2"], [5433, 5432]),
        ("postgres://ada@/tessera?host=/run/a,/run/b", ["/run/a", "/run/b"], [5432, 5432]),
        ("postgres://ada@:5433/tessera?host=/run/a,/run/b", ["/run/a", "/run/b"], [5433, 5433]),
        ("postgres://ada@/tessera?host=/run/a,/run/b&port=1,2", ["/run/a", "/run/b"], [1, 2]),
    ],
)
def test_several_addresses_are_read_as_libpq_reads_them(url: str, hosts: list[str], ports: list[int]) -> None:
    credentials = postgres_credentials(url)
    assert (credentials["host"], credentials["port"], credentials["user"]) == (hosts, ports, "ada")
    assert credentials["database"] == "tessera"


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ada@a:b/tessera",
        "postgres://ada@::1/tessera",
        "postgres://ada@a:1:2/tessera",
        "postgres://ada@/tessera?host=/run/a,/run/b&port=1,2,3",
        "postgres://ada@db/tessera?sslmod=require",
        "postgres://ada@db/",
    ],
)
def test_addresses_that_can_t_be_are_refused_and_so_is_what_would_be_overlooked(url: str) -> None:
    with pytest.raises(BadDatabaseUrl):
        postgres_credentials(url)


# ---------------------------------------------------------------- who works meanwhile


@dataclass
class Work:
    """What was sent, and what of it was acknowledged."""

    house: Gatehouse
    session: str
    calls: Counter[int] = field(default_factory=Counter)
    """By their status."""
    projects: list[str] = field(default_factory=list)
    """Whose creation was acknowledged."""
    creations_refused: int = 0
    is_over: bool = False

    async def call(self) -> None:
        while not self.is_over:
            self.calls[(await self.house.authorize()).status_code] += 1

    async def create(self) -> None:
        """Each as often as it takes until it is acknowledged, under one idempotency key."""
        while not self.is_over:
            input = {"name": uuid4().hex, "idempotencyKey": uuid4().hex}
            while not await self._create(input):
                pass
            self.projects.append(input["name"])

    async def _create(self, input: dict[str, str]) -> bool:
        query = "mutation ($input: ProjectCreateInput!) { projectCreate(input: $input) { userErrors { message } } }"
        headers = {"Authorization": f"Bearer {self.session}"}
        body = {"query": query, "variables": {"input": input}}
        answer = await self.house.client.post("/graphql", json=body, headers=headers)
        if "errors" in answer.json():
            assert {error["extensions"]["code"] for error in answer.json()["errors"]} == {"UNAVAILABLE"}
            self.creations_refused += 1
            return False
        assert answer.json()["data"] == {"projectCreate": {"userErrors": []}}
        return True

    async def some_more(self) -> None:
        """Until calls and creations have gone well a few times more."""
        calls, projects = self.calls[200] + SOME, len(self.projects) + SOME
        async with asyncio.timeout(HEALED_WITHIN_SECONDS):
            while self.calls[200] < calls or len(self.projects) < projects:  # noqa: ASYNC110  # only looking tells
                await asyncio.sleep(0.02)

    async def some_refused(self) -> None:
        """Until a call and a creation have been refused."""
        calls, creations = self.calls[503], self.creations_refused
        async with asyncio.timeout(HEALED_WITHIN_SECONDS):
            while self.calls[503] <= calls or self.creations_refused <= creations:  # noqa: ASYNC110  # only looking tells
                await asyncio.sleep(0.02)


@pytest.fixture
def primary_url() -> Iterator[str]:
    with own_postgres_server() as url:
        yield url


@pytest.fixture
async def pair(primary_url: str) -> AsyncIterator[Pair]:
    async with standing_by(primary_url) as pair:
        await migrate(pair.url)
        yield pair


@asynccontextmanager
async def at_work(pair: Pair, folder: Path) -> AsyncIterator[Work]:
    """Calls and creations from before the block until after it. At the end nothing that was acknowledged is lost."""
    settings = settings_of(folder, pair.url, secret_key=SecretStr(SECRET_KEY))
    async with gatehouse(settings) as house:
        work = Work(house, await session_token(house.owner))
        async with asyncio.TaskGroup() as group:
            for doing in (work.create, *[work.call] * CALLERS):
                group.create_task(doing())
            await work.some_more()
            yield work
            await work.some_more()
            work.is_over = True
        assert work.calls.keys() <= {200, 503}
        assert work.calls[200] <= await UsageRecord.filter(key_id=house.key.id).count() <= work.calls.total()
        made: list[Any] = await Project.all().values_list("name", flat=True)
        assert set(Counter(made).values()) == {1}
        assert set(made) == {*work.projects, house.project.name}


async def test_after_a_failover_it_goes_on_by_itself_and_nothing_acknowledged_is_lost(
    pair: Pair, tmp_path: Path
) -> None:
    async with at_work(pair, tmp_path) as work:
        await pair.lose_primary()
        await work.some_refused()
        await pair.promote()


async def test_a_server_that_accepts_no_writes_any_longer_is_left_for_one_that_does(pair: Pair, tmp_path: Path) -> None:
    """It stands, and so do its connections: they are dropped for what is refused there.

    Whatever was begun before has ended by then: a commit would wait for a standby that is none any longer.
    """
    async with at_work(pair, tmp_path) as work:
        await pair.demote_primary()
        await work.some_refused()
        await pair.promote()


async def test_the_servers_may_be_named_in_any_order(pair: Pair) -> None:
    primary, standby = postgres_credentials(pair.url)["host"]
    async with connected(f"postgres://postgres@/postgres?host={standby},{primary}"):
        await Project.create(name="Maps", name_folded="maps", currency="USD")
        assert await Project.all().count() == 1
