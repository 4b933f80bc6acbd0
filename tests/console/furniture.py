"""What stands on each screen, where a test goes through all of them."""

from decimal import Decimal

from gateway import projects, requests, routes, secrets, templates
from gateway.limits import LimitsWanted
from gateway.permissions import Permission
from gateway.routing import RouteRule
from gateway.templates import FieldValue, NewField
from tests.browsing import Theatre, use
from tests.world import SEALER, issued_key, join, node, person, role, template

LONG = "the rivers, roads and railways of all the world, with contour lines and a name to each"

OPEN = {"/sign-in": "Password", "/sign-up": "Your name", "/projects": "Maps", "/projects/{}": "Basic"}
"""A text on each of the screens that nobody must sign in for."""

SCREENS = {
    "/projects": "Maps",
    "/my-keys": "Basic",
    "/account": "Sessions",
    "/projects/{}": "Basic",
    "/projects/{}/issued": "Cem",
    "/projects/{}/roles": "everyone",
    "/projects/{}/members": "Bo",
    "/projects/{}/secrets": "••",
    "/projects/{}/settings": "/jobs/*",
    "/projects/{}/audit": "today at",
    "/projects/{}/keys": "Please.",
    "/projects/nowhere": "There is nothing here",
}
"""A text on each of the others, as Ada sees them once they are furnished."""


def screens(theatre: Theatre, of: dict[str, str] = SCREENS) -> dict[str, str]:
    return {path.format(theatre.project.id): shown for path, shown in of.items()}


async def furnish(theatre: Theatre) -> None:
    """Puts something onto each screen: a request, keys that were called, a member, a secret, limits, long names."""
    ada, project = theatre.ada, theatre.project
    described = f"Tiles of {'w' * 80} and all that is on them. " * 4
    await projects.update(ada, project.id, {"name": f"Maps of {LONG}", "description": described})
    await requests.create(theatre.bo, theatre.basic.id, "Please.")
    await join(project, theatre.bo, theatre.seeing)
    wanted = LimitsWanted(calls_per_day=1000, cost_per_month=Decimal("0.5"))
    await templates.update(ada, theatre.basic.id, {"limits": wanted, "price_per_request": Decimal("1234.567891")})
    await templates.add_field(ada, theatre.basic.id, NewField("project ID", FieldValue(is_project_id=True), "Which"))
    await use(theatre, {"Cem": 3, "Somebody with a name as long as names of people ever are": 2})
    await issued_key(theatre.basic, ada)
    await requests.create(await person("Dana"), theatre.basic.id, "z" * 200)
    unbroken = await template(
        project, await role(project, Permission.PROJECT_VIEW, name="r" * 100), "t" * 100, position=1
    )
    await templates.add_field(ada, unbroken.id, NewField("f" * 100, FieldValue(literal="v" * 300), LONG))
    await requests.create(ada, unbroken.id, LONG)
    await node(project, "n" * 100)
    await secrets.create(ada, SEALER, project.id, name="MOTTO", value="two words")
    rules = [
        RouteRule("GET", "/jobs/*", Permission.GRAPH_VIEW),
        RouteRule("*", f"/{'w' * 80}/**", Permission.CODE_EDIT),
    ]
    await routes.replace(ada, project.id, rules)
