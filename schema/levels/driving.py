"""Resolvers driven: who waits for a batch goes on with the rest of the level, without a task of asyncio's each."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from gateway.stepping import resumed
from schema.levels.calls import Manner, Related
from schema.levels.info import LevelInfo
from schema.levels.kinds import Failed, Kinds
from schema.levels.plan import Field
from schema.levels.wants import WANTED, Waiting, Wants

Value = TypeVar("Value")
Place = tuple[Any, Any, Any]
"""A container, a key in it, and the type of what stands there."""


class Column:
    """A field's values for the objects of a level; or for places here and there, where values had to be awaited."""

    __slots__ = ("field", "info", "is_whole", "made", "named", "names", "open", "places", "values")

    def __init__(
        self,
        field: Field,
        info: LevelInfo,
        made: list[dict[str, Any]],
        values: list[Any],
        places: list[Place] | None = None,
    ) -> None:
        self.field = field
        self.info = info
        self.made = made
        self.values = values
        self.places = places
        self.names: list[Any] | None = None
        """What each object calls its value, where several have the same one, which is among the values once."""
        self.named: Iterable[Any] = ()
        """What each of the values is called then."""
        self.is_whole = False
        """Whether its only value, once it is there, is a list of them all."""
        self.open = 0
        """How many of the values are still to come."""

    def take_apart(self) -> None:
        """Of a whole column."""
        (whole,) = self.values
        self.is_whole = False
        self.values = [whole] * len(self.made) if isinstance(whole, Failed) else list(whole)

    def share(self, names: list[Any], values: Mapping[Any, Any]) -> None:
        """Has the values by what the objects call them."""
        self.names, self.named, self.values = names, values, [*values.values()]

    def for_each(self, values: list[Any]) -> list[Any]:
        """What was made of the values, for each of the objects."""
        if self.names is None:
            return values
        return [*map(self._by_name(values).__getitem__, self.names)]

    def put(self, values: list[Any]) -> None:
        """Puts what was made of the values into the objects."""
        key = self.field.key
        if self.names is None:
            for made, value in zip(self.made, values, strict=True):
                made[key] = value
            return
        by_name = self._by_name(values)
        for made, name in zip(self.made, self.names, strict=True):
            made[key] = by_name[name]

    def _by_name(self, values: list[Any]) -> dict[Any, Any]:
        return dict(zip(self.named, values, strict=True))

    def every_place(self) -> Iterator[Place]:
        if self.places is not None:
            yield from self.places
            return
        key, type_ = self.field.key, self.field.type
        for made in self.made:
            yield made, key, type_


class Driver:
    """Drives the coroutines of an operation until none is open; what is complete goes on at once."""

    def __init__(self, kinds: Kinds, wants: Wants, complete: Callable[[Column], None]) -> None:
        self._kinds = kinds
        self._wants = wants
        self._complete = complete
        self._tasks: set[asyncio.Task[Any]] = set()
        self._arrived: list[tuple[Column, int, asyncio.Task[Any], int]] = []
        """Tasks that are done, and in which wave they began."""
        self.wave = 0
        """How often it was waited for."""

    def take(self, column: Column) -> None:
        """Completes the column, as soon as its values are there."""
        if self._kinds.any_awaited(column.values):
            self._start(column)
        if not column.open:
            self._complete(column)

    def relate(self, column: Column, call: Related, keys: list[Any]) -> None:
        """Completes a column of what the relation's batch finds for the keys: for each that there is once."""
        group, distinct = self._wants.group(call.batch, ()), dict.fromkeys(keys)
        column.names = keys
        wanting = group.wanting_all(distinct)
        if wanting is None:
            self.fill(column, distinct, group.kept, None)
        else:
            wanting.columns.append((column, distinct))

    def drive(self, step: Callable[[], Value]) -> Value:
        """Around all code that calls resolvers: outside of it they run in tasks, and wait as tasks do."""
        self._wants.is_driving = True
        try:
            return step()
        finally:
            self._wants.is_driving = False

    async def finish(self) -> None:
        """Returns when all is complete."""
        wants = self._wants
        while wants.are_open or self._tasks or self._arrived:
            if self._tasks:  # which may want something too
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                self.drive(partial(self._settle, self.wave))  # of those that began now, who waited for nothing
            if wants.are_open:
                await wants.fetch()
            elif not self._arrived:
                await wants.until_woken()
            self.wave += 1
            self.drive(self._go_on)

    def _go_on(self) -> None:
        self._wants.tell(self)
        self._settle()

    def let_go(self) -> None:
        """Of who completes: both refer to each other, and all that was read would wait for the garbage collector."""
        self._complete = _never

    async def abandon(self) -> None:
        """Ends what is under way, where the operation itself was ended."""
        self.let_go()
        self._wants.abandon()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # Told by the wants

    def fill(self, column: Column, keys: Iterable[Any], values: Mapping[Any, Any], error: Exception | None) -> None:
        call, failed = column.field.call, Failed(error) if error else None
        found = {key: values.get(key, failed) if key is not None else None for key in keys}
        if isinstance(call, Related) and call.is_list:
            found = {key: value or [] for key, value in found.items()}
        column.share(column.names or [], found)
        self._complete(column)

    def go_on(self, waiting: list[Waiting], values: Mapping[Any, Any], error: Exception | None) -> None:
        wants = self._wants
        for column, index, coroutine, key in waiting:
            try:
                asked = coroutine.send(values[key]) if error is None else coroutine.throw(error)
            except StopIteration as stop:
                column.values[index] = stop.value
            except Exception as failure:  # noqa: BLE001  a field's error, told as such
                column.values[index] = Failed(failure)
            else:
                if asked is WANTED:
                    wants.asked.want(column, index, coroutine, wants.asked_key)
                else:
                    self._go_on_as_task(column, index, coroutine, asked, None)
                continue
            column.open -= 1
            if not column.open:
                self._complete(column)

    # Coroutines

    def _start(self, column: Column) -> None:
        call = column.field.call
        if call.manner is Manner.WANTS:
            self._start_quickly(column)
            return
        for index, value in enumerate(column.values):
            if not self._kinds.is_awaited(value):
                continue
            coroutine: Any = value if value.__class__ is types.CoroutineType else _until(value)
            if call.manner is Manner.TASKS:
                column.open += 1
                self._watch(column, index, asyncio.create_task(coroutine))
            else:
                self._begin(column, index, coroutine, copy_context())
        if call.manner is Manner.UNKNOWN:
            call.manner = Manner.WANTS

    def _start_quickly(self, column: Column) -> None:
        """As `_begin` does for each, in fewer steps."""
        wants, values = self._wants, column.values
        for index, value in enumerate(values):
            if value.__class__ is not types.CoroutineType:
                if self._kinds.is_awaited(value):
                    self._begin(column, index, _until(value), None)
                continue
            try:
                asked = value.send(None)
            except StopIteration as stop:
                values[index] = stop.value
            except Exception as failure:  # noqa: BLE001  a field's error, told as such
                values[index] = Failed(failure)
            else:
                column.open += 1
                if asked is WANTED:
                    wants.asked.want(column, index, value, wants.asked_key)
                else:
                    self._go_on_as_task(column, index, value, asked, None)

    def _begin(self, column: Column, index: int, coroutine: Any, context: Context | None) -> None:
        """The first step; in a context of its own where it may have to go on as a task, which has one."""
        try:
            asked = context.run(coroutine.send, None) if context else coroutine.send(None)
        except StopIteration as stop:
            column.values[index] = stop.value
        except Exception as failure:  # noqa: BLE001  a field's error, told as such
            column.values[index] = Failed(failure)
        else:
            column.open += 1
            if asked is WANTED:
                self._wants.asked.want(column, index, coroutine, self._wants.asked_key)
            else:
                self._go_on_as_task(column, index, coroutine, asked, context)

    def _go_on_as_task(self, column: Column, index: int, coroutine: Any, asked: Any, context: Context | None) -> None:
        column.field.call.manner = Manner.TASKS
        self._watch(column, index, asyncio.create_task(resumed(coroutine, asked), context=context))

    def _watch(self, column: Column, index: int, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(partial(self._arrive, column, index, self.wave))

    def _arrive(self, column: Column, index: int, wave: int, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._arrived.append((column, index, task, wave))
        self._wants.woken.set()

    def _settle(self, since: int = 0) -> None:
        """Goes on with those that are done of the tasks that began since a wave."""
        arrived = [each for each in self._arrived if each[3] >= since]
        self._arrived = [each for each in self._arrived if each[3] < since]
        for column, index, task, _ in arrived:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            column.values[index] = Failed(error) if error else task.result()
            column.open -= 1
            if not column.open:
                self._complete(column)


def _never(_: Column) -> None:
    """Nothing is completed any longer."""


async def _until(value: Awaitable[Any]) -> Any:
    return await value
