"""Who may do and see what: the whole of it, to be read by people.

A caller is answered `yes`; `denied` (FORBIDDEN), where the object may be seen; `absent` (NOT_FOUND, or null with what
it belongs to), as if it did not exist; `null`, `empty`; `nobody` (UNAUTHENTICATED). Who the callers are stands in
tests/callers.py. What comes in brackets is the case.
"""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.callers import PASSWORD, Scene

MUTATIONS = """
                       anonymous stranger viewer analyst editor manager owner  holder key    managing_key
signIn                 yes       yes      yes    yes     yes    yes     yes    yes    denied denied
signUp                 yes       yes      yes    yes     yes    yes     yes    yes    denied denied
signOut                nobody    yes      yes    yes     yes    yes     yes    yes    denied denied
passwordChange         nobody    yes      yes    yes     yes    yes     yes    yes    denied denied

projectCreate          nobody    yes      yes    yes     yes    yes     yes    yes    denied denied
projectUpdate          nobody    absent   denied denied  yes    yes     yes    absent denied denied
projectUpdate(url)     nobody    absent   denied denied  denied yes     yes    absent denied denied
projectDelete          nobody    absent   denied denied  denied yes     yes    absent denied denied
projectSetRouteRules   nobody    absent   denied denied  denied yes     yes    absent denied denied
projectNodeCreate      nobody    absent   denied denied  yes    yes     yes    absent denied denied
projectNodeUpdate      nobody    absent   denied denied  yes    yes     yes    absent denied denied
projectNodeDelete      nobody    absent   denied denied  yes    yes     yes    absent denied denied

roleCreate             nobody    absent   denied denied  denied yes     yes    absent denied denied
roleUpdate             nobody    absent   denied denied  denied yes     yes    absent denied denied
roleDelete             nobody    absent   denied denied  denied yes     yes    absent denied denied
memberSetRoles         nobody    absent   denied denied  denied yes     yes    absent denied denied
memberSetRoles(owner)  nobody    absent   denied denied  denied denied  yes    absent denied denied

templateCreate         nobody    absent   denied denied  denied yes     yes    absent denied yes
templateUpdate         nobody    absent   denied denied  denied yes     yes    absent denied yes
templateDelete         nobody    absent   denied denied  denied yes     yes    absent denied yes
templateFieldAdd       nobody    absent   denied denied  denied yes     yes    absent denied yes
templateFieldUpdate    nobody    absent   denied denied  denied yes     yes    absent denied yes
templateFieldDelete    nobody    absent   denied denied  denied yes     yes    absent denied yes

keyRequestCreate       nobody    absent   yes    yes     yes    yes     yes    absent yes    yes
keyRequestCancel       nobody    absent   absent denied  absent denied  denied yes    yes    denied
keyRequestApprove      nobody    absent   absent denied  absent yes     yes    denied denied yes
keyRequestReject       nobody    absent   absent denied  absent yes     yes    denied denied yes

keyReveal              nobody    absent   absent denied  absent denied  denied yes    denied denied
keyRotate              nobody    absent   absent denied  absent denied  denied yes    denied denied
keyRevoke              nobody    absent   absent denied  absent yes     yes    yes    yes    yes
keySuspend             nobody    absent   absent denied  absent yes     yes    denied denied yes
keyResume              nobody    absent   absent denied  absent yes     yes    absent absent yes
keyImport              nobody    absent   denied denied  denied absent  yes    absent denied denied

usageReport            nobody    absent   denied denied  denied yes     yes    absent denied yes

secretCreate           nobody    absent   denied denied  denied yes     yes    absent denied denied
secretUpdate           nobody    absent   absent absent  absent yes     yes    absent denied denied
secretDelete           nobody    absent   absent absent  absent yes     yes    absent denied denied
secretReveal           nobody    absent   absent absent  absent yes     yes    absent denied denied
"""
# The key that is resumed and the one that is imported are not the holder's.


def reported_call(scene: Scene, **members: Any) -> dict[str, Any]:
    """A call that went another way, at an instant that is the same each time."""
    return {"id": "call 1", "keyId": scene.key.id, "calledAt": scene.key.received_at.isoformat(), **members}


INPUTS: dict[str, Callable[[Scene], dict[str, Any]]] = {
    "signIn": lambda scene: {"email": scene.owner.require_user().email, "password": PASSWORD},
    "signUp": lambda _: {"email": f"new-{uuid4().hex}@example.org", "name": "New", "password": PASSWORD},
    "signOut": lambda _: {},
    "passwordChange": lambda _: {"currentPassword": PASSWORD, "newPassword": "another battery"},
    "projectCreate": lambda _: {"name": "Another"},
    "projectUpdate": lambda scene: {"projectId": scene.project.id, "name": "Charts"},
    "projectUpdate(url)": lambda scene: {"projectId": scene.project.id, "upstreamUrl": None},
    "projectDelete": lambda scene: {"projectId": scene.project.id},
    "projectSetRouteRules": lambda scene: {
        "projectId": scene.project.id,
        "rules": [{"method": "POST", "pattern": "/jobs/{node}", "permission": "PACKAGE_CREATE"}],
    },
    "projectNodeCreate": lambda scene: {"projectId": scene.project.id, "name": "Output"},
    "projectNodeUpdate": lambda scene: {"projectNodeId": scene.node.id, "name": "Renamed"},
    "projectNodeDelete": lambda scene: {"projectNodeId": scene.node.id},
    "roleCreate": lambda scene: {"projectId": scene.project.id, "name": "Guest", "permissions": []},
    "roleUpdate": lambda scene: {"roleId": scene.spare.id, "description": "For guests."},
    "roleDelete": lambda scene: {"roleId": scene.spare.id},
    "memberSetRoles": lambda scene: {
        "projectId": scene.project.id,
        "user": {"userId": scene.callers["stranger"].user_id},
        "roleIds": [scene.spare.id],
    },
    "memberSetRoles(owner)": lambda scene: {
        "projectId": scene.project.id,
        "user": {"userId": scene.callers["viewer"].user_id},
        "roleIds": [scene.roles["owner"].id],
    },
    "templateCreate": lambda scene: {"projectId": scene.project.id, "roleId": scene.spare.id, "name": "Pro"},
    "templateUpdate": lambda scene: {"templateId": scene.template.id, "pricePerRequest": "0.25"},
    "templateDelete": lambda scene: {"templateId": scene.template.id},
    "templateFieldAdd": lambda scene: {
        "templateId": scene.template.id,
        "field": {"name": "input node ID", "value": {"nodeId": scene.node.id}},
    },
    "templateFieldUpdate": lambda scene: {"fieldId": scene.field.id, "value": {"literal": "42"}},
    "templateFieldDelete": lambda scene: {"fieldId": scene.field.id},
    "keyRequestCreate": lambda scene: {"templateId": scene.free.id, "note": "Please."},
    "keyRequestCancel": lambda scene: {"requestId": scene.pending.id},
    "keyRequestApprove": lambda scene: {"requestId": scene.pending.id},
    "keyRequestReject": lambda scene: {"requestId": scene.pending.id, "reason": "Not now."},
    "keyReveal": lambda scene: {"keyId": scene.key.id},
    "keyRotate": lambda scene: {"keyId": scene.key.id},
    "keyRevoke": lambda scene: {"keyId": scene.key.id},
    "keySuspend": lambda scene: {"keyId": scene.key.id},
    "keyResume": lambda scene: {"keyId": scene.suspended.id},
    "keyImport": lambda scene: {"keyId": scene.owners_key.id, "projectId": scene.project.id, "prefix": "maps"},
    "usageReport": lambda scene: {"projectId": scene.project.id, "calls": [reported_call(scene)]},
    "secretCreate": lambda scene: {"projectId": scene.project.id, "name": "password", "value": "hush"},
    "secretUpdate": lambda scene: {"secretId": scene.secret.id, "value": "quiet"},
    "secretDelete": lambda scene: {"secretId": scene.secret.id},
    "secretReveal": lambda scene: {"secretId": scene.secret.id},
}

READS = """
                       anonymous stranger viewer analyst editor manager owner  holder key    managing_key
Query.eventCursor      null      yes      yes    yes     yes    yes     yes    yes    yes    yes
Query.isSignUpOpen     yes       yes      yes    yes     yes    yes     yes    yes    yes    yes
Query.viewer           null      yes      yes    yes     yes    yes     yes    yes    yes    yes
Viewer.apiKey          absent    null     null   null    null   null    null   null   yes    yes
Viewer.keys            absent    empty    empty  empty   empty  empty   yes    yes    yes    yes
Viewer.requests        absent    empty    empty  empty   empty  empty   yes    yes    yes    yes

Query.node(Project)    null      null     yes    yes     yes    yes     yes    null   yes    yes
Query.node(node)       null      null     yes    yes     yes    yes     yes    null   yes    yes
Query.node(Role)       null      null     yes    yes     yes    yes     yes    null   yes    yes
Query.node(Member)     null      null     null   null    null   yes     yes    null   null   yes
Query.node(Template)   null      null     yes    yes     yes    yes     yes    null   yes    yes
Query.node(Field)      null      null     yes    yes     yes    yes     yes    null   yes    yes
Query.node(Request)    null      null     null   yes     null   yes     yes    yes    yes    yes
Query.node(Key)        null      null     null   yes     null   yes     yes    yes    yes    yes
Query.node(Secret)     null      null     null   null    null   yes     yes    null   null   null
Query.node(User)       null      null     null   yes     null   yes     yes    yes    yes    yes
Query.nodes            null      null     null   yes     null   yes     yes    yes    yes    yes
Query.project          null      null     yes    yes     yes    yes     yes    null   yes    yes
Query.projects         empty     empty    yes    yes     yes    yes     yes    empty  yes    yes

Project.upstreamUrl    absent    absent   null   null    null   yes     yes    absent null   yes
Project.routeRules     absent    absent   null   null    null   empty   empty  absent null   null
Project.viewerPermissions absent absent   yes    yes     yes    yes     yes    absent yes    yes
Project.roles          absent    absent   yes    yes     yes    yes     yes    absent yes    yes
Project.projectNodes   absent    absent   yes    yes     yes    yes     yes    absent yes    yes
Project.templates      absent    absent   yes    yes     yes    yes     yes    absent yes    yes
Project.requests       absent    absent   null   yes     null   yes     yes    absent null   yes
Project.issuedKeys     absent    absent   null   yes     null   yes     yes    absent null   yes
Project.usage          absent    absent   null   yes     null   yes     yes    absent null   yes
Project.secrets        absent    absent   null   null    null   yes     yes    absent null   null
Project.members        absent    absent   null   null    null   yes     yes    absent null   yes
Project.auditEntries   absent    absent   null   null    null   yes     yes    absent null   null

KeyTemplate.viewerRequest absent absent   null   null    null   null    yes    absent yes    yes
KeyTemplate.viewerKey  absent    absent   null   null    null   null    yes    absent yes    null
KeyTemplate.pendingRequestCount absent absent null yes   null   yes     yes    absent null   yes
KeyTemplate.requests   absent    absent   null   yes     null   yes     yes    absent null   yes
KeyTemplate.issuedKeys absent    absent   null   yes     null   yes     yes    absent null   yes
TemplateField.value    absent    absent   null   null    null   yes     yes    absent yes    yes
TemplateField.value(held) absent absent   absent null    absent yes     yes    yes    yes    yes
User.email             absent    absent   absent null    absent yes     yes    yes    yes    yes
User.email(asker)      absent    absent   absent null    absent yes     yes    yes    yes    yes
IssuedKey.usage        absent    absent   absent yes     absent yes     yes    yes    yes    yes

Subscription.keyRequestEvents nobody absent absent yes   absent yes     yes    absent absent yes
Subscription.viewerKeyEvents nobody yes   yes    yes     yes    yes     yes    yes    yes    yes
Subscription.projectEvents absent absent  yes    yes     yes    yes     yes    absent yes    yes
"""

DOCUMENTS = {
    "Query.eventCursor": "{ found: eventCursor }",
    "Query.isSignUpOpen": "{ found: isSignUpOpen }",
    "Query.viewer": "{ found: viewer { user { id } } }",
    "Viewer.apiKey": "{ viewer { found: apiKey { id } } }",
    "Viewer.keys": "{ viewer { found: keys { nodes { id } } } }",
    "Viewer.requests": "{ viewer { found: requests { nodes { id } } } }",
    "Query.nodes": "query ($key: ID!) { nodes(ids: [$key]) { found: id } }",
    "Query.project": "query ($project: ID!) { found: project(id: $project) { name } }",
    "Query.projects": "{ found: projects { nodes { name } } }",
    "TemplateField.value(held)": """
        query ($key: ID!) { node(id: $key) { ... on IssuedKey { fields { found: value } } } }""",
    "User.email(asker)": "query ($pending: ID!) { node(id: $pending) { ... on KeyRequest { user { found: email } } } }",
    "Subscription.keyRequestEvents": """
        subscription ($project: ID!, $after: EventCursor) {
          keyRequestEvents(projectId: $project, after: $after) { found: request { id } }
        }""",
    "Subscription.viewerKeyEvents": """
        subscription ($after: EventCursor) { viewerKeyEvents(after: $after) { found: request { id } } }""",
    "Subscription.projectEvents": """
        subscription ($project: ID!, $after: EventCursor) {
          projectEvents(projectId: $project, after: $after) { found: objectId }
        }""",
}
ARGUMENTS = {
    "Project.usage": "(period: { lastDays: 7 })",
    "IssuedKey.usage": "(period: { lastDays: 7 })",
    "KeyTemplate.requests": "(states: null)",
}
VARIABLES = {
    "Project": "project",
    "node": "node",
    "Role": "spare",
    "Member": "member",
    "Template": "template",
    "Field": "field",
    "Request": "pending",
    "Key": "key",
    "Secret": "secret",
    "User": "user",
    "KeyTemplate": "template",
    "TemplateField": "field",
    "IssuedKey": "key",
}
"""Which object of the scene a node of a kind, or a field of a type, is read from."""


def rows(table: str) -> dict[str, dict[str, str]]:
    """What each caller is answered, by the name of the row."""
    header, *lines = (line.split() for line in table.splitlines() if line.strip())
    return {name: dict(zip(header, words, strict=True)) for name, *words in lines}
