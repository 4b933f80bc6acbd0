"""The settings, from environment variables named TESSERA_* or the same names in `.env`."""

import os
import secrets
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.errors import TesseraError
from gateway.upstreams import UpstreamAllow


class BadSetting(TesseraError):
    code = "BAD_SETTING"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="TESSERA_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: str = ""
    """`sqlite://PATH` or `postgres://USER@HOST:PORT/NAME`; `tessera.db` in the data folder unless set."""
    database_connections: int = Field(default=10, ge=2)
    """Of each process on PostgreSQL, beside the meter's."""
    database_wait_seconds: int = Field(default=5, ge=1)
    database_statement_seconds: int = Field(default=30, ge=1)
    data_dir: Path = Path("data")
    secret_key: SecretStr = SecretStr("")
    """From it come, by HKDF, the keys that seal secrets and signing keys and sign sessions; made once unless set."""
    secret_key_previous: SecretStr = SecretStr("")
    public_url: str = "http://127.0.0.1:8000"
    sign_up: Literal["open", "closed"] = "closed"
    allowed_origins: Annotated[list[str], NoDecode] = []
    trusted_proxies: Annotated[list[str], NoDecode] = []
    """Addresses, or networks, of reverse proxies whose X-Forwarded-For is believed."""

    upstream_allow: Annotated[list[str], NoDecode] = []
    """`CIDR[:port]` where upstreams may be, or `public`; public addresses alone unless set."""
    upstream_connect_seconds: int = Field(default=5, ge=1)
    upstream_first_byte_seconds: int = Field(default=60, ge=1)
    upstream_idle_seconds: int = Field(default=60, ge=1)
    meter: Literal["on", "off"] = "on"
    """Off, no call is counted, priced or held to a quota: for benchmarks, to see what that costs, and nothing else."""

    session_hours: int = Field(default=12, ge=1, le=12)
    event_retention_days: int = Field(default=90, ge=1)
    record_retention_days: int = Field(default=400, ge=2)

    kept_answers_megabytes: int = Field(default=64, ge=0)
    """Of answers to queries that are kept in memory, in each process; 0 keeps none."""

    processes: int = Field(default=1, ge=1)
    """Over how many gateway processes a rate per second is shared; `serve` counts its workers unless it is set."""

    execution: Literal["levels", "ordinary"] = "levels"
    """How queries run: each field once for all objects of a level, or object by object as graphql-core does it."""

    worker_header: Literal["on", "off"] = "off"
    """On, each answer tells by `Tessera-Worker` which process gave it."""

    max_depth: int = Field(default=15, ge=10)
    max_aliases: int = Field(default=30, ge=1)
    max_tokens: int = Field(default=4_000, ge=100)
    max_directives: int = Field(default=50, ge=1)
    max_root_fields: int = Field(default=20, ge=1)
    max_body_bytes: int = Field(default=1_000_000, ge=10_000)
    max_subscriptions_per_socket: int = Field(default=50, ge=1)

    @field_validator("allowed_origins", "trusted_proxies", "upstream_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _each_an_origin(cls, values: list[str]) -> list[str]:
        for value in values:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
                raise ValueError(f"{value} is no origin like https://example.org")
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _each_a_network(cls, values: list[str]) -> list[str]:
        for value in values:
            ip_network(value)
        return values

    @field_validator("upstream_allow")
    @classmethod
    def _each_a_place(cls, values: list[str]) -> list[str]:
        UpstreamAllow.parse(values)
        return values

    @field_validator("public_url")
    @classmethod
    def _bare(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https URL")
        return value.rstrip("/")

    def where_database(self) -> str:
        return self.database_url or f"sqlite://{self.data_dir / 'tessera.db'}"

    def own_secret_key(self) -> bytes:
        """The secret key that is set, else the data folder's, which is made at its first use. Raises BadSetting."""
        if given := self.secret_key.get_secret_value():
            return given.encode()
        path = self.data_dir / "secret.key"
        if not path.exists():
            _make_secret_key(path)
        if not (secret_key := path.read_bytes()):
            raise BadSetting(f"{path} is empty: put back the secret key that the database was used with.")
        return secret_key


def _make_secret_key(path: Path) -> None:
    """Whole or not at all, and only once, also where several processes start together."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with open(draft, "xb", opener=_private) as file:
        file.write(secrets.token_urlsafe(48).encode())
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
