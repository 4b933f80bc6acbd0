"""Which operations go level by level, by which plan, and which the ordinary way."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    Visitor,
    execute,
    visit,
)
from graphql.execution.values import VariableValues, get_variable_values
from strawberry.utils.await_maybe import await_maybe

from schema.levels.calls import Calls
from schema.levels.kinds import Kinds
from schema.levels.plan import Collector, Plan
from schema.levels.reading import Columns
from schema.levels.reading import columns as columns_of
from schema.levels.run import Run
from schema.levels.turns import Turns
from schema.levels.wants import Wants

INTROSPECTION = frozenset({"__schema", "__type"})
CONDITIONS = frozenset({"skip", "include"})
MOST_PLANS = 8
"""Of one document, for as many sets of the values that its conditions may have."""

Count = Callable[[Any, str, str], None]
"""Is told of each operation: its context, the way that it went, and why."""


class Rare(Exception):
    """An operation that goes the ordinary way, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Known(NamedTuple):
    """What is known of a schema."""

    schema: GraphQLSchema
    calls: Calls
    kinds: Kinds


class Prepared:
    """An operation of a document, and its plans."""

    def __init__(self, known: Known, document: DocumentNode, name: str | None) -> None:
        """Raises Rare."""
        self._known = known
        definitions = document.definitions
        self._fragments = {each.name.value: each for each in definitions if isinstance(each, FragmentDefinitionNode)}
        self.operation = _operation(document, name)
        self._condition_names = _conditions(document)
        self._plans: OrderedDict[tuple[Any, ...], tuple[Plan, Mapping[type, Columns]]] = OrderedDict()

    def plan(self, variables: VariableValues) -> tuple[Plan, Mapping[type, Columns]]:
        """A plan, and the columns that it reads. Raises Rare."""
        values = tuple(variables.coerced.get(name) for name in self._condition_names)
        if not all(isinstance(value, bool) for value in values):
            raise Rare("condition")
        if values not in self._plans:
            plan = self._made(variables)
            self._plans[values] = plan, columns_of(plan)
            if len(self._plans) > MOST_PLANS:
                self._plans.popitem(last=False)
        return self._plans[values]

    def _made(self, variables: VariableValues) -> Plan:
        conditions = VariableValues(
            {name: variables.sources[name] for name in self._condition_names},
            {name: variables.coerced[name] for name in self._condition_names},
        )
        schema, calls, kinds = self._known
        plan = Plan(Collector(schema, calls, self.operation, self._fragments, conditions), kinds)
        if any(field.name in INTROSPECTION for field in plan.root.fields):
            raise Rare("introspection")
        return plan


class Levels:
    """Executes operations of one schema; queries level by level, wherever it can.

    `rows` are classes whose values could be awaited, though they give but themselves: they are not. `count` is told
    which way each operation went. Where the context has `loaders`, they are replaced by those that gather for a level.
    """

    def __init__(
        self,
        *,
        rows: tuple[type, ...] = (),
        documents_kept: int = 256,
        largest: int = 16 * 1024,
        count: Count | None = None,
    ) -> None:
        self._kinds = Kinds(rows)
        self._documents_kept = documents_kept
        self._largest = largest
        self._count = count or (lambda *_: None)
        self._known: Known | None = None
        self._turns = Turns()
        self._prepared: OrderedDict[tuple[str, str | None], Prepared | Rare] = OrderedDict()

    async def execute(self, schema: GraphQLSchema, document: DocumentNode, **options: Any) -> ExecutionResult:
        """As graphql-core's function of this name."""
        try:
            return await self.query(schema, document, **options)
        except Rare as rare:
            self._count(options.get("context_value"), "ordinary", rare.reason)
        result: ExecutionResult = await await_maybe(execute(schema, document, **options))
        return result

    async def query(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        *,
        context_value: Any = None,
        variable_values: dict[str, Any] | None = None,
        operation_name: str | None = None,
        root_value: Any = None,
        middleware: Any = None,
        operation_extensions: dict[str, Any] | None = None,
        **_: Any,
    ) -> ExecutionResult:
        """As `execute`, of a query that goes level by level. Raises Rare, before anything is done, for any other."""
        prepared = self._remembered(schema, document, operation_name, middleware)
        variables = get_variable_values(
            schema, prepared.operation.variable_definitions or (), variable_values or {}, max_errors=50
        )
        if isinstance(variables, list):
            return ExecutionResult(None, variables)
        plan, columns = prepared.plan(variables)
        self._count(context_value, "levels", "")
        wants = Wants(getattr(context_value, "reader", None), columns)
        if hasattr(context_value, "loaders"):
            context_value.loaders = wants
        run = Run(
            plan,
            variables,
            wants,
            root_value=root_value,
            context=context_value,
            extensions=operation_extensions,
        )
        async with self._turns.taken():
            data, errors = await run.answer()
        return ExecutionResult(data, errors or None)

    def _remembered(self, schema: GraphQLSchema, document: DocumentNode, name: str | None, middleware: Any) -> Prepared:
        if middleware is not None and getattr(middleware, "middlewares", middleware):
            raise Rare("middleware")
        text = document.loc.source.body if document.loc else ""
        if not text or len(text) > self._largest:
            return self._prepare(schema, document, name)
        found = self._prepared.get((text, name))
        if found is None:
            try:
                found = self._prepare(schema, document, name)
            except Rare as rare:
                found = rare
            self._prepared[text, name] = found
            if len(self._prepared) > self._documents_kept:
                self._prepared.popitem(last=False)
        else:
            self._prepared.move_to_end((text, name))
        if isinstance(found, Rare):
            raise found
        return found

    def _prepare(self, schema: GraphQLSchema, document: DocumentNode, name: str | None) -> Prepared:
        if self._known is None:
            self._known = Known(schema, Calls(schema), self._kinds)
        return Prepared(self._known, document, name)


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """Raises Rare for any but one query."""
    operations = [
        each
        for each in document.definitions
        if isinstance(each, OperationDefinitionNode) and (name is None or (each.name and each.name.value == name))
    ]
    if len(operations) != 1:
        raise Rare("unknown operation")
    if operations[0].operation is not OperationType.QUERY:
        raise Rare(operations[0].operation.value)
    return operations[0]


def _conditions(document: DocumentNode) -> tuple[str, ...]:
    """The variables that decide what is skipped or included. Raises Rare for other directives."""
    found = _Conditions()
    if document.loc is None or "@" in document.loc.source.body:
        visit(document, found)
    return tuple(sorted(found.names))


class _Conditions(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: Any, *_: Any) -> None:
        if node.name.value not in CONDITIONS:
            raise Rare("directive")
        for argument in node.arguments or ():
            if isinstance(argument.value, VariableNode):
                self.names.add(argument.value.name.value)
