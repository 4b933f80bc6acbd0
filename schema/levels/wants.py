"""What the resolvers of a level want is gathered while they run, and fetched once by each batch."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

WANTED = object()
"""What a resolver yields that waits for a value of a batch; `Wants.asked` tells which."""

Waiter = Callable[[Any, Exception | None], None]
"""Is told the value, or what the batch failed with."""
Found = Mapping[Any, Any] | Exception


class Group:
    """One batch with its arguments: what is known of it, and what is wanted."""

    __slots__ = ("arguments", "batch", "flying", "found", "kept", "wanted")

    def __init__(self, batch: Callable[..., Awaitable[Mapping[Any, Any]]], arguments: tuple[Hashable, ...]) -> None:
        self.batch = batch
        self.arguments = arguments
        self.kept: dict[Any, Any] = {}
        self.wanted: dict[Any, list[Waiter]] = {}
        self.flying: dict[Any, list[Waiter]] = {}
        """What the batch was called for, until it is told."""
        self.found: Found = {}

    def want(self, key: Any, waiter: Waiter) -> None:
        waiting = self.flying.get(key)
        if waiting is None:
            waiting = self.wanted.setdefault(key, [])
        waiting.append(waiter)

    async def fetch(self, actor: Any) -> None:
        self.flying, self.wanted = self.wanted, {}
        try:
            self.found = await self.batch(actor, list(self.flying), *self.arguments)
        except Exception as error:  # noqa: BLE001  it is told to everyone who waits for the batch
            self.found = error

    def tell(self) -> None:
        flying, self.flying = self.flying, {}
        found, self.found = self.found, {}
        if isinstance(found, Exception):
            for waiter in [waiter for waiters in flying.values() for waiter in waiters]:
                waiter(None, found)
            return
        self.kept.update((key, found.get(key)) for key in flying)
        for key, waiters in flying.items():
            value = self.kept[key]
            for waiter in waiters:
                waiter(value, None)


class Wants:
    """As `Loaders`, for resolvers that the level-by-level executor drives; and for tasks that they start."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._groups: dict[Any, Group] = {}
        self._is_driving = False
        self._flying: list[Group] = []
        self.asked: tuple[Group, Any]
        self.woken = asyncio.Event()

    @types.coroutine
    def load(self, batch: Any, key: Any, *arguments: Hashable) -> Generator[Any, Any, Any]:
        """The value of the key, fetched together with those of all others of the level; None where there is none."""
        group = self._groups.get((batch, *arguments) if arguments else batch)
        if group is None:
            group = self._group(batch, arguments)
        elif key in group.kept:
            return group.kept[key]
        if self._is_driving:
            self.asked = group, key
            return (yield WANTED)
        return (yield from self._future(group, key))

    def keep(self, batch: Any, values: Mapping[Any, Any]) -> None:
        """What the batch would find for these keys, which is at hand already and need not be fetched."""
        group = self._groups.get(batch) or self._group(batch, ())
        group.kept = {**values, **group.kept}

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Around all code that drives resolvers: outside of it they run in tasks, and wait as tasks do."""
        self._is_driving = True
        try:
            yield
        finally:
            self._is_driving = False

    @property
    def are_open(self) -> bool:
        return any(group.wanted for group in self._groups.values())

    async def fetch(self) -> None:
        """Calls each batch for all that is wanted of it."""
        self._flying = [group for group in self._groups.values() if group.wanted]
        if len(self._flying) == 1:
            await self._flying[0].fetch(self._actor)
        else:
            await asyncio.gather(*(group.fetch(self._actor) for group in self._flying))

    def tell(self) -> None:
        """What was fetched, to those who wait."""
        flying, self._flying = self._flying, []
        for group in flying:
            group.tell()

    async def until_woken(self) -> None:
        """Returns when a task is done or wants something."""
        await self.woken.wait()
        self.woken.clear()

    def abandon(self) -> None:
        """Closes coroutines that still wait."""
        for group in self._groups.values():
            for waiter in [*group.wanted.values(), *group.flying.values()]:
                for each in waiter:
                    if coroutine := getattr(each, "coroutine", None):
                        coroutine.close()

    def _group(self, batch: Any, arguments: tuple[Hashable, ...]) -> Group:
        group = Group(batch, arguments)
        self._groups[(batch, *arguments) if arguments else batch] = group
        return group

    def _future(self, group: Group, key: Any) -> Generator[Any, Any, Any]:
        """For a task, which waits as tasks do."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def tell(value: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error:
                future.set_exception(error)
            else:
                future.set_result(value)

        group.want(key, tell)
        self.woken.set()
        return (yield from future)
