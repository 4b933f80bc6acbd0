"""Statements that are wanted at the same moment go to the database as one.

The way there and back costs the gateway more than most answers do. So `gathered` runs calls side by side, none of them
as a task of asyncio's, and asks in one statement for all the rows that they wait for. It answers with the columns of
each in JSON, of which rows are made in a fraction of the time that a driver takes for them.
"""

import asyncio
import re
import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import chain
from typing import Any, NamedTuple

import orjson
from tortoise.context import require_context

from gateway.errors import Unavailable
from gateway.rows import Make, Making
from gateway.stepping import resumed

KEPT = 1000
NUMBERED = re.compile(r"\$(\d+)")
AN_ARRAY = {"postgres": "json_build_array", "sqlite": "json_array"}
OF_A_COLUMN = {"postgres": "json_agg", "sqlite": "json_group_array"}
MOST_COLUMNS = 100
"""So many arguments a function of PostgreSQL has at most."""

Call = Coroutine[Any, Any, None]


@dataclass(frozen=True, eq=False)
class Statement:
    """One that reads, the columns of its rows, and what they become: without a making, they stay as they come."""

    dialect: str
    sql: str
    columns: tuple[str, ...]
    making: Making | None

    def rows(self, found: Sequence[Any]) -> list[Any]:
        """Of what the driver gives."""
        return self._make(found) if self._make else list(found)

    def rows_of_json(self, text: str) -> list[Any]:
        """Of what `as_one` answers for this statement."""
        columns = orjson.loads(text)
        return self._make_of_json(zip(*columns, strict=True)) if columns[0] else []

    @cached_property
    def json(self) -> tuple[str, ...] | None:
        """What goes into JSON of each column; None where one of them doesn't."""
        if self.making is None or not 0 < len(self.columns) <= MOST_COLUMNS:
            return None
        return self.making.json(self.dialect, self.columns)

    @cached_property
    def _make(self) -> Make | None:
        return self.making.of(self.dialect, self.columns) if self.making else None

    @cached_property
    def _make_of_json(self) -> Make:
        assert self.making  # noqa: S101  or nothing of it is asked in JSON
        return self.making.of_json(self.dialect, self.columns)


class Asked(NamedTuple):
    """What a call waits for."""

    statement: Statement
    values: Sequence[Any]


_is_stepping = False
"""Whether `gathered` runs what asks now. It never is while anything is waited for."""


async def asked_rows(asked: Asked) -> list[Any]:
    """Those of a statement, which goes with others where the call is run together with theirs."""
    return await _with_others(asked) if _is_stepping and asked.statement.json else await alone(asked)


@types.coroutine
def _with_others(asked: Asked) -> Generator[Any, Any, list[Any]]:
    rows: list[Any] = yield asked
    return rows


async def alone(asked: Asked) -> list[Any]:
    _, found = await require_context().db().execute_query(asked.statement.sql, list(asked.values))
    return asked.statement.rows(found)


async def at_once(several: Sequence[Asked]) -> list[list[Any]]:
    """The rows of each, in one statement."""
    statements = tuple([asked.statement for asked in several])
    values = list(chain.from_iterable([asked.values for asked in several]))
    _, (texts,) = await require_context().db().execute_query(as_one(statements), values)
    return [statement.rows_of_json(text) for statement, text in zip(statements, texts, strict=True)]


@lru_cache(KEPT)
def as_one(statements: tuple[Statement, ...]) -> str:
    """Answers all of them in one row, each by an array of its columns; takes their parameters, one after another."""
    taken, arrays = 0, []
    for statement in statements:
        arrays.append(_array_of_columns(statement, _after(taken, statement.sql)))
        taken += len(NUMBERED.findall(statement.sql))
    return f"SELECT {', '.join(arrays)}"


def _after(taken: int, sql: str) -> str:
    """With so many parameters before its own, where they are numbered."""
    return NUMBERED.sub(lambda mark: f"${int(mark[1]) + taken}", sql)


def _array_of_columns(statement: Statement, sql: str) -> str:
    columns = ", ".join([f"{OF_A_COLUMN[statement.dialect]}({column})" for column in statement.json or ()])
    return f"(SELECT {AN_ARRAY[statement.dialect]}({columns}) FROM ({sql}) AS each)"  # noqa: S608  our own statements


async def gathered(calls: Iterable[Call]) -> None:
    """Runs calls, until all are done. Raises what one of them raised; the others are ended then."""
    running = _Running(calls)
    try:
        await running.until_done()
    finally:
        await running.end()


class _Running:
    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = list(calls)
        self._asking: list[tuple[Call, Context, Asked]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def until_done(self) -> None:
        for call in self._calls:
            context = copy_context()
            self._step(call, context, partial(context.run, call.send, None))
        while self._asking:
            asking, self._asking = self._asking, []
            await self._answer(asking)
        if self._tasks:
            await asyncio.gather(*self._tasks)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for call in self._calls:
            call.close()

    async def _answer(self, asking: Sequence[tuple[Call, Context, Asked]]) -> None:
        if len(asking) == 1:
            await self._answer_alone(*asking[0])
            return
        try:
            found = await at_once([asked for *_, asked in asking])
        except Unavailable as error:
            for call, context, _ in asking:
                self._step(call, context, partial(context.run, call.throw, error))
        except Exception:  # noqa: BLE001  of one of them: each is told its own
            for each in asking:
                await self._answer_alone(*each)
        else:
            for (call, context, _), rows in zip(asking, found, strict=True):
                self._step(call, context, partial(context.run, call.send, rows))

    async def _answer_alone(self, call: Call, context: Context, asked: Asked) -> None:
        try:
            rows = await alone(asked)
        except Exception as error:  # noqa: BLE001  it is told to who waits
            self._step(call, context, partial(context.run, call.throw, error))
        else:
            self._step(call, context, partial(context.run, call.send, rows))

    def _step(self, call: Call, context: Context, step: Callable[[], Any]) -> None:
        global _is_stepping  # noqa: PLW0603  true for as long as this step, in which nothing else runs
        was, _is_stepping = _is_stepping, True
        try:
            asked = step()
        except StopIteration:
            return
        finally:
            _is_stepping = was
        if isinstance(asked, Asked):
            self._asking.append((call, context, asked))
        else:
            self._tasks.append(asyncio.create_task(resumed(call, asked), context=context))
