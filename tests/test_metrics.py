"""What Prometheus reads: what was counted, in the form that was asked for, and nothing that is anybody's."""

from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import GROUP_SECONDS, Measures, Metrics
from tests.stage import Stage, staged

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
DOCUMENTED = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()


def samples(measures: Measures, accept: str = "") -> dict[str, float]:
    """The values, by the name and the labels' values."""
    text, _ = Metrics(measures, log_position=lambda: 7).text(accept)
    parse: Any = openmetrics.text_string_to_metric_families if accept == OPENMETRICS else text_string_to_metric_families
    families = parse(text.decode())
    return {" ".join((each.name, *each.labels.values())): each.value for family in families for each in family.samples}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_what_was_counted_is_read(accept: str) -> None:
    measures = Measures()
    measures.allowed += 3
    measures.refused[401] += 2
    measures.refused[418] += 1
    measures.upstream_failures[502] += 1
    measures.voided += 1
    measures.remembered_tokens = lambda: 5
    read = samples(measures, accept)
    assert read["tessera_calls_allowed_total"] == 3
    assert read["tessera_calls_refused_total 401"] == 2
    assert read["tessera_calls_refused_total 418"] == 1
    assert read["tessera_calls_refused_total 429"] == 0
    assert read["tessera_upstream_failures_total 502"] == 1
    assert read["tessera_upstream_failures_total 504"] == 0
    assert read["tessera_calls_voided_total"] == 1
    assert read["tessera_remembered_tokens"] == 5
    assert read["tessera_event_log_position"] == 7
    assert read[f"tessera_build_info {version('tessera')}"] == 1


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 10))))
def test_each_group_is_in_every_bucket_that_it_fits(groups: list[tuple[int, float]]) -> None:
    measures = Measures()
    for calls, seconds in groups:
        measures.wrote_group(calls, seconds)
    read = samples(measures)
    for bound in GROUP_SECONDS:
        within = sum(seconds <= bound for _, seconds in groups)
        assert read[f"tessera_meter_group_seconds_bucket {bound}"] == within
    assert read["tessera_meter_group_seconds_count"] == len(groups)
    assert read["tessera_meter_calls_total"] == sum(calls for calls, _ in groups)


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Measures(), Measures()
    one.allowed += 1
    one.refused[401] += 1
    assert samples(other)["tessera_calls_allowed_total"] == 0
    assert samples(other)["tessera_calls_refused_total 401"] == 0


def test_every_measure_is_documented_and_every_documented_one_exists() -> None:
    names = {name.split()[0] for name in samples(Measures()) if name.startswith("tessera_")}
    families = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in names}
    assert {line.split("`")[1] for line in DOCUMENTED.splitlines() if line.startswith("| `")} == families


# ---------------------------------------------------------------- over HTTP


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as stage:
        yield stage


async def read_by(http: httpx2.AsyncClient, accept: str) -> httpx2.Response:
    answer = await http.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Accept"
    return answer


async def test_it_is_told_of_the_process_and_of_nobody(stage: Stage) -> None:
    key_id, _ = await stage.key()
    text = (await read_by(stage.http, "*/*")).text
    assert "\nprocess_start_time_seconds " in text
    assert "\npython_info{" in text
    assert not any(id in text for id in (stage.project.id, stage.ada.id, stage.bo.id, key_id))


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=x", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
    ],
)
async def test_the_form_is_the_one_that_was_asked_for(stage: Stage, accept: str, media_type: str) -> None:
    assert (await read_by(stage.http, accept)).headers["content-type"] == media_type
