"""Positions of the log show in order and without gaps, however many processes append to it at once.

TESSERA_APPENDS says how many transactions each of them tries.
"""

import asyncio
import os
import sys
from contextlib import aclosing

from gateway import notices
from gateway.database import connection
from gateway.events import EventLog, Place

PROCESSES = 3
TRANSACTIONS = int(os.environ.get("TESSERA_APPENDS", "40"))
PATIENCE_SECONDS = 60 + TRANSACTIONS
SEEN = "SELECT count(*) AS quantity, coalesce(max(position), 0) AS newest FROM events"


async def appended(url: str, number: int) -> int:
    """By a process of its own: how many events it committed."""
    command = (sys.executable, "-m", "tests.appending", url, f"prj_{number}", str(TRANSACTIONS))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return int(told)


async def follow(log: EventLog, seen: list[int]) -> None:
    async with aclosing(log.follow(0, lambda _: True)) as followed:
        async for event in followed:
            seen += [event.position]


async def page_through(seen: list[int]) -> None:
    place = Place(0, None)
    while True:
        if found := await place.next():
            seen += [event.position for event in found]
            place = Place(found[-1].position, found[-1])
        await asyncio.sleep(0)


async def look(gaps: list[tuple[int, int]]) -> None:
    """Whether what shows at any moment is all up to the newest."""
    while True:
        [row] = await connection().execute_query_dict(SEEN)
        if row["quantity"] != row["newest"]:
            gaps.append((row["quantity"], row["newest"]))
        await asyncio.sleep(0)


async def test_no_position_shows_after_a_higher_one_and_none_is_left_out_whatever_is_rolled_back(database: str) -> None:
    followed: list[int] = []
    paged: list[int] = []
    gaps: list[tuple[int, int]] = []
    async with asyncio.timeout(PATIENCE_SECONDS), EventLog().running() as log, notices.waking(database, log.wake):
        readers = [asyncio.create_task(each) for each in (follow(log, followed), page_through(paged), look(gaps))]
        committed = sum(await asyncio.gather(*[appended(database, number) for number in range(PROCESSES)]))
        while not len(followed) == len(paged) == committed:
            assert not any(reader.done() for reader in readers)
            assert max(len(followed), len(paged)) <= committed
            await asyncio.sleep(0.01)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert followed == paged == list(range(1, committed + 1))
    assert gaps == []
