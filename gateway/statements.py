"""SQL that the ORM can't say: rows as parameters, and the few words in which the databases differ."""

# ruff: noqa: S608  # its statements are built of names that stand in the code; every value is a parameter

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import orjson

TEXT_COLUMNS = {"key_id", "call_id"}  # of the tables that are passed as parameters; the others are BIGINT

Row = tuple[str | int, ...]


class Statement(NamedTuple):
    sql: str
    values: list[Any]


def inserting(dialect: str, table: str, columns: tuple[str, ...], rows: Sequence[Row], conflict: str = "") -> Statement:
    """What inserts these rows."""
    return Statement(_inserting(dialect, table, columns, conflict), passed(dialect, rows))


@cache
def _inserting(dialect: str, table: str, columns: tuple[str, ...], conflict: str) -> str:
    names, rows = ", ".join(columns), Parameters(dialect).table(columns, [columns])
    # WHERE, since without it SQLite takes ON CONFLICT for the condition of a join.
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM ({rows}) AS passed WHERE true {conflict}"


def passed(dialect: str, rows: Sequence[Row]) -> list[Any]:
    """Rows as the parameters of a statement, which stand in it as `Parameters.table` says."""
    return (
        [orjson.dumps(rows).decode()] if dialect == "sqlite" else [list(column) for column in zip(*rows, strict=True)]
    )


class Parameters:
    """The parameters of a statement, as they are named in it one after another."""

    def __init__(self, dialect: str) -> None:
        self.values: list[Any] = []
        self._dialect = dialect
        self._is_sqlite = dialect == "sqlite"

    def table(self, columns: Sequence[str], rows: Sequence[Row]) -> str:
        """A SELECT of these rows, which are passed as parameters, in their order."""
        places = [self.place(value) for value in passed(self._dialect, rows)]
        if self._is_sqlite:
            names = ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(columns))
            return f"SELECT {names} FROM json_each({places[0]})"
        types = ("text" if name in TEXT_COLUMNS else "bigint" for name in columns)
        places = [f"{place}::{kind}[]" for place, kind in zip(places, types, strict=True)]
        return f"SELECT * FROM unnest({', '.join(places)}) AS passed({', '.join(columns)})"

    def each(self, table: str, condition: str) -> str:
        """The rows `r` of a table that match those joined before, found through its index for each of them."""
        if self._is_sqlite:
            return f"{table} AS r ON {condition}"
        # OFFSET 0 keeps the planner from reading the whole table instead, where it takes the spans for wide.
        return f"LATERAL (SELECT * FROM {table} AS r WHERE {condition} OFFSET 0) AS r"

    def first_of_month(self, column: str) -> str:
        """The first instant of the month of UTC that the column's is in; both in microseconds."""
        if self._is_sqlite:
            return f"CAST(strftime('%s', {column} / 1000000, 'unixepoch', 'start of month') AS INTEGER) * 1000000"
        month = f"date_trunc('month', to_timestamp({column} / 1000000) AT TIME ZONE 'UTC')"
        return f"CAST(extract(epoch FROM {month}) AS BIGINT) * 1000000"

    def place(self, value: Any) -> str:
        """Where the statement says this value."""
        self.values.append(value)
        return f"{'?' if self._is_sqlite else '$'}{len(self.values)}"
