"""One call of the API: what its resolvers may know of it, and what they may say back beside their data."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from gateway.errors import BadInput

ActorT = TypeVar("ActorT")

VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True)
class SessionCookie:
    """The session that a browser shall hold from now on; without a token, none."""

    token: str | None
    expires_at: datetime | None = None


@dataclass(kw_only=True)
class Call(Generic[ActorT]):
    """The context of one operation; a socket opens one for each operation that it carries.

    A subscription sets `cursor` before it yields an event: over SSE it becomes the event's id.
    """

    actor: ActorT
    request_id: str
    address: str
    last_event_id: str | None = None
    accepts_cookies: bool = False
    cursor: str | None = None
    session_cookie: SessionCookie | None = None

    def set_cookie(self, token: str, expires_at: datetime) -> None:
        """Signs the browser in. Raises BadInput where the answer's headers are gone: on a socket and in a stream."""
        self._hold(SessionCookie(token, expires_at))

    def clear_cookie(self) -> None:
        """Signs the browser out. Raises BadInput as `set_cookie` does."""
        self._hold(SessionCookie(None))

    def require_cookies(self) -> None:
        """Raises BadInput where a cookie couldn't be set: to be asked before anything is done for the sake of one."""
        if not self.accepts_cookies:
            raise BadInput("A cookie is set by a plain POST alone, not over a WebSocket or an event stream.")

    def _hold(self, cookie: SessionCookie) -> None:
        self.require_cookies()
        self.session_cookie = cookie


class Application(Protocol[ActorT]):
    """What the transport needs of the gateway behind it."""

    async def authenticate(self, token: str | None, address: str) -> ActorT:
        """Who holds the token; anonymous without one. Raises Unauthenticated for a bad one, Unavailable."""

    def recognized(self, token: str, address: str, /) -> ActorT | None:
        """Who holds the token, where that is known without asking anew: as it was a second ago at most.

        Concurrent calls may be given the same, so that it is for those that only read.
        """

    async def ended(self, actor: ActorT) -> None:
        """Returns when the token that made the actor has ended; for an anonymous one never.

        Raises Unavailable when that can't be known for a second.
        """

    def context(
        self,
        *,
        actor: ActorT,
        request_id: str,
        address: str,
        last_event_id: str | None,
        accepts_cookies: bool,
        is_query: bool,
    ) -> Call[ActorT]:
        """A fresh context for one operation; `is_query` where it does no more than read, once."""


def request_id_of(headers: Headers) -> str:
    """The caller's own X-Request-Id where it is 1 to 128 visible ASCII characters, else a new one."""
    given = headers.get("x-request-id", "")
    return given if VISIBLE_ASCII.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    return uuid4().hex


def address_of(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""
