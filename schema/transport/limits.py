"""How large an operation may be, measured before it runs, with its fragments spread out."""

from dataclasses import dataclass, replace

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)

INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    depth: int = 15
    fields: int = 1000
    root_fields: int = 30
    aliases: int = 50
    directives: int = 50
    tokens: int = 5000
    body_bytes: int = 1024 * 1024
    operations_per_socket: int = 50
    documents_kept: int = 256


@dataclass(frozen=True)
class Size:
    """Of a selection: its levels, the fields on its first one, and all that it holds."""

    depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(
            max(self.depth, other.depth),
            self.root_fields + other.root_fields,
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.directives + other.directives,
        )


class Measure:
    """Sizes within one document.

    Each fragment is measured once, so that the work grows with the text and not with what it unfolds to.
    """

    def __init__(self, context: ValidationContext) -> None:
        self._context = context
        self._fragments: dict[str, Size] = {}

    def selections(self, node: SelectionSetNode | None) -> Size:
        return sum((self._selection(selection) for selection in node.selections), Size()) if node else Size()

    def _selection(self, node: SelectionNode) -> Size:
        own = Size(directives=len(node.directives or ()))
        if isinstance(node, FieldNode):
            return own + self._field(node)
        if isinstance(node, FragmentSpreadNode):
            return own + self._fragment(node.name.value)
        return own + self.selections(node.selection_set if isinstance(node, InlineFragmentNode) else None)

    def _field(self, node: FieldNode) -> Size:
        inner = self.selections(node.selection_set)
        # Introspection nests deeply by nature; graphql-core has a rule of its own against its abuse.
        depth = 0 if node.name.value in INTROSPECTION else inner.depth
        return replace(
            inner,
            depth=depth + 1,
            root_fields=int(node.name.value != "__typename"),
            fields=inner.fields + 1,
            aliases=inner.aliases + (node.alias is not None),
        )

    def _fragment(self, name: str) -> Size:
        if name not in self._fragments:
            self._fragments[name] = Size()  # of a fragment within itself, which another rule refuses
            fragment = self._context.get_fragment(name)
            self._fragments[name] = self.selections(fragment.selection_set) if fragment else Size()
        return self._fragments[name]


def too_large(what: str, size: int, limit: int) -> GraphQLError:
    return GraphQLError(f"Too many {what}: {size}, of at most {limit}.", extensions={"code": "LIMIT_EXCEEDED"})


def size_rule(limits: Limits) -> type[ValidationRule]:
    """A rule that refuses operations beyond the limits."""

    class WithinLimits(ValidationRule):
        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self._measure = Measure(context)

        def enter_operation_definition(self, node: OperationDefinitionNode, *_: object) -> None:
            size = self._measure.selections(node.selection_set)
            for what, actual, limit in (
                ("levels", size.depth, limits.depth),
                ("root fields", size.root_fields, limits.root_fields),
                ("fields", size.fields, limits.fields),
                ("aliases", size.aliases, limits.aliases),
                ("directives", size.directives, limits.directives),
            ):
                if actual > limit:
                    self.report_error(too_large(what, actual, limit))

    return WithinLimits


class OneMutation(ValidationRule):
    """A mutation is one transaction with one answer, so an operation holds one of them."""

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: object) -> None:
        if node.operation is not OperationType.MUTATION:
            return
        if Measure(self.context).selections(node.selection_set).root_fields > 1:
            message = "An operation holds one mutation; send the others on their own."
            self.report_error(GraphQLError(message, node, extensions={"code": "BAD_INPUT"}))
