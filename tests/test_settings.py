"""The settings, and the secret key that is made where none is set."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.server import sharing
from gateway.settings import BadSetting, Settings

Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """The settings of an environment, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def read(**environment: str) -> Settings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Settings()

    return read


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_without_any_the_database_is_a_file_in_the_data_folder(read: Read) -> None:
    assert read().where_database() == "sqlite://data/tessera.db"


def test_a_file_named_env_is_read(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TESSERA_DATABASE_URL=postgres://tessera@db:5432/tessera\nOTHER=1\n")
    assert read().where_database() == "postgres://tessera@db:5432/tessera"


def test_the_environment_wins_over_the_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TESSERA_SIGN_UP=open\n")
    assert read(TESSERA_SIGN_UP="closed").sign_up == "closed"


def test_an_empty_variable_is_as_good_as_none(read: Read) -> None:
    assert read(TESSERA_DATA_DIR="", TESSERA_SESSION_HOURS="") == read()


def test_a_rate_is_shared_by_the_workers_unless_it_is_said_over_how_many_processes(read: Read) -> None:
    assert sharing(read(), workers=3).processes == 3
    assert sharing(read(TESSERA_PROCESSES="8"), workers=3).processes == 8


@pytest.mark.parametrize("text", ["https://a.example,https://b.example", "https://a.example https://b.example, "])
def test_lists_are_parted_by_commas_or_spaces(read: Read, text: str) -> None:
    assert read(TESSERA_ALLOWED_ORIGINS=text).allowed_origins == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "example.org"),
        ("PUBLIC_URL", "ftp://example.org"),
        ("SIGN_UP", "maybe"),
        ("PROCESSES", "0"),
        ("SESSION_HOURS", "13"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "example.org"),
        ("ALLOWED_ORIGINS", "https://example.org/page"),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "proxy.internal"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("MAX_BODY_BYTES", "1"),
    ],
)
def test_what_a_setting_can_t_be_is_refused_rather_than_guessed(read: Read, name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        read(**{f"TESSERA_{name}": value})


def test_the_public_url_has_no_slash_at_its_end(read: Read) -> None:
    assert read(TESSERA_PUBLIC_URL="https://example.org/").public_url == "https://example.org"


def test_a_secret_key_that_is_set_is_the_one_and_nothing_is_made(read: Read, tmp_path: Path) -> None:
    assert read(TESSERA_SECRET_KEY="from the environment").own_secret_key() == b"from the environment"
    assert list(tmp_path.iterdir()) == []


def test_the_secret_keys_are_not_shown_with_the_settings(read: Read) -> None:
    settings = read(TESSERA_SECRET_KEY="hush", TESSERA_SECRET_KEY_PREVIOUS="hush-hush")
    assert "hush" not in repr(settings)


def test_the_secret_key_is_made_once_for_its_owner_s_eyes_alone(read: Read, tmp_path: Path) -> None:
    made = read().own_secret_key()
    assert len(made) >= 48
    assert read().own_secret_key() == made
    assert mode(tmp_path / "data") == 0o700
    assert [(path.name, mode(path)) for path in (tmp_path / "data").iterdir()] == [("secret.key", 0o600)]


def test_processes_that_start_together_agree_on_the_secret_key(read: Read) -> None:
    with ThreadPoolExecutor(16) as threads:
        made = set(threads.map(lambda settings: settings.own_secret_key(), [read()] * 64))
    assert len(made) == 1


def test_an_empty_secret_key_file_is_refused_rather_than_used(read: Read, tmp_path: Path) -> None:
    read().own_secret_key()
    (tmp_path / "data" / "secret.key").write_bytes(b"")
    with pytest.raises(BadSetting, match=r"secret\.key is empty"):
        read().own_secret_key()
