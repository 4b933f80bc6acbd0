"""What each mutation does: what is asked of its payload, what that then says, and the events that were told of it.

The caller and the input are those of tests/permission_table.py; who asks is the owner, unless named.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.callers import Scene


@dataclass(frozen=True)
class Success:
    selection: str
    payload: dict[str, Any] | Callable[[Scene], dict[str, Any]]
    events: tuple[str, ...]
    caller: str = "owner"

    def told(self, scene: Scene) -> dict[str, Any]:
        return self.payload if isinstance(self.payload, dict) else self.payload(scene)


DECIDED = "request { state decidedBy { name } reason issuedKey { name state expiresAt user { name } role { name } } }"
FIELDS = "template { version fields { name value } }"

SUCCESSES = {
    "signIn": Success("user { name }", {"user": {"name": "owner"}}, ("session.begun",), "anonymous"),
    "signUp": Success("user { name }", {"user": {"name": "New"}}, ("user.created", "session.begun"), "anonymous"),
    "signOut": Success("", {}, ()),
    "passwordChange": Success("user { name }", {"user": {"name": "owner"}}, ("user.password_changed", "session.begun")),
    "projectCreate": Success(
        "project { name description currency upstreamUrl deletedAt roles { name permissions } }",
        {
            "project": {
                "name": "Another",
                "description": "",
                "currency": "USD",
                "upstreamUrl": None,
                "deletedAt": None,
                "roles": [
                    {
                        "name": "owner",
                        "permissions": [
                            "PROJECT_VIEW",
                            "PROJECT_EDIT",
                            "PROJECT_MANAGE",
                            "GRAPH_VIEW",
                            "GRAPH_EDIT",
                            "CODE_VIEW",
                            "CODE_EDIT",
                            "INTERFACE_MANAGE",
                            "PACKAGE_VIEW",
                            "PACKAGE_CREATE",
                            "PACKAGE_DELETE",
                            "KEYS_VIEW",
                        ],
                    }
                ],
            }
        },
        ("project.created",),
    ),
    "projectUpdate": Success(
        "project { name upstreamUrl }",
        {"project": {"name": "Charts", "upstreamUrl": "https://maps.example/v1"}},
        ("project.updated",),
    ),
    "projectUpdate(url)": Success(
        "project { name upstreamUrl }", {"project": {"name": "Maps", "upstreamUrl": None}}, ("project.updated",)
    ),
    "projectDelete": Success(
        "deletedId",
        lambda scene: {"deletedId": scene.project.id},
        ("request.cancelled", *["key.revoked"] * 4, "project.deleted"),
    ),
    "projectSetRouteRules": Success(
        "project { routeRules { method pattern permission } }",
        {
            "project": {
                "routeRules": [{"method": "POST", "pattern": "/jobs/{node}", "permission": "PACKAGE_CREATE"}],
            }
        },
        ("project.updated",),
    ),
    "projectNodeCreate": Success(
        "projectNode { name deletedAt }", {"projectNode": {"name": "Output", "deletedAt": None}}, ("node.created",)
    ),
    "projectNodeUpdate": Success(
        "projectNode { name version }", {"projectNode": {"name": "Renamed", "version": 2}}, ("node.updated",)
    ),
    "projectNodeDelete": Success("deletedId", lambda scene: {"deletedId": scene.node.id}, ("node.deleted",)),
    "roleCreate": Success(
        "role { name description costCoefficient isPublic permissions nodePermissions { permissions } version }",
        {
            "role": {
                "name": "Guest",
                "description": "",
                "costCoefficient": "1",
                "isPublic": False,
                "permissions": [],
                "nodePermissions": [],
                "version": 1,
            }
        },
        ("role.created",),
    ),
    "roleUpdate": Success(
        "role { name description version permissions }",
        {"role": {"name": "spare", "description": "For guests.", "version": 2, "permissions": ["PROJECT_VIEW"]}},
        ("role.updated",),
    ),
    "roleDelete": Success("deletedId", lambda scene: {"deletedId": scene.spare.id}, ("role.deleted",)),
    "memberSetRoles": Success(
        "member { user { name } roles { name } }",
        {"member": {"user": {"name": "stranger"}, "roles": [{"name": "spare"}]}},
        ("member.added",),
    ),
    "memberSetRoles(owner)": Success(
        "member { user { name } roles { name } }",
        {"member": {"user": {"name": "viewer"}, "roles": [{"name": "owner"}]}},
        ("member.updated",),
    ),
    "templateCreate": Success(
        "template { name description role { name } pricePerRequest { amount currency } fields { id } version }",
        {
            "template": {
                "name": "Pro",
                "description": "",
                "role": {"name": "spare"},
                "pricePerRequest": {"amount": "0", "currency": "USD"},
                "fields": [],
                "version": 1,
            }
        },
        ("template.created",),
    ),
    "templateUpdate": Success(
        "template { name pricePerRequest { amount } version }",
        {"template": {"name": "Basic", "pricePerRequest": {"amount": "0.25"}, "version": 2}},
        ("template.updated",),
    ),
    "templateDelete": Success("deletedId", lambda scene: {"deletedId": scene.template.id}, ("template.deleted",)),
    "templateFieldAdd": Success(
        FIELDS,
        lambda scene: {
            "template": {
                "version": 2,
                "fields": [
                    {"name": "project ID", "value": scene.project.id},
                    {"name": "input node ID", "value": scene.node.upstream_id},
                ],
            }
        },
        ("template.updated",),
    ),
    "templateFieldUpdate": Success(
        FIELDS, {"template": {"version": 2, "fields": [{"name": "project ID", "value": "42"}]}}, ("template.updated",)
    ),
    "templateFieldDelete": Success(FIELDS, {"template": {"version": 2, "fields": []}}, ("template.updated",)),
    "keyRequestCreate": Success(
        "request { state note user { name } template { name viewerState } issuedKey { id } decidedAt }",
        {
            "request": {
                "state": "PENDING",
                "note": "Please.",
                "user": {"name": "viewer"},
                "template": {"name": "Free", "viewerState": "REQUESTED"},
                "issuedKey": None,
                "decidedAt": None,
            }
        },
        ("request.created",),
        "viewer",
    ),
    "keyRequestCancel": Success(
        "request { state reason }",
        {"request": {"state": "CANCELLED", "reason": None}},
        ("request.cancelled",),
        "holder",
    ),
    "keyRequestApprove": Success(
        DECIDED,
        {
            "request": {
                "state": "APPROVED",
                "decidedBy": {"name": "owner"},
                "reason": None,
                "issuedKey": {
                    "name": "Managing",
                    "state": "ACTIVE",
                    "expiresAt": None,
                    "user": {"name": "holder"},
                    "role": {"name": "manager"},
                },
            }
        },
        ("key.issued", "request.approved"),
    ),
    "keyRequestReject": Success(
        DECIDED,
        {
            "request": {
                "state": "REJECTED",
                "decidedBy": {"name": "owner"},
                "reason": "Not now.",
                "issuedKey": None,
            }
        },
        ("request.rejected",),
    ),
    "keyReveal": Success("issuedKey { state }", {"issuedKey": {"state": "ACTIVE"}}, (), "holder"),
    "keyRotate": Success("issuedKey { state }", {"issuedKey": {"state": "ACTIVE"}}, ("key.rotated",), "holder"),
    "keyRevoke": Success(
        "issuedKey { state revokedBy { name } }",
        {"issuedKey": {"state": "REVOKED", "revokedBy": {"name": "owner"}}},
        ("key.revoked",),
    ),
    "keySuspend": Success("issuedKey { state }", {"issuedKey": {"state": "SUSPENDED"}}, ("key.suspended",)),
    "keyResume": Success("issuedKey { state }", {"issuedKey": {"state": "ACTIVE"}}, ("key.resumed",)),
    "keyImport": Success(
        "secrets { name importedFrom { name } }",
        {
            "secrets": [
                {"name": "maps_token", "importedFrom": {"name": "Basic"}},
                {"name": "maps_project_ID", "importedFrom": {"name": "Basic"}},
            ]
        },
        ("secret.created", "secret.created"),
    ),
    "usageReport": Success("counted repeated", {"counted": 1, "repeated": 0}, ()),
    "secretCreate": Success(
        "secret { name description importedFrom { id } }",
        {"secret": {"name": "password", "description": "", "importedFrom": None}},
        ("secret.created",),
    ),
    "secretUpdate": Success(
        "secret { name version }", {"secret": {"name": "token", "version": 2}}, ("secret.updated",)
    ),
    "secretDelete": Success("deletedId", lambda scene: {"deletedId": scene.secret.id}, ("secret.deleted",)),
    "secretReveal": Success("value secret { name }", {"value": "hush", "secret": {"name": "token"}}, ()),
}
