"""Every table of the first release."""

from decimal import Decimal

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint

from models.fields import FoldedField, IdField
from models.keys import KeyState
from models.operations import CreateTable
from models.requests import RequestState


class Migration(migrations.Migration):
    initial = True

    operations = [
        CreateTable(
            name="AuditEntry",
            fields=[
                ("id", IdField(prefix="aud")),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("user_id", fields.CharField(null=True, max_length=30)),
                ("key_id", fields.CharField(null=True, max_length=30)),
                ("action", fields.CharField(max_length=64)),
                ("object_id", fields.CharField(max_length=30)),
                ("project_id", fields.CharField(null=True, max_length=30)),
                ("address", fields.CharField(null=True, max_length=64)),
            ],
            options={
                "table": "audit_entries",
                "app": "models",
                "indexes": [Index(fields=["project_id", "id"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Event",
            fields=[
                ("position", fields.BigIntField(primary_key=True, generated=False)),
                ("kind", fields.CharField(max_length=64)),
                ("project_id", fields.CharField(null=True, max_length=30)),
                ("user_id", fields.CharField(null=True, max_length=30)),
                ("object_id", fields.CharField(max_length=30)),
                ("occurred_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "events",
                "app": "models",
                "indexes": [
                    Index(fields=["project_id", "position"]),
                    Index(fields=["user_id", "position"]),
                    Index(fields=["occurred_at"]),
                ],
                "pk_attr": "position",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="EventHead",
            fields=[
                ("id", fields.IntField(primary_key=True, generated=False)),
                ("position", fields.BigIntField(default=0)),
                ("pruned_to", fields.BigIntField(default=0)),
            ],
            options={
                "table": "event_head",
                "app": "models",
                "constraints": [
                    CheckConstraint(check="id = 1", name="single_head"),
                    CheckConstraint(check="0 <= pruned_to AND pruned_to <= position", name="pruned_behind_head"),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="IdempotentAct",
            fields=[
                ("id", fields.BigIntField(primary_key=True, generated=True)),
                ("viewer_id", fields.CharField(max_length=30)),
                ("mutation", fields.CharField(max_length=64)),
                ("idempotency_key", fields.CharField(max_length=255)),
                ("input_hash", fields.BinaryField()),
                ("object_ids", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "idempotent_acts",
                "app": "models",
                "unique_together": (("viewer_id", "mutation", "idempotency_key"),),
                "indexes": [Index(fields=["created_at"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Project",
            fields=[
                ("id", IdField(prefix="prj")),
                ("name", fields.CharField(max_length=100)),
                ("name_folded", FoldedField(max_length=1800)),
                ("description", fields.TextField(default="", unique=False)),
                ("currency", fields.CharField(max_length=3)),
                ("upstream_url", fields.TextField(null=True, unique=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={"table": "projects", "app": "models", "pk_attr": "id"},
            bases=["Model"],
        ),
        CreateTable(
            name="ProjectNode",
            fields=[
                ("id", IdField(prefix="nod")),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=100)),
                ("name_folded", FoldedField(max_length=1800)),
                ("upstream_id", fields.CharField(max_length=200)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "project_nodes",
                "app": "models",
                "constraints": [
                    UniqueConstraint(
                        fields=("project_id", "name"), name="living_node_name", condition="deleted_at IS NULL"
                    ),
                    UniqueConstraint(
                        fields=("project_id", "upstream_id"),
                        name="living_node_upstream_id",
                        condition="deleted_at IS NULL",
                    ),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Role",
            fields=[
                ("id", IdField(prefix="rol")),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=100)),
                ("name_folded", FoldedField(max_length=1800)),
                ("description", fields.TextField(default="", unique=False)),
                ("cost_coefficient", fields.DecimalField(default=Decimal("1"), max_digits=8, decimal_places=4)),
                ("is_public", fields.BooleanField(default=False)),
                ("is_owner", fields.BooleanField(default=False)),
                ("version", fields.IntField(default=1)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "roles",
                "app": "models",
                "constraints": [
                    CheckConstraint(
                        check="CAST(cost_coefficient AS NUMERIC) BETWEEN 0 AND 9999.9999", name="coefficient_in_range"
                    ),
                    CheckConstraint(check="NOT (is_owner AND is_public)", name="owner_role_is_not_public"),
                    UniqueConstraint(
                        fields=("project_id", "name"), name="living_role_name", condition="deleted_at IS NULL"
                    ),
                    UniqueConstraint(fields=("project_id",), name="one_owner_role", condition="is_owner"),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Grant",
            fields=[
                ("id", fields.BigIntField(primary_key=True, generated=True)),
                (
                    "role",
                    fields.ForeignKeyField(
                        "models.Role",
                        source_field="role_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "node",
                    fields.ForeignKeyField(
                        "models.ProjectNode",
                        source_field="node_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("permission", fields.CharField(max_length=32)),
            ],
            options={
                "table": "grants",
                "app": "models",
                "constraints": [
                    UniqueConstraint(
                        fields=("role_id", "permission"), name="one_project_grant", condition="node_id IS NULL"
                    ),
                    UniqueConstraint(
                        fields=("role_id", "permission", "node_id"),
                        name="one_node_grant",
                        condition="node_id IS NOT NULL",
                    ),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="SigningKey",
            fields=[
                ("id", IdField(prefix="sig")),
                ("public_key", fields.BinaryField()),
                ("sealed_private_key", fields.BinaryField()),
                ("is_current", fields.BooleanField(default=True)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("withdrawn_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "signing_keys",
                "app": "models",
                "constraints": [
                    CheckConstraint(check="NOT is_current OR withdrawn_at IS NULL", name="current_is_not_withdrawn"),
                    UniqueConstraint(fields=("is_current",), name="one_current_signing_key", condition="is_current"),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Template",
            fields=[
                ("id", IdField(prefix="tpl")),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "role",
                    fields.ForeignKeyField(
                        "models.Role",
                        source_field="role_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=100)),
                ("name_folded", FoldedField(max_length=1800)),
                ("description", fields.TextField(default="", unique=False)),
                ("price_per_request", fields.DecimalField(default=Decimal("0"), max_digits=12, decimal_places=6)),
                ("position", fields.IntField()),
                ("version", fields.IntField(default=1)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "templates",
                "app": "models",
                "constraints": [
                    CheckConstraint(
                        check="CAST(price_per_request AS NUMERIC) BETWEEN 0 AND 999999.999999", name="price_in_range"
                    ),
                    UniqueConstraint(
                        fields=("project_id", "name"), name="living_template_name", condition="deleted_at IS NULL"
                    ),
                ],
                "indexes": [Index(fields=["project_id", "position"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="TemplateField",
            fields=[
                ("id", IdField(prefix="fld")),
                (
                    "template",
                    fields.ForeignKeyField(
                        "models.Template",
                        source_field="template_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=100)),
                ("description", fields.TextField(default="", unique=False)),
                ("value", fields.TextField(unique=False)),
                (
                    "node",
                    fields.ForeignKeyField(
                        "models.ProjectNode",
                        source_field="node_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("position", fields.IntField()),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "template_fields",
                "app": "models",
                "constraints": [
                    UniqueConstraint(
                        fields=("template_id", "name"), name="living_field_name", condition="deleted_at IS NULL"
                    )
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="User",
            fields=[
                ("id", IdField(prefix="usr")),
                ("email", fields.CharField(max_length=254)),
                ("email_folded", FoldedField(unique=True, max_length=254)),
                ("name", fields.CharField(max_length=100)),
                ("name_folded", FoldedField(max_length=1800)),
                ("password_hash", fields.TextField(unique=False)),
                ("is_admin", fields.BooleanField(default=False)),
                ("disabled_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={"table": "users", "app": "models", "pk_attr": "id"},
            bases=["Model"],
        ),
        CreateTable(
            name="KeyRequest",
            fields=[
                ("id", IdField(prefix="req")),
                (
                    "template",
                    fields.ForeignKeyField(
                        "models.Template",
                        source_field="template_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "user",
                    fields.ForeignKeyField(
                        "models.User",
                        source_field="user_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "state",
                    fields.CharEnumField(
                        default=RequestState.PENDING,
                        description="PENDING: pending\nAPPROVED: approved\nREJECTED: rejected\nCANCELLED: cancelled",
                        enum_type=RequestState,
                        max_length=16,
                    ),
                ),
                ("note", fields.TextField(default="", unique=False)),
                ("requested_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("decided_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                (
                    "decided_by",
                    fields.ForeignKeyField(
                        "models.User",
                        source_field="decided_by_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("reason", fields.TextField(null=True, unique=False)),
            ],
            options={
                "table": "key_requests",
                "app": "models",
                "constraints": [
                    CheckConstraint(check="(state = 'pending') = (decided_at IS NULL)", name="decided_unless_pending"),
                    CheckConstraint(check="(state = 'rejected') = (reason IS NOT NULL)", name="rejected_with_reason"),
                    UniqueConstraint(
                        fields=("template_id", "user_id"), name="one_pending_request", condition="state = 'pending'"
                    ),
                ],
                "indexes": [
                    Index(fields=["project_id", "id"]),
                    Index(fields=["template_id", "id"]),
                    Index(fields=["user_id", "id"]),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="IssuedKey",
            fields=[
                ("id", IdField(prefix="key")),
                (
                    "request",
                    fields.OneToOneField(
                        "models.KeyRequest",
                        source_field="request_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "template",
                    fields.ForeignKeyField(
                        "models.Template",
                        source_field="template_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "role",
                    fields.ForeignKeyField(
                        "models.Role",
                        source_field="role_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "user",
                    fields.ForeignKeyField(
                        "models.User",
                        source_field="user_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=100)),
                ("name_folded", FoldedField(max_length=1800)),
                ("description", fields.TextField(default="", unique=False)),
                (
                    "state",
                    fields.CharEnumField(
                        default=KeyState.ACTIVE,
                        description="ACTIVE: active\nSUSPENDED: suspended\nEXPIRED: expired\nREVOKED: revoked",
                        enum_type=KeyState,
                        max_length=16,
                    ),
                ),
                ("generation", fields.IntField(default=1)),
                ("received_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("suspended_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("revoked_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                (
                    "revoked_by",
                    fields.ForeignKeyField(
                        "models.User",
                        source_field="revoked_by_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("last_used_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "issued_keys",
                "app": "models",
                "constraints": [
                    CheckConstraint(check="(state = 'suspended') = (suspended_at IS NOT NULL)", name="suspended_since"),
                    CheckConstraint(check="(state = 'revoked') = (revoked_at IS NOT NULL)", name="revoked_since"),
                    CheckConstraint(check="state <> 'expired' OR expires_at IS NOT NULL", name="expired_since"),
                    UniqueConstraint(
                        fields=("template_id", "user_id"),
                        name="one_living_key",
                        condition="state IN ('active', 'suspended')",
                    ),
                ],
                "indexes": [
                    Index(fields=["project_id", "id"]),
                    Index(fields=["template_id", "id"]),
                    Index(fields=["user_id", "id"]),
                    Index(fields=["role_id"]),
                    Index(fields=["state", "expires_at"]),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="KeyGeneration",
            fields=[
                ("id", fields.BigIntField(primary_key=True, generated=True)),
                (
                    "key",
                    fields.ForeignKeyField(
                        "models.IssuedKey",
                        source_field="key_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("generation", fields.IntField()),
                (
                    "signing_key",
                    fields.ForeignKeyField(
                        "models.SigningKey",
                        source_field="signing_key_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("header", fields.TextField(unique=False)),
                ("claims", fields.TextField(unique=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("ends_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "key_generations",
                "app": "models",
                "unique_together": (("key", "generation"),),
                "indexes": [Index(fields=["signing_key_id"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Member",
            fields=[
                ("id", IdField(prefix="mem")),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "user",
                    fields.ForeignKeyField(
                        "models.User",
                        source_field="user_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "members",
                "app": "models",
                "constraints": [
                    UniqueConstraint(
                        fields=("project_id", "user_id"), name="one_membership", condition="deleted_at IS NULL"
                    )
                ],
                "indexes": [Index(fields=["user_id"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="MemberRole",
            fields=[
                ("id", fields.BigIntField(primary_key=True, generated=True)),
                (
                    "member",
                    fields.ForeignKeyField(
                        "models.Member",
                        source_field="member_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "role",
                    fields.ForeignKeyField(
                        "models.Role",
                        source_field="role_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
            ],
            options={
                "table": "member_roles",
                "app": "models",
                "unique_together": (("member", "role"),),
                "indexes": [Index(fields=["role_id"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Secret",
            fields=[
                ("id", IdField(prefix="sec")),
                (
                    "project",
                    fields.ForeignKeyField(
                        "models.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=210)),
                ("description", fields.TextField(default="", unique=False)),
                ("sealed_value", fields.BinaryField(null=True)),
                (
                    "imported_from",
                    fields.ForeignKeyField(
                        "models.IssuedKey",
                        source_field="imported_from_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "secrets",
                "app": "models",
                "constraints": [
                    CheckConstraint(
                        check="sealed_value IS NOT NULL OR imported_from_id IS NOT NULL", name="has_a_value"
                    ),
                    UniqueConstraint(
                        fields=("project_id", "name"), name="living_secret_name", condition="deleted_at IS NULL"
                    ),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="Session",
            fields=[
                ("id", IdField(prefix="ses")),
                (
                    "user",
                    fields.ForeignKeyField(
                        "models.User",
                        source_field="user_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("expires_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("ended_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={"table": "sessions", "app": "models", "indexes": [Index(fields=["user_id"])], "pk_attr": "id"},
            bases=["Model"],
        ),
        CreateTable(
            name="UsageDay",
            fields=[
                ("id", fields.BigIntField(primary_key=True, generated=True)),
                (
                    "key",
                    fields.ForeignKeyField(
                        "models.IssuedKey",
                        source_field="key_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("day", fields.BigIntField()),
                ("requests", fields.BigIntField(default=0)),
                ("refused", fields.BigIntField(default=0)),
                ("units", fields.BigIntField(default=0)),
                ("fraction", fields.BigIntField(default=0)),
            ],
            options={
                "table": "usage_days",
                "app": "models",
                "unique_together": (("key", "day"),),
                "constraints": [
                    CheckConstraint(
                        check="units >= 0 AND fraction >= 0 AND fraction < 10000000000", name="usage_day_carried"
                    ),
                    CheckConstraint(check="requests >= 0 AND refused >= 0", name="usage_day_counted"),
                    CheckConstraint(check="day % 86400000000 = 0", name="usage_day_whole"),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="UsageHour",
            fields=[
                ("id", fields.BigIntField(primary_key=True, generated=True)),
                (
                    "key",
                    fields.ForeignKeyField(
                        "models.IssuedKey",
                        source_field="key_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("hour", fields.BigIntField()),
                ("requests", fields.BigIntField(default=0)),
                ("refused", fields.BigIntField(default=0)),
                ("units", fields.BigIntField(default=0)),
                ("fraction", fields.BigIntField(default=0)),
            ],
            options={
                "table": "usage_hours",
                "app": "models",
                "unique_together": (("key", "hour"),),
                "constraints": [
                    CheckConstraint(
                        check="units >= 0 AND fraction >= 0 AND fraction < 10000000000", name="usage_hour_carried"
                    ),
                    CheckConstraint(check="requests >= 0 AND refused >= 0", name="usage_hour_counted"),
                    CheckConstraint(check="hour % 3600000000 = 0", name="usage_hour_whole"),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        CreateTable(
            name="UsageRecord",
            fields=[
                ("id", fields.BigIntField(primary_key=True, generated=True)),
                (
                    "key",
                    fields.ForeignKeyField(
                        "models.IssuedKey",
                        source_field="key_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("called_at", fields.BigIntField()),
                ("units", fields.BigIntField()),
                ("fraction", fields.BigIntField()),
            ],
            options={
                "table": "usage_records",
                "app": "models",
                "constraints": [
                    CheckConstraint(
                        check="units >= 0 AND fraction >= 0 AND fraction < 10000000000", name="usage_record_carried"
                    )
                ],
                "indexes": [Index(fields=["key_id", "called_at"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.RunSQL("INSERT INTO event_head (id, position, pruned_to) VALUES (1, 0, 0)", "DELETE FROM event_head"),
    ]
