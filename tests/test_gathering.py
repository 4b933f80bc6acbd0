"""Calls that are run together: what they want at the same moment is one statement, and each is told its own."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from tortoise.expressions import RawSQL
from tortoise.queryset import QuerySet

from gateway.database import connection
from gateway.errors import Unavailable
from gateway.gathering import gathered
from gateway.prepared import found_by_id, prepared, shown
from models import Project, Role, Secret, User
from models.fields import named
from tests.statements import statements
from tests.world import owned_project, person

whose: ContextVar[str] = ContextVar("whose")
Reading = Callable[[], Awaitable[Any]]
FAILING = {"sqlite": "json_extract(name, '$')", "postgres": "CAST(name AS INTEGER)"}
"""Of a name that is neither."""


class Told:
    """What readings that are run together are told."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.errors: dict[str, Exception] = {}
        self.ended: list[str] = []

    async def of(self, **readings: Reading) -> None:
        await gathered([self._note(name, reading) for name, reading in readings.items()])

    async def _note(self, name: str, reading: Reading) -> None:
        try:
            self.rows[name] = await reading()
        except Exception as error:  # noqa: BLE001  it is looked at
            self.errors[name] = error
        finally:
            self.ended.append(name)


@shown
def _by_emails(emails: list[str]) -> QuerySet[User]:
    return User.filter(email__in=emails).order_by("id")


@prepared
def _roles(project_ids: list[str]) -> QuerySet[Role]:
    return Role.filter(project_id__in=project_ids).order_by("id").select_related("project")


@shown
def _failing(ids: list[str], sql: RawSQL) -> QuerySet[User]:
    return User.filter(id__in=ids).annotate(number=sql)


@prepared
def _secrets(ids: list[str]) -> QuerySet[Secret]:
    return Secret.filter(id__in=ids)


async def test_what_is_wanted_at_the_same_moment_is_asked_in_one_statement(database: str) -> None:
    ada, bo, told = await person("Ada"), await person("Bo"), Told()
    project = await owned_project(ada)
    with statements() as sent:
        await told.of(
            users=lambda: found_by_id(User, [ada.user_id or "", bo.user_id or ""]),
            roles=lambda: _roles([project.id]),
            none=lambda: found_by_id(Project, ["prj_none"]),
        )
    assert len(sent) == 1
    assert told.rows["users"].keys() == {ada.user_id, bo.user_id}
    [found] = told.rows["roles"]
    assert (found.is_owner, found.project.name) == (True, "Maps")
    assert told.rows["none"] == {}


async def test_calls_that_go_on_to_want_more_are_asked_for_together_again(database: str) -> None:
    ada, told = await person("Ada"), Told()
    projects = [await owned_project(ada, name) for name in ("Maps", "Roads", "Seas")]

    async def role_of(project: Project) -> tuple[str, str]:
        [role] = await _roles([project.id])
        found = await found_by_id(Project, [role.project_id])
        return role.project_id, found[project.id].name

    with statements() as sent:
        await told.of(**{each.name: lambda each=each: role_of(each) for each in projects})
    assert len(sent) == 2
    assert told.rows == {each.name: (each.id, each.name) for each in projects}


async def test_who_waits_for_anything_else_is_neither_lost_nor_waited_for_by_the_others(database: str) -> None:
    ada, told, others_are_done = await person("Ada"), Told(), asyncio.Event()

    async def waits() -> Any:
        before = await found_by_id(User, [ada.user_id or ""])
        await others_are_done.wait()
        return before, await found_by_id(User, [ada.user_id or ""]), await User.all().count()

    async def reads() -> Any:
        found = await found_by_id(User, [ada.user_id or ""])
        again = await found_by_id(User, list(found))
        others_are_done.set()
        return again

    await asyncio.wait_for(told.of(waits=waits, reads=reads), 20)
    before, after, number = told.rows["waits"]
    assert (before, number) == (after, 1)
    assert told.rows["reads"] == before


async def test_what_a_call_sets_for_itself_is_its_own_wherever_it_waits(database: str) -> None:
    ada, told = await person("Ada"), Told()

    async def own(name: str) -> str:
        token = whose.set(name)
        await found_by_id(User, [ada.user_id or ""])
        await asyncio.sleep(0)
        mine = whose.get()
        whose.reset(token)
        return mine

    await told.of(one=lambda: own("one's"), other=lambda: own("the other's"))
    assert told.rows == {"one": "one's", "other": "the other's"}
    assert not told.errors


async def test_a_statement_that_fails_fails_for_who_wanted_it_alone(database: str) -> None:
    ada, told = await person("Ada"), Told()
    ids = [ada.user_id or ""]
    await told.of(
        good=lambda: found_by_id(User, ids),
        bad=lambda: _failing(ids, _sql()),
        fine=lambda: _by_emails(["Ada@example.org"]),
    )
    assert [row.name for row in told.rows["fine"]] == ["Ada"]
    assert told.rows["good"].keys() == {ada.user_id}
    assert told.errors.keys() == {"bad"}


async def test_who_finds_all_connections_busy_is_told_so_and_nothing_is_tried_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, told, tries = await person("Ada"), Told(), []

    async def busy(*_: Any) -> Any:
        tries.append(1)
        raise Unavailable("All connections to the database are busy; try again.")

    monkeypatch.setattr(type(connection()), "execute_query", busy)
    ids = [ada.user_id or ""]
    await told.of(one=lambda: found_by_id(User, ids), other=lambda: _by_emails(ids))
    assert {name: type(error) for name, error in told.errors.items()} == {"one": Unavailable, "other": Unavailable}
    assert len(tries) == 1


async def test_a_column_that_json_does_not_hold_is_read_by_itself(database: str) -> None:
    ada, told = await person("Ada"), Told()
    project = await owned_project(ada)
    secret = await Secret.create(project=project, sealed_value=b"\x00\xff\xfe", name="Token")
    with statements() as sent:
        await told.of(secrets=lambda: _secrets([secret.id]), users=lambda: _by_emails(["Ada@example.org"]))
    assert len(sent) == 2
    assert [bytes(each.sealed_value) for each in told.rows["secrets"]] == [b"\x00\xff\xfe"]
    assert [each.id for each in told.rows["users"]] == [ada.user_id]


async def test_calls_are_ended_where_who_runs_them_is(database: str) -> None:
    ada, told = await person("Ada"), Told()

    async def forever() -> None:
        await asyncio.Future()

    async def asks_forever() -> None:
        while True:
            await found_by_id(User, [ada.user_id or ""])

    running = asyncio.create_task(told.of(waits=forever, asks=asks_forever))
    await asyncio.sleep(0.05)
    assert not told.ended
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(told.ended) == ["asks", "waits"]
    assert told.rows.keys() | told.errors.keys() == set()


async def test_texts_come_back_as_they_are(database: str) -> None:
    project, told = await owned_project(await person("Ada")), Told()
    every = "".join(map(chr, [*range(1, 0xD800), *range(0xE000, 0x10000), 0x10000, 0x1F5DD, 0x10FFFF]))
    texts = ["", every, "\\u0041\\", '"\\"', "\n\t\r", "null"]
    made = [await Role.create(project=project, description=text, **named(f"{n}")) for n, text in enumerate(texts)]
    await told.of(one=lambda: _roles([project.id]), other=lambda: found_by_id(Project, [project.id]))
    found = {role.id: role.description for role in told.rows["one"]}
    assert [found[role.id] for role in made] == texts


def _sql() -> RawSQL:
    return RawSQL(FAILING[connection().capabilities.dialect])
