"""What the view asks of whoever keeps answers: before a query is run, and after."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from graphql import OperationType
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from schema.transport.accept import MediaType
from schema.transport.execution import Answer
from schema.transport.operation import Operation


class Moment(NamedTuple):
    """When a call came: before anything was read for it."""

    at: datetime
    revision: int = 0


@dataclass(frozen=True)
class Asked:
    """An operation of one answer, by somebody whose token is good."""

    request: Request
    operation: Operation
    kind: OperationType | None
    media_type: MediaType
    actor: Any
    moment: Moment


class Keeper(Protocol):
    """Keeps answers to queries for those who ask again."""

    def moment(self) -> Moment:
        """The present."""

    def has_heard(self, request: Request) -> bool:
        """Whether this process knows of all that the call says it knows of."""

    async def found(self, asked: Asked) -> Response | None:
        """The answer, where it is kept and still true. Raises BadInput, Unavailable."""

    async def answered(self, asked: Asked, answer: Answer, response: Response) -> Response:
        """What is sent for an answer that was made; it may be kept."""


class KeepsNothing:
    """For a view whose answers are made anew each time."""

    def moment(self) -> Moment:
        return Moment(clock.now())

    def has_heard(self, _: Request) -> bool:
        return True

    async def found(self, _: Asked) -> Response | None:
        return None

    async def answered(self, _: Asked, __: Answer, response: Response) -> Response:
        return response
