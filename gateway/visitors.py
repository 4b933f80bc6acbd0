"""Who walks the tour: people who call the GraphQL API, and a program that calls a project with a key."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx2

from gateway.errors import TesseraError

Json = dict[str, Any]


class TourFailed(TesseraError):
    """A step that did not do what it should."""

    code = "TOUR_FAILED"


@dataclass
class Caller:
    """Somebody who calls the gateway's GraphQL API."""

    http: httpx2.AsyncClient
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def ask(self, document: str, **variables: Any) -> Json:
        """The data of an operation. Raises TourFailed with what the gateway said instead."""
        answer = await self.http.post(
            "/graphql", json={"query": document, "variables": variables}, headers=self.headers
        )
        try:
            return data_in(answer.json())
        except ValueError:
            raise TourFailed(f"{answer.url} answers {answer.status_code} and no GraphQL") from None

    async def do(self, mutation: str, member: str, **input: Any) -> Any:
        """What a mutation answers with; `member` is selected of its payload. Raises TourFailed with its userErrors."""
        kind = mutation[0].upper() + mutation[1:] + "Input!"
        document = f"mutation($input: {kind}) {{ {mutation}(input: $input) {{ {member} userErrors {{ message }} }} }}"
        payload = (await self.ask(document, input=input))[mutation]
        if payload["userErrors"]:
            raise TourFailed("; ".join(error["message"] for error in payload["userErrors"]))
        return payload

    async def watch(self, document: str, **variables: Any) -> AsyncGenerator[Json, None]:
        """The events of a subscription, over Server-Sent Events."""
        headers = {**self.headers, "Accept": "text/event-stream"}
        body = {"query": document, "variables": variables}
        async with self.http.stream("POST", "/graphql", json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield data_in(json.loads(line.removeprefix("data: ")))


def data_in(body: Any) -> Json:
    """Raises TourFailed with the answer's errors, ValueError for what is no answer of GraphQL."""
    if isinstance(body, dict) and "errors" in body:
        raise TourFailed("; ".join(error["message"] for error in body["errors"]))
    if not isinstance(body, dict) or "data" not in body:
        raise ValueError
    return dict(body["data"])


@dataclass
class Program:
    """What a key's holder runs: it knows a base URL, a key, and what the key's information fields say."""

    http: httpx2.AsyncClient
    token: str
    fields: dict[str, str]
    counted: int = 0

    async def call(self, method: str, path: str, wanted: int = 200, body: Json | None = None) -> httpx2.Response:
        """The answer of the project's service, or the refusal that is wanted. Raises TourFailed for any other."""
        url, headers = f"/api/projects/{self.fields['project ID']}/{path}", {"Authorization": f"Bearer {self.token}"}
        answer = await self.http.request(method, url, json=body, headers=headers)
        if answer.status_code != wanted:
            raise TourFailed(f"{method} {answer.url} answers {answer.status_code}, not {wanted}: {answer.text[:300]}")
        self.counted += answer.is_success
        return answer

    async def ask(self, method: str, path: str, wanted: int = 200, body: Json | None = None) -> Json:
        """As `call`, where the answer is a JSON object."""
        answer = await self.call(method, path, wanted, body)
        try:
            return dict(answer.json())
        except (TypeError, ValueError):
            raise TourFailed(f"{method} {answer.url} answers {wanted} and no JSON object") from None

    @property
    def input(self) -> str:
        return f"nodes/{self.fields['input node ID']}"

    @property
    def output(self) -> str:
        return f"nodes/{self.fields['output node ID']}"
