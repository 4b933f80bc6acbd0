"""How a field's values are got: an attribute, or Strawberry's resolver, with what is bound once for the level."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from functools import cache
from keyword import iskeyword
from operator import attrgetter
from typing import Any, NamedTuple

from graphql import GraphQLField, GraphQLSchema
from graphql.execution import default_field_resolver
from strawberry.schema.schema_converter import GraphQLCoreConverter, get_arguments
from strawberry.types.field import StrawberryField

from schema.levels.info import LevelInfo
from schema.levels.kinds import Failed
from schema.loaders import Reads, Relation

SOURCE = object()
"""Stands for the object while arguments are bound."""


class Arguments(dict[str, Any]):
    """A field's arguments, coerced."""

    are_constant = False
    """Whether they are the same each time that the field's plan is run."""
    bound: "Bound | None" = None
    """As a resolver's function takes them, once it was called with those that are constant."""


class Bound(NamedTuple):
    """What a resolver's function is called with, by name; what stands in each call for the object and for `info`."""

    named: dict[str, Any]
    is_positional: bool
    """Whether the object comes first, without a name."""
    source: str
    info: str


class Manner(Enum):
    """How a resolver's coroutines have been seen to wait."""

    UNKNOWN = auto()
    WANTS = auto()
    """For batches alone, so that they need no task."""
    TASKS = auto()
    """For other things too, which only tasks can."""


class Call:
    """How the values of a field are got for all the objects of a level."""

    attribute = ""
    is_readable = False
    """Whether it is an attribute that generated code may read by its name."""
    manner = Manner.UNKNOWN
    unasked: Arguments | None = None
    """The arguments where a document gives none, once they were asked for: the same in each document."""
    reads: Reads | None = None
    """What it reads of rows; None is whatever there is of any."""

    def values(self, info: LevelInfo, objects: list[Any], arguments: Arguments) -> list[Any]:
        """A value for each object: what its resolver returns, which may be a coroutine, or what it raised."""
        raise NotImplementedError


class Attribute(Call):
    def __init__(self, name: str) -> None:
        self.attribute = name
        self.is_readable = name.isidentifier() and not iskeyword(name)
        self.reads = Reads((name,))

    def values(self, info: LevelInfo, objects: list[Any], arguments: Arguments) -> list[Any]:  # noqa: ARG002  # of the class above
        with suppress(Exception):  # where one has an error, it finds its place below
            return [*map(attrgetter(self.attribute), objects)]
        values: list[Any] = []
        for each in objects:
            try:
                values.append(getattr(each, self.attribute))
            except Exception as error:  # noqa: BLE001  a field's error, told as such
                values.append(Failed(error))
        return values


class Resolver(Call):
    """A resolver of Strawberry's without extensions: its arguments are converted once for the level."""

    def __init__(self, field: StrawberryField, strawberry_schema: Any) -> None:
        self._field = field
        self._function = field.base_resolver.wrapped_func  # type: ignore[union-attr]  # such a field has one
        loads_nothing = field.base_resolver and field.base_resolver.info_parameter is None
        self.reads = getattr(self._function, "reads", Reads() if loads_nothing else None)
        self._converter: GraphQLCoreConverter = strawberry_schema.schema_converter

    def values(self, info: LevelInfo, objects: list[Any], arguments: Arguments) -> list[Any]:
        try:
            bound, named = self._named(info, arguments)
        except Exception as error:  # noqa: BLE001  a field's error, told as such
            return [Failed(error) for _ in objects]
        return _caller(bound.is_positional, bound.source, tuple(named))(self._function, objects, named)

    def _named(self, info: LevelInfo, arguments: Arguments) -> tuple[Bound, dict[str, Any]]:
        """The function's arguments by name, less the object; raises what an argument's conversion does."""
        bound = arguments.bound
        if bound is None:
            bound = self._bound(self._told(info), arguments)
            if arguments.are_constant:
                arguments.bound = bound
        return bound, {**bound.named, bound.info: self._told(info)} if bound.info else bound.named

    def _told(self, info: LevelInfo) -> Any:
        """`info` as Strawberry tells it."""
        return self._converter.config.info_class(_raw_info=info, _field=self._field)  # type: ignore[arg-type]  # stands for it

    def _bound(self, info: Any, arguments: Arguments) -> Bound:
        positional, named = get_arguments(
            field=self._field,
            source=SOURCE,
            info=info,
            kwargs=arguments,
            config=self._converter.config,
            scalar_registry=self._converter.scalar_registry,
        )
        source, told = (next((name for name, value in named.items() if value is each), "") for each in (SOURCE, info))
        return Bound({name: value for name, value in named.items() if name != source}, bool(positional), source, told)


class Related(Resolver):
    """One that says of itself which batch it asks, and by which attribute: it need not even be called."""

    def __init__(self, field: StrawberryField, strawberry_schema: Any, relation: Relation) -> None:
        super().__init__(field, strawberry_schema)
        self.batch = relation.batch
        self.is_list = relation.is_list
        self._key_of = attrgetter(relation.attribute)

    def keys(self, objects: list[Any]) -> list[Any]:
        """What to ask for; null asks for nothing. Raises what a row's attribute raises."""
        return [*map(self._key_of, objects)]


class Together(Resolver):
    """One that has a function of many rows beside it, which is called once for the level."""

    def __init__(self, field: StrawberryField, strawberry_schema: Any, together: Any) -> None:
        super().__init__(field, strawberry_schema)
        self._together: Callable[..., Awaitable[Sequence[Any]]] = together

    def all_values(
        self, info: LevelInfo, objects: list[Any], arguments: Arguments
    ) -> Awaitable[Sequence[Any]] | Failed:
        """An awaitable of the values of all the objects."""
        try:
            _, named = self._named(info, arguments)
        except Exception as error:  # noqa: BLE001  a field's error, told as such
            return Failed(error)
        return self._together(objects, **named)


class Whatever(Call):
    """Any other resolver, as graphql-core calls it."""

    def __init__(self, definition: GraphQLField) -> None:
        self._function = definition.resolve or default_field_resolver

    def values(self, info: LevelInfo, objects: list[Any], arguments: Arguments) -> list[Any]:
        values: list[Any] = []
        for each in objects:
            try:
                values.append(self._function(each, info, **arguments))  # type: ignore[arg-type]  # stands for it
            except Exception as error:  # noqa: BLE001  a field's error, told as such
                values.append(Failed(error))
        return values


class Calls:
    """The calls of a schema's fields; each is one for good, since it learns."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._strawberry_schema: Any = getattr(schema, "_strawberry_schema", None)
        self._calls: dict[int, tuple[GraphQLField, Call]] = {}

    def of(self, definition: GraphQLField) -> Call:
        found = self._calls.get(id(definition))
        if found is None:
            found = self._calls[id(definition)] = definition, self._call(definition)
        return found[1]

    def _call(self, definition: GraphQLField) -> Call:
        field = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(field, StrawberryField) or self._strawberry_schema is None or field.is_subscription:
            return Whatever(definition)
        if field.extensions or self._strawberry_schema.schema_converter.exception_handlers:
            return Whatever(definition)
        if field.base_resolver:
            return self._of_resolver(field, field.base_resolver.wrapped_func)
        return Attribute(field.python_name) if field.default_resolver is getattr else Whatever(definition)

    def _of_resolver(self, field: StrawberryField, resolver: Any) -> Call:
        """By what the resolver says of itself."""
        if together := getattr(resolver, "together", None):
            return Together(field, self._strawberry_schema, together)
        if attribute := getattr(resolver, "attribute", ""):
            return Attribute(attribute)
        relation = getattr(resolver, "relation", None)
        if isinstance(relation, Relation):
            return Related(field, self._strawberry_schema, relation)
        return Resolver(field, self._strawberry_schema)


@cache
def _caller(is_positional: bool, source: str, names: tuple[str, ...]) -> Callable[..., list[Any]]:
    """A function that calls another for each object, with the same further arguments."""
    given = ["row"] if is_positional else [f"{source}=row"] if source else []
    given += [f"{name}={name}" for name in names]
    lines = [
        "def call(function, rows, named):",
        *(f"    {name} = named[{name!r}]" for name in names),
        "    values = []",
        "    for row in rows:",
        "        try:",
        f"            values.append(function({', '.join(given)}))",
        "        except Exception as error:",
        "            values.append(Failed(error))",
        "    return values",
    ]
    scope: dict[str, Any] = {"Failed": Failed}
    exec("\n".join(lines), scope)  # noqa: S102  of names of Python parameters
    called: Callable[..., list[Any]] = scope["call"]
    return called
