"""The operations of migrations that are ours, since Tortoise's would lose something.

Its CreateModel leaves `Meta.constraints` out, and can't alter them in on SQLite without rebuilding the table; its
RemoveField rebuilds the table there too, and with that drops its indexes.
"""

from typing import Any

from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.migrations.operations import CreateModel, RemoveField
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State


class CreateTable(CreateModel):
    async def database_forward(
        self,
        app_label: str,
        old_state: State,  # noqa: ARG002  Tortoise's signature
        new_state: State,
        state_editor: BaseSchemaEditor | None = None,
    ) -> None:
        if not state_editor:
            return
        table = new_state.apps.get_model(f"{app_label}.{self.name}")
        constraints: list[Any] = list((self.options or {}).get("constraints", ()))
        checks = [check_clause(each) for each in constraints if isinstance(each, CheckConstraint)]
        # The editor's own hook for clauses that stand inside CREATE TABLE.
        state_editor._get_inner_statements = lambda: checks  # type: ignore[method-assign]  # noqa: SLF001  no public hook
        await state_editor.create_model(table)
        for each in constraints:
            if isinstance(each, UniqueConstraint):
                await state_editor._run_sql(unique_index(table._meta.db_table, each))  # noqa: SLF001  also collects for sqlmigrate


class DropColumn(RemoveField):
    async def database_forward(
        self,
        app_label: str,
        old_state: State,
        new_state: State,  # noqa: ARG002  Tortoise's signature
        state_editor: BaseSchemaEditor | None = None,
    ) -> None:
        if state_editor:
            table = old_state.apps.get_model(f"{app_label}.{self.model_name}")._meta.db_table
            await state_editor._run_sql(f'ALTER TABLE "{table}" DROP COLUMN "{self.name}"')  # noqa: SLF001  also collects for sqlmigrate


def check_clause(constraint: CheckConstraint) -> str:
    return f'CONSTRAINT "{constraint.name}" CHECK ({constraint.check})'


def unique_index(table: str, constraint: UniqueConstraint) -> str:
    """A partial unique index; both databases know them, though Tortoise says otherwise of SQLite."""
    columns = ", ".join(f'"{column}"' for column in constraint.fields)
    condition = f" WHERE {constraint.condition}" if constraint.condition else ""
    return f'CREATE UNIQUE INDEX "{constraint.name}" ON "{table}" ({columns}){condition};'
