"""Whom a call speaks for: a bearer token, or a browser's cookie with proof that the page is one of ours."""

from collections.abc import Iterable
from datetime import UTC
from email.utils import format_datetime

from starlette.requests import HTTPConnection
from strawberry.http.websocket_origin import normalize_allowed_origins, normalize_origin

from gateway.errors import BadInput, Unauthenticated
from schema.transport.call import SessionCookie
from schema.transport.errors import Refused

COOKIE = "tessera_session"
CSRF_HEADER = "x-tessera-csrf"


class Credentials:
    """Reads tokens out of calls, for a gateway that is reached at `public_url` and called by pages of some origins."""

    def __init__(self, public_url: str, allowed_origins: Iterable[str] = ()) -> None:
        own = normalize_origin(public_url)
        self.origins = normalize_allowed_origins([*allowed_origins, *([own] if own else [])])
        self._secure = public_url.startswith("https:")

    def token(self, call: HTTPConnection, bearer: str | None = None) -> str | None:
        """The token of a call, whose bearer may also come beside its headers, as a socket's does; None is anonymous.

        Raises Unauthenticated for an authorization of another kind, BadInput for two credentials at once, and Refused
        (403) for a cookie that another site's page may have sent.
        """
        given = [value for value in (bearer, call.headers.get("authorization")) if value is not None]
        cookie = call.cookies.get(COOKIE)
        if len(given) + (cookie is not None) > 1:
            raise BadInput("Send one credential: a bearer token or a cookie.")
        if cookie is not None:
            self._check_page(call)
            return cookie
        return _bearer(given[0]) if given else None

    def admits(self, call: HTTPConnection) -> bool:
        """Whether a page may send our cookie with this call, going by what its browser says of it."""
        origin = call.headers.get("origin")
        if origin is None:  # which browsers leave out of a GET to the page's own origin
            return call.headers.get("sec-fetch-site") == "same-origin"
        return normalize_origin(origin) in self.origins

    def set_cookie(self, cookie: SessionCookie) -> str:
        """The value of a Set-Cookie header (RFC 6265)."""
        parts = [f"{COOKIE}={cookie.token or ''}", "Path=/", "HttpOnly", "SameSite=Strict"]
        if cookie.token is None:
            parts.append("Max-Age=0")
        elif cookie.expires_at:
            parts.append(f"Expires={format_datetime(cookie.expires_at.astimezone(UTC), usegmt=True)}")
        return "; ".join([*parts, "Secure"] if self._secure else parts)

    def _check_page(self, call: HTTPConnection) -> None:
        if not self.admits(call):
            raise Refused(403, "The cookie is not taken from pages of this origin.")
        if call.scope["type"] == "http" and call.scope["method"] == "POST" and not call.headers.get(CSRF_HEADER):
            raise Refused(403, "A POST with the cookie needs the header X-Tessera-CSRF.")


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The authorization must be a bearer token.")
    return token.strip()
