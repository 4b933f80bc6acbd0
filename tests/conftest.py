"""Fixtures that tests of every noun share."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import httpcore2
import pytest
import structlog
from hypothesis import settings

from gateway.database import connected
from gateway.events import Place
from models import Event
from tests.databases import Databases, PostgresDatabases, SqliteDatabases, postgres_server, quick_folder

DIALECTS = ("sqlite", "postgres")
LONGEST = {
    f"test_{name}.py"
    for name in ("crashes", "graceful_stop", "meter_crashes", "revocation_by_workers", "worker_crashes", "workers")
}
"""Where a test may take half a minute. They begin first: at the end there would be nothing left to do beside them."""


# A busy machine is no failure. What else holds, on CI for one, stays as hypothesis chose it.
settings.register_profile("unhurried", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("unhurried")


def only_this_machine(event: str, arguments: tuple[object, ...]) -> None:
    """Refuses connections to any other."""
    if event != "socket.connect" or not isinstance(arguments[1], tuple):  # a Unix socket's address is a path
        return
    host = arguments[1][0]
    if host != "localhost" and not ip_address(host).is_loopback:
        raise ConnectionRefusedError(f"a test would reach {host}")


def pytest_configure() -> None:
    sys.addaudithook(only_this_machine)
    *others, _ = structlog.get_config()["processors"]
    # Its own draws each frame with its variables, which takes seconds for a traceback that is seldom read.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])
    gc.set_threshold(50_000, 10, 10)  # as the gateway has it where it serves


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DIALECTS, help="run what needs a database on this one alone")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
    wanted = config.getoption("--database")
    if not wanted:
        return
    others = [item for item in items if dialect_of(item) not in {None, wanted}]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def pytest_collection_finish() -> None:
    gc.freeze()  # thousands of tests, which nobody need look through again and again


def dialect_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("dialect") if callspec else None


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """For all of httpx2's clients, each of which would read every authority first; nobody here is asked over TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on: it runs once for each.

    `@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)` keeps a test to one.
    """
    return str(request.param)


@pytest.fixture(scope="session")
def sqlite_databases() -> Iterator[SqliteDatabases]:
    with TemporaryDirectory(prefix="tessera-sqlite-", dir=quick_folder()) as folder:
        yield SqliteDatabases(Path(folder))


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


@pytest.fixture
def can_be_read(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """While it isn't set, what reads the log waits for an answer; all else of the database goes on."""
    flows, look = asyncio.Event(), Place.next
    flows.set()

    async def wait_and_look(place: Place) -> list[Event]:
        await flows.wait()
        return await look(place)

    monkeypatch.setattr(Place, "next", wait_and_look)
    return flows
