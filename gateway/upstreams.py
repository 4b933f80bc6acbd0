"""Where a project's service stands behind the gateway."""

import re
from urllib.parse import urlsplit

from gateway.errors import Invalid

LONGEST = 2000
BASE_URL = re.compile(
    r"https?://"
    r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])"  # no user info: a password in an address ends in a log
    r"(:[0-9]{1,5})?"
    r"(/[!-~]*)?"
)


def checked_upstream_url(url: str) -> str:
    """The base URL, as it was given. Raises Invalid unless it is http or https, a host, perhaps a port and a path."""
    if len(url) > LONGEST or not BASE_URL.fullmatch(url) or not _can_be_called(url):
        raise Invalid(
            "An upstream is http:// or https://, a host, and where needed a port and a path; nothing else.",
            ["upstreamUrl"],
        )
    return url


def _can_be_called(url: str) -> bool:
    """What the pattern can't say: a port that exists, an address in the brackets, and a path that stays what it is."""
    try:
        parts = urlsplit(url)
        segments = parts.path.split("/")
        return parts.port != 0 and not {"?", "#", "\\"} & set(url) and not {".", ".."} & set(segments)
    except ValueError:
        return False
