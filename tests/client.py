"""A program that calls a project's HTTP API as its documentation says, whoever answers at the base URL.

client = Client(f"{url}/api", key, project="prj_...", input_node="readings", output_node="forecasts")
forecast = await client.forecast_of({"temperature": 11.5})
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx2

Json = dict[str, Any]


@dataclass(frozen=True)
class Forecast:
    """What came of a reading."""

    reading: Json
    package: Json
    files: dict[str, bytes]


class Client:
    def __init__(self, base_url: str, key: str, project: str, input_node: str, output_node: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=f"{base_url}/projects/{project}", headers={"Authorization": f"Bearer {key}"}, trust_env=False
        )
        self._input, self._output = f"/nodes/{input_node}/packages", f"/nodes/{output_node}/packages"

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def forecast_of(self, label: str, fields: Json, **attached: bytes) -> Forecast:
        """Posts a reading, its files first, and waits for what is computed from it."""
        layer = (await self._json("GET", "/data_layers/last"))["id"]
        files = [{"name": name, "hash": await self.put(data)} for name, data in attached.items()]
        body = {"packages": [{"label": label, "fields": fields, "files": files}]}
        [reading] = (await self._json("POST", self._input, params={"data_layer_id": layer}, json=body))["packages"]
        async with asyncio.timeout(60):
            package = await self._result_of(reading, layer)
        return Forecast(reading, package, await self.files_of(package))

    async def layers(self) -> list[Json]:
        return list((await self._json("GET", "/data_layers"))["items"])

    async def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        await self._json("PUT", f"/objects/{digest}", content=data)
        return digest

    async def put_bit_by_bit(self, data: bytes) -> Json:
        """As `put`, of bytes whose number isn't told beforehand."""

        async def bits() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 1000):
                yield data[start : start + 1000]

        return await self._json("PUT", f"/objects/{hashlib.sha256(data).hexdigest()}", content=bits())

    async def files_of(self, package: Json) -> dict[str, bytes]:
        files = (await self._json("GET", f"{self._output}/{package['id']}/files"))["items"]
        return {file["name"]: await self._object(file["hash"]) for file in files}

    async def results(self, page_size: int) -> AsyncIterator[Json]:
        """All that the output node holds, page by page."""
        page, seen = 1, 0
        while True:
            where = {"page": page, "page_size": page_size}
            found = await self._json("POST", f"{self._output}/search", params=where)
            for item in found["items"]:
                yield item
            seen += len(found["items"])
            if seen >= found["total"]:
                return
            page += 1

    async def _result_of(self, reading: Json, layer: str) -> Json:
        where = {"data_layer_id": layer, "page": 1, "page_size": 1}
        search = {"fields": {"reading": reading["id"]}}
        while True:
            found = await self._json("POST", f"{self._output}/search", params=where, json=search)
            if found["total"]:
                return dict(found["items"][0])
            await asyncio.sleep(0.05)

    async def _object(self, digest: str) -> bytes:
        answer = (await self._http.get(f"/objects/{digest}")).raise_for_status()
        assert hashlib.sha256(answer.content).hexdigest() == digest
        return answer.content

    async def _json(self, method: str, path: str, **sent: Any) -> Json:
        return dict((await self._http.request(method, path, **sent)).raise_for_status().json())
