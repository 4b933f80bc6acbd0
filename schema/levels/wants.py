"""What the resolvers of a level want is gathered while they run, and fetched once by each batch."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterable, Mapping, Sequence
from itertools import chain, filterfalse
from typing import Any, Protocol

from gateway.gathering import gathered

WANTED = object()
"""What a resolver yields that waits for a value of a batch: of `Wants.asked`, by `Wants.asked_key`."""

Batch = Callable[..., Awaitable[Mapping[Any, Any]]]
Found = Mapping[Any, Any] | Exception
Waiting = tuple[Any, int, Any, Any]
"""The column of a coroutine that waits, its place there, itself, and the key that it waits for."""


class Told(Protocol):
    """Who goes on with what was fetched."""

    def go_on(self, waiting: list[Waiting], values: Mapping[Any, Any], error: Exception | None) -> None: ...

    def fill(self, column: Any, keys: Iterable[Any], values: Mapping[Any, Any], error: Exception | None) -> None: ...


class Anything:
    """What a batch finds that doesn't say of which class its rows are."""


class Wanted:
    """The keys that a batch is called for once, and who waits for them."""

    __slots__ = ("columns", "futures", "keys", "waiting")

    def __init__(self) -> None:
        self.keys: dict[Any, None] = {}
        self.waiting: list[Waiting] = []
        self.columns: list[tuple[Any, Iterable[Any]]] = []
        self.futures: list[tuple[asyncio.Future[Any], Any]] = []


NOTHING = Wanted()
"""Which nobody ever waits for."""


class Group:
    """One batch with its arguments: what is known of it, and what is wanted."""

    __slots__ = ("_opened", "arguments", "batch", "flying", "found", "kept", "landed", "narrow", "wanted")

    def __init__(
        self,
        batch: Batch,
        arguments: tuple[Hashable, ...],
        narrow: Mapping[str, Any],
        opened: "Callable[[Group], None]",
    ) -> None:
        self.batch = batch
        self.arguments = arguments
        self.narrow = narrow
        self.kept: dict[Any, Any] = {}
        self.wanted: Wanted | None = None
        self.flying = NOTHING
        """What the batch is being called for."""
        self.landed = NOTHING
        self.found: Found = {}
        self._opened = opened

    def wanting(self, key: Any) -> Wanted:
        """Where to wait for the key."""
        if key in self.flying.keys:
            return self.flying
        wanted = self.wanted or self._open()
        wanted.keys[key] = None
        return wanted

    def want(self, column: Any, index: int, coroutine: Any, key: Any) -> None:
        self.wanting(key).waiting.append((column, index, coroutine, key))

    def wanting_all(self, keys: Iterable[Any]) -> Wanted | None:
        """Where to wait for all of the keys; None where there is nothing to wait for."""
        missing = dict.fromkeys(filterfalse(self.kept.__contains__, keys))
        missing.pop(None, None)
        if not missing:
            return None
        if self.flying is not NOTHING:
            if missing.keys() <= self.flying.keys.keys():
                return self.flying
            missing = {key: None for key in missing if key not in self.flying.keys}
        wanted = self.wanted or self._open()
        wanted.keys.update(missing)
        return wanted

    def _open(self) -> Wanted:
        self.wanted = Wanted()
        self._opened(self)
        return self.wanted

    async def fetch(self, actor: Any) -> None:
        self.flying, self.wanted = self.wanted or NOTHING, None
        try:
            self.found = await self.batch(actor, list(self.flying.keys), *self.arguments, **self.narrow)
        except Exception as error:  # noqa: BLE001  it is told to everyone who waits for the batch
            self.found = error

    def land(self) -> None:
        """What was found is known from now on."""
        self.landed, self.flying = self.flying, NOTHING
        if not isinstance(self.found, Exception):
            self.kept.update(zip(self.landed.keys, map(self.found.get, self.landed.keys), strict=True))

    def tell(self, told: Told) -> None:
        """Tells what has landed to those who waited for it."""
        landed, self.landed = self.landed, NOTHING
        error = self.found if isinstance(self.found, Exception) else None
        self.found = {}
        for future, key in landed.futures:
            _tell_future(future, self.kept.get(key), error)
        for column, keys in landed.columns:
            told.fill(column, keys, self.kept, error)
        told.go_on(landed.waiting, self.kept, error)


class Wants:
    """As `Loaders`, for resolvers that the level-by-level executor drives; and for tasks that they start.

    `columns` are what will be read of the rows of a class, told to batches that say which they find.
    """

    def __init__(self, actor: Any, columns: Mapping[type, tuple[str, ...]]) -> None:
        self._actor = actor
        self._columns = columns
        self._groups: dict[Any, Group] = {}
        self.is_driving = False
        """Whether a resolver that waits now is one that is driven."""
        self._open: list[Group] = []
        """Those of which something is wanted."""
        self._flying: list[Group] = []
        self.asked: Group
        self.asked_key: Any
        self.woken = asyncio.Event()

    @types.coroutine
    def load(self, batch: Any, key: Any, *arguments: Hashable) -> Generator[Any, Any, Any]:
        """The value of the key, fetched together with those of all others of the level; None where there is none."""
        group = self._groups.get((batch, *arguments) if arguments else batch)
        if group is None:
            group = self.group(batch, arguments)
        elif key in group.kept:
            return group.kept[key]
        if self.is_driving:
            self.asked, self.asked_key = group, key
            return (yield WANTED)
        return (yield from self._future(group, key))

    @types.coroutine
    def load_all(self, batch: Any, keys: Sequence[Any], *arguments: Hashable) -> Generator[Any, Any, list[Any]]:
        """As `load`, of several at once."""
        group = self.group(batch, arguments)
        while wanted := group.wanting_all(keys):
            key = next(iter(wanted.keys))
            if self.is_driving:
                self.asked, self.asked_key = group, key
                yield WANTED
            else:
                yield from self._future(group, key)
        return [*map(group.kept.get, keys)]

    def keep(self, batch: Any, values: Mapping[Any, Any]) -> None:
        """What the batch would find for these keys, which is at hand already and need not be fetched."""
        group = self.group(batch, ())
        group.kept = {**values, **group.kept}

    def foresee(self, batch: Any, key: Any) -> None:
        """Has the key fetched with whatever is wanted of other batches; nobody waits for it yet."""
        group = self.group(batch, ())
        if key not in group.kept:
            group.wanting(key)

    def group(self, batch: Any, arguments: tuple[Hashable, ...]) -> Group:
        name = (batch, *arguments) if arguments else batch
        group = self._groups.get(name)
        if group is None:
            columns = self._columns.get(getattr(batch, "narrows", Anything))
            narrow = {"columns": columns} if columns else {}
            group = self._groups[name] = Group(batch, arguments, narrow, self._open.append)
        return group

    @property
    def are_open(self) -> bool:
        return bool(self._open)

    async def fetch(self) -> None:
        """Calls each batch for all that is wanted of it."""
        self._flying, self._open[:] = self._open[:], []
        if len(self._flying) == 1:
            await self._flying[0].fetch(self._actor)
        else:
            await gathered([group.fetch(self._actor) for group in self._flying])

    def tell(self, told: Told) -> None:
        """What was fetched, to those who wait."""
        flying, self._flying = self._flying, []
        for group in flying:
            group.land()
        for group in flying:  # now whoever goes on finds all of it
            group.tell(told)

    async def until_woken(self) -> None:
        """Returns when a task is done or wants something."""
        await self.woken.wait()
        self.woken.clear()

    def abandon(self) -> None:
        """Closes coroutines that still wait."""
        for group in self._groups.values():
            for _, _, coroutine, _ in chain(
                *(each.waiting for each in (group.wanted, group.flying, group.landed) if each)
            ):
                coroutine.close()

    def _future(self, group: Group, key: Any) -> Generator[Any, Any, Any]:
        """For a task, which waits as tasks do."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        group.wanting(key).futures.append((future, key))
        self.woken.set()
        return (yield from future)


def _tell_future(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():  # its task was cancelled
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(value)
