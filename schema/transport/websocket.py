"""GraphQL over WebSocket: the graphql-transport-ws protocol, with a token that can end while the socket is open.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Generic, cast

from starlette.websockets import WebSocket
from starlette.websockets import WebSocketDisconnected as AlreadyClosed
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws import types as messages
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import Operation as RunningOperation

from gateway.errors import BadInput, LimitExceeded, TesseraError, Unauthenticated, Unavailable
from schema.transport import execution
from schema.transport.call import ActorT, Application, address_of, new_request_id
from schema.transport.credentials import Credentials
from schema.transport.documents import LimitedSchema
from schema.transport.errors import fault
from schema.transport.execution import Answer
from schema.transport.operation import Operation, operation_of
from schema.transport.race import first

BAD_REQUEST, FORBIDDEN = 4400, 4403  # the protocol's own
SERVICE_RESTART, TRY_AGAIN_LATER = 1012, 1013  # RFC 6455's registry of close codes
REASON_BYTES = 123  # RFC 6455, 5.5.1
CLOSE_SECONDS = 0.5  # a client that reads nothing is not waited for


class Connection(Generic[ActorT]):
    """One socket: who is on it, once that was said, and what is run for them."""

    def __init__(
        self,
        handshake: WebSocket,
        *,
        schema: LimitedSchema,
        application: Application[ActorT],
        credentials: Credentials,
        stopping: asyncio.Event,
    ) -> None:
        self.connection_params: Mapping[str, object] = {}  # Strawberry writes the payload of connection_init here
        self.stopping = stopping
        self.limits = schema.limits
        self._handshake = handshake
        self._schema = schema
        self._application = application
        self._credentials = credentials
        self._actor: asyncio.Future[ActorT] = asyncio.get_running_loop().create_future()

    async def admit(self) -> None:
        """Raises Unauthenticated for a bad token, BadInput for two credentials, Unavailable."""
        self._actor.set_result(await self._authenticated())

    async def token_ended(self) -> None:
        await self._application.ended(await asyncio.shield(self._actor))

    async def answers(self, operation: Operation, request_id: str) -> AsyncGenerator[Answer, None]:
        """Runs it for whoever the token speaks for now. Raises as `admit`."""
        call = self._application.context(
            actor=await self._authenticated(),
            request_id=request_id,
            address=address_of(self._handshake),
            last_event_id=None,
            accepts_cookies=False,
            is_query=False,  # of what kind it is, is seen when it runs
        )
        async with aclosing(execution.answers(self._schema, operation, call)) as answers:
            async for answer in answers:
                yield answer

    async def _authenticated(self) -> ActorT:
        token = self._credentials.token(self._handshake, self._bearer())
        return await self._application.authenticate(token, address_of(self._handshake))

    def _bearer(self) -> str | None:
        given = next((value for key, value in self.connection_params.items() if key.lower() == "authorization"), None)
        if given is None or isinstance(given, str):
            return given
        raise BadInput("`authorization` must be a string.")


class Wire(ASGIWebSocketAdapter):
    """Strawberry's adapter, to which a socket that we closed ourselves is as gone as one that the client closed."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        try:
            await super().send_json(message)
        except AlreadyClosed as gone:
            raise WebSocketDisconnected from gone

    async def close(self, code: int, reason: str) -> None:
        with suppress(AlreadyClosed, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await super().close(code, reason.encode()[:REASON_BYTES].decode(errors="ignore"))


class Socket(BaseGraphQLTransportWSHandler[Connection[Any], None]):
    """Strawberry's side of the protocol, but for what stays ours: who may, for how long, and how errors are told."""

    async def handle(self) -> None:
        await first(super().handle(), self._close_when_token_ends(), self._close_when_server_stops())

    async def handle_message(self, message: messages.Message) -> None:
        if _is_well_formed(message):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message("Failed to parse message")

    async def handle_connection_init(self, message: messages.ConnectionInitMessage) -> None:
        try:
            await super().handle_connection_init(message)
        except TesseraError as refusal:
            await self.websocket.close(_close_code(refusal), refusal.message)

    async def handle_subscribe(self, message: messages.SubscribeMessage) -> None:
        limit = self.context.limits.operations_per_socket
        if len(self.operations) >= limit and message["id"] not in self.operations:
            refusal = LimitExceeded(f"A socket carries {limit} operations at once.")
            errors = [fault(refusal, new_request_id())]
            await self.websocket.send_json({"type": "error", "id": message["id"], "payload": errors})
        else:
            await super().handle_subscribe(message)

    async def run_operation(self, operation: RunningOperation[Connection[Any], None]) -> None:
        request_id = new_request_id()
        with suppress(WebSocketDisconnected):
            try:
                await self._run(operation, request_id)
            except WebSocketDisconnected:
                raise
            except Exception as error:  # noqa: BLE001  # one fault neither ends the socket nor stays silent
                await _send(operation, "error", [fault(error, request_id)])

    async def _run(self, operation: RunningOperation[Connection[Any], None], request_id: str) -> None:
        asked = operation_of(
            {"query": operation.query, "variables": operation.variables, "operationName": operation.operation_name}
        )
        async with aclosing(self.context.answers(asked, request_id)) as answers:
            async for answer in answers:
                await _send_answer(operation, answer)
        await operation.send_operation_message({"type": "complete", "id": operation.id})

    async def _close_when_token_ends(self) -> None:
        try:
            await self.context.token_ended()
        except Unavailable as unavailable:
            await self.websocket.close(TRY_AGAIN_LATER, unavailable.message)
        else:
            await self.websocket.close(FORBIDDEN, "The token has ended.")

    async def _close_when_server_stops(self) -> None:
        await self.context.stopping.wait()
        await self.websocket.close(SERVICE_RESTART, "The server stops.")


async def _send_answer(operation: RunningOperation[Connection[Any], None], answer: Answer) -> None:
    if answer.was_run:
        await _send(operation, "next", answer.body)
    else:
        await _send(operation, "error", answer.body["errors"])


async def _send(operation: RunningOperation[Connection[Any], None], kind: str, payload: object) -> None:
    message = {"type": kind, "id": operation.id, "payload": payload}
    await operation.send_operation_message(cast("messages.Message", message))


def _is_well_formed(message: object) -> bool:
    """Whether Strawberry may read it, which trusts the types of what a client sends."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] in {"subscribe", "complete"} and not isinstance(message.get("id"), str):
        return False
    return message["type"] != "subscribe" or isinstance(message.get("payload"), dict)


def _close_code(refusal: TesseraError) -> int:
    if isinstance(refusal, Unauthenticated):
        return FORBIDDEN
    return TRY_AGAIN_LATER if isinstance(refusal, Unavailable | LimitExceeded) else BAD_REQUEST
