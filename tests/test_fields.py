"""The columns that tables share: ids that sort, and names as they are searched and sorted by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Project
from models.fields import LONGEST_FOLD, fold, named
from models.ids import ALPHABET, new_id


def test_ids_sort_by_the_time_at_which_they_were_made() -> None:
    ids = [new_id("key") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [id[:24] for id in ids] == sorted(id[:24] for id in ids)


def test_an_id_is_its_prefix_and_26_characters_of_crockfords_alphabet() -> None:
    prefix, _, rest = new_id("tpl").partition("_")
    assert (prefix, len(rest)) == ("tpl", 26)
    assert set(rest) <= set(ALPHABET)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=100))
def test_a_folded_name_is_the_same_whatever_its_case_and_fits_its_column(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert len(fold(text)) <= LONGEST_FOLD * len(text)


@pytest.mark.parametrize(
    ("name", "search"),
    [("Straße", "STRASSE"), ("Ключ", "кЛЮЧ"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("ﬁne", "FINE"), ("É", "e\u0301")],
)
async def test_a_name_is_found_in_any_case_of_any_alphabet(database: str, name: str, search: str) -> None:
    await Project.create(currency="USD", **named(f"The {name} of it"))
    assert await Project.filter(name_folded__contains=fold(search)).count() == 1


@pytest.mark.parametrize("search", ["x" * 5000, "\x00", "\ud800", "%", "_", "\\"])
async def test_what_no_name_holds_is_searched_for_in_vain(database: str, search: str) -> None:
    await Project.create(currency="USD", **named("Plain"))
    assert await Project.filter(name_folded__contains=fold(search)).count() == 0
