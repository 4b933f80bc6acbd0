"""Ids that carry their type as a prefix and sort by the time at which they were made."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def new_id(prefix: str) -> str:
    """`prefix_` and 26 characters: a version 7 UUID (RFC 9562) in Crockford's base 32, most significant first.

    The 12 bits after the version hold the part of the millisecond (method 3 of section 6.2), so that ids that are made
    250 ns apart sort so.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    part = nanoseconds * 4096 // 1_000_000
    number = milliseconds << 80 | 7 << 76 | part << 64 | 2 << 62 | secrets.randbits(62)
    return f"{prefix}_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
