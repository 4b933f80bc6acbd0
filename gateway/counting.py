"""How calls are written down: each as a record, and added to the day, the month and the hour of its key.

One transaction writes all of it, and takes the rows in one order, days before months before hours and each by key, so
that two writers never wait for each other in a circle.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeVar

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.transactions import in_transaction

from gateway.pricing import DAY_US, FRACTIONS_IN_UNIT, HOUR_US, Amount, first_of_month, micros
from gateway.statements import Parameters, Row, Statement, inserting, passed

BATCH = 10_000
COUNTS = ("requests", "refused", "units", "fraction")
SQLITE_AT_ONCE = "INSERT INTO counted_at_once VALUES (?, ?, ?, ?, ?, ?)"
RECORD = ("key_id", "called_at", "units", "fraction")
SUMS = ("key_id", "requests", "units", "fraction")

Record = tuple[str, int, int, int]  # a key, microseconds, units and fraction of the cost
Counts = tuple[int, int, int, int]
NOTHING: Counts = (0, 0, 0, 0)
Counted = tuple[str, int, Counts]  # a key, microseconds, and what it counted then
Item = TypeVar("Item")


class Call(NamedTuple):
    key_id: str
    called_at: datetime
    cost: Decimal


class Refused(NamedTuple):
    key_id: str
    refused_at: datetime
    quantity: int = 1


class Bucket(NamedTuple):
    """A table of sums: its column that says since when, and the first instant of the bucket that another is in."""

    table: str
    column: str
    start_of: Callable[[int], int]


DAYS = Bucket("usage_days", "day", lambda at: at - at % DAY_US)
MONTHS = Bucket("usage_months", "month", first_of_month)
HOURS = Bucket("usage_hours", "hour", lambda at: at - at % HOUR_US)
BUCKETS = (DAYS, MONTHS, HOURS)


async def record(calls: Iterable[Call]) -> None:
    """Count calls, all or none: on return they are in the records and buckets of their keys.

    ValueError for a cost of more than 10 decimals; Tortoise's IntegrityError for an unknown key or a negative cost.
    """
    counted: list[Counted] = []
    async with in_transaction() as database:
        dialect = database.capabilities.dialect
        for batch in _batches(calls):
            records = [_record(call) for call in batch]
            await database.execute_query(*recording(dialect, records))
            counted += [(key_id, at, (1, 0, units, fraction)) for key_id, at, units, fraction in records]
        await _add(database, counted)


async def refuse(refusals: Iterable[Refused]) -> None:
    """Count refused calls, all or none. They cost nothing and leave no record, only a number by the hour."""
    async with in_transaction() as database:
        await _add(database, [(key_id, micros(at), (0, quantity, 0, 0)) for key_id, at, quantity in refusals])


async def void(calls: Iterable[Call]) -> None:
    """Take back calls that were counted, all or none: one record of that key, instant and cost for each.

    Raises LookupError where there is none.
    """
    records = [_record(call) for call in calls]
    async with in_transaction() as database:
        dialect = database.capabilities.dialect
        for record in sorted(records):
            if not await database.execute_query_dict(*unrecording(dialect, record)):
                raise LookupError("This call was not counted.")
        for statement in subtracting(dialect, records):
            await database.execute_query(*statement)


def recording(dialect: str, records: Sequence[Row]) -> Statement:
    """What writes records: key, microseconds, units and fraction of the cost."""
    return inserting(dialect, "usage_records", RECORD, records)


def adding(dialect: str, bucket: Bucket, sums: Iterable[Counted]) -> Statement:
    """What adds to buckets of one kind, which `rolled_up` gave, and answers with what each of them then holds."""
    answer = f"RETURNING key_id, {bucket.column}, requests, units, fraction"
    return inserting(dialect, bucket.table, _columns(bucket), _rows(sums), f"{_on_conflict(bucket)} {answer}")


def at_once(dialect: str, position: int | None, records: Sequence[Record]) -> Statement:
    """All that counts calls of one hour, in one statement, which does nothing where the event log's head is another.

    Without a position it may be any. PostgreSQL answers with the head that it saw. SQLite, whose connection was made
    ready by `sqlite_at_once`, refuses the statement. What is added to hour, day and month is the same: it is passed
    once.
    """
    starts = [bucket.start_of(records[0][1]) for bucket in BUCKETS]
    values = [position, *starts, *passed(dialect, records), *passed(dialect, _sums(records))]
    return Statement(SQLITE_AT_ONCE if dialect == "sqlite" else _at_once(), values)


def _sums(records: Iterable[Record]) -> list[Row]:
    """What each key called, in the order in which rows are taken."""
    sums: dict[str, tuple[int, int, int]] = {}
    for key_id, _, units, fraction in records:
        found = sums.get(key_id, (0, 0, 0))
        sums[key_id] = found[0] + 1, found[1] + units, found[2] + fraction
    return [
        (key_id, requests, units + fraction // FRACTIONS_IN_UNIT, fraction % FRACTIONS_IN_UNIT)
        for key_id, (requests, units, fraction) in sorted(sums.items())
    ]


def _writing(records: str, sums: str, starts: Sequence[str]) -> list[str]:
    """What counts calls, in the order in which rows are taken, of where these are found and the buckets' starts."""
    written = []
    for bucket, start in zip(BUCKETS, starts, strict=True):
        values = f"SELECT key_id, {start}, requests, 0, units, fraction FROM {sums} WHERE true"
        written.append(f"INSERT INTO {bucket.table} ({', '.join(_columns(bucket))}) {values} {_on_conflict(bucket)}")
    names = ", ".join(RECORD)
    return [*written, f"INSERT INTO usage_records ({names}) SELECT {names} FROM {records}"]


@cache
def _at_once() -> str:
    """PostgreSQL carries out what a statement does beside its answer from the last to the first: days go first."""
    parameters = Parameters("postgres")
    position, *starts = [f"{parameters.place(None)}::bigint" for _ in (None, *BUCKETS)]
    records, sums = (f"({parameters.table(names, [names])}) AS passed CROSS JOIN good" for names in (RECORD, SUMS))
    parts = [
        "head AS (SELECT position FROM event_head WHERE id = 1)",
        f"good AS (SELECT FROM head WHERE {position} IS NULL OR position = {position})",
        f"sums AS (SELECT passed.* FROM {sums})",
    ]
    writing = enumerate(reversed(_writing(records, "sums", starts)))
    parts += [f"written_{number} AS ({statement})" for number, statement in writing]
    return f"WITH {', '.join(parts)} SELECT position FROM head"


def sqlite_at_once() -> Iterator[str]:
    """What a connection of SQLite needs for `at_once`: a view whose trigger carries it out, in one step of the library.

    Each step and each row lets another thread run Python, and has to wait for it to be let run again.
    """
    starts = [bucket.column for bucket in BUCKETS]
    columns = ", ".join(f"NULL AS {name}" for name in ("position", *starts, "records", "sums"))
    yield f"CREATE TEMP VIEW counted_at_once AS SELECT {columns}"
    records, sums = _of_json("NEW.records", RECORD), _of_json("NEW.sums", SUMS)
    yield (
        "CREATE TEMP TRIGGER counting_at_once INSTEAD OF INSERT ON counted_at_once BEGIN"
        " SELECT RAISE(ABORT, 'moved') FROM main.event_head WHERE id = 1 AND position <> NEW.position;"
        f" {'; '.join(_writing(records, sums, [f'NEW.{start}' for start in starts]))}; END"
    )


def _of_json(value: str, columns: Sequence[str]) -> str:
    names = ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(columns))
    return f"(SELECT {names} FROM json_each({value}))"


def unrecording(dialect: str, record: Record) -> Statement:
    """What deletes one of the records that say exactly this, which are all alike, and answers with its id."""
    parameters = Parameters(dialect)
    alike = " AND ".join(f"{name} = {parameters.place(value)}" for name, value in zip(RECORD, record, strict=True))
    once = "" if dialect == "sqlite" else "FOR UPDATE SKIP LOCKED"  # another may be deleting its like
    found = f"SELECT id FROM usage_records WHERE {alike} LIMIT 1 {once}"
    # Alike once more, since on PostgreSQL no index leads to an id.
    return Statement(f"DELETE FROM usage_records WHERE {alike} AND id = ({found}) RETURNING id", parameters.values)


def subtracting(dialect: str, records: Sequence[Record], buckets: Iterable[Bucket] = BUCKETS) -> Iterator[Statement]:
    """What takes calls out of their buckets, one bucket a statement, since only so their order is sure."""
    negative = [(key_id, at, (-1, 0, -units, -fraction)) for key_id, at, units, fraction in records]
    for bucket in buckets:
        for sums in rolled_up(negative, bucket):
            yield _subtracting(dialect, bucket, sums)


def summed_up(counted: Iterable[Counted]) -> list[tuple[Bucket, list[Counted]]]:
    """What to add to the buckets of each kind, in the order in which they are taken."""
    hours = rolled_up(counted, HOURS)
    return [(DAYS, rolled_up(hours, DAYS)), (MONTHS, rolled_up(hours, MONTHS)), (HOURS, hours)]


def rolled_up(counted: Iterable[Counted], bucket: Bucket) -> list[Counted]:
    """The sums of what was counted by key and bucket, in the order in which rows are taken."""
    sums: dict[tuple[str, int], Counts] = {}
    for key_id, at, (requests, refused, units, fraction) in counted:
        place = key_id, bucket.start_of(at)
        found = sums.get(place, NOTHING)
        sums[place] = found[0] + requests, found[1] + refused, found[2] + units, found[3] + fraction
    return [(key_id, start, _carried(counts)) for (key_id, start), counts in sorted(sums.items())]


def _record(call: Call) -> Record:
    cost = Amount.of(call.cost)
    return call.key_id, micros(call.called_at), cost.units, cost.fraction


async def _add(database: BaseDBAsyncClient, counted: Sequence[Counted]) -> None:
    for bucket, sums in summed_up(counted):
        for batch in _batches(sums):
            await database.execute_query(*adding(database.capabilities.dialect, bucket, batch))


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _columns(bucket: Bucket) -> tuple[str, ...]:
    return ("key_id", bucket.column, *COUNTS)


def _rows(sums: Iterable[Counted]) -> list[Row]:
    return [(key_id, start, *counts) for key_id, start, counts in sums]


def _carried(counts: Sequence[int]) -> Counts:
    requests, refused, units, fraction = counts
    return requests, refused, units + fraction // FRACTIONS_IN_UNIT, fraction % FRACTIONS_IN_UNIT


def _subtracting(dialect: str, bucket: Bucket, sums: Counted) -> Statement:
    key_id, start, (requests, _, units, fraction) = sums
    parameters = Parameters(dialect)
    place = parameters.place
    more = f"(fraction + {place(fraction)})"
    return Statement(
        f"UPDATE {bucket.table} SET requests = requests + {place(requests)},"
        f" units = units + {place(units)} + {more} / {FRACTIONS_IN_UNIT}, fraction = {more} % {FRACTIONS_IN_UNIT}"
        f" WHERE key_id = {place(key_id)} AND {bucket.column} = {place(start)}",
        parameters.values,
    )


@cache
def _on_conflict(bucket: Bucket) -> str:
    table, column = bucket.table, bucket.column
    fraction = f"({table}.fraction + excluded.fraction)"
    return f"""
        ON CONFLICT (key_id, {column}) DO UPDATE SET
            requests = {table}.requests + excluded.requests,
            refused = {table}.refused + excluded.refused,
            units = {table}.units + excluded.units + {fraction} / {FRACTIONS_IN_UNIT},
            fraction = {fraction} % {FRACTIONS_IN_UNIT}"""
