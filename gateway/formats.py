"""Rows as text: CSV (RFC 4180) and JSON Lines (https://jsonlines.org)."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

import orjson

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet would take a cell for that begins so

Cell = str | int
Row = Sequence[Cell]


class Text(str):
    """A cell that people wrote, and may have written to be run by whoever opens the table."""

    __slots__ = ()


class Format(StrEnum):
    """By the ending of a file's name."""

    CSV = "csv"
    JSONL = "jsonl"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self]

    def head(self, columns: Sequence[str]) -> bytes:
        """What comes before the rows."""
        return csv_text(columns, [columns]) if self is Format.CSV else b""

    def text(self, columns: Sequence[str], rows: Iterable[Row]) -> bytes:
        return WRITERS[self](columns, rows)


MEDIA_TYPES: Mapping[Format, str] = {
    Format.CSV: "text/csv; charset=utf-8; header=present",
    Format.JSONL: "application/jsonl",
}


def csv_text(_: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Lines that end with CRLF. Text that reads like a formula begins with an apostrophe, so that it is none."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def json_lines(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """An object a line, as it is; what is exact and no whole number is a string."""
    objects = (dict(zip(columns, row, strict=True)) for row in rows)
    return b"".join(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in objects)


WRITERS: Mapping[Format, Callable[[Sequence[str], Iterable[Row]], bytes]] = {
    Format.CSV: csv_text,
    Format.JSONL: json_lines,
}


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, Text) and cell.startswith(FORMULA) else cell
