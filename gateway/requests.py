"""Requests for keys: made by those who may see a template, decided once by those who manage its project."""

from collections.abc import Sequence
from datetime import datetime

from tortoise.expressions import Q, Subquery
from tortoise.functions import Max
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from gateway import clock, events, keys
from gateway.database import refusing_duplicates
from gateway.errors import Conflict, Forbidden, Invalid, NotFound
from gateway.names import checked_text
from gateway.pages import Listing, Page, Slice, count_each, of_each
from gateway.permissions import Actor, Permission, projects_with, require, require_caller, rights_on
from gateway.prepared import Columns, found_by_id, narrows, shown
from gateway.sealing import Sealer
from gateway.signing import Keyring
from models import Grant, IssuedKey, KeyRequest, RequestState, Role, Template, User

LONGEST_NOTE = 2000
UNKNOWN = "There is no such request."

States = tuple[RequestState, ...] | None
"""Those that are wanted; None is every one."""


# Who sees which


def visible_to(actor: Actor) -> QuerySet[KeyRequest]:
    """The asker's own, and those of projects where the actor holds KEYS_VIEW; a key sees its holder's there."""
    seen = Q(project_id__in=projects_with(actor, {Permission.KEYS_VIEW}))
    if actor.user:
        own = Q(user_id=actor.user.id)
        seen |= own & Q(project_id=actor.issued_key.project_id) if actor.issued_key else own
    return KeyRequest.filter(seen)


async def visible(actor: Actor, request_ids: Sequence[str]) -> dict[str, KeyRequest]:
    return {request.id: request for request in await visible_to(actor).filter(id__in=request_ids)}


@narrows(KeyRequest)
async def by_id(_: Actor, request_ids: Sequence[str], *, columns: Columns = None) -> dict[str, KeyRequest]:
    return await found_by_id(KeyRequest, request_ids, columns)


async def latest_of_viewer(actor: Actor, template_ids: Sequence[str]) -> dict[str, KeyRequest]:
    """The actor's latest request on each template."""
    if actor.user is None:
        return {}
    return {request.template_id: request for request in await _latest(actor.user.id, list(template_ids))}


@shown
def _latest(user_id: str, template_ids: list[str]) -> QuerySet[KeyRequest]:
    own = KeyRequest.filter(user_id=user_id, template_id__in=template_ids)
    latest = own.annotate(latest=Max("id")).group_by("template_id").values("latest")
    return KeyRequest.filter(id__in=Subquery(latest))


async def pending_counts(_: Actor, template_ids: Sequence[str]) -> dict[str, int]:
    return await count_each(KeyRequest.filter(state=RequestState.PENDING), "template_id", template_ids)


@narrows(KeyRequest)
async def pages_of_templates(
    _: Actor, template_ids: Sequence[str], states: States, part: Slice, sealer: Sealer, *, columns: Columns = None
) -> dict[str, Page[KeyRequest]]:
    """The newest first."""
    name = f"template requests {states}"
    listing = Listing(lambda: _in(states, KeyRequest.all()), ("-id",), name, sealer, is_all_of_name=True)
    return await of_each(listing, "template_id", template_ids, part, columns)


@narrows(KeyRequest)
async def pages_of_projects(
    _: Actor, project_ids: Sequence[str], states: States, part: Slice, sealer: Sealer, *, columns: Columns = None
) -> dict[str, Page[KeyRequest]]:
    """The oldest first."""
    name = f"project requests {states}"
    listing = Listing(lambda: _in(states, KeyRequest.all()), ("id",), name, sealer, is_all_of_name=True)
    return await of_each(listing, "project_id", project_ids, part, columns)


def of_viewer(actor: Actor, states: States, sealer: Sealer) -> Listing[KeyRequest]:
    """The actor's own, the newest first."""
    own = visible_to(actor).filter(user_id=actor.user_id)
    return Listing(lambda: _in(states, own), ("-id",), f"viewer requests {actor.id} {states}", sealer)


def _in(states: States, requests: QuerySet[KeyRequest]) -> QuerySet[KeyRequest]:
    return requests if states is None else requests.filter(state__in=states)


# Asking


async def create(actor: Actor, template_id: str, note: str | None = None) -> KeyRequest:
    """Asks for a key. Raises NotFound; Conflict while a request is pending or a key living; Invalid."""
    user = require_caller(actor, "request.create")
    note = checked_text(note, "note", LONGEST_NOTE)
    with refusing_duplicates("You have asked for this key already.", ["templateId"]):
        async with in_transaction():
            template = await Template.filter(id=template_id, deleted_at=None).select_for_update().first()
            if template is None or not (await rights_on(actor, template.project_id)).see_project:
                raise NotFound("There is no such API key template.", ["templateId"])
            if await KeyRequest.exists(template_id=template_id, user_id=user.id, state=RequestState.PENDING):
                raise Conflict("You have asked for this key already; the request is pending.", ["templateId"])
            await _require_no_living_key(template_id, user.id, "templateId")
            request = await KeyRequest.create(
                template=template, project_id=template.project_id, user=user, note=note, requested_at=clock.now()
            )
            await _tell(actor, "request.created", request)
    return request


async def cancel(actor: Actor, request_id: str) -> KeyRequest:
    """By the asker alone. Raises NotFound, Forbidden, Conflict."""
    user = require_caller(actor, "request.cancel")
    async with in_transaction():
        request = await _locked(actor, request_id)
        if request.user_id != user.id:
            raise Forbidden("Only the one who asked may cancel; reject the request instead.", ["requestId"])
        _require_pending(request)
        return await _decide(actor, request, RequestState.CANCELLED)


async def cancel_pending(actor: Actor, template_id: str) -> None:
    """Every pending request on a template that goes; in the caller's transaction."""
    for request in await KeyRequest.filter(template_id=template_id, state=RequestState.PENDING).select_for_update():
        await _decide(actor, request, RequestState.CANCELLED)


# Deciding


async def approve(actor: Actor, keyring: Keyring, request_id: str, expires_at: datetime | None = None) -> KeyRequest:
    """Issues the key in the same transaction. Raises NotFound, Forbidden, Conflict, Invalid."""
    with refusing_duplicates("The user has a living key from this template.", ["requestId"]):
        async with in_transaction():
            template = await _locked_template(actor, request_id)
            request = await _locked(actor, request_id)
            await _require_on(actor, "request.approve", request)
            if expires_at is not None and expires_at <= clock.now():
                raise Invalid("A key can't expire in the past.", ["expiresAt"])
            _require_pending(request)
            await _require_approvable(template, request)
            await _require_no_living_key(request.template_id, request.user_id, "requestId")
            await keys.issue(actor, keyring, request, template, expires_at)
            return await _decide(actor, request, RequestState.APPROVED)


async def reject(actor: Actor, request_id: str, reason: str) -> KeyRequest:
    """Raises NotFound, Forbidden, Conflict, Invalid without a reason."""
    async with in_transaction():
        request = await _locked(actor, request_id)
        await _require_on(actor, "request.reject", request)
        _require_pending(request)
        request.reason = checked_text(reason, "reason", LONGEST_NOTE).strip()
        if not request.reason:
            raise Invalid("Say why, for the one who asked.", ["reason"])
        return await _decide(actor, request, RequestState.REJECTED)


async def _decide(actor: Actor, request: KeyRequest, state: RequestState) -> KeyRequest:
    request.state, request.decided_at, request.decided_by_id = state, clock.now(), actor.user_id
    await request.save(update_fields=["state", "decided_at", "decided_by_id", "reason"])
    await _tell(actor, f"request.{state}", request)
    return request


async def _tell(actor: Actor, kind: str, request: KeyRequest) -> None:
    await events.append(actor, kind, request.id, project_id=request.project_id, user_id=request.user_id)


async def _locked(actor: Actor, request_id: str) -> KeyRequest:
    """The request as it stands until the transaction ends, for one who may see it."""
    actor.require_user()
    request = await visible_to(actor).filter(id=request_id).select_for_update().first()
    if request is None:
        raise NotFound(UNKNOWN, ["requestId"])
    return request


async def _require_on(actor: Actor, action: str, request: KeyRequest) -> None:
    """Of a manager; the project may have gone while the request was waited for, and then only who asked sees it."""
    is_seen = request.user_id == actor.user_id
    await require(actor, action, request.project_id, NotFound(UNKNOWN, ["requestId"]), is_seen=is_seen)


def _require_pending(request: KeyRequest) -> None:
    if request.state is not RequestState.PENDING:
        raise Conflict(f"This request is already {request.state}.", ["requestId"])


async def _locked_template(actor: Actor, request_id: str) -> Template:
    """The template of a request, locked before the request is: the order in which a template's deletion takes them."""
    actor.require_user()
    request = await visible_to(actor).get_or_none(id=request_id)
    if request is None:
        raise NotFound(UNKNOWN, ["requestId"])
    return await Template.select_for_update().get(id=request.template_id)


async def _require_approvable(template: Template, request: KeyRequest) -> None:
    if template.deleted_at:
        raise Conflict("The template is gone.", ["requestId"])
    if await User.exists(id=request.user_id, disabled_at__isnull=False):
        raise Conflict("The asker's account is disabled.", ["requestId"])
    if not await may_view_project(template.role_id, template.project_id):
        raise Conflict("The template's role may not view the project any more.", ["requestId"])


async def may_view_project(role_id: str, project_id: str) -> bool:
    """Whether keys of a role can see the project: the role may itself, or everyone holds a public one."""
    viewing = {Permission.PROJECT_VIEW, Permission.PROJECT_MANAGE}
    return await Grant.exists(role_id=role_id, node_id=None, permission__in=viewing) or await Role.exists(
        project_id=project_id, is_public=True, deleted_at=None
    )


async def _require_no_living_key(template_id: str, user_id: str, member: str) -> None:
    """An expired key stands in nobody's way, also when that wasn't told yet."""
    for key in await IssuedKey.filter(template_id=template_id, user_id=user_id, state__in=keys.LIVING):
        if not await keys.expire(key):
            raise Conflict(f"There is a key from this template that is {key.state}: one a user is enough.", [member])
