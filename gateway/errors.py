"""Every way in which Tessera says no.

    TesseraError
    |-- Refusal             a caller's mistake: in a mutation one of its userErrors
    |   |-- NotFound        also what may not be seen
    |   |-- Forbidden       seen, but not permitted
    |   |-- Invalid         the input can't be
    |   |-- Conflict        the input could be, were the state another
    |   `-- LimitExceeded   too much, or too often
    |-- Unauthenticated     nobody, or a token that is no good
    |-- BadInput            an argument of a query can't be
    |-- PeriodTooFine       the records that an odd edge needs are no longer kept
    |-- CursorExpired       the events after a cursor are no longer kept
    `-- Unavailable         the answer can't be known now

`message` is public, a sentence for a person; the cause goes to the log alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class TesseraError(Exception):
    code: str

    def __init__(self, message: str, path: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = tuple(path)


class Refusal(TesseraError):
    """Expected; changes nothing."""


class NotFound(Refusal):
    code = "NOT_FOUND"


class Forbidden(Refusal):
    code = "FORBIDDEN"


class Invalid(Refusal):
    code = "INVALID"


class Conflict(Refusal):
    code = "CONFLICT"


class LimitExceeded(Refusal):
    code = "LIMIT_EXCEEDED"


@contextmanager
def within(*path: str) -> Iterator[None]:
    """Around the checks of a part of the input: what is refused there is told to be at this path."""
    try:
        yield
    except Refusal as refusal:
        refusal.path = (*path, *refusal.path)
        raise


def require_version(present: int, expected: int | None, what: str) -> None:
    """Raises Conflict where the change is of another version than the present one; None is of any."""
    if expected not in {None, present}:
        raise Conflict(f"The {what} was changed meanwhile; look at it again.", ["expectedVersion"])


class Unauthenticated(TesseraError):
    code = "UNAUTHENTICATED"


class BadInput(TesseraError):
    code = "BAD_INPUT"


class PeriodTooFine(TesseraError):
    code = "PERIOD_TOO_FINE"


class CursorExpired(TesseraError):
    code = "CURSOR_EXPIRED"


class Unavailable(TesseraError):
    code = "UNAVAILABLE"
