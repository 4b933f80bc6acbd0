"""The demo's service, called as a program calls it: without a gateway, over a real socket."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from gateway import weather
from tests.serving import serving

CALM = {"temperature": 10}
Held = list[Callable[[], None]]


@pytest.fixture
def held() -> Held:
    """The forecasts that are still to be computed; each is, when it is called."""
    return []


@pytest.fixture
async def http(held: Held) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        serving(weather.create_weather(held.append)) as url,
        httpx2.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


async def posted(http: httpx2.AsyncClient, *packages: Any, **where: Any) -> list[dict[str, Any]]:
    answer = await http.post("/nodes/readings/packages", json={"packages": packages}, params=where)
    assert answer.status_code == 201, answer.text
    return list(answer.json()["packages"])


async def found(http: httpx2.AsyncClient, node: str = "forecasts", body: Any = None, **where: Any) -> Any:
    answer = await http.post(f"/nodes/{node}/packages/search", params=where, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def put(http: httpx2.AsyncClient, data: bytes) -> httpx2.Response:
    return await http.put(f"/objects/{hashlib.sha256(data).hexdigest()}", content=data)


def detail_of(answer: httpx2.Response, status: int) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    return str(answer.json()["detail"])


# ---------------------------------------------------------------- forecasts


async def test_a_forecast_follows_its_reading_a_moment_later(http: httpx2.AsyncClient, held: Held) -> None:
    [reading] = await posted(http, {"label": "Kyiv", "fields": {"temperature": 11.5, "pressure": 1023.25, "by": "me"}})
    assert reading["fields"] == {"temperature": 11.5, "pressure": 1023.25, "by": "me"}
    assert (await found(http))["items"] == []

    held.pop()()

    [forecast] = (await found(http))["items"]
    assert forecast["fields"] == {"reading": reading["id"], "outlook": "fair", "temperature": 14.5}
    assert (forecast["label"], forecast["node"]) == ("Kyiv", "forecasts")
    [file] = (await http.get(f"/nodes/forecasts/packages/{forecast['id']}/files")).json()["items"]
    table = (await http.get(f"/objects/{file['hash']}")).content
    assert table.decode().splitlines()[:3] == ["hour,temperature", "1,12.0", "2,12.5"]
    assert (hashlib.sha256(table).hexdigest(), len(table)) == (file["hash"], file["size"])


async def test_by_itself_it_computes_soon() -> None:
    async with serving(weather.create_weather()) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        await posted(http, {"fields": CALM})
        async with asyncio.timeout(60):
            while not (await found(http))["total"]:  # noqa: ASYNC110  # only asking tells
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("pressure", "outlook", "in_six_hours"), [(950, "rain", 4.0), (1013.25, "clouds", 10.0), (1100, "fair", 16.0)]
)
async def test_pressure_makes_the_weather(
    http: httpx2.AsyncClient, held: Held, pressure: float, outlook: str, in_six_hours: float
) -> None:
    await posted(http, {"fields": CALM | {"pressure": pressure}})
    held.pop()()
    [forecast] = (await found(http))["items"]
    assert (forecast["fields"]["outlook"], forecast["fields"]["temperature"]) == (outlook, in_six_hours)


async def test_a_package_shows_with_which_key_it_was_posted_and_whose(http: httpx2.AsyncClient, held: Held) -> None:
    http.headers |= {"X-Tessera-Key": "key_1", "X-Tessera-User": "usr_1"}
    [reading] = await posted(http, {"fields": CALM})
    held.pop()()
    [forecast] = (await found(http))["items"]
    assert reading["called_by"] == forecast["called_by"] == {"key": "key_1", "user": "usr_1"}
    assert (await http.get(f"/nodes/readings/packages/{reading['id']}")).json() == reading


# ---------------------------------------------------------------- searching


async def test_a_search_goes_page_by_page_from_the_newest(http: httpx2.AsyncClient) -> None:
    made = await posted(http, *({"label": str(number), "fields": CALM} for number in range(5)))
    pages = [await found(http, "readings", page=page, page_size=2) for page in (1, 2, 3, 4)]
    assert [len(page["items"]) for page in pages] == [2, 2, 1, 0]
    assert [item for page in pages for item in page["items"]] == made[::-1]
    assert {(page["page"], page["page_size"], page["total"]) for page in pages} == {(n, 2, 5) for n in (1, 2, 3, 4)}


async def test_a_search_finds_by_label_and_fields(http: httpx2.AsyncClient) -> None:
    await posted(http, {"label": "Kyiv", "fields": CALM | {"at": [1, 2]}}, {"label": "Lviv", "fields": CALM})
    for body, total in (
        ({"label": "Kyiv"}, 1),
        ({"fields": {"at": [1, 2]}}, 1),
        ({"fields": CALM}, 2),
        ({"label": "Lviv", "fields": {"at": [1, 2]}}, 0),
        ({}, 2),
    ):
        assert (await found(http, "readings", body))["total"] == total


async def test_data_layers_are_apart_and_the_last_is_meant_unless_another_is_named(
    http: httpx2.AsyncClient, held: Held
) -> None:
    layers = [layer["id"] for layer in (await http.get("/data_layers")).json()["items"]]
    assert (await http.get("/data_layers/last")).json()["id"] == layers[-1]
    await posted(http, {"fields": CALM}, data_layer_id=layers[0])
    held.pop()()
    for node in ("readings", "forecasts"):
        assert (await found(http, node, data_layer_id=layers[0]))["total"] == 1
        assert (await found(http, node))["total"] == (await found(http, node, data_layer_id=layers[-1]))["total"] == 0


# ---------------------------------------------------------------- objects


async def test_an_object_is_what_its_name_says_or_is_refused(http: httpx2.AsyncClient) -> None:
    data = bytes(range(256))
    digest = hashlib.sha256(data).hexdigest()
    assert [(await put(http, data)).status_code for _ in range(2)] == [201, 200]
    assert (await http.get(f"/objects/{digest}")).content == data
    assert (await http.head(f"/objects/{digest}")).headers["content-length"] == "256"

    other = hashlib.sha256(b"other").hexdigest()
    assert digest in detail_of(await http.put(f"/objects/{other}", content=data), 400)
    detail_of(await http.get(f"/objects/{other}"), 404)


async def test_a_package_names_its_files_once_their_bytes_are_there(http: httpx2.AsyncClient) -> None:
    file = {"name": "notes.txt", "hash": hashlib.sha256(b"notes").hexdigest()}
    packages = {"packages": [{"fields": CALM}, {"fields": CALM, "files": [file]}]}
    assert file["hash"] in detail_of(await http.post("/nodes/readings/packages", json=packages), 400)
    assert (await found(http, "readings"))["total"] == 0
    await put(http, b"notes")
    _, reading = await posted(http, *packages["packages"])
    answer = await http.get(f"/nodes/readings/packages/{reading['id']}/files")
    assert answer.json() == {"items": [file | {"size": 5}]}


# ---------------------------------------------------------------- bounds


async def test_the_oldest_packages_are_forgotten(http: httpx2.AsyncClient) -> None:
    [oldest] = await posted(http, {"label": "oldest", "fields": CALM})
    for _ in range(weather.PACKAGES_KEPT // 100):
        await posted(http, *[{"fields": CALM}] * 100)
    assert (await found(http, "readings"))["total"] == weather.PACKAGES_KEPT
    detail_of(await http.get(f"/nodes/readings/packages/{oldest['id']}"), 404)


async def test_the_oldest_objects_are_forgotten_unless_they_are_put_again(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.weather.OBJECT_BYTES_KEPT", 9)
    for data in (b"aaa", b"bbb", b"ccc", b"aaa", b"ddd"):
        await put(http, data)
    kept = [await http.get(f"/objects/{hashlib.sha256(data * 3).hexdigest()}") for data in (b"a", b"b", b"c", b"d")]
    assert [answer.status_code for answer in kept] == [200, 404, 200, 200]


async def test_what_is_too_large_is_refused_before_it_is_kept(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.weather.LONGEST_OBJECT", 10)
    assert (await put(http, bytes(10))).status_code == 201
    detail_of(await put(http, bytes(11)), 413)
    label = {"packages": [{"label": "x" * weather.LONGEST_BODY, "fields": CALM}]}
    detail_of(await http.post("/nodes/readings/packages", json=label), 413)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "body: "),
        (b"{", "body: "),
        (b"[]", "body: "),
        (b"{}", "packages: "),
        (b'{"packages": []}', "packages: "),
        (b'{"packages": [{}]}', "packages.0.fields: "),
        (b'{"packages": [{"fields": {}}]}', "packages.0.fields.temperature: "),
        (b'{"packages": [{"fields": {"temperature": "11"}}]}', "packages.0.fields.temperature: "),
        (b'{"packages": [{"fields": {"temperature": NaN}}]}', "packages.0.fields.temperature: "),
        (b'{"packages": [{"fields": {"temperature": 1}, "files": [{"name": "a", "hash": "../a"}]}]}', "packages.0.f"),
        (b'{"packages": [{"fields": {"temperature": 1, "deep": ' + b"[" * 5000 + b"]" * 5000 + b"}}]}", "body: "),
    ],
)
async def test_a_package_that_can_t_be_is_refused_and_leaves_nothing(
    http: httpx2.AsyncClient, held: Held, body: bytes, detail: str
) -> None:
    assert detail_of(await http.post("/nodes/readings/packages", content=body), 400).startswith(detail)
    assert (await found(http, "readings"))["total"] == 0
    assert held == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/data_layers/", 404),
        ("POST", "/data_layers", 405),
        ("POST", "/nodes/forecasts/packages", 400),
        ("POST", "/nodes/nothing/packages", 404),
        ("POST", "/nodes/nothing/packages/search", 404),
        ("POST", "/nodes/readings/packages?data_layer_id=9", 404),
        ("POST", "/nodes/readings/packages/search?page=0", 400),
        ("POST", "/nodes/readings/packages/search?page=one", 400),
        ("POST", "/nodes/readings/packages/search?page_size=101", 400),
        ("GET", "/nodes/readings/packages/1", 404),
        ("GET", "/nodes/readings/packages/1/files", 404),
        ("GET", "/objects/nothing", 404),
        ("DELETE", "/objects/nothing", 405),
    ],
)
async def test_whatever_else_is_refused_as_a_problem(
    http: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    detail_of(await http.request(method, path), status)
