"""Data planes without a server: each has what one process knows and counts with, so two of them are two processes.

async with plane(database) as here, plane(database, SILENCE) as there:
    await keys.revoke(ada, key.id)
    outcome = await there.call(project.id, token, Call())
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from gateway.events import EventLog
from gateway.metrics import Measures
from gateway.plane import ledger
from gateway.plane.admission import Admission, Admitted
from gateway.plane.decisions import Asked, Decider, Denied
from gateway.plane.knowledge import Knowledge
from gateway.plane.learning import Learner
from gateway.plane.ledger import Ledger
from gateway.plane.meter import Meter
from gateway.plane.rates import Rates
from gateway.plane.tokens import Tokens

ADDRESS = "127.0.0.1"


class Silence(EventLog):
    """A log of which nobody is ever woken, nor reads on after a while: what a follower knows grows old."""

    async def grown(self, position: int, seconds: float) -> None:  # noqa: ARG002  # it waits for neither
        await asyncio.Event().wait()


SILENCE = Silence()


class Call(NamedTuple):
    method: str = "GET"
    target: str = "/data_layers"
    is_passed_on: bool = False


@dataclass
class Plane:
    knowledge: Knowledge
    learner: Learner
    decider: Decider
    ledger: Ledger
    meter: Meter
    admission: Admission

    async def call(self, project_id: str, token: str, call: Call) -> Admitted | Denied:
        target = call.target.encode()
        return await self.admission.admit(
            Asked(project_id, call.method, target, token.encode(), ADDRESS, call.is_passed_on)
        )


@asynccontextmanager
async def plane(url: str, event_log: EventLog, own_ledger: Ledger | None = None) -> AsyncIterator[Plane]:
    """On a connected database; it knows all that is true when it begins, and what is told it of that log later."""
    knowledge = Knowledge()
    learner, decider = Learner(knowledge), Decider(knowledge, Tokens(knowledge))
    opened = own_ledger or ledger.opened(url)
    meter = Meter(opened, learner, Measures())
    admission = Admission(decider, learner, meter, Rates(), is_metered=True)
    async with learner.running(event_log), meter.running():
        await learner.catch_up()  # with the follower, which then waits for the log to grow
        yield Plane(knowledge, learner, decider, opened, meter, admission)
