"""What is measured: targets take turns, round by round, so that a noisy machine disturbs all of them alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import median
from typing import Protocol


@dataclass(frozen=True)
class Sample:
    """One measurement of one target.

    `cpu_ms`: what its own process took of a processor for one answer; of a database's processes nothing is in it.
    `beside`: what else was answered meanwhile, in a second.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None = None
    beside: float | None = None


class Target(Protocol):
    @property
    def name(self) -> str: ...

    async def measure(self, connections: int, seconds: float) -> Sample:
        """Raises RuntimeError where it fails at what it is measured by."""


class Figures:
    """The samples of each target at each number of connections, one a round."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int], list[Sample]] = {}

    def add(self, name: str, connections: int, sample: Sample) -> None:
        self._samples.setdefault((name, connections), []).append(sample)

    def names(self, connections: int) -> list[str]:
        return [name for name, number in self._samples if number == connections]

    def connections(self) -> list[int]:
        return sorted({number for _, number in self._samples})

    def of(self, name: str, connections: int) -> list[Sample]:
        return self._samples.get((name, connections), [])


WARMING = 16

Turn = tuple[Target, int]


async def in_rounds(turns: Sequence[Turn], *, rounds: int, seconds: float) -> Figures:
    """Measures each target, at each of its numbers of connections, once a round; every other round runs backwards."""
    figures = Figures()
    for target in dict.fromkeys(target for target, _ in turns):
        print(f"warming up: {target.name}", flush=True)
        most = max(number for each, number in turns if each is target)
        await target.measure(min(most, WARMING), max(seconds / 3, 2))
    for number in range(rounds):
        ordered = turns if number % 2 == 0 else list(reversed(turns))
        for target, connections in ordered:
            sample = await target.measure(connections, seconds)
            figures.add(target.name, connections, sample)
            print(f"round {number + 1} of {rounds}: {target.name}, {connections}: {sample.rate:.0f}/s", flush=True)
    return in_order(figures, turns)


def in_order(figures: Figures, turns: Sequence[Turn]) -> Figures:
    ordered = Figures()
    for target, connections in turns:
        for sample in figures.of(target.name, connections):
            ordered.add(target.name, connections, sample)
    return ordered


def ratios(mine: Sequence[float], others: Sequence[float]) -> list[float]:
    """Of the same round each: how fast the machine was then cancels out."""
    return [one / other for one, other in zip(mine, others, strict=True)]


def latencies(seconds_each: Sequence[float], elapsed: float, connections: int) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds, as wrk has them.

    One that took longer than the mean stands also for those that would have begun meanwhile on its connection. Of none
    they aren't known.
    """
    if not seconds_each:
        return nan, nan
    expected = elapsed * connections / len(seconds_each)
    counted = sorted(seconds_each)
    for each in seconds_each:
        waited = each - expected
        while each >= 2 * expected and waited > expected:
            counted.append(waited)
            waited -= expected
    counted.sort()
    return 1000 * median(counted), 1000 * counted[min(len(counted) * 99 // 100, len(counted) - 1)]
