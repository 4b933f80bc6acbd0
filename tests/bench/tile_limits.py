"""What the tiles can hardly be faster than: PostgreSQL makes the JSON in one statement."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.database import postgres_credentials
from gateway.postgres import Connection, Pool

JSON = "application/json"
SQL = """
SELECT json_build_object('data', json_build_object('project', json_build_object(
  'id', p.id, 'name', p.name, 'templates', (
    SELECT json_agg(json_build_object(
      'id', t.id, 'name', t.name, 'description', t.description,
      'pricePerRequest', json_build_object('amount', trim_scale(t.price_per_request)::text),
      'role', (
        SELECT json_build_object('id', r.id, 'name', r.name, 'permissions', (
          SELECT json_agg(upper(g.permission)) FROM grants g WHERE g.role_id = r.id))
        FROM roles r WHERE r.id = t.role_id),
      'fields', (
        SELECT json_agg(json_build_object(
          'id', f.id, 'name', f.name, 'description', f.description, 'value', f.value) ORDER BY f.position, f.id)
        FROM template_fields f WHERE f.template_id = t.id AND f.deleted_at IS NULL),
      'requests', json_build_object('nodes', (
        SELECT json_agg(json_build_object(
          'id', q.id, 'requestedAt', q.requested_at, 'user', json_build_object('id', u.id, 'name', u.name))
          ORDER BY q.id DESC)
        FROM key_requests q JOIN users u ON u.id = q.user_id WHERE q.template_id = t.id AND q.state = 'pending')),
      'issuedKeys', json_build_object('nodes', (
        SELECT json_agg(json_build_object(
          'id', k.id, 'receivedAt', k.received_at, 'user', json_build_object('id', u.id, 'name', u.name))
          ORDER BY k.id DESC)
        FROM issued_keys k JOIN users u ON u.id = k.user_id WHERE k.template_id = t.id))
      ) ORDER BY t.position, t.id)
    FROM templates t WHERE t.project_id = p.id AND t.deleted_at IS NULL)
)))::text
FROM projects p WHERE p.id = $1 AND p.deleted_at IS NULL
"""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    credentials = postgres_credentials(os.environ["BENCH_DATABASE_URL"])
    app.state.pool = await Pool(5.0, min_size=1, max_size=10, connection_class=Connection, loop=None, **credentials)
    yield
    await app.state.pool.close()


async def json_by_postgres(request: Request) -> Response:
    asked = orjson.loads(await request.body())
    return Response(await request.app.state.pool.fetchval(SQL, asked["variables"]["project"]), media_type=JSON)


one_sql = Starlette(routes=[Route("/graphql", json_by_postgres, methods=["POST"])], lifespan=lifespan)
