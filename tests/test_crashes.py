"""The event log's promises hold while subscribers vanish and the gateway is killed, both at random moments.

mortal.py says how to have it killed more often, and how to repeat a run.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from gateway.database import connected
from gateway.permissions import Actor, Permission
from models import Event
from tests import mortal
from tests.following import GONE, TRANSPORTS, Asked, Ended, Following, Refused, Told, following
from tests.mortal import SEED, Mortal, chance
from tests.stage import CURSORS, session_token
from tests.world import owned_project, person, role, template

ROUNDS = mortal.ROUNDS or 3
LIFE_SECONDS = (0.3, 2.5)
CATCH_UP_SECONDS = 30
WRITERS = 3

log = logging.getLogger(__name__)
Json = dict[str, Any]


# ---------------------------------------------------------------- those who write


class Unacknowledged(Exception):
    """Nobody knows whether it was done."""


@dataclass
class Writer:
    """Asks for keys as one user and decides as the owner, each mutation until it is acknowledged."""

    number: int
    gateway: Mortal
    template_id: str
    asker: str
    owner: str
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    retries: int = 0

    def __post_init__(self) -> None:
        self._random = chance(f"writer {self.number}")

    async def write(self) -> None:
        while not self.gateway.is_calm.is_set():
            request = await self._do(self.asker, "keyRequestCreate", {"templateId": self.template_id})
            self.acknowledged.append(("request.created", request["id"]))
            await self._random.choice([self._approve, self._reject, self._cancel])(request["id"])

    async def _approve(self, request_id: str) -> None:
        request = await self._do(self.owner, "keyRequestApprove", {"requestId": request_id})
        key_id = request["issuedKey"]["id"]
        self.acknowledged += [("key.issued", key_id), ("request.approved", request_id)]
        who = self._random.choice([self.owner, self.asker])
        await self._do(who, "keyRevoke", {"keyId": key_id}, "issuedKey { id }")
        self.acknowledged.append(("key.revoked", key_id))

    async def _reject(self, request_id: str) -> None:
        await self._do(self.owner, "keyRequestReject", {"requestId": request_id, "reason": "No."})
        self.acknowledged.append(("request.rejected", request_id))

    async def _cancel(self, request_id: str) -> None:
        await self._do(self.asker, "keyRequestCancel", {"requestId": request_id})
        self.acknowledged.append(("request.cancelled", request_id))

    async def _do(
        self, token: str, mutation: str, input: Json, member: str = "request { id issuedKey { id } }"
    ) -> Json:
        """What it answers with, at last."""
        input["idempotencyKey"] = uuid4().hex
        kind = mutation[0].upper() + mutation[1:] + "Input!"
        query = (
            f"mutation ($input: {kind}) {{ {mutation}(input: $input) {{ {member} userErrors {{ code message }} }} }}"
        )
        while True:
            try:
                payload = (await self._post(token, {"query": query, "variables": {"input": input}}))[mutation]
            except Unacknowledged:
                self.retries += 1
            else:
                assert payload["userErrors"] == [], (mutation, input, payload)
                return dict(payload[member.partition(" ")[0]])

    async def _post(self, token: str, body: Json) -> Json:
        url, patience = await self.gateway.url(), 0.02 if self._random.random() < 0.1 else 10.0
        try:
            async with asyncio.timeout(patience), httpx2.AsyncClient(timeout=None) as http:
                answer = await http.post(f"{url}/graphql", json=body, headers={"Authorization": f"Bearer {token}"})
        except (TimeoutError, httpx2.TransportError) as error:
            raise Unacknowledged from error
        found = dict(answer.json())
        codes = {error["extensions"]["code"] for error in found.get("errors", ())}
        assert codes <= {"UNAVAILABLE"}, found
        if codes:
            raise Unacknowledged
        return dict(found["data"])


# ---------------------------------------------------------------- those who follow


@dataclass
class Follower:
    """Acts on each event and then saves its cursor; whoever dies in between acts again, and knows it by the cursor."""

    name: str
    transport: str
    gateway: Mortal
    query: str
    variables: Json
    token: str
    wants: Callable[[Event], bool]
    saved: str
    acted_on: list[str] = field(default_factory=list)
    lives: list[tuple[str, list[str]]] = field(default_factory=list)
    """The cursor that each connection began after, and the cursors that it brought."""

    def __post_init__(self) -> None:
        self._random = chance(self.name)

    async def follow(self) -> None:
        while True:
            url = await self.gateway.url()
            try:
                async with following(self.transport, url, self._asked()) as events:
                    with self._mortal(events):
                        await self._act_on(events)
            except Refused as refused:
                if refused.status != 503:
                    raise
            except Ended as ended:
                if ended.code not in {None, 1012, 1013}:
                    raise
            except GONE:
                pass

    def _asked(self) -> Asked:
        by_header = self.transport == "sse" and self._random.random() < 0.5
        cursor: Json = {} if by_header else {"after": self.saved}
        return Asked(self.query, {**self.variables, **cursor}, self.token, self.saved if by_header else None)

    @contextmanager
    def _mortal(self, events: Following) -> Iterator[None]:
        """Cuts the connection at some moment, unless it ends before."""
        seconds = self._random.expovariate(1.0)
        end = asyncio.get_running_loop().call_later(seconds, self._vanish, events)
        try:
            yield
        finally:
            end.cancel()

    def _vanish(self, events: Following) -> None:
        if not self.gateway.is_calm.is_set():
            events.abort()

    async def _act_on(self, events: Following) -> None:
        brought: list[str] = []
        self.lives.append((self.saved, brought))
        while (told := await events.next()).codes != ["UNAVAILABLE"]:
            cursor = self._cursor_of(told)
            brought.append(cursor)
            if cursor not in self.acted_on[-1000:]:
                self.acted_on.append(cursor)
            if not self.gateway.is_calm.is_set() and self._random.random() < 0.02:
                return events.abort()  # having acted, but not saved
            self.saved = cursor
        return None

    def _cursor_of(self, told: Told) -> str:
        assert told.codes == [], told.body
        cursor = str(told.data["cursor"])
        assert told.id == (cursor if self.transport == "sse" else None)
        return cursor


REQUESTS = "subscription ($id: ID!, $after: EventCursor) { keyRequestEvents(projectId: $id, after: $after) { %s } }"
OWN = "subscription ($after: EventCursor) { viewerKeyEvents(after: $after) { %s } }"
PROJECT = "subscription ($id: ID!, $after: EventCursor) { projectEvents(projectId: $id, after: $after) { %s } }"
REQUEST = "cursor request { state user { id } }"
OBJECT = "cursor objectId object { id }"


@dataclass
class World:
    """What was there before the first life."""

    project_id: str
    template_id: str
    owner: str
    askers: list[str]
    first_asker: Actor
    cursor: str


async def new_world() -> World:
    ada, askers = await person("Ada"), [await person(f"Asker {number}") for number in range(WRITERS)]
    project = await owned_project(ada)
    basic = await template(project, await role(project, Permission.PROJECT_VIEW, is_public=True))
    tokens = [await session_token(each) for each in askers]
    return World(project.id, basic.id, await session_token(ada), tokens, askers[0], CURSORS.give(0))


def followers(gateway: Mortal, world: World) -> list[Follower]:
    asker_id, project = world.first_asker.user_id, {"id": world.project_id}

    def is_of_request(event: Event) -> bool:
        return event.kind.startswith("request.")

    def is_own(event: Event) -> bool:
        return event.user_id == asker_id

    def is_own_and_told(event: Event) -> bool:
        return is_own(event) and event.kind != "key.issued"  # which APPROVED tells

    of_all = [
        ("requests", REQUESTS % REQUEST, project, world.owner, is_of_request),
        ("project", PROJECT % OBJECT, project, world.owner, lambda _: True),
        ("own on project", PROJECT % OBJECT, project, world.askers[0], is_own),
        ("own", OWN % REQUEST, {}, world.askers[0], is_own_and_told),
    ]
    return [
        Follower(f"{name} by {transport}", transport, gateway, query, variables, token, wants, world.cursor)
        for name, query, variables, token, wants in of_all
        for transport in TRANSPORTS
    ]


# ---------------------------------------------------------------- the promise


async def test_nothing_is_lost_and_nothing_comes_twice_whoever_dies_and_whenever(
    database_url: str, tmp_path: Path
) -> None:
    log.warning("To repeat this run: TESSERA_CRASH_SEED=%d TESSERA_CRASH_ROUNDS=%d", SEED, ROUNDS)
    async with connected(database_url):
        world = await new_world()
    gateway = Mortal(database_url, tmp_path)
    all_who_follow = followers(gateway, world)
    writers = [
        Writer(number, gateway, world.template_id, asker, world.owner) for number, asker in enumerate(world.askers)
    ]
    async with asyncio.TaskGroup() as group:
        following_tasks = [group.create_task(each.follow(), name=each.name) for each in all_who_follow]
        writing_tasks = [group.create_task(each.write()) for each in writers]
        lives = chance("lives")
        for _ in range(ROUNDS):
            await gateway.live_and_die(lambda: asyncio.sleep(lives.uniform(*LIFE_SECONDS)))
        gateway.is_calm.set()
        async with gateway.alive():
            await asyncio.wait(writing_tasks)
            logged = await logged_events(database_url, world)
            with suppress(TimeoutError):  # what they lack is told below
                await until_caught_up(all_who_follow, logged)
            for task in following_tasks:
                task.cancel()
    tell_what_happened(all_who_follow, writers, logged)
    assert_logged_once(writers, logged)
    for each in all_who_follow:
        assert_followed(each, logged)


async def logged_events(database_url: str, world: World) -> list[Event]:
    async with connected(database_url):
        return await Event.filter(project_id=world.project_id).order_by("position")


async def until_caught_up(all_who_follow: list[Follower], logged: list[Event]) -> None:
    lasts = {each.name: cursors_for(each, logged)[-1:] for each in all_who_follow}
    async with asyncio.timeout(CATCH_UP_SECONDS):
        while any(each.acted_on[-1:] != lasts[each.name] for each in all_who_follow):  # noqa: ASYNC110  # they tell nobody
            await asyncio.sleep(0.05)


def cursors_for(follower: Follower, logged: list[Event]) -> list[str]:
    return [CURSORS.give(event.position) for event in logged if follower.wants(event)]


def tell_what_happened(all_who_follow: list[Follower], writers: list[Writer], logged: list[Event]) -> None:
    lives = sum(len(each.lives) for each in all_who_follow)
    again = sum(len(brought) for each in all_who_follow for _, brought in each.lives)
    again -= sum(len(each.acted_on) for each in all_who_follow)
    retries = sum(each.retries for each in writers)
    sentence = "%d lives of the gateway, %d of followers; %d events, %d of them acted on again; %d retried mutations"
    log.warning(sentence, ROUNDS + 1, lives, len(logged), again, retries)


def assert_logged_once(writers: list[Writer], logged: list[Event]) -> None:
    """Whatever was acknowledged is in the log, once, and there is nothing that was not."""
    acknowledged = Counter(act for each in writers for act in each.acknowledged)
    assert set(acknowledged.values()) == {1}
    assert Counter((event.kind, event.object_id) for event in logged) == acknowledged


def assert_followed(follower: Follower, logged: list[Event]) -> None:
    """Every event in order, once; and on each connection just those that come after the cursor that it began with."""
    expected = cursors_for(follower, logged)
    assert expected
    assert follower.acted_on == expected, follower.name
    begins = {cursor: index for index, cursor in enumerate(expected, start=1)} | {CURSORS.give(0): 0}
    for after, brought in follower.lives:
        begin = begins[after]
        assert brought == expected[begin : begin + len(brought)], follower.name
