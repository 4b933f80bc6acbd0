"""Subscriptions: the event log, as far as its reader may see it, from a cursor on and then live."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

import models
from gateway import events, keys, requests
from gateway.errors import NotFound
from gateway.permissions import Actor, Permission
from models import Event
from schema.context import Context, Info
from schema.declare import argument, described, enum, given, object_type, resolved
from schema.keys import IssuedKey
from schema.nodes import Node, find
from schema.requests import KeyRequest
from schema.scalars import EventCursor


class ProjectEventType(Enum):
    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class KeyRequestEventType(Enum):
    REQUESTED = "request.created"
    CANCELLED = "request.cancelled"
    APPROVED = "request.approved"
    REJECTED = "request.rejected"


class ViewerKeyEventType(Enum):
    REQUESTED = "request.created"
    CANCELLED = "request.cancelled"
    APPROVED = "request.approved"
    REJECTED = "request.rejected"
    REVOKED = "key.revoked"
    EXPIRED = "key.expired"
    SUSPENDED = "key.suspended"
    RESUMED = "key.resumed"
    ROTATED = "key.rotated"


REQUEST_EVENTS = {
    "REQUESTED": "A key was asked for.",
    "CANCELLED": "The asker took the request back, or its template went.",
    "APPROVED": "The request was approved, and a key issued.",
    "REJECTED": "The request was turned down.",
}
enum(
    ProjectEventType,
    "What happened to the object.",
    CREATED="It came to be.",
    UPDATED="Something about it changed.",
    DELETED="It went.",
)
enum(KeyRequestEventType, "What happened to the request.", **REQUEST_EVENTS)
enum(
    ViewerKeyEventType,
    "What happened to the viewer's request or key.",
    **REQUEST_EVENTS,
    REVOKED="The key was ended, for good.",
    EXPIRED="The key's time is over.",
    SUSPENDED="The key is refused until it is resumed.",
    RESUMED="The suspended key works again.",
    ROTATED="The key has a new token.",
)

BEGINNINGS = frozenset({"created", "added", "issued"})
ENDINGS = frozenset({"deleted", "removed"})


def cursor_of(root: strawberry.Parent[Event], info: Info) -> EventCursor:
    return EventCursor(info.context.services.cursors.give(root.position))


def request_event_type(root: strawberry.Parent[Event]) -> KeyRequestEventType:
    return KeyRequestEventType(root.kind)


def viewer_event_type(root: strawberry.Parent[Event]) -> ViewerKeyEventType:
    return ViewerKeyEventType(root.kind)


def project_event_type(root: strawberry.Parent[Event]) -> ProjectEventType:
    verb = root.kind.rpartition(".")[2]
    if verb in BEGINNINGS:
        return ProjectEventType.CREATED
    return ProjectEventType.DELETED if verb in ENDINGS else ProjectEventType.UPDATED


async def request_of(root: strawberry.Parent[Event], info: Info) -> models.KeyRequest | None:
    return await info.context.load(requests.by_id, root.object_id) if root.kind.startswith("request.") else None


async def issued_key_of(root: strawberry.Parent[Event], info: Info) -> models.IssuedKey | None:
    if root.kind.startswith("key."):
        return await info.context.load(keys.by_id, root.object_id)
    return await info.context.load(keys.by_request, root.object_id)


async def object_of(root: strawberry.Parent[Event], info: Info) -> object:
    return await find(info, root.object_id)


CURSOR = "Where this event stands in the log: give it back as `after` to go on behind it."
OCCURRED_AT = "When it happened."


@object_type("Something that happened to a request on the project.")
class KeyRequestEvent:
    cursor: EventCursor = resolved(cursor_of, CURSOR)
    type: KeyRequestEventType = resolved(request_event_type, "What happened then.")
    occurred_at: datetime = described(OCCURRED_AT)
    request: KeyRequest = resolved(request_of, "The request as it is now.")


@object_type("Something that happened to a request or a key of the viewer.")
class ViewerKeyEvent:
    cursor: EventCursor = resolved(cursor_of, CURSOR)
    type: ViewerKeyEventType = resolved(viewer_event_type, "What happened then.")
    occurred_at: datetime = described(OCCURRED_AT)
    request: KeyRequest | None = resolved(
        request_of, "The request as it is now; set for REQUESTED, CANCELLED, APPROVED, REJECTED."
    )
    issued_key: IssuedKey | None = resolved(issued_key_of, "The key as it is now; set from APPROVED on.")


@object_type("A change of the project or of something in it.")
class ProjectEvent:
    cursor: EventCursor = resolved(cursor_of, CURSOR)
    type: ProjectEventType = resolved(project_event_type, "What happened then.")
    occurred_at: datetime = described(OCCURRED_AT)
    object_id: strawberry.ID = described("The object's id.")
    object: Node | None = resolved(object_of, "The object as it is now; null when it is gone.")


AFTER = argument("A cursor behind which to begin; from now on, where it is absent. `Last-Event-ID` wins over it.")
PROJECT_ID = argument("The project.")


async def key_request_events(
    info: Info,
    project_id: Annotated[strawberry.ID, PROJECT_ID],
    after: Annotated[EventCursor | None, AFTER] = strawberry.UNSET,
) -> AsyncGenerator[KeyRequestEvent, None]:
    kinds = {each.value for each in KeyRequestEventType}

    async def shows(event: Event) -> bool:
        await _require(info.context, project_id, Permission.KEYS_VIEW)
        return event.kind in kinds

    info.context.actor.require_user()
    await _require(info.context, project_id, Permission.KEYS_VIEW)
    async with aclosing(_follow(info, after, lambda event: event.project_id == project_id, shows)) as followed:
        async for event in followed:
            yield event  # type: ignore[misc]  # a row stands for its type


async def viewer_key_events(
    info: Info, after: Annotated[EventCursor | None, AFTER] = strawberry.UNSET
) -> AsyncGenerator[ViewerKeyEvent, None]:
    kinds = {each.value for each in ViewerKeyEventType}
    actor = info.context.actor

    async def shows(event: Event) -> bool:
        return event.kind in kinds

    actor.require_user()
    async with aclosing(_follow(info, after, lambda event: _is_own(actor, event), shows)) as followed:
        async for event in followed:
            yield event  # type: ignore[misc]  # a row stands for its type


async def project_events(
    info: Info,
    project_id: Annotated[strawberry.ID, PROJECT_ID],
    after: Annotated[EventCursor | None, AFTER] = strawberry.UNSET,
) -> AsyncGenerator[ProjectEvent, None]:
    async def shows(event: Event) -> bool:
        await _require(info.context, project_id)
        return await _may_know(info.context, event)

    await _require(info.context, project_id)
    async with aclosing(_follow(info, after, lambda event: event.project_id == project_id, shows)) as followed:
        async for event in followed:
            yield event  # type: ignore[misc]  # a row stands for its type


async def _follow(
    info: Info, after: str | None, concerns: Callable[[Event], bool], shows: Callable[[Event], Awaitable[bool]]
) -> AsyncGenerator[Event, None]:
    """The events behind the cursor that it shows, of those that concern it; what `shows` raises is the end.

    An event that was not shown gives no cursor: who resumes would miss it.
    """
    context, services = info.context, info.context.services
    cursor = given(after) if context.last_event_id is None else context.last_event_id
    position = await events.head() if cursor is None else await services.cursors.take(cursor)
    async with aclosing(services.log.follow(position, concerns)) as followed:
        async for event in followed:
            context.renew()
            if await shows(event):
                context.cursor = services.cursors.give(event.position)
                yield event


async def _require(context: Context, project_id: str, permission: Permission | None = None) -> None:
    """Raises NotFound where the project, or this about it, may not be seen: the two look alike."""
    rights = await context.rights(project_id)
    if not rights.see_project or (permission and not rights.allow(permission)):
        raise NotFound("There is no such project.")


def _is_own(actor: Actor, event: Event) -> bool:
    """Whether it is of the actor's own requests and keys: for a key, itself and its holder's requests there."""
    if event.user_id != actor.user_id:
        return False
    if actor.issued_key is None or event.object_id == actor.key_id:
        return True
    return event.kind.startswith("request.") and event.project_id == actor.issued_key.project_id


NEEDED = {
    "sec": Permission.PROJECT_MANAGE,
    "mem": Permission.PROJECT_MANAGE,
    "req": Permission.KEYS_VIEW,
    "key": Permission.KEYS_VIEW,
}
"""What it takes to know of an object of the kind; of the others, to see the project."""


async def _may_know(context: Context, event: Event) -> bool:
    prefix = event.object_id.partition("_")[0]
    if prefix not in NEEDED or (prefix in {"req", "key"} and _is_own(context.actor, event)):
        return True
    if prefix == "sec" and context.actor.issued_key:
        return False
    return await context.may(NEEDED[prefix], event.project_id or "")


def watched(resolver: Callable[..., AsyncGenerator[Any, None]], description: str) -> Any:
    return strawberry.subscription(resolver=resolver, description=description)


@object_type("Watching.")
class Subscription:
    key_request_events: KeyRequestEvent = watched(
        key_request_events,
        "Requests on a project: made, cancelled, approved, rejected. Needs KEYS_VIEW.",
    )
    viewer_key_events: ViewerKeyEvent = watched(
        viewer_key_events, description="What happens to the viewer's own requests and keys."
    )
    project_events: ProjectEvent = watched(
        project_events,
        "Every change on a project that the viewer may see, for pages that stay true: each event under the "
        "rights of its own object.",
    )
