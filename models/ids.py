"""Ids that carry their type as a prefix and sort by the time at which they were made."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def new_id(prefix: str) -> str:
    """One that nobody has, made now; ids that are made 250 ns apart sort so."""
    return id_of(prefix, time.time_ns(), secrets.randbits(62))


def id_of(prefix: str, nanoseconds: int, chance: int) -> str:
    """`prefix_` and 26 characters: a version 7 UUID (RFC 9562) in Crockford's base 32, most significant first.

    It is of an instant, in nanoseconds since 1970, and of 62 bits of chance. The 12 bits after the version hold the
    part of the millisecond (method 3 of section 6.2).
    """
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    part = rest * 4096 // 1_000_000
    number = milliseconds << 80 | 7 << 76 | part << 64 | 2 << 62 | chance
    return f"{prefix}_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
