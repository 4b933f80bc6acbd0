"""Calls through the gateway to an upstream, beside the same client and upstream without check and meter."""

from contextlib import AsyncExitStack

from tests.bench.ground import folder_on_disk, gateway, postgres_database, prepared
from tests.bench.samples import Goal, Target, interleaved, print_goals, print_table
from tests.bench.servers import app
from tests.databases import durable_postgres_server

CLIENT, UPSTREAM = "same client, no check, no meter", "the upstream itself"
SQLITE, POSTGRES = "metered, SQLite", "metered, PostgreSQL"
PATH = "/data_layers"
GOALS = [Goal(SQLITE, CLIENT, at_least=0.7), Goal(POSTGRES, CLIENT, at_least=0.7)]


async def calls(rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(folder_on_disk())
        server_url = stack.enter_context(durable_postgres_server(str(folder)))
        postgres_url = await stack.enter_async_context(postgres_database(server_url, "tessera"))
        upstream, upstream_pid = await stack.enter_async_context(app("tests.bench.noop:items", folder))
        client, client_pid = await stack.enter_async_context(
            app("tests.bench.unmetered:app", folder, UPSTREAM=upstream)
        )
        on_sqlite, on_postgres = [
            await stack.enter_async_context(gateway(await prepared(url, upstream), folder, name))
            for url, name in ((f"sqlite://{folder}/on.db", "sqlite"), (postgres_url, "postgres"))
        ]
        headers = [{"Authorization": f"Bearer {each.ground.token}"} for each in (on_sqlite, on_postgres)]
        targets = [
            Target(UPSTREAM, upstream + PATH, headers[0], upstream_pid),
            Target(CLIENT, client + PATH, headers[0], client_pid),
            Target(SQLITE, on_sqlite.through + PATH, headers[0], on_sqlite.pid),
            Target(POSTGRES, on_postgres.through + PATH, headers[1], on_postgres.pid),
        ]
        samples = await interleaved(targets, rounds=rounds, seconds=seconds, connections=16)
        print_table("Calls passed on, 16 connections", samples, (CLIENT, UPSTREAM))
        print_goals(samples, GOALS)
