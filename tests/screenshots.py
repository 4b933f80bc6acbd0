"""Takes the pictures of docs/console.md anew: `make screenshots`.

It starts a demo of its own and signs in as its people.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

from gateway.demo import ASKER, OWNER, PASSWORD
from tests.browsing import CHROMIUM

FOLDER = Path(__file__).parent.parent / "docs" / "console"
TESSERA = Path(sys.executable).with_name("tessera")


@contextmanager
def demo() -> Iterator[str]:
    """The URL of a fresh one, on a port that is free."""
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "TESSERA_DATA_DIR": folder, "TESSERA_SIGN_UP": "open"}
        command = [str(TESSERA), "demo", "--port", "0"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout
            told = (re.search(r"Tessera is at (\S+)", line.decode()) for line in process.stdout)
            try:
                yield next(found[1] for found in told if found)
            finally:
                process.send_signal(signal.SIGINT)


def signed_in(browser: Browser, url: str, email: str, **look: str) -> Page:
    page = browser.new_page(
        base_url=url,
        viewport={"width": 1200, "height": 780},
        locale="en-GB",
        reduced_motion="reduce",
        color_scheme="dark" if look.get("theme") == "dark" else "light",
    )
    page.goto("/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Projects").wait_for()
    return page


def take(page: Page, name: str, shown: str, tab: str | None = None) -> None:
    """A picture of the screen, or of the one behind a tab, once a text is shown and nothing is waited for."""
    if tab:
        page.get_by_role("link", name=tab, exact=True).click()
    page.get_by_text(shown).first.wait_for()
    page.locator(".skeleton").first.wait_for(state="detached")
    page.screenshot(path=FOLDER / f"{name}.png")


def owners_screens(browser: Browser, url: str) -> None:
    page = signed_in(browser, url, OWNER)
    take(page, "projects", "1 project")
    page.get_by_role("link", name="Weather service").click()
    take(page, "api-keys", "For my thesis.", tab="API keys")
    take(page, "issued-keys", "1-2 of 2", tab="Issued keys")
    take(page, "roles", "Cost coefficient", tab="Roles")
    page.get_by_role("article", name="caller").get_by_role("button", name="Change permissions").click()
    take(page, "permissions", "On single nodes")
    page.keyboard.press("Escape")
    take(page, "members", "2 members", tab="Members")
    take(page, "settings", "Readings", tab="Settings")
    page.get_by_role("button", name="New rule").click()
    page.get_by_role("dialog").get_by_label("Path").fill("/forecast/{node}")
    take(page, "route-rule", "Which permission a call needs")
    page.keyboard.press("Escape")
    take(page, "audit-log", "today at", tab="Audit log")
    dark = signed_in(browser, url, OWNER, theme="dark")
    dark.get_by_role("link", name="Weather service").click()
    take(dark, "api-keys-dark", "For my thesis.", tab="API keys")


def askers_screens(browser: Browser, url: str) -> None:
    page = signed_in(browser, url, ASKER)
    page.get_by_role("link", name="My keys").click()
    take(page, "my-keys", "1 key")
    page.goto("/account")
    take(page, "account", "Sessions")
    page.goto("/projects")
    page.get_by_role("link", name="Weather service").click()
    take(page, "about-project", "Received today")
    page.goto("/projects")
    page.get_by_role("link", name="Ulrich's client").click()
    page.get_by_role("link", name="Secrets").click()
    page.get_by_role("button", name="Add an API key").click()
    page.get_by_label("Prefix").fill("weather")
    page.get_by_role("dialog").get_by_role("button", name="Add").click()
    take(page, "secrets", "from Weather service / Basic")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        stranger = browser.new_page(base_url=url, viewport={"width": 1200, "height": 780}, locale="en-GB")
        stranger.goto("/sign-in")
        take(stranger, "sign-in", "Password")
        stranger.get_by_role("link", name="Create an account").click()
        take(stranger, "sign-up", "Your name")
        owners_screens(browser, url)
        askers_screens(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
