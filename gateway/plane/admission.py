"""How a call gets in: decided, held to its rate, and counted; the same at every entrance of the data plane."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway import clock
from gateway.errors import Unavailable
from gateway.limits import UNLIMITED, retry_after
from gateway.plane.decisions import Allowed, Asked, Decider, Decision, Denied
from gateway.plane.learning import Learner
from gateway.plane.meter import Meter, Metered, unavailable
from gateway.plane.quotas import Exceeded, Spent
from gateway.plane.ratelimit_headers import POLICIES, Header, headers, whole_seconds
from gateway.plane.rates import Rates, RateState

TOO_FAST = "The key calls more often than its rate lets it; Retry-After tells when it fits again."


class Admitted(NamedTuple):
    """A call that was let in and counted, and what its answer's header says of the key's limits."""

    call: Metered
    headers: Sequence[Header] = ()


class Admission:
    def __init__(self, decider: Decider, learner: Learner, meter: Meter, rates: Rates, *, is_metered: bool) -> None:
        self._decider = decider
        self._learner = learner
        self._knowledge = learner.knowledge
        self._meter = meter
        self._rates = rates
        self._is_metered = is_metered

    async def admit(self, asked: Asked) -> Admitted | Denied:
        """Lets the call in, or says why not; that is counted too, where the key was right."""
        decision = self._decider.decide(asked)
        if isinstance(decision, Denied) and decision.is_by_knowledge:
            decision = await self._by_all_that_is_true(asked, decision)
        outcome = await self._let_in(asked, decision) if isinstance(decision, Allowed) else decision
        if isinstance(outcome, Denied) and outcome.key_id:
            self._meter.refuse(outcome.key_id)
        return outcome

    async def _by_all_that_is_true(self, asked: Asked, denied: Denied) -> Allowed | Denied:
        """No change that was acknowledged before the call is missed: a key that was issued elsewhere just now works."""
        position = self._knowledge.position
        try:
            await self._learner.catch_up()
        except Unavailable:
            return unavailable()
        return denied if self._knowledge.position == position else self._decider.decide(asked)

    async def _let_in(self, asked: Asked, allowed: Allowed) -> Admitted | Denied:
        rate = self._rate_of(allowed)
        if rate and not rate.is_allowed:
            decision = await self._by_all_that_is_true(asked, too_fast(allowed, rate))
            if isinstance(decision, Denied):
                return decision
            allowed, rate = decision, self._rate_of(decision)
            if rate and not rate.is_allowed:
                return too_fast(allowed, rate)
        again = Again(lambda: self._decider.decide(asked), self._rate_of, allowed, rate)
        outcome = await self._counted(allowed, again.decide)
        rate = again.rate
        if isinstance(outcome, Metered):
            is_limited = outcome.allowed.limits is not UNLIMITED
            return Admitted(outcome, headers_of(outcome.allowed, rate, outcome.spent) if is_limited else ())
        return over_quota(again.allowed, rate, outcome) if isinstance(outcome, Exceeded) else outcome

    def _rate_of(self, allowed: Allowed) -> RateState | None:
        if allowed.limits is UNLIMITED:
            return None
        return self._rates.take(allowed.key.id, allowed.limits, time.monotonic())

    async def _counted(self, allowed: Allowed, decide: Callable[[], Decision]) -> Metered | Denied | Exceeded:
        if self._is_metered:
            return await self._meter.count(allowed, decide)
        return Metered(allowed, time.time_ns() // 1000) if self._knowledge.is_fresh else unavailable()


@dataclass(slots=True)
class Again:
    """The decision on a call whose terms may have changed: it is held to a rate that its key didn't have before."""

    decided: Callable[[], Decision]
    rate_of: Callable[[Allowed], RateState | None]
    allowed: Allowed
    """As it was decided last."""
    rate: RateState | None

    def decide(self) -> Decision:
        decision = self.decided()
        if isinstance(decision, Denied):
            return decision
        self.allowed = decision
        if self.rate:
            return decision
        self.rate = self.rate_of(decision)
        return too_fast(decision, self.rate) if self.rate and not self.rate.is_allowed else decision


def too_fast(allowed: Allowed, rate: RateState) -> Denied:
    wait = whole_seconds(rate.retry_seconds)
    return Denied(429, TOO_FAST, allowed.key.id, retry_after=wait, headers=headers_of(allowed, rate, None))


def over_quota(allowed: Allowed, rate: RateState | None, exceeded: Exceeded) -> Denied:
    names = ", ".join(POLICIES[kind] for kind in exceeded.kinds)
    return Denied(
        429,
        f"The key has used up its quota ({names}); Retry-After tells when it begins anew.",
        allowed.key.id,
        retry_after=retry_after(exceeded.kinds, clock.now()),
        headers=headers_of(allowed, rate, exceeded.spent),
    )


def headers_of(allowed: Allowed, rate: RateState | None, spent: Spent | None) -> Sequence[Header]:
    day, month = spent or (None, None)
    return headers(allowed.limits, rate, day, month, clock.now())
