"""The GraphQL endpoint: over HTTP (the GraphQL over HTTP draft), over Server-Sent Events and over WebSocket.

It knows no type of the schema that it serves. Each way in reads its operation and its credential, asks the one
`Application` who that is, and runs the operation by `execution`.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Generic

import orjson
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.unset import UnsetType

from gateway.errors import TesseraError
from schema.transport import execution, explorer
from schema.transport.accept import MediaType, negotiated, takes_html
from schema.transport.call import ActorT, Application, Call, SessionCookie, address_of, request_id_of
from schema.transport.credentials import COOKIE, Credentials
from schema.transport.documents import LimitedSchema
from schema.transport.errors import INTERNAL, Refused, bare, fault, refused
from schema.transport.keeping import Asked, Keeper, KeepsNothing
from schema.transport.operation import Operation, requested
from schema.transport.sse import EventStream
from schema.transport.websocket import Connection, Socket, Wire

NOT_STORED = {"Cache-Control": "no-store"}


class GraphQLView(GraphQL[Connection[Any], None], Generic[ActorT]):
    """An ASGI application for one route, both of HTTP and of WebSocket.

    `public_url` and `allowed_origins` are where pages may be that call with a cookie. Call `stop` when the server
    begins to stop: it waits for its connections, and streams don't end by themselves.
    """

    graphql_transport_ws_handler_class = Socket
    websocket_adapter_class = Wire

    def __init__(
        self,
        schema: LimitedSchema,
        application: Application[ActorT],
        *,
        public_url: str,
        allowed_origins: Iterable[str] = (),
        keeper: Keeper | None = None,
        comment_seconds: float = 15.0,
        connection_init_seconds: float = 10.0,
    ) -> None:
        self._schema = schema
        self._application = application
        self._credentials = Credentials(public_url, allowed_origins)
        self._keeper = keeper or KeepsNothing()
        self._comment_seconds = comment_seconds
        self._stopping = asyncio.Event()
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=connection_init_seconds),
            max_subscriptions_per_connection=None,  # Socket counts, and tells it with a code
            allowed_origins=tuple(self._credentials.origins),
        )

    def stop(self) -> None:
        """Ends every stream and socket, sockets with 1012, and those that are still to come."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._open_socket(WebSocket(scope, receive, send))
            return
        with suppress(ClientDisconnect):
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, send)

    # Over WebSocket: hooks of Strawberry's view

    async def _open_socket(self, socket: WebSocket) -> None:
        if COOKIE in socket.cookies and not self._credentials.admits(socket):
            await self.reject_websocket(socket)
        else:
            await self.run(socket)

    async def get_context(
        self,
        request: Request | WebSocket,
        response: Response | WebSocket,  # noqa: ARG002  # Strawberry's signature
    ) -> Connection[Any]:
        assert isinstance(request, WebSocket)  # noqa: S101  # HTTP never comes to Strawberry's view
        return Connection(
            request,
            schema=self._schema,
            application=self._application,
            credentials=self._credentials,
            stopping=self._stopping,
        )

    async def on_ws_connect(self, context: Connection[Any]) -> UnsetType:
        await context.admit()
        return UnsetType()  # the acknowledgement carries nothing

    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)

    def encode_json(self, data: object) -> str:
        return orjson.dumps(data).decode()

    # Over HTTP

    async def _respond(self, request: Request) -> Response:
        request_id = request_id_of(request.headers)
        try:
            response = await self._answer(request, request_id)
        except Refused as refusal:
            response = _refusal(refusal, request_id)
        except TesseraError as error:
            response = self._gateway_refusal(error, request, request_id)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001  # the last resort: logged, and told as what it is
            fault(error, request_id)
            response = _refusal(Refused(500, "Internal error", code=INTERNAL), request_id)
        response.headers["X-Request-Id"] = request_id
        return response

    async def _answer(self, request: Request, request_id: str) -> Response:
        if request.method not in {"GET", "POST"}:
            raise Refused(405, "Send a POST, or a GET for a query.", headers={"Allow": "GET, POST"})
        if _is_for_the_page(request):
            return explorer.page()
        media_type = negotiated(request.headers.get("accept"))
        moment, address = self._keeper.moment(), address_of(request)
        is_stream = media_type is MediaType.EVENT_STREAM
        token = self._credentials.token(request)
        known = self._application.recognized(token, address) if token and self._keeper.has_heard(request) else None
        actor = known or await self._application.authenticate(token, address)
        operation = await requested(request, self._schema.limits.body_bytes)
        kind = execution.kind(self._schema, operation)
        _check_kind(kind, request.method, media_type)
        is_query = kind is OperationType.QUERY and not is_stream
        if known and not is_query:
            actor = await self._application.authenticate(token, address)
        call = self._application.context(
            actor=actor,
            request_id=request_id,
            address=address,
            last_event_id=request.headers.get("last-event-id") or None,
            accepts_cookies=not is_stream,
            is_query=is_query,
        )
        if is_stream:
            return self._stream(operation, call)
        return await self._single(Asked(request, operation, kind, media_type, actor, moment), call)

    def _stream(self, operation: Operation, call: Call[ActorT]) -> Response:
        return EventStream(
            execution.answers(self._schema, operation, call),
            call,
            token_ended=lambda: self._application.ended(call.actor),
            stopping=self._stopping,
            comment_seconds=self._comment_seconds,
        )

    async def _single(self, asked: Asked, call: Call[ActorT]) -> Response:
        if kept := await self._keeper.found(asked):
            return kept
        answer, media_type = await execution.answer(self._schema, asked.operation, call), asked.media_type
        response = Response(orjson.dumps(answer.body), answer.status(media_type), NOT_STORED, media_type)
        if call.session_cookie:
            response.headers.append("Set-Cookie", self._credentials.set_cookie(call.session_cookie))
        return await self._keeper.answered(asked, answer, response)

    def _gateway_refusal(self, error: TesseraError, request: Request, request_id: str) -> Response:
        response = _refusal(refused(error), request_id)
        if response.status_code == 401 and COOKIE in request.cookies:
            # A page can't drop an HttpOnly cookie, so one that is no good must not stand in the way of signing in.
            response.headers.append("Set-Cookie", self._credentials.set_cookie(SessionCookie(None)))
        return response


def _is_for_the_page(request: Request) -> bool:
    return request.method == "GET" and "query" not in request.query_params and takes_html(request.headers.get("accept"))


def _check_kind(kind: OperationType | None, method: str, media_type: MediaType) -> None:
    if kind is OperationType.MUTATION and method == "GET":
        raise Refused(405, "A GET may only read: send a mutation by POST.", headers={"Allow": "POST"})
    if kind is OperationType.SUBSCRIPTION and media_type is not MediaType.EVENT_STREAM:
        raise Refused(400, "Subscribe over WebSocket (graphql-transport-ws), or with Accept: text/event-stream.")


def _refusal(refusal: Refused, request_id: str) -> Response:
    body = {"errors": [bare(refusal.code, refusal.message, request_id)]}
    return Response(orjson.dumps(body), refusal.status, {**NOT_STORED, **refusal.headers}, MediaType.JSON)
