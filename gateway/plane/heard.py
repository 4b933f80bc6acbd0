"""What the head of a request on the data plane says: whose it is, what it asks for, on whose behalf.

It is read from ASGI's own dictionaries, once and with few steps, since every call passes here.
"""

import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

from gateway.plane.decisions import Asked, Denied

PROJECTS, AUTHORIZE = b"/api/projects/", b"/authorize/"
FAMILIES = {  # the fields in which a proxy tells of the call that it asks about, by `?from=`
    b"original": (b"x-original-method", b"x-original-uri"),
    b"forwarded": (b"x-forwarded-method", b"x-forwarded-uri"),
}
REQUEST_ID = b"x-request-id"
NONE: frozenset[bytes] = frozenset()
VISIBLE_ASCII = re.compile(rb"[\x21-\x7e]{1,128}")

Scope = Any
Field = tuple[bytes, bytes]


class Unserved(Exception):
    """A request for which nothing can be decided but whether its key is any good."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.denied = Denied(status, detail)


class Question(NamedTuple):
    """How a proxy asks at /authorize: by header fields, or by appending the target of the call.

    `is_403_alone`: it knows no refusal but 401 and 403.
    """

    project_id: str
    family: tuple[bytes, bytes] | None = None
    appended: bytes | None = None
    is_403_alone: bool = False


class RequestIds:
    """Ids for calls that bring none: they tell calls apart, and are no secret."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8).encode()
        self._numbers = count()

    def new(self) -> bytes:
        return b"%b%016x" % (self._process, next(self._numbers))


class Heard:
    """The head of one request on the data plane."""

    __slots__ = ("_fields", "_repeated", "path", "request_id", "scope")

    def __init__(self, scope: Scope, path: bytes, ids: RequestIds) -> None:
        self.scope = scope
        self.path = path
        listed = scope["headers"]
        fields = self._fields = dict(listed)
        self._repeated = NONE if len(fields) == len(listed) else _repeated(listed)
        given = fields.get(REQUEST_ID)
        is_kept = given and VISIBLE_ASCII.fullmatch(given) and REQUEST_ID not in self._repeated
        self.request_id: bytes = given if given and is_kept else ids.new()

    @property
    def token(self) -> bytes | None:
        """The bearer token, where there is exactly one credential."""
        credential: bytes = self._fields.get(b"authorization", b"")
        if credential[:7].lower() != b"bearer " or b"authorization" in self._repeated:
            return None
        return credential[7:].strip() or None

    @property
    def is_upgrade(self) -> bool:
        return b"upgrade" in self._fields or self.scope["type"] == "websocket"

    @property
    def is_coded(self) -> bool:
        """Whether the body comes in another form than as it is or in chunks (RFC 9112, 6.1)."""
        coding = self._fields.get(b"transfer-encoding")
        return coding is not None and (coding.lower() != b"chunked" or b"transfer-encoding" in self._repeated)

    @property
    def host(self) -> bytes | None:
        return self._fields.get(b"host")

    def only(self, name: bytes) -> bytes:
        """The value of a field that must be there, once. Raises Unserved."""
        value: bytes | None = self._fields.get(name)
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
    if heard.is_coded:
        raise Unserved(501, "The gateway knows no transfer coding but chunked.")
    path, scope = heard.path, heard.scope
    project_id = _segment(path, PROJECTS)
    target = _with_query(path, scope["query_string"])
    return Asked(project_id, scope["method"], target, heard.token, address_of(scope), is_passed_on=True)


@lru_cache(maxsize=256)
def question_in(path: bytes, query: bytes) -> Question:
    """How the call is told that /authorize is asked about."""
    project_id = _segment(path, AUTHORIZE)
    if appended := path[len(AUTHORIZE) + len(project_id) :]:  # as Envoy does, the query after it
        return Question(project_id, appended=_with_query(appended, query))
    said = dict(part.partition(b"=")[::2] for part in query.split(b"&"))
    return Question(project_id, FAMILIES.get(said.get(b"from", b"")), is_403_alone=said.get(b"deny") == b"403")


def asked_of_authorize(heard: Heard, question: Question) -> Asked:
    """The call that a proxy asks about. Raises Unserved."""
    _refuse_upgrade(heard)
    scope = heard.scope
    if question.appended is not None:
        return Asked(question.project_id, scope["method"], question.appended, heard.token, address_of(scope))
    if question.family is None:
        raise Unserved(400, "Say where the call is told: ?from=original or ?from=forwarded.")
    method, target = heard.only(question.family[0]), heard.only(question.family[1])
    return Asked(question.project_id, method.decode("latin-1"), target, heard.token, address_of(scope))


def asked_of_nothing(heard: Heard) -> Asked:
    """For a request that isn't served: its target is none, so that a key that is good gets no further than 400."""
    project_id = _segment(heard.path, AUTHORIZE if heard.path.startswith(AUTHORIZE) else PROJECTS)
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
