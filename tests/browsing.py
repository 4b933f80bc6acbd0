"""People before a real Chromium, at the built console of a real gateway.

async with chromium() as browser, opened(browser, database_url, tmp_path) as theatre:
    ada = await theatre.visitor(theatre.ada, "/projects")
    await ada.page.get_by_role("link", name="Maps").click()
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, WebSocketRoute, async_playwright
from pydantic import SecretStr

from gateway import clock, console, counting
from gateway.app import create_app
from gateway.permissions import Actor, Permission
from gateway.settings import Settings
from models import IssuedKey, Project, ProjectNode, Role, Template
from schema.transport.credentials import COOKIE
from tests.programs import place_of
from tests.serving import serving
from tests.stage import SECRET_KEY, session_token
from tests.world import issued_key, node, owned_project, person, role, template

CHROMIUM = place_of("chromium") or place_of("google-chrome")
AXE = Path(__file__).parent.parent / "console" / "node_modules" / "axe-core" / "axe.min.js"
LACKING = [
    *(() if CHROMIUM else ("Chromium is not here; on Debian: apt-get install chromium",)),
    *(() if console.build_in(console.where()) else ("the console is not built; `make setup` builds it where npm is",)),
]
NEEDS_BROWSER = pytest.mark.skipif(bool(LACKING) and os.environ.get("CI") != "true", reason="; ".join(LACKING))
TROUBLES = {"error", "warning"}
VIOLATIONS = """async ([within, chosen]) => {
    const found = await axe.run(within, chosen);
    return found.violations.flatMap((each) => each.nodes.map((at) => `${each.id}: ${at.html}`));
}"""
"""Told apart in the page: all that axe-core looked at is a thousand times as long."""


@dataclass
class Line:
    """The socket of a page, which a test can cut."""

    is_cut: bool = False
    _open: list[WebSocketRoute] = field(default_factory=list)

    async def laid(self, context: BrowserContext) -> None:
        await context.route_web_socket("**/graphql", self._connect)

    async def cut(self) -> None:
        self.is_cut = True
        for route in self._open:
            await route.close(code=1012)
        self._open.clear()

    def mend(self) -> None:
        self.is_cut = False

    async def _connect(self, route: WebSocketRoute) -> None:
        if self.is_cut:
            await route.close(code=1012)
        else:
            route.connect_to_server()
            self._open.append(route)


@dataclass
class Visitor:
    """Somebody at a page, and what the browser found wrong with it."""

    page: Page
    troubles: list[str]

    async def violations(self, within: str = "html") -> list[str]:
        """Of the Web Content Accessibility Guidelines, as axe-core finds them by all its rules."""
        if not await self.page.evaluate("() => 'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        return list(await self.page.evaluate(VIOLATIONS, [within, {"resultTypes": ["violations"]}]))


@dataclass
class Theatre:
    """A gateway with Ada's project on it, which Bo may see; and a browser."""

    url: str
    browser: Browser
    ada: Actor
    bo: Actor
    project: Project
    seeing: Role
    readings: ProjectNode
    basic: Template
    visitors: list[Visitor] = field(default_factory=list)

    async def visitor(self, who: Actor | None, path: str, line: Line | None = None, **browser: Any) -> Visitor:
        """Signed in as `who`, on a line that can be cut if it is given; with settings of Playwright's besides."""
        context = await self.browser.new_context(
            base_url=self.url,
            permissions=["clipboard-read", "clipboard-write"],
            **{"locale": "en-GB", "reduced_motion": "reduce", **browser},
        )
        context.set_default_timeout(20_000)
        if who is not None:
            token = await session_token(who, issuer=self.url)
            await context.add_cookies(
                [{"name": COOKIE, "value": token, "url": self.url, "httpOnly": True, "sameSite": "Strict"}]
            )
        if line:
            await line.laid(context)
        visitor = Visitor(await context.new_page(), [])
        visitor.page.on("pageerror", lambda error: visitor.troubles.append(str(error)))
        visitor.page.on("console", lambda said: visitor.troubles.append(said.text) if said.type in TROUBLES else None)
        self.visitors.append(visitor)
        await visitor.page.goto(path)
        return visitor


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        yield browser


@asynccontextmanager
async def opened(browser: Browser, database_url: str, folder: Path, sign_up: str = "open") -> AsyncIterator[Theatre]:
    """Fails where a browser complains: of a script's fault, or of what the Content-Security-Policy forbids."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    where: dict[str, Any] = {"data_dir": folder / "data", "database_url": database_url, "public_url": url}
    open_to: dict[str, Any] = {"sign_up": sign_up, "upstream_allow": ["127.0.0.1/32"]}
    app = create_app(Settings(_env_file=None, secret_key=SecretStr(SECRET_KEY), **where, **open_to))  # type: ignore[call-arg]  # pydantic-settings takes _env_file
    async with serving(app, on_stop=app.state.stop, bound=listener):
        ada, bo = await person("Ada"), await person("Bo")
        project = await owned_project(ada)
        seeing = await role(project, Permission.PROJECT_VIEW, name="everyone", is_public=True)
        theatre = Theatre(
            url, browser, ada, bo, project, seeing, await node(project, "Readings"), await template(project, seeing)
        )
        try:
            yield theatre
        finally:
            for visitor in theatre.visitors:
                await visitor.page.context.close()
        troubles = [trouble for visitor in theatre.visitors for trouble in visitor.troubles]
        assert troubles == [], troubles


def tile(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


def button(inside: Page | Locator, name: str) -> Locator:
    return inside.get_by_role("button", name=name)


async def edit(control: Locator, text: str) -> None:
    await control.fill(text)
    await control.press("Enter")


async def eventually(read: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Waits for what is stored, where a page shows a change before the gateway has made it."""
    for _ in range(300):
        if await read() == wanted:
            return
        await asyncio.sleep(0.1)
    assert await read() == wanted


async def opens(theatre: Theatre, token: str) -> bool:
    """Whether the gateway takes the token for a key."""
    query = {"query": "{ viewer { apiKey { id } } }"}
    async with httpx2.AsyncClient(base_url=theatre.url, headers={"Authorization": f"Bearer {token}"}) as http:
        answer = (await http.post("/graphql", json=query)).json()
    return bool(answer["data"]["viewer"]["apiKey"])


async def use(theatre: Theatre, calls: dict[str, int]) -> list[IssuedKey]:
    """Issues a key to each of these people, and has it called so often, a dime each."""
    issued = [await issued_key(theatre.basic, await person(name)) for name in calls]
    called_at = clock.now() - timedelta(hours=1)
    await counting.record(
        [
            counting.Call(key.id, called_at, Decimal("0.1"))
            for key, quantity in zip(issued, calls.values(), strict=True)
            for _ in range(quantity)
        ]
    )
    return issued
