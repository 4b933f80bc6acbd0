"""The databases that the other tests stand on."""

import pytest
from tortoise.exceptions import OperationalError

from gateway.database import connection, is_sqlite
from gateway.migrating import pending_migrations
from models import EventHead, User


async def add_user() -> None:
    ada = "ada@example.org"
    await User.create(email=ada, email_folded=ada, name="Ada", name_folded="ada", password_hash="-")


@pytest.mark.parametrize("_", [1, 2])
async def test_each_test_has_a_migrated_and_empty_database(database: str, _: int) -> None:
    assert await User.all().count() == 0
    assert await EventHead.all().count() == 1
    assert await pending_migrations() == []
    await add_user()


async def test_a_database_is_of_the_dialect_that_the_test_is_named_for(database: str, dialect: str) -> None:
    assert User._meta.db.capabilities.dialect == dialect
    assert is_sqlite(database) == (dialect == "sqlite")


async def test_what_a_reading_statement_fails_with_is_told_as_the_orm_tells_it(database: str) -> None:
    await connection().execute_query("SELECT 1")  # by which the pool is there
    with pytest.raises(OperationalError):
        await connection().execute_query("SELECT nothing FROM nowhere")
