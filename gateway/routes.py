"""The route rules of projects whose API is another than the default."""

from collections.abc import Sequence

from tortoise.transactions import in_transaction

import models
from gateway import events, projects
from gateway.errors import Invalid, LimitExceeded, require_version
from gateway.permissions import Actor, permitted, require, require_caller
from gateway.routing import RouteRule, faults, is_method
from models import Project

MOST_RULES = 200
ACTION = "project.set_route_rules"


async def by_project(actor: Actor, project_ids: Sequence[str]) -> dict[str, list[models.RouteRule]]:
    """The rules of each project in their order; the actor must manage it in person, else it is left out."""
    readable = await permitted(actor, ACTION, project_ids)
    rules: dict[str, list[models.RouteRule]] = {project_id: [] for project_id in readable}
    found = models.RouteRule.filter(project_id__in=readable).order_by("position")
    for rule in await found if readable else ():
        rules[rule.project_id].append(rule)
    return rules


async def replace(
    actor: Actor, project_id: str, rules: Sequence[RouteRule], expected_version: int | None = None
) -> Project:
    """Gives the project these rules, in this order, instead of those that it has.

    Raises NotFound, Forbidden, LimitExceeded; Invalid for the first that could never decide; Conflict where somebody
    else changed the project in between.
    """
    require_caller(actor, ACTION)
    async with in_transaction():
        project = await projects.locked(project_id)
        await require(actor, ACTION, project_id)
        require_version(project.version, expected_version, "project")
        _require_sound(rules)
        await models.RouteRule.filter(project_id=project_id).delete()
        await models.RouteRule.bulk_create([_row(project_id, at, rule) for at, rule in enumerate(rules)])
        project.version += 1
        await project.save(update_fields=["version"])
        await events.append(actor, "project.updated", project_id, project_id=project_id)
    return project


def _require_sound(rules: Sequence[RouteRule]) -> None:
    if len(rules) > MOST_RULES:
        raise LimitExceeded(f"There can be at most {MOST_RULES} route rules in a project.", ["rules"])
    for at, sentence in faults(rules):
        raise Invalid(sentence, ["rules", str(at), "pattern" if is_method(rules[at].method) else "method"])


def _row(project_id: str, position: int, rule: RouteRule) -> models.RouteRule:
    columns = {"method": rule.method, "pattern": rule.pattern, "permission": rule.permission.value}
    return models.RouteRule(project_id=project_id, position=position, **columns)
