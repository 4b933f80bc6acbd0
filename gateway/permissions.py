"""Who may do what: the whole policy, in one table."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

from tortoise.expressions import Q, Subquery

from gateway.errors import Forbidden, NotFound, Unauthenticated
from gateway.prepared import prepared_values
from gateway.revisions import Revisions, Slots, slots_of
from models import Grant, IssuedKey, MemberRole, Project, Session, User


class Permission(StrEnum):
    PROJECT_VIEW = "project_view"
    PROJECT_EDIT = "project_edit"
    PROJECT_MANAGE = "project_manage"
    GRAPH_VIEW = "graph_view"
    GRAPH_EDIT = "graph_edit"
    CODE_VIEW = "code_view"
    CODE_EDIT = "code_edit"
    INTERFACE_MANAGE = "interface_manage"
    PACKAGE_VIEW = "package_view"
    PACKAGE_CREATE = "package_create"
    PACKAGE_DELETE = "package_delete"
    KEYS_VIEW = "keys_view"


EVERYTHING = frozenset(Permission)
ON_NODES = frozenset(
    {
        Permission.CODE_VIEW,
        Permission.CODE_EDIT,
        Permission.PACKAGE_VIEW,
        Permission.PACKAGE_CREATE,
        Permission.PACKAGE_DELETE,
    }
)
PUBLIC = frozenset({Permission.PROJECT_VIEW, Permission.GRAPH_VIEW, Permission.CODE_VIEW, Permission.PACKAGE_VIEW})
SEEING = frozenset({Permission.PROJECT_VIEW, Permission.PROJECT_MANAGE, Permission.KEYS_VIEW})
MOST_REMEMBERED = 40_000
"""Permissions on a project, or on a node: sets of half a kilobyte each."""

Ids = tuple[str | None, ...]


@dataclass(frozen=True)
class Rights:
    """What is permitted on one project: on the whole of it, and on single nodes besides."""

    project: frozenset[Permission] = frozenset()
    nodes: dict[str, frozenset[Permission]] = field(default_factory=dict)
    is_owner: bool = False
    is_own: bool = False
    """The project is the one that the caller's key belongs to."""

    def allow(self, permission: Permission, node_id: str | None = None) -> bool:
        return permission in self.project or (node_id is not None and permission in self.nodes.get(node_id, ()))

    @property
    def see_project(self) -> bool:
        return self.is_own or not SEEING.isdisjoint(self.project)


NO_RIGHTS = Rights()


class _Remembered(NamedTuple):
    rights: Rights
    since: int
    slots: Slots


class RightsMemory:
    """Rights of any actors, for as long as nothing happens on the project; what was not asked for longest makes room.

    They hang on its roles, grants, members and nodes, and on no clock; whatever changes one of these appends an event
    of the project's. What is remembered is true while the event log is settled in this process, and taken only then.
    """

    def __init__(self, revisions: Revisions, is_settled: Callable[[], bool]) -> None:
        self._revisions = revisions
        self._is_settled = is_settled
        self._remembered: OrderedDict[tuple[Ids, str], _Remembered] = OrderedDict()
        self._sets = 0

    @property
    def revision(self) -> int:
        """The present one: to be taken before rights are read that shall be remembered."""
        return self._revisions.now

    def standing(self, ids: Ids, project_ids: Iterable[str]) -> dict[str, Rights]:
        """What is remembered of the actor's rights on these projects, and true."""
        if not self._is_settled():
            return {}
        found = {id: self._standing((ids, id)) for id in project_ids}
        return {id: rights for id, rights in found.items() if rights is not None}

    def _standing(self, place: tuple[Ids, str]) -> Rights | None:
        found = self._remembered.get(place)
        if found is None:
            return None
        if not self._revisions.stands(found.since, found.slots):
            self._forget(place)
            return None
        self._remembered.move_to_end(place)
        return found.rights

    def remember(self, ids: Ids, rights: Mapping[str, Rights], since: int) -> None:
        """What was read after that revision. That there are none isn't: they may be of what doesn't exist."""
        for project_id, each in rights.items():
            if each != NO_RIGHTS:
                self._forget((ids, project_id))
                self._remembered[ids, project_id] = _Remembered(each, since, slots_of([project_id]))
                self._sets += 1 + len(each.nodes)
        while self._sets > MOST_REMEMBERED:
            self._forget(next(iter(self._remembered)))

    def _forget(self, place: tuple[Ids, str]) -> None:
        if gone := self._remembered.pop(place, None):
            self._sets -= 1 + len(gone.rights.nodes)


class KnownRights:
    """Those of one actor in one operation that reads, with what is remembered of others if there is a memory."""

    def __init__(self, ids: Ids, memory: RightsMemory | None = None) -> None:
        self._ids = ids
        self._memory = memory
        self._by_project: dict[str, Rights] = {}
        self.templates: set[str] = set()
        """Those that were found on projects which the actor may see."""
        self.lock = asyncio.Lock()
        """Held while some are asked for, which others may be about to ask for."""

    def on(self, project_ids: Iterable[str]) -> dict[str, Rights]:
        """What is known of them."""
        wanted, known = set(project_ids), self._by_project
        if self._memory is not None and (missing := wanted - known.keys()):
            known |= self._memory.standing(self._ids, missing)
        return {id: known[id] for id in wanted if id in known}

    async def on_all(
        self, project_ids: set[str], find: Callable[[list[str]], Awaitable[dict[str, Rights]]]
    ) -> dict[str, Rights]:
        """All of them, after those were found that weren't known."""
        async with self.lock:
            if missing := [*(project_ids - self.on(project_ids).keys())]:
                since = self._memory.revision if self._memory is not None else 0
                found = await find(missing)
                self._by_project |= found
                if self._memory is not None:
                    self._memory.remember(self._ids, found, since)
        return self.on(project_ids)


NO_KEY = (None, None, None)


@dataclass(frozen=True)
class Actor:
    """Who acts: a user by a session, a user's issued key, or nobody yet."""

    user: User | None = None
    session: Session | None = None
    issued_key: IssuedKey | None = None
    address: str | None = None
    token: str | None = field(default=None, repr=False)
    ends_at: datetime | None = None
    """When the token ends, if nobody ends it before."""
    known: "KnownRights | None" = field(default=None, repr=False, compare=False)
    """What was found already while one operation reads; None where each look is to be a new one."""

    @property
    def user_id(self) -> str | None:
        return self.user.id if self.user else None

    @property
    def key_id(self) -> str | None:
        return self.issued_key.id if self.issued_key else None

    @property
    def id(self) -> str | None:
        """The key's id where one is used, else the user's."""
        return self.key_id or self.user_id

    @property
    def ids(self) -> Ids:
        """All of the actor that a statement of `gateway.prepared` knows."""
        key = self.issued_key
        return (self.user_id, *((key.id, key.project_id, key.role_id) if key else NO_KEY))

    @classmethod
    def standing_in(cls, ids: Sequence[str | None]) -> Self:
        """An actor of whom no more is known than these."""
        user_id, key_id, project_id, role_id = ids
        user: Any = SimpleNamespace(id=user_id) if user_id else None
        key: Any = SimpleNamespace(id=key_id, project_id=project_id, role_id=role_id) if key_id else None
        return cls(user=user, issued_key=key)

    def reading(self, memory: RightsMemory | None = None) -> Self:
        """The actor in one operation that reads: what may be done on a project is asked once, or not at all."""
        return replace(self, known=KnownRights(self.ids, memory))

    def require_user(self) -> User:
        if self.user is None:
            raise Unauthenticated("Sign in, or send an API key.")
        return self.user


GATEWAY = Actor()
"""Acts by itself: ends keys that expire, carries out commands."""


@dataclass(frozen=True)
class Rule:
    """What an action needs: this permission on its project, if any, and whether an issued key may do it at all."""

    permission: Permission | None
    by_key: bool = True


MANAGE, MANAGE_IN_PERSON = Rule(Permission.PROJECT_MANAGE), Rule(Permission.PROJECT_MANAGE, by_key=False)
SIGNED_IN, IN_PERSON = Rule(None), Rule(None, by_key=False)

POLICY: dict[str, Rule] = {
    "audit.read": MANAGE_IN_PERSON,
    "session.end": IN_PERSON,
    "user.change_password": IN_PERSON,
    "project.create": IN_PERSON,
    "project.update": Rule(Permission.PROJECT_EDIT, by_key=False),
    "project.set_upstream": MANAGE_IN_PERSON,
    "project.set_route_rules": MANAGE_IN_PERSON,
    "project.delete": MANAGE_IN_PERSON,
    "node.create": Rule(Permission.GRAPH_EDIT, by_key=False),
    "node.update": Rule(Permission.GRAPH_EDIT, by_key=False),
    "node.delete": Rule(Permission.GRAPH_EDIT, by_key=False),
    "role.create": MANAGE_IN_PERSON,
    "role.update": MANAGE_IN_PERSON,
    "role.delete": MANAGE_IN_PERSON,
    "member.set_roles": MANAGE_IN_PERSON,
    "template.create": MANAGE,
    "template.update": MANAGE,
    "template.delete": MANAGE,
    "request.create": SIGNED_IN,
    "request.cancel": SIGNED_IN,
    "request.approve": MANAGE,
    "request.reject": MANAGE,
    "key.reveal": IN_PERSON,
    "key.rotate": IN_PERSON,
    "key.import": MANAGE_IN_PERSON,
    "key.revoke": MANAGE,
    "key.suspend": MANAGE,
    "key.resume": MANAGE,
    "key.introspect": MANAGE_IN_PERSON,
    "usage.report": MANAGE,
    "usage.export": Rule(Permission.KEYS_VIEW),
    "secret.read": MANAGE_IN_PERSON,
    "secret.create": MANAGE_IN_PERSON,
    "secret.update": MANAGE_IN_PERSON,
    "secret.delete": MANAGE_IN_PERSON,
    "secret.reveal": MANAGE_IN_PERSON,
}


def require_caller(actor: Actor, action: str) -> User:
    """The user who acts, in person or by a key that may do this. Raises Unauthenticated or Forbidden."""
    user = actor.require_user()
    if actor.issued_key and not POLICY[action].by_key:
        raise Forbidden("An API key may not do this; sign in.")
    return user


async def require(
    actor: Actor, action: str, project_id: str, missing: NotFound | None = None, *, is_seen: bool = False
) -> Rights:
    """The actor's rights on the project, which include the action.

    Raises Unauthenticated; Forbidden, where the project may be seen but the action is not permitted; else NotFound:
    `missing`, what is said where the object doesn't exist, if it isn't the input's `projectId` that names it. Who holds
    a key or has asked for one sees that (`is_seen`) also where they don't see its project.
    """
    require_caller(actor, action)
    rights = await rights_on(actor, project_id)
    if not (is_seen or rights.see_project):
        raise missing or NotFound("There is no such project.", ["projectId"])
    permission = POLICY[action].permission
    if permission and not rights.allow(permission):
        raise Forbidden(f"This needs the permission {permission.upper()} on the project.")
    return rights


async def permitted(actor: Actor, action: str, project_ids: Sequence[str]) -> list[str]:
    """Those of the projects on which the actor may do this, in one statement: for what is null without the right."""
    rule = POLICY[action]
    if actor.user is None or (actor.issued_key and not rule.by_key):
        return []
    rights = await rights_on_all(actor, project_ids)
    return [id for id in project_ids if rule.permission and rights[id].allow(rule.permission)]


async def rights_on(actor: Actor, project_id: str) -> Rights:
    return (await rights_on_all(actor, [project_id]))[project_id]


async def rights_on_all(actor: Actor, project_ids: Iterable[str]) -> dict[str, Rights]:
    """What the actor may do on each of the projects, in one statement at most."""
    wanted = set(project_ids)
    if actor.known is None:
        return await _rights_found(actor, list(wanted))
    return await actor.known.on_all(wanted, partial(_rights_found, actor))


async def seen_of(actor: Actor, project_ids: Iterable[str]) -> set[str]:
    """Those of the projects that the actor may see."""
    return {id for id, rights in (await rights_on_all(actor, project_ids)).items() if rights.see_project}


async def _rights_found(actor: Actor, wanted: list[str]) -> dict[str, Rights]:
    found: dict[str, dict[str | None, set[Permission]]] = defaultdict(lambda: defaultdict(set))
    owned = set()
    for project_id, node_id, permission, is_owner, node_deleted_at in await _grants(actor, wanted):
        if node_deleted_at is None:
            found[project_id][node_id].add(Permission(permission))
        if is_owner:
            owned.add(project_id)
    own = actor.issued_key.project_id if actor.issued_key else None
    return {id: rights_from(found[id], id in owned and not actor.issued_key, id == own) for id in wanted}


@prepared_values
def _grants(actor: Actor, project_ids: list[str]) -> Any:
    grants = Grant.filter(role__project_id__in=project_ids, role__project__deleted_at=None).filter(_held_by(actor))
    return grants.values_list("role__project_id", "node_id", "permission", "role__is_owner", "node__deleted_at")


def rights_from(granted: Mapping[str | None, set[Permission]], is_owner: bool = False, is_own: bool = False) -> Rights:
    """What grants amount to, by the node that each is on; None is the whole project."""
    on_project = frozenset(granted.get(None, ()))
    if Permission.PROJECT_MANAGE in on_project:
        on_project = EVERYTHING
    nodes = {node_id: frozenset(held) for node_id, held in granted.items() if node_id is not None}
    return Rights(on_project, nodes, is_owner, is_own)


def _held_by(actor: Actor) -> Q:
    """Grants of the roles that the actor holds: a key its own, a user those given to them, everyone the public."""
    if actor.issued_key:
        return Q(role_id=actor.issued_key.role_id)
    held = Q(role__is_public=True)
    if actor.user:
        mine = MemberRole.filter(member__user_id=actor.user.id, member__deleted_at=None).values("role_id")
        held |= Q(role_id__in=Subquery(mine))
    return held & Q(role__deleted_at=None)


def projects_with(actor: Actor, permissions: Iterable[Permission]) -> Subquery:
    """The ids of the living projects on which the actor holds one of the permissions, for a filter."""
    wanted = {*permissions, Permission.PROJECT_MANAGE}
    grants = Grant.filter(node_id=None, permission__in=wanted, role__project__deleted_at=None).filter(_held_by(actor))
    return Subquery(grants.values("role__project_id"))


def projects_seen(actor: Actor) -> Subquery:
    """The ids of the living projects that the actor may see, for a filter."""
    if actor.issued_key:
        return Subquery(Project.filter(id=actor.issued_key.project_id, deleted_at=None).values("id"))
    return projects_with(actor, SEEING)
