"""Answers that are kept, without what carries them; and documents that select all that can be.

keeping = KeptHere(log)
body = await keeping.ask(ada, HERE, id=project.id)
"""

from dataclasses import replace
from typing import Any

import orjson
from graphql import OperationType
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from gateway.events import Cursors, EventLog
from gateway.metrics import Measures
from gateway.permissions import Actor
from gateway.pricing import micros
from gateway.revisions import Revisions
from schema.context import Context
from schema.kept.keeping import Keeping, question_of
from schema.transport.accept import MediaType
from schema.transport.execution import answer
from schema.transport.keeping import Asked, Moment
from schema.transport.operation import Operation
from tests.asking import context_of, schema
from tests.world import SEALER

FRAGMENTS = """
fragment F on TemplateField { id name description value }
fragment N on ProjectNode { id name upstreamId deletedAt }
fragment R on Role {
  id name description costCoefficient isPublic permissions version deletedAt
  nodePermissions { permissions projectNode { ...N } }
}
fragment K on IssuedKey {
  id name state receivedAt expiresAt revokedAt revokedBy { id name } user { id name } role { id } template { id }
  project { id name } fields { ...F }
}
fragment Q on KeyRequest {
  id requestState: state note requestedAt decidedAt decidedBy { id name } reason
  user { id name } template { id } issuedKey { ...K }
}
fragment T on KeyTemplate {
  id name description createdAt deletedAt version viewerState pendingRequestCount project { id } role { id }
  pricePerRequest { amount currency }
  limits {
    callsPerSecond burst callsPerDay callsPerMonth
    costPerDay { amount currency } costPerMonth { amount currency }
  }
  fields { ...F } viewerRequest { ...Q } viewerKey { ...K }
  requests { totalCount nodes { id } edges { cursor node { ...Q } } pageInfo { ...I } }
  issuedKeys { totalCount nodes { id } edges { cursor node { id } } pageInfo { ...I } }
}
fragment I on PageInfo { hasNextPage hasPreviousPage startCursor endCursor }
fragment M on Member { id user { id name } roles { id } }
fragment P on Project {
  id name description currency upstreamUrl createdAt deletedAt viewerPermissions
  routeRules { method pattern permission }
  roles { ...R } templates { ...T } secrets { id name description }
  projectNodes { totalCount nodes { ...N } edges { cursor node { id } } pageInfo { ...I } }
  requests(states: null) { totalCount nodes { ...Q } edges { cursor node { id } } pageInfo { ...I } }
  issuedKeys { totalCount nodes { ...K } edges { cursor node { id } } pageInfo { ...I } }
  members { totalCount nodes { ...M } edges { cursor node { id } } pageInfo { ...I } }
}
"""
HERE = (
    f"query Here($id: ID!) {{ isSignUpOpen viewer {{ user {{ id name }} }} project(id: $id) {{ ...P }} }} {FRAGMENTS}"
)
"""Hangs on one project."""
ANYWHERE = f"""
query Anywhere($id: ID!, $ids: [ID!]!) {{
  viewer {{
    user {{ id name email }} apiKey {{ id state }}
    keys {{ totalCount nodes {{ ...K }} }}
    requests {{ totalCount nodes {{ ...Q }} }}
  }}
  projects {{ totalCount nodes {{ id name viewerPermissions }} edges {{ cursor node {{ id }} }} pageInfo {{ ...I }} }}
  node(id: $id) {{ id ...P }}
  nodes(ids: $ids) {{
    id ...N ...R ...M ...Q ...K ...F ... on User {{ name email }}
    ... on KeyTemplate {{ ...T }} ... on Secret {{ name description importedFrom {{ ...K }} }}
  }}
}} {FRAGMENTS}"""
"""Hangs on every project."""


class KeptHere:
    """A keeper, and what a view does with it."""

    def __init__(self, log: EventLog, limit_bytes: int = 1_000_000) -> None:
        self.log = log
        self.measures = Measures()
        revisions = Revisions()
        log.listen(revisions)
        self.keeping = Keeping(schema(), log, revisions, Cursors(SEALER), self.measures, limit_bytes)

    async def ask(self, actor: Actor, query: str, **variables: Any) -> bytes:
        """The bytes of an answer, kept or made."""
        asked = asked_by(actor, query, variables, self.keeping.moment())
        if kept := await self.keeping.found(asked):
            return bytes(kept.body)
        return await self.answer(asked)

    async def answer(self, asked: Asked) -> bytes:
        """Made, and kept where it may be."""
        made = await answer(schema(), asked.operation, context_of(asked.actor))
        response = Response(orjson.dumps(made.body), media_type=MediaType.JSON)
        return bytes((await self.keeping.answered(asked, made, response)).body)

    async def stands(self, actor: Actor, query: str, **variables: Any) -> bool:
        """Whether the answer would be given from what is kept."""
        await self.log.settled()
        question = question_of(actor.id, MediaType.JSON, Operation(query, variables, None, None))
        return self.keeping.standing(question, micros(clock.now())) is not None

    def told(self, context: Context) -> Context:
        """Of a mutation whose commit this log is told of."""
        return replace(context, services=replace(context.services, log=self.log))


def asked_by(actor: Actor, query: str, variables: dict[str, Any], moment: Moment) -> Asked:
    request = Request({"type": "http", "method": "POST", "headers": []})
    return Asked(request, Operation(query, variables, None, None), OperationType.QUERY, MediaType.JSON, actor, moment)


async def anew(actor: Actor, query: str, **variables: Any) -> bytes:
    """The answer as it is now."""
    return orjson.dumps((await answer(schema(), Operation(query, variables, None, None), context_of(actor))).body)
