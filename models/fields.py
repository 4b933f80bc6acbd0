"""The columns that several tables share: ids, references, folded names."""

import re
import unicodedata
from typing import Any

from tortoise import fields
from tortoise.fields import CharField, OnDelete

from models.ids import new_id

ID_LENGTH = 30
NOBODY = ""
NAME_LENGTH = 100
LONGEST_FOLD = 18  # characters that one can become: U+FDFA does
UNKEPT = "\N{REPLACEMENT CHARACTER}"
UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


def askable(id: str) -> str:
    """What can't be an id, which a caller may send as one, is asked for as one that nobody has."""
    return id if len(id) <= ID_LENGTH and id.isascii() and id.isprintable() else NOBODY


def all_askable(ids: list[str]) -> list[str]:
    """As `askable`, of each."""
    together = "".join(ids)
    if together.isascii() and together.isprintable() and max(map(len, ids), default=0) <= ID_LENGTH:
        return ids
    return [askable(id) for id in ids]


class IdField(CharField[str]):
    """A primary key that is made from its table's prefix when a row is."""

    def __init__(self, prefix: str) -> None:
        def make() -> str:
            return new_id(prefix)

        super().__init__(max_length=ID_LENGTH, primary_key=True, default=make)
        self.prefix = prefix

    def to_db_value(self, value: Any, instance: Any) -> Any:
        return super().to_db_value(askable(value) if isinstance(value, str) else value, instance)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return f"{__name__}.IdField", [], {"prefix": self.prefix}


class FoldedField(CharField[str]):
    """A name as it is searched and sorted by. Its order is that of code points on every database: see `fold`."""

    def __init__(self, max_length: int = NAME_LENGTH * LONGEST_FOLD, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)

    def to_db_value(self, value: Any, instance: Any) -> Any:
        """What is longer than any name, which a caller may search for, is searched for as what none holds."""
        can_be = not isinstance(value, str) or len(value) <= (self.max_length or 0)
        return super().to_db_value(value if can_be else UNKEPT, instance)

    class _db_postgres:  # noqa: N801  Tortoise looks for this name
        def __init__(self, field: "FoldedField") -> None:
            self.SQL_TYPE = f'VARCHAR({field.max_length}) COLLATE "C"'


def fold(text: str) -> str:
    """Text without regard to case, in every alphabet (Unicode's toNFKC_Casefold, near enough for names).

    What no database keeps becomes the replacement character: whoever searches for it finds nothing.
    """
    kept = UNKEEPABLE.sub(UNKEPT, text)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", kept).casefold())


def named(name: str) -> dict[str, Any]:
    """The two columns that a name fills."""
    return {"name": name, "name_folded": fold(name)}


def reference(model: str, **options: Any) -> Any:
    """A foreign key that keeps its target from being erased: deletion hides, it does not erase."""
    return fields.ForeignKeyField(f"models.{model}", on_delete=OnDelete.RESTRICT, **{"related_name": False, **options})
