"""How far a long command is, on stderr: a bar on a terminal, elsewhere a line for each tenth of the way."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

TENTHS = 10


@contextmanager
def shown(whole: int, noun: str) -> Iterator[Callable[[int], None]]:
    """What is to be called with how many more are done."""
    if sys.stderr.isatty():
        with typer.progressbar(length=whole, label=noun, file=sys.stderr) as bar:
            yield bar.update
    else:
        yield _Lines(whole, noun).update


class _Lines:
    def __init__(self, whole: int, noun: str) -> None:
        self._whole, self._noun, self._done = whole, noun, 0

    def update(self, more: int) -> None:
        before, self._done = self._done, self._done + more
        if before * TENTHS // self._whole < self._done * TENTHS // self._whole:
            typer.echo(f"{self._done} of {self._whole} {self._noun}", err=True)
