"""What clients were promised is what the gateway offers."""

import subprocess
import sys
from pathlib import Path

import pytest
from graphql import build_schema

from tests.contract.check import CONTRACT, broken, undescribed

ROOT = Path(__file__).parent.parent
PROMISED = CONTRACT.read_text()


@pytest.fixture(scope="module")
def exported() -> str:
    tessera = Path(sys.executable).with_name("tessera")
    return subprocess.run([tessera, "schema", "export"], check=True, capture_output=True, text=True).stdout


def test_the_schema_keeps_every_promise_of_the_contract(exported: str) -> None:
    assert broken(build_schema(PROMISED), build_schema(exported)) == []


def test_everything_in_the_schema_is_described(exported: str) -> None:
    assert undescribed(build_schema(exported)) == []


def test_the_schema_that_clients_read_is_the_one_that_the_code_exports(exported: str) -> None:
    assert (ROOT / "graphql" / "schema.graphql").read_text() == exported


def test_the_graphql_folder_holds_nothing_that_python_could_import_for_graphql_core() -> None:
    files = [path for path in (ROOT / "graphql").rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if path.suffix != ".graphql"] == []


@pytest.mark.parametrize(
    ("promise", "instead"),
    [
        ("  keyRequestApprove(", "  keyRequestAllow("),
        ("FORBIDDEN INVALID CONFLICT", "FORBIDDEN INVALID COLLISION"),
        (" implements Node", ""),
        ("search: String, first: Int = 100", "search: String, first: Int"),
        ("projects(first", "projects(now: Int!, first"),
        (" @oneOf", ""),
        (
            "KeyRequestCreateInput { templateId: ID! note: String",
            "KeyRequestCreateInput { templateId: ID! note: String!",
        ),
        ("  note: String!\n", "  note: String\n"),
    ],
)
def test_the_check_finds_a_broken_promise(promise: str, instead: str) -> None:
    assert promise in PROMISED
    changed = PROMISED.replace(promise, instead, 1)
    assert broken(build_schema(PROMISED), build_schema(changed)) != []


def test_the_check_finds_what_is_not_described() -> None:
    schema = build_schema('"An answer" type Query { "Whether" up("On" at: Int): Boolean down(at: Int): Boolean }')
    assert undescribed(schema) == ["Query.down", "Query.down(at:)"]
