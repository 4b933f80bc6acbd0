"""What this process counts of itself, and how Prometheus reads it. The only file that knows prometheus-client.

The hot path adds to plain integers, which one event loop changes and nobody else: a lock would cost a call more than
the sum. They are made into samples when somebody asks. Nothing here names a project, a user or a key.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

GROUP_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the buckets of how long a group's transaction takes."""
REFUSALS = (400, 401, 403, 404, 405, 429, 501, 503)
FAILURES = (502, 504)


class Measures:
    """The sums of one process since it started."""

    __slots__ = (
        "allowed",
        "callers_asked_about",
        "callers_known",
        "group_calls",
        "group_seconds",
        "groups_within",
        "kept_bytes",
        "kept_evicted",
        "kept_given",
        "kept_made",
        "operations",
        "refused",
        "remembered_tokens",
        "upstream_failures",
        "voided",
    )

    def __init__(self) -> None:
        self.allowed = 0
        """Calls that were let through, at both entrances."""
        self.refused = Counter(dict.fromkeys(REFUSALS, 0))
        """Calls that were refused, by the status that they were answered with."""
        self.upstream_failures = Counter(dict.fromkeys(FAILURES, 0))
        """Calls that were let through and failed at the upstream, by the status: 502 or 504."""
        self.voided = 0
        """Calls that were counted and taken back, because no byte of them reached the upstream."""
        self.group_calls = 0
        """Calls that were written by the groups."""
        self.group_seconds = 0.0
        self.groups_within = [0] * (len(GROUP_SECONDS) + 1)
        """Groups by how long their transaction took; the last are those that took longer than any bound."""
        self.operations: Counter[tuple[str, str]] = Counter({("levels", ""): 0})
        """Queries and mutations of the API, by the way that they ran and, where it was the ordinary one, why."""
        self.callers_known = 0
        """Calls of the API by HTTP whose token was known to be good, less those that got kept bytes at the door."""
        self.callers_asked_about = 0
        """Those whose token had to be looked at, and the database asked."""
        self.kept_given = 0
        """Queries that were answered with bytes that were kept."""
        self.kept_made = 0
        """Queries that were run, and whose answers may be kept."""
        self.kept_evicted = 0
        """Answers that made room for others."""
        self.kept_bytes = 0
        self.remembered_tokens: Callable[[], int] = lambda: 0
        """Asks how many tokens are remembered as good."""

    def wrote_group(self, calls: int, seconds: float) -> None:
        """A group of calls became durable in one transaction."""
        self.group_calls += calls
        self.group_seconds += seconds
        self.groups_within[bisect_left(GROUP_SECONDS, seconds)] += 1


class Metrics:
    """All that Prometheus may read of this process."""

    def __init__(self, measures: Measures, log_position: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(Samples(measures, log_position))

    def text(self, accept: str) -> tuple[bytes, str]:
        """The samples in the form that the Accept header asks for, and that form's media type."""
        try:
            encode, media_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is none
            encode, media_type = choose_encoder("")
        return encode(self._registry), media_type


class Samples(Collector):
    """The sums of a process as samples; each process answers for itself alone."""

    def __init__(self, measures: Measures, log_position: Callable[[], int]) -> None:
        self._measures = measures
        self._log_position = log_position
        self._version = version("tessera")

    def collect(self) -> Iterable[Metric]:
        sums = self._measures
        yield InfoMetricFamily("tessera_build", "Which release this is.", {"version": self._version})
        yield GaugeMetricFamily(
            "tessera_event_log_position", "Up to where this process knows the event log.", self._log_position()
        )
        yield GaugeMetricFamily(
            "tessera_remembered_tokens", "Tokens that this process remembers as good.", sums.remembered_tokens()
        )
        yield CounterMetricFamily("tessera_kept_answers_hits", "Queries answered with kept bytes.", sums.kept_given)
        yield CounterMetricFamily(
            "tessera_kept_answers_misses", "Queries that were run and whose answers may be kept.", sums.kept_made
        )
        yield CounterMetricFamily(
            "tessera_kept_answers_evictions", "Kept answers that made room for others.", sums.kept_evicted
        )
        yield GaugeMetricFamily("tessera_kept_answers_bytes", "What is kept of answers, in bytes.", sums.kept_bytes)
        yield CounterMetricFamily(
            "tessera_callers_hits", "Calls of the API whose token was known to be good.", sums.callers_known
        )
        yield CounterMetricFamily(
            "tessera_callers_misses", "Calls of the API whose token had to be asked about.", sums.callers_asked_about
        )
        yield CounterMetricFamily("tessera_calls_allowed", "Calls that this process let through.", sums.allowed)
        yield _by_status("tessera_calls_refused", "Calls that this process refused.", sums.refused)
        yield _by_status(
            "tessera_upstream_failures",
            "Calls that this process let through and an upstream failed, or was too slow for.",
            sums.upstream_failures,
        )
        yield CounterMetricFamily(
            "tessera_calls_voided", "Counted calls that were taken back: nothing of them reached upstream.", sums.voided
        )
        yield CounterMetricFamily(
            "tessera_meter_calls", "Calls that this process wrote down, in groups.", sums.group_calls
        )
        yield _group_seconds(sums)
        yield _operations(sums)


def _by_status(name: str, what: str, sums: Counter[int]) -> Metric:
    family = CounterMetricFamily(name, f"{what} By the status of the answer.", labels=["status"])
    for status, quantity in sorted(sums.items()):
        family.add_metric([str(status)], quantity)
    return family


def _operations(sums: Measures) -> Metric:
    family = CounterMetricFamily(
        "tessera_operations",
        "Queries and mutations that this process ran: level by level, or the ordinary way for a reason.",
        labels=["way", "reason"],
    )
    for (way, reason), quantity in sorted(sums.operations.items()):
        family.add_metric([way, reason], quantity)
    return family


def _group_seconds(sums: Measures) -> Metric:
    bounds = [*map(str, GROUP_SECONDS), "+Inf"]
    return HistogramMetricFamily(
        "tessera_meter_group_seconds",
        "How long the transactions of groups of calls took, in this process; calls by groups is their mean size.",
        list(zip(bounds, accumulate(sums.groups_within), strict=True)),
        sums.group_seconds,
    )
