"""Rows of the database made into objects, by a function that is written once for the columns that they have.

The ORM asks of each value of each row what is to be done with it; here that is asked once. What comes out are its
models, or, for what is only shown, light rows: tuples with the model's attributes by name, as far as they were read.
"""

from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

from tortoise.fields import BinaryField, DatetimeField, DecimalField, Field, JSONField
from tortoise.models import Model

Make = Callable[[Iterable[Any]], list[Any]]
Convert = Callable[[Any], Any]
Path = tuple[str, ...]
"""The references that lead from a row to one that was read with it; to itself, none."""


POSTGRES_JSON = "JSON made by postgres"
"""A third way that values come, beside those of the drivers; SQLite's are in JSON as its driver gives them."""


class Making(NamedTuple):
    """What rows of a model become, by their columns: light rows, or models."""

    model: type[Model]
    write: Callable[[type[Model], str, tuple[str, ...]], Make]

    def of(self, dialect: str, columns: tuple[str, ...]) -> Make:
        """Of rows as the database's driver gives them."""
        return self.write(self.model, dialect, columns)

    def of_json(self, dialect: str, columns: tuple[str, ...]) -> Make:
        """Of rows whose values were put into JSON by the database, and read from that."""
        return self.write(self.model, POSTGRES_JSON if dialect == "postgres" else dialect, columns)

    def json(self, dialect: str, columns: tuple[str, ...]) -> tuple[str, ...] | None:
        """What is put into JSON of each of the columns; None where that would lose what one of them holds."""
        fields = [_field(self.model, column) for column in columns]
        if any(isinstance(field, BinaryField | JSONField) for field in fields):
            return None
        exact = "::text" if dialect == "postgres" else ""
        return tuple(
            [
                f'"{column}"{exact if isinstance(field, DecimalField) else ""}'
                for column, field in zip(columns, fields, strict=True)
            ]
        )


class Light:
    """A row that is only shown, a named tuple of its columns; those of what it refers to read `reference__name`."""

    __slots__ = ()
    model: ClassVar[type[Model]]


def model_of(row: type) -> type:
    """The model whose rows these are; of any other class, itself."""
    return row.model if issubclass(row, Light) else row


@lru_cache(1024)
def light_rows(model: type[Model], dialect: str, columns: tuple[str, ...]) -> Make:
    """What makes light rows of rows with these columns, as `models` has them."""
    places = [_place(model, column) for column in columns]
    new: Convert = partial(
        tuple.__new__, _light_class(model, tuple(["__".join((*path, name)) for path, name in places]))
    )
    conversions = [_conversion(dialect, _referred_to(model, path), name) for path, name in places]
    return _converting(new, conversions) if any(conversions) else lambda rows: [*map(new, rows)]


@lru_cache(1024)
def _light_class(model: type[Model], names: tuple[str, ...]) -> Any:
    """One for rows with these names, however they come."""
    name = f"Light{model.__name__}"
    named_tuple: Any = namedtuple  # by any name
    return type(name, (named_tuple(name, names), Light), {"__slots__": (), "model": model})


def _converting(new: Convert, conversions: list[Convert | None]) -> Make:
    names: dict[str, Any] = {"new": new}
    values = []
    for index, convert in enumerate(conversions):
        names[f"convert_{index}"] = convert
        values.append(f"None if _{index} is None else convert_{index}(_{index})" if convert else f"_{index}")
    variables = "".join(f"_{index}, " for index in range(len(conversions)))
    exec(f"def make(rows): return [new(({', '.join(values)},)) for {variables}in rows]", names)  # noqa: S102  # our own text
    make: Make = names["make"]
    return make


def _place(model: type[Model], column: str) -> tuple[Path, str]:
    """Where a column that Tortoise calls so stands: `name`, or `table__reference.name`."""
    prefix, _, name = column.rpartition(".")
    references = prefix.removeprefix(model._meta.db_table).removeprefix("__")
    return tuple(references.split("__")) if references else (), name


@lru_cache(1024)
def models(model: type[Model], dialect: str, columns: tuple[str, ...]) -> Make:
    """What makes models of rows with these columns, as Tortoise calls them: `name`, or `table__reference.name`."""
    variables: defaultdict[Path, dict[str, str]] = defaultdict(dict)
    for index, column in enumerate(columns):
        path, name = _place(model, column)
        variables[path][name] = f"_{index}"
    writing = _Writing(dialect)
    for path in sorted(variables, key=len):
        writing.row(path, _referred_to(model, path), variables[path])
    return writing.function(len(columns))


def _referred_to(model: type[Model], path: Path) -> type[Model]:
    for reference in path:
        model = model._meta.fields_map[reference].related_model  # type: ignore[attr-defined]  # of every reference
    return model


class _Writing:
    """The text of a function, and what its names stand for."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"hold": Model.__dict__["__dict__"].__set__}

    def row(self, path: Path, model: type[Model], variables: dict[str, str]) -> None:
        """Makes a row of a model; where a reference leads to none, None."""
        row = _name_of(path)
        new, members = self._named(f"new{row}", model.__new__), self._members(model, variables)
        made = [f"{row} = {new}({self._named(f'model{row}', model)})", f"hold({row}, {{{members}}})"]
        if path:
            made = [
                f"if {variables[model._meta.db_pk_column]} is None:",
                f"    {row} = None",
                "else:",
                *_indented(made),
            ]
            parent = _name_of(path[:-1])
            made += [f"if {parent} is not None:", f"    {parent}.__dict__['_{path[-1]}'] = {row}"]
        self._lines += made

    def _members(self, model: type[Model], variables: dict[str, str]) -> str:
        meta = model._meta
        members = {
            "_partial": not meta.fields_db_projection_reverse.keys() <= variables.keys(),
            "_saved_in_db": True,
            "_custom_generated_pk": meta.db_pk_column not in meta.generated_db_fields,
            "_await_when_save": {},
        }
        for column, variable in variables.items():
            if name := meta.fields_db_projection_reverse.get(column):
                members[name] = self._converted(model, column, variable)
        return ", ".join(f"{name!r}: {value}" for name, value in members.items())

    def _converted(self, model: type[Model], column: str, variable: str) -> str:
        convert = _conversion(self._dialect, model, column)
        if convert is None:
            return variable
        return f"None if {variable} is None else {self._named(f'convert{variable}', convert)}({variable})"

    def _named(self, name: str, value: Any) -> str:
        self._names[name] = value
        return name

    def function(self, width: int) -> Make:
        variables = "".join(f"_{index}, " for index in range(width))
        body = [f"for {variables}in rows:", *_indented([*self._lines, f"made.append({_name_of(())})"])]
        lines = ["def make(rows):", *_indented(["made = []", *body, "return made"])]
        exec("\n".join(lines), self._names)  # noqa: S102  # our own text, of the names of our own columns
        make: Make = self._names["make"]
        return make


def _name_of(path: Path) -> str:
    return "__".join(("row", *path))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _field(model: type[Model], column: str) -> Field[Any] | None:
    """That of a column that Tortoise calls so; none is of what the statement makes."""
    path, name = _place(model, column)
    meta = _referred_to(model, path)._meta
    field = meta.fields_db_projection_reverse.get(name)
    return meta.fields_map[field] if field else None


def _conversion(dialect: str, model: type[Model], column: str) -> Convert | None:
    """What Tortoise would do with a value of this column that isn't null; None for nothing."""
    meta, field = model._meta, _field(model, column)
    if field is None:
        return None
    if isinstance(field, DatetimeField):
        return None if dialect == "postgres" else datetime.fromisoformat  # all of UTC, as each database says it
    if isinstance(field, DecimalField) and dialect == POSTGRES_JSON:
        return Decimal
    if any(column == native for native, *_ in meta.db_native_fields):
        return None
    if any(column == plain for plain, *_ in meta.db_default_fields):
        return field.field_type
    members = getattr(field, "enum_type", None)
    return members._value2member_map_.__getitem__ if members else field.to_python_value  # documented
