"""An operation run, and its answer in the shape that goes to the caller, whatever it travels by."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from graphql import GraphQLError, OperationType
from strawberry.types import ExecutionResult

from schema.transport.accept import MediaType
from schema.transport.call import Call
from schema.transport.documents import LimitedSchema
from schema.transport.errors import INTERNAL, code_of, public
from schema.transport.operation import Operation


@dataclass(frozen=True)
class Answer:
    """What is sent for one result. Without `data` nothing was run: the request itself was at fault."""

    body: dict[str, object]
    codes: frozenset[str] = frozenset()

    @property
    def was_run(self) -> bool:
        return "data" in self.body

    def status(self, media_type: MediaType) -> HTTPStatus:
        """GraphQL over HTTP (draft), 6.4: the older media type keeps 200 for what was asked wrongly."""
        if "UNAVAILABLE" in self.codes and self.body.get("data") is None:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if self.was_run:
            return HTTPStatus.OK
        if INTERNAL in self.codes:
            return HTTPStatus.INTERNAL_SERVER_ERROR
        return HTTPStatus.BAD_REQUEST if media_type is MediaType.GRAPHQL_RESPONSE else HTTPStatus.OK


def kind(schema: LimitedSchema, operation: Operation) -> OperationType | None:
    """Query, mutation or subscription; None where the text doesn't tell, which its answer will say."""
    try:
        return schema.kind(operation.query, operation.name)
    except GraphQLError:
        return None


async def answer(schema: LimitedSchema, operation: Operation, call: Call[Any]) -> Answer:
    """Runs a query or a mutation."""
    if fault := _unreadable(schema, operation):
        return _answer(fault, call)
    result = await schema.result(operation.query, operation.name, operation.variables, call, operation.extensions)
    return _answer(result, call)


async def answers(schema: LimitedSchema, operation: Operation, call: Call[Any]) -> AsyncGenerator[Answer, None]:
    """Runs an operation of any kind: the events of a subscription, or the one answer of another."""
    if fault := _unreadable(schema, operation):
        yield _answer(fault, call)
        return
    results = await schema.stream(
        operation.query,
        variable_values=operation.variables,
        context_value=call,
        operation_name=operation.name,
        operation_extensions=operation.extensions,
    )
    is_subscription = schema.kind(operation.query, operation.name) is OperationType.SUBSCRIPTION
    async with aclosing(results):
        async for result in results:
            found = _answer(result, call)
            if is_subscription and "UNAVAILABLE" in found.codes:
                yield Answer({"errors": found.body["errors"]}, found.codes)
                return  # who went on with the next event's cursor would never have this one whole
            yield found
            await asyncio.sleep(0)  # a long replay takes turns with everybody else


def _unreadable(schema: LimitedSchema, operation: Operation) -> ExecutionResult | None:
    """Strawberry would run the first of several operations, and end a socket over bad syntax."""
    try:
        schema.kind(operation.query, operation.name)
    except GraphQLError as error:
        return ExecutionResult(data=None, errors=[error])
    return None


def _answer(result: Any, call: Call[Any]) -> Answer:
    errors: list[GraphQLError] = result.errors or []
    nothing_was_run = result.data is None and all(error.path is None for error in errors)
    body: dict[str, object] = {} if nothing_was_run else {"data": result.data}
    if errors:
        body["errors"] = [public(error, call.request_id) for error in errors]
    return Answer(body, frozenset(code_of(error) for error in errors))
