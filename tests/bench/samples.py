"""One measurement of a server: how many requests a second, how long they took, what processor time they cost."""

import asyncio
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.bench.load import answered_in, request_bytes

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
WRK = shutil.which("wrk")


@dataclass(frozen=True)
class Target:
    """What is asked, again and again; processor time is that of these processes and their children."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None


@dataclass(frozen=True)
class Sample:
    """Requests a second, milliseconds of the median and of the 99th percentile, microseconds of processor a request."""

    rate: float
    p50: float
    p99: float
    cpu: float | None = None


async def interleaved(
    targets: Sequence[Target], *, rounds: int, seconds: float, connections: int
) -> dict[str, list[Sample]]:
    """Each target once in each round, so that what the machine does besides meets all of them."""
    samples: dict[str, list[Sample]] = {target.name: [] for target in targets}
    for number in range(rounds):
        for target in targets:
            print(f"  round {number + 1} of {rounds}, {connections} connections: {target.name}", flush=True)
            samples[target.name].append(await sample(target, seconds=seconds, connections=connections))
    return samples


async def sample(target: Target, *, seconds: float, connections: int) -> Sample:
    """Raises RuntimeError where an answer isn't a 200."""
    before = cpu_seconds(target.pid)
    measure = by_wrk if WRK else by_hand
    count, rate, p50, p99 = await measure(target, seconds, connections)
    spent = cpu_seconds(target.pid) - before
    return Sample(rate, p50, p99, spent / count * 1e6 if target.pid and count else None)


async def by_wrk(target: Target, seconds: float, connections: int) -> tuple[int, float, float, float]:
    headers = [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", *headers, target.url]
    process = await asyncio.create_subprocess_exec(WRK or "wrk", *options, stdout=asyncio.subprocess.PIPE)
    text = (await process.communicate())[0].decode()
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"{target.name}: {text}")
    count = int(re.findall(r"(\d+) requests in", text)[0])
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    return count, rate, _milliseconds(text, 50), _milliseconds(text, 99)


def _milliseconds(text: str, percentile: int) -> float:
    number, unit = re.findall(rf"{percentile}%\s+([\d.]+)(us|ms|s)", text)[0]
    return float(number) * MILLISECONDS[unit]


async def by_hand(target: Target, seconds: float, connections: int) -> tuple[int, float, float, float]:
    durations = sorted(await answered_in(target.url, request_bytes(target.url, target.headers), seconds, connections))
    p50, p99 = (durations[int(len(durations) * share)] * 1000 for share in (0.5, 0.99))
    return len(durations), len(durations) / seconds, p50, p99


def cpu_seconds(pid: int | None) -> float:
    """Of a process and those that it started and that still run."""
    if pid is None:
        return 0.0
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # of the kernel's memory
        fields = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123  # the same
        children = [int(child) for child in file.read().split()]
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(child) for child in children)


# Tables


@dataclass(frozen=True)
class Goal:
    """What a row should reach beside another: so much of its rate, or no more than so much of its 99th percentile."""

    row: str
    beside: str
    at_least: float | None = None
    p99_at_most: float | None = None


def print_table(title: str, samples: Mapping[str, Sequence[Sample]], beside: Sequence[str]) -> None:
    """Medians; the ratio columns are of the rates of the same round, their median too."""
    print(f"\n{title}")
    heads = "".join(f"  / {name}" for name in beside)
    print(f"{'':34}{'requests/s':>12}{'lowest':>9}{'highest':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{heads}")
    for name, each in samples.items():
        rates = [one.rate for one in each]
        cpus = [one.cpu for one in each if one.cpu is not None]
        cpu = f"{median(cpus):9.1f}" if cpus else f"{'-':>9}"
        ratios = "".join(f"{rate_ratio(each, samples[other]):{len(other) + 4}.2f}" for other in beside)
        p50, p99 = median(one.p50 for one in each), median(one.p99 for one in each)
        print(f"{name:34}{median(rates):12.0f}{min(rates):9.0f}{max(rates):9.0f}{p50:9.2f}{p99:9.2f}{cpu}{ratios}")


def print_goals(samples: Mapping[str, Sequence[Sample]], goals: Sequence[Goal]) -> None:
    for goal in goals:
        if goal.row not in samples or goal.beside not in samples:
            continue
        if goal.at_least is not None:
            ratio, wanted = rate_ratio(samples[goal.row], samples[goal.beside]), f"at least {goal.at_least:.2f}"
            is_reached = ratio >= goal.at_least
        else:
            ratio, wanted = p99_ratio(samples[goal.row], samples[goal.beside]), f"p99 at most {goal.p99_at_most:.1f}"
            is_reached = ratio <= (goal.p99_at_most or 0)
        verdict = "reached" if is_reached else "NOT REACHED"
        print(f"  {verdict:12} {goal.row} beside {goal.beside}: {ratio:.2f}, wanted {wanted}")


def rate_ratio(ours: Sequence[Sample], others: Sequence[Sample]) -> float:
    return median(one.rate / other.rate for one, other in zip(ours, others, strict=True))


def p99_ratio(ours: Sequence[Sample], others: Sequence[Sample]) -> float:
    return median(one.p99 / other.p99 for one, other in zip(ours, others, strict=True))
