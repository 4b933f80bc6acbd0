"""The application: its parts, put together; its routes; what runs while it does."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import console, database, housekeeping, http, migrating, notices, oauth
from gateway.attempts import Attempts
from gateway.auth import Authenticator
from gateway.callers import Callers
from gateway.events import Cursors, EventLog
from gateway.export_routes import Exports
from gateway.logs import REQUEST_ID, AccessLog
from gateway.metrics import Measures, Metrics
from gateway.passwords import Passwords
from gateway.permissions import Actor, RightsMemory
from gateway.plane import ledger
from gateway.plane.admission import Admission
from gateway.plane.decisions import Decider
from gateway.plane.heard import path_of
from gateway.plane.knowledge import Knowledge
from gateway.plane.learning import Learner
from gateway.plane.meter import Meter
from gateway.plane.passing import Passing
from gateway.plane.proxy import PREFIXES, DataPlane
from gateway.plane.rates import Rates
from gateway.plane.tokens import Tokens
from gateway.retention import Retention
from gateway.revisions import Revisions
from gateway.sealing import Sealer
from gateway.settings import Settings
from gateway.signing import Keyring, SessionSigner
from gateway.upstreams import UpstreamAllow
from schema import root
from schema.context import Context, Services
from schema.kept.front import FrontDoor
from schema.kept.keeping import REVISION, Keeping
from schema.transport.call import request_id_of
from schema.transport.credentials import CSRF_HEADER, Credentials
from schema.transport.errors import Refused
from schema.transport.view import GraphQLView

GRAPHQL = b"/graphql"
MEGABYTE = 1_000_000

log = structlog.get_logger(__name__)


class Application(Starlette):
    """Starlette for all but calls with keys and of GraphQL, which would pay for its routing."""

    data_plane: DataPlane
    graphql: ASGIApp
    """The endpoint, for calls by HTTP."""
    front_door: FrontDoor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = b"" if scope["type"] == "lifespan" else path_of(scope)
        if path.startswith(PREFIXES):
            await self.data_plane(path, scope, receive, send)
            return
        if path == GRAPHQL and scope["type"] == "http":
            going_on = await self.front_door.answer(scope, receive, send) if self.front_door else receive
            if going_on is not None:
                await self.graphql(scope, going_on, send)
            return
        await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None, listeners: Iterable[tuple[str, int]] = ()) -> Application:
    """The gateway; `listeners` are the addresses and ports where it is served, so that no call is passed on to itself.

    Raises BadSetting.

    Whoever serves it calls `app.state.stop` when the server begins to stop: streams don't end by themselves.
    """
    services = assembled(settings or Settings())
    settings = services.settings
    executable = root.build(settings)
    kept_bytes = settings.kept_answers_megabytes * MEGABYTE
    revisions = Revisions()
    services.log.listen(revisions)
    callers = Callers(revisions)
    keeping = Keeping(executable, services.log, revisions, services.cursors, services.measures, kept_bytes)
    view = GraphQLView(
        executable,
        Gateway(services, callers, RightsMemory(revisions, lambda: services.log.is_settled)),
        public_url=settings.public_url,
        allowed_origins=settings.allowed_origins,
        keeper=keeping,
    )

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        async with running(services), data_plane(services, listeners) as app.data_plane:
            yield
            view.stop()

    metrics = Metrics(services.measures, log_position=lambda: services.log.position)
    middleware = [Middleware(AccessLog, request_id_of), *_cors(settings)]
    app = Application(
        routes=[
            WebSocketRoute("/graphql", view),
            *http.routes(services.keyring, metrics),
            *_with_credentials(services),
            *console.routes(),
        ],
        middleware=middleware,
        exception_handlers=http.EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    app.graphql = _wrapped(view, middleware)
    app.front_door = FrontDoor(keeping, callers) if keeping.is_on else None
    app.router.redirect_slashes = False  # a path is taken as it is, or not at all
    app.state.stop = view.stop
    return app


def assembled(settings: Settings) -> Services:
    """The parts that live as long as the process. Raises BadSetting."""
    sealer = Sealer(settings.own_secret_key(), settings.secret_key_previous.get_secret_value().encode())
    return Services(
        settings=settings,
        sealer=sealer,
        keyring=Keyring(sealer, settings.public_url),
        sessions=SessionSigner(sealer, settings.public_url),
        passwords=Passwords(),
        attempts=Attempts(),
        log=EventLog(),
        cursors=Cursors(sealer),
        measures=Measures(),
    )


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """What a gateway needs while it serves. Raises OutOfDate, Unavailable."""
    settings = services.settings
    url, events_log = settings.where_database(), services.log
    limits = database.Limits(
        settings.database_connections, settings.database_wait_seconds, settings.database_statement_seconds
    )
    async with migrating.opened(url, limits):
        await services.keyring.current()
        if losses := await database.possible_losses():
            log.warning("calls_and_changes_can_be_lost", losses=losses)
        events, records = timedelta(days=settings.event_retention_days), Retention(settings.record_retention_days)
        async with (
            events_log.running(partial(database.apart, url)),
            notices.waking(url, events_log.look),
            housekeeping.running(events_log, events, records),
        ):
            yield


@asynccontextmanager
async def data_plane(services: Services, listeners: Iterable[tuple[str, int]]) -> AsyncIterator[DataPlane]:
    """Where issued keys open projects. Raises Unavailable."""
    settings, knowledge = services.settings, Knowledge()
    tokens, learner = Tokens(knowledge), Learner(knowledge)
    meter = Meter(ledger.opened(settings.where_database()), learner, services.measures)
    admission = Admission(
        Decider(knowledge, tokens), learner, meter, Rates(settings.processes), is_metered=settings.meter == "on"
    )
    services.measures.remembered_tokens = lambda: len(tokens)
    if settings.meter == "off":
        log.warning("meter_off", consequence="No call is counted or priced: this is for benchmarks alone.")
    passing = Passing(
        UpstreamAllow.parse(settings.upstream_allow, listeners),
        connect_seconds=settings.upstream_connect_seconds,
        first_byte_seconds=settings.upstream_first_byte_seconds,
        idle_seconds=settings.upstream_idle_seconds,
    )
    async with learner.running(services.log), meter.running(), passing:
        yield DataPlane(admission, meter, passing, services.measures)


class Gateway:
    """What the GraphQL endpoint asks of the gateway (`schema.transport.call.Application`)."""

    def __init__(self, services: Services, callers: Callers, rights: RightsMemory) -> None:
        self._services = services
        self._rights = rights
        self._authenticator = Authenticator(services.keyring, services.sessions, services.log, callers)

    def recognized(self, token: str, address: str) -> Actor | None:
        found = self._authenticator.recognized(token, address or None)
        self._services.measures.callers_known += found is not None
        self._services.measures.callers_asked_about += found is None
        return found

    async def authenticate(self, token: str | None, address: str) -> Actor:
        return await self._authenticator.authenticate(token, address or None)

    async def ended(self, actor: Actor) -> None:
        await self._authenticator.ended(actor)

    def context(
        self,
        *,
        actor: Actor,
        request_id: str,
        address: str,
        last_event_id: str | None,
        accepts_cookies: bool,
        is_query: bool,
    ) -> Context:
        return Context(
            actor=actor,
            request_id=request_id,
            address=address,
            last_event_id=last_event_id,
            accepts_cookies=accepts_cookies,
            services=self._services,
            remembered=self._rights if is_query else None,
        )


def _with_credentials(services: Services) -> list[Route]:
    """The plain routes that ask who calls."""
    settings = services.settings
    credentials = Credentials(settings.public_url, settings.allowed_origins)

    def credential_of(request: Request) -> str | None:
        try:
            return credentials.token(request)
        except Refused as refusal:
            raise HTTPException(refusal.status, refusal.message) from None

    authenticator = Authenticator(services.keyring, services.sessions, services.log)
    return [
        *oauth.Endpoints(authenticator, services.attempts, services.log, credential_of).routes(),
        *Exports(authenticator, credential_of, settings.record_retention_days).routes(),
    ]


def _wrapped(app: ASGIApp, middleware: Sequence[Middleware]) -> ASGIApp:
    for each in reversed(middleware):
        app = each.cls(app, *each.args, **each.kwargs)
    return app


def _cors(settings: Settings) -> list[Middleware]:
    """For pages of the origins that the settings name, with their cookies; for no other."""
    if not settings.allowed_origins:
        return []
    return [
        Middleware(
            http.Cors,
            allow_origins=Credentials(settings.public_url, settings.allowed_origins).origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "If-None-Match", "Last-Event-ID", REQUEST_ID, CSRF_HEADER, REVISION],
            allow_credentials=True,
            expose_headers=[REQUEST_ID, REVISION, "ETag", "Retry-After", "Content-Disposition"],
        )
    ]
