"""Which columns of rows a plan reads, so that no others need be fetched."""

from collections.abc import Mapping
from typing import Any

from graphql import is_abstract_type

from schema.levels.plan import Plan, Selection
from schema.loaders import Reads

Columns = tuple[str, ...]


def columns(plan: Plan) -> Mapping[type, Columns]:
    """Those that are read of the rows of each class, wherever in the answer; of others it may be all.

    A row that is found once may be shown at many places, so what is read at any of them is read of all.
    """
    reading = _Reading(plan)
    return {row: tuple(sorted(read)) for row, read in reading.read.items() if read and row not in reading.whole}


class _Reading:
    def __init__(self, plan: Plan) -> None:
        self.read: dict[type, set[str]] = {}
        self.whole: set[type] = set()
        self._schema = plan.schema
        try:
            self._select(plan.root)
        except _Anything:
            self.read = {}

    def _select(self, selection: Selection) -> None:
        row: type | None = getattr(selection.type.is_type_of, "row", None)
        for field in selection.fields:
            if field.is_typename:
                continue
            self._note(row, field.call.reads)
            if not field.shape.is_leaf:
                named: Any = field.shape.named
                for type_ in self._schema.get_possible_types(named) if is_abstract_type(named) else (named,):
                    self._select(field.selection(type_))

    def _note(self, row: type | None, reads: Reads | None) -> None:
        if reads is None:
            raise _Anything
        if row and reads.own is None:
            self.whole.add(row)
        for of, names in (*reads.of.items(), (row, reads.own)):
            if of and names:
                self.read.setdefault(of, set()).update(names)


class _Anything(Exception):
    """Some field doesn't tell what it reads."""
