"""A disk that is full refuses calls and changes, loses none that was answered, and is no trouble once it has room."""

import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import httpx2
import pytest
from tortoise.transactions import in_transaction

from gateway import reconcile
from gateway.clock import now
from gateway.database import connected
from gateway.signing import Keyring
from models import Project, User
from tests.gatehouse import Gatehouse, offer
from tests.stage import SECRET_KEY, session_token
from tests.test_cli import Served, Tessera
from tests.world import SEALER, person

ROOM = 500_000
RENAME = """
    mutation ($id: ID!, $name: String!) {
        projectUpdate(input: {projectId: $id, name: $name}) { userErrors { code } }
    }
"""
DONE: tuple[Any, None] = ({"projectUpdate": {"userErrors": []}}, None)
READ = "query ($id: ID!) { project(id: $id) { name } }"


@asynccontextmanager
async def served_house(database_url: str, folder: Path) -> AsyncIterator[tuple[Served, Gatehouse]]:
    """A gateway in a process of its own."""
    async with connected(database_url):
        offered = await offer(Keyring(SEALER, "http://127.0.0.1:8000"))
        owner = {"Authorization": f"Bearer {await session_token(offered.owner)}"}
    with Tessera(folder, database_url=database_url, secret_key=SECRET_KEY).serving() as served:
        url = await served.url()
        async with httpx2.AsyncClient(base_url=url, timeout=30, trust_env=False, headers=owner) as client:
            yield served, Gatehouse(**vars(offered), url=url, client=client)


@contextmanager
def full_disk(served: Served, database: Path) -> Iterator[None]:
    """The system refuses to make a file of the process's larger than this, as it does where a disk has no room."""
    process, limit = served.process.pid, resource.RLIMIT_FSIZE
    size = database.with_name(f"{database.name}-wal").stat().st_size
    before = resource.prlimit(process, limit)
    resource.prlimit(process, limit, (size + ROOM, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, limit, before)


async def told(house: Gatehouse, query: str, **variables: str) -> tuple[Any, str | None]:
    """The data, and the code of the error if there is one."""
    asked = {"query": query, "variables": {"id": house.project.id, **variables}}
    answer = (await house.client.post("/graphql", json=asked)).json()
    [error] = answer.get("errors") or [None]
    return answer["data"], error and error["extensions"]["code"]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_full_disk_refuses_calls_and_changes_and_loses_none_that_was_answered(
    database_url: str, tmp_path: Path
) -> None:
    async with served_house(database_url, tmp_path) as (served, house):
        assert await told(house, RENAME, name="Maps 0") == DONE
        with full_disk(served, Path(database_url.removeprefix("sqlite://"))):
            answered = 0
            while (call := await house.authorize()).status_code == 200:
                answered += 1
            assert (call.status_code, call.headers["retry-after"]) == (503, "1")
            renamed = 1
            while (said := await told(house, RENAME, name=f"Maps {renamed}")) == DONE:
                renamed += 1
            assert said == (None, "UNAVAILABLE")
            assert await told(house, READ) == ({"project": {"name": f"Maps {renamed - 1}"}}, None)
        assert (await house.authorize()).status_code == 200
        assert await told(house, RENAME, name="Roomy") == DONE
    async with connected(database_url):
        assert (await house.counted()).requests == answered + 1
        assert [str(each) async for each in reconcile.differences(now() - timedelta(days=2), lambda _: None)] == []
        assert (await Project.get(id=house.project.id)).name == "Roomy"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_nobody_reads_what_could_not_be_committed(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: aiosqlite.Connection) -> None:
        raise sqlite3.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(aiosqlite.Connection, "commit", full)
        with pytest.raises(sqlite3.OperationalError):
            async with in_transaction():
                await person("Ada")
    assert await User.all().count() == 0
