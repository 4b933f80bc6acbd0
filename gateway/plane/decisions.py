"""Whether a call is let through, and what it costs: decided in memory, by what is known, in one place.

Nothing is asked of the database here. What was decided on knowledge that has grown old since is decided again: allowed
calls by the meter, in the transaction that counts them, and refused ones by whoever asked, once the log was read.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from gateway.limits import Limits
from gateway.permissions import Permission, Rights
from gateway.plane.knowledge import Generation, Key, Knowledge, Service
from gateway.plane.tokens import Holder, Tokens, TooManyForgeries, UnknownToken
from gateway.pricing import Amount
from gateway.routing import METHODS, Need
from gateway.signing import BadToken
from gateway.targets import BadTarget, Target, read
from models import KeyState

UNSERVED_METHODS = frozenset({"CONNECT", "TRACE"})
MOST_REMEMBERED, LONGEST_REMEMBERED = 10_000, 500
ALLOW = (b"allow", ", ".join(METHODS).encode())
NO_KEY = "Send an API key of this project, as in `Authorization: Bearer KEY`."
BAD_KEY = "This API key is no good: it is unknown, changed, suspended, expired or revoked."
NO_PROJECT = "There is no such project."
NOT_PERMITTED = "The key's role doesn't permit this call."
NO_UPSTREAM = "The project has no service behind the gateway yet."
NO_PRICE = "The price of the call isn't known yet; try again."
TOO_MANY_FORGERIES = "Too many API keys with a wrong signature came from this address; try again in a second."


class Asked(NamedTuple):
    """A call as it came: `target` is its path and query, as on the request line."""

    project_id: str
    method: str
    target: bytes
    token: bytes | None
    address: str
    is_passed_on: bool = False
    """Whether it takes an upstream to pass it on to, not only the decision."""


class Denied(NamedTuple):
    """Why not: a status, a sentence, and the key whose refused calls it counts among, if its token was right.

    `is_by_knowledge` says that a change which this process hasn't read yet could make it another answer.
    """

    status: int
    detail: str
    key_id: str | None = None
    is_by_knowledge: bool = False
    retry_after: int | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()


class Allowed(NamedTuple):
    """A call that may go on, at this cost, by what was known up to this position of the log."""

    key: Key
    service: Service
    target: Target
    cost: Amount
    limits: Limits
    position: int


Decision = Allowed | Denied


class Decider:
    def __init__(self, knowledge: Knowledge, tokens: Tokens) -> None:
        self._knowledge = knowledge
        self._tokens = tokens
        self._remembered = Remembered()

    def decide(self, asked: Asked) -> Decision:
        """By what is known now."""
        try:
            holder = self._tokens.holder(asked.token, asked.address) if asked.token else None
        except BadToken as bad:
            return Denied(401, BAD_KEY, is_by_knowledge=isinstance(bad, UnknownToken))
        except TooManyForgeries:
            return Denied(401, TOO_MANY_FORGERIES, retry_after=1)
        return self._of_holder(asked, holder) if holder else Denied(401, NO_KEY)

    def _of_holder(self, asked: Asked, holder: Holder) -> Decision:
        knowledge = self._knowledge
        key = knowledge.keys[holder.key_id]
        generation = key.generations[holder.generation]
        if not self._is_good(key, generation):
            is_own = key.project_id == asked.project_id
            return Denied(401, BAD_KEY, key.id if is_own else None, is_by_knowledge=True)
        question = (key.id, asked.project_id, asked.method, asked.target, asked.is_passed_on)
        allowed = self._remembered.get(question, knowledge)
        if allowed:
            return allowed
        decision = self._of_key(asked, key)
        if isinstance(decision, Allowed) and len(asked.target) <= LONGEST_REMEMBERED:
            self._remembered.put(question, decision)
        return decision

    def _is_good(self, key: Key, generation: Generation) -> bool:
        now = time.time_ns() // 1000
        return (
            key.state is KeyState.ACTIVE
            and (key.expires_at is None or now < key.expires_at)
            and (generation.ends_at is None or now < generation.ends_at)
            and generation.kid in self._knowledge.public_keys
            and key.user_id not in self._knowledge.disabled_users
        )

    def _of_key(self, asked: Asked, key: Key) -> Decision:
        service = self._knowledge.services.get(key.project_id)
        if key.project_id != asked.project_id or service is None:
            return Denied(404, NO_PROJECT, is_by_knowledge=True)
        if asked.method in UNSERVED_METHODS:
            return Denied(405, f"The gateway doesn't take {asked.method}.", is_by_knowledge=True, headers=[ALLOW])
        try:
            target = read(asked.target)
        except BadTarget as bad:
            return Denied(400, bad.sentence, is_by_knowledge=True)
        if target.project_id not in {None, key.project_id}:
            return Denied(404, NO_PROJECT, is_by_knowledge=True)
        return self._of_target(asked, key, service, target)

    def _of_target(self, asked: Asked, key: Key, service: Service, target: Target) -> Decision:
        knowledge = self._knowledge
        if not self._permits(key, service, service.routes.need(asked.method, target.segments)):
            return Denied(403, NOT_PERMITTED, key.id, is_by_knowledge=True)
        if asked.is_passed_on and service.upstream_url is None:
            return Denied(502, NO_UPSTREAM, is_by_knowledge=True)
        offer = knowledge.offers.get(key.template_id)
        if offer is None:  # made a moment ago, elsewhere
            return Denied(503, NO_PRICE, is_by_knowledge=True, retry_after=1)
        cost = knowledge.cost_of(key.template_id, key.role_id)
        return Allowed(key, service, target, cost, offer.limits, knowledge.position)

    def _permits(self, key: Key, service: Service, need: Need | None) -> bool:
        standing = self._knowledge.standings.get(key.role_id)
        if need is None or standing is None:
            return False
        if need.on_any_node:
            return allow_anywhere(standing.rights, need.permission)
        if need.node is None:
            return standing.rights.allow(need.permission)
        node_id = service.nodes.get(need.node)  # on a node that nobody told us of nothing is permitted
        return node_id is not None and standing.rights.allow(need.permission, node_id)


class Remembered:
    """Calls that were let through lately, while nothing changes that is known. Whether a key is good isn't here."""

    def __init__(self) -> None:
        self._allowed: dict[tuple[object, ...], Allowed] = {}
        self._changes = 0

    def get(self, question: tuple[object, ...], knowledge: Knowledge) -> Allowed | None:
        if self._changes != knowledge.changes:
            self._allowed.clear()
            self._changes = knowledge.changes
        return self._allowed.get(question)

    def put(self, question: tuple[object, ...], allowed: Allowed) -> None:
        if len(self._allowed) >= MOST_REMEMBERED:
            self._allowed.clear()
        self._allowed[question] = allowed


def allow_anywhere(rights: Rights, permission: Permission) -> bool:
    """On the project, or on at least one of its nodes."""
    return rights.allow(permission) or any(permission in held for held in rights.nodes.values())
