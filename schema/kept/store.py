"""Where answers are kept: so many bytes of them, those that were given last."""

from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

from gateway.metrics import Measures
from gateway.revisions import Slots
from schema.transport.accept import MediaType

OVERHEAD_BYTES = 600
"""What Python takes beside the characters, about."""
LARGEST_PART = 8
"""An answer that would fill so many parts of the room is not kept."""


class Question(NamedTuple):
    """All that tells an answer from another: what may be seen hangs on who asks, and on nothing else of the call."""

    viewer_id: str
    """A key's id, a user's, or nothing for who is anonymous."""
    media_type: MediaType
    query: str
    name: str | None
    variables: bytes

    @property
    def size(self) -> int:
        return len(self.query) + len(self.variables)


class Kept(NamedTuple):
    """The bytes of an answer, and while they stand: since a revision, of these projects, until microseconds."""

    body: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    """What its header says of the body."""
    etag: str
    since: int
    slots: Slots
    until: int | None

    @classmethod
    def made(cls, body: bytes, media_type: MediaType, *, since: int, slots: Slots) -> "Kept":
        fields = ((b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body)))
        etag = f'"{sha256(media_type.encode() + body).hexdigest()[:32]}"'
        return cls(body, fields, etag, since, slots, None)


class Store:
    """Bounded: what was not given for the longest time makes room."""

    def __init__(self, limit_bytes: int, measures: Measures) -> None:
        self._limit_bytes = limit_bytes
        self._measures = measures
        self._kept: OrderedDict[Question, Kept] = OrderedDict()
        self._bytes = 0

    def __contains__(self, question: Question) -> bool:
        return question in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, question: Question) -> Kept | None:
        if found := self._kept.get(question):
            self._kept.move_to_end(question)
        return found

    def put(self, question: Question, kept: Kept) -> None:
        size = _size(question, kept)
        if size * LARGEST_PART > self._limit_bytes:
            return
        self.drop(question)
        self._kept[question] = kept
        self._grow(size)
        while self._bytes > self._limit_bytes:
            oldest, gone = self._kept.popitem(last=False)
            self._grow(-_size(oldest, gone))
            self._measures.kept_evicted += 1

    def drop(self, question: Question) -> None:
        """What no longer stands."""
        if gone := self._kept.pop(question, None):
            self._grow(-_size(question, gone))

    def _grow(self, size: int) -> None:
        self._bytes += size
        self._measures.kept_bytes = self._bytes


def _size(question: Question, kept: Kept) -> int:
    return len(kept.body) + question.size + OVERHEAD_BYTES
