"""The pages of the console, as the gateway serves them to a browser."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from gateway import console
from gateway.app import create_app
from gateway.settings import Settings
from tests.serving import serving
from tests.success_table import SUCCESSES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "console" / "src"
SCRIPT = b"console.log(1);" * 100
BUILD = {
    "index.html": b"<!doctype html><title>Tessera</title>",
    "theme.js": b"1;",
    "assets/index-abc.js": SCRIPT,
    "assets/index-abc.css": b"body{}",
}
OWN = ["/", "/sign-in", "/sign-up", "/account", "/my-keys", "/projects", "/projects/prj_1", "/projects/prj_1/keys"]


@pytest.fixture
def build(tmp_path: Path) -> Path:
    for path, body in BUILD.items():
        file = tmp_path / "dist" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    return tmp_path / "dist"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=console.routes(folder))
    async with serving(app) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
        yield client


async def test_its_page_stands_at_each_of_its_paths_and_is_asked_for_each_time(build: Path) -> None:
    async with served(build) as client:
        for path in OWN:
            answer = await client.get(path)
            assert (answer.status_code, answer.content) == (200, BUILD["index.html"])
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert answer.headers["cache-control"] == "no-cache"


async def test_what_is_named_by_its_content_is_kept_for_good(build: Path) -> None:
    async with served(build) as client:
        script, other = await client.get("/assets/index-abc.js"), await client.get("/theme.js")
    assert script.content == SCRIPT
    assert "immutable" in script.headers["cache-control"]
    assert other.headers["cache-control"] == "no-cache"
    assert {each.headers["content-type"] for each in (script, other)} == {"text/javascript; charset=utf-8"}


async def test_what_a_browser_has_is_not_sent_again(build: Path) -> None:
    async with served(build) as client:
        etag = (await client.get("/")).headers["etag"]
        again = await client.get("/", headers={"If-None-Match": etag})
        other = await client.get("/", headers={"If-None-Match": 'W/"another"'})
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


async def test_it_is_compressed_for_who_can_read_that(build: Path) -> None:
    async with served(build) as client:
        path = "/assets/index-abc.js"
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})
        compressed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert plain.content == compressed.content == SCRIPT
    assert int(compressed.headers["content-length"]) < int(plain.headers["content-length"])
    assert plain.headers["vary"] == compressed.headers["vary"] == "Accept-Encoding"


async def test_there_is_nothing_beside_the_build(build: Path) -> None:
    (build.parent / "secret.key").write_text("secret")
    async with served(build) as client:
        for path in ("/secret.key", "/assets/..%2f..%2fsecret.key", "/assets/", "/assets", "/index.html", "/other"):
            assert (await client.get(path)).status_code == 404


async def test_a_gateway_without_it_says_so_at_its_paths(tmp_path: Path) -> None:
    async with served(tmp_path / "nowhere") as client:
        for path in OWN:
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "make setup" in answer.text
            assert answer.headers["cache-control"] == "no-store"


async def test_no_page_loads_from_elsewhere_nor_runs_what_stands_in_it(build: Path, tmp_path: Path) -> None:
    async with served(build) as built, served(tmp_path / "nowhere") as lacking:
        for answer in (await built.get("/"), await built.get("/assets/index-abc.js"), await lacking.get("/")):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert set(re.findall(r"https?:|\*|data:", policy)) == set()
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_it_stands_in_the_way_of_no_other_path_of_the_gateway(database_url: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=database_url, data_dir=tmp_path)  # type: ignore[call-arg]  # pydantic-settings takes it
    app = create_app(settings)
    async with serving(app, on_stop=app.state.stop) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
        for path, media_type in {
            "/healthz": "application/json",
            "/.well-known/jwks.json": "application/jwk-set+json",
            "/graphql?query={__typename}": "application/json",
            "/api/projects/prj_1/data_layers": "application/problem+json",
            "/authorize/prj_1": "application/problem+json",
            "/projectsx": "application/problem+json",
        }.items():
            answer = await client.get(path)
            assert answer.headers["content-type"].partition(";")[0] == media_type, path
        assert (await client.get("/projects/prj_1")).headers["content-type"].startswith("text/html")
        assert (await client.post("/projects/prj_1")).status_code == 405


def test_its_router_and_the_gateway_know_the_same_paths() -> None:
    router = (SOURCE / "router.ts").read_text()
    told = {path.split("/")[1] for path in re.findall(r'path: "(/[^":]*)', router)} - {""}
    served = {path.split("/")[1] for path in console.OWN_PATHS} - {""}
    assert told == served


def test_it_names_every_act_on_a_project_that_the_audit_log_tells() -> None:
    acts = set(
        re.findall(r'^  "(\w+\.\w+)",$', (SOURCE / "screens" / "audit-log" / "acts.ts").read_text(), re.MULTILINE)
    )
    texts = json.loads((SOURCE / "locales" / "en.json").read_text())["did"]
    named = {f"{noun}.{verb}" for noun, verbs in texts.items() for verb in verbs}
    told = {kind for success in SUCCESSES.values() for kind in success.events}
    of_nobodys_project = {kind for kind in told if kind.startswith(("session.", "user."))}
    assert told - of_nobodys_project <= acts
    assert acts == named
