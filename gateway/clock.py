"""The present instant, in UTC."""

import time
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache


def now() -> datetime:
    return datetime.now(UTC)


def http_date() -> bytes:
    """The present second, as Date says it (RFC 9110, 5.6.7)."""
    return _http_date(int(time.time()))


@lru_cache(maxsize=1)
def _http_date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
