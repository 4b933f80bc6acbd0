"""The command `tessera`, run as its users run it."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed

from gateway import clock, counting, keys
from gateway.database import connected, connection
from gateway.permissions import Permission
from gateway.signing import Keyring
from models import KeyState, SigningKey, UsageHour
from tests import quick_starts
from tests.world import SEALER, issued_key, owned_project, person, role, template

COMMAND = Path(sys.executable).with_name("tessera")
NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Nobody is asked over TLS, and to read all of them takes a twentieth of a start."""
PASSWORD = "correct horse"
STOP_WITHIN_SECONDS = 25  # which supervisors are told to give
STARTED = "Application startup complete."
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { token userErrors { message } } }"


class Tessera:
    """The command, in an empty folder and with these settings."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TESSERA_")}
        self.environment = {
            **inherited,
            **NO_AUTHORITIES,
            **{f"TESSERA_{name.upper()}": value for name, value in settings.items()},
        }
        self.command: list[str | Path] = [COMMAND]
        self.is_forked = True
        """What `run` runs; otherwise it starts as it does for its users, which takes a second longer."""

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        if self.is_forked:
            return quick_starts.run(arguments, self.folder, self.environment, stdin)
        return subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def said(self, *arguments: str, stdin: str = "") -> str:
        """What it prints on stdout; it must end well and say nothing else."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def complaint(self, *arguments: str, stdin: str = "") -> str:
        """The one sentence that it fails with."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.returncode, done.stdout) == (1, "")
        [line] = done.stderr.splitlines()
        return line.removeprefix("tessera: ")

    def create_user(self, email: str = "ada@example.org") -> str:
        return self.said("user", "create", "--email", email, "--name", "Ada", "--password-stdin", stdin=f"{PASSWORD}\n")

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "data" / "tessera.db")) as database:
            return database.execute(query).fetchall()

    @contextmanager
    def serving(self, *arguments: str, command: str = "serve") -> Iterator["Served"]:
        """Serves on a port that is free; kills what is left at the end."""
        with (self.folder / "log").open("w+") as log:
            process = subprocess.Popen(
                [*self.command, command, "--port", "0", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
            try:
                yield Served(process, Path(log.name))
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


class Served:
    """A server that was just started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    async def url(self) -> str:
        """Where it listens, once it answers."""
        async with asyncio.timeout(60):
            while not (lines := [line for line in self._log.read_text().splitlines() if '"serving"' in line]):
                assert self.process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.02)
        url = str(json.loads(lines[0])["url"])
        async with httpx2.AsyncClient(timeout=30) as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200
        return url

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_WITHIN_SECONDS)


@pytest.fixture
def tessera(tmp_path: Path) -> Tessera:
    return Tessera(tmp_path)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# ---------------------------------------------------------------- accounts


def test_an_account_is_made_on_an_empty_machine_and_its_id_alone_is_printed(tessera: Tessera) -> None:
    tessera.is_forked = False
    id = tessera.create_user()
    assert tessera.rows("SELECT id, email, is_admin FROM users") == [(id, "ada@example.org", 0)]


def test_an_admin_is_made_where_one_is_asked_for(tessera: Tessera) -> None:
    options = ("--email", "ada@example.org", "--name", "Ada", "--password-stdin", "--admin")
    tessera.said("user", "create", *options, stdin=f"{PASSWORD}\n")
    assert tessera.rows("SELECT is_admin FROM users") == [(1,)]


def test_what_is_kept_on_disk_is_for_its_owner_alone(tessera: Tessera) -> None:
    tessera.create_user()
    assert mode(tessera.folder / "data") == 0o700
    assert mode(tessera.folder / "data" / "secret.key") == 0o600
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in (tessera.folder / "data").iterdir())


@pytest.mark.parametrize(
    ("options", "stdin", "complaint"),
    [
        ((), PASSWORD, "Give the password on standard input, with --password-stdin."),
        (("--password-stdin",), "", "A password has 8 to 1000 characters."),
        (("--password-stdin", "--email", "no e-mail"), PASSWORD, "This is no e-mail address."),
        (("--password-stdin", "--name", " "), PASSWORD, "A name has 1 to 100 characters."),
    ],
)
def test_an_account_that_can_t_be_is_refused_in_a_sentence(
    tessera: Tessera, options: tuple[str, ...], stdin: str, complaint: str
) -> None:
    given = ("--email", "ada@example.org", "--name", "Ada", *options)
    assert tessera.complaint("user", "create", *given, stdin=stdin) == complaint


def test_an_e_mail_that_has_an_account_is_refused(tessera: Tessera) -> None:
    tessera.create_user("ada@example.org")
    options = ("--email", "ADA@example.org", "--name", "Ada", "--password-stdin")
    assert "account with this e-mail" in tessera.complaint("user", "create", *options, stdin=PASSWORD)


def test_an_account_is_disabled_by_its_e_mail_or_its_id(tessera: Tessera) -> None:
    id = tessera.create_user()
    assert tessera.said("user", "disable", "ada@example.org") == id
    assert tessera.said("user", "disable", id) == id
    assert tessera.rows("SELECT disabled_at IS NOT NULL FROM users") == [(1,)]
    assert tessera.complaint("user", "disable", "nobody") == "There is no such account."


# ---------------------------------------------------------------- keys that sign


def test_a_signing_key_is_rotated_and_withdrawn(tessera: Tessera) -> None:
    first, second = tessera.said("signing-key", "rotate"), tessera.said("signing-key", "rotate")
    assert first != second
    assert second in tessera.said("signing-key", "withdraw", first, "--yes")
    current = "SELECT id FROM signing_keys WHERE is_current"
    assert tessera.rows(current) == [(second,)]
    assert second not in tessera.said("signing-key", "withdraw", second, "--yes")
    assert len(tessera.rows(current)) == 1
    assert "no such signing key" in tessera.complaint("signing-key", "withdraw", first, "--yes")


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_withdrawn(tessera: Tessera, answer: str) -> None:
    kid = tessera.said("signing-key", "rotate")
    done = tessera.run("signing-key", "withdraw", kid, stdin=answer)
    assert done.returncode == 1
    assert "revoke these 0 issued keys?" in done.stderr
    assert tessera.rows("SELECT count(*) FROM signing_keys WHERE withdrawn_at IS NOT NULL") == [(0,)]


async def test_withdrawing_lists_the_issued_keys_that_it_ends(database_url: str, tmp_path: Path) -> None:
    tessera = Tessera(tmp_path, database_url=database_url)
    async with connected(database_url):
        bo = await person("Bo")
        project = await owned_project(await person("Ada"))
        key = await issued_key(await template(project, await role(project, Permission.PROJECT_VIEW)), bo)
        await keys._add_generation(Keyring(SEALER, "https://tessera.example"), key)
        [signing_key] = await SigningKey.all()

        done = await asyncio.to_thread(tessera.run, "signing-key", "withdraw", signing_key.id, stdin="y\n")

        assert done.returncode == 0
        assert done.stdout.splitlines()[0] == f"{key.id}  Basic  Bo@example.org"
        await key.refresh_from_db()
        assert key.state is KeyState.REVOKED


# ---------------------------------------------------------------- usage


async def test_reconciling_says_that_all_is_well_or_prints_what_differs(database_url: str, tmp_path: Path) -> None:
    tessera = Tessera(tmp_path, database_url=database_url)
    async with connected(database_url):
        project = await owned_project(await person("Ada"))
        key = await issued_key(
            await template(project, await role(project, Permission.PROJECT_VIEW)), await person("Bo")
        )
        await counting.record([counting.Call(key.id, clock.now(), Decimal("0.5"))])
        sound = await asyncio.to_thread(tessera.said, "usage", "reconcile")
        await UsageHour.all().update(requests=2)
        broken = await asyncio.to_thread(tessera.run, "usage", "reconcile")
    assert sound == "Every hour, day and month is the sum of its parts."
    assert (broken.returncode, broken.stderr) == (1, "")
    hour, day = broken.stdout.splitlines()
    assert hour.startswith(f"{key.id}: its hour ")
    assert hour.endswith(" says 2 calls, 0 refused, 0.5; its parts 1 calls, 0 refused, 0.5.")
    assert day.startswith(f"{key.id}: its day ")


# ---------------------------------------------------------------- schema and database


def test_the_schema_is_exported_without_a_database(tessera: Tessera) -> None:
    assert "type Query {" in tessera.said("schema", "export")
    assert list(tessera.folder.iterdir()) == []


def test_migrating_says_what_it_did(tessera: Tessera) -> None:
    assert tessera.said("migrate").startswith("0001_")
    assert tessera.said("migrate") == "The database has the newest schema."


async def test_processes_that_start_together_on_an_empty_folder_migrate_it_once(tessera: Tessera) -> None:
    tessera.is_forked = False
    said = await asyncio.gather(*(asyncio.to_thread(tessera.said, "migrate") for _ in range(4)))
    assert sorted(said)[1:] == ["The database has the newest schema."] * 3


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_commands_refuse_a_postgresql_that_was_not_migrated(database_url: str, tmp_path: Path) -> None:
    tessera = Tessera(tmp_path, database_url=database_url)
    async with connected(database_url):
        await connection().execute_script("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for arguments in (("serve", "--port", "0"), ("user", "disable", "ada@example.org")):
        complaint = await asyncio.to_thread(tessera.complaint, *arguments)
        assert complaint.startswith("The database lacks 0001_the_whole, ")
        assert complaint.endswith(": call `tessera migrate` first.")
    assert await asyncio.to_thread(tessera.said, "migrate")
    assert await asyncio.to_thread(tessera.complaint, "user", "disable", "nobody") == "There is no such account."


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"session_hours": "13"}, "TESSERA_SESSION_HOURS: Input should be less than or equal to 12"),
        ({"database_url": "mysql://ada:hush@db/tessera"}, "TESSERA_DATABASE_URL must be"),
        ({"database_url": "postgres://ada:hush@127.0.0.1:1/tessera"}, "The database can't be reached now"),
        ({"database_url": "sqlite:///proc/nothing/tessera.db"}, "The database can't be reached now"),
        ({"trusted_proxies": "*"}, "TESSERA_TRUSTED_PROXIES: "),
    ],
)
def test_what_can_t_be_is_told_in_a_sentence_that_shows_no_password(
    tmp_path: Path, settings: dict[str, str], complaint: str
) -> None:
    said = Tessera(tmp_path, **settings).complaint("serve", "--port", "0")
    assert said.startswith(complaint)
    assert "hush" not in said


# ---------------------------------------------------------------- serving


async def test_it_serves_and_stops_when_told_to(tessera: Tessera) -> None:
    with tessera.serving() as served:
        url = await served.url()
        async with httpx2.AsyncClient() as client:
            assert (await client.get(f"{url}/readyz")).status_code == 200
        assert served.stop() in {0, -signal.SIGTERM}


def test_several_workers_on_sqlite_are_refused_with_what_to_do(tessera: Tessera) -> None:
    tessera.is_forked = False
    complaint = tessera.complaint("serve", "--workers", "2")
    assert "set TESSERA_DATABASE_URL to a PostgreSQL" in complaint


def test_a_port_that_is_taken_is_told(tessera: Tessera) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        complaint = tessera.complaint("serve", "--port", str(port))
    assert complaint == f"The gateway can't listen on 127.0.0.1 port {port}: address already in use."


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_several_workers_serve_and_stop_together(database_url: str, tmp_path: Path) -> None:
    with Tessera(tmp_path, database_url=database_url).serving("--workers", "2") as served:
        url = await served.url()
        async with asyncio.timeout(60):
            while sum(line["event"] == STARTED for line in served.log()) < 2:  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.05)
        async with httpx2.AsyncClient() as client:
            assert len((await client.get(f"{url}/.well-known/jwks.json")).json()["keys"]) == 1
        assert served.stop() == 0


async def signed_in(client: httpx2.AsyncClient, url: str, **headers: str) -> str:
    variables = {"input": {"email": "ada@example.org", "password": PASSWORD}}
    answer = await client.post(f"{url}/graphql", json={"query": SIGN_IN, "variables": variables}, headers=headers)
    return str(answer.json()["data"]["signIn"]["token"])


async def test_open_streams_and_sockets_end_with_the_server(tessera: Tessera) -> None:
    tessera.create_user()
    document = {"query": "subscription { viewerKeyEvents { cursor } }"}
    with tessera.serving() as served:
        url = await served.url()
        async with httpx2.AsyncClient(timeout=30) as client:
            bearer = f"Bearer {await signed_in(client, url)}"
            headers = {"Authorization": bearer, "Accept": "text/event-stream"}
            async with (
                client.stream("POST", f"{url}/graphql", json=document, headers=headers) as stream,
                open_socket(f"{url.replace('http', 'ws')}/graphql", subprotocols=["graphql-transport-ws"]) as ws,  # type: ignore[list-item]  # a NewType of str
            ):
                assert stream.status_code == 200
                await ws.send(json.dumps({"type": "connection_init", "payload": {"authorization": bearer}}))
                assert json.loads(await ws.recv())["type"] == "connection_ack"
                await ws.send(json.dumps({"type": "subscribe", "id": "1", "payload": document}))

                stopped = asyncio.create_task(asyncio.to_thread(served.stop))

                with pytest.raises(ConnectionClosed) as closed:
                    await ws.recv()
                assert closed.value.rcvd
                assert closed.value.rcvd.code == 1012
                assert "complete" not in (await stream.aread()).decode()
                assert await stopped in {0, -signal.SIGTERM}


@pytest.mark.parametrize(
    ("proxies", "address"), [("", "127.0.0.1"), ("10.0.0.0/8", "127.0.0.1"), ("127.0.0.1", "203.0.113.7")]
)
async def test_a_forwarded_address_is_believed_of_trusted_proxies_alone(
    tmp_path: Path, proxies: str, address: str
) -> None:
    tessera = Tessera(tmp_path, trusted_proxies=proxies)
    tessera.create_user()
    with tessera.serving() as served:
        async with httpx2.AsyncClient() as client:
            await signed_in(client, await served.url(), **{"X-Forwarded-For": "198.51.100.9, 203.0.113.7"})
    assert tessera.rows("SELECT address FROM audit_entries WHERE action = 'session.begun'") == [(address,)]


async def test_each_call_is_a_line_of_json_without_what_was_asked(tessera: Tessera) -> None:
    tessera.create_user()
    with tessera.serving() as served:
        url = await served.url()
        async with httpx2.AsyncClient() as client:
            token = await signed_in(client, url)
            headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "my-own"}
            answer = await client.get(f"{url}/graphql?query={{viewer{{user{{id}}}}}}", headers=headers)
            assert answer.headers["x-request-id"] == "my-own"
            assert (await client.get(f"{url}/nothing/%0A{token}")).status_code == 404
        served.stop()
        entries = [line for line in served.log() if line["event"] == "request"]
        text = "".join(json.dumps(line) for line in served.log())
    asked = next(entry for entry in entries if entry["request_id"] == "my-own")
    assert (asked["method"], asked["path"], asked["status"]) == ("GET", "/graphql", 200)
    assert asked["milliseconds"] >= 0
    assert [entry["path"] for entry in entries if entry["status"] == 404] == ["/nothing/%0A[token]"]
    assert token not in text
    assert "viewer" not in text
    assert PASSWORD not in text
