"""What classes of values tell: which of them are to be awaited, and which are rows and nothing else."""

import types
from collections.abc import Iterable
from typing import Any

from graphql.pyutils import is_awaitable


class Failed:
    """In the place of a value: what its resolver raised."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Typed:
    """In the place of a value: a row whose type took awaiting."""

    __slots__ = ("row", "type")

    def __init__(self, row: Any, type_: Any) -> None:
        self.row = row
        self.type = type_


class Kinds:
    """Remembers of each class what it is; `rows` are classes whose values could be awaited, and give but themselves."""

    def __init__(self, rows: tuple[type, ...]) -> None:
        self._rows = rows
        self._awaited: dict[type, bool] = {}
        self._plain: dict[type, bool] = {}

    def any_awaited(self, values: list[Any]) -> bool:
        return any(self._may_be_awaited(each) for each in {*map(type, values)})

    def is_awaited(self, value: Any) -> bool:
        return self._may_be_awaited(value.__class__) and is_awaitable(value)

    def are_plain(self, values: Iterable[Any]) -> bool:
        """Whether none of them is null, an error, a list, or to be awaited."""
        return all(self._is_plain(each) for each in {*map(type, values)})

    def _may_be_awaited(self, class_: type) -> bool:
        known = self._awaited.get(class_)
        if known is None:
            known = hasattr(class_, "__await__") or class_ is types.GeneratorType
            known = self._awaited[class_] = known and not issubclass(class_, self._rows)
        return known

    def _is_plain(self, class_: type) -> bool:
        known = self._plain.get(class_)
        if known is None:
            odd = issubclass(class_, (type(None), Exception, Failed, Typed)) or self._may_be_awaited(class_)
            known = self._plain[class_] = not odd and not hasattr(class_, "__aiter__")
        return known
