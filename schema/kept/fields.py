"""What each field of the schema hangs on, which says how long an answer with it can be kept.

A test holds this table against the schema, so that no field can be forgotten here.
"""

from enum import Flag


class Hangs(Flag):
    """HERE is the project that the object belongs to, who is asked for, and accounts: every field hangs on those."""

    HERE = 0
    ANYWHERE = 1
    """On any project, too."""
    CLOCK = 2
    """On whether keys have expired by now, too."""
    UNKEPT = 4
    """On calls, on the present instant, or on reads that leave a trace: it is never kept."""


HERE, ANYWHERE, CLOCK, UNKEPT = Hangs.HERE, Hangs.ANYWHERE, Hangs.CLOCK, Hangs.UNKEPT

PAGES = ("IssuedKey", "KeyRequest", "Member", "Project", "ProjectNode")

TABLE: dict[str, dict[Hangs, str]] = {
    "Query": {HERE: "isSignUpOpen project viewer", ANYWHERE: "projects node nodes", UNKEPT: "eventCursor"},
    "Viewer": {HERE: "user", ANYWHERE: "apiKey requests", ANYWHERE | CLOCK: "keys"},
    "Node": {HERE: "id"},
    "User": {HERE: "id name", ANYWHERE: "email"},
    "Project": {
        HERE: "id name description currency upstreamUrl routeRules createdAt deletedAt version viewerPermissions roles "
        "projectNodes templates requests secrets members",
        CLOCK: "issuedKeys",
        UNKEPT: "usage auditEntries",
    },
    "ProjectNode": {HERE: "id name upstreamId version deletedAt"},
    "RouteRule": {HERE: "method pattern permission"},
    "Role": {
        HERE: "id name description costCoefficient isPublic permissions nodePermissions version deletedAt",
    },
    "NodePermissions": {HERE: "projectNode permissions"},
    "Member": {HERE: "id user roles"},
    "KeyTemplate": {
        HERE: "id project name description role pricePerRequest limits fields createdAt deletedAt version "
        "viewerRequest pendingRequestCount requests",
        CLOCK: "viewerState viewerKey issuedKeys",
    },
    "KeyLimits": {HERE: "callsPerSecond burst callsPerDay callsPerMonth costPerDay costPerMonth"},
    "Money": {HERE: "amount currency"},
    "TemplateField": {HERE: "id name description version", CLOCK: "value"},
    "KeyRequest": {HERE: "id template user state note requestedAt decidedAt decidedBy reason issuedKey"},
    "IssuedKey": {
        HERE: "id name project template role user receivedAt expiresAt revokedAt revokedBy fields",
        CLOCK: "state",
        UNKEPT: "lastUsedAt usage allowances",
    },
    "Secret": {HERE: "id name description version", ANYWHERE: "importedFrom"},
    "PageInfo": {HERE: "hasNextPage hasPreviousPage startCursor endCursor"},
    **{f"{row}Connection": {HERE: "edges nodes pageInfo totalCount"} for row in PAGES},
    **{f"{row}Edge": {HERE: "cursor node"} for row in PAGES},
}

ARGUMENTS_OF_USAGE = frozenset({"period"})
"""A field with one of these hangs on calls, whatever it is otherwise."""

_BY_FIELD = {
    (type_name, field): hangs
    for type_name, fields in TABLE.items()
    for hangs, names in fields.items()
    for field in names.split()
}


def hangs_on(type_name: str, field: str) -> Hangs:
    """UNKEPT for what the table doesn't know."""
    return HERE if field == "__typename" else _BY_FIELD.get((type_name, field), UNKEPT)
