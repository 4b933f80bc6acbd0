"""Operations run in the test's own process: the whole schema as a caller meets it, less what carries it.

data = await ask(ada, "query ($id: ID!) { project(id: $id) { name } }", id=project.id)
"""

from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

from gateway.attempts import Attempts
from gateway.events import Cursors, EventLog
from gateway.metrics import Measures
from gateway.passwords import Passwords
from gateway.permissions import Actor
from gateway.settings import Settings
from gateway.signing import Keyring, SessionSigner
from schema.context import Context, Services
from schema.root import build
from schema.transport.documents import LimitedSchema
from schema.transport.execution import answer
from schema.transport.operation import Operation
from tests.world import SEALER

ISSUER = "https://tessera.example"


@cache
def schema() -> LimitedSchema:
    return build(Settings())


def context_of(actor: Actor, now: datetime | None = None, **settings: Any) -> Context:
    """A fresh context for one operation; the present is `now`, where it is given."""
    services = Services(
        settings=Settings(**settings),
        sealer=SEALER,
        keyring=Keyring(SEALER, ISSUER),
        sessions=SessionSigner(SEALER, ISSUER),
        passwords=Passwords(),
        attempts=Attempts(),
        log=EventLog(),
        cursors=Cursors(SEALER),
        measures=Measures(),
    )
    context = Context(actor=actor, request_id=uuid4().hex, address="127.0.0.1", services=services)
    context.now = now or context.now
    return context


async def answer_to(context: Context, query: str, **variables: Any) -> dict[str, Any]:
    """The whole answer, its errors too."""
    return (await answer(schema(), Operation(query, variables, None, None), context)).body


async def ask(actor: Actor, query: str, **variables: Any) -> Any:
    """The data of an answer without errors."""
    body = await answer_to(context_of(actor), query, **variables)
    assert "errors" not in body, body["errors"]
    return body["data"]


async def codes(context: Context, query: str, **variables: Any) -> set[str]:
    """The codes of an answer's errors."""
    body = await answer_to(context, query, **variables)
    return {error["extensions"]["code"] for error in body.get("errors", [])}
