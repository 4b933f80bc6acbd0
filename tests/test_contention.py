"""What the database rolled back so that another may go on is begun anew, and done exactly once."""

import asyncio
from typing import Any

import asyncpg
import pytest
from tortoise.transactions import in_transaction

from gateway import contention, templates
from gateway.contention import ATTEMPTS
from gateway.database import connection
from gateway.errors import NotFound, Unavailable
from gateway.permissions import Permission
from models import Project, Template
from tests.world import owned_project, person, refused, role, unchanged

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)

LOCK = "SELECT id FROM projects WHERE id = $1 FOR UPDATE"


async def waiting() -> None:
    """Returns once somebody waits for a lock."""
    while not await connection().execute_query_dict("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110  # only asking tells
        await asyncio.sleep(0.01)


async def test_a_rule_that_a_deadlock_ends_is_done_once_nevertheless(database: str) -> None:
    """Another holds the project that the rule wants, and wants the one that it holds; the rule goes."""
    ada = await person("Ada")
    here, there = await owned_project(ada, "Here"), await owned_project(ada, "There")
    calling = await role(there, Permission.PROJECT_VIEW)
    other = await asyncpg.connect(database)
    await other.execute("SET deadlock_timeout = '60s'")  # so the rule's own connection finds the deadlock
    tries = 0

    async def act() -> str:
        nonlocal tries
        tries += 1
        async with in_transaction() as transaction:
            await transaction.execute_query(LOCK, [here.id])
            made = await templates.create(ada, there.id, role_id=calling.id, name="Basic")
            return made.id

    holding = other.transaction()
    await holding.start()
    await other.execute(LOCK, there.id)
    acting = asyncio.create_task(contention.begun_anew(act))
    async with asyncio.timeout(60):
        await waiting()
        await other.execute(LOCK, here.id)
    await holding.commit()
    id = await acting
    await other.close()
    assert tries > 1
    assert [made.id for made in await Template.all()] == [id]


@pytest.mark.parametrize("kind", [asyncpg.DeadlockDetectedError, asyncpg.SerializationError])
async def test_it_is_tried_a_few_times_and_then_refused(database: str, kind: type[Exception]) -> None:
    tries = 0

    async def act() -> None:
        nonlocal tries
        tries += 1
        async with in_transaction():
            await Project.create(name="Maps", name_folded="maps", currency="USD")
            raise kind

    async with refused(Unavailable):
        await contention.begun_anew(act)
    assert tries == ATTEMPTS


@pytest.mark.parametrize("error", [NotFound("-"), asyncpg.ConnectionDoesNotExistError(), TimeoutError()])
async def test_what_else_goes_wrong_is_not_tried_again(database: str, error: Exception) -> None:
    """Of a lost connection nobody knows whether it had committed."""
    tries: list[Any] = []

    async def act() -> None:
        tries.append(None)
        raise error

    async with unchanged():
        with pytest.raises(type(error)):
            await contention.begun_anew(act)
    assert len(tries) == 1


async def committed_one() -> None:
    async with in_transaction():
        await add_project()


async def add_project() -> None:
    await Project.create(name="Maps", name_folded="maps", currency="USD")


@pytest.mark.parametrize("change", [committed_one, add_project])
async def test_nothing_that_was_committed_is_done_a_second_time(database: str, change: Any) -> None:
    async def act() -> None:
        await change()
        raise asyncpg.DeadlockDetectedError

    with pytest.raises(Unavailable):
        await contention.begun_anew(act)
    assert await Project.all().count() == 1
