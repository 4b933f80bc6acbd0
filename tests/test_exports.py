"""Calls and totals are downloaded as they were counted, whole or visibly not, by those who may see usage."""

import csv
import io
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import clock, counting, exports
from gateway.counting import Call, Refused
from gateway.errors import Forbidden, NotFound, PeriodTooFine, Unauthenticated
from gateway.exports import RECORD_COLUMNS, TOTAL_COLUMNS
from gateway.formats import Format, Row, Text
from gateway.permissions import Actor, Permission
from gateway.pricing import Granularity, Period, between, instant_of, micros, plain, steps
from gateway.usage import Grouping
from models import IssuedKey, KeyState, Project, UsageRecord, User
from tests.ledger import (
    END,
    HOUR,
    MICROSECOND,
    START,
    ZONES,
    Ledger,
    new_ledger,
    over_examples,
    periods,
    random_calls,
    random_refusals,
)
from tests.stage import Stage, staged
from tests.statements import statements
from tests.world import ANONYMOUS, by_key, issued_key, join, owned_project, person, refused, role, template

KEPT_FROM = START - HOUR


@pytest.fixture
async def busy(database: str) -> Ledger:
    ledger = await new_ledger()
    await ledger.count(random_calls(ledger, 600), random_refusals(ledger, 100))
    return ledger


@pytest.fixture
async def analyst(busy: Ledger) -> Actor:
    made = await person("An")
    project = await Project.get(id=busy.keys[0].project_id)
    await join(project, made, await role(project, Permission.KEYS_VIEW, name="Analyst"))
    return made


def shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%S.%f}Z"


async def record_rows(actor: Actor, project_id: str, period: Period) -> list[dict[str, Any]]:
    export = await exports.records(actor, project_id, period, KEPT_FROM)
    return [dict(zip(export.columns, row, strict=True)) async for rows in export.chunks for row in rows]


# Records


@over_examples
@given(period=periods, at_once=st.integers(1, 50))
async def test_every_call_of_a_period_is_told_once_in_its_order_however_it_is_read(
    busy: Ledger, analyst: Actor, monkeypatch: pytest.MonkeyPatch, period: Period, at_once: int
) -> None:
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", at_once)
    project_id, own = busy.keys[0].project_id, {key.id for key in busy.of(busy.keys[0].project_id)}
    found = await record_rows(analyst, project_id, period)
    calls = [call for call in busy.calls if call.key_id in own and period.start <= call.called_at < period.end]
    expected = sorted((shown(call.called_at), call.key_id, plain(call.cost)) for call in calls)
    assert sorted((row["called_at"], row["key_id"], row["cost"]) for row in found) == expected
    order = [(row["called_at"], row["key_id"]) for row in found]
    assert order == sorted(order)


async def test_a_record_names_its_key_user_and_template(busy: Ledger, analyst: Actor) -> None:
    key = busy.keys[1]
    at = END + HOUR
    await counting.record([Call(key.id, at, Decimal("0.0000000001"))])
    [row] = await record_rows(analyst, key.project_id, between(at, at + MICROSECOND))
    assert row == {
        "called_at": shown(at),
        "key_id": key.id,
        "key_name": "Basic",
        "user_id": key.user_id,
        "user_name": "Bo",
        "template_id": key.template_id,
        "cost": "0.0000000001",
        "currency": "EUR",
    }


async def test_calls_at_one_instant_are_told_in_the_order_in_which_they_were_counted(
    busy: Ledger, analyst: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 2)
    await counting.record(Call(busy.keys[0].id, END, Decimal(number)) for number in (5, 3, 9, 1, 4, 2, 8))
    rows = await record_rows(analyst, busy.keys[0].project_id, between(END, END + HOUR))
    assert [row["cost"] for row in rows] == ["5", "3", "9", "1", "4", "2", "8"]


async def test_records_that_are_no_longer_kept_are_too_fine(busy: Ledger, analyst: Actor) -> None:
    async with refused(PeriodTooFine):
        await exports.records(analyst, busy.keys[0].project_id, between(KEPT_FROM - MICROSECOND, END), KEPT_FROM)


async def test_between_two_chunks_calls_are_counted_and_neither_lost_nor_told_twice(
    busy: Ledger, analyst: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 3)
    key, later = busy.keys[0], END - HOUR / 2
    export = await exports.records(analyst, key.project_id, between(START, END), KEPT_FROM)
    seen = [(row[0], row[1], row[6]) for row in await anext(export.chunks)]
    await counting.record(Call(key.id, at, Decimal(1)) for at in (START, later))
    seen += [(row[0], row[1], row[6]) async for rows in export.chunks for row in rows]
    own = {each.id for each in busy.of(key.project_id)}
    before = [call for call in busy.calls if call.key_id in own and START <= call.called_at < END]
    expected = [(shown(call.called_at), call.key_id, plain(call.cost)) for call in before]
    assert sorted(seen) == sorted([*expected, (shown(later), key.id, "1")])


async def test_memory_and_statements_follow_the_chunks_and_not_the_whole(
    busy: Ledger, analyst: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 500)
    key, peaks = busy.keys[0], {}
    for quantity in (2_000, 20_000):
        await UsageRecord.all().delete()
        await counting.record(Call(key.id, START + number * MICROSECOND, Decimal(1)) for number in range(quantity))
        export = await exports.records(analyst, key.project_id, between(START, END), KEPT_FROM)
        tracemalloc.start()
        with statements() as sent:
            rows = 0
            async for chunk in export.chunks:
                rows += len(Format.CSV.text(export.columns, chunk).splitlines())
        peaks[quantity] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert rows == quantity
        assert len(sent) < 2 * quantity / 500 + 100
    assert peaks[20_000] < 2 * peaks[2_000]


# Totals


@over_examples
@given(
    period=periods,
    by=st.sampled_from(Grouping),
    granularity=st.sampled_from([Granularity.DAY, Granularity.WEEK, Granularity.MONTH]),
    zone=st.sampled_from(ZONES),
)
async def test_totals_add_up_to_the_whole(
    busy: Ledger, analyst: Actor, period: Period, by: Grouping, granularity: Granularity, zone: str
) -> None:
    project_id = busy.keys[0].project_id
    boundaries = steps(period, granularity, zone)
    export = await exports.totals(analyst, project_id, boundaries, by, KEPT_FROM)
    chunks = [chunk async for chunk in export.chunks]
    rows: list[dict[str, Any]] = [dict(zip(export.columns, row, strict=True)) for chunk in chunks for row in chunk]
    whole = busy.total(period, busy.of(project_id))
    assert sum(Decimal(row["total"]) for row in rows) == whole.cost.decimal
    assert sum(row["requests"] for row in rows) == whole.requests
    assert sum(row["refused"] for row in rows) == whole.refused
    places = [(row["from"], row["group_id"]) for row in rows]
    assert places == sorted(set(places))
    known = {shown(boundary) for boundary in boundaries}
    assert all({row["from"], row["to"]} <= known for row in rows)


@pytest.mark.parametrize("by", Grouping)
async def test_totals_name_their_group(busy: Ledger, analyst: Actor, by: Grouping) -> None:
    key = busy.keys[1]
    await counting.record([Call(key.id, END, Decimal("0.5"))])
    await counting.refuse([Refused(key.id, END, 3)])
    export = await exports.totals(analyst, key.project_id, [END, END + HOUR], by, KEPT_FROM)
    [[row]] = [chunk async for chunk in export.chunks]
    name = {Grouping.KEY: "Basic", Grouping.TEMPLATE: "Basic", Grouping.USER: "Bo", Grouping.PROJECT: "Maps"}[by]
    assert row == (shown(END), shown(END + HOUR), getattr(key, by), name, 1, 3, "0.5", "EUR")


async def test_a_step_without_calls_has_a_row_for_the_project_and_none_for_others(busy: Ledger, analyst: Actor) -> None:
    boundaries = [END + number * HOUR for number in range(1, 4)]
    for by in Grouping:
        export = await exports.totals(analyst, busy.keys[0].project_id, boundaries, by, KEPT_FROM)
        rows = [row for chunk in [each async for each in export.chunks] for row in chunk]
        assert len(rows) == (2 if by is Grouping.PROJECT else 0)


# Who may


async def test_those_with_keys_view_export_and_a_key_whose_role_holds_it(busy: Ledger, analyst: Actor) -> None:
    project = await Project.get(id=busy.keys[0].project_id)
    viewer, stranger = await person("Vi"), await person("Su")
    viewing = await role(project, Permission.PROJECT_VIEW, name="Viewer")
    await join(project, viewer, viewing)
    analysing = await template(project, await role(project, Permission.KEYS_VIEW, name="Data"), "Data")
    key = by_key(analyst, await issued_key(analysing, analyst))
    blind = by_key(viewer, await issued_key(await template(project, viewing, "View"), viewer))
    other = await owned_project(stranger, "Other")
    period = between(START, END)
    denied: list[tuple[Actor, Any]] = [(ANONYMOUS, Unauthenticated), (viewer, Forbidden), (blind, Forbidden)]
    denied += [(stranger, NotFound)]
    for actor, refusal in denied:
        path = ["projectId"] if refusal is NotFound else []
        async with refused(refusal, *path):
            await exports.records(actor, project.id, period, KEPT_FROM)
        async with refused(refusal, *path):
            await exports.totals(actor, project.id, [START, END], Grouping.KEY, KEPT_FROM)
    for actor in (analyst, key):
        assert len(await record_rows(actor, project.id, period)) > 100
        async with refused(NotFound, "projectId"):
            await exports.records(actor, other.id, period, KEPT_FROM)


# Text

cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(rows=st.lists(st.tuples(cells.map(Text), cells, st.integers()), max_size=5))
def test_csv_is_read_as_it_was_written_and_no_text_as_a_formula(rows: list[Row]) -> None:
    text = (Format.CSV.head(("a", "b", "c")) + Format.CSV.text(("a", "b", "c"), rows)).decode()
    header, *found = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["a", "b", "c"]
    assert [(told.removeprefix("'"), *rest) for told, *rest in found] == [
        (str(first).removeprefix("'"), second, str(third)) for first, second, third in rows
    ]
    assert not [told for told, *_ in found if told.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


@given(rows=st.lists(st.tuples(cells.map(Text), cells, st.integers(0, 2**63 - 1)), max_size=5))
def test_json_lines_are_read_as_they_were_written(rows: list[Row]) -> None:
    text = Format.JSONL.text(("a", "b", "c"), rows).decode()
    assert Format.JSONL.head(("a", "b", "c")) == b""
    assert [tuple(json.loads(line).values()) for line in text.split("\n")[:-1]] == rows


def test_lines_of_csv_end_as_rfc_4180_says() -> None:
    assert Format.CSV.text(("a", "b"), [(Text('=1+"2"'), "x,y"), (Text("plain"), 7)]) == (
        b'"\'=1+""2""","x,y"\r\nplain,7\r\n'
    )


# Over HTTP


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(database_url, tmp_path) as made:
        await User.filter(id=made.bo.id).update(name="=cmd|'/C calc'!A0")
        yield made


async def called(stage: Stage, quantity: int = 3) -> IssuedKey:
    """A key of Bo's, with calls in the last day."""
    key = await issued_key(stage.basic, stage.bo.actor)
    now = clock.now()
    await counting.record(Call(key.id, now - number * HOUR, Decimal("0.25")) for number in range(1, quantity + 1))
    return key


async def get(stage: Stage, table: str, token: str | None = None, **parameters: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token or stage.ada.token}"}
    return await stage.http.get(f"/usage/{stage.project.id}/{table}", params=parameters, headers=headers)


async def test_records_come_as_csv_with_a_name_for_the_file(stage: Stage) -> None:
    key = await called(stage)
    response = await get(stage, "records", lastDays="1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["content-disposition"] == f'attachment; filename="{stage.project.id}-records.csv"'
    assert response.headers["cache-control"] == "no-store"
    header, *rows = csv.reader(io.StringIO(response.text, newline=""), strict=True)
    assert header == list(RECORD_COLUMNS)
    assert [row[1:] for row in rows] == [
        [key.id, "Basic", stage.bo.id, "'=cmd|'/C calc'!A0", stage.basic.id, "0.25", "USD"]
    ] * 3


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("accept", "parameter", "media_type"),
    [
        ("application/jsonl", "", "application/jsonl"),
        ("text/csv;q=0.5, application/jsonl", "", "application/jsonl"),
        ("text/csv, application/jsonl;q=0.9", "", "text/csv; charset=utf-8; header=present"),
        ("*/*", "", "text/csv; charset=utf-8; header=present"),
        ("text/html", "jsonl", "application/jsonl"),
        ("text/html", "", "application/problem+json"),
    ],
)
async def test_the_form_is_what_is_asked_for(stage: Stage, accept: str, parameter: str, media_type: str) -> None:
    await called(stage)
    parameters = {"lastDays": "1"} | ({"format": parameter} if parameter else {})
    headers = {"Authorization": f"Bearer {stage.ada.token}", "Accept": accept}
    response = await stage.http.get(f"/usage/{stage.project.id}/records", params=parameters, headers=headers)
    assert response.headers["content-type"] == media_type
    assert response.status_code == (406 if "problem" in media_type else 200)
    if media_type == "application/jsonl":
        lines = [json.loads(line) for line in response.text.splitlines()]
        assert [(line["user_name"], line["cost"]) for line in lines] == [("=cmd|'/C calc'!A0", "0.25")] * 3


async def test_totals_come_by_step_and_group_and_add_up(stage: Stage) -> None:
    key = await called(stage)
    response = await get(
        stage, "totals", lastDays="2", granularity="HOUR", timeZone="Asia/Kolkata", by="KEY", format="jsonl"
    )
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert {tuple(line) for line in lines} == {TOTAL_COLUMNS}
    assert {line["group_id"] for line in lines} == {key.id}
    assert (sum(line["requests"] for line in lines), sum(Decimal(line["total"]) for line in lines)) == (
        3,
        Decimal("0.75"),
    )
    days = await get(stage, "totals", month=f"{clock.now():%Y-%m}", timeZone="Asia/Kolkata")
    assert 28 <= len(days.text.splitlines()) <= 33


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("table", "query", "code"),
    [
        ("records", "", "BAD_INPUT"),
        ("records", "from=2026-01-01T00:00:00Z", "BAD_INPUT"),
        ("records", "from=2026-01-01T00:00:00&to=2026-02-01T00:00:00", "BAD_INPUT"),
        ("records", "from=2026-01-01T00:00:00+02:00&to=2026-02-01T00:00:00Z", "BAD_INPUT"),
        ("records", "lastDays=1&month=2026-11", "BAD_INPUT"),
        ("records", "lastDays=1.5", "BAD_INPUT"),
        ("records", "lastDays=0", "BAD_INPUT"),
        ("records", "month=2026-13", "BAD_INPUT"),
        ("records", "month=2026-11&timeZone=Mars/Olympus", "BAD_INPUT"),
        ("records", "lastDays=1&lastDays=2", "BAD_INPUT"),
        ("records", "lastDays=1&by=KEY", "BAD_INPUT"),
        ("records", "lastDays=1&format=xml", "BAD_INPUT"),
        ("records", "lastDays=1&format=", "BAD_INPUT"),
        ("records", "lastDays=500", "PERIOD_TOO_FINE"),
        ("totals", "lastDays=1&granularity=SECOND", "BAD_INPUT"),
        ("totals", "lastDays=1&by=id", "BAD_INPUT"),
        ("totals", "lastDays=1&timeZone=Mars/Olympus", "BAD_INPUT"),
        ("totals", "lastDays=500", "PERIOD_TOO_FINE"),
        ("totals", "lastDays=3000&granularity=HOUR", "LIMIT_EXCEEDED"),
    ],
)
async def test_what_can_not_be_exported_is_told_before_anything_is_sent(
    stage: Stage, table: str, query: str, code: str
) -> None:
    headers = {"Authorization": f"Bearer {stage.ada.token}"}
    response = await stage.http.get(f"/usage/{stage.project.id}/{table}?{query}", headers=headers)
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert (response.status_code, told["status"], told["code"]) == (400, 400, code)
    assert told["detail"].endswith(".")


@pytest.mark.parametrize("table", ["records", "totals"])
async def test_who_may_not_export_is_told_so_as_everywhere(stage: Stage, table: str) -> None:
    analyst = await stage.enter("An", Permission.KEYS_VIEW)
    viewer = await stage.enter("Vi", Permission.PROJECT_VIEW)
    project_id = (await owned_project(stage.bo.actor, "Hidden")).id
    key_id, token = await stage.key()
    url = f"/usage/{stage.project.id}/{table}?lastDays=1"

    async def status(url: str, token: str | None) -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = await stage.http.get(url, headers=headers)
        assert (response.status_code == 401) is ("www-authenticate" in response.headers)
        return response.status_code, response.json()["code"] if response.status_code >= 400 else None

    assert await status(url, analyst.token) == (200, None)
    assert await status(url, None) == (401, "UNAUTHENTICATED")
    assert await status(url, "nonsense") == (401, "UNAUTHENTICATED")
    assert await status(url, viewer.token) == (403, "FORBIDDEN")
    assert await status(url, token) == (403, "FORBIDDEN")
    for hidden in (project_id, "prj_unknown", "%00", "x" * 300):
        assert await status(f"/usage/{hidden}/{table}?lastDays=1", analyst.token) == (404, "NOT_FOUND")
    await IssuedKey.filter(id=key_id).update(state=KeyState.SUSPENDED, suspended_at=clock.now())
    assert await status(url, token) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_page_exports_with_its_cookie_from_its_own_origin_alone(stage: Stage) -> None:
    await called(stage)
    url, cookie = f"/usage/{stage.project.id}/records?lastDays=1", {"Cookie": f"tessera_session={stage.ada.token}"}
    own = await stage.http.get(url, headers=cookie | {"Sec-Fetch-Site": "same-origin"})
    foreign = await stage.http.get(url, headers=cookie | {"Origin": "https://evil.example"})
    both = await stage.http.get(url, headers=cookie | {"Authorization": f"Bearer {stage.ada.token}"})
    assert [own.status_code, foreign.status_code, both.status_code] == [200, 403, 400]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_asked_for_its_head_an_export_reads_nothing(stage: Stage) -> None:
    await called(stage)
    headers = {"Authorization": f"Bearer {stage.ada.token}"}
    with statements() as sent:
        response = await stage.http.head(f"/usage/{stage.project.id}/records?lastDays=1", headers=headers)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"].startswith("text/csv")
    assert not [statement for statement in sent if "usage_records" in statement]


def cut_off(read: Callable[..., Any], *, amid: bool) -> Callable[..., Any]:
    """`read`, to which the database is lost; where it is so amid an export, after the first rows."""

    async def reading(project_id: str, after: tuple[int, str, int], until: int) -> Any:
        if after[1] or not amid:
            raise ConnectionResetError
        return await read(project_id, after, until)

    return reading


async def test_an_export_that_fails_amid_is_broken_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await called(stage, 10)
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(exports, "_read", cut_off(exports._read, amid=True))
    with pytest.raises(httpx2.RemoteProtocolError):
        await get(stage, "records", lastDays="1")


async def test_an_export_that_fails_at_once_is_told_in_full(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await called(stage)
    monkeypatch.setattr(exports, "_read", cut_off(exports._read, amid=False))
    response = await get(stage, "records", lastDays="1")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.headers["content-type"] == "application/problem+json"


def test_instants_are_told_to_the_microsecond() -> None:
    assert exports._shown(instant_of(micros(START) + 1)) == "2026-03-20T00:00:00.000001Z"
    assert exports._shown(START + timedelta(0)) == "2026-03-20T00:00:00.000000Z"
