"""Members of projects."""

from typing import Annotated

import strawberry

import models
from gateway import members, pages, users
from gateway.members import UserRef
from gateway.permissions import Permission
from schema.context import Info
from schema.declare import (
    argument,
    described,
    given,
    input_type,
    node_type,
    object_type,
    optional,
    reading,
    related,
    related_rows,
    resolved,
)
from schema.mutations import REPEATABLE, USER_ERRORS, UserError, mutation, settle
from schema.nodes import Node
from schema.roles import Role
from schema.users import AFTER, FIRST, User

MEMBERS_ON_A_PAGE = 50


@node_type(models.Member, "A user's membership of a project.")
class Member(Node):
    user: User = resolved(related(users.by_id, "user_id"), "Who it is.")
    roles: list[Role] = resolved(
        related_rows(members.roles, "id"), "The roles that the user was given on the project, the oldest first."
    )


@reading("id")
async def members_of_project(
    root: strawberry.Parent[models.Project],
    info: Info,
    first: Annotated[int | None, FIRST] = MEMBERS_ON_A_PAGE,
    after: Annotated[str | None, AFTER] = strawberry.UNSET,
) -> pages.Page[models.Member] | None:
    if not await info.context.may(Permission.PROJECT_MANAGE, root.id):
        return None
    part = pages.Slice(MEMBERS_ON_A_PAGE if first is None else first, given(after))
    return await info.context.load(members.pages_of_projects, root.id, part, info.context.services.sealer)


@input_type("A user, by id or by e-mail. An unknown one is NOT_FOUND; look-ups are limited and audited.", one_of=True)
class UserRefInput:
    user_id: strawberry.Maybe[strawberry.ID] = described("The user's id.")
    email: strawberry.Maybe[str] = described("The account's e-mail address.")


@input_type(
    "Gives a user these roles on the project; an empty list takes the user off it, and the answer is the member "
    "without roles."
)
class MemberSetRolesInput:
    project_id: strawberry.ID = described("The project.")
    user: UserRefInput = described("Whose roles.")
    role_ids: list[strawberry.ID] = described("Roles of the project, instead of those that the user held.")
    idempotency_key: str | None = optional(REPEATABLE)


@object_type("A member, or why nothing was done.")
class MemberPayload:
    member: Member | None = described("The member as it is now; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


def user_ref(input: UserRefInput) -> UserRef:
    return UserRef(
        user_id=input.user_id.value if input.user_id else None, email=input.email.value if input.email else None
    )


async def member_set_roles(
    info: Info, input: Annotated[MemberSetRolesInput, argument("Who, and which roles.")]
) -> MemberPayload:
    async def act() -> models.Member:
        return await members.set_roles(
            info.context.actor,
            info.context.services.attempts,
            input.project_id,
            user=user_ref(input.user),
            role_ids=input.role_ids,
        )

    async def again(_: Info, ids: list[str]) -> models.Member:
        return await members.managed(info.context.actor, ids[0])

    return await settle(info, input, MemberPayload, "member", act, again)


@object_type("Changing who belongs to a project.")
class MemberMutations:
    member_set_roles: MemberPayload = mutation(
        member_set_roles,
        "Sets a user's roles on a project. Needs PROJECT_MANAGE, in person; only owners give or take ownership, and a "
        "project keeps at least one owner.",
    )
