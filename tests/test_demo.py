"""The demo: what `make run` shows, and how it tells to try it."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway import demo, keys, projects, weather
from gateway.passwords import Passwords
from gateway.permissions import Actor
from gateway.signing import Keyring
from models import IssuedKey, Project, ProjectNode, User
from models.fields import fold
from tests.asking import ISSUER
from tests.test_cli import Served, Tessera
from tests.test_house import ROOT
from tests.world import SEALER, unchanged

UPSTREAM = "http://127.0.0.1:9000"
WHERE_IS_IT = f"SELECT upstream_url FROM projects WHERE name = '{weather.NAME}'"  # noqa: S608  # our own name


async def seeded() -> bool:
    return await demo.seed(Passwords(), Keyring(SEALER, ISSUER))


async def somebody(email: str) -> Actor:
    return Actor(user=await User.get(email_folded=fold(email)))


async def test_the_demo_is_made_once(database: str) -> None:
    assert await seeded()
    async with unchanged():
        assert not await seeded()


async def test_the_service_stands_where_it_was_started_behind_the_nodes_that_it_knows(database: str) -> None:
    await seeded()
    at = await demo.stand_behind(UPSTREAM)
    assert at
    project = await Project.get(id=at[0])
    assert (project.name, project.upstream_url) == (weather.NAME, UPSTREAM)
    nodes = await ProjectNode.filter(project_id=project.id).values_list("name", "upstream_id")
    assert dict(nodes) == {"Readings": weather.READINGS, "Forecasts": weather.FORECASTS}


async def test_a_demo_whose_key_or_project_went_has_no_call_to_try(database: str) -> None:
    await seeded()
    owner = await somebody(demo.OWNER)
    at = await demo.stand_behind(UPSTREAM)
    assert at
    assert (await IssuedKey.get(id=at[1])).user_id == (await somebody(demo.ASKER)).user_id
    await keys.revoke(owner, at[1])
    assert await demo.stand_behind(UPSTREAM) is None
    await projects.delete(owner, at[0])
    assert await demo.stand_behind(UPSTREAM) is None


def commands_to_try(served: Served) -> str:
    """The last part of what it printed before it began to serve."""
    assert served.process.stdout
    printed = os.read(served.process.stdout.fileno(), 65_536).decode()
    return printed.partition("To call ")[2].split("\n", 1)[1]


async def typed(commands: str) -> list[str]:
    """What a shell answers, line by line."""
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-euc", commands], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


needs_curl = pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="the commands are curl's")


@needs_curl
async def test_the_commands_that_it_prints_show_a_forecast(tmp_path: Path) -> None:
    tessera = Tessera(tmp_path)
    with tessera.serving(command="demo") as served:
        await served.url()
        posted, found = map(json.loads, await typed(commands_to_try(served)))
    [reading], [forecast] = posted["packages"], found["items"]
    assert forecast["fields"]["reading"] == reading["id"]
    assert forecast["fields"]["outlook"] == "fair"
    [[key_id]] = tessera.rows("SELECT id FROM issued_keys ORDER BY id LIMIT 1")
    assert reading["called_by"]["key"] == key_id


@needs_curl
async def test_the_commands_that_its_page_tells_work(tmp_path: Path) -> None:
    tessera = Tessera(tmp_path)
    with tessera.serving(command="demo") as served:
        url = await served.url()
        [[project_id]] = tessera.rows(f"SELECT id FROM projects WHERE name = '{weather.NAME}'")  # noqa: S608  # our own
        first = f"{commands_to_try(served)}project={project_id}\n"
        page = (ROOT / "docs" / "demo.md").read_text().replace("http://127.0.0.1:8000", url)
        said = await typed(first + "\n".join(re.findall(r"^    (.*)", page, re.MULTILINE)))
    assert said.pop(-2) == "clear sky"
    answers = [json.loads(line) for line in said]
    assert len(answers) == 9
    assert [answer for answer in answers if "status" in answer] == []
    assert [file["name"] for file in answers[6]["items"]] == ["forecast.csv"]
    assert [file["name"] for file in answers[8]["packages"][0]["files"]] == ["sky.txt"]


async def test_whatever_it_starts_stops_with_it(tmp_path: Path) -> None:
    tessera = Tessera(tmp_path)
    ports = set()
    for _ in range(2):
        with tessera.serving(command="demo") as served:
            await served.url()
            [[upstream_url]] = tessera.rows(WHERE_IS_IT)
            where = (urlsplit(upstream_url).hostname, urlsplit(upstream_url).port)
            socket.create_connection(where).close()
            served.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(where)
        ports.add(where)
    assert {host for host, _ in ports} == {"127.0.0.1"}
