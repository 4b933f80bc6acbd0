"""Errors found on the way, told at the end: each at its path, and null going up to what may be null."""

from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, get_nullable_type, is_list_type, is_non_null_type, located_error

from schema.levels.plan import Field, Selection


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong at a member of an object or an item of a list, and after how many rounds of waiting."""

    container: Any
    key: str | int
    field: Field
    error: Exception
    wave: int


class Position:
    """A place in the answer. An object that is shared has as many of each as there are ways to it."""

    __slots__ = ("above", "container", "is_nullable", "key", "number")

    def __init__(self, above: "Position | None", container: Any, key: str | int, type_: Any, number: int) -> None:
        self.above = above
        self.container = container
        self.key = key
        self.is_nullable = not is_non_null_type(type_)
        self.number = number

    @property
    def path(self) -> list[str | int]:
        keys, position = [], self
        while True:
            keys.append(position.key)
            if position.above is None:
                return keys[::-1]
            position = position.above

    @property
    def nullable(self) -> "Position | None":
        """The nearest place, here or above, that may be null; None is the whole answer."""
        position: Position | None = self
        while position is not None and not position.is_nullable:
            position = position.above
        return position


class Answer:
    """An answer before errors have made anything of it null."""

    def __init__(
        self, data: dict[str, Any], root: Selection, levels: list[tuple[Selection, list[dict[str, Any]]]]
    ) -> None:
        self._data = data
        self._selections = {id(made): selection for selection, objects in levels for made in objects}
        self._positions: dict[tuple[int, str | int], list[Position]] = {}
        self._quantity = 0
        self._visit_object(data, root, None)

    def settle(self, faults: list[Fault]) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
        """The data with its nulls, and the errors, less those below a place that was null before (GraphQL, 6.4.4)."""
        placed = [
            (fault.wave, position.number, position, fault)
            for fault in faults
            for position in self._positions.get((id(fault.container), fault.key), ())
        ]
        nulled: set[Position | None] = set()
        errors = []
        for _, _, position, fault in sorted(placed, key=lambda each: each[:2]):
            null = position.nullable
            if not _is_within(null, nulled):
                nulled.add(null)
                errors.append(located_error(fault.error, fault.field.nodes, position.path))
        return self._with_nulls(nulled), errors

    def _with_nulls(self, nulled: set[Position | None]) -> dict[str, Any] | None:
        for position in nulled:
            if position is None:
                return None
            position.container[position.key] = None
        return self._data

    def _visit_object(self, made: dict[str, Any], selection: Selection, above: Position | None) -> None:
        for field in selection.fields:
            self._visit(made, field.key, field.type, above)

    def _visit(self, container: Any, key: str | int, type_: Any, above: Position | None) -> None:
        self._quantity += 1
        position = Position(above, container, key, type_, self._quantity)
        self._positions.setdefault((id(container), key), []).append(position)
        value, inner = container[key], get_nullable_type(type_)
        if is_list_type(inner) and isinstance(value, list):
            for index in range(len(value)):
                self._visit(value, index, inner.of_type, position)
        elif isinstance(value, dict) and (selection := self._selections.get(id(value))):
            self._visit_object(value, selection, position)


def _is_within(position: Position | None, nulled: set[Position | None]) -> bool:
    while position is not None:
        if position in nulled:
            return True
        position = position.above
    return None in nulled
