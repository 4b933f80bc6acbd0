"""A call with a key, through the gateway to the project's upstream and back."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import logs
from gateway.plane.passing import BodyNeverCame, BrokenOff, CallerTooSlow, NeverReached, UpstreamFailed, UpstreamTooSlow
from tests.gatehouse import Gatehouse, gatehouse, settings_of
from tests.serving import serving

NOWHERE = "http://127.0.0.1:9"  # the discard service, which nobody runs


async def echo(request: Request) -> Response:
    body = await request.body()
    seen = {"method": request.method, "target": str(request.url.path), "body": body.decode()}
    return JSONResponse({**seen, "headers": dict(request.headers)}, status_code=207)


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[Gatehouse]:
    upstream = Starlette(routes=[Route("/base/{path:path}", echo, methods=["GET", "POST", "PUT"])])
    settings = settings_of(tmp_path, database_url, upstream_allow=["127.0.0.0/8"])
    async with serving(upstream) as url, gatehouse(settings, f"{url}/base") as house:
        yield house


async def test_a_call_reaches_the_upstream_as_it_was_and_names_who_calls(house: Gatehouse) -> None:
    answer = await house.call("POST", "/nodes/readings/packages?data_layer_id=1", content=b"{}")
    assert answer.status_code == 207
    seen = answer.json()
    assert (seen["method"], seen["target"], seen["body"]) == ("POST", "/base/nodes/readings/packages", "{}")
    assert seen["headers"]["x-tessera-key"] == house.key.id
    assert "authorization" not in seen["headers"]
    assert answer.headers["x-request-id"] == seen["headers"]["x-request-id"]
    assert (await house.counted()).requests == 1


async def test_a_call_that_never_reached_its_upstream_is_not_counted(database_url: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, database_url, upstream_allow=["127.0.0.0/8"])
    async with gatehouse(settings, NOWHERE) as house:
        answer = await house.call()
        assert answer.status_code == 502
        assert (await house.counted()).requests == 0


@pytest.mark.parametrize(
    ("failure", "status", "requests"),
    [
        (NeverReached("refused"), 502, 0),
        (NeverReached("no connection in time", is_slow=True), 504, 0),
        (BodyNeverCame("the body stopped"), 408, 0),
        (CallerTooSlow("the body stopped"), 408, 1),
        (UpstreamFailed("garbage"), 502, 1),
        (UpstreamTooSlow("silence"), 504, 1),
    ],
    ids=repr,
)
async def test_a_call_without_an_answer_is_told_why_and_counts_where_the_upstream_was_reached(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int, requests: int
) -> None:
    async def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("gateway.plane.passing.Passing.pass_on", fail)
    answer = await house.call()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.headers.get("connection") == "close") is (status == 408)
    assert (await house.counted()).requests == requests


def test_a_fault_is_logged_with_its_traceback_and_an_answer_that_broke_off_is_none() -> None:
    for error, is_logged in ((RuntimeError("a fault"), True), (BrokenOff("the upstream closed"), False)):
        record = logging.LogRecord(
            "uvicorn.error", logging.ERROR, "", 0, "in the app", None, (type(error), error, None)
        )
        assert logs._is_news(record) is is_logged


async def test_a_refused_call_reaches_no_upstream_and_costs_nothing(house: Gatehouse) -> None:
    answer = await house.call("DELETE", "/nodes/readings")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await house.counted()).requests == 0


async def test_an_upgrade_is_not_passed_on(house: Gatehouse) -> None:
    assert (await house.call(headers={"Upgrade": "h2c"})).status_code == 501
