"""The page for trying operations in a browser: one file, which loads nothing from outside the gateway."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from starlette.responses import HTMLResponse

PAGE = Path(__file__).with_name("explorer.html").read_text(encoding="utf-8")


def _hash_of(element: str) -> str:
    """The CSP source of the page's one inline element of a kind (CSP Level 3, 2.3.1)."""
    found = re.search(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    digest = sha256(found.group(1).encode() if found else b"").digest()
    return f"'sha256-{b64encode(digest).decode()}'"


HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of('script')}",
            f"style-src {_hash_of('style')}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page() -> HTMLResponse:
    return HTMLResponse(PAGE, headers=HEADERS)
