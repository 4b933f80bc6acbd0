"""Good keys at /authorize, while as many connections send forged ones as fast as they are refused."""

import json
import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.signing import KEY_BEGINNING
from tests.bench.authorize import requests, seeded
from tests.bench.samples import in_rounds
from tests.bench.tables import print_figures
from tests.bench.targets import Flooded, Served

FORGED = 100
CALM = "no flood"


async def run(folder: Path, postgres_url: str, *, rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        print("flood: starting gateways and seeding 100 keys in each", flush=True)
        for database, url in (("SQLite", ""), ("PostgreSQL", postgres_url)):
            server, project = await stack.enter_async_context(seeded(folder / database, url))
            good = requests(server, project)
            targets = [Served(CALM, server, good)]
            for kind, tokens in floods(project.tokens).items():
                targets.append(Flooded(kind, server, good, flood=requests(server, project, tokens)))
            turns = [(target, 16) for target in targets]
            figures = await in_rounds(turns, rounds=rounds, seconds=seconds)
            print_figures(
                f"Good keys while forged ones come on 16 more, {database}", figures, {CALM: CALM}, extra="forged/s"
            )


def floods(tokens: list[str]) -> dict[str, list[str]]:
    """Forged tokens, of three kinds: from what takes one look to refuse to what takes most."""
    chance = random.Random(9)  # noqa: S311  # the same each time
    signature = urlsafe_b64encode(chance.randbytes(64)).rstrip(b"=").decode()
    pieces = [token.split(".") for token in tokens]
    return {
        "garbage": [KEY_BEGINNING + chance.randbytes(300).hex() for _ in range(FORGED)],
        "unknown key, right form": [f"{head}.{renamed(claims, chance)}.{signature}" for head, claims, _ in pieces],
        "known key, wrong signature": [f"{head}.{claims}.{signature}" for head, claims, _ in pieces],
    }


def renamed(claims: str, chance: random.Random) -> str:
    """The claims of a key that was never issued."""
    said = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    key_id, _, generation = said["jti"].rpartition(".")
    jti = f"{key_id[:-12]}{chance.randrange(10**12):012d}.{generation}"
    return urlsafe_b64encode(json.dumps({**said, "jti": jti}).encode()).rstrip(b"=").decode()
