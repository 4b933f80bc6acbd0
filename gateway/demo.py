"""A project to look at: made once, by the same rules that everyone goes by, so that it shows what they do."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from gateway import clock, counting, keys, members, pricing, projects, requests, roles, templates, users, weather
from gateway.attempts import Attempts
from gateway.members import UserRef
from gateway.passwords import Passwords
from gateway.permissions import GATEWAY, Actor, Permission
from gateway.signing import Keyring
from gateway.templates import FieldValue, NewField
from models import IssuedKey, KeyState, Project, Template, User
from models.fields import fold

PASSWORD = "tessera-demo"  # noqa: S105  told to whoever runs the demo
OWNER, ASKER, ANALYST = "owner@example.com", "user@example.com", "analyst@example.com"
PEOPLE = {OWNER: "Olga Owner", ASKER: "Ulrich User", ANALYST: "Ana Analyst"}
NODES = {"Readings": weather.READINGS, "Forecasts": weather.FORECASTS}
CALLER = [Permission.PROJECT_VIEW, Permission.GRAPH_VIEW, Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE]
DAYS_OF_USAGE = 60


@dataclass(frozen=True)
class Stage:
    project: Project
    basic: Template
    research: Template


async def seed(passwords: Passwords, keyring: Keyring) -> bool:
    """Makes the demo's people and its project, unless they were made before; whether it did."""
    if await User.exists(email_folded=fold(OWNER)):
        return False
    people = {email: await users.create(GATEWAY, passwords, email, name, PASSWORD) for email, name in PEOPLE.items()}
    owner, asker, analyst = (Actor(user=people[email]) for email in (OWNER, ASKER, ANALYST))
    stage = await _stage(owner)
    await _let_analyse(owner, stage.project, analyst)
    await projects.create(asker, name="Ulrich's client", description="Where Ulrich keeps his secrets.")
    await _use(await _issued(owner, asker, keyring, stage.basic), per_day=40)
    await _use(await _issued(owner, analyst, keyring, stage.research), per_day=6)
    await requests.create(asker, stage.research.id, "For my thesis.")
    return True


async def _stage(owner: Actor) -> Stage:
    project = await projects.create(owner, name=weather.NAME, description="Forecasts, computed from your readings.")
    nodes = [
        await projects.create_node(owner, project.id, name=name, upstream_id=upstream_id)
        for name, upstream_id in NODES.items()
    ]
    await roles.create(
        owner, project.id, name="everyone", is_public=True, permissions=[Permission.PROJECT_VIEW, Permission.GRAPH_VIEW]
    )
    caller = await roles.create(owner, project.id, name="caller", permissions=CALLER)
    researcher = await roles.create(
        owner, project.id, name="researcher", permissions=CALLER, cost_coefficient=Decimal("0.5")
    )
    fields = [
        NewField("project ID", FieldValue(is_project_id=True), "Stands in every path."),
        NewField("input node ID", FieldValue(node_id=nodes[0].id), "Takes your packages."),
        NewField("output node ID", FieldValue(node_id=nodes[1].id), "Holds the results."),
    ]
    basic, research = [
        await templates.create(
            owner,
            project.id,
            role_id=role.id,
            name=name,
            description=description,
            price_per_request=Decimal("0.0125"),
            fields=fields,
        )
        for role, name, description in (
            (caller, "Basic", "For programs that ask now and then."),
            (researcher, "Research", "At half the price, for universities."),
        )
    ]
    return Stage(project, basic, research)


async def _let_analyse(owner: Actor, project: Project, analyst: Actor) -> None:
    role = await roles.create(
        owner, project.id, name="analyst", permissions=[Permission.PROJECT_VIEW, Permission.KEYS_VIEW]
    )
    await members.set_roles(owner, Attempts(), project.id, user=UserRef(user_id=analyst.user_id), role_ids=[role.id])


async def _issued(owner: Actor, asker: Actor, keyring: Keyring, template: Template) -> IssuedKey:
    request = await requests.create(asker, template.id, "To try it.")
    await requests.approve(owner, keyring, request.id)
    return await IssuedKey.get(request_id=request.id).select_related("role", "template")


async def _use(key: IssuedKey, per_day: int) -> None:
    """Calls of the last two months, as if they had been made: a fresh demo has something to show."""
    cost = pricing.cost(key.template.price_per_request, key.role.cost_coefficient)
    await counting.record(_calls(key, cost, per_day))


def _calls(key: IssuedKey, cost: Decimal, per_day: int) -> Iterator[counting.Call]:
    chance = random.Random(key.name)  # noqa: S311  the same picture each time
    start = clock.now() - timedelta(days=DAYS_OF_USAGE)
    for day in range(DAYS_OF_USAGE):
        for _ in range(chance.randrange(per_day)):
            yield counting.Call(key.id, start + timedelta(days=day, seconds=chance.randrange(86_400)), cost)


async def stand_behind(upstream_url: str) -> tuple[str, str] | None:
    """Has the demo's project call the service there; the ids of the project and of its user's key, while both live."""
    owner, asker = [Actor(user=await User.get(email_folded=fold(email))) for email in (OWNER, ASKER)]
    project = await projects.visible_to(owner).filter(name=weather.NAME).order_by("id").first()
    if project is None:
        return None
    await projects.update(owner, project.id, {"upstream_url": upstream_url})
    key = await keys.held_by(asker).filter(project_id=project.id, state=KeyState.ACTIVE).first()
    return (project.id, key.id) if key else None


def welcome(url: str) -> str:
    """Where to look, how to sign in, and a command to try."""
    sign_in = f'mutation {{ signIn(input: {{email: "{OWNER}", password: "{PASSWORD}"}}) {{ token }} }}'
    return f"""
Tessera is at {url}
  open in a browser  {url}
  try queries at     {url}/graphql
  sign in as         {", ".join(PEOPLE)}
  with the password  {PASSWORD}
  by                 {sign_in}
  walk a key's life  .venv/bin/tessera tour --url {url}
"""


def call_to_try(url: str, project_id: str, key_id: str) -> str:
    """What to type to call the project with the user's key: as anybody, the user signs in and has it revealed."""
    sign_in = _mutation(f'signIn(input: {{email: "{ASKER}", password: "{PASSWORD}"}})')
    reveal = _mutation(f'keyReveal(input: {{keyId: "{key_id}"}})')
    reading = '{"packages": [{"label": "Kyiv", "fields": {"temperature": 11.5, "pressure": 1021}}]}'
    nodes = f"$tessera/api/projects/{project_id}/nodes"
    return f"""
To call the project with a key, have it revealed, post a reading, and look for its forecast a moment later:
  tessera={url}
  session=$({_curl("$tessera/graphql", sign_in)} | grep -o 'eyJ[^"]*')
  key=$({_curl("$tessera/graphql", reveal, "$session")} | grep -o 'eyJ[^"]*')
  {_curl(f"{nodes}/{weather.READINGS}/packages", reading, "$key")}; sleep 1
  {_curl(f"{nodes}/{weather.FORECASTS}/packages/search", '{"label": "Kyiv"}', "$key")}
"""


def _mutation(call: str) -> str:
    return json.dumps({"query": f"mutation {{ {call} {{ token }} }}"})


def _curl(url: str, body: str, token: str | None = None) -> str:
    bearer = f' -H "Authorization: Bearer {token}"' if token else ""
    return f"curl -sw '\\n' {url}{bearer} --json '{body}'"
