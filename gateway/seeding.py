"""A database that looks like a year's use: projects with their templates, issued keys, and calls of every key.

It is filled past the rules, in bulk, with what they would have made; the event log tells nothing of it. The same seed
and the same end give the same rows, but for what is signed and hashed.
"""

# ruff: noqa: S608  # its statements are built of names that stand in this file; every value is a parameter

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from tortoise.models import Model
from tortoise.transactions import in_transaction

from gateway import partitions
from gateway.counting import BUCKETS, COUNTS, RECORD
from gateway.database import connection
from gateway.errors import Conflict
from gateway.keys import generation_of
from gateway.passwords import Passwords
from gateway.permissions import EVERYTHING, Permission
from gateway.pricing import Amount, cost, micros
from gateway.signing import Keyring
from gateway.traffic import Batch, Traffic
from models import (
    Grant,
    IssuedKey,
    KeyRequest,
    Member,
    MemberRole,
    Project,
    ProjectNode,
    RequestState,
    Role,
    SigningKey,
    Template,
    TemplateField,
    User,
)
from models.fields import fold, named
from models.ids import id_of

OWNER, PASSWORD = "owner@seed.example.com", "tessera-seed"
FULL = "The database has projects already: seed an empty one, or say --add to fill it up beside them."
PERIOD = timedelta(days=365)
CALLER = (Permission.PROJECT_VIEW, Permission.GRAPH_VIEW, Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE)
COEFFICIENTS = {"caller": Decimal(1), "partner": Decimal("0.7525"), "express": Decimal("2.0005")}
PENDING_PER_TEMPLATE = 3
ROWS_AT_ONCE = 500

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Scale:
    """How much is made. The keys of a template are of so many users, of whom each may have keys of every template."""

    projects: int = 20
    templates_per_project: int = 50
    keys_per_template: int = 10
    users: int = 500


async def seed(
    passwords: Passwords,
    keyring: Keyring,
    told: Callable[[int], None],
    *,
    records: int,
    until: datetime,
    chance: int = 1,
    scale: Scale | None = None,
    is_added: bool = False,
) -> None:
    """Fills the database with calls of the year before the whole hour of `until`; `told` how many more are written.

    Raises Conflict where there are projects already, unless it is to be added to them.
    """
    if not is_added and await Project.exists():
        raise Conflict(FULL)
    end = until.replace(minute=0, second=0, microsecond=0)
    password_hash = await passwords.hash(PASSWORD)
    world = _World(scale or Scale(), random.Random(chance), end - PERIOD, password_hash)  # noqa: S311  the same each time
    signing_key = await keyring.current()
    world.make()
    async with in_transaction():
        await world.save(signing_key, keyring.issuer)
    await partitions.make_weeks(end - PERIOD, end)
    for batch in Traffic(world.costs, records, micros(end - PERIOD), micros(end), chance).batches():
        await _write(batch)
        told(len(batch.records))


class _World:
    """Everything that calls refer to; made first, and then saved kind by kind."""

    def __init__(self, scale: Scale, chance: random.Random, since: datetime, password_hash: str) -> None:
        self.costs: dict[str, Amount] = {}
        self._scale = scale
        self._chance = chance
        self._since = since
        self._password_hash = password_hash
        self._nanoseconds = micros(since) * 1000
        self._rows: dict[type[Model], list[Any]] = {}

    def make(self) -> None:
        number = self._scale.users
        self._owner = self._user(OWNER, "Olga Owner")
        self._users = [self._user(f"user{n}@seed.example.com", f"User {n}") for n in range(1, number + 1)]
        for place in range(1, self._scale.projects + 1):
            self._project(place)

    async def save(self, signing_key: SigningKey, issuer: str) -> None:
        """In the order in which they refer to each other."""
        for kind in (User, Project, ProjectNode, Role, Grant, Member, MemberRole, Template, TemplateField, KeyRequest):
            await _save(self._rows[kind])
        keys = self._rows[IssuedKey]
        await _save(keys)
        await _save([generation_of(key, signing_key, issuer, key.received_at) for key in keys])

    def _add(self, kind: type[Row], prefix: str = "", **columns: Any) -> Row:
        if prefix:
            self._nanoseconds += 1_000_000
            columns["id"] = id_of(prefix, self._nanoseconds, self._chance.getrandbits(62))
        row = kind(**columns)
        self._rows.setdefault(kind, []).append(row)
        return row

    def _user(self, email: str, name: str) -> User:
        account = {"email": email, "email_folded": fold(email), "password_hash": self._password_hash}
        return self._add(User, "usr", created_at=self._since, **account, **named(name))

    def _project(self, place: int) -> None:
        made = {"created_at": self._since}
        project = self._add(
            Project, "prj", currency="USD", description="Made to look used.", **made, **named(f"Project {place}")
        )
        nodes = [
            self._add(ProjectNode, "nod", project_id=project.id, upstream_id=name, **made, **named(f"The {name}"))
            for name in ("input", "output")
        ]
        owners = self._role(project, "owner", Decimal(1), EVERYTHING, is_owner=True)
        member = self._add(Member, "mem", project_id=project.id, user_id=self._owner.id, **made)
        self._add(MemberRole, member_id=member.id, role_id=owners.id)
        roles = [self._role(project, name, coefficient, CALLER) for name, coefficient in COEFFICIENTS.items()]
        for position in range(self._scale.templates_per_project):
            role = roles[position % len(roles)]
            template = self._template(project, role, position)
            self._fields(template, project, nodes)
            self._keys(template, role)

    def _role(
        self,
        project: Project,
        name: str,
        coefficient: Decimal,
        permissions: Sequence[Permission] | frozenset[Permission],
        *,
        is_owner: bool = False,
    ) -> Role:
        columns = {"cost_coefficient": coefficient, "is_owner": is_owner, "created_at": self._since}
        role = self._add(Role, "rol", project_id=project.id, **columns, **named(name))
        for permission in sorted(permissions):
            self._add(Grant, role_id=role.id, permission=permission.value)
        return role

    def _template(self, project: Project, role: Role, position: int) -> Template:
        columns = {"price_per_request": Decimal(self._chance.randrange(1, 50_000)).scaleb(-6), "position": position}
        about = {"description": "For programs that ask now and then.", "created_at": self._since}
        return self._add(
            Template,
            "tpl",
            project_id=project.id,
            role_id=role.id,
            **columns,
            **about,
            **named(f"Template {position + 1}"),
        )

    def _fields(self, template: Template, project: Project, nodes: Sequence[ProjectNode]) -> None:
        values = {"project ID": (project.id, None), "input node ID": ("", nodes[0]), "output node ID": ("", nodes[1])}
        for position, (name, (value, node)) in enumerate(values.items()):
            columns = {"value": value, "node_id": node and node.id, "position": position, "created_at": self._since}
            self._add(TemplateField, "fld", template_id=template.id, name=name, **columns)

    def _keys(self, template: Template, role: Role) -> None:
        """Each template's keys are of the users who follow those of the template before."""
        issued = self._scale.keys_per_template
        for place in range(issued + PENDING_PER_TEMPLATE):
            user = self._users[(template.position * issued + place) % len(self._users)]
            whose = {"project_id": template.project_id, "template_id": template.id, "user_id": user.id}
            if place < issued:
                self._key(template, role, whose)
            else:
                self._add(KeyRequest, "req", requested_at=self._since + PERIOD - timedelta(hours=place), **whose)

    def _key(self, template: Template, role: Role, whose: dict[str, Any]) -> None:
        decided = {"requested_at": self._since, "decided_at": self._since, "decided_by_id": self._owner.id}
        request = self._add(KeyRequest, "req", state=RequestState.APPROVED, **decided, **whose)
        key = self._add(
            IssuedKey,
            "key",
            request_id=request.id,
            role_id=role.id,
            received_at=self._since,
            **named(template.name),
            **whose,
        )
        self.costs[key.id] = Amount.of(cost(template.price_per_request, role.cost_coefficient))


async def _save(rows: list[Row]) -> None:
    if rows:
        await type(rows[0]).bulk_create(rows, batch_size=ROWS_AT_ONCE)


async def _write(batch: Batch) -> None:
    """All of a batch or nothing: by COPY on PostgreSQL, on SQLite by one statement for many rows."""
    if connection().capabilities.dialect == "sqlite":
        async with in_transaction() as database:
            for table, columns, rows in _tables(batch):
                places = ", ".join("?" * len(columns))
                await database.execute_many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)
        return
    async with connection().acquire_connection() as holder, holder.transaction():
        for table, columns, rows in _tables(batch):
            await holder.copy_records_to_table(table, records=rows, columns=columns)


def _tables(batch: Batch) -> Iterator[tuple[str, tuple[str, ...], list[Any]]]:
    yield "usage_records", RECORD, batch.records
    for bucket, rows in zip(BUCKETS, (batch.days, batch.months, batch.hours), strict=True):
        yield bucket.table, ("key_id", bucket.column, *COUNTS), rows
