"""The life of a key, walked against a running gateway as its users would: over HTTP, and nothing else."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2

from gateway import signing, weather
from gateway.visitors import Caller, Json, Program, TourFailed

STEP_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 0.1
PRICE = Decimal("0.0125")
Say = Callable[[str], None]


@dataclass
class Scene:
    """What the steps hand on to each other."""

    owner: Caller
    user: Caller
    say: Say
    upstream_url: str | None
    stamp: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"))
    project_id: str = ""
    client_project_id: str = ""
    template_id: str = ""
    request_id: str = ""
    key_id: str = ""
    token: str = ""
    calls: int = 0


async def walk(
    url: str, owner: tuple[str, str], user: tuple[str, str], say: Say, upstream_url: str | None = None
) -> None:
    """Walks the whole life with two accounts, (e-mail, password). Raises TourFailed at the first step that fails.

    The demo's service stands at `upstream_url`, else where the owner's project of its name has it.
    """
    async with httpx2.AsyncClient(base_url=url, timeout=STEP_SECONDS, trust_env=False) as http:
        try:
            scene = Scene(await signed_in(http, *owner), await signed_in(http, *user), say, upstream_url)
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


async def find_service(scene: Scene) -> None:
    if scene.upstream_url is None:
        found = await scene.owner.ask(
            "query($name: String!) { projects(first: 100, search: $name) { nodes { upstreamUrl } } }", name=weather.NAME
        )
        scene.upstream_url = next(filter(None, (node["upstreamUrl"] for node in found["projects"]["nodes"])), None)
    if scene.upstream_url is None:
        scene.say("no service stands behind this gateway, so none will be called; --upstream tells where one is")
    else:
        scene.say(f"the owner's service stands at {scene.upstream_url}")


async def open_projects(scene: Scene) -> None:
    scene.project_id = await created_project(
        scene.owner, f"Tour's service {scene.stamp}", upstreamUrl=scene.upstream_url
    )
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


async def created_project(caller: Caller, name: str, **more: Any) -> str:
    payload = await caller.do("projectCreate", "project { id }", name=name, **more)
    return str(payload["project"]["id"])


async def publish_template(scene: Scene) -> None:
    owner, project_id = scene.owner, scene.project_id
    nodes = [await created_node(scene, *node) for node in (("input", weather.READINGS), ("output", weather.FORECASTS))]
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
        pricePerRequest=str(PRICE),
        fields=fields,
    )
    scene.template_id = payload["template"]["id"]
    scene.say("the owner published the template Basic with its three information fields")


async def created_node(scene: Scene, name: str, upstream_id: str) -> str:
    payload = await scene.owner.do(
        "projectNodeCreate", "projectNode { id }", projectId=scene.project_id, name=name, upstreamId=upstream_id
    )
    return str(payload["projectNode"]["id"])


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


async def call_service(scene: Scene) -> None:
    if scene.upstream_url is None:
        return
    program = Program(scene.user.http, scene.token, await fields_of_key(scene))
    reading = {"label": "The tour's", "fields": {"temperature": 11.5, "pressure": 1021}}
    [package] = (await program.ask("POST", f"{program.input}/packages", 201, {"packages": [reading]}))["packages"]
    expect(package["called_by"]["key"], scene.key_id)
    scene.say(f"a program posted a reading to the service through the gateway, and it came with the key {scene.key_id}")
    forecast = await forecast_of(program, package["id"])
    scene.say(
        f"the output node has its forecast, {forecast['outlook']} with {forecast['temperature']} degrees, and its file"
    )
    await program.call("GET", program.input, wanted=403)
    scene.say(f"the role may not see {program.input} itself, and is refused with 403")
    scene.calls = program.counted


async def fields_of_key(scene: Scene) -> dict[str, str]:
    document = "query($id: ID!) { node(id: $id) { ... on IssuedKey { fields { name value } } } }"
    key = (await scene.user.ask(document, id=scene.key_id))["node"]
    return {field["name"]: field["value"] for field in key["fields"]}


async def forecast_of(program: Program, package_id: str) -> Json:
    """What the service computes from a package; its file is read as well."""
    search = {"fields": {"reading": package_id}}
    while True:
        found = await program.ask("POST", f"{program.output}/packages/search?page=1&page_size=1", body=search)
        if found["items"]:
            break
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    [forecast] = found["items"]
    [file] = (await program.ask("GET", f"{program.output}/packages/{forecast['id']}/files"))["items"]
    table = (await program.call("GET", f"objects/{file['hash']}")).content
    expect(hashlib.sha256(table).hexdigest(), file["hash"])
    return dict(forecast["fields"])


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
    expect(int(usage["requests"]), scene.calls)
    expect(Decimal(usage["total"]["amount"]), scene.calls * PRICE)
    scene.say(
        f"the owner reads its usage, to the last call: {usage['requests']} requests, "
        f"{usage['total']['amount']} {usage['total']['currency']}"
    )


async def revoke(scene: Scene) -> None:
    await scene.owner.do("keyRevoke", "issuedKey { state }", keyId=scene.key_id)
    scene.say("the owner revoked the key")
    answer = await scene.user.http.post(
        "/graphql", json={"query": "{ viewer { user { id } } }"}, headers=Caller(scene.user.http, scene.token).headers
    )
    expect(answer.status_code, 401)
    await Program(scene.user.http, scene.token, {"project ID": scene.project_id}).call("GET", "data_layers", wanted=401)
    await expect_tile(scene, "CAN_REQUEST")
    scene.say("its token is refused, and so is the next call")


async def tidy_up(scene: Scene) -> None:
    await scene.owner.do("projectDelete", "deletedId", projectId=scene.project_id)
    await scene.user.do("projectDelete", "deletedId", projectId=scene.client_project_id)
    scene.say("the tour's projects are deleted again")


STEPS = (
    find_service,
    open_projects,
    publish_template,
    ask_for_key,
    approve,
    reveal_and_verify,
    call_with_key,
    call_service,
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
