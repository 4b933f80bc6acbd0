"""What each mutation refuses of those who may use it: the code, the member at fault, and how the input differs.

The input is that of tests/permission_table.py with some members replaced; who asks is the owner, or who stands before a
colon (`holder:`). A member is None where no member is at fault.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from gateway import clock
from models import IssuedKey, KeyState, Role, Secret
from models.fields import named
from models.ids import new_id
from tests.callers import Scene
from tests.permission_table import reported_call
from tests.world import issued_key, node, person, role, template

Change = dict[str, Any] | Callable[[Scene], dict[str, Any] | Awaitable[dict[str, Any]]]

LONG = "x" * 101
LONG_TEXT = "x" * 10_001
LITERAL = {"literal": "1"}
GHOST_NODE = {"nodeId": new_id("nod")}


def ghost(member: str, prefix: str) -> tuple[str, str, Change]:
    """There is no such object."""
    return "NOT_FOUND", member, {member: new_id(prefix)}


async def ended_key(scene: Scene) -> IssuedKey:
    who, now = scene.callers["holder"], clock.now()
    return await issued_key(scene.free, who, state=KeyState.REVOKED, revoked_at=now, revoked_by=who.user)


async def an_ended_key(scene: Scene) -> dict[str, Any]:
    return {"keyId": (await ended_key(scene)).id}


async def an_own_ended_key(scene: Scene) -> dict[str, Any]:
    now = clock.now()
    key = await issued_key(scene.free, scene.owner, state=KeyState.REVOKED, revoked_at=now, revoked_by=scene.owner.user)
    return {"keyId": key.id}


async def an_own_suspended_key(scene: Scene) -> dict[str, Any]:
    now = clock.now()
    key = await issued_key(scene.free, scene.callers["holder"], state=KeyState.SUSPENDED, suspended_at=now)
    return {"keyId": key.id}


async def a_blind_role(scene: Scene) -> dict[str, Any]:
    return {"roleId": (await role(scene.project, name="blind")).id}


async def a_request_for_a_blind_key(scene: Scene) -> dict[str, Any]:
    blind = await template(scene.project, await role(scene.project, name="blinded"), "Blind", position=3)
    key = await issued_key(blind, await person("Eve"))
    await IssuedKey.filter(id=key.id).delete()
    await key.request
    key.request.state, key.request.decided_at = type(key.request.state).PENDING, None
    await key.request.save()
    return {"requestId": key.request_id}


async def an_imported_token(scene: Scene) -> dict[str, Any]:
    made = await Secret.create(project=scene.project, name="maps_token", imported_from=scene.owners_key)
    return {"secretId": made.id}


async def a_secret_in_the_way(scene: Scene) -> dict[str, Any]:
    await Secret.create(project=scene.project, name="taken_token", sealed_value=b"-")
    return {"prefix": "taken"}


async def a_role_with_everything(scene: Scene) -> dict[str, Any]:
    return {"roleId": scene.roles["manager"].id, "isPublic": True}


async def another_nodes_name(scene: Scene) -> dict[str, Any]:
    return {"name": (await node(scene.project, "Occupied")).name}


async def another_node(scene: Scene) -> dict[str, Any]:
    taken = await node(scene.project, "Taken")
    return {"upstreamId": taken.upstream_id}


async def another_role(scene: Scene) -> dict[str, Any]:
    return {"roleId": (await Role.create(project=scene.project, **named("another"))).id, "name": "spare"}


def fields(*names: str, **value: Any) -> dict[str, Any]:
    return {"fields": [{"name": name, "value": value or LITERAL} for name in names]}


def route_rules(*rules: str) -> dict[str, Any]:
    written = [rule.split() for rule in rules]
    return {"rules": [{"method": each[0], "pattern": each[1], "permission": "CODE_VIEW"} for each in written]}


def on_node(scene: Scene, permission: str) -> dict[str, Any]:
    return {"nodePermissions": [{"projectNodeId": scene.node.id, "permissions": [permission]}]}


def two_calls(scene: Scene, **members: Any) -> dict[str, Any]:
    """One that could be counted, and one that is so."""
    return {"calls": [reported_call(scene), reported_call(scene, **members)]}


REFUSALS: dict[str, list[tuple[str, str | None, Change]]] = {
    "signIn": [
        ("INVALID", None, {"password": "wrong horse"}),
        ("INVALID", None, {"email": "nobody@example.org"}),
        ("INVALID", None, {"email": "no e-mail at all"}),
    ],
    "signUp": [
        ("INVALID", "email", {"email": "no e-mail at all"}),
        ("INVALID", "name", {"name": " "}),
        ("INVALID", "password", {"password": "short"}),
        ("CONFLICT", "email", lambda scene: {"email": scene.owner.require_user().email.upper()}),
    ],
    "signOut": [],
    "passwordChange": [
        ("INVALID", "currentPassword", {"currentPassword": "wrong horse"}),
        ("INVALID", "newPassword", {"newPassword": "short"}),
    ],
    "projectCreate": [
        ("INVALID", "name", {"name": "  "}),
        ("INVALID", "name", {"name": LONG}),
        ("INVALID", "description", {"description": LONG_TEXT}),
        ("INVALID", "currency", {"currency": "EURO"}),
        ("INVALID", "upstreamUrl", {"upstreamUrl": "ftp://maps.example"}),
    ],
    "projectUpdate": [
        ghost("projectId", "prj"),
        ("INVALID", "name", {"name": None}),
        ("INVALID", "name", {"name": LONG}),
        ("INVALID", "description", {"description": LONG_TEXT}),
        ("INVALID", "upstreamUrl", {"upstreamUrl": "maps.example"}),
        ("CONFLICT", "expectedVersion", {"expectedVersion": 7}),
    ],
    "projectDelete": [ghost("projectId", "prj")],
    "projectSetRouteRules": [
        ghost("projectId", "prj"),
        ("INVALID", "rules.1.method", route_rules("GET /a", "get /b")),
        ("INVALID", "rules.1.pattern", route_rules("GET /a", "POST b")),
        ("INVALID", "rules.2.pattern", route_rules("GET /a", "GET /*", "HEAD /b", "GET /**/c")),
        ("CONFLICT", "expectedVersion", {"expectedVersion": 7}),
        ("LIMIT_EXCEEDED", "rules", route_rules(*(f"GET /{number}" for number in range(201)))),
    ],
    "projectNodeCreate": [
        ghost("projectId", "prj"),
        ("INVALID", "name", {"name": ""}),
        ("CONFLICT", "name", {"name": "Input"}),
        ("INVALID", "upstreamId", {"upstreamId": "a/b"}),
        ("CONFLICT", "upstreamId", another_node),
    ],
    "projectNodeUpdate": [
        ghost("projectNodeId", "nod"),
        ("INVALID", "name", {"name": None}),
        ("INVALID", "name", {"name": LONG}),
        ("CONFLICT", "name", another_nodes_name),
        ("CONFLICT", "expectedVersion", {"expectedVersion": 7}),
    ],
    "projectNodeDelete": [ghost("projectNodeId", "nod")],
    "roleCreate": [
        ghost("projectId", "prj"),
        ("INVALID", "name", {"name": ""}),
        ("CONFLICT", "name", {"name": "spare"}),
        ("INVALID", "description", {"description": LONG_TEXT}),
        ("INVALID", "costCoefficient", {"costCoefficient": "-0.0001"}),
        ("INVALID", "costCoefficient", {"costCoefficient": "10000"}),
        ("INVALID", "costCoefficient", {"costCoefficient": "0.00001"}),
        ("INVALID", "permissions.1", {"isPublic": True, "permissions": ["PROJECT_VIEW", "KEYS_VIEW"]}),
        (
            "NOT_FOUND",
            "nodePermissions.0.projectNodeId",
            {"nodePermissions": [{"projectNodeId": "nod_", "permissions": []}]},
        ),
        ("INVALID", "nodePermissions.0.permissions.0", lambda scene: on_node(scene, "PROJECT_VIEW")),
        ("INVALID", "nodePermissions.0.permissions.0", lambda scene: on_node(scene, "CODE_EDIT") | {"isPublic": True}),
    ],
    "roleUpdate": [
        ghost("roleId", "rol"),
        ("CONFLICT", "roleId", lambda scene: {"roleId": scene.roles["owner"].id}),
        ("CONFLICT", "expectedVersion", {"expectedVersion": 7}),
        ("CONFLICT", "name", another_role),
        ("INVALID", "name", {"name": None}),
        ("INVALID", "costCoefficient", {"costCoefficient": None}),
        ("INVALID", "isPublic", {"isPublic": None}),
        ("INVALID", "permissions", {"permissions": None}),
        ("INVALID", "isPublic", a_role_with_everything),
    ],
    "roleDelete": [
        ghost("roleId", "rol"),
        ("CONFLICT", "roleId", lambda scene: {"roleId": scene.roles["owner"].id}),
        ("CONFLICT", "roleId", lambda scene: {"roleId": scene.roles["viewer"].id}),
    ],
    "memberSetRoles": [
        ghost("projectId", "prj"),
        ("NOT_FOUND", "roleIds.1", lambda scene: {"roleIds": [scene.spare.id, "rol_"]}),
        ("NOT_FOUND", "user.userId", {"roleIds": []}),
        ("CONFLICT", "roleIds", lambda scene: {"user": {"userId": scene.owner.user_id}}),
        ("FORBIDDEN", "manager:roleIds", lambda scene: {"user": {"userId": scene.owner.user_id}}),
    ],
    "templateCreate": [
        ghost("projectId", "prj"),
        ghost("roleId", "rol"),
        ("INVALID", "roleId", a_blind_role),
        ("INVALID", "name", {"name": LONG}),
        ("CONFLICT", "name", {"name": "Basic"}),
        ("INVALID", "description", {"description": LONG_TEXT}),
        ("INVALID", "pricePerRequest", {"pricePerRequest": "-0.000001"}),
        ("INVALID", "pricePerRequest", {"pricePerRequest": "1000000"}),
        ("INVALID", "pricePerRequest", {"pricePerRequest": "0.0000001"}),
        ("INVALID", "limits.burst", {"limits": {"burst": 5}}),
        ("INVALID", "limits.callsPerDay", {"limits": {"callsPerDay": -1}}),
        ("INVALID", "fields.1.name", fields("a", " ")),
        ("CONFLICT", "fields.1.name", fields("a", "a")),
        ("INVALID", "fields.0.value.literal", fields("a", literal=LONG_TEXT)),
        ("NOT_FOUND", "fields.0.value.nodeId", fields("a", **GHOST_NODE)),
        ("LIMIT_EXCEEDED", "fields", fields(*map(str, range(51)))),
    ],
    "templateUpdate": [
        ghost("templateId", "tpl"),
        ghost("roleId", "rol"),
        ("INVALID", "limits.callsPerSecond", {"limits": {"callsPerSecond": 0}}),
        ("INVALID", "limits.costPerMonth", {"limits": {"costPerMonth": "0.00000000001"}}),
        ("CONFLICT", "expectedVersion", {"expectedVersion": 7}),
        ("CONFLICT", "name", {"name": "Free"}),
        ("INVALID", "name", {"name": None}),
        ("INVALID", "roleId", {"roleId": None}),
        ("INVALID", "pricePerRequest", {"pricePerRequest": None}),
        ("INVALID", "position", {"position": None}),
        ("INVALID", "position", {"position": -1}),
    ],
    "templateDelete": [ghost("templateId", "tpl")],
    "templateFieldAdd": [
        ghost("templateId", "tpl"),
        ("INVALID", "field.name", {"field": {"name": "", "value": LITERAL}}),
        ("CONFLICT", "field.name", {"field": {"name": "project ID", "value": LITERAL}}),
        ("NOT_FOUND", "field.value.nodeId", {"field": {"name": "a", "value": GHOST_NODE}}),
    ],
    "templateFieldUpdate": [
        ghost("fieldId", "fld"),
        ("INVALID", "name", {"name": None}),
        ("INVALID", "value", {"value": None}),
        ("CONFLICT", "expectedVersion", {"expectedVersion": 7}),
        ("NOT_FOUND", "value.nodeId", {"value": GHOST_NODE}),
        ("INVALID", "position", {"position": -1}),
        ("INVALID", "position", {"position": None}),
    ],
    "templateFieldDelete": [ghost("fieldId", "fld")],
    "keyRequestCreate": [
        ghost("templateId", "tpl"),
        ("CONFLICT", "templateId", lambda scene: {"templateId": scene.template.id}),
        ("CONFLICT", "key:templateId", lambda scene: {"templateId": scene.pending.template_id}),
        ("INVALID", "note", {"note": "x" * 2001}),
    ],
    "keyRequestCancel": [
        ghost("requestId", "req"),
        ("CONFLICT", "holder:requestId", lambda scene: {"requestId": scene.key.request_id}),
        ("FORBIDDEN", "requestId", {}),
    ],
    "keyRequestApprove": [
        ghost("requestId", "req"),
        ("INVALID", "expiresAt", {"expiresAt": "2020-01-01T00:00:00Z"}),
        ("CONFLICT", "requestId", lambda scene: {"requestId": scene.key.request_id}),
        ("CONFLICT", "requestId", a_request_for_a_blind_key),
    ],
    "keyRequestReject": [
        ghost("requestId", "req"),
        ("INVALID", "reason", {"reason": "  "}),
        ("INVALID", "reason", {"reason": "x" * 2001}),
        ("CONFLICT", "requestId", lambda scene: {"requestId": scene.key.request_id}),
    ],
    "keyReveal": [
        ghost("keyId", "key"),
        ("FORBIDDEN", "keyId", {}),
        ("CONFLICT", "holder:keyId", an_ended_key),
    ],
    "keyRotate": [
        ghost("keyId", "key"),
        ("FORBIDDEN", "keyId", {}),
        ("INVALID", "holder:overlapSeconds", {"overlapSeconds": -1}),
        ("INVALID", "holder:overlapSeconds", {"overlapSeconds": 2_592_001}),
        ("CONFLICT", "holder:keyId", an_ended_key),
        ("CONFLICT", "holder:keyId", an_own_suspended_key),
    ],
    "keyRevoke": [ghost("keyId", "key"), ("CONFLICT", "keyId", an_ended_key)],
    "keySuspend": [
        ghost("keyId", "key"),
        ("CONFLICT", "keyId", lambda scene: {"keyId": scene.suspended.id}),
        ("CONFLICT", "keyId", an_ended_key),
    ],
    "keyResume": [ghost("keyId", "key"), ("CONFLICT", "keyId", lambda scene: {"keyId": scene.key.id})],
    "keyImport": [
        ghost("projectId", "prj"),
        ghost("keyId", "key"),
        ("NOT_FOUND", "keyId", lambda scene: {"keyId": scene.key.id}),
        ("CONFLICT", "keyId", an_own_ended_key),
        ("CONFLICT", "prefix", a_secret_in_the_way),
        ("INVALID", "prefix", {"prefix": ""}),
        ("INVALID", "prefix", {"prefix": "ma-ps"}),
    ],
    "usageReport": [
        ghost("projectId", "prj"),
        ("LIMIT_EXCEEDED", "calls", lambda scene: {"calls": [reported_call(scene)] * 1001}),
        ("NOT_FOUND", "calls.1.keyId", lambda scene: two_calls(scene, keyId=new_id("key"))),
        ("INVALID", "calls.1.id", lambda scene: two_calls(scene, id="")),
        ("INVALID", "calls.1.id", lambda scene: two_calls(scene, id="x" * 129)),
        ("INVALID", "calls.1.calledAt", lambda scene: two_calls(scene, calledAt="2020-01-01T00:00:00Z")),
        ("INVALID", "calls.1.calledAt", lambda scene: two_calls(scene, calledAt="2100-01-01T00:00:00Z")),
        ("CONFLICT", "calls.1.id", lambda scene: two_calls(scene, keyId=scene.owners_key.id)),
    ],
    "secretCreate": [
        ghost("projectId", "prj"),
        ("INVALID", "name", {"name": "pass-word"}),
        ("INVALID", "name", {"name": "ключ"}),
        ("CONFLICT", "name", {"name": "token"}),
        ("INVALID", "value", {"value": ""}),
        ("INVALID", "description", {"description": LONG_TEXT}),
    ],
    "secretUpdate": [
        ghost("secretId", "sec"),
        ("INVALID", "name", {"name": None}),
        ("INVALID", "value", {"value": None}),
        ("CONFLICT", "expectedVersion", {"expectedVersion": 7}),
        ("CONFLICT", "value", an_imported_token),
    ],
    "secretDelete": [ghost("secretId", "sec")],
    "secretReveal": [ghost("secretId", "sec")],
}


async def changed(scene: Scene, change: Change) -> dict[str, Any]:
    if isinstance(change, dict):
        return change
    made = change(scene)
    return await made if isawaitable(made) else made
