"""The life of a key, walked against a running gateway as its users would: over HTTP, and nothing else."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2

from gateway import signing
from gateway.errors import TesseraError

STEP_SECONDS = 15.0
Json = dict[str, Any]
Say = Callable[[str], None]


class TourFailed(TesseraError):
    """A step that did not do what it should."""

    code = "TOUR_FAILED"


@dataclass
class Caller:
    """Somebody who calls the gateway's GraphQL API."""

    http: httpx2.AsyncClient
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def ask(self, document: str, **variables: Any) -> Json:
        """The data of an operation. Raises TourFailed with what the gateway said instead."""
        answer = await self.http.post(
            "/graphql", json={"query": document, "variables": variables}, headers=self.headers
        )
        try:
            return data_in(answer.json())
        except ValueError:
            raise TourFailed(f"{answer.url} answers {answer.status_code} and no GraphQL") from None

    async def do(self, mutation: str, member: str, **input: Any) -> Any:
        """What a mutation answers with; `member` is selected of its payload. Raises TourFailed with its userErrors."""
        kind = mutation[0].upper() + mutation[1:] + "Input!"
        document = f"mutation($input: {kind}) {{ {mutation}(input: $input) {{ {member} userErrors {{ message }} }} }}"
        payload = (await self.ask(document, input=input))[mutation]
        if payload["userErrors"]:
            raise TourFailed("; ".join(error["message"] for error in payload["userErrors"]))
        return payload

    async def watch(self, document: str, **variables: Any) -> AsyncGenerator[Json, None]:
        """The events of a subscription, over Server-Sent Events."""
        headers = {**self.headers, "Accept": "text/event-stream"}
        body = {"query": document, "variables": variables}
        async with self.http.stream("POST", "/graphql", json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield data_in(json.loads(line.removeprefix("data: ")))


def data_in(body: Any) -> Json:
    """Raises TourFailed with the answer's errors, ValueError for what is no answer of GraphQL."""
    if isinstance(body, dict) and "errors" in body:
        raise TourFailed("; ".join(error["message"] for error in body["errors"]))
    if not isinstance(body, dict) or "data" not in body:
        raise ValueError
    return dict(body["data"])


@dataclass
class Scene:
    """What the steps hand on to each other."""

    owner: Caller
    user: Caller
    say: Say
    stamp: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"))
    project_id: str = ""
    client_project_id: str = ""
    template_id: str = ""
    request_id: str = ""
    key_id: str = ""
    token: str = ""


async def walk(url: str, owner: tuple[str, str], user: tuple[str, str], say: Say) -> None:
    """Walks the whole life with two accounts, (e-mail, password). Raises TourFailed at the first step that fails."""
    async with httpx2.AsyncClient(base_url=url, timeout=STEP_SECONDS, trust_env=False) as http:
        try:
            scene = Scene(await signed_in(http, *owner), await signed_in(http, *user), say)
            say(f"{owner[0]} and {user[0]} signed in at {url}")
            for step in STEPS:
                await asyncio.wait_for(step(scene), STEP_SECONDS)
        except TimeoutError:
            raise TourFailed("a step took too long") from None
        except httpx2.HTTPError as error:
            raise TourFailed(f"{url} can't be reached: {error}") from error


async def signed_in(http: httpx2.AsyncClient, email: str, password: str) -> Caller:
    payload = await Caller(http).do("signIn", "token", email=email, password=password)
    return Caller(http, payload["token"])


async def open_projects(scene: Scene) -> None:
    scene.project_id = await created_project(scene.owner, f"Tour's service {scene.stamp}")
    scene.client_project_id = await created_project(scene.user, f"Tour's client {scene.stamp}")
    await scene.owner.do(
        "roleCreate",
        "role { id }",
        projectId=scene.project_id,
        name="everyone",
        isPublic=True,
        permissions=["PROJECT_VIEW"],
    )
    scene.say("the owner has a project that everyone may see, the user a project of their own")


async def created_project(caller: Caller, name: str) -> str:
    payload = await caller.do("projectCreate", "project { id }", name=name)
    return str(payload["project"]["id"])


async def publish_template(scene: Scene) -> None:
    owner, project_id = scene.owner, scene.project_id
    nodes = [
        (await owner.do("projectNodeCreate", "projectNode { id }", projectId=project_id, name=name))["projectNode"][
            "id"
        ]
        for name in ("input", "output")
    ]
    permissions = ["PROJECT_VIEW", "PACKAGE_VIEW", "PACKAGE_CREATE"]
    role = await owner.do("roleCreate", "role { id }", projectId=project_id, name="caller", permissions=permissions)
    fields = [
        {"name": "project ID", "value": {"insert": "PROJECT_ID"}},
        {"name": "input node ID", "value": {"nodeId": nodes[0]}},
        {"name": "output node ID", "value": {"nodeId": nodes[1]}},
    ]
    payload = await owner.do(
        "templateCreate",
        "template { id }",
        projectId=project_id,
        roleId=role["role"]["id"],
        name="Basic",
        pricePerRequest="0.0125",
        fields=fields,
    )
    scene.template_id = payload["template"]["id"]
    scene.say("the owner published the template Basic with its three information fields")


async def ask_for_key(scene: Scene) -> None:
    events = scene.owner.watch(
        "subscription($id: ID!, $after: EventCursor) { keyRequestEvents(projectId: $id, after: $after) "
        "{ type request { id user { name } template { name } } } }",
        id=scene.project_id,
        after=(await scene.owner.ask("{ eventCursor }"))["eventCursor"],
    )
    async with waiting_for(events) as next_event:
        scene.say("the owner's subscription waits")
        await expect_tile(scene, "CAN_REQUEST")
        payload = await scene.user.do(
            "keyRequestCreate", "request { id }", templateId=scene.template_id, note="For the tour."
        )
        scene.request_id = payload["request"]["id"]
        await expect_tile(scene, "REQUESTED")
        scene.say("the user asked for a key")
        event = (await next_event)["keyRequestEvents"]
    expect(event["type"], "REQUESTED")
    expect(event["request"]["id"], scene.request_id)
    scene.say(f"the event arrived: {event['request']['user']['name']} asks for {event['request']['template']['name']}")


async def approve(scene: Scene) -> None:
    events = scene.user.watch(
        "subscription($after: EventCursor) { viewerKeyEvents(after: $after) { type issuedKey { id state } } }",
        after=(await scene.user.ask("{ eventCursor }"))["eventCursor"],
    )
    async with waiting_for(events) as next_event:
        await scene.owner.do("keyRequestApprove", "request { id }", requestId=scene.request_id)
        scene.say("the owner approved")
        event = (await next_event)["viewerKeyEvents"]
    expect(event["type"], "APPROVED")
    scene.key_id = event["issuedKey"]["id"]
    await expect_tile(scene, "CONFIRMED")
    scene.say("the user's tile turned CONFIRMED")


async def reveal_and_verify(scene: Scene) -> None:
    scene.token = (await scene.user.do("keyReveal", "token", keyId=scene.key_id))["token"]
    kid = json.loads(base64.urlsafe_b64decode(scene.token.split(".")[0] + "=="))["kid"]
    jwks = (await scene.user.http.get("/.well-known/jwks.json")).json()
    public_key = next((signing.public_key_of(jwk) for jwk in jwks["keys"] if jwk["kid"] == kid), None)
    if public_key is None:
        raise TourFailed("the JWKS lacks the key that signed the token")
    try:
        claims = signing.verify(scene.token, public_key)
    except signing.BadToken:
        raise TourFailed("the token doesn't verify against the JWKS") from None
    expect(claims["aud"], scene.project_id)
    scene.say(f"the key was revealed, {scene.token[:16]}..., and verifies against the JWKS")


async def call_with_key(scene: Scene) -> None:
    caller = Caller(scene.user.http, scene.token)
    viewer = (await caller.ask("{ viewer { apiKey { id project { name } } } }"))["viewer"]
    expect(viewer["apiKey"]["id"], scene.key_id)
    scene.say(f"the key calls the API as itself and sees {viewer['apiKey']['project']['name']}")


async def import_secrets(scene: Scene) -> None:
    payload = await scene.user.do(
        "keyImport", "secrets { id name }", keyId=scene.key_id, projectId=scene.client_project_id, prefix="basic"
    )
    ids = {secret["name"]: secret["id"] for secret in payload["secrets"]}
    expect(sorted(ids), ["basic_input_node_ID", "basic_output_node_ID", "basic_project_ID", "basic_token"])
    value = (await scene.user.do("secretReveal", "value", secretId=ids["basic_token"]))["value"]
    expect(value, scene.token)
    scene.say(f"the key was imported as the secrets {', '.join(sorted(ids))}")


async def read_usage(scene: Scene) -> None:
    data = await scene.owner.ask(
        "query($id: ID!) { project(id: $id) { issuedKeys(first: 1) { nodes "
        "{ usage(period: {lastDays: 30}) { requests total { amount currency } } } } } }",
        id=scene.project_id,
    )
    usage = data["project"]["issuedKeys"]["nodes"][0]["usage"]
    scene.say(
        f"its usage of 30 days was read: {usage['requests']} requests, "
        f"{usage['total']['amount']} {usage['total']['currency']}"
    )


async def revoke(scene: Scene) -> None:
    await scene.owner.do("keyRevoke", "issuedKey { state }", keyId=scene.key_id)
    scene.say("the owner revoked the key")
    answer = await scene.user.http.post(
        "/graphql", json={"query": "{ viewer { user { id } } }"}, headers=Caller(scene.user.http, scene.token).headers
    )
    expect(answer.status_code, 401)
    await expect_tile(scene, "CAN_REQUEST")
    scene.say("its token is refused")


async def tidy_up(scene: Scene) -> None:
    await scene.owner.do("projectDelete", "deletedId", projectId=scene.project_id)
    await scene.user.do("projectDelete", "deletedId", projectId=scene.client_project_id)
    scene.say("the tour's projects are deleted again")


STEPS = (
    open_projects,
    publish_template,
    ask_for_key,
    approve,
    reveal_and_verify,
    call_with_key,
    import_secrets,
    read_usage,
    revoke,
    tidy_up,
)


@asynccontextmanager
async def waiting_for(events: AsyncGenerator[Json, None]) -> AsyncIterator[asyncio.Task[Json]]:
    """The next event of a stream, waited for while something makes it happen."""
    async with aclosing(events):
        task = asyncio.create_task(_next(events))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _next(events: AsyncGenerator[Json, None]) -> Json:
    try:
        return await anext(events)
    except StopAsyncIteration:
        raise TourFailed("the events ended before there was one") from None


async def expect_tile(scene: Scene, state: str) -> None:
    data = await scene.user.ask(
        "query($id: ID!) { project(id: $id) { templates { viewerState } } }", id=scene.project_id
    )
    expect([template["viewerState"] for template in data["project"]["templates"]], [state])


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise TourFailed(f"expected {wanted}, found {found}")
