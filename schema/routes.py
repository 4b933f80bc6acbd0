"""Route rules: what calls need, where a project's API is another than the default."""

from typing import Annotated

import strawberry

import models
from gateway import routes, routing
from gateway.permissions import Permission
from schema.context import Info
from schema.declare import argument, described, given, input_type, object_type, optional, resolved
from schema.mutations import REPEATABLE, mutation, settle
from schema.projects import ProjectPayload

METHOD = "GET, which covers HEAD, or HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or * for all of them."
PATTERN = (
    "What follows /api/projects/{id} in the path, each segment as it reads when decoded, without regard to case. A * "
    "is any one segment, {node} any one as well, and no call is let through where it isn't the id of one of the "
    "project's nodes in the upstream's paths; a last ** is any number of segments, none too."
)
PERMISSION = (
    "What the call needs, on the project; a CODE_* or PACKAGE_* permission where the pattern has {node}, on that node."
)


@object_type("Calls with this method and a path like this pattern need this permission.")
class RouteRule:
    method: str = described(METHOD)
    pattern: str = described(PATTERN)
    permission: Permission = resolved(lambda root: Permission(root.permission), PERMISSION)


@input_type("A route rule.")
class RouteRuleInput:
    method: str = described(METHOD)
    pattern: str = described(f"{PATTERN} At most 1000 characters, 30 segments and one {{node}}.")
    permission: Permission = described(PERMISSION)


@input_type("The route rules that a project shall have.")
class ProjectSetRouteRulesInput:
    project_id: strawberry.ID = described("The project.")
    rules: list[RouteRuleInput] = described(
        "At most 200, instead of those that it has; the first that matches a call decides."
    )
    expected_version: int | None = optional("The version that the change is of; another's edit since is a CONFLICT.")
    idempotency_key: str | None = optional(REPEATABLE)


async def project_set_route_rules(
    info: Info, input: Annotated[ProjectSetRouteRulesInput, argument("The rules.")]
) -> ProjectPayload:
    async def act() -> models.Project:
        rules = [routing.RouteRule(rule.method, rule.pattern, rule.permission) for rule in input.rules]
        return await routes.replace(info.context.actor, input.project_id, rules, given(input.expected_version))

    return await settle(info, input, ProjectPayload, "project", act)


@object_type("Changing route rules.")
class RouteMutations:
    project_set_route_rules: ProjectPayload = mutation(
        project_set_route_rules,
        "Says which permission calls need where the project's API is another than the default. INVALID where a pattern "
        "can match no call, or where earlier rules match every call that it could. Needs PROJECT_MANAGE, in person.",
    )
