"""SQL that the ORM can't say: rows as parameters, and the few words in which the databases differ."""

# ruff: noqa: S608  # its statements are built of names that stand in the code; every value is a parameter

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

TEXT_COLUMNS = {"key_id", "call_id"}  # of the tables that are passed as parameters; the others are BIGINT

Row = tuple[str | int, ...]


class Statement(NamedTuple):
    sql: str
    values: list[Any]


class Parameters:
    """The parameters of a statement, as they are named in it one after another."""

    def __init__(self, dialect: str) -> None:
        self.values: list[Any] = []
        self._is_sqlite = dialect == "sqlite"

    def table(self, columns: Sequence[str], rows: Sequence[Row]) -> str:
        """A SELECT of these rows, which are passed as parameters, in their order."""
        if self._is_sqlite:
            place = self.place(json.dumps(rows))
            names = ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(columns))
            return f"SELECT {names} FROM json_each({place})"
        types = ("text" if name in TEXT_COLUMNS else "bigint" for name in columns)
        places = [f"{self.place(list(values))}::{kind}[]" for values, kind in zip(_columns(rows), types, strict=True)]
        return f"SELECT * FROM unnest({', '.join(places)}) AS passed({', '.join(columns)})"

    def each(self, table: str, condition: str) -> str:
        """The rows `r` of a table that match those joined before, found through its index for each of them."""
        if self._is_sqlite:
            return f"{table} AS r ON {condition}"
        # OFFSET 0 keeps the planner from reading the whole table instead, where it takes the spans for wide.
        return f"LATERAL (SELECT * FROM {table} AS r WHERE {condition} OFFSET 0) AS r"

    def place(self, value: Any) -> str:
        """Where the statement says this value."""
        self.values.append(value)
        return f"{'?' if self._is_sqlite else '$'}{len(self.values)}"


def _columns(rows: Sequence[Row]) -> Iterable[tuple[str | int, ...]]:
    return zip(*rows, strict=True)
