"""The application as a whole: it starts, answers, refuses, notices what its database does, and stops."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from gateway import clock, housekeeping, keys, logs
from gateway.app import assembled, create_app, running
from gateway.database import connected, connection, possible_losses
from gateway.errors import Unavailable
from gateway.events import EventLog
from gateway.migrating import OutOfDate
from gateway.permissions import Permission
from gateway.settings import Settings
from models import Event, IssuedKey, KeyState, Session
from tests.serving import serving
from tests.wire import Wire
from tests.world import issued_key, owned_project, person, role, template

PARTNER = "https://partner.example"


def settings_of(tmp_path: Path, **values: Any) -> Settings:
    """Whatever `.env` the developer has."""
    return Settings(_env_file=None, **{"data_dir": tmp_path / "data", **values})  # type: ignore[call-arg]  # pydantic-settings takes it


@asynccontextmanager
async def gateway_of(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(settings)
    async with serving(app, on_stop=app.state.stop) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
        yield client


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return settings_of(tmp_path, database_url=database_url, allowed_origins=[PARTNER])


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with gateway_of(settings) as client:
        yield client


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    problem = dict(response.json())
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == response.status_code
    return problem


# ---------------------------------------------------------------- answers


async def test_it_is_alive_and_ready(client: httpx2.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"


async def test_it_shows_its_public_keys_for_a_short_while(settings: Settings) -> None:
    async with gateway_of(settings) as client:
        answer = await client.get("/.well-known/jwks.json")
        assert answer.headers["cache-control"] == "public, max-age=60"
        [key] = answer.json()["keys"]
    async with gateway_of(settings) as client:
        assert (await client.get("/.well-known/jwks.json")).json()["keys"] == [key]


async def test_graphql_is_asked_through_it(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/graphql", json={"query": "{ viewer { user { id } } }"})
    assert answer.json() == {"data": {"viewer": None}}


async def test_the_answer_carries_the_callers_own_request_id_or_a_new_one(client: httpx2.AsyncClient) -> None:
    for path in ("/healthz", "/graphql", "/nothing"):
        assert (await client.get(path, headers={"X-Request-Id": "my-own"})).headers["x-request-id"] == "my-own"
        made = (await client.get(path, headers={"X-Request-Id": "two words"})).headers.get_list("x-request-id")
        assert len(made) == 1
        assert made[0] not in {"", "two words"}


async def test_every_answer_tells_the_time_once(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> list[str]:
        raise RuntimeError("out of order")

    monkeypatch.setattr("gateway.migrating.pending_migrations", fail)
    for path, status in [
        ("/healthz", 200),
        ("/readyz", 500),
        ("/nothing", 404),
        ("/graphql?query={__typename}", 200),
        ("/oauth/revoke", 405),
        ("/api/projects/prj_1/", 401),
        ("/authorize/prj_1?from=original", 401),
    ]:
        answer = await client.get(path)
        assert answer.status_code == status
        [date] = answer.headers.get_list("date")
        assert abs(parsedate_to_datetime(date) - clock.now()) < timedelta(minutes=1)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("path", ["/nothing", "/graphql/", "/healthz/", "//healthz", "/.well-known/"])
async def test_there_is_nothing_at_other_paths_and_none_is_repaired(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(f"{str(client.base_url).rstrip('/')}{path}")
    assert answer.status_code == 404
    assert problem_of(answer)["title"] == "Not Found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_a_wrong_method_is_told_the_right_ones(client: httpx2.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/.well-known/jwks.json")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    problem_of(answer)


async def test_a_fault_is_told_as_one_without_its_inside(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> list[str]:
        raise RuntimeError("the database's password is 12345")

    monkeypatch.setattr("gateway.migrating.pending_migrations", fail)
    answer = await client.get("/readyz")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in problem_of(answer)["detail"]
    assert "12345" not in answer.text


# ---------------------------------------------------------------- pages of other origins

PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-tessera-csrf"}


async def test_pages_of_allowed_origins_may_call_with_credentials(client: httpx2.AsyncClient) -> None:
    preflight = await client.options("/graphql", headers={"Origin": PARTNER, **PREFLIGHT})
    assert preflight.status_code == 200
    answer = await client.post("/graphql", json={"query": "{ __typename }"}, headers={"Origin": PARTNER})
    for response in (preflight, answer):
        assert response.headers["access-control-allow-origin"] == PARTNER
        assert response.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "https://partner.example.evil.example", "null"])
async def test_pages_of_other_origins_may_not(client: httpx2.AsyncClient, origin: str) -> None:
    preflight = await client.options("/graphql", headers={"Origin": origin, **PREFLIGHT})
    assert preflight.status_code == 400
    problem_of(preflight)
    answer = await client.get("/healthz", headers={"Origin": origin})
    for response in (preflight, answer):
        assert "access-control-allow-origin" not in response.headers


async def test_without_allowed_origins_no_page_of_another_may(tmp_path: Path) -> None:
    async with gateway_of(settings_of(tmp_path)) as client:
        answer = await client.options("/graphql", headers={"Origin": PARTNER, **PREFLIGHT})
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers


# ---------------------------------------------------------------- starting


async def test_on_sqlite_it_makes_what_it_needs(tmp_path: Path) -> None:
    async with gateway_of(settings_of(tmp_path)) as client:
        assert (await client.get("/readyz")).status_code == 200
    assert {path.name for path in (tmp_path / "data").iterdir()} >= {"tessera.db", "secret.key"}


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_on_postgresql_it_refuses_another_schema_with_the_command_to_run(settings: Settings) -> None:
    async with connected(settings.where_database()):
        await connection().execute_script("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(OutOfDate, match="call `tessera migrate` first"):
        async with running(assembled(settings)):
            pass


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_it_says_what_can_be_lost(settings: Settings) -> None:
    async with connected(settings.where_database()):
        name = (await connection().execute_query_dict("SELECT current_database()"))[0]["current_database"]
        await connection().execute_script(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    with capture_logs() as entries:
        async with running(assembled(settings)):
            pass
    [warning] = [entry for entry in entries if entry["event"] == "calls_and_changes_can_be_lost"]
    assert any("synchronous_commit is off" in loss for loss in warning["losses"])


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_nothing_can_be_lost_on_sqlite(database: str) -> None:
    assert await possible_losses() == []
    assert (await connection().execute_query_dict("PRAGMA synchronous"))[0]["synchronous"] == 2


# ---------------------------------------------------------------- a database that goes and comes back


@pytest.mark.skipif("TESSERA_TEST_POSTGRES_URL" in os.environ, reason="the wire goes to a Unix socket")
@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
@pytest.mark.parametrize("take_away", [Wire.cut, Wire.hang])
async def test_without_its_database_it_is_unavailable_until_that_is_back(
    settings: Settings, take_away: Callable[[Wire], Awaitable[None]]
) -> None:
    """Who holds a token is told to come again: the token may be good."""
    wire = Wire(settings.database_url)
    await wire.mend()
    settings = settings.model_copy(update={"database_url": wire.url})
    async with gateway_of(settings) as client:
        headers = {"Authorization": f"Bearer {await session_token(settings)}"}
        await take_away(wire)
        form = {"token": headers["Authorization"].split()[1]}
        for answer in (
            await until_ready_is(client, 503),
            await ask_who(client, headers),
            await client.post("/oauth/introspect", data=form, headers=headers),
            await client.post("/oauth/revoke", data=form),
        ):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
        assert (await client.get("/healthz")).status_code == 200
        assert problem_of(await client.get("/.well-known/jwks.json"))["status"] == 503
        await wire.cut()
        await wire.mend()
        await until_ready_is(client, 200)
        assert (await ask_who(client, headers)).json()["data"]["viewer"]["user"]["name"] == "Ada"
    await wire.cut()


async def until_ready_is(client: httpx2.AsyncClient, status: int) -> httpx2.Response:
    async with asyncio.timeout(60):
        while (answer := await client.get("/readyz")).status_code != status:  # noqa: ASYNC110  # only asking tells
            await asyncio.sleep(0.05)
    return answer


async def ask_who(client: httpx2.AsyncClient, headers: dict[str, str]) -> httpx2.Response:
    return await client.post("/graphql", json={"query": "{ viewer { user { name } } }"}, headers=headers)


async def session_token(settings: Settings) -> str:
    user, now = (await person("Ada")).require_user(), clock.now()
    session = await Session.create(user=user, created_at=now, expires_at=now + timedelta(hours=1))
    return assembled(settings).sessions.sign(session.id, user.id, session.created_at, session.expires_at)


# ---------------------------------------------------------------- what time does


def is_expiry(event: Event) -> bool:
    return event.kind == "key.expired"


async def test_a_key_that_expires_is_told_once_and_soon(client: httpx2.AsyncClient) -> None:
    bo = await person("Bo")
    project = await owned_project(await person("Ada"))
    basic = await template(project, await role(project, Permission.PROJECT_VIEW))
    key = await issued_key(basic, bo, expires_at=clock.now() + timedelta(seconds=0.5))
    async with asyncio.timeout(60), EventLog().running() as log, aclosing(log.follow(0, is_expiry)) as expiries:
        event = await anext(expiries)
    assert (event.object_id, event.user_id) == (key.id, bo.user_id)
    assert await keys.expire_due() == 0
    assert (await IssuedKey.get(id=key.id)).state is KeyState.EXPIRED


async def test_housekeeping_goes_on_after_failures_and_logs_the_first_of_a_row() -> None:
    outcomes = iter([Unavailable("down"), Unavailable("still down"), None, None])
    finished = asyncio.Event()

    async def sweep() -> None:
        outcome = next(outcomes, StopAsyncIteration)
        if outcome is StopAsyncIteration:
            finished.set()
            await asyncio.Event().wait()
        if isinstance(outcome, Exception):
            raise outcome

    with capture_logs() as entries:
        task = asyncio.create_task(housekeeping._repeat(sweep, 0))
        await asyncio.wait_for(finished.wait(), 5)
        task.cancel()
    assert [entry["event"] for entry in entries] == ["housekeeping_failed", "housekeeping_resumed"]


# ---------------------------------------------------------------- the log


def test_nothing_that_looks_like_a_token_is_logged() -> None:
    token = "eyJ0eXAiOiJ0ZXNzZXJhLWtleStqd3QifQ.eyJzdWIiOiJ1c3JfMDEifQ.c2ln-bmF0_dXJl"
    event = {"event": f"bad {token}!", "exception": f"Error: '{token}'", "path": f"/x/{token}", "status": 200}
    assert logs.without_tokens(None, "", event) == {
        "event": "bad [token]!",
        "exception": "Error: '[token]'",
        "path": "/x/[token]",
        "status": 200,
    }
