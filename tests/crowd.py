"""A project with as much of everything as a test wants, in a few statements: to prove what does not grow with it.

crowd = await new_crowd()
await crowd.grow(100)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock
from gateway.permissions import Actor, Permission
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
    Secret,
    Template,
    TemplateField,
    TemplateLimits,
    User,
)
from models.fields import fold, named
from tests.world import ANONYMOUS, join, owned_project, person, role

FIELDS, PENDING, KEYS = 4, 3, 5


@dataclass
class Crowd:
    """Ada owns the project, Ana views its keys, everyone sees it. Bo waits for some of its keys and has others."""

    ada: Actor
    ana: Actor
    bo: Actor
    project: Project
    size: int = 0

    @property
    def callers(self) -> dict[str, Actor]:
        return {"owner": self.ada, "asker": self.bo, "analyst": self.ana, "anonymous": ANONYMOUS}

    async def grow(self, size: int) -> None:
        """Until there are so many templates, each with its own role, limits, fields, pending requests, keys and their
        users; and as many nodes, members and secrets."""
        numbers, self.size = range(self.size, size), size
        here: dict[str, Any] = {"project": self.project}
        roles = [Role(**here, **named(f"Role {number}")) for number in numbers]
        nodes = [ProjectNode(**here, upstream_id=f"n{number}", **named(f"Node {number}")) for number in numbers]
        templates = [
            Template(**here, role_id=each.id, position=number, **named(f"Template {number}"))
            for number, each in zip(numbers, roles, strict=True)
        ]
        await Role.bulk_create(roles)
        await Grant.bulk_create([Grant(role_id=each.id, permission=Permission.PROJECT_VIEW.value) for each in roles])
        await ProjectNode.bulk_create(nodes)
        await Template.bulk_create(templates)
        await TemplateLimits.bulk_create(TemplateLimits(template_id=each.id, calls_per_day=9) for each in templates)
        await TemplateField.bulk_create(
            TemplateField(
                template_id=template.id, name=f"F{place}", value="v", position=place, node_id=node.id if place else None
            )
            for template, node in zip(templates, nodes, strict=True)
            for place in range(FIELDS)
        )
        users = await self._grow_users(numbers)
        await self._grow_requests(templates, users)
        await self._grow_members(roles, users)
        await self._grow_secrets(numbers)

    async def _grow_users(self, numbers: range) -> list[list[User]]:
        """Of each template those who ask for a key or have one."""
        emails = [[f"{number}.{place}@{self.project.id}" for place in range(PENDING + KEYS)] for number in numbers]
        users = [
            [User(email=email, email_folded=fold(email), password_hash="", **named(email)) for email in group]
            for group in emails
        ]
        await User.bulk_create([user for group in users for user in group])
        return users

    async def _grow_requests(self, templates: Sequence[Template], users: Sequence[list[User]]) -> None:
        requests = []
        for template, group in zip(templates, users, strict=True):
            people = list(group)
            if template.position % 3:  # Bo waits for the second template's key, has the third's, and so on
                people[0 if template.position % 3 == 1 else -1] = self.bo.require_user()
            requests += [self._request(template, user, pending=place < PENDING) for place, user in enumerate(people)]
        role_of = {template.id: template.role_id for template in templates}
        await KeyRequest.bulk_create(requests)
        await IssuedKey.bulk_create(
            IssuedKey(
                request_id=each.id,
                project_id=each.project_id,
                template_id=each.template_id,
                role_id=role_of[each.template_id],
                user_id=each.user_id,
                received_at=each.requested_at,
                **named("Basic"),
            )
            for each in requests
            if each.state is RequestState.APPROVED
        )

    def _request(self, template: Template, user: User, *, pending: bool) -> KeyRequest:
        now = clock.now()
        decided: dict[str, Any] = {} if pending else {"state": RequestState.APPROVED, "decided_at": now}
        return KeyRequest(
            project_id=template.project_id, template_id=template.id, user_id=user.id, requested_at=now, **decided
        )

    async def _grow_members(self, roles: Sequence[Role], users: Sequence[list[User]]) -> None:
        members = [Member(project=self.project, user_id=group[0].id) for group in users]
        await Member.bulk_create(members)
        await MemberRole.bulk_create(
            MemberRole(member_id=member.id, role_id=each.id) for member, each in zip(members, roles, strict=True)
        )

    async def _grow_secrets(self, numbers: range) -> None:
        keys = await IssuedKey.filter(project_id=self.project.id).order_by("-id").limit(len(numbers))
        await Secret.bulk_create(
            Secret(project=self.project, name=f"S{number}", imported_from=key)
            for number, key in zip(numbers, keys, strict=True)
        )


async def new_crowd() -> Crowd:
    return await crowd_of(await person("Ada"), await person("Ana"), await person("Bo"))


async def crowd_of(ada: Actor, ana: Actor, bo: Actor) -> Crowd:
    """Another project of the same people."""
    project = await owned_project(ada)
    await role(project, Permission.PROJECT_VIEW, name="Everyone", is_public=True)
    await join(project, ana, await role(project, Permission.PROJECT_VIEW, Permission.KEYS_VIEW, name="Analyst"))
    return Crowd(ada, ana, bo, project)
