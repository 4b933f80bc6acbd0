"""A small schema and application, to try the transport on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from gateway.errors import CursorExpired, Forbidden, NotFound, Unauthenticated, Unavailable
from schema.transport.call import Call
from schema.transport.documents import LimitedSchema
from schema.transport.limits import Limits
from schema.transport.view import GraphQLView
from tests.serving import serving

ORIGIN = "https://tessera.example"
PARTNER = "https://partner.example"


@dataclass
class Toy:
    """The application: tokens that live until they are ended, and a count of the generators that are open."""

    endings: dict[str, asyncio.Event] = field(default_factory=lambda: {"good": asyncio.Event()})
    is_available: bool = True
    open_generators: int = 0
    flooded: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    contexts: list["ToyCall"] = field(default_factory=list)

    async def authenticate(self, token: str | None, address: str) -> str:
        assert address == "127.0.0.1"
        if not self.is_available:
            raise Unavailable("The log can't be read.")
        if token is not None and (token not in self.endings or self.endings[token].is_set()):
            raise Unauthenticated("The token is not valid.")
        return token or "anonymous"

    def recognized(self, *_: str) -> None:
        return None

    async def ended(self, actor: str) -> None:
        await self.endings.get(actor, asyncio.Event()).wait()

    def context(
        self,
        *,
        actor: str,
        request_id: str,
        address: str,
        last_event_id: str | None,
        accepts_cookies: bool,
        is_query: bool,
    ) -> Call[str]:
        call = ToyCall(
            actor=actor,
            request_id=request_id,
            address=address,
            last_event_id=last_event_id,
            accepts_cookies=accepts_cookies,
            is_query=is_query,
            toy=self,
        )
        self.contexts.append(call)
        return call

    async def count(self, change: int) -> None:
        async with self.changed:
            self.open_generators += change
            self.changed.notify_all()

    async def until_open(self, number: int) -> None:
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: self.open_generators == number)

    async def until_dammed(self) -> None:
        """Returns when a flood has come to a stand before a client that reads nothing."""
        await self.until_open(1)
        seen = 0
        while seen != self.flooded:
            seen = self.flooded
            await asyncio.sleep(0.05)  # stillness is no event to wait for


@dataclass(kw_only=True)
class ToyCall(Call[str]):
    is_query: bool
    toy: Toy


Info = strawberry.Info[ToyCall, None]


@strawberry.type
class Box:
    name: str = "box"

    @strawberry.field
    def inner(self) -> "Box":
        return Box()

    @strawberry.field
    def fails(self) -> str | None:
        raise NotFound("No such box.")


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"Hello, {name}!"

    @strawberry.field
    def viewer(self, info: Info) -> str:
        return info.context.actor

    @strawberry.field
    def at(self, instant: datetime) -> str:
        return instant.isoformat()

    @strawberry.field
    def box(self) -> Box:
        return Box()

    @strawberry.field
    def boom(self) -> str:
        raise RuntimeError("the database's password is 12345")

    @strawberry.field
    def too_big(self) -> int:
        return 2**40

    @strawberry.field
    def forbidden(self) -> str:
        raise Forbidden("Only owners may.")

    @strawberry.field
    def unavailable(self) -> str:
        raise Unavailable("Not now.")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def sign_in(self, info: Info) -> bool:
        info.context.set_cookie("good", datetime(2030, 1, 1, tzinfo=UTC))
        return True

    @strawberry.mutation
    def sign_out(self, info: Info) -> bool:
        info.context.clear_cookie()
        return True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, info: Info, first: int | None = None, after: int = 0) -> AsyncIterator[int]:
        """Counts on from a cursor; without `first`, waits for ever after three."""
        toy, start = info.context.toy, int(info.context.last_event_id or after)
        await toy.count(+1)
        try:
            for number in range(start + 1, start + 1 + (3 if first is None else first)):
                info.context.cursor = str(number)
                yield number
            if first is None:
                await asyncio.Event().wait()
        finally:
            await toy.count(-1)

    @strawberry.subscription
    async def flood(self, info: Info) -> AsyncIterator[str]:
        """Without end and without a pause."""
        await info.context.toy.count(+1)
        try:
            while True:
                info.context.toy.flooded += 1
                yield "x" * 65536
        finally:
            await info.context.toy.count(-1)

    @strawberry.subscription
    async def expired(self) -> AsyncIterator[int]:
        yield 1
        raise CursorExpired("The events after this cursor are no longer kept.")

    @strawberry.subscription
    async def faulty(self) -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("the database's password is 12345")


def toy_schema(limits: Limits) -> LimitedSchema:
    return LimitedSchema(Query, mutation=Mutation, subscription=Subscription, limits=limits)


@asynccontextmanager
async def serving_toy(toy: Toy, limits: Limits | None = None, **options: Any) -> AsyncIterator[str]:
    """The address of the endpoint."""
    settings: dict[str, Any] = {"public_url": ORIGIN, "allowed_origins": [PARTNER], **options}
    view = GraphQLView(toy_schema(limits or Limits()), toy, **settings)
    app = Starlette(routes=[Route("/graphql", view), WebSocketRoute("/graphql", view)])
    async with serving(app, on_stop=view.stop) as url:
        yield f"{url}/graphql"
