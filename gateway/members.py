"""Members: who holds which roles on a project."""

from collections.abc import Sequence
from dataclasses import dataclass

from tortoise.expressions import Q
from tortoise.transactions import in_transaction

from gateway import audit, clock, events
from gateway.attempts import LOOK_UP_PER_USER, Attempts
from gateway.errors import Conflict, Forbidden, NotFound
from gateway.pages import Listing, Page, Slice, of_each
from gateway.permissions import Actor, Permission, Rights, projects_with, require
from gateway.sealing import Sealer
from models import Member, MemberRole, Role, User
from models.fields import fold


@dataclass(frozen=True)
class UserRef:
    """A user, named by id or by e-mail."""

    user_id: str | None = None
    email: str | None = None

    @property
    def path(self) -> list[str]:
        return ["user", "userId" if self.email is None else "email"]

    def of(self, prefix: str) -> Q:
        """Rows of this user, whose columns begin with the prefix."""
        if self.email is None:
            return Q(**{f"{prefix}id": self.user_id or ""})
        return Q(**{f"{prefix}email_folded": fold(self.email.strip())})


# Who sees which


async def visible(actor: Actor, member_ids: Sequence[str]) -> dict[str, Member]:
    managed = projects_with(actor, {Permission.PROJECT_MANAGE})
    return {
        member.id: member for member in await Member.filter(id__in=member_ids, project_id__in=managed, deleted_at=None)
    }


async def managed(actor: Actor, member_id: str) -> Member:
    """A member, or one who was, of a project that the actor manages. Raises NotFound."""
    projects = projects_with(actor, {Permission.PROJECT_MANAGE})
    member = await Member.get_or_none(id=member_id, project_id__in=projects)
    if member is None:
        raise NotFound("There is no such member, or none that may still be seen.")
    return member


async def pages_of_projects(
    actor: Actor, project_ids: Sequence[str], part: Slice, sealer: Sealer
) -> dict[str, Page[Member]]:
    """The members of each project, the newest first; of those alone that the actor manages."""
    managed = Member.filter(deleted_at=None, project_id__in=projects_with(actor, {Permission.PROJECT_MANAGE}))
    return await of_each(Listing(lambda: managed, ("-id",), "members", sealer), "project_id", project_ids, part)


async def roles(_: Actor, member_ids: Sequence[str]) -> dict[str, list[Role]]:
    """The roles of each member, the oldest first, in one statement."""
    held: dict[str, list[Role]] = {member_id: [] for member_id in member_ids}
    for each in await MemberRole.filter(member_id__in=member_ids).order_by("role_id").select_related("role"):
        held[each.member_id].append(each.role)
    return held


# Changing


async def set_roles(
    actor: Actor, attempts: Attempts, project_id: str, *, user: UserRef, role_ids: Sequence[str]
) -> Member:
    """Gives a user these roles and no others; without any, takes the user off the project.

    Raises NotFound for a user or a role that isn't there, Forbidden where one who is no owner gives or takes ownership,
    Conflict for the last owner, LimitExceeded after too many users that don't exist.
    """
    async with in_transaction():
        locked = await _lock_roles(project_id, role_ids)
        rights = await require(actor, "member.set_roles", project_id)
        wanted = _checked_roles(role_ids, locked)
        member = await Member.filter(user.of("user__"), project_id=project_id, deleted_at=None).first()
        held = {each.role_id for each in await MemberRole.filter(member_id=member.id)} if member else set()
        for owner_role in (role for role in locked if role.is_owner and role.id in held ^ wanted):
            await _require_may_pass_on(rights, owner_role, member if owner_role.id in held else None)
        kind = "member.removed" if not wanted else "member.updated" if member else "member.added"
        if wanted and member is None:
            member = await _new(actor, attempts, project_id, user)
        if member:
            await _set(actor, kind, member, held, wanted)
    if member is None:  # told only now, since a refusal would take back the audit log's entry of the look-up
        raise NotFound("There is no such user." if wanted else "This user is no member of the project.", user.path)
    return member


async def _lock_roles(project_id: str, role_ids: Sequence[str]) -> list[Role]:
    """Those of the roles that live, and the owner role, as they stand until the transaction ends.

    The owner role is always locked: of two who would together leave a project without an owner, one waits here.
    """
    living = Role.filter(Q(id__in=role_ids) | Q(is_owner=True), project_id=project_id, deleted_at=None)
    return await living.order_by("id").select_for_update()


def _checked_roles(role_ids: Sequence[str], living: Sequence[Role]) -> set[str]:
    known = {role.id for role in living}
    for index, role_id in enumerate(role_ids):
        if role_id not in known:
            raise NotFound("The project has no such role.", ["roleIds", str(index)])
    return set(role_ids)


async def _require_may_pass_on(rights: Rights, owner_role: Role, leaving: Member | None) -> None:
    """Refuses giving ownership, or taking it from a member. An account that is disabled is no owner who could act."""
    if not rights.is_owner:
        raise Forbidden("Only an owner may give or take ownership.", ["roleIds"])
    others = MemberRole.filter(role_id=owner_role.id, member__user__disabled_at=None)
    if leaving and not await others.exclude(member_id=leaving.id).exists():
        raise Conflict("A project keeps at least one owner.", ["roleIds"])


async def _new(actor: Actor, attempts: Attempts, project_id: str, user: UserRef) -> Member | None:
    """A member to be, of an account that exists; who asks for others too often has to wait."""
    await attempts.spend(LOOK_UP_PER_USER, "look up", actor.user_id)
    found = await User.filter(user.of(""), disabled_at=None).first()
    if found is None:
        await audit.enter(actor, "user.look_up_failed", project_id, project_id, clock.now())
        return None
    await audit.enter(actor, "user.looked_up", found.id, project_id, clock.now())
    return await Member.create(project_id=project_id, user=found)


async def _set(actor: Actor, kind: str, member: Member, held: set[str], wanted: set[str]) -> None:
    if not wanted:
        member.deleted_at = clock.now()
        await member.save(update_fields=["deleted_at"])
    await MemberRole.filter(member_id=member.id, role_id__in=held - wanted).delete()
    await MemberRole.bulk_create([MemberRole(member=member, role_id=role_id) for role_id in sorted(wanted - held)])
    await events.append(actor, kind, member.id, project_id=member.project_id, user_id=member.user_id)
