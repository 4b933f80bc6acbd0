"""A service to stand behind the demo's gateway: readings of the weather go in, a moment later there are forecasts.

It is what anybody might offer, and knows nothing of the gateway but the headers that tell who calls. All is in memory,
and the oldest is forgotten.
"""

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

NAME = "Weather service"
READINGS, FORECASTS = "readings", "forecasts"
LAYERS = [{"id": "1", "label": "Trial"}, {"id": "2", "label": "Operation"}]
"""The generations of data; the last is where packages go unless told otherwise."""
SECONDS_TO_COMPUTE = 0.3
HOURS_AHEAD = 6
STANDARD_PRESSURE = 1013.25

PACKAGES_KEPT = 1000
OBJECT_BYTES_KEPT = 64 * 1024 * 1024
LONGEST_BODY, LONGEST_OBJECT = 64 * 1024, 8 * 1024 * 1024
LARGEST_PAGE = 100

Json = dict[str, Any]
Later = Callable[[Callable[[], None]], object]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Reading(BaseModel):
    """The fields that a forecast is computed from; whatever stands beside them is kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    temperature: float = Field(ge=-100, le=100, description="In degrees Celsius.")
    pressure: float = Field(STANDARD_PRESSURE, ge=800, le=1200, description="In hectopascals.")


class NewFile(BaseModel):
    """An object, under a name."""

    name: str = Field(min_length=1, max_length=200)
    hash: Hash


class NewPackage(BaseModel):
    label: str = Field("", max_length=200)
    fields: Reading
    files: list[NewFile] = Field([], max_length=20)


class NewPackages(BaseModel):
    packages: list[NewPackage] = Field(min_length=1, max_length=100)


class Search(BaseModel):
    """Finds the packages that have this label and these fields; without any, all of them."""

    label: str | None = None
    fields: Json = {}


class Where(BaseModel):
    """The query of a call."""

    data_layer_id: str = LAYERS[-1]["id"]
    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(20, ge=1, le=LARGEST_PAGE)


@dataclass(frozen=True)
class Package:
    id: str
    node: str
    data_layer_id: str
    label: str
    fields: Json
    files: list[Json]
    called_by: Json


class Objects:
    """Bytes, by their SHA-256 in hexadecimal digits."""

    def __init__(self) -> None:
        self._objects: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def add(self, data: bytes) -> str:
        digest = digest_of(data)
        if digest not in self._objects:
            self._size += len(data)
            self._objects[digest] = data
        self._objects.move_to_end(digest)
        while self._size > OBJECT_BYTES_KEPT:
            self._size -= len(self._objects.popitem(last=False)[1])
        return digest

    def get(self, digest: str) -> bytes | None:
        return self._objects.get(digest)

    def file(self, name: str, digest: str) -> Json:
        """How a package names an object. Raises HTTPException where there is none."""
        data = self.get(digest)
        if data is None:
            raise HTTPException(400, f"PUT the bytes of {name} to objects/{digest} first.")
        return {"name": name, "hash": digest, "size": len(data)}


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def in_a_moment(act: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(SECONDS_TO_COMPUTE, act)


@dataclass
class Weather:
    """What the service knows, and what it makes of it."""

    later: Later = in_a_moment
    objects: Objects = field(default_factory=Objects)
    packages: deque[Package] = field(default_factory=lambda: deque(maxlen=PACKAGES_KEPT))
    made: int = 0

    def add(self, layer: str, readings: list[NewPackage], called_by: Json) -> list[Package]:
        """Keeps all of them or none, and has their forecasts computed later. Raises HTTPException."""
        files = [[self.objects.file(each.name, each.hash) for each in reading.files] for reading in readings]
        return [self._add(layer, *each, called_by) for each in zip(readings, files, strict=True)]

    def _add(self, layer: str, new: NewPackage, files: list[Json], called_by: Json) -> Package:
        package = self._keep(READINGS, layer, new.label, new.fields.model_dump(exclude_unset=True), files, called_by)
        self.later(lambda: self.forecast(package, new.fields))
        return package

    def forecast(self, package: Package, reading: Reading) -> None:
        """High pressure warms, low pressure cools: by a degree an hour at most."""
        hourly = max(-1.0, min(1.0, (reading.pressure - STANDARD_PRESSURE) / 20))
        hours = {hour: round(reading.temperature + hour * hourly, 1) for hour in range(1, HOURS_AHEAD + 1)}
        table = "hour,temperature\n" + "".join(f"{hour},{degrees}\n" for hour, degrees in hours.items())
        file = self.objects.file("forecast.csv", self.objects.add(table.encode()))
        fields = {"reading": package.id, "outlook": outlook(reading.pressure), "temperature": hours[HOURS_AHEAD]}
        self._keep(FORECASTS, package.data_layer_id, package.label, fields, [file], package.called_by)

    def found(self, node: str, layer: str, search: Search) -> list[Package]:
        """The newest first."""
        return [
            each
            for each in reversed(self.packages)
            if (each.node, each.data_layer_id) == (node, layer)
            and search.label in {None, each.label}
            and search.fields.items() <= each.fields.items()
        ]

    def get(self, node: str, id: str) -> Package:
        """Raises HTTPException."""
        found = next((each for each in self.packages if (each.node, each.id) == (node, id)), None)
        if found is None:
            raise HTTPException(404, "There is no such package, or it was forgotten.")
        return found

    def _keep(self, node: str, layer: str, label: str, fields: Json, files: list[Json], called_by: Json) -> Package:
        self.made += 1
        package = Package(str(self.made), node, layer, label, fields, files, called_by)
        self.packages.append(package)
        return package


def outlook(pressure: float) -> str:
    if pressure >= 1020:
        return "fair"
    return "clouds" if pressure >= 1000 else "rain"


def create_weather(later: Later = in_a_moment) -> Starlette:
    """The service; `later` says when a forecast is computed."""
    routes = Routes(Weather(later))
    app = Starlette(
        routes=[
            Route("/data_layers", routes.layers),
            Route("/data_layers/last", routes.last_layer),
            Route("/nodes/{node}/packages", routes.post, methods=["POST"]),
            Route("/nodes/{node}/packages/search", routes.search, methods=["POST"]),
            Route("/nodes/{node}/packages/{id}", routes.package),
            Route("/nodes/{node}/packages/{id}/files", routes.files),
            Route("/objects/{hash}", routes.put_object, methods=["PUT"]),
            Route("/objects/{hash}", routes.get_object),
        ],
        exception_handlers={HTTPException: refused, ValidationError: invalid},
    )
    app.router.redirect_slashes = False
    return app


class Routes:
    """The service's API; its errors are problem details (RFC 9457)."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather

    async def layers(self, _: Request) -> Response:
        return answer({"items": LAYERS})

    async def last_layer(self, _: Request) -> Response:
        return answer(LAYERS[-1])

    async def post(self, request: Request) -> Response:
        if node_of(request) != READINGS:
            raise HTTPException(400, f"Packages go to the node {READINGS}; forecasts are computed from them.")
        layer = where(request).data_layer_id
        new = NewPackages.model_validate_json(await body_of(request, LONGEST_BODY)).packages
        called_by = {who: request.headers.get(f"x-tessera-{who}") for who in ("key", "user")}
        return answer({"packages": self._weather.add(layer, new, called_by)}, 201)

    async def search(self, request: Request) -> Response:
        asked = where(request)
        search = Search.model_validate_json(await body_of(request, LONGEST_BODY) or b"{}")
        found = self._weather.found(node_of(request), asked.data_layer_id, search)
        start = (asked.page - 1) * asked.page_size
        page = {"page": asked.page, "page_size": asked.page_size, "total": len(found)}
        return answer({"items": found[start : start + asked.page_size], **page})

    async def package(self, request: Request) -> Response:
        return answer(self._weather.get(node_of(request), request.path_params["id"]))

    async def files(self, request: Request) -> Response:
        return answer({"items": self._weather.get(node_of(request), request.path_params["id"]).files})

    async def put_object(self, request: Request) -> Response:
        data = await body_of(request, LONGEST_OBJECT)
        digest = digest_of(data)
        if digest != request.path_params["hash"]:
            raise HTTPException(400, f"The SHA-256 of these bytes is {digest}.")
        is_new = self._weather.objects.get(digest) is None
        self._weather.objects.add(data)
        return answer({"hash": digest, "size": len(data)}, 201 if is_new else 200)

    async def get_object(self, request: Request) -> Response:
        data = self._weather.objects.get(request.path_params["hash"])
        if data is None:
            raise HTTPException(404, "There is no such object, or it was forgotten.")
        return Response(data, media_type="application/octet-stream")


def node_of(request: Request) -> str:
    node = str(request.path_params["node"])
    if node not in {READINGS, FORECASTS}:
        raise HTTPException(404, f"The nodes are {READINGS} and {FORECASTS}.")
    return node


def where(request: Request) -> Where:
    asked = Where.model_validate(dict(request.query_params))
    if asked.data_layer_id not in {layer["id"] for layer in LAYERS}:
        raise HTTPException(404, "There is no such data layer.")
    return asked


async def body_of(request: Request, longest: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > longest:
            raise HTTPException(413, f"A body has {longest} bytes at most here.")
    return bytes(body)


def answer(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # Starlette chose this handler by the type
    return problem(error.status_code, error.detail, error.headers)


async def invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)  # noqa: S101  # Starlette chose this handler by the type
    faults = (f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors())
    return problem(400, "; ".join(faults))


def problem(status: int, detail: str, headers: Any = None) -> Response:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(orjson.dumps(body), status, headers, "application/problem+json")
