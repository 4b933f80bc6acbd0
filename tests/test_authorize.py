"""The decision alone, as a proxy asks for it at /authorize/{project}; test_data_plane.py has what it decides."""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from gateway import projects
from tests.gatehouse import Gatehouse, gatehouse, settings_of

FAMILIES = {
    "original": ("X-Original-Method", "X-Original-URI"),
    "forwarded": ("X-Forwarded-Method", "X-Forwarded-Uri"),
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]
IDENTITY = ("key", "user", "project", "role")

Fields = Sequence[tuple[str, str]]


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[Gatehouse]:
    async with gatehouse(settings_of(tmp_path, database_url)) as house:
        yield house


async def asked(house: Gatehouse, rest: str, *fields: tuple[str, str], method: str = "GET") -> httpx2.Response:
    """What is said to a request with this after /authorize/{project}, as it stands."""
    credential = ("Authorization", f"Bearer {house.token}")
    target = f"/authorize/{house.project.id}{rest}".encode()
    request = house.client.build_request(method, "/", headers=[credential, *fields], extensions={"target": target})
    return await house.client.send(request)


def told(family: str, method: str, target: str) -> Fields:
    return list(zip(FAMILIES[family], (method, target), strict=True))


# ---------------------------------------------------------------- yes


async def test_a_good_key_is_let_through_named_counted_and_priced(house: Gatehouse) -> None:
    answer = await house.authorize(headers={"X-Request-Id": "mine"})
    assert (answer.status_code, answer.content) == (200, b"")
    named = {name: answer.headers[f"x-tessera-{name}"] for name in IDENTITY}
    key = house.key
    assert named == {"key": key.id, "user": key.user_id, "project": key.project_id, "role": key.role_id}
    assert answer.headers["x-request-id"] == "mine"
    counted = await house.counted()
    assert (counted.requests, counted.cost.decimal) == (1, Decimal("0.0000005"))


@pytest.mark.parametrize("given", ["!", "x" * 128, "~a-Z_0{}"])
async def test_a_request_id_is_kept(house: Gatehouse, given: str) -> None:
    for answer in (
        await house.authorize(headers={"X-Request-Id": given}),
        await house.authorize(token=None, headers={"X-Request-Id": given}),
    ):
        assert answer.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", [[], [""], ["x" * 129], ["two words"], ["a\ttab"], ["one", "two"]])
async def test_a_request_id_is_made_where_none_can_be_kept(house: Gatehouse, given: list[str]) -> None:
    fields = [*told("original", "GET", "/data_layers"), *[("X-Request-Id", each) for each in given]]
    made = set()
    for _ in range(2):
        [request_id] = (await asked(house, "?from=original", *fields)).headers.get_list("x-request-id")
        made.add(request_id)
    assert len(made) == 2
    assert made.isdisjoint({*given, ""})


# ---------------------------------------------------------------- in which fields


@pytest.mark.parametrize(("family", "other"), [("original", "forwarded"), ("forwarded", "original")])
async def test_only_the_family_that_is_named_is_read(house: Gatehouse, family: str, other: str) -> None:
    allowed, refused = ("GET", "/data_layers"), ("DELETE", "/api/projects/prj_other/data_layers")
    yes = await asked(house, f"?from={family}", *told(family, *allowed), *told(other, *refused))
    no = await asked(house, f"?from={family}", *told(family, *refused), *told(other, *allowed))
    assert (yes.status_code, no.status_code) == (200, 404)


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_field_that_is_absent_or_comes_twice_is_told(house: Gatehouse, family: str) -> None:
    fields = told(family, "GET", "/data_layers")
    for name, value in fields:
        others = [each for each in fields if each[0] != name]
        for wrong in ([], [(name, "")], [(name, value), (name, value)], [(name.replace("-", "_"), value)]):
            answer = await asked(house, f"?from={family}", *others, *wrong)
            assert answer.status_code == 400
            assert name.lower() in answer.json()["detail"].lower()
    assert (await house.counted()).requests == 0


@pytest.mark.parametrize("query", ["", "?", "?from=", "?from=both", "?FROM=original", "?deny=403"])
async def test_where_the_call_is_told_must_be_said(house: Gatehouse, query: str) -> None:
    fields = [*told("original", "GET", "/data_layers"), *told("forwarded", "GET", "/data_layers")]
    answer = await asked(house, query, *fields)
    assert answer.headers.get("x-tessera-status", str(answer.status_code)) == "400"
    assert "?from=original or ?from=forwarded" in answer.json()["detail"]


async def test_the_proxy_may_ask_with_any_method(house: Gatehouse) -> None:
    for method in METHODS:
        answer = await asked(house, "?from=original", *told("original", "GET", "/data_layers"), method=method)
        assert answer.status_code == 200
        answer = await asked(house, "?from=original", *told("original", "DELETE", "/data_layers"), method=method)
        assert answer.status_code == 403
        assert bool(answer.content) == (method != "HEAD")
    assert (await house.counted()).requests == len(METHODS)


async def test_a_method_is_read_as_it_is_told(house: Gatehouse) -> None:
    statuses = {"get": 403, "CONNECT": 405, "TRACE": 405, "BREW": 403, "POST": 403}
    found = {method: (await house.authorize(method)).status_code for method in statuses}
    assert found == statuses


async def test_a_body_that_a_proxy_sends_along_is_no_matter(house: Gatehouse) -> None:
    fields = dict([*told("original", "GET", "/data_layers"), ("Authorization", f"Bearer {house.token}")])
    for _ in range(2):
        path = f"/authorize/{house.project.id}?from=original"
        assert (await house.client.post(path, headers=fields, content=b"x" * 1_000_000)).status_code == 200


# ---------------------------------------------------------------- which project, which path


@pytest.mark.parametrize("prefix", ["/api/projects/", "/%61pi/projects/", "/api/%70rojects/"])
async def test_a_target_must_name_the_project_of_the_path_whatever_the_token_says(
    house: Gatehouse, prefix: str
) -> None:
    other = await projects.create(house.owner, name="Other")
    own = house.project.id
    statuses = {
        (own, own): 200,
        (own, other.id): 404,
        (own, "prj_none"): 404,
        (other.id, own): 404,
        (other.id, other.id): 404,
    }
    found = {
        (asked_of, named): (await house.authorize(target=f"{prefix}{named}/data_layers", project=asked_of)).status_code
        for asked_of, named in statuses
    }
    assert found == statuses


async def test_any_other_target_is_read_from_its_root(house: Gatehouse) -> None:
    statuses = {
        ("POST", "/nodes/readings/packages"): 200,
        ("POST", "/v1/nodes/readings/packages"): 403,
        ("GET", "/"): 200,
        ("GET", "/api/data_layers"): 200,
        ("GET", "/api/projects"): 403,  # which some reader could take for the beginning of a project's path
        ("GET", f"/API/Projects/{house.project.id}/data_layers"): 403,
    }
    found = {call: (await house.authorize(*call)).status_code for call in statuses}
    assert found == statuses


# ---------------------------------------------------------------- as Envoy asks


async def test_with_the_target_in_the_path_the_method_is_the_one_received(house: Gatehouse) -> None:
    statuses = {
        ("GET", "/data_layers"): 200,
        ("HEAD", "/data_layers"): 200,
        ("DELETE", "/data_layers"): 403,
        ("POST", "/nodes/readings/packages"): 200,
        ("PUT", "/nodes/readings/packages"): 403,
        ("POST", f"/api/projects/{house.project.id}/nodes/readings/packages"): 200,
        ("POST", "/api/projects/prj_none/nodes/readings/packages"): 404,
        ("GET", "/"): 200,
        ("GET", "//"): 400,
        ("GET", "//data_layers"): 400,
        ("GET", "/../../api/projects/prj_none/data_layers"): 400,
    }
    fields = [*told("original", "GET", "/data_layers"), *told("forwarded", "GET", "/data_layers")]
    found = {
        (method, path): (await asked(house, path, *fields, method=method)).status_code for method, path in statuses
    }
    assert found == statuses


async def test_with_the_target_in_the_path_the_query_is_the_calls_own(house: Gatehouse) -> None:
    fields = told("original", "DELETE", "/")
    assert (await asked(house, "/data_layers?from=original&deny=403", *fields)).status_code == 200
    refused = await asked(house, "/data%2Flayers?from=original&deny=403", *fields)
    assert refused.status_code == 400
    assert "x-tessera-status" not in refused.headers
