"""The page for trying operations."""

import json
import re
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from schema.transport.explorer import PAGE

CONTRACT = build_schema((Path(__file__).parent / "contract" / "schema.graphql").read_text())
EXAMPLES = [
    json.loads(found) for found in re.findall(r"""\[\s*("(?:query|mutation|subscription|\{)(?:[^"\\]|\\.)*")""", PAGE)
]
[OWN_QUERY] = re.findall(r"const SCHEMA = `(.*?)`", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", [*EXAMPLES, OWN_QUERY])
def test_what_the_page_asks_is_in_the_contract(text: str) -> None:
    assert validate(CONTRACT, parse(text)) == []


def test_the_page_offers_a_query_a_mutation_and_a_subscription() -> None:
    assert {"{", "m", "s"} <= {text[0] for text in EXAMPLES}


def test_each_control_of_the_page_has_a_name() -> None:
    controls = re.findall(r"<(?:input|select|textarea)[^>]*>", PAGE)
    labelled = re.findall(r"<label>[^<]*(?:<(?!/label)[^<]*)*</label>", PAGE)
    assert controls
    for control in controls:
        assert "aria-label" in control or any(control in label for label in labelled), control
