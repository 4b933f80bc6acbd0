"""People who set up what is measured: over GraphQL, as people would."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx2

USERS, TEMPLATES = 10, 10
ASK = "query($project: ID!) { project(id: $project) { usage(period: {lastDays: 2}) { total { requests } } } }"


@dataclass(frozen=True)
class Caller:
    client: httpx2.AsyncClient
    token: str | None = None
    email: str = ""

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
    payload = await Caller(client).do("signUp", "token", name=name, **credentials(name))
    return Caller(client, payload["token"], email_of(name))


async def sign_in(client: httpx2.AsyncClient, name: str) -> Caller:
    payload = await Caller(client).do("signIn", "token", **credentials(name))
    return Caller(client, payload["token"], email_of(name))


def email_of(name: str) -> str:
    return f"{name}@example.org"


def credentials(name: str) -> dict[str, str]:
    return {"email": email_of(name), "password": f"the long password of {name}"}


@dataclass(frozen=True)
class Project:
    """A project, and the tokens of its keys."""

    owner: Caller
    id: str
    tokens: list[str]

    async def counted(self) -> int:
        """How many calls it counts by now."""
        answer = await self.owner.ask(ASK, project=self.id)
        return int(answer["project"]["usage"]["total"]["requests"])


async def with_keys(client: httpx2.AsyncClient, upstream_url: str | None = None, templates: int = TEMPLATES) -> Project:
    """A project whose keys may view it: one of each template for each user."""
    owner = await sign_up(client, "owner")
    users = [await sign_up(client, f"user{number}") for number in range(USERS)]
    place = {"upstreamUrl": upstream_url} if upstream_url else {}
    project_id: str = (await owner.do("projectCreate", "project { id }", name="Project", **place))["project"]["id"]
    members = {"projectId": project_id, "isPublic": True, "permissions": ["PROJECT_VIEW"]}
    role_id = (await owner.do("roleCreate", "role { id }", name="reader", **members))["role"]["id"]
    tokens: list[str] = []
    for number in range(templates):
        named = {"projectId": project_id, "roleId": role_id, "name": f"Template {number}", "pricePerRequest": "0.0025"}
        template_id = (await owner.do("templateCreate", "template { id }", **named))["template"]["id"]
        tokens += await asyncio.gather(*(issued(owner, user, template_id) for user in users))
    return Project(owner, project_id, tokens)


async def issued(owner: Caller, user: Caller, template_id: str) -> str:
    request = (await user.do("keyRequestCreate", "request { id }", templateId=template_id))["request"]
    approved = await owner.do("keyRequestApprove", "request { issuedKey { id } }", requestId=request["id"])
    token: str = (await user.do("keyReveal", "token", keyId=approved["request"]["issuedKey"]["id"]))["token"]
    return token
