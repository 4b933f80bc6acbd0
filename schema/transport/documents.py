"""Documents, parsed and validated once and then remembered; and the schema that reads them so."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    Lexer,
    OperationDefinitionNode,
    OperationType,
    Source,
    TokenKind,
    ValidationRule,
    execute,
    parse,
    specified_rules,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document
from strawberry.types import ExecutionContext
from strawberry.types import ExecutionResult as StrawberryResult

from schema.transport.limits import Limits, OneMutation, size_rule, too_large
from schema.transport.plain import is_plainly_valid

REMEMBERED_CHARACTERS = 16 * 1024  # a longer text is read anew each time, so that what is remembered stays small

Rules = tuple[type[ValidationRule], ...]


class Documents:
    """The texts of operations, and what was found out about them, for one schema."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cheap_rules: Rules = (size_rule(limits), OneMutation)
        self._remembered_parse = lru_cache(limits.documents_kept)(self._parse)
        self._remembered_faults = lru_cache(limits.documents_kept)(self._faults)

    def parse(self, text: str) -> DocumentNode:
        """Raises GraphQLError for a text with too many tokens or bad syntax."""
        return self._remembered_parse(text) if len(text) <= REMEMBERED_CHARACTERS else self._parse(text)

    def faults(self, schema: GraphQLSchema, text: str) -> list[GraphQLError]:
        """What validation has against a text that parses."""
        read = self._remembered_faults if len(text) <= REMEMBERED_CHARACTERS else self._faults
        return list(read(schema, text))

    def operation(self, text: str, name: str | None) -> OperationDefinitionNode:
        """The operation that is meant (GraphQL, 6.1: GetOperation).

        Raises GraphQLError as `parse` does, and where no operation is meant or more than one may be.
        """
        operations = [node for node in self.parse(text).definitions if isinstance(node, OperationDefinitionNode)]
        if name is not None:
            operations = [node for node in operations if node.name and node.name.value == name]
        if len(operations) == 1:
            return operations[0]
        missing = f"There is no operation named {name}." if name else "There is no operation."
        raise GraphQLError("`operationName` must say which operation is meant." if operations else missing)

    def _parse(self, text: str) -> DocumentNode:
        with suppress(GraphQLSyntaxError):
            return _without_circles(parse(text, max_lexical_tokens=self._limits.tokens))
        self._refuse_many_tokens(text)  # which comes before bad syntax
        return _without_circles(parse(text))

    def _refuse_many_tokens(self, text: str) -> None:
        lexer = Lexer(Source(text))
        for _ in range(self._limits.tokens + 1):
            if lexer.advance().kind is TokenKind.EOF:
                return
        raise too_large("tokens", self._limits.tokens + 1, self._limits.tokens)

    def _faults(self, schema: GraphQLSchema, text: str) -> tuple[GraphQLError, ...]:
        document = self.parse(text)
        try:
            if is_plainly_valid(schema, document, self._limits):
                return ()
            cheap = validate_document(schema, document, self._cheap_rules)
            return tuple(cheap or validate_document(schema, document, tuple(specified_rules)))
        except RecursionError:  # a long chain of fragments, each in the one before
            return (too_large("nested fragments", self._limits.tokens, self._limits.depth),)


def _without_circles(document: DocumentNode) -> DocumentNode:
    """Whose tokens know but the next one of them, so that a document which is forgotten is gone at once.

    In circles its hundreds of objects would wait for the garbage collector, which would look at them again and again.
    """
    token = document.loc.start_token if document.loc else None
    while token:
        token.prev = None
        token = token.next
    return document


class Remembering(SchemaExtension):
    """Strawberry's steps of parsing and validation, answered from `Documents`."""

    def __init__(self, schema: "LimitedSchema") -> None:
        self._schema = schema

    def on_parse(self) -> Iterator[None]:
        # An error raised here is a crash to Strawberry; left alone, it parses again and reports it as the client's.
        with suppress(GraphQLError):
            self.execution_context.graphql_document = self._schema.documents.parse(self.execution_context.query or "")
        yield

    def on_validate(self) -> Iterator[None]:
        self.execution_context.pre_execution_errors = self._schema.faults(self.execution_context.query or "")
        yield


class LimitedSchema(strawberry.Schema):
    """A Strawberry schema whose operations keep within limits; the view reports its errors, under the request's id.

    `executes` runs queries and mutations in place of graphql-core's function. `queries` runs queries that are valid
    without Strawberry's steps around them, and returns None for those that need them.
    """

    def __init__(
        self,
        query: type,
        *,
        limits: Limits,
        executes: Callable[..., Any] = execute,
        queries: Callable[..., Awaitable[ExecutionResult | None]] | None = None,
        **options: Any,
    ) -> None:
        self.limits = limits
        self._executes = executes
        self._queries = queries
        self.documents = Documents(limits)
        super().__init__(query, extensions=[lambda: Remembering(self)], **options)

    def faults(self, text: str) -> list[GraphQLError]:
        return self.documents.faults(self._schema, text)

    def kind(self, text: str, name: str | None) -> OperationType:
        """Query, mutation or subscription. Raises GraphQLError where the operation can't be told."""
        return self.documents.operation(text, name).operation

    async def result(
        self,
        text: str,
        name: str | None,
        variables: dict[str, Any] | None,
        context: Any,
        extensions: dict[str, Any] | None,
    ) -> ExecutionResult | StrawberryResult:
        """Of a query or a mutation. Raises as Strawberry's `execute` does."""
        if self._queries and self.kind(text, name) is OperationType.QUERY and not self.faults(text):
            result = await self._queries(
                self._schema,
                self.documents.parse(text),
                context_value=context,
                variable_values=variables,
                operation_name=name,
                operation_extensions=extensions,
            )
            if result is not None:
                return result
        return await self.execute(
            text,
            variable_values=variables,
            context_value=context,
            operation_name=name,
            operation_extensions=extensions,
        )

    def _get_execute_function(self) -> Callable[..., Any]:
        return self._executes

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Strawberry would log each with its traceback, the client's own mistakes too."""
