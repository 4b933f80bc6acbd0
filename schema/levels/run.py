"""A plan run: every field once for all the objects of its level, and the batches once for all that is wanted."""

from collections import defaultdict
from itertools import chain
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
        root = self._plan.root
        try:
            with self._wants.driving():
                (data,) = self._descend(root, [self._root_value])
            await self._driver.finish()
        finally:
            await self._driver.leave()
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
        info = LevelInfo(self._info, field.parent_type, field.name, field.definition, field.nodes)
        if isinstance(field.call, Related) and self._relate(field.call, Column(field, info, made, []), rows):
            return
        try:
            arguments = field.arguments(self._variables)
        except Exception as error:  # noqa: BLE001  of an argument: the same for each object
            self._driver.take(Column(field, info, made, [Failed(error) for _ in rows]))
            return
        if isinstance(field.call, Together):
            column = Column(field, info, made, [field.call.all_values(info, rows, arguments)])
            column.is_whole = True
            self._driver.take(column)
        else:
            self._driver.take(Column(field, info, made, field.call.values(info, rows, arguments)))

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
                self._put_lists(column)
            elif field.leaves:
                key = field.key
                for made, value in zip(column.made, field.leaves(column.values), strict=True):
                    made[key] = value
            else:
                self._put_objects(column)
        except Irregular:
            return False
        return True

    def _put_objects(self, column: Column) -> None:
        field, holders, rows = column.field, column.made, column.values
        if type(None) in {*map(type, rows)}:
            if field.shape.is_required:
                raise Irregular
            present = [(made, row) for made, row in zip(holders, rows, strict=True) if row is not None]
            holders, rows = [made for made, _ in present], [row for _, row in present]
        key = field.key
        distinct = dict(zip(map(id, rows), rows, strict=True))
        if len(distinct) == len(rows):
            for holder, made in zip(holders, self._objects(column, rows), strict=True):
                holder[key] = made
            return
        shared = dict(zip(distinct, self._objects(column, list(distinct.values())), strict=True))
        for holder, row in zip(holders, rows, strict=True):
            holder[key] = shared[id(row)]

    def _put_lists(self, column: Column) -> None:
        field, key, values = column.field, column.field.key, column.values
        if not {*map(type, values)} <= ({list, tuple} if field.shape.is_required else {list, tuple, type(None)}):
            raise Irregular
        if leaves := field.leaves:
            lists = [None if value is None else leaves(value) for value in values]
            for holder, items in zip(column.made, lists, strict=True):
                holder[key] = items
            return
        made = self._objects(column, list(chain.from_iterable(value for value in values if value)))
        start = 0
        for holder, value in zip(column.made, values, strict=True):
            if value is not None:
                holder[key] = made[start : start + len(value)]
                start += len(value)

    def _objects(self, column: Column, rows: list[Any]) -> list[Made]:
        """The objects of rows that are surely of the one type that the field leads to. Raises Irregular."""
        if not self._plan.kinds.are_plain(rows):
            raise Irregular
        if not rows:
            return []
        selection = column.field.only_selection
        if not objects.are_of(selection, column.info, rows):
            raise Irregular
        return self._descend(selection, rows)

    # Then, where anything was, one by one as graphql-core does

    def _complete_closely(self, column: Column) -> None:
        found = Found()
        for (container, key, type_), value in zip(column.every_place(), column.values, strict=True):
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
