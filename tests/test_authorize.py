"""The decision alone, as a proxy asks for it at /authorize/{project}."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway import keys
from tests.gatehouse import Gatehouse, gatehouse, settings_of


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[Gatehouse]:
    async with gatehouse(settings_of(tmp_path, database_url)) as house:
        yield house


async def test_a_good_key_is_let_through_named_counted_and_priced(house: Gatehouse) -> None:
    answer = await house.authorize(headers={"X-Request-Id": "mine"})
    assert (answer.status_code, answer.content) == (200, b"")
    named = {name: answer.headers[f"x-tessera-{name}"] for name in ("key", "user", "project", "role")}
    key = house.key
    assert named == {"key": key.id, "user": key.user_id, "project": key.project_id, "role": key.role_id}
    assert answer.headers["x-request-id"] == "mine"
    counted = await house.counted()
    assert (counted.requests, counted.cost.decimal) == (1, Decimal("0.0000005"))


async def test_a_revoked_key_is_refused_on_the_next_call(house: Gatehouse) -> None:
    assert (await house.authorize()).status_code == 200
    await keys.revoke(house.owner, house.key.id)
    answer = await house.authorize()
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
