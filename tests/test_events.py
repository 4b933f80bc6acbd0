"""The event log: in order, nothing lost, nothing twice, whoever writes and however late one reads."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import aclosing, suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest
from tortoise.transactions import in_transaction

from gateway import clock, events
from gateway.errors import BadInput, CursorExpired, Unavailable
from gateway.events import Cursors, Discontinued, EventLog, Place
from gateway.permissions import GATEWAY
from gateway.sealing import Sealer
from models import Event, EventHead
from tests.world import SEALER

pytestmark = pytest.mark.usefixtures("database")
CURSORS = Cursors(SEALER)


async def append(number: int = 1) -> None:
    for _ in range(number):
        async with in_transaction():
            await events.append(GATEWAY, "thing.happened", "prj_of_nobody")


async def read(log: EventLog, position: int, quantity: int) -> list[int]:
    """The positions of the next events, which must come within a moment."""
    found: list[int] = []
    async with asyncio.timeout(60), aclosing(log.follow(position, lambda _: True)) as followed:
        async for event in followed:
            found.append(event.position)
            if len(found) == quantity:
                break
    return found


async def test_what_is_rolled_back_was_never_told() -> None:
    with suppress(ZeroDivisionError):
        async with in_transaction():
            await events.append(GATEWAY, "thing.happened", "prj_of_nobody")
            _ = 1 / 0
    await append()
    assert [event.position for event in await events.after(0)] == [1]


async def test_positions_show_in_order_without_gaps_under_concurrent_writers() -> None:
    seen: list[int] = []

    async def watch() -> None:
        while len(seen) < 60:
            seen.extend(event.position for event in await events.after(seen[-1] if seen else 0))

    async with asyncio.timeout(60):
        await asyncio.gather(watch(), *(append(10) for _ in range(6)))
    assert seen == list(range(1, 61))


async def test_a_follower_gets_what_was_before_and_what_comes_after_each_once() -> None:
    await append(3)
    async with EventLog().running() as log:
        await append(2)
        reading = asyncio.create_task(read(log, 1, 6))
        await append(2)
        assert await reading == [2, 3, 4, 5, 6, 7]


async def test_a_lost_wake_up_is_made_up_for() -> None:
    async with EventLog().running() as log:
        reading = asyncio.create_task(read(log, 0, 1))
        await append()  # and nobody calls wake
        assert await reading == [1]


async def test_the_log_stops_also_at_the_moment_in_which_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: Place) -> list[Event]:
        return []

    monkeypatch.setattr(Place, "next", nothing)
    for turns in range(10):
        async with asyncio.timeout(60) as patience, EventLog().running() as log:
            for _ in range(20):
                await asyncio.sleep(0)
            log.wake()
            for _ in range(turns):
                await asyncio.sleep(0)
        assert not patience.expired(), turns


async def test_a_follower_far_behind_reads_the_table_and_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RECENT", 4)
    monkeypatch.setattr(events, "PAGE", 3)
    await append(5)
    async with EventLog().running() as log:
        await append(7)
        assert await read(log, 0, 12) == list(range(1, 13))


async def test_each_follower_goes_at_its_own_pace() -> None:
    async with EventLog().running() as log:
        readings = [asyncio.create_task(read(log, start, 9 - start)) for start in (0, 3, 8)]
        await append(9)
        log.wake()
        assert await asyncio.gather(*readings) == [list(range(1, 10)), list(range(4, 10)), [9]]


async def test_a_cursor_gives_its_position_back() -> None:
    await append(4)
    assert await CURSORS.take(CURSORS.give(3)) == 3


@pytest.mark.parametrize("forged", ["", "3", "AAAA", "ü", CURSORS.give(1)[:-1], CURSORS.give(1) + "A"])
async def test_a_forged_cursor_is_bad_input(forged: str) -> None:
    await append(2)
    with pytest.raises(BadInput):
        await CURSORS.take(forged)


async def test_a_cursor_of_another_gateway_is_bad_input() -> None:
    await append()
    with pytest.raises(BadInput):
        await CURSORS.take(Cursors(Sealer(b"another secret key, also 32 bytes")).give(1))


async def test_a_cursor_ahead_of_the_log_has_expired() -> None:
    """The database was restored: whoever holds it must begin anew."""
    with pytest.raises(CursorExpired):
        await CURSORS.take(CURSORS.give(1))


async def test_a_cursor_that_is_no_longer_kept_is_told_not_skipped() -> None:
    await append(3)
    await Event.filter(position__lte=2).update(occurred_at=clock.now() - timedelta(days=91))
    await events.prune(timedelta(days=90))
    with pytest.raises(CursorExpired):
        await CURSORS.take(CURSORS.give(1))
    assert await CURSORS.take(CURSORS.give(2)) == 2
    assert [event.position for event in await events.after(0)] == [3]


async def test_a_follower_whose_next_event_is_pruned_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RECENT", 1)
    await append(4)
    await Event.filter(position__lte=2).delete()
    async with EventLog().running() as log:
        with pytest.raises(CursorExpired):
            await read(log, 0, 1)


async def test_pruning_everything_keeps_the_head() -> None:
    await append(2)
    await Event.all().update(occurred_at=clock.now() - timedelta(days=91))
    await events.prune(timedelta(days=90))
    head = await EventHead.get(id=1)
    assert (head.position, head.pruned_to) == (2, 2)
    await append()
    assert [event.position for event in await events.after(2)] == [3]


# ---------------------------------------------------------------- a log that becomes another


async def restored(position: int) -> None:
    """The database is what it was when this was the last event."""
    await Event.filter(position__gt=position).delete()
    await EventHead.filter(id=1).update(position=position)


async def discontinued(log: EventLog, position: int, before: Awaitable[None]) -> None:
    """Fails unless a follower from this position is told, once this has happened, that it can't go on."""
    reading = asyncio.create_task(read(log, position, 1))
    done, _ = await asyncio.wait({reading}, timeout=0.05)
    assert not done
    await before
    with pytest.raises(CursorExpired):
        await reading


async def test_followers_of_a_log_that_went_back_are_told_and_it_is_followed_anew() -> None:
    await append(5)
    async with EventLog().running() as log:
        await discontinued(log, 5, restored(3))
        assert log.position == 3
        reading = asyncio.create_task(read(log, 3, 2))
        await append(2)
        assert await reading == [4, 5]


async def test_followers_are_told_also_where_a_log_that_went_back_has_grown_past_them_since() -> None:
    async def grown_again() -> None:
        async with in_transaction():
            await restored(3)
            for _ in range(4):
                await events.append(GATEWAY, "thing.happened", "prj_another")

    await append(5)
    async with EventLog().running() as log:
        await discontinued(log, 5, grown_again())
        assert log.position == 7


async def test_who_reads_page_by_page_notices_any_break_of_the_log() -> None:
    await append(5)
    place = await Place.present()
    assert await place.next() == []
    await append(2)
    assert [event.position for event in await place.next()] == [6, 7]
    await Event.filter(position__lte=5).delete()
    assert [event.position for event in await place.next()] == [6, 7]
    await Event.filter(position__lte=6).delete()
    with pytest.raises(Discontinued):
        await place.next()
    await restored(2)
    with pytest.raises(Discontinued):
        await place.next()


# ---------------------------------------------------------------- a log that can't be read


async def test_a_log_that_can_t_be_read_for_a_second_is_told_until_it_can(can_be_read: asyncio.Event) -> None:
    async with asyncio.timeout(60), EventLog().running() as log:
        await log.readable()
        can_be_read.clear()
        await log.unreadable()
        assert not log.is_fresh
        with pytest.raises(Unavailable):
            await log.readable()
        can_be_read.set()
        await log.readable()
        assert log.is_fresh


async def test_who_stood_still_reads_the_log_before_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that was stopped: its clock went on, and its memory didn't."""
    async with asyncio.timeout(60), EventLog().running() as log:
        await append()
        monkeypatch.setattr("gateway.events.time", SimpleNamespace(monotonic=lambda: time.monotonic() + 30))
        await log.readable()
        assert log.position == 1


async def test_the_log_is_known_also_while_others_append_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    next_of = Place.next

    async def next_and_more(place: Place) -> list[Event]:
        await append()
        return await next_of(place)

    monkeypatch.setattr(Place, "next", next_and_more)
    async with asyncio.timeout(60), EventLog().running() as log:
        await log._read()
        assert log.is_fresh
