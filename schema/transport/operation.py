"""What a client asks to be run, as it arrives in a body, in a URL or in a socket's message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from strawberry.http.parse_content_type import parse_content_type

from gateway.errors import BadInput
from schema.transport.errors import Refused

ValueT = TypeVar("ValueT")

JSON = "application/json"


@dataclass(frozen=True)
class Operation:
    """The parameters of GraphQL over HTTP."""

    query: str
    variables: dict[str, Any] | None
    name: str | None
    extensions: dict[str, Any] | None


def operation_of(payload: object) -> Operation:
    """Raises BadInput for anything but the parameters of one operation."""
    if isinstance(payload, list):
        raise BadInput("Batches are not supported: send one operation a request.")
    if not isinstance(payload, dict):
        raise BadInput("An operation is a JSON object.")
    query = _member(payload, "query", str, "a string")
    if not query:
        raise BadInput("`query` is missing.")
    return Operation(
        query=query,
        variables=_member(payload, "variables", dict, "an object"),
        name=_member(payload, "operationName", str, "a string"),
        extensions=_member(payload, "extensions", dict, "an object"),
    )


async def requested(request: Request, limit_bytes: int) -> Operation:
    """The operation of a GET or POST. Raises BadInput, and Refused for a wrong or too large body."""
    if request.method == "GET":
        return operation_of(from_url(request.query_params))
    _check_content_type(request.headers.get("content-type", ""))
    return operation_of(json_of(await _body(request, limit_bytes), "The body"))


def json_of(text: bytes | str, what: str) -> object:
    """Raises BadInput for what is no JSON, is nested too deeply or isn't in UTF-8."""
    try:
        parsed: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"{what} is not valid JSON.") from error
    return parsed


def from_url(parameters: Mapping[str, str]) -> dict[str, object]:
    payload: dict[str, object] = dict(parameters)
    for name in ("variables", "extensions"):
        if text := parameters.get(name):
            payload[name] = json_of(text, f"`{name}`")
        else:
            payload.pop(name, None)
    return payload


def _member(payload: Mapping[str, object], name: str, kind: type[ValueT], expected: str) -> ValueT | None:
    value = payload.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise BadInput(f"`{name}` must be {expected} or null.")


def _check_content_type(header: str) -> None:
    if header == JSON:
        return
    media_type, parameters = parse_content_type(header)
    if media_type != JSON or parameters.get("charset", "utf-8").strip('"').lower() != "utf-8":
        raise Refused(415, "Send the operation as application/json in UTF-8.", headers={"Accept": "application/json"})


async def _body(request: Request, limit_bytes: int) -> bytes:
    # The length that a client declares is a hint: what counts is what arrives.
    if int(request.headers.get("content-length", 0)) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
    return bytes(body)


def _too_large(limit_bytes: int) -> Refused:
    sentence = f"The body is larger than {limit_bytes} bytes."
    return Refused(413, sentence, code="LIMIT_EXCEEDED")
