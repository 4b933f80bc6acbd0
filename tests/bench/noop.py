"""A Starlette app that does nothing: what the web stack alone costs, beside which everything is measured."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def nothing(request: Request) -> Response:
    await request.body()
    return Response(b"{}", media_type="application/json")


app = Starlette(routes=[Route("/graphql", nothing, methods=["POST"]), Route("/healthz", nothing)])
