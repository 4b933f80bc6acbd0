"""The tiles of a project of 50 templates, each with its role, fields, pending requests, issued keys and their users."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from tests.bench import servers
from tests.bench.load import post, requests_per_second

TEMPLATES, FIELDS, PENDING, ISSUED = 50, 4, 3, 5

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


@dataclass(frozen=True)
class Caller:
    client: httpx2.AsyncClient
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Content-Type": "application/json", "Accept": "application/json", **bearer}

    async def ask(self, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        response = await self.client.post("/graphql", headers=self.headers, json=body)
        answer = response.json()
        if response.status_code != 200 or "errors" in answer:
            raise RuntimeError(f"status {response.status_code}: {answer}")
        return answer["data"]

    async def do(self, mutation: str, selection: str, **members: Any) -> Any:
        """Calls a mutation by the members of its input; its payload. Raises with the first userError."""
        input_type = f"{mutation[0].upper()}{mutation[1:]}Input"
        call = f"{mutation}(input: $input) {{ {selection} userErrors {{ message }} }}"
        payload = (await self.ask(f"mutation($input: {input_type}!) {{ {call} }}", input=members))[mutation]
        if payload["userErrors"]:
            raise RuntimeError(f"{mutation}: {payload['userErrors'][0]['message']}")
        return payload


async def sign_up(client: httpx2.AsyncClient, name: str) -> Caller:
    email, password = f"{name}@example.org", f"the long password of {name}"
    payload = await Caller(client).do("signUp", "token", email=email, name=name, password=password)
    return Caller(client, payload["token"])


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


def body(project_id: str) -> bytes:
    return json.dumps({"query": QUERY, "variables": {"project": project_id}}).encode()


async def beside_noop(rounds: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        async with servers.gateway(Path(folder)) as gateway, servers.noop(Path(folder)) as noop:
            async with httpx2.AsyncClient(base_url=gateway, trust_env=False, timeout=60) as client:
                print(f"seeding {TEMPLATES} templates over GraphQL", flush=True)
                owner, project_id = await seed(client)
                check(await owner.ask(QUERY, project=project_id))
            asked = body(project_id)
            targets = {"tile query": f"{gateway}/graphql", "no-op Starlette": f"{noop}/graphql"}
            requests = {name: post(url, owner.headers, asked) for name, url in targets.items()}
            print_table(await measured(targets, requests, rounds, seconds))


async def measured(
    targets: dict[str, str], requests: dict[str, bytes], rounds: int, seconds: float
) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in targets}
    for number in range(rounds):
        for name, url in targets.items():
            print(f"round {number + 1} of {rounds}: {name}", flush=True)
            figures[name].append(await requests_per_second(url, requests[name], seconds=seconds))
    return figures


def print_table(figures: dict[str, list[float]]) -> None:
    floor = median(figures["no-op Starlette"])
    print(f"\n{'':20}{'requests/s':>12}{'lowest':>10}{'highest':>10}{'beside the no-op':>20}")
    for name, each in figures.items():
        print(f"{name:20}{median(each):12.1f}{min(each):10.1f}{max(each):10.1f}{median(each) / floor:20.4f}")
    print(f"\n16 connections, one worker each, SQLite, load from the same machine; {os.cpu_count()} cores")
