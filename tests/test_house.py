"""The house stays as the README draws it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings

ROOT = Path(__file__).parent.parent
ROOMS = ("gateway", "models", "schema", "tests")
PYTHON = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "node_modules" not in path.parts]
DRAWERS = {"base", "common", "helper", "helpers", "misc", "shared", "tools", "util", "utils"}
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_no_file_is_a_drawer_for_what_had_no_place() -> None:
    assert names([path for path in PYTHON if DRAWERS & {path.stem, path.parent.name}]) == []


def test_a_file_stays_under_400_lines() -> None:
    by_hand = [path for path in PYTHON if path.parent.name not in {"migrations", "tests"}]
    assert names([path for path in by_hand if len(path.read_text().splitlines()) > 400]) == []


def test_what_a_linter_must_ignore_has_its_reason_beside_it() -> None:
    bare = re.compile(r"#\s*(noqa|type:\s*ignore)\b(?!(: [A-Z0-9, ]+?|\[[a-z, -]+\])[ -]+(# *)?\w)")
    assert [(path.name, line) for path in PYTHON for line in path.read_text().splitlines() if bare.search(line)] == []


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_a_lock_file_names_no_registry_and_no_place_of_one_machine(lock: str) -> None:
    foreign = re.compile(r"://|^\s*-|(?<!\w)file:| @ ", re.MULTILINE)
    text = re.sub(r"^ +--hash=sha256:[0-9a-f]{64}( \\)?$", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    assert foreign.findall(text) == []


def test_everything_that_runs_is_locked_at_the_version_that_is_tested() -> None:
    pin = re.compile(r"^\S+==\S+.*?(?= \\$)", re.MULTILINE)
    runtime, everything = (set(pin.findall((ROOT / f"requirements{kind}.txt").read_text())) for kind in ("", "-dev"))
    assert runtime
    assert runtime <= everything


def test_the_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "run", "test", "check", "bench"} <= targets
    assert set(re.findall(r"\bmake ([a-z]+)`", README)) <= targets


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\.venv/bin/tessera ((?:[a-z][a-z-]* ?)+)", README))))
def test_the_commands_that_the_readme_names_exist(command: str) -> None:
    tessera = Path(sys.executable).with_name("tessera")
    done = subprocess.run([tessera, *command.split(), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_picture_in_the_readme_names_every_file_of_the_gateway() -> None:
    files = [path.name for path in (ROOT / "gateway").rglob("*.py") if path.name != "__init__.py"]
    assert [name for name in files if not re.search(rf"\b{re.escape(name)}\b", README)] == []


def test_each_setting_is_described_and_each_that_is_described_exists() -> None:
    described = set(re.findall(r"^\| `(TESSERA_[A-Z_]+)`", SETTINGS, re.MULTILINE))
    assert described == {f"TESSERA_{name.upper()}" for name in Settings.model_fields}


def test_the_settings_that_were_promised_exist() -> None:
    promised = {
        "database_url",
        "data_dir",
        "secret_key",
        "secret_key_previous",
        "public_url",
        "sign_up",
        "allowed_origins",
    }
    assert promised <= set(Settings.model_fields)
