"""GraphQL over HTTP, on a small schema and a real server."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from schema.transport.limits import Limits
from tests.toy import ORIGIN, PARTNER, Toy, serving_toy

GRAPHQL_RESPONSE = "application/graphql-response+json"
URQL = f"{GRAPHQL_RESPONSE}, application/graphql+json, application/json, text/event-stream, multipart/mixed"
AUDITS = Path(__file__).parent / "audits"
COOKIE = {"Cookie": "tessera_session=good"}
PAGE = {"Origin": ORIGIN, "X-Tessera-CSRF": "1"}


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
async def client(toy: Toy) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        serving_toy(toy, Limits(body_bytes=2000)) as url,
        httpx2.AsyncClient(base_url=url.removesuffix("/graphql")) as client,
    ):
        yield client


async def ask(
    client: httpx2.AsyncClient, query: str, headers: Mapping[str, str] | None = None, **members: Any
) -> httpx2.Response:
    return await client.post(
        "/graphql", json={"query": query, **members}, headers={"Accept": GRAPHQL_RESPONSE, **(headers or {})}
    )


def error_of(response: httpx2.Response) -> dict[str, Any]:
    """The only error, which must carry the request's id."""
    [error] = response.json()["errors"]
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    return dict(error)


def code_of(response: httpx2.Response) -> str:
    return str(error_of(response)["extensions"]["code"])


# ---------------------------------------------------------------- what is asked


def run_audits(url: str) -> list[dict[str, str]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    assert node
    assert npm
    if not (AUDITS / "node_modules").exists():
        subprocess.run([npm, "ci", "--no-fund", "--no-audit"], cwd=AUDITS, check=True, capture_output=True)
    run = subprocess.run([node, "audit.js", url], cwd=AUDITS, check=True, capture_output=True)
    return list(json.loads(run.stdout))


@pytest.mark.skipif(
    not shutil.which("node") and os.environ.get("CI") != "true", reason="Node runs the audits, and is not here"
)
async def test_all_61_audits_of_graphql_http_pass(client: httpx2.AsyncClient) -> None:
    results = await asyncio.to_thread(run_audits, str(client.base_url.join("/graphql")))
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == 61


async def test_a_query_is_answered_by_post_and_by_get(client: httpx2.AsyncClient) -> None:
    query = "query($name: String!) { hello(name: $name) }"
    by_post = await ask(client, query, variables={"name": "Ann"})
    by_get = await client.get("/graphql", params={"query": query, "variables": '{"name": "Ann"}'})
    assert by_post.json() == by_get.json() == {"data": {"hello": "Hello, Ann!"}}


async def test_a_mutation_by_get_is_405_and_does_nothing(client: httpx2.AsyncClient) -> None:
    response = await client.get("/graphql", params={"query": "mutation { signIn }"})
    assert (response.status_code, response.headers["allow"], code_of(response)) == (405, "POST", "BAD_INPUT")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
async def test_other_methods_are_405(client: httpx2.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("accept", ["application/json", GRAPHQL_RESPONSE, URQL, "*/*"])
async def test_a_subscription_by_plain_post_is_400_and_says_what_to_use(
    client: httpx2.AsyncClient, toy: Toy, accept: str
) -> None:
    response = await ask(client, "subscription { ticks }", {"Accept": accept})
    assert response.status_code == 400
    assert "WebSocket" in error_of(response)["message"]
    assert "text/event-stream" in error_of(response)["message"]
    assert toy.open_generators == 0


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("text/plain", '{"query": "{ hello }"}', 415, "BAD_INPUT"),
        ("application/x-www-form-urlencoded", "query={hello}", 415, "BAD_INPUT"),
        ("multipart/form-data; boundary=x", "--x--", 415, "BAD_INPUT"),
        ("application/json; charset=utf-16", '{"query": "{ hello }"}', 415, "BAD_INPUT"),
        ("application/json", '{"query": "{ hello }', 400, "BAD_INPUT"),
        ("application/json", "[" * 1500, 400, "BAD_INPUT"),
        ("application/json", '{"query": "{ hello }", "variables": NaN}', 400, "BAD_INPUT"),
        ("application/json", b'{"query": "\xff"}', 400, "BAD_INPUT"),
        ("application/json", '[{"query": "{ hello }"}]', 400, "BAD_INPUT"),
        ("application/json", '"{ hello }"', 400, "BAD_INPUT"),
        ("application/json", '{"query": "{ hello }", "variables": "{}"}', 400, "BAD_INPUT"),
        ("application/json", '{"query": "{ hello }", "operationName": 1}', 400, "BAD_INPUT"),
        ("application/json", " " * 2001, 413, "LIMIT_EXCEEDED"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_json(
    client: httpx2.AsyncClient, content_type: str, body: str | bytes, status: int, code: str
) -> None:
    response = await client.post("/graphql", content=body, headers={"Content-Type": content_type})
    assert (response.status_code, code_of(response)) == (status, code)
    assert "data" not in response.json()


async def test_a_body_without_a_declared_length_is_cut_off_at_the_limit(client: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * 1000

    response = await client.post("/graphql", content=endless(), headers={"Content-Type": "application/json"})
    assert (response.status_code, code_of(response)) == (413, "LIMIT_EXCEEDED")


@pytest.mark.parametrize(
    ("accept", "status", "media_type"),
    [
        ("application/json", 200, "application/json"),
        (f"application/json;q=0.5, {GRAPHQL_RESPONSE}", 400, GRAPHQL_RESPONSE),
        (f"{GRAPHQL_RESPONSE};q=0.5, application/json", 200, "application/json"),
        (URQL, 400, GRAPHQL_RESPONSE),
        ("application/*", 200, "application/json"),
        ("image/png, */*;q=0.1", 200, "application/json"),
        ("image/png", 406, "application/json"),
        ("application/json;q=0", 406, "application/json"),
    ],
)
async def test_a_faulty_query_is_answered_in_the_form_that_the_client_prefers(
    client: httpx2.AsyncClient, accept: str, status: int, media_type: str
) -> None:
    response = await ask(client, "{ nothing }", {"Accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (status, media_type)
    assert "data" not in response.json()


async def test_of_several_operations_the_named_one_runs_and_an_unnamed_choice_is_refused(
    client: httpx2.AsyncClient,
) -> None:
    two = 'query A { hello } query B { hello(name: "B") }'
    assert (await ask(client, two, operationName="B")).json() == {"data": {"hello": "Hello, B!"}}
    for name in (None, "C", ""):
        response = await ask(client, two, operationName=name)
        assert (response.status_code, code_of(response)) == (400, "BAD_INPUT")


# ---------------------------------------------------------------- how errors are told


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("{ forbidden }", "NOT_FOUND", "Not found."),
        ("{ unavailable }", "UNAVAILABLE", "Not now."),
        ("{ boom }", "INTERNAL", "Internal error"),
        ("{ tooBig }", "INTERNAL", "Internal error"),
        ('{ at(instant: "noon") }', "BAD_INPUT", None),
        ("{", "BAD_INPUT", None),
        ("{ nothing }", "BAD_INPUT", None),
        ("query($name: String!) { hello(name: $name) }", "BAD_INPUT", None),
    ],
)
async def test_each_error_carries_a_code_and_the_requests_id(
    client: httpx2.AsyncClient, query: str, code: str, message: str | None
) -> None:
    response = await ask(client, query)
    error = error_of(response)
    assert error["extensions"]["code"] == code
    assert message in {None, error["message"]}


async def test_a_variable_that_cannot_be_its_type_is_the_clients_mistake(client: httpx2.AsyncClient) -> None:
    query = "query($at: DateTime!, $name: String = null) { at(instant: $at) hello(name: $name) }"
    assert code_of(await ask(client, query, variables={"at": "noon"})) == "BAD_INPUT"
    assert code_of(await ask(client, query, variables={"at": "2026-01-01T00:00:00Z", "name": None})) == "BAD_INPUT"


async def test_a_field_that_fails_leaves_its_siblings_their_data(client: httpx2.AsyncClient) -> None:
    response = await ask(client, "{ box { name fails } }")
    assert response.status_code == 200
    assert response.json()["data"] == {"box": {"name": "box", "fails": None}}
    assert error_of(response)["path"] == ["box", "fails"]


async def test_a_fault_is_logged_with_its_cause_under_the_id_that_the_answer_carries(
    client: httpx2.AsyncClient,
) -> None:
    with capture_logs() as logs:
        response = await ask(client, "{ boom }", {"X-Request-Id": "my-id"})
    assert "password" not in response.text
    [entry] = logs
    assert (entry["request_id"], entry["path"], entry["log_level"]) == ("my-id", ["boom"], "error")
    assert isinstance(entry["exc_info"], RuntimeError)


async def test_what_a_client_got_wrong_is_not_logged(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        for query in ("{", "{ nothing }", "{ forbidden }", 'mutation { signIn(name: "x") }'):
            await ask(client, query)
    assert logs == []
    assert caplog.records == []


@pytest.mark.parametrize("given", ["abc", "~" * 128])
async def test_a_request_id_that_is_visible_ascii_is_kept(client: httpx2.AsyncClient, given: str) -> None:
    response = await ask(client, "{ hello }", {"X-Request-Id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "~" * 129, "\u00e9"])
async def test_any_other_request_id_is_replaced(client: httpx2.AsyncClient, given: str) -> None:
    response = await client.post("/graphql", json={"query": "{ hello }"}, headers=[(b"X-Request-Id", given.encode())])
    assert response.headers["x-request-id"].isalnum()


# ---------------------------------------------------------------- who is asking


async def test_a_bearer_token_names_the_viewer(client: httpx2.AsyncClient) -> None:
    assert (await ask(client, "{ viewer }")).json() == {"data": {"viewer": "anonymous"}}
    response = await ask(client, "{ viewer }", {"Authorization": "bearer good"})
    assert response.json() == {"data": {"viewer": "good"}}


@pytest.mark.parametrize("authorization", ["Bearer bad", "Bearer", "Basic Z29vZA==", "good", ""])
async def test_a_bad_token_is_401_and_never_anonymous(client: httpx2.AsyncClient, authorization: str) -> None:
    response = await ask(client, "{ viewer }", {"Authorization": authorization})
    assert (response.status_code, code_of(response)) == (401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "data" not in response.json()


async def test_a_bad_cookie_is_401_and_is_taken_back(client: httpx2.AsyncClient) -> None:
    response = await ask(client, "{ viewer }", {"Cookie": "tessera_session=bad", **PAGE})
    assert (response.status_code, code_of(response)) == (401, "UNAUTHENTICATED")
    assert "Max-Age=0" in response.headers["set-cookie"]


async def test_what_only_reads_and_once_is_told_to_be_a_query(client: httpx2.AsyncClient, toy: Toy) -> None:
    await ask(client, "{ hello }")
    await client.get("/graphql", params={"query": "{ hello }"})
    await ask(client, "mutation { signOut }")
    await ask(client, "{ hello }", {"Accept": "text/event-stream"})
    await ask(client, "subscription { ticks(first: 1) }", {"Accept": "text/event-stream"})
    await ask(client, "{")
    assert [call.is_query for call in toy.contexts] == [True, True, False, False, False, False]


async def test_while_nobody_can_be_told_apart_the_answer_is_503(client: httpx2.AsyncClient, toy: Toy) -> None:
    toy.is_available = False
    response = await ask(client, "{ hello }")
    assert (response.status_code, code_of(response)) == (503, "UNAVAILABLE")
    assert "retry-after" in response.headers


@pytest.mark.parametrize("origin", [ORIGIN, PARTNER])
async def test_the_cookie_serves_pages_of_our_origin_and_of_allowed_ones(
    client: httpx2.AsyncClient, origin: str
) -> None:
    response = await ask(client, "{ viewer }", {**COOKIE, **PAGE, "Origin": origin})
    assert response.json() == {"data": {"viewer": "good"}}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Tessera-CSRF": "1"},
        {"Origin": ORIGIN},
        {"Origin": ORIGIN, "X-Tessera-CSRF": ""},
        {"Origin": "https://stranger.example", "X-Tessera-CSRF": "1"},
        {"Origin": "null", "X-Tessera-CSRF": "1"},
        {"Sec-Fetch-Site": "cross-site", "X-Tessera-CSRF": "1"},
    ],
)
async def test_the_cookie_is_403_without_proof_of_the_page(
    client: httpx2.AsyncClient, toy: Toy, headers: dict[str, str]
) -> None:
    response = await ask(client, "mutation { signOut }", {**COOKIE, **headers})
    assert (response.status_code, code_of(response)) == (403, "BAD_INPUT")
    assert toy.contexts == []


async def test_a_get_with_the_cookie_needs_the_origin_alone(client: httpx2.AsyncClient) -> None:
    for headers in ({"Origin": ORIGIN}, {"Sec-Fetch-Site": "same-origin"}):
        response = await client.get("/graphql", params={"query": "{ viewer }"}, headers={**COOKIE, **headers})
        assert response.json() == {"data": {"viewer": "good"}}
    assert (await client.get("/graphql", params={"query": "{ viewer }"}, headers=COOKIE)).status_code == 403


async def test_a_cookie_beside_a_bearer_token_is_400(client: httpx2.AsyncClient) -> None:
    response = await ask(client, "{ viewer }", {**COOKIE, **PAGE, "Authorization": "Bearer good"})
    assert (response.status_code, code_of(response)) == (400, "BAD_INPUT")


async def test_a_mutation_sets_and_clears_the_cookie(client: httpx2.AsyncClient) -> None:
    signed_in = await ask(client, "mutation { signIn }")
    assert signed_in.headers["set-cookie"] == (
        "tessera_session=good; Path=/; HttpOnly; SameSite=Strict; Expires=Tue, 01 Jan 2030 00:00:00 GMT; Secure"
    )
    signed_out = await ask(client, "mutation { signOut }", {**COOKIE, **PAGE})
    assert signed_out.headers["set-cookie"] == "tessera_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure"


async def test_the_cookie_is_secure_where_the_public_url_is_https_alone(toy: Toy) -> None:
    async with serving_toy(toy, public_url="http://127.0.0.1:8000") as url, httpx2.AsyncClient() as client:
        response = await client.post(url, json={"query": "mutation { signIn }"})
        assert "HttpOnly" in response.headers["set-cookie"]
        assert "Secure" not in response.headers["set-cookie"]


# ---------------------------------------------------------------- the page


async def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere(client: httpx2.AsyncClient) -> None:
    response = await client.get("/graphql", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", **COOKIE})
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not [word for word in ("http://", "https://", "src=", "href=", "@import", "url(") if word in response.text]


async def test_a_browser_that_asks_a_query_gets_its_answer(client: httpx2.AsyncClient) -> None:
    response = await client.get("/graphql", params={"query": "{ hello }"}, headers={"Accept": "text/html,*/*;q=0.8"})
    assert response.json() == {"data": {"hello": "Hello, world!"}}
