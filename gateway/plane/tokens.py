"""Tokens of issued keys on the hot path: each is verified once, then known again by its hash for a while.

What it takes to verify one goes from cheap to dear: its length, a signing key that we have, a key and a generation that
we issued, and the signature last. Only what has a right signature is remembered, so that no flood of forged tokens
pushes out a good one; how often an address may have a signature found wrong is limited.
"""

import json
import time
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.plane.knowledge import Generation, Key, Knowledge
from gateway.signing import LONGEST_TOKEN, BadToken, claimed, verify

REMEMBERED_SECONDS = 600.0
MOST_REMEMBERED = 100_000
FORGERIES_PER_SECOND, FORGERY_BURST = 10.0, 50  # of one key, from one address
FORGERIES_IN_ALL_PER_SECOND, FORGERY_BURST_IN_ALL = 200.0, 1000  # from one address
MOST_SOURCES = 20_000


class UnknownToken(BadToken):
    """What nobody here has signed or issued, as far as is known by now."""


class TooManyForgeries(Exception):
    """So many signatures from this address were wrong that none is checked for the moment."""


class Holder(NamedTuple):
    """Who a token speaks for: a key, and which generation of its tokens this one is."""

    key_id: str
    generation: int


class Tokens:
    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._remembered: dict[bytes, tuple[Holder, float]] = {}
        self._forgeries = Forgeries()

    def __len__(self) -> int:
        return len(self._remembered)

    def holder(self, token: bytes, address: str) -> Holder:
        """Whose token this is, whatever has become of its key. Raises BadToken, UnknownToken, TooManyForgeries."""
        digest = sha256(token).digest()
        now = time.monotonic()
        found = self._remembered.get(digest)
        if found and now < found[1]:
            return found[0]
        holder = self._verified(token, address, now, was_right=found is not None)
        self._remember(digest, holder, now)
        return holder

    def _verified(self, sent: bytes, address: str, now: float, *, was_right: bool) -> Holder:
        """`was_right`: it was verified before, so that no flood of others keeps it from being verified again."""
        if len(sent) > LONGEST_TOKEN:
            raise BadToken
        token = sent.decode("latin-1")
        kid, jti = claimed(token)
        public_key = self._knowledge.public_keys.get(kid)
        holder = holder_named(jti)
        generation = generation_of(self._knowledge, holder)
        if public_key is None or generation is None or generation[1].kid != kid:
            raise UnknownToken
        if not was_right:
            self._forgeries.admit(address, holder.key_id, now)
        if not _is_right(token, public_key, generation[1]):
            self._forgeries.add(address, holder.key_id, now)
            raise BadToken
        return holder

    def _remember(self, digest: bytes, holder: Holder, now: float) -> None:
        self._remembered.pop(digest, None)
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]  # the one that was verified longest ago
        self._remembered[digest] = holder, now + REMEMBERED_SECONDS


def _is_right(token: str, public_key: Ed25519PublicKey, generation: Generation) -> bool:
    """Whether it is signed, and says what was signed; whether its time is over is for the key's own row to say."""
    try:
        return bool(verify(token, public_key, is_past_allowed=True) == json.loads(generation.claims))
    except BadToken:
        return False


def generation_of(knowledge: Knowledge, holder: Holder) -> tuple[Key, Generation] | None:
    key = knowledge.keys.get(holder.key_id)
    generation = key.generations.get(holder.generation) if key else None
    return (key, generation) if key and generation else None


def holder_named(jti: str) -> Holder:
    """What a `jti` says: `ISSUED_KEY_ID.GENERATION`. Raises BadToken."""
    key_id, _, number = jti.rpartition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise BadToken
    return Holder(key_id, int(number))


class Forgeries:
    """Wrong signatures by address and key, and by address alone: a leaking bucket each; the oldest are forgotten.

    Who forges one key from an address that others share keeps none of their keys from being verified.
    """

    def __init__(self) -> None:
        self._empty_at: dict[tuple[str, str], float] = {}

    def admit(self, address: str, key_id: str, now: float) -> None:
        """Raises TooManyForgeries."""
        for source, a_second, burst in _sources(address, key_id):
            if self._empty_at.get(source, now) - now > burst / a_second:
                raise TooManyForgeries

    def add(self, address: str, key_id: str, now: float) -> None:
        for source, a_second, _ in _sources(address, key_id):
            empty_at = max(self._empty_at.pop(source, now), now) + 1 / a_second
            while len(self._empty_at) >= MOST_SOURCES:
                del self._empty_at[next(iter(self._empty_at))]
            self._empty_at[source] = empty_at


def _sources(address: str, key_id: str) -> list[tuple[tuple[str, str], float, int]]:
    """Where a forgery counts, with how many are looked at a second there, and how many at once."""
    network = _network(address)
    return [
        ((network, key_id), FORGERIES_PER_SECOND, FORGERY_BURST),
        ((network, ""), FORGERIES_IN_ALL_PER_SECOND, FORGERY_BURST_IN_ALL),
    ]


def _network(address: str) -> str:
    """An address of IPv4, or the /64 that one of IPv6 is in: who has one has all of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:  # as a proxy that listens for both tells it
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))
