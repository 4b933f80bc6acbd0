"""The ways into the data plane, each asked in the same manner: none may say what another doesn't.

said = await ENTRANCES["nginx"](house, Call("POST", "/nodes/readings/packages"))
assert said.status == 200
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import httpx2

from tests.gatehouse import Gatehouse

Fields = Sequence[tuple[str, str]]


class Call(NamedTuple):
    """A call of a project's; what isn't given is as it should be."""

    method: str = "GET"
    path: str = "/data_layers"
    """What follows /api/projects/{id}, as it is sent."""
    credential: str | None = None
    """The value of the Authorization field; none is sent where it is empty."""
    project: str | None = None
    """The project that is called, existing or not."""
    headers: Fields = ()


class Said(NamedTuple):
    """What the gateway says to a call: what its caller is answered with in the end."""

    status: int
    answer: httpx2.Response


Entrance = Callable[[Gatehouse, Call], Awaitable[Said]]


async def passed_on(house: Gatehouse, call: Call) -> Said:
    answer = await sent(house, call.method, target_of(house, call), call)
    return Said(answer.status_code, answer)


async def nginx(house: Gatehouse, call: Call) -> Said:
    answer = await as_nginx(house, call, "")
    return Said(answer.status_code, answer)


async def plain_nginx(house: Gatehouse, call: Call) -> Said:
    """Which knows no refusals but 401 and 403, and is told in a field of what kind one is."""
    answer = await as_nginx(house, call, "&deny=403")
    told = answer.headers.get("x-tessera-status")
    assert (answer.status_code == 403) if told else (answer.status_code in {200, 401, 403})
    return Said(int(told or answer.status_code), answer)


async def traefik(house: Gatehouse, call: Call) -> Said:
    told = [("X-Forwarded-Method", call.method), ("X-Forwarded-Uri", target_of(house, call))]
    answer = await sent(house, "GET", f"{authorize_path(house, call)}?from=forwarded", call, told)
    return Said(answer.status_code, answer)


async def envoy(house: Gatehouse, call: Call) -> Said:
    answer = await sent(house, call.method, authorize_path(house, call) + target_of(house, call), call)
    return Said(answer.status_code, answer)


async def as_nginx(house: Gatehouse, call: Call, options: str) -> httpx2.Response:
    told = [("X-Original-Method", call.method), ("X-Original-URI", target_of(house, call))]
    return await sent(house, "GET", f"{authorize_path(house, call)}?from=original{options}", call, told)


async def sent(house: Gatehouse, method: str, target: str, call: Call, told: Fields = ()) -> httpx2.Response:
    """The target goes on the request line as it is; a client would tidy it up."""
    credential = f"Bearer {house.token}" if call.credential is None else call.credential
    own = [("Authorization", credential)] if credential else []
    request = house.client.build_request(
        method, "/", headers=[*own, *call.headers, *told], extensions={"target": target.encode()}
    )
    return await house.client.send(request)


def target_of(house: Gatehouse, call: Call) -> str:
    return f"/api/projects/{call.project or house.project.id}{call.path}"


def authorize_path(house: Gatehouse, call: Call) -> str:
    return f"/authorize/{call.project or house.project.id}"


ENTRANCES: dict[str, Entrance] = {
    "passed on": passed_on,
    "nginx": nginx,
    "nginx that knows 403 alone": plain_nginx,
    "Traefik": traefik,
    "Envoy": envoy,
}
