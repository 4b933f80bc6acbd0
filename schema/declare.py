"""How types are declared: like SDL, each member with its description; what resolves it is a plain function on rows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from itertools import chain
from typing import Any, TypeVar

import strawberry
from graphql import FieldNode
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.fields.resolver import Signature
from typing_extensions import dataclass_transform

from gateway.rows import model_of
from schema.context import Info
from schema.loaders import Batch, Reads, Relation

ClassT = TypeVar("ClassT", bound=type)
EnumT = TypeVar("EnumT", bound=type[Enum])
InputT = TypeVar("InputT")
ResolverT = TypeVar("ResolverT", bound=Callable[..., Any])
ValueT = TypeVar("ValueT")


def described(description: str, *, name: str | None = None, default: Any = strawberry.UNSET) -> Any:
    """A member that is the row's attribute of the same name; of an input, one that has a default or may be absent."""
    if default is strawberry.UNSET:
        return strawberry.field(description=description, name=name)
    return strawberry.field(description=description, name=name, default=default)


def optional(description: str, *, name: str | None = None) -> Any:
    """A member of an input that may be absent, which is not the same as null."""
    return strawberry.field(description=description, name=name, default=strawberry.UNSET)


def resolved(resolver: Callable[..., Any], description: str, *, name: str | None = None) -> Any:
    """A field that a function resolves; its type is the class's annotation, so that the function can speak of rows."""
    return strawberry.field(resolver=resolver, description=description, name=name)


def attribute(name: str) -> Callable[..., Any]:
    """Resolves the row's attribute of this name, where the field is called otherwise."""

    def resolve(root: strawberry.Parent[Any]) -> Any:
        return getattr(root, name)

    resolve.attribute = name  # type: ignore[attr-defined]  # told beside it, for the executor
    return resolve


def related(batch: Batch[Any, ValueT], attribute: str) -> Callable[..., Any]:
    """Resolves what a batch finds by the row's attribute; null where that is, or where there is nothing."""

    async def resolve(root: strawberry.Parent[Any], info: Info) -> Any:
        key = getattr(root, attribute)
        return await info.context.load(batch, key) if key is not None else None

    resolve.relation = Relation(batch, attribute)  # type: ignore[attr-defined]  # told beside it, for the executor
    resolve.reads = Reads((attribute,))  # type: ignore[attr-defined]  # as above
    return resolve


def related_rows(batch: Batch[Any, Sequence[ValueT]], attribute: str) -> Callable[..., Any]:
    """As `related`, of lists; an empty one where there is nothing."""

    async def resolve(root: strawberry.Parent[Any], info: Info) -> Any:
        return await info.context.load(batch, getattr(root, attribute)) or []

    resolve.relation = Relation(batch, attribute, is_list=True)  # type: ignore[attr-defined]  # as above
    resolve.reads = Reads((attribute,))  # type: ignore[attr-defined]  # as above
    return resolve


def together(resolver: Callable[..., Awaitable[Sequence[Any]]]) -> Callable[..., Any]:
    """Resolves a field by a function of many rows, which gives a value or an error for each in their order.

    After the rows the function takes `info`, and then the field's arguments.
    """

    async def resolve(root: strawberry.Parent[Any], info: Info, **arguments: Any) -> Any:
        return (await resolver([root], info, **arguments))[0]

    rows, *further = Signature.from_callable(resolver).parameters.values()
    root = rows.replace(name="root", annotation=strawberry.Parent[Any])  # type: ignore[misc]  # a marker
    resolve.__signature__ = Signature([root, *further])  # type: ignore[attr-defined]  # what Strawberry makes a field of
    resolve.__module__ = resolver.__module__  # where the names in it are known
    resolve.together = resolver  # type: ignore[attr-defined]  # told beside it, for the executor
    resolve.reads = getattr(resolver, "reads", None)  # type: ignore[attr-defined]  # as above
    return resolve


def reading(*attributes: str, of: Mapping[type, tuple[str, ...]] | None = None) -> Callable[[ResolverT], ResolverT]:
    """Says what a resolver reads of its rows, and `of` rows of other classes that it loads, so that no more is fetched.

    Of one that says nothing and is given `info` it may be anything of whatever it loads.
    """

    def declare(resolver: ResolverT) -> ResolverT:
        resolver.reads = Reads(attributes, of or {})  # type: ignore[attr-defined]  # told beside it, for the executor
        return resolver

    return declare


def enum(values: EnumT, description: str, /, **descriptions: str) -> EnumT:
    """A GraphQL enum of the gateway's own, which knows nothing of GraphQL and so bears no descriptions."""
    made = strawberry.enum(values, description=description)
    definition: StrawberryEnumDefinition = made.__strawberry_definition__  # type: ignore[attr-defined]  # put there by the line above
    for value in definition.values:
        value.description = descriptions[value.name]
    return made


@dataclass_transform()
def object_type(description: str, *, name: str | None = None) -> Callable[[ClassT], ClassT]:
    def declare(cls: ClassT) -> ClassT:
        made: ClassT = strawberry.type(cls, name=name, description=description)
        return made

    return declare


def node_type(row: type, description: str, *, name: str | None = None) -> Callable[[ClassT], ClassT]:
    """A type of objects that have a global id; its values are the rows of a table."""

    def declare(cls: ClassT) -> ClassT:
        def is_type_of(_: type, value: object, __: object) -> bool:
            return issubclass(model_of(type(value)), row)

        is_type_of.row = row  # type: ignore[attr-defined]  # told beside it, for the executor
        cls.is_type_of = classmethod(is_type_of)  # type: ignore[attr-defined]  # asked for by Strawberry
        made: ClassT = strawberry.type(cls, name=name, description=description)
        return made

    return declare


@dataclass_transform(kw_only_default=True)
def input_type(description: str, *, one_of: bool = False) -> Callable[[type[InputT]], type[InputT]]:
    def declare(cls: type[InputT]) -> type[InputT]:
        made: type[InputT] = strawberry.input(cls, description=description, one_of=one_of)
        return made

    return declare


def argument(description: str, *, name: str | None = None) -> Any:
    return strawberry.argument(description=description, name=name)


def selects(info: Info, name: str) -> bool:
    """Whether this field is asked for of what a resolver gives; one within a fragment isn't looked for."""
    selections = chain.from_iterable(
        [node.selection_set.selections for node in info._raw_info.field_nodes if node.selection_set]  # noqa: SLF001  Strawberry's own way takes the whole selection apart
    )
    return any(isinstance(each, FieldNode) and each.name.value == name for each in selections)


def given(value: Any) -> Any:
    """The value, None where it is absent: for members where absent and null are the same."""
    return None if value is strawberry.UNSET else value


def changes(input: object, *names: str) -> dict[str, Any]:
    """The members that are present, null or not: what an update changes."""
    present = {name: getattr(input, name) for name in names}
    return {name: value for name, value in present.items() if value is not strawberry.UNSET}


def chosen(values: Any) -> tuple[Any, ...] | None:
    """A list that filters, as a batch takes it; absent and null are no filter."""
    return None if values is strawberry.UNSET or values is None else tuple(sorted(set(values)))
