"""A plan run: every field once for all the objects of its level, and the batches once for all that is wanted."""

from collections import defaultdict
from itertools import chain, islice
from typing import Any

from graphql import GraphQLObjectType, is_leaf_type, is_list_type, is_non_null_type
from graphql.execution.values import VariableValues
from graphql.pyutils import Undefined, is_iterable
from graphql.pyutils.is_awaitable import is_async_iterable

from schema.levels import objects
from schema.levels.calls import Related, Together
from schema.levels.driving import Column, Driver
from schema.levels.faults import Answer, Fault
from schema.levels.info import LevelInfo, RunInfo
from schema.levels.kinds import Failed, Typed
from schema.levels.leaves import Irregular
from schema.levels.plan import Field, Plan, Selection
from schema.levels.wants import Wants

Made = dict[str, Any]
NOTHING = type(None)
REQUIRED_LISTS = frozenset({list, tuple})
LISTS = REQUIRED_LISTS | {NOTHING}
"""Classes of what is a list at a glance, where null may not be and where it may."""


class Run:
    """One operation on its way."""

    def __init__(
        self, plan: Plan, variables: VariableValues, wants: Wants, *, root_value: Any, context: Any, extensions: Any
    ) -> None:
        self._plan = plan
        self._variables = variables
        self._root_value = root_value
        self._info = RunInfo(
            plan.schema, plan.fragments, plan.operation, root_value, variables.coerced, context, extensions
        )
        self._wants = wants
        self._driver = Driver(plan.kinds, wants, self._complete)
        self._levels: list[tuple[Selection, list[Made]]] = []
        self._faults: list[Fault] = []

    async def answer(self) -> tuple[Made | None, list[Any]]:
        """The data and the errors."""
        root, driver = self._plan.root, self._driver
        try:
            (data,) = driver.drive(lambda: self._descend(root, [self._root_value]))
            await driver.finish()
        except BaseException:
            await driver.abandon()
            raise
        finally:
            driver.let_go()
        return Answer(data, root, self._levels).settle(self._faults) if self._faults else (data, [])

    # Downwards: objects, and the values of their fields

    def _descend(self, selection: Selection, rows: list[Any]) -> list[Made]:
        """The answer's objects for these rows, whose members are still open where they take a resolver."""
        try:
            made, columns = selection.build(rows), selection.columns
        except Exception:  # noqa: BLE001  looked at one by one then, where an error finds its place
            made, columns = selection.blank(rows), selection.all_columns
        self._levels.append((selection, made))
        for field in columns:
            self._resolve(field, rows, made)
        return made

    def _resolve(self, field: Field, rows: list[Any], made: list[Made]) -> None:
        call, info = field.call, LevelInfo(self._info, field)
        column = Column(field, info, made, [])
        if isinstance(call, Related) and self._relate(call, column, rows):
            return
        try:
            arguments = field.arguments(self._variables)
        except Exception as error:  # noqa: BLE001  of an argument: the same for each object
            column.values = [Failed(error) for _ in rows]
        else:
            column.is_whole = isinstance(call, Together)
            column.values = (
                [call.all_values(info, rows, arguments)]
                if isinstance(call, Together)
                else call.values(info, rows, arguments)
            )
        self._driver.take(column)

    def _relate(self, call: Related, column: Column, rows: list[Any]) -> bool:
        try:
            keys = call.keys(rows)
        except Exception:  # noqa: BLE001  its resolver is called then, where an error finds its place
            return False
        self._driver.relate(column, call, keys)
        return True

    # Upwards: values put into the objects. First as if nothing were odd

    def _complete(self, column: Column) -> None:
        if column.is_whole:
            column.take_apart()
        if column.places is not None or not (column.field.shape.is_simple and self._complete_simply(column)):
            self._complete_closely(column)

    def _complete_simply(self, column: Column) -> bool:
        field = column.field
        try:
            if field.shape.is_list:
                column.put(self._lists(column, column.values))
            elif field.shape.leaves:
                column.put(field.shape.leaves(column.values))
            else:
                self._put_objects(column)
        except Irregular:
            return False
        return True

    def _put_objects(self, column: Column) -> None:
        if column.names is None:  # rows that are the same object become one
            names = [*map(id, column.values)]
            distinct = dict(zip(names, column.values, strict=True))
            if len(distinct) < len(names):
                column.share(names, distinct)
        rows = column.values
        if NOTHING not in {*map(type, rows)}:
            column.put(self._objects(column, rows))
        elif column.field.shape.is_required:
            raise Irregular
        else:
            made = iter(self._objects(column, [row for row in rows if row is not None]))
            column.put([None if row is None else next(made) for row in rows])

    def _lists(self, column: Column, values: list[Any]) -> list[list[Any] | None]:
        """Lists of what is made of the items. Raises Irregular."""
        field = column.field
        if not {*map(type, values)} <= (REQUIRED_LISTS if field.shape.is_required else LISTS):
            raise Irregular
        if leaves := field.shape.leaves:
            return [None if value is None else leaves(value) for value in values]
        made = iter(self._objects(column, [*chain.from_iterable(filter(None, values))]))
        return [None if value is None else [*islice(made, len(value))] for value in values]

    def _objects(self, column: Column, rows: list[Any]) -> list[Made]:
        """The objects of rows that are surely of the one type that the field leads to. Raises Irregular."""
        selection, classes = column.field.only_selection, {*map(type, rows)}
        if not classes <= selection.accepted:
            objects.check(self._plan.kinds, selection, column.info, rows)
        return self._descend(selection, rows) if rows else []

    # Then, where anything was, one by one as graphql-core does

    def _complete_closely(self, column: Column) -> None:
        found, values = Found(), column.for_each(column.values)
        for (container, key, type_), value in zip(column.every_place(), values, strict=True):
            self._place(column, container, key, type_, value, found)
        for selection, places in found.rows.items():
            made = self._descend(selection, [row for _, _, row in places])
            for (container, key, _), each in zip(places, made, strict=True):
                container[key] = each
        if found.later:
            values = [value for *_, value in found.later]
            places = [(container, key, type_) for container, key, type_, _ in found.later]
            self._driver.take(Column(column.field, column.info, [], values, places))

    def _place(self, column: Column, container: Any, key: Any, type_: Any, value: Any, found: "Found") -> None:
        container[key] = None
        try:
            if isinstance(value, Failed):
                raise value.error  # noqa: TRY301  one way for all errors
            if isinstance(value, Exception):
                raise value  # noqa: TRY301  one way for all errors
            inner = type_.of_type if is_non_null_type(type_) else type_
            if value is None or value is Undefined:
                objects.check_null(column.field, type_)
            elif is_list_type(inner):
                self._place_list(column, container, key, type_, value, found)
            elif is_leaf_type(inner):
                container[key] = objects.coerced(inner, value)
            else:
                self._place_object(column, container, key, type_, value, found)
        except Exception as error:  # noqa: BLE001  a field's error, told as such
            self._faults.append(Fault(container, key, column.field, error, self._driver.wave))

    def _place_list(self, column: Column, container: Any, key: Any, type_: Any, value: Any, found: "Found") -> None:
        item_type = (type_.of_type if is_non_null_type(type_) else type_).of_type
        if is_async_iterable(value):
            found.later.append((container, key, type_, _items_of(value)))
            return
        if not is_iterable(value):
            raise objects.not_iterable(column.field)
        items = list(value)
        container[key] = placed = [None] * len(items)
        for index, item in enumerate(items):
            if self._plan.kinds.is_awaited(item):
                found.later.append((placed, index, item_type, item))
            else:
                self._place(column, placed, index, item_type, item, found)

    def _place_object(self, column: Column, container: Any, key: Any, type_: Any, value: Any, found: "Found") -> None:
        row, known = (value.row, value.type) if isinstance(value, Typed) else (value, None)
        runtime_type = known or objects.type_of(self._plan.schema, column.field, column.info, type_, row)
        if not isinstance(runtime_type, GraphQLObjectType):
            found.later.append((container, key, type_, runtime_type))
            return
        found.rows[column.field.selection(runtime_type)].append((container, key, row))


class Found:
    """What was found among values: rows of each type with their places, and what must be awaited first."""

    def __init__(self) -> None:
        self.rows: dict[Selection, list[tuple[Any, Any, Any]]] = defaultdict(list)
        self.later: list[tuple[Any, Any, Any, Any]] = []


async def _items_of(values: Any) -> list[Any]:
    return [value async for value in values]
