"""A process that appends to the event log as others do: `python -m tests.appending DATABASE_URL NAME TRANSACTIONS`.

Several of its transactions are under way at once, some wait before they end, some are rolled back. It prints how many
events it committed.
"""

import asyncio
import sys
from contextlib import suppress
from random import Random

from tortoise.transactions import in_transaction

from gateway import events
from gateway.database import connected
from gateway.permissions import GATEWAY

AT_ONCE = 4


class RolledBack(Exception):
    pass


async def append_often(url: str, name: str, transactions: int) -> int:
    committed = 0

    async def append(random: Random) -> None:
        nonlocal committed
        for _ in range(transactions // AT_ONCE):
            with suppress(RolledBack):
                quantity = await append_at_random(name, random)
                committed += quantity

    async with connected(url):
        await asyncio.gather(*[append(Random(f"{name} {each}")) for each in range(AT_ONCE)])  # noqa: S311  # it hides nothing
    return committed


async def append_at_random(name: str, random: Random) -> int:
    """How many events. Raises RolledBack."""
    quantity = random.randint(1, 3)
    await asyncio.sleep(random.choice([0, 0, 0.002]))
    async with in_transaction():
        for _ in range(quantity):
            await events.append(GATEWAY, "thing.happened", name)
            await asyncio.sleep(random.choice([0, 0, 0.003]))
        if random.random() < 0.25:
            raise RolledBack
    return quantity


if __name__ == "__main__":
    print(asyncio.run(append_often(sys.argv[1], sys.argv[2], int(sys.argv[3]))))  # noqa: T201  # that is how it tells
