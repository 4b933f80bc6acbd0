"""The command `tessera`: each subcommand says its result on stdout, and what went wrong in one sentence on stderr."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from gateway import (
    clock,
    database,
    demo,
    keys,
    listeners,
    logs,
    migrating,
    progress,
    reconcile,
    seeding,
    server,
    tour,
    users,
    weather,
)
from gateway.app import assembled
from gateway.errors import TesseraError, Unavailable
from gateway.permissions import GATEWAY
from gateway.settings import BadSetting, Settings
from gateway.upstreams import PUBLIC
from gateway.usage import not_dropped_from, records_kept_from
from models import IssuedKey, SigningKey
from schema import root
from schema.context import Services

ResultT = TypeVar("ResultT")

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port to listen on; 0 takes any that is free.", min=0, max=65535)]

tessera = typer.Typer(
    help="A gateway for API keys.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
user = typer.Typer(help="Accounts.", no_args_is_help=True)
signing_key = typer.Typer(help="The keys that sign tokens.", no_args_is_help=True)
usage = typer.Typer(help="What was counted.", no_args_is_help=True)
schema = typer.Typer(help="The GraphQL schema.", no_args_is_help=True)
bench = typer.Typer(help="What it costs as work grows.", no_args_is_help=True)
tessera.add_typer(user, name="user")
tessera.add_typer(signing_key, name="signing-key")
tessera.add_typer(usage, name="usage")
tessera.add_typer(schema, name="schema")
tessera.add_typer(bench, name="bench")


def main() -> None:
    try:
        tessera()
    except Unavailable as error:
        sys.exit(f"tessera: {error.message} ({error.__cause__})")
    except TesseraError as error:
        sys.exit(f"tessera: {error.message}")


@tessera.callback()
def prepare() -> None:
    logs.configure()


@tessera.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(help="How many processes; PostgreSQL only.", min=1, max=64)] = 1,
) -> None:
    """Start the gateway."""
    settings = read_settings()
    if workers > 1 and database.is_sqlite(settings.where_database()):
        raise BadSetting("SQLite serves one process: set TESSERA_DATABASE_URL to a PostgreSQL, or leave out --workers.")
    with listeners.listening(host, port, workers) as sockets:
        _with_services(settings, _nothing)  # what keeps it from starting is told here, in a sentence
        server.serve(settings, sockets)


@tessera.command("demo")
def run_demo(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Start the gateway with people and a project to look at, and the service that the project offers."""
    settings = read_settings()
    with listeners.listen(host, port) as listener, listeners.listen("127.0.0.1", 0) as upstream:
        url, upstream_url = listeners.url_of(listener), listeners.url_of(upstream)
        settings = settings.model_copy(update=_of_demo(settings, url, upstream.getsockname()[1]))

        async def seed(services: Services) -> tuple[str, str] | None:
            await demo.seed(services.passwords, services.keyring)
            return await demo.stand_behind(upstream_url)

        with server.serving_beside(weather.create_weather(), upstream):
            at = _with_services(settings, seed)
            print(demo.welcome(url), demo.call_to_try(url, *at) if at else "", sep="", flush=True)
            server.serve(settings, [listener])


def _of_demo(settings: Settings, url: str, upstream_port: int) -> dict[str, Any]:
    """Where the demo itself is, and that its service may be called besides what may be called anyway."""
    public_url = settings.public_url if "public_url" in settings.model_fields_set else url
    upstreams = [*(settings.upstream_allow or [PUBLIC]), f"127.0.0.1/32:{upstream_port}"]
    return {"public_url": public_url, "upstream_allow": upstreams}


@tessera.command("tour")
def walk_tour(
    url: Annotated[str, typer.Option(help="Where the gateway is.")] = "http://127.0.0.1:8000",
    owner: Annotated[str, typer.Option(help="Who offers: an account's e-mail.")] = demo.OWNER,
    user: Annotated[str, typer.Option(help="Who asks for a key: another's.")] = demo.ASKER,
    password: Annotated[str, typer.Option(help="Of both.", envvar="TESSERA_TOUR_PASSWORD")] = demo.PASSWORD,
    upstream: Annotated[
        str | None, typer.Option(help="Where the demo's service is; unless told, where the owner's demo has it.")
    ] = None,
) -> None:
    """Walk a key's whole life against a running gateway, and print each step as it happens."""

    def say(step: str) -> None:
        print(f"- {step}", flush=True)

    asyncio.run(tour.walk(url, (owner, password), (user, password), say, upstream))
    print("The tour is over: everything works.")


@tessera.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    settings = read_settings()
    with database.unavailable_when_down():
        applied = asyncio.run(migrating.migrate(settings.where_database()))
    print("\n".join(applied) or "The database has the newest schema.")


@user.command("create")
def create_user(
    email: Annotated[str, typer.Option(help="What the user signs in with.")],
    name: Annotated[str, typer.Option(help="What others see.")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="May manage accounts and signing keys.")] = False,
) -> None:
    """Make an account, and print its id."""
    if not password_stdin:
        raise BadSetting("Give the password on standard input, with --password-stdin.")
    password = sys.stdin.readline().rstrip("\r\n")

    async def create(services: Services) -> str:
        return (await users.create(GATEWAY, services.passwords, email, name, password, is_admin=admin)).id

    print(_with_services(read_settings(), create))


@user.command("disable")
def disable_user(id_or_email: Annotated[str, typer.Argument(metavar="EMAIL_OR_ID")]) -> None:
    """End an account's sessions, suspend its keys, and let nobody sign in to it."""

    async def disable(_: Services) -> str:
        return (await users.disable(GATEWAY, id_or_email)).id

    print(_with_services(read_settings(), disable))


@signing_key.command("rotate")
def rotate_signing_key() -> None:
    """Sign new tokens with a new key, and print its kid; the tokens of former keys go on to verify."""

    async def rotate(services: Services) -> str:
        return (await keys.rotate_signing_key(GATEWAY, services.keyring)).id

    print(_with_services(read_settings(), rotate))


@signing_key.command("withdraw")
def withdraw_signing_key(
    kid: Annotated[str, typer.Argument(metavar="KID")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Let no token verify that a key signed, for good; issued keys whose present token it signed are revoked."""

    async def list_and_withdraw(services: Services) -> str:
        if await SigningKey.exists(id=kid, withdrawn_at=None):
            await _list_and_ask(kid, is_agreed=yes)
        await keys.withdraw_signing_key(GATEWAY, kid)
        return (await services.keyring.current()).id

    current = _with_services(read_settings(), list_and_withdraw)
    print(f"New tokens are signed with {current}.")


@usage.command("reconcile")
def reconcile_usage() -> None:
    """Prove that hours are the sums of records, days of hours, and months of days; print what differs."""
    settings = read_settings()

    async def compare(_: Services) -> int:
        kept_from = await not_dropped_from(records_kept_from(clock.now(), settings.record_retention_days))
        whole, found = await IssuedKey.all().count(), 0
        async for difference in reconcile.differences(kept_from, lambda done: _show_progress(done, whole)):
            print(difference)
            found += 1
        return found

    if _with_services(settings, compare):
        raise typer.Exit(1)
    print("Every hour, day and month is the sum of its parts.")


@schema.command("export")
def export_schema() -> None:
    """Print the GraphQL schema as SDL."""
    print(root.build(Settings.model_construct()).as_str())


@bench.command("seed")
def seed_database(
    records: Annotated[int, typer.Option(help="How many calls were made.", min=1)] = 10_000_000,
    seed: Annotated[int, typer.Option(help="Another number makes other calls; the same one the same.")] = 1,
    add: Annotated[bool, typer.Option("--add", help="Also beside the projects that the database has.")] = False,
) -> None:
    """Fill the database with 20 projects, 1,000 templates, 10,000 issued keys, and calls of the last twelve months."""
    settings = read_settings()

    async def fill(services: Services) -> None:
        with progress.shown(records, "calls") as told:
            await seeding.seed(
                services.passwords,
                services.keyring,
                told,
                records=records,
                until=clock.now(),
                chance=seed,
                is_added=add,
            )

    _with_services(settings, fill)
    print(f"Sign in as {seeding.OWNER}, who owns every project, with the password {seeding.PASSWORD}.")


def read_settings() -> Settings:
    """Raises BadSetting, which names the variable and never its value."""
    try:
        return Settings()
    except ValidationError as error:
        faults = (f"TESSERA_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors())
        raise BadSetting("; ".join(faults)) from None


def _show_progress(done: int, whole: int) -> None:
    """To a person who looks on."""
    if sys.stderr.isatty():
        print(f"\r{done} of {whole} keys", end="\n" if done >= whole else "", file=sys.stderr, flush=True)


async def _list_and_ask(kid: str, *, is_agreed: bool) -> None:
    """Raises Abort where the answer isn't yes."""
    ended = await keys.signed_by(kid)
    for key in ended:
        print(f"{key.id}  {key.name}  {key.user.email}")
    if not is_agreed:
        typer.confirm(f"Withdraw {kid}, and revoke these {len(ended)} issued keys?", abort=True, err=True)


async def _nothing(_: Services) -> None:
    pass


def _with_services(settings: Settings, act: Callable[[Services], Awaitable[ResultT]]) -> ResultT:
    """The act's result, with the database at hand and migrated. Raises OutOfDate, Unavailable, BadSetting."""

    async def run() -> ResultT:
        services = assembled(settings)
        with database.unavailable_when_down():
            async with migrating.opened(settings.where_database()):
                return await act(services)

    return asyncio.run(run())
