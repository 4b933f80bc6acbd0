"""The console: the pages that people open, as its build left them; where it isn't built, a page that says so."""

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

INDEX = "/index.html"
HASHED = "/assets/"
OWN_PATHS = ("/", "/sign-in", "/sign-up", "/account", "/my-keys", "/projects", "/projects/{below:path}")
"""Where the index stands: the console reads the rest of the path by itself. Its router knows no other first segment."""

FOR_A_YEAR = "public, max-age=31536000, immutable"
ASKED_EACH_TIME = "no-cache"
POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types vue",
)
SECURITY = {
    "Content-Security-Policy": "; ".join(POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
NOT_BUILT = """<!doctype html>
<html lang="en">
<title>Tessera</title>
<h1>The console is not built</h1>
<p>The gateway works without it. To have it built, install Node 20.19 or later with npm, and call
<code>make setup</code>.</p>
<p>The API is at <a href="/graphql">/graphql</a>.</p>
</html>
"""


@dataclass(frozen=True)
class Asset:
    """A file of the build."""

    body: bytes
    compressed: bytes
    media_type: str
    caching: str
    etag: str

    async def answer(self, request: Request) -> Response:
        headers = {**SECURITY, "Cache-Control": self.caching, "ETag": self.etag, "Vary": "Accept-Encoding"}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self.body, 200, headers, self.media_type)
        return Response(self.compressed, 200, {**headers, "Content-Encoding": "gzip"}, self.media_type)


def routes(folder: Path | None = None) -> list[Route]:
    """Of the build in this folder, else of the one that came with the gateway."""
    assets = build_in(folder or where())
    index = assets.get(INDEX)
    return [
        *(Route(path, index.answer if index else not_built) for path in OWN_PATHS),
        *(Route(path, asset.answer) for path, asset in assets.items() if path != INDEX),
    ]


async def not_built(_: Request) -> Response:
    return HTMLResponse(NOT_BUILT, headers={**SECURITY, "Cache-Control": "no-store"})


def where() -> Path:
    """In an installed gateway beside its code, in a checkout where the build puts it."""
    packed = Path(__file__).with_name("_console")
    return packed if packed.is_dir() else Path(__file__).parent.parent / "console" / "dist"


@cache
def build_in(folder: Path) -> dict[str, Asset]:
    """The files by their paths on the gateway, read once; none where there is no build."""
    found = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    paths = [f"/{file.relative_to(folder).as_posix()}" for file in found]
    return {path: _asset(path, file.read_bytes()) for path, file in zip(paths, found, strict=True)}


def _asset(path: str, body: bytes) -> Asset:
    """The tag is weak, since both forms share it (RFC 9110, 8.8.3)."""
    return Asset(
        body,
        gzip.compress(body, mtime=0),
        guess_type(path)[0] or "application/octet-stream",
        FOR_A_YEAR if path.startswith(HASHED) else ASKED_EACH_TIME,
        f'W/"{sha256(body).hexdigest()[:32]}"',
    )
