"""Whose token it is, in memory: of tokens that were found good, for as long as nothing happens to their users."""

from hashlib import sha256
from typing import NamedTuple

from gateway.permissions import Actor
from gateway.pricing import micros
from schema.kept.revisions import Revisions, slot_of

MOST_REMEMBERED = 20_000
SECOND = 1_000_000


class Viewer(NamedTuple):
    """`ends_at` in microseconds, at the latest: sessions end by whole seconds."""

    id: str
    user_slot: int
    ends_at: int | None
    since: int


class Viewers:
    """Tokens by their hashes, so that no token stays in memory."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._remembered: dict[bytes, Viewer] = {}

    def remember(self, actor: Actor, since: int) -> None:
        """Of an actor who was authenticated after the revision `since`."""
        if actor.token is None or actor.id is None or actor.user_id is None:
            return
        ends_at = micros(actor.ends_at) // SECOND * SECOND if actor.ends_at else None
        digest = sha256(actor.token.encode()).digest()
        self._remembered.pop(digest, None)
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = Viewer(actor.id, slot_of(actor.user_id), ends_at, since)

    def find(self, token: bytes, now: int) -> str | None:
        """The viewer's id, where the token is known to be good at this instant in microseconds."""
        found = self._remembered.get(sha256(token).digest())
        if found is None or (found.ends_at is not None and found.ends_at <= now):
            return None
        return found.id if self._revisions.knows(found.since, found.user_slot) else None
