"""What the head of a request on the data plane says: whose it is, what it asks for, on whose behalf.

It is read from ASGI's own dictionaries, once and with few steps, since every call passes here.
"""

import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

from gateway.decisions import Asked, Denied

PROJECTS, AUTHORIZE = b"/api/projects/", b"/authorize/"
FAMILIES = {  # the fields in which a proxy tells of the call that it asks about, by `?from=`
    b"original": (b"x-original-method", b"x-original-uri"),
    b"forwarded": (b"x-forwarded-method", b"x-forwarded-uri"),
}
REQUEST_ID = b"x-request-id"
VISIBLE_ASCII = re.compile(rb"[\x21-\x7e]{1,128}")

Scope = Any
Field = tuple[bytes, bytes]


class Unserved(Exception):
    """A request for which nothing can be decided but whether its key is any good."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.denied = Denied(status, detail)


class Options(NamedTuple):
    """How a proxy asks at /authorize: in which fields, and whether it knows no refusal but 401 and 403."""

    family: tuple[bytes, bytes] | None
    is_403_alone: bool


class RequestIds:
    """Ids for calls that bring none: they tell calls apart, and are no secret."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8).encode()
        self._numbers = count()

    def new(self) -> bytes:
        return b"%b%016x" % (self._process, next(self._numbers))


class Heard:
    """The head of one request. A field that came more than once has no value here but counts as repeated."""

    __slots__ = ("_fields", "_repeated", "request_id", "scope")

    def __init__(self, scope: Scope, ids: RequestIds) -> None:
        self.scope = scope
        self._fields: dict[bytes, bytes] = dict(scope["headers"])
        self._repeated = _repeated(scope["headers"]) if len(self._fields) < len(scope["headers"]) else ()
        given = self._fields.get(REQUEST_ID)
        is_kept = given and VISIBLE_ASCII.fullmatch(given) and REQUEST_ID not in self._repeated
        self.request_id: bytes = given if given and is_kept else ids.new()

    @property
    def token(self) -> str | None:
        """The bearer token, where there is exactly one credential."""
        credential = self._fields.get(b"authorization")
        if credential is None or b"authorization" in self._repeated:
            return None
        scheme, _, token = credential.partition(b" ")
        return token.strip().decode("latin-1") or None if scheme.lower() == b"bearer" else None

    @property
    def is_upgrade(self) -> bool:
        return b"upgrade" in self._fields or self.scope["type"] == "websocket"

    @property
    def host(self) -> bytes | None:
        return self._fields.get(b"host")

    def only(self, name: bytes) -> bytes:
        """The value of a field that must be there, once. Raises Unserved."""
        value = self._fields.get(name)
        if not value or name in self._repeated:
            raise Unserved(400, f"The call must be told in exactly one {name.decode().title()} field.")
        return value


def path_of(scope: Scope) -> bytes:
    """The path as it was sent, undecoded."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw


def address_of(scope: Scope) -> str:
    """The caller's, as far as the gateway believes it; the server has looked at what trusted proxies say."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def asked_of_proxy(heard: Heard) -> Asked:
    """A call to pass on, which came to /api/projects/. Raises Unserved."""
    _refuse_upgrade(heard)
    path, scope = path_of(heard.scope), heard.scope
    target = _with_query(path, scope["query_string"])
    return Asked(_segment(path, PROJECTS), scope["method"], target, heard.token, address_of(scope), is_passed_on=True)


def options_of(heard: Heard) -> Options | None:
    """How a proxy asks at /authorize/{project}; None: by appending the target, to which the query belongs then."""
    scope = heard.scope
    return None if b"/" in path_of(scope)[len(AUTHORIZE) :] else _options_in(scope["query_string"])


@lru_cache(maxsize=256)
def _options_in(query: bytes) -> Options:
    said = dict(part.partition(b"=")[::2] for part in query.split(b"&"))
    return Options(FAMILIES.get(said.get(b"from", b"")), said.get(b"deny") == b"403")


def asked_of_authorize(heard: Heard, options: Options | None) -> Asked:
    """The call that a proxy asks about. Raises Unserved."""
    _refuse_upgrade(heard)
    if options is None:
        return _asked_of_prefix(heard)
    if options.family is None:
        raise Unserved(400, "Say where the call is told: ?from=original or ?from=forwarded.")
    method, target = options.family
    scope = heard.scope
    return Asked(
        _segment(path_of(scope), AUTHORIZE),
        heard.only(method).decode("latin-1"),
        heard.only(target),
        heard.token,
        address_of(scope),
    )


def _asked_of_prefix(heard: Heard) -> Asked:
    """As Envoy does, which appends the target to /authorize/{project}."""
    path, scope = path_of(heard.scope), heard.scope
    project_id = _segment(path, AUTHORIZE)
    target = _with_query(path[len(AUTHORIZE) + len(project_id) :], scope["query_string"])
    return Asked(project_id, scope["method"], target, heard.token, address_of(scope))


def asked_of_nothing(heard: Heard) -> Asked:
    """For a request that isn't served: its target is none, so that a key that is good gets no further than 400."""
    path = path_of(heard.scope)
    project_id = _segment(path, AUTHORIZE if path.startswith(AUTHORIZE) else PROJECTS)
    return Asked(project_id, "GET", b"", heard.token, address_of(heard.scope))


def _refuse_upgrade(heard: Heard) -> None:
    if heard.is_upgrade:
        raise Unserved(501, "The gateway passes on no upgrades.")


def _repeated(fields: Sequence[Field]) -> frozenset[bytes]:
    names = [name for name, _ in fields]
    return frozenset(name for name in names if names.count(name) > 1)


def _segment(path: bytes, prefix: bytes) -> str:
    return path[len(prefix) :].partition(b"/")[0].decode("latin-1")


def _with_query(path: bytes, query: bytes) -> bytes:
    return b"%b?%b" % (path, query) if query else path
