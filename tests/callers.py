"""A project with one of everything in it, and everybody who may ask for it: what the tables of permissions speak of.

scene = await new_scene()
await ask(scene.callers["analyst"], "query ($id: ID!) { node(id: $id) { id } }", id=scene.key.id)
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from gateway import clock, keys
from gateway.passwords import Passwords
from gateway.permissions import Actor, Permission
from gateway.signing import Keyring
from models import (
    IssuedKey,
    KeyRequest,
    KeyState,
    Member,
    Project,
    ProjectNode,
    Role,
    Secret,
    Template,
    TemplateField,
    User,
)
from tests.asking import ISSUER
from tests.world import ANONYMOUS, SEALER, by_key, issued_key, join, node, owned_project, person, role, template

PASSWORD = "correct horse battery"
QUICK = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
PASSWORD_HASH = QUICK.hash(PASSWORD)

ROLES = {
    "viewer": [Permission.PROJECT_VIEW],
    "analyst": [Permission.PROJECT_VIEW, Permission.KEYS_VIEW],
    "editor": [Permission.PROJECT_VIEW, Permission.PROJECT_EDIT, Permission.GRAPH_EDIT],
    "manager": [Permission.PROJECT_MANAGE],
}
CALLERS = ("anonymous", "stranger", *ROLES, "owner", "holder", "key", "managing_key")
"""The holder has a key and a pending request, and is no member; the keys are callers in their holders' place."""


class QuickPasswords(Passwords):
    """The same hash, made so weak that it takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self._hasher = QUICK


@dataclass
class Scene:
    callers: dict[str, Actor]
    project: Project
    node: ProjectNode
    roles: dict[str, Role]
    spare: Role
    """Held by nobody, used by nothing."""
    member: Member
    """The viewer's."""
    template: Template
    field: TemplateField
    free: Template
    """Nobody has asked for a key from it."""
    pending: KeyRequest
    """The holder's."""
    key: IssuedKey
    """The holder's."""
    owners_key: IssuedKey
    suspended: IssuedKey
    secret: Secret

    @property
    def owner(self) -> Actor:
        return self.callers["owner"]

    @property
    def ids(self) -> dict[str, str]:
        """By the names of variables."""
        nouns = ("project", "node", "spare", "member", "template", "field", "pending", "key", "secret")
        return {noun: getattr(self, noun).id for noun in nouns} | {"user": self.callers["holder"].user_id or ""}


async def new_scene(name: str = "Maps") -> Scene:
    """One more project, with people of its own."""
    people = {name: await _person(name) for name in ("stranger", *ROLES, "owner", "holder", "robot")}
    project = await owned_project(people["owner"], name, upstream_url="https://maps.example/v1")
    roles = {name: await role(project, *held, name=name) for name, held in ROLES.items()}
    members = {name: await join(project, people[name], roles[name]) for name in ROLES}
    basic = await template(project, roles["viewer"])
    managing = await template(project, roles["manager"], "Managing", position=1)
    free = await template(project, roles["viewer"], "Free", position=2)
    key, managing_key = await with_token(basic, people["holder"]), await issued_key(managing, people["robot"])
    by_keys = {"key": by_key(people["holder"], key), "managing_key": by_key(people.pop("robot"), managing_key)}
    return Scene(
        callers={"anonymous": ANONYMOUS, **people, **by_keys},
        project=project,
        node=await node(project),
        roles=roles | {"owner": await Role.get(project_id=project.id, is_owner=True)},
        spare=await role(project, Permission.PROJECT_VIEW, name="spare"),
        member=members["viewer"],
        template=basic,
        field=await TemplateField.create(template=basic, name="project ID", value=project.id, position=0),
        free=free,
        pending=await KeyRequest.create(
            project=project, template=managing, user=people["holder"].user, requested_at=clock.now()
        ),
        key=key,
        owners_key=await with_token(basic, people["owner"]),
        suspended=await issued_key(
            basic, by_keys["managing_key"], state=KeyState.SUSPENDED, suspended_at=clock.now() - timedelta(hours=1)
        ),
        secret=await secret(project, "token"),
    )


async def _person(name: str) -> Actor:
    made = await person(name, f"{name}-{uuid4().hex}@example.org")
    await User.filter(id=made.user_id).update(password_hash=PASSWORD_HASH)
    await made.require_user().refresh_from_db()
    return made


async def with_token(template: Template, holder: Actor) -> IssuedKey:
    key = await issued_key(template, holder)
    await keys._add_generation(Keyring(SEALER, ISSUER), key)
    return key


async def secret(project: Project, name: str, value: str = "hush") -> Secret:
    made = Secret(project=project, name=name)
    made.sealed_value = SEALER.seal("secret", value.encode(), made.id)
    await made.save(force_create=True)
    return made
