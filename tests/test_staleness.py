"""No read is ever too old, whoever changes what meanwhile, and wherever.

TESSERA_STALE_READS=100000 makes it a long trial.
"""

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest

from gateway import keys
from gateway.permissions import Actor, Permission
from gateway.revisions import Revisions
from gateway.signing import Keyring
from models import Event, Project, Template
from tests.stage import SECRET_KEY, session_token, staged
from tests.staleness import MANY, READS, SEED, Fact, Question, Stale, Trial
from tests.test_cli import Tessera
from tests.world import SEALER, issued_key, join, owned_project, person, role, template

WORKERS = 3
FEW_READS = 1500
ISSUER = "http://127.0.0.1:8000"
PAGE = """
query ($id: ID!) {
  viewer { user { name } }
  project(id: $id) { name templates { name viewerState } issuedKeys { totalCount } }
}
"""
LIST = "{ projects { nodes { id name } } }"
OWN = "{ viewer { user { name } apiKey { id state } } }"


class People:
    """A project, people who change it, and people whose answers change by that; each adds to the trial what they do."""

    def __init__(self, trial: Trial, ada: Actor, token: str) -> None:
        self._trial, self._ada, self._token = trial, ada, token
        self._numbers = count(1)

    async def name_things(self, project: Project, basic: Template) -> None:
        name, tile = Fact("the project's name", project.name), Fact("the template's name", basic.name)
        self._writes(name, "projectUpdate", self._next_name, lambda value: {"projectId": project.id, "name": value})
        self._writes(tile, "templateUpdate", self._next_name, lambda value: {"templateId": basic.id, "name": value})
        page = (
            (name, lambda data: data["project"]["name"]),
            (tile, lambda data: data["project"]["templates"][0]["name"]),
        )
        self._reads(PAGE, page, self._token, id=project.id)
        self._reads(LIST, ((name, lambda data: _listed(data)[project.id]),), self._token)

    async def let_people_in(self, project: Project) -> None:
        """And out again: Bo to the project, Ana to its keys."""
        bo, ana = await person(f"Bo of {project.id}"), await person(f"Ana of {project.id}")
        seeing = await role(project, Permission.PROJECT_VIEW, name="seeing")
        viewing = await role(project, name="viewing")
        await join(project, ana, await role(project, Permission.PROJECT_VIEW, name="always"), viewing)
        is_in, sees_keys = Fact("whether Bo is in", False), Fact("whether Ana sees keys", False)
        bos = {"projectId": project.id, "user": {"userId": bo.user_id}}
        self._writes(
            is_in, "memberSetRoles", lambda: not is_in.value, lambda value: {**bos, "roleIds": [seeing.id] * value}
        )
        self._writes(
            sees_keys,
            "roleUpdate",
            lambda: not sees_keys.value,
            lambda value: {"roleId": viewing.id, "permissions": ["KEYS_VIEW"] * value},
        )
        for query in (PAGE, LIST):
            self._reads(query, ((is_in, _sees(project)),), await session_token(bo), **_variables(query, project))
        shows = ((sees_keys, lambda data: data["project"]["issuedKeys"] is not None),)
        self._reads(PAGE, shows, await session_token(ana), id=project.id)

    async def open_to_all(self, project: Project) -> None:
        public = await role(project, Permission.PROJECT_VIEW, name="public")
        is_public = Fact("whether it is public", False)
        self._writes(
            is_public,
            "roleUpdate",
            lambda: not is_public.value,
            lambda value: {"roleId": public.id, "isPublic": value},
        )
        for query in (PAGE, LIST):
            self._reads(query, ((is_public, _sees(project)),), None, **_variables(query, project))

    async def interrupt_a_key(self, basic: Template) -> None:
        key_id, token = await _key(basic)
        works = Fact("whether a key works", True)

        async def act() -> None:
            async with works.turn:
                mutation = "keySuspend" if works.value else "keyResume"
                await self._trial.change(works, not works.value, self._token, mutation, keyId=key_id)

        self._trial.writes += [act] * 3
        self._reads(OWN, ((works, _is_let_in),), token)

    async def end_for_good(self, basic: Template, number: int) -> None:
        """Keys and sessions, one after the other."""
        for _ in range(number):
            key_id, token = await _key(basic)
            self._ends("a key", token, self._token, "keyRevoke", keyId=key_id)
            own = await session_token(await person(f"{key_id}'s friend"))
            self._ends("a session", own, own, "signOut")

    def _ends(self, what: str, token: str, by: str, mutation: str, **input: Any) -> None:
        lives = Fact(f"whether {what} lives", True)

        async def act() -> None:
            async with lives.turn:
                if lives.value:
                    await self._trial.change(lives, False, by, mutation, **input)

        self._trial.writes.append(act)
        self._reads(OWN, ((lives, _is_let_in),), token)

    def _next_name(self) -> str:
        return f"name {next(self._numbers)} of {self._ada.user_id}"

    def _writes(
        self, fact: Fact, mutation: str, next_value: Callable[[], Any], input: Callable[[Any], dict[str, Any]]
    ) -> None:
        async def act() -> None:
            async with fact.turn:
                value = next_value()
                await self._trial.change(fact, value, self._token, mutation, **input(value))

        self._trial.writes += [act] * 3

    def _reads(self, query: str, shows: Any, token: str | None, **variables: Any) -> None:
        self._trial.questions.append(Question(token, query, variables, shows))


def _listed(data: Any) -> dict[str, str]:
    return {node["id"]: node["name"] for node in data["projects"]["nodes"]}


def _sees(project: Project) -> Callable[[Any], bool]:
    return lambda data: project.id in _listed(data) if "projects" in data else data["project"] is not None


def _variables(query: str, project: Project) -> dict[str, str]:
    return {"id": project.id} if query is PAGE else {}


def _is_let_in(data: Any) -> bool:
    return data is not None


async def _key(basic: Template) -> tuple[str, str]:
    """A new key of somebody's, with its token."""
    holder, keyring = await person("Cy", f"{uuid4().hex}@example.org"), Keyring(SEALER, ISSUER)
    key = await issued_key(basic, holder)
    await keys._add_generation(keyring, key)
    return key.id, await keys.token(keyring, key)


async def prepared(url: str, reads: int) -> Trial:
    trial = Trial(url, reads)
    for number in range(2):
        ada = await person(f"Ada {number}")
        project = await owned_project(ada, name=f"Maps {number}")
        basic = await template(project, await role(project, Permission.PROJECT_VIEW))
        people = People(trial, ada, await session_token(ada))
        await people.name_things(project, basic)
        await people.let_people_in(project)
        await people.open_to_all(await owned_project(ada, name=f"Open maps {number}"))
        await people.interrupt_a_key(basic)
        await people.end_for_good(basic, 3 if reads < MANY else reads // 1000)
    return trial


class Memory(NamedTuple):
    """What is tried: all that a process remembers, or only what it goes by where it keeps no answers."""

    megabytes: int
    hits: str


ANSWERS = Memory(64, "tessera_kept_answers_hits_total")
CALLERS = Memory(0, "tessera_callers_hits_total")
each_memory = pytest.mark.parametrize("memory", [ANSWERS, CALLERS], ids=["answers kept", "no answers kept"])


async def hits(memory: Memory, url: str) -> int:
    """Of one process."""
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        text = (await http.get("/metrics")).text
    return int(float(text.split(f"\n{memory.hits} ")[1].split()[0]))


def tell(trial: Trial, memory: Memory, hits: int) -> None:
    sys.stderr.write(f"TESSERA_STALE_SEED={SEED}: {trial.tally}; {memory.hits} of one process: {hits}\n")


@each_memory
async def test_in_one_process_a_read_contains_every_change_that_was_acknowledged(
    database_url: str, tmp_path: Path, memory: Memory
) -> None:
    async with staged(database_url, tmp_path, kept_answers_megabytes=memory.megabytes) as stage:
        trial = await prepared(stage.url, READS or FEW_READS)
        await trial.run()
        given = await hits(memory, stage.url)
    tell(trial, memory, given)
    assert given > trial.tally.reads / 20


@each_memory
@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_among_workers_a_read_is_never_older_than_a_second_nor_than_the_revision_that_it_presents(
    database: str, tmp_path: Path, memory: Memory
) -> None:
    kept = str(memory.megabytes)
    tessera = Tessera(
        tmp_path, database_url=database, secret_key=SECRET_KEY, worker_header="on", kept_answers_megabytes=kept
    )
    with tessera.serving("--workers", str(WORKERS)) as served:
        url = await served.url()
        trial = await prepared(url, READS or FEW_READS)
        await trial.run()
        given = await hits(memory, url)
    tell(trial, memory, given)
    assert min(given, trial.tally.elsewhere, trial.tally.presented) > 0


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("memory", "deaf_to"),
    [
        (ANSWERS, "project.updated"),
        (ANSWERS, "member.removed"),
        (ANSWERS, "key.suspended"),
        (CALLERS, "key.suspended"),
        (CALLERS, "session.ended"),
        (CALLERS, "member.removed"),
        (CALLERS, "role.updated"),
    ],
)
async def test_were_a_kind_of_event_not_heard_the_trial_would_find_a_stale_read(
    database_url: str, tmp_path: Path, memory: Memory, deaf_to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Revisions._move

    def deaf(revisions: Revisions, event: Event) -> None:
        if event.kind != deaf_to:
            move(revisions, event)

    monkeypatch.setattr(Revisions, "_move", deaf)
    async with staged(database_url, tmp_path, kept_answers_megabytes=memory.megabytes) as stage:
        trial = await prepared(stage.url, 6 * FEW_READS)
        with pytest.raises(ExceptionGroup) as raised:
            await trial.run()
    assert raised.group_contains(Stale)
