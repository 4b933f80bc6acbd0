"""What a call is decided by, in memory: keys, roles, prices, routes.

`position` says up to where in the event log everything is known; what is known may be newer, never older.
"""

import time
from dataclasses import dataclass, field
from decimal import Decimal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.events import FRESH_SECONDS
from gateway.limits import Limits
from gateway.permissions import Rights
from gateway.pricing import Amount, cost
from gateway.routing import Routes
from models import KeyState


@dataclass(frozen=True, slots=True)
class Generation:
    """A token that was handed out: who signed it, its claims as JSON text, and when it ends, in microseconds."""

    kid: str
    claims: str
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class Key:
    """An issued key; `expires_at` in microseconds."""

    id: str
    project_id: str
    template_id: str
    role_id: str
    user_id: str
    state: KeyState
    expires_at: int | None
    generations: dict[int, Generation] = field(default_factory=dict)
    identity: tuple[tuple[bytes, bytes], ...] = ()
    """The header fields that name it to the upstream."""

    def __post_init__(self) -> None:
        named = {"key": self.id, "user": self.user_id, "project": self.project_id, "role": self.role_id}
        fields = tuple((f"x-tessera-{name}".encode(), id.encode()) for name, id in named.items())
        object.__setattr__(self, "identity", fields)


@dataclass(frozen=True, slots=True)
class Service:
    """A project as its calls see it; the ids of its nodes by their ids in the upstream's paths."""

    upstream_url: str | None
    nodes: dict[str, str]
    routes: Routes


@dataclass(frozen=True, slots=True)
class Offer:
    """What a template says of the calls of its keys."""

    price: Decimal
    limits: Limits


@dataclass(frozen=True, slots=True)
class Standing:
    """What a role permits, and what it multiplies prices by."""

    coefficient: Decimal
    rights: Rights


class Knowledge:
    """Filled and kept true by `learning.Learner`."""

    def __init__(self) -> None:
        self.position = 0
        self.confirmed_at = float("-inf")
        """When, in monotonic seconds, the log was last asked and nothing was missing."""
        self.keys: dict[str, Key] = {}
        self.services: dict[str, Service] = {}
        self.offers: dict[str, Offer] = {}
        self.standings: dict[str, Standing] = {}
        self.public_keys: dict[str, Ed25519PublicKey] = {}
        self.disabled_users: set[str] = set()
        self.changes = 0
        """Grows with everything that is learned, also while the position stands still."""
        self._costs: dict[tuple[str, str], Amount] = {}

    @property
    def is_fresh(self) -> bool:
        """Whether the log could be read within the last second."""
        return time.monotonic() - self.confirmed_at < FRESH_SECONDS

    def cost_of(self, template_id: str, role_id: str) -> Amount:
        """What a call costs now: price x coefficient, exact."""
        found = self._costs.get((template_id, role_id))
        if found is None:
            exact = cost(self.offers[template_id].price, self.standings[role_id].coefficient)
            found = self._costs[template_id, role_id] = Amount.of(exact)
        return found

    def learn_offers(self, offers: dict[str, Offer]) -> None:
        self.offers |= offers
        self._costs.clear()

    def learn_standings(self, standings: dict[str, Standing]) -> None:
        self.standings |= standings
        self._costs.clear()
