"""The tiles of a project of 50 templates, each with its role, fields, pending requests, issued keys and their users."""

import json
from pathlib import Path
from typing import Any

import httpx2

from tests.bench import load, servers
from tests.bench.callers import Caller, sign_up
from tests.bench.samples import in_rounds
from tests.bench.tables import print_figures
from tests.bench.targets import Served

TEMPLATES, FIELDS, PENDING, ISSUED = 50, 4, 3, 5
STARLETTE = "empty Starlette"
SLOWER = 3  # measured for so many times as long: what is under way at the end doesn't count

QUERY = """
query Tiles($project: ID!) {
  project(id: $project) {
    id name
    templates {
      id name description pricePerRequest { amount }
      role { id name permissions }
      fields { id name description value }
      requests { nodes { id requestedAt user { id name } } }
      issuedKeys { nodes { id receivedAt user { id name } } }
    }
  }
}
"""


async def run(folder: Path, _: str, *, rounds: int, seconds: float) -> None:
    async with (
        servers.gateway(folder) as gateway,
        servers.endpoint("framework", folder) as framework,
        httpx2.AsyncClient(base_url=gateway.url, trust_env=False, timeout=60) as client,
    ):
        print(f"tiles: seeding {TEMPLATES} templates over GraphQL", flush=True)
        owner, project_id = await seed(client)
        check(await owner.ask(QUERY, project=project_id))
        asked = json.dumps({"query": QUERY, "variables": {"project": project_id}}).encode()
        targets = [
            Served(name, server, [load.request("POST", f"{server.url}/graphql", owner.headers, asked)])
            for name, server in (("tile query, SQLite", gateway), (STARLETTE, framework))
        ]
        turns = [(target, 16) for target in targets]
        figures = await in_rounds(turns, rounds=rounds, seconds=SLOWER * seconds)
        print_figures("The nested tile query", figures, {"Starlette": STARLETTE})


async def seed(client: httpx2.AsyncClient) -> tuple[Caller, str]:
    """Over GraphQL, as people would; the owner, and the project's id."""
    owner = await sign_up(client, "owner")
    users = [await sign_up(client, f"user{number}") for number in range(PENDING + ISSUED)]
    project_id: str = (await owner.do("projectCreate", "project { id }", name="Project"))["project"]["id"]
    members = {"projectId": project_id, "isPublic": True, "permissions": ["PROJECT_VIEW"]}
    role_id = (await owner.do("roleCreate", "role { id }", name="reader", **members))["role"]["id"]
    for number in range(TEMPLATES):
        template_id = await template(owner, project_id, role_id, number)
        for place, user in enumerate(users):
            await request(owner, user, template_id, approve=place < ISSUED)
    return owner, project_id


async def template(owner: Caller, project_id: str, role_id: str, number: int) -> str:
    fields = [
        {"name": f"field {n}", "description": f"What field {n} means", "value": {"literal": f"value {n}"}}
        for n in range(FIELDS)
    ]
    members = {"projectId": project_id, "roleId": role_id, "pricePerRequest": "0.0025", "fields": fields}
    name, description = f"Template {number}", f"Description of template {number}, with a sentence of text."
    payload = await owner.do("templateCreate", "template { id }", name=name, description=description, **members)
    template_id: str = payload["template"]["id"]
    return template_id


async def request(owner: Caller, user: Caller, template_id: str, *, approve: bool) -> None:
    asked = await user.do("keyRequestCreate", "request { id }", templateId=template_id)
    if approve:
        await owner.do("keyRequestApprove", "request { id }", requestId=asked["request"]["id"])


def check(data: Any) -> None:
    """The answer is the whole of what was seeded; else there is nothing to measure."""
    templates = data["project"]["templates"]
    assert len(templates) == TEMPLATES
    for each in templates:
        counts = len(each["fields"]), len(each["requests"]["nodes"]), len(each["issuedKeys"]["nodes"])
        assert counts == (FIELDS, PENDING, ISSUED), counts
