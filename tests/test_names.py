"""Names that people give: what can be one, and what only looks like one."""

import pytest

from gateway.errors import Invalid
from gateway.names import checked_name


@pytest.mark.parametrize("name", ["Basic", "  Basic  ", "Ключ", "مفتاح", "鍵", "👩\u200d👧", "a\u0301", "x" * 100])
def test_a_name_is_kept_trimmed_and_composed(name: str) -> None:
    assert checked_name(name) == checked_name(checked_name(name))
    assert checked_name("e\u0301") == "é"


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "   ",
        "x" * 101,
        "a\x00b",
        "a\nb",
        "\ud800",
        "\u2028",
        pytest.param("\u200b", id="nothing to see"),
        pytest.param("\u3164", id="a letter without ink"),
        pytest.param("\u202egnp.exe", id="read from right to left"),
        pytest.param("safe\u2066evil", id="isolated"),
    ],
)
def test_what_is_no_name_is_refused_at_its_member(name: str | None) -> None:
    with pytest.raises(Invalid) as refusal:
        checked_name(name, "title")
    assert refusal.value.path == ("title",)
