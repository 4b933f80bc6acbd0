"""Projects of any number of tiles, put straight into the tables of a gateway that serves already."""

from decimal import Decimal
from itertools import product
from typing import Any

from gateway import clock
from gateway.database import connected
from gateway.permissions import Actor, Permission
from models import IssuedKey, KeyRequest, Project, RequestState, Role, Template, TemplateField, User
from models.fields import named
from tests.world import owned_project, person, role

FIELDS, PENDING, ISSUED = 4, 3, 5


async def seed(database_url: str, owner_email: str, sizes: tuple[int, ...]) -> dict[int, str]:
    """The ids of projects of the owner's with so many templates each, by these numbers."""
    async with connected(database_url):
        owner = Actor(user=await User.get(email=owner_email))
        people = [(await person(f"user{number}")).require_user() for number in range(PENDING + ISSUED)]
        return {size: (await project_of(owner, people, size)).id for size in sizes}


async def project_of(owner: Actor, people: list[User], size: int) -> Project:
    project = await owned_project(owner, "Project")
    reader = await role(project, Permission.PROJECT_VIEW, name="reader", is_public=True)
    templates = [template(project, reader, number) for number in range(size)]
    await Template.bulk_create(templates)
    await TemplateField.bulk_create(field(each, place) for each, place in product(templates, range(FIELDS)))
    asked = [request(each, who, is_pending=place < PENDING) for each in templates for place, who in enumerate(people)]
    await KeyRequest.bulk_create(asked)
    await IssuedKey.bulk_create(key(each, reader) for each in asked if each.state is RequestState.APPROVED)
    return project


def template(project: Project, reader: Role, number: int) -> Template:
    return Template(
        project=project,
        role=reader,
        description=f"Description of template {number}, with a sentence of text.",
        price_per_request=Decimal("0.0025"),
        position=number,
        **named(f"Template {number}"),
    )


def field(template: Template, place: int) -> TemplateField:
    name, description = f"field {place}", f"What field {place} means"
    return TemplateField(
        template_id=template.id, name=name, description=description, value=f"value {place}", position=place
    )


def request(template: Template, who: User, *, is_pending: bool) -> KeyRequest:
    now = clock.now()
    decided: dict[str, Any] = {} if is_pending else {"state": RequestState.APPROVED, "decided_at": now}
    return KeyRequest(template_id=template.id, project_id=template.project_id, user=who, requested_at=now, **decided)


def key(request: KeyRequest, reader: Role) -> IssuedKey:
    return IssuedKey(
        request_id=request.id,
        project_id=request.project_id,
        template_id=request.template_id,
        role=reader,
        user_id=request.user_id,
        received_at=request.requested_at,
        **named("Template"),
    )
