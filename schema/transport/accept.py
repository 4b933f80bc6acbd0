"""Which form of answer a client takes (GraphQL over HTTP, draft, 6.1; RFC 9110, 12.5.1)."""

from enum import StrEnum

from schema.transport.errors import Refused


class MediaType(StrEnum):
    JSON = "application/json"
    GRAPHQL_RESPONSE = "application/graphql-response+json"
    EVENT_STREAM = "text/event-stream"


JSON_RANGES = {
    "application/json": MediaType.JSON,
    "application/graphql-response+json": MediaType.GRAPHQL_RESPONSE,
    "application/*": MediaType.JSON,
}


def negotiated(accept: str | None) -> MediaType:
    """The best of what is accepted; events only where no JSON is: some clients list every type with each query.

    Raises Refused (406) where nothing that is accepted can be given.
    """
    ranges = _by_preference(accept or "*/*")
    if json := next((JSON_RANGES[media_range] for media_range in ranges if media_range in JSON_RANGES), None):
        return json
    if MediaType.EVENT_STREAM in ranges:
        return MediaType.EVENT_STREAM
    if "*/*" in ranges:
        return MediaType.JSON
    raise Refused(406, f"Answers come as {', '.join(MediaType)}.")


def takes_html(accept: str | None) -> bool:
    return "text/html" in _by_preference(accept or "")


def _by_preference(accept: str) -> list[str]:
    """Media ranges, the most wanted first, without those of no weight."""
    weighted = [(_weight(part), part.partition(";")[0].strip().lower()) for part in accept.split(",")]
    return [name for weight, name in sorted(weighted, key=lambda pair: -pair[0]) if weight > 0]


def _weight(media_range: str) -> float:
    for parameter in media_range.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
