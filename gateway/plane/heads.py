"""What of a message's head is passed on, in either direction; docs/proxy.md tells why."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway import clock

Header = tuple[bytes, bytes]

OWN_COOKIE = b"tessera_session"
VIA = b"1.1 tessera"
HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
REWRITTEN = {b"authorization", b"expect", b"forwarded", b"host", b"via", b"x-request-id"}
NEVER_PASSED = (b"proxy-", b"x-tessera-", b"x-forwarded-")
FRAMING = {b"content-length", b"content-type", b"cookie"}
"""Which a server that reads headers as variables would take for the real ones, were they spelled with another sign."""
HYPHENS = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
"""To such a server (CGI, WSGI, PHP) every sign that a name can have is the same one."""

BAD_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]|^$")
BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
NO_CONTENT = {204, 304}


class Malformed(Exception):
    """A head that can't be passed on as what it says."""


@dataclass(slots=True)
class Outgoing:
    """A call that was let through, and what the gateway says of it."""

    base_url: str
    """The project's upstream: scheme, host, perhaps a port and a path."""
    rest: bytes
    """What follows `/api/projects/{id}` in the path, as it was received."""
    query: bytes | None
    """What follows the first `?`, as it was received; None where there is no `?`."""
    method: str
    identity: Sequence[Header] = ()
    """For the upstream: who calls, and the request's id."""
    answer: Sequence[Header] = ()
    """For the caller, in place of the upstream's of those names."""
    peer: str | None = None
    """The caller's address, as far as the gateway believes it."""
    scheme: str = "http"
    host: bytes | None = None
    """The Host that the caller named."""


def target(call: Outgoing, base_path: bytes) -> bytes:
    """What is asked of the upstream: the same bytes that were decided upon, behind the path of its base URL."""
    path = (base_path.rstrip(b"/") + call.rest if call.rest else base_path) or b"/"
    return path if call.query is None else path + b"?" + call.query


def request_head(call: Outgoing, authority: bytes, base_path: bytes, received: Iterable[Header]) -> bytes:
    """The request line and headers for the upstream (RFC 9110, 7.6; RFC 9112, 3 and 6)."""
    received = list(received)
    nominated = _nominated(received)
    lines = [call.method.encode() + b" " + target(call, base_path) + b" HTTP/1.1", b"host: " + authority]
    if is_chunked(received):
        nominated.add(b"content-length")  # RFC 9112, 6.3
        lines.append(b"transfer-encoding: chunked")
    for name, value in received:
        if _goes_on(name, nominated) and (name != b"cookie" or (value := _without_own_cookie(value))):
            lines.append(name + b": " + value)
    lines.append(b"via: " + b", ".join([*(value for name, value in received if name == b"via"), VIA]))
    lines += _forwarded(call)
    lines += [name + b": " + value for name, value in call.identity]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def is_chunked(headers: Iterable[Header]) -> bool:
    return any(name == b"transfer-encoding" for name, _ in headers)


def content_length(headers: Iterable[Header]) -> int:
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


def answer_headers(call: Outgoing, status: int, received: Iterable[Header]) -> list[Header]:
    """The headers for the caller. Raises Malformed."""
    headers = [(name.lower(), value) for name, value in received]
    nominated = _nominated(headers)
    codings = [value.lower().strip() for name, value in headers if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        raise Malformed("a transfer coding that the gateway doesn't know")
    unsaid = {name.lower() for name, _ in call.answer}
    if codings or status in NO_CONTENT:  # RFC 9112, 6.3; RFC 9110, 8.6: on 204 never, on 304 as one likes
        unsaid.add(b"content-length")
    kept = [header for header in headers if header[0] not in unsaid and _comes_back(*header, nominated)]
    if not any(name == b"date" for name, _ in kept):
        kept.append((b"date", clock.http_date()))  # RFC 9110, 6.6.1
    return [*kept, *call.answer]


def _goes_on(name: bytes, nominated: set[bytes]) -> bool:
    plain = name.translate(HYPHENS)
    if plain in HOP_BY_HOP or plain in REWRITTEN or plain.startswith(NEVER_PASSED):
        return False
    return plain not in FRAMING if plain != name else name not in nominated


def _comes_back(name: bytes, value: bytes, nominated: set[bytes]) -> bool:
    if BAD_NAME.search(name) or BAD_VALUE.search(value):
        raise Malformed("a header that can't be")
    plain = name.translate(HYPHENS)
    if plain in HOP_BY_HOP or name in nominated or plain.startswith((b"proxy-", b"x-tessera-")):
        return False
    return name != b"set-cookie" or value.partition(b"=")[0].strip() != OWN_COOKIE


def _nominated(headers: Iterable[Header]) -> set[bytes]:
    """What Connection names as meant for the next hop alone (RFC 9110, 7.6.1); the length of a message never is."""
    values = [value for name, value in headers if name == b"connection"]
    if not values:
        return set()
    return {option.strip().lower() for value in values for option in value.split(b",")} - {b"content-length"}


def _without_own_cookie(value: bytes) -> bytes:
    if OWN_COOKIE not in value:
        return value
    pairs = [pair for pair in value.split(b";") if pair.partition(b"=")[0].strip() != OWN_COOKIE]
    return b";".join(pairs).strip()


def _forwarded(call: Outgoing) -> list[bytes]:
    """Who called, by which way (RFC 7239, and what came before it)."""
    peer = (call.peer or "unknown").encode()
    scheme = call.scheme.encode()
    parts = [b'for="[' + peer + b']"' if b":" in peer else b"for=" + peer]
    lines = [b"x-forwarded-for: " + peer, b"x-forwarded-proto: " + scheme]
    if call.host is not None:
        parts.append(b'host="' + call.host.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"')
        lines.append(b"x-forwarded-host: " + call.host)
    return [b"forwarded: " + b";".join([*parts, b"proto=" + scheme]), *lines]
