"""Tables of what was measured, and of what was to be reached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.samples import Figures, Sample, ratios

Measure = Callable[[Sample], float | None]


@dataclass(frozen=True)
class Goal:
    """How a measure of one target has to stand beside that of another, as the median of the rounds' ratios."""

    what: str
    each: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> str:
        """Nothing, where it is only told."""
        if self.at_least is not None:
            return f">= {self.at_least:.2f}"
        return f"<= {self.at_most:.2f}" if self.at_most is not None else ""

    @property
    def is_reached(self) -> bool:
        found = median(self.each)
        return (self.at_least is None or found >= self.at_least) and (self.at_most is None or found <= self.at_most)


def rate(sample: Sample) -> float:
    return sample.rate


def p99(sample: Sample) -> float:
    return sample.p99_ms


def beside(
    figures: Figures, mine: tuple[str, int], other: tuple[str, int], measure: Callable[[Sample], float]
) -> list[float]:
    """The ratio of each round; nothing where either wasn't measured."""
    one, another = figures.of(*mine), figures.of(*other)
    return ratios([measure(each) for each in one], [measure(each) for each in another]) if one and another else []


def print_figures(title: str, figures: Figures, references: Mapping[str, str], *, extra: str | None = None) -> None:
    """A table for each number of connections.

    Its last columns say how many times the requests a second of other rows a row makes: `references` are those rows'
    names by the columns'. The column `extra` is what else was answered.
    """
    for connections in figures.connections():
        names = figures.names(connections)
        present = {heading: name for heading, name in references.items() if name in names}
        print(f"\n{title}, {connections} connection{'s' if connections > 1 else ''}")
        headings = ["requests/s", "lowest", "highest", "p50 ms", "p99 ms", "CPU ms", *([extra] if extra else [])]
        headings += [f"/ {each}" for each in present]
        rows = [
            (name, _cells(figures, name, connections, list(present.values()), has_extra=bool(extra))) for name in names
        ]
        print_table(headings, rows)


def print_goals(goals: Sequence[Goal]) -> None:
    """Those that could be measured."""
    measured = [goal for goal in goals if goal.each]
    if measured:
        print()
        print_table(["wanted", "median", "lowest", "highest", ""], [(goal.what, _judged(goal)) for goal in measured])


def _judged(goal: Goal) -> list[str]:
    numbers = [f"{number:.2f}" for number in (median(goal.each), min(goal.each), max(goal.each))]
    judged = "reached" if goal.is_reached else "NOT REACHED"
    return [goal.bound, *numbers, judged if goal.bound else ""]


def _cells(figures: Figures, name: str, connections: int, references: Sequence[str], *, has_extra: bool) -> list[str]:
    samples = figures.of(name, connections)
    rates = [sample.rate for sample in samples]
    cells = [_number(number) for number in (median(rates), min(rates), max(rates))]
    cells += [_middle(samples, measure) for measure in (lambda s: s.p50_ms, p99, lambda s: s.cpu_ms)]
    cells += [_middle(samples, lambda s: s.beside)] if has_extra else []
    for other in references:
        each = beside(figures, (name, connections), (other, connections), rate)
        cells.append(f"{median(each):.3g}")
    return cells


def _middle(samples: Sequence[Sample], measure: Measure) -> str:
    values = [value for sample in samples if (value := measure(sample)) is not None]
    return _number(median(values)) if values else "-"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def print_table(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    first = max(len(name) for name, _ in rows)
    widths = [max(len(heading), *(len(cells[n]) for _, cells in rows)) for n, heading in enumerate(headings)]
    for name, cells in [("", headings), *rows]:
        print(name.ljust(first) + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
