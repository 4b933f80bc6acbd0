"""When each project, each user and all the rest last changed, as far as the event log tells: numbers in memory.

What was read at `now` stands for as long as nothing that it hangs on has a higher number. Every change of the product
appends an event to the log in its own transaction, so that none passes unnoticed.
"""

from collections.abc import Iterable, Sequence

from models import Event

SLOTS = 4096
"""So many numbers for all projects, and for all users; those that share one change together, which costs a reading."""
UNSEEN = frozenset({"session"})
"""Nouns whose events say who may ask, and change no answer."""

Slots = tuple[int, ...] | None
"""Of projects; None is everything there is."""


class Revisions:
    """A listener of the event log."""

    def __init__(self) -> None:
        self.now = 0
        """Grows with each event."""
        self._begun = 0
        self._everything = 0
        self._of_no_project = 0
        self._of_nobody = 0
        self._projects = [0] * SLOTS
        self._users = [0] * SLOTS

    def heard(self, events: Sequence[Event]) -> None:
        for event in events:
            self.now += 1
            self._move(event)

    def begun(self) -> None:
        self.now += 1
        self._begun = self.now

    def stands(self, since: int, slots: Slots) -> bool:
        """Whether what was read of these projects at `since`, and of accounts, is still so."""
        if since < self._begun:
            return False
        if slots is None:
            return self._everything <= since
        for slot in slots:  # not by all(): each call with an answer that is kept comes here
            if since < self._projects[slot]:
                return False
        return self._of_no_project <= since

    def knows(self, since: int, user_slot: int) -> bool:
        """Whether a user's sessions and keys are as they were at `since`."""
        return max(self._users[user_slot], self._of_nobody, self._begun) <= since

    def _move(self, event: Event) -> None:
        if event.user_id:
            self._users[slot_of(event.user_id)] = self.now
        elif not event.project_id:
            self._of_nobody = self.now
        if event.kind.partition(".")[0] in UNSEEN:
            return
        self._everything = self.now
        if event.project_id:
            self._projects[slot_of(event.project_id)] = self.now
        else:
            self._of_no_project = self.now


def slot_of(id: str) -> int:
    return hash(id) % SLOTS


def slots_of(project_ids: Iterable[str] | None) -> Slots:
    return None if project_ids is None else tuple({slot_of(id) for id in project_ids})
