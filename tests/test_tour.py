"""The tour of a key's life: it passes where the gateway works, and fails where any step of it doesn't."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import demo, tour, weather
from gateway.app import create_app
from gateway.database import connected
from gateway.passwords import Passwords
from gateway.settings import Settings
from gateway.signing import Keyring
from tests.serving import serving
from tests.stage import SECRET_KEY
from tests.test_cli import Tessera
from tests.world import SEALER

OVER = "The tour is over: everything works."
LIVING_TOURS = "SELECT name FROM projects WHERE name LIKE 'Tour%' AND deleted_at IS NULL"


async def walked(tessera: Tessera, url: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(tessera.run, "tour", "--url", url, *options)


async def test_the_tour_passes_on_a_demo_and_again_after_it_was_restarted(tmp_path: Path) -> None:
    tessera = Tessera(tmp_path)
    for _ in range(2):
        with tessera.serving(command="demo") as served:
            done = await walked(tessera, await served.url())
            assert (done.returncode, done.stderr) == (0, "")
            *steps, last = done.stdout.splitlines()
            assert last == OVER
            assert len(steps) > len(tour.STEPS)
            assert any("the output node has its forecast, fair" in step for step in steps)
            assert all(step.startswith("- ") for step in steps)
            served.stop()
    assert tessera.rows(LIVING_TOURS) == []
    assert tessera.rows("SELECT count(*) FROM users") == [(len(demo.PEOPLE),)]


@asynccontextmanager
async def demonstrating(
    database_url: str, folder: Path, instead: Mapping[str, Response] | None = None, upstream_allow: Sequence[str] = ()
) -> AsyncIterator[str]:
    """A gateway with the demo's people, which answers at these paths with something else instead."""
    settings = Settings(
        database_url=database_url,
        data_dir=folder,
        secret_key=SecretStr(SECRET_KEY),
        upstream_allow=list(upstream_allow),
    )
    app = create_app(settings)
    async with connected(database_url):
        await demo.seed(Passwords(), Keyring(SEALER, settings.public_url))

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = (instead or {}).get(scope.get("path", ""), app)
        await answer(scope, receive, send)

    async with serving(broken, app.state.stop) as url:
        yield url


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_the_tour_passes_on_postgresql(database_url: str, tmp_path: Path) -> None:
    async with (
        serving(weather.create_weather()) as upstream_url,
        demonstrating(database_url, tmp_path, upstream_allow=[f"127.0.0.1/32:{urlsplit(upstream_url).port}"]) as url,
    ):
        done = await walked(Tessera(tmp_path), url, "--upstream", upstream_url)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", OVER)
    assert f"- the owner's service stands at {upstream_url}" in done.stdout.splitlines()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_without_a_service_behind_the_gateway_the_tour_says_so_and_calls_none(
    database_url: str, tmp_path: Path
) -> None:
    async with demonstrating(database_url, tmp_path) as url:
        done = await walked(Tessera(tmp_path), url)
    assert (done.returncode, done.stderr) == (0, "")
    *steps, last = done.stdout.splitlines()
    assert last == OVER
    assert sum("no service stands behind this gateway" in step for step in steps) == 1
    assert any("0 requests, 0 USD" in step for step in steps)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_service_that_can_t_be_called_fails_the_tour_in_a_sentence(database_url: str, tmp_path: Path) -> None:
    async with demonstrating(database_url, tmp_path) as url:
        done = await walked(Tessera(tmp_path), url, "--upstream", "http://127.0.0.1:1")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "/nodes/readings/packages answers 502, not 201: " in line


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_step_that_fails_ends_the_tour_with_what_was_wrong(database_url: str, tmp_path: Path) -> None:
    nothing = JSONResponse({"keys": []})
    async with demonstrating(database_url, tmp_path, {"/.well-known/jwks.json": nothing}) as url:
        done = await walked(Tessera(tmp_path), url)
    assert done.returncode == 1
    assert done.stderr == "tessera: the JWKS lacks the key that signed the token\n"
    assert done.stdout.splitlines()[-1] == "- the user's tile turned CONFIRMED"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("instead", "complaint"),
    [
        ({"/graphql": PlainTextResponse("Hello.", 502)}, "answers 502 and no GraphQL"),
        ({"/graphql": JSONResponse([])}, "answers 200 and no GraphQL"),
        ({"/graphql": JSONResponse({"message": "Hello."})}, "answers 200 and no GraphQL"),
    ],
)
async def test_what_is_no_gateway_is_told_in_a_sentence(
    database_url: str, tmp_path: Path, instead: dict[str, Response], complaint: str
) -> None:
    async with demonstrating(database_url, tmp_path, instead) as url:
        done = await walked(Tessera(tmp_path), url)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert complaint in line


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_wrong_password_is_told_in_a_sentence(database_url: str, tmp_path: Path) -> None:
    async with demonstrating(database_url, tmp_path) as url:
        done = await walked(Tessera(tmp_path), url, "--password", "wrong battery")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tessera: The e-mail or the password is wrong.\n"


async def test_where_nobody_listens_the_tour_fails_in_a_sentence(tmp_path: Path) -> None:
    done = await walked(Tessera(tmp_path), "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("tessera: http://127.0.0.1:1 can't be reached: ")
