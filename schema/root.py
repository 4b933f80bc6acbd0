"""The schema as a whole: the fields of every noun, put together."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Annotated, Any

import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLSchema, execute
from strawberry.schema.config import StrawberryConfig
from strawberry.utils.await_maybe import await_maybe

from gateway import events
from gateway.errors import BadInput
from gateway.settings import Settings
from models import Row
from schema.context import Context, Info
from schema.declare import argument, object_type, reading, resolved
from schema.events import Subscription
from schema.keys import IssuedKey, KeyMutations
from schema.levels import Levels, Rare
from schema.members import Member, MemberMutations
from schema.nodes import Node, find
from schema.projects import Project, ProjectMutations, ProjectNode, ProjectQueries
from schema.reported import ReportedMutations
from schema.requests import KeyRequest, RequestMutations
from schema.roles import Role, RoleMutations
from schema.routes import RouteMutations
from schema.scalars import SCALARS, EventCursor
from schema.secrets import Secret, SecretMutations
from schema.templates import KeyTemplate, TemplateField, TemplateMutations
from schema.transport.documents import LimitedSchema
from schema.transport.limits import Limits
from schema.users import User, UserMutations, UserQueries

MOST_NODES = 100
NODES = [User, Project, ProjectNode, Role, Member, KeyTemplate, TemplateField, KeyRequest, IssuedKey, Secret]


@reading()
def event_cursor(info: Info) -> EventCursor | None:
    context = info.context
    if context.log_position is None or context.actor.user is None:
        return None
    return EventCursor(context.services.cursors.give(context.log_position))


@reading()
async def node(info: Info, id: Annotated[strawberry.ID, argument("The id.")]) -> Any:
    return await find(info, id)


@reading()
async def nodes(info: Info, ids: Annotated[list[strawberry.ID], argument("The ids, at most 100.")]) -> list[Any]:
    if len(ids) > MOST_NODES:
        raise BadInput(f"Ask for at most {MOST_NODES} ids at once.")
    return await asyncio.gather(*(find(info, id) for id in ids))


@object_type("Reading.")
class Query(UserQueries, ProjectQueries):
    event_cursor: EventCursor | None = resolved(
        event_cursor,
        "The position of the event log that everything read in this operation already contains: read a page with it, "
        "then subscribe with it as `after`, and nothing falls between. It serves every subscription. Null when "
        "anonymous.",
    )
    node: Node | None = resolved(
        node, "Any object by its id; null when it does not exist or the viewer may not see it (the two look alike)."
    )
    nodes: list[Node | None] = resolved(nodes, "Objects by their ids, in that order; null as `node` is.")


@object_type(
    "Every mutation takes one input and returns a payload whose object is null exactly when userErrors is not empty. "
    "Most inputs take an optional idempotencyKey: a repeat within 24 hours by the same viewer with the same input "
    "changes nothing and answers with the object as it now stands; with another input it is a CONFLICT. An operation "
    "holds one mutation field. In an update an absent member stays as it is; an explicit null clears what may be empty "
    "and is INVALID elsewhere; lists replace. With expectedVersion, another's edit in between is a CONFLICT."
)
class Mutation(
    UserMutations,
    ProjectMutations,
    RouteMutations,
    RoleMutations,
    MemberMutations,
    TemplateMutations,
    RequestMutations,
    KeyMutations,
    ReportedMutations,
    SecretMutations,
):
    pass


def after_the_log(executes: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the head of the event log before anything else is read, so that all that is read contains it."""

    async def executed(schema: GraphQLSchema, document: DocumentNode, *, context_value: Any, **options: Any) -> Any:
        if isinstance(context_value, Context) and document.loc and "eventCursor" in document.loc.source.body:
            context_value.log_position = await events.head()
        return await await_maybe(executes(schema, document, context_value=context_value, **options))

    return executed


def unless_rare(queries: Callable[..., Awaitable[ExecutionResult]]) -> Callable[..., Awaitable[ExecutionResult | None]]:
    """None for a query that doesn't go level by level."""

    async def queried(*arguments: Any, **options: Any) -> ExecutionResult | None:
        try:
            return await queries(*arguments, **options)
        except Rare:
            return None

    return queried


def count(context: Any, way: str, reason: str) -> None:
    """An operation that went level by level, or the ordinary way for a reason."""
    if isinstance(context, Context):
        context.services.measures.operations[way, reason] += 1


def build(settings: Settings | None = None) -> LimitedSchema:
    """The executable schema, with the limits of the settings; one for all gateways of a process that share them."""
    settings = settings or Settings()
    return _within(limits_of(settings), settings.execution)


@cache
def _within(limits: Limits, execution: str) -> LimitedSchema:
    levels = Levels(rows=(Row,), documents_kept=limits.documents_kept, count=count)
    return LimitedSchema(
        Query,
        mutation=Mutation,
        subscription=Subscription,
        types=NODES,
        executes=after_the_log(levels.execute if execution == "levels" else execute),
        queries=after_the_log(unless_rare(levels.query)) if execution == "levels" else None,
        config=StrawberryConfig(scalar_map=SCALARS),
        limits=limits,
    )


def limits_of(settings: Settings) -> Limits:
    return Limits(
        depth=settings.max_depth,
        aliases=settings.max_aliases,
        tokens=settings.max_tokens,
        directives=settings.max_directives,
        root_fields=settings.max_root_fields,
        body_bytes=settings.max_body_bytes,
        operations_per_socket=settings.max_subscriptions_per_socket,
    )
