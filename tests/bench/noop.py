"""Apps that do nothing: what the web stack alone costs, beside which everything is measured."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

ITEMS = b'{"items":[{"id":1,"name":"one","value":1.5},{"id":2,"name":"two","value":2.5}],"text":"' + b"x" * 160 + b'"}'


async def nothing(request: Request) -> Response:
    await request.body()
    return Response(b"{}", media_type="application/json")


async def empty(_: Request) -> Response:
    return Response()


app = Starlette(
    routes=[
        Route("/graphql", nothing, methods=["POST"]),
        Route("/empty", empty),
        Route("/healthz", nothing),
    ]
)


async def raw(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def items(scope: Scope, receive: Receive, send: Send) -> None:
    """An upstream: about 250 bytes to whatever is asked."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ITEMS)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ITEMS})
