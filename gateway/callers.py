"""Who holds a token, in memory: of tokens that were found good, for as long as nothing happens to their users.

What happens to a user, to one of their sessions or keys, or to what signs tokens appends an event in its own
transaction, so that none passes unnoticed.
"""

from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

from gateway.permissions import Actor
from gateway.pricing import micros
from gateway.revisions import Revisions, slot_of

MOST_REMEMBERED = 10_000
"""Some 3 kB each."""
SECOND = 1_000_000


class Caller(NamedTuple):
    """An actor without address and token; `ends_at` in microseconds, at the latest: sessions end by whole seconds."""

    actor: Actor
    user_slot: int
    ends_at: int | None
    since: int


class Callers:
    """By the hashes of tokens, so that no token stays in memory.

    To be asked when the log is settled. Calls share what they are given, so that it is for those that only read.
    """

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._remembered: dict[bytes, Caller] = {}

    @property
    def revision(self) -> int:
        """The present one: to be taken before a token is looked at that shall be remembered."""
        return self._revisions.now

    def remember(self, actor: Actor, since: int) -> None:
        """An actor who was authenticated after that revision."""
        if actor.token is None or actor.user_id is None:
            return
        ends_at = micros(actor.ends_at) // SECOND * SECOND if actor.ends_at else None
        digest = sha256(actor.token.encode()).digest()
        self._remembered.pop(digest, None)
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        nowhere = replace(actor, address=None, token=None)
        self._remembered[digest] = Caller(nowhere, slot_of(actor.user_id), ends_at, since)

    def find(self, token: bytes, now: int) -> Actor | None:
        """Who holds the token, where it is known to be good at this instant in microseconds."""
        digest = sha256(token).digest()
        found = self._remembered.get(digest)
        if found is None:
            return None
        is_over = found.ends_at is not None and found.ends_at <= now
        if is_over or not self._revisions.knows(found.since, found.user_slot):
            del self._remembered[digest]
            return None
        return found.actor
