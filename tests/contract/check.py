"""Says where an exported SDL breaks the contract: `check.py graphql/schema.graphql`, exit status 1 if it does.

graphql-core's find_breaking_changes alone misses much of what clients feel (a member made non-null, a default that is
added or lost, @oneOf dropped), so every promise is compared by its coordinate. Needs graphql-core 3.3.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
    is_introspection_type,
    is_specified_scalar_type,
    print_ast,
)
from graphql.utilities.get_default_value_ast import get_default_value_ast

CONTRACT = Path(__file__).with_name("schema.graphql")


def own_types(schema: GraphQLSchema) -> Iterator[tuple[str, GraphQLNamedType]]:
    for name, kind in schema.type_map.items():
        if not is_introspection_type(kind) and not is_specified_scalar_type(kind):
            yield name, kind


def fields_of(kind: GraphQLNamedType) -> Iterator[tuple[str, GraphQLField | GraphQLInputField]]:
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
        yield from kind.fields.items()


def arguments_of(field: GraphQLField | GraphQLInputField) -> Iterator[tuple[str, GraphQLArgument]]:
    if isinstance(field, GraphQLField):
        yield from field.args.items()


def with_default(value: GraphQLArgument | GraphQLInputField) -> str:
    """Type and default, as SDL. In schemas built from SDL `default_value` is undefined; its AST is not."""
    default = get_default_value_ast(value)
    return str(value.type) if default is None else f"{value.type} = {print_ast(default)}"


def promises(schema: GraphQLSchema) -> dict[str, object]:
    """Each thing that a schema fixes, by its coordinate."""
    fixed: dict[str, object] = {}
    for name, kind in own_types(schema):
        fixed[name] = (type(kind).__name__, getattr(kind, "is_one_of", False))
        fixed |= {f"{name} implements {interface.name}": True for interface in getattr(kind, "interfaces", ())}
        fixed |= {f"{name} has {member.name}": True for member in getattr(kind, "types", ())}
        fixed |= {f"{name}.{value}": True for value in values_of(kind)}
        for field_name, field in fields_of(kind):
            at = f"{name}.{field_name}"
            fixed[at] = with_default(field) if isinstance(field, GraphQLInputField) else str(field.type)
            fixed |= {f"{at}({argument}:)": with_default(value) for argument, value in arguments_of(field)}
    return fixed


def values_of(kind: GraphQLNamedType) -> dict[str, str | None]:
    """The values of an enum, with their descriptions."""
    if not isinstance(kind, GraphQLEnumType):
        return {}
    return {name: value.description for name, value in kind.values.items()}


def descriptions(schema: GraphQLSchema) -> Iterator[tuple[str, str | None]]:
    """Of everything of the schema's own, by its coordinate."""
    for name, kind in own_types(schema):
        yield name, kind.description
        for value, description in values_of(kind).items():
            yield f"{name}.{value}", description
        for field_name, field in fields_of(kind):
            yield f"{name}.{field_name}", field.description
            for argument_name, argument in arguments_of(field):
                yield f"{name}.{field_name}({argument_name}:)", argument.description


def undescribed(schema: GraphQLSchema) -> list[str]:
    return [at for at, description in descriptions(schema) if not description]


def broken(contract: GraphQLSchema, product: GraphQLSchema) -> list[str]:
    """What the product does not keep of the contract."""
    has = promises(product)
    lost = [
        f"{at}: {wanted} -> {has.get(at, 'missing')}"
        for at, wanted in promises(contract).items()
        if has.get(at) != wanted
    ]
    required = [change.description for change in find_breaking_changes(contract, product)]
    return lost + [text for text in required if "required" in text]


def main() -> int:
    contract, product = build_schema(CONTRACT.read_text()), build_schema(Path(sys.argv[1]).read_text())
    breaks, bare = broken(contract, product), undescribed(product)
    for line in breaks:
        print("breaks the contract:", line)
    for at in bare:
        print("has no description:", at)
    print(f"{len(breaks)} breaks, {len(bare)} without description")
    return 1 if breaks or bare else 0


if __name__ == "__main__":
    sys.exit(main())
