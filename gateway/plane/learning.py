"""How what calls are decided by is kept true: it is read once, and then whatever the event log says has changed.

An event names what changed, and that is read again as it stands now.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tortoise.expressions import Q

from gateway import events
from gateway.database import ANSWER_WITHIN_SECONDS, in_time
from gateway.errors import Unavailable
from gateway.limits import UNLIMITED, of_row
from gateway.permissions import Permission, rights_from
from gateway.plane.knowledge import Generation, Key, Knowledge, Offer, Service, Standing
from gateway.pricing import micros
from gateway.routing import RouteRule, Routes
from models import (
    Event,
    Grant,
    IssuedKey,
    KeyGeneration,
    KeyState,
    Project,
    ProjectNode,
    Role,
    SigningKey,
    Template,
    TemplateLimits,
    User,
)
from models import RouteRule as RouteRuleRow

LEARN_WITHIN_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Learner:
    """Keeps a `Knowledge` true."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self._place = events.Place(0, None)
        self._reading: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self, event_log: events.EventLog) -> AsyncIterator["Learner"]:
        """Knows everything from here on, and follows the log meanwhile."""
        await self._learn_all()
        follower = asyncio.create_task(self._follow(event_log), name="what calls are decided by")
        try:
            yield self
        finally:
            ending = [task for task in (follower, self._reading, self._next) if task]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def catch_up(self) -> None:
        """Returns once everything is known that was true when it was called. Raises Unavailable.

        Callers share a reading: at most one is under way and one is to come, however many wait.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._reading))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):  # wait_for can miss that it is cancelled
                await asyncio.shield(self._next)
        except TimeoutError as error:
            raise Unavailable("What is true now could not be read in time; try again.") from error

    async def _read_after(self, present: asyncio.Task[None] | None) -> None:
        if present:
            await asyncio.wait({present})
        self._reading, self._next = self._next, None
        await in_time(self._read(), LEARN_WITHIN_SECONDS)

    async def _follow(self, event_log: events.EventLog) -> None:
        """Reads on whenever the log has grown, and a few times a second anyway, to know that nothing is missing."""
        while True:
            try:
                await self.catch_up()
            except Unavailable:
                pass  # the log's own tail tells of it; who needs to know asks whether the knowledge is fresh
            except Exception:
                log.exception("log_not_learned_from")
            await event_log.grown(self.knowledge.position, events.POLL_SECONDS)

    async def _read(self) -> None:
        while True:
            asked_at = time.monotonic()
            try:
                found = await self._place.next()
            except events.Discontinued:
                log.warning("log_discontinued", position=self.knowledge.position)
                await self._learn_all()
                continue
            if found:
                await self._learn(found)
            if events.is_all(found):
                self.knowledge.confirmed_at = asked_at
                return

    async def _learn(self, found: list[Event]) -> None:
        changed: defaultdict[Learn, set[str]] = defaultdict(set)
        for event in found:
            noun = event.kind.partition(".")[0]
            about = event.project_id or "" if noun in OF_PROJECT else event.object_id
            for learn in LEARNING.get(noun, ()):
                changed[learn].add(about)
        for learn, ids in changed.items():
            await self._changed(learn, ids)
        self._know(events.Place(found[-1].position, found[-1]))

    async def _changed(self, learn: "Learn", ids: Iterable[str] | None) -> None:
        await learn(self.knowledge, ids)
        self.knowledge.changes += 1

    async def _learn_all(self) -> None:
        asked_at, place = time.monotonic(), await events.Place.present()
        for learn in dict.fromkeys(chain.from_iterable(LEARNING.values())):
            await self._changed(learn, None)
        self._know(place)
        self.knowledge.confirmed_at = asked_at

    def _know(self, place: events.Place) -> None:
        self._place, self.knowledge.position = place, place.position


# What is read again, as it stands now: of these ids, or all


async def learn_users(known: Knowledge, ids: Iterable[str] | None) -> None:
    disabled = User.filter(disabled_at__isnull=False)
    for (id,) in await (disabled if ids is None else disabled.filter(id__in=ids)).values_list("id"):
        known.disabled_users.add(id)


async def learn_signing_keys(known: Knowledge, _: Iterable[str] | None) -> None:
    rows = await SigningKey.filter(withdrawn_at=None).values_list("id", "public_key")
    known.public_keys = {kid: Ed25519PublicKey.from_public_bytes(raw) for kid, raw in rows}


async def learn_services(known: Knowledge, ids: Iterable[str] | None) -> None:
    wanted, of_project = (Q(), Q()) if ids is None else (Q(id__in=ids), Q(project_id__in=ids))
    nodes: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in await ProjectNode.filter(of_project, deleted_at=None):
        nodes[row.project_id][row.upstream_id] = row.id
    rules: defaultdict[str, list[RouteRule]] = defaultdict(list)
    for rule in await RouteRuleRow.filter(of_project).order_by("project_id", "position"):
        rules[rule.project_id].append(RouteRule(rule.method, rule.pattern, Permission(rule.permission)))
    living = await Project.filter(wanted, deleted_at=None).values_list("id", "upstream_url")
    for id in list(known.services) if ids is None else ids:
        known.services.pop(id, None)
    known.services |= {id: Service(url, nodes[id], Routes(rules[id])) for id, url in living}


async def learn_standings(known: Knowledge, ids: Iterable[str] | None) -> None:
    """Of these roles, and of the roles of these projects."""
    wanted = of_role = Q()
    if ids is not None:
        wanted, of_role = Q(id__in=ids) | Q(project_id__in=ids), Q(role_id__in=ids) | Q(role__project_id__in=ids)
    granted: defaultdict[str, defaultdict[str | None, set[Permission]]] = defaultdict(lambda: defaultdict(set))
    living = Grant.filter(of_role, role__project__deleted_at=None)
    columns = ("role_id", "node_id", "permission", "node__deleted_at")
    for role_id, node_id, permission, gone_at in await living.values_list(*columns):
        if gone_at is None:
            granted[role_id][node_id].add(Permission(permission))
    rows = await Role.filter(wanted).values_list("id", "cost_coefficient")
    known.learn_standings({id: Standing(coefficient, rights_from(granted[id])) for id, coefficient in rows})


async def learn_offers(known: Knowledge, ids: Iterable[str] | None) -> None:
    """Of deleted templates too, whose keys go on."""
    wanted, of_template = (Q(), Q()) if ids is None else (Q(id__in=ids), Q(template_id__in=ids))
    limits = {row.template_id: of_row(row) for row in await TemplateLimits.filter(of_template)}
    rows = await Template.filter(wanted).values_list("id", "price_per_request")
    known.learn_offers({id: Offer(price, limits.get(id, UNLIMITED)) for id, price in rows})


async def learn_keys(known: Knowledge, ids: Iterable[str] | None) -> None:
    """Of those that have ended too: whose token is right is told from whose isn't, and counted."""
    wanted, of_key = (Q(), Q()) if ids is None else (Q(id__in=ids), Q(key_id__in=ids))
    names = ("id", "project_id", "template_id", "role_id", "user_id", "state", "expires_at")
    rows = await IssuedKey.filter(wanted).values_list(*names)
    found = {row[0]: _key(*row) for row in rows}
    columns = ("key_id", "generation", "signing_key_id", "claims", "ends_at")
    for key_id, number, kid, claims, ends_at in await KeyGeneration.filter(of_key).values_list(*columns):
        if key_id in found:
            found[key_id].generations[number] = Generation(kid, claims, _micros(ends_at))
    known.keys |= found


def _key(
    id: str, project_id: str, template_id: str, role_id: str, user_id: str, state: str, expires_at: datetime | None
) -> Key:
    return Key(id, project_id, template_id, role_id, user_id, KeyState(state), _micros(expires_at))


Learn = Callable[[Knowledge, Iterable[str] | None], Awaitable[None]]
OF_PROJECT = frozenset({"project", "node"})  # nouns whose events have the whole project read again
LEARNING: dict[str, tuple[Learn, ...]] = {  # by the noun of an event
    "user": (learn_users,),
    "signing_key": (learn_signing_keys,),
    "project": (learn_services, learn_standings),
    "node": (learn_services, learn_standings),
    "role": (learn_standings,),
    "template": (learn_offers,),
    "key": (learn_signing_keys, learn_keys),  # where the last one was withdrawn, the next token has another made
}


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else micros(instant)
