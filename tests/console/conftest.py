"""A Chromium for the tests of the console, and a gateway before which each has people of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browsing import Theatre, chromium, opened

expect.set_options(timeout=20_000)  # a busy machine is no failure


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests, each of which has contexts of its own."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def theatre(
    request: pytest.FixtureRequest, browser: Browser, database_url: str, tmp_path: Path
) -> AsyncIterator[Theatre]:
    """Where anybody may make an account, unless a test has it closed."""
    async with opened(browser, database_url, tmp_path, sign_up=getattr(request, "param", "open")) as theatre:
        yield theatre
