"""Fixtures that tests of every noun share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.database import connected
from tests.databases import Databases, PostgresDatabases, SqliteDatabases, postgres_server

DIALECTS = ("sqlite", "postgres")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DIALECTS, help="run what needs a database on this one alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--database")
    if not wanted:
        return
    others = [item for item in items if dialect_of(item) not in {None, wanted}]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def dialect_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("dialect") if callspec else None


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on: it runs once for each.

    `@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)` keeps a test to one.
    """
    return str(request.param)


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[PostgresDatabases]:
    with postgres_server() as url:
        databases = PostgresDatabases(url)
        yield databases
        databases.close()


@pytest.fixture
def databases(dialect: str, request: pytest.FixtureRequest) -> Databases:
    """Of the test's dialect; nothing of the other is started."""
    found: Databases = request.getfixturevalue(f"{dialect}_databases")
    return found


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A migrated, empty database of the test's own, to which nothing is connected: for tests that start a gateway."""
    async with databases.fresh() as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[str]:
    """A migrated, empty database of the test's own that the models read and write; its URL."""
    async with connected(database_url):
        yield database_url
