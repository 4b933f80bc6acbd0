"""What is sealed can be opened by us alone, for what it was sealed for."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sealing import Sealer, Unsealable

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SEALER = Sealer(KEY)


@given(plain=st.binary(max_size=200), purpose=st.text(max_size=20), bound_to=st.lists(st.text(max_size=20), max_size=3))
def test_what_is_sealed_opens_as_it_was(plain: bytes, purpose: str, bound_to: list[str]) -> None:
    assert SEALER.open(purpose, SEALER.seal(purpose, plain, *bound_to), *bound_to) == plain
    assert SEALER.open_text(purpose, SEALER.seal_text(purpose, plain, *bound_to), *bound_to) == plain


def test_the_bytes_are_pinned_so_that_what_is_stored_stays_readable() -> None:
    assert SEALER.seal("secret", b"value", "sec_1").hex() == "a663c2efe609a1fa70e1d7eb17fc625186102345f3"
    assert SEALER.key_for("sessions").hex() == "0ffb2f9ca77dddffab0388a7bb701fe91ecdddb3839e5b97fb942b736f84da98"


@pytest.mark.parametrize(
    "attempt",
    [
        lambda sealed: Sealer(OTHER_KEY).open("secret", sealed, "sec_1"),
        lambda sealed: SEALER.open("signing key", sealed, "sec_1"),
        lambda sealed: SEALER.open("secret", sealed, "sec_2"),
        lambda sealed: SEALER.open("secret", sealed),
        lambda sealed: SEALER.open("secret", sealed, "sec_1", ""),
        lambda sealed: SEALER.open("secret", sealed[:-1], "sec_1"),
        lambda sealed: SEALER.open("secret", sealed + b"\0", "sec_1"),
        lambda _: SEALER.open("secret", b"", "sec_1"),
    ],
    ids=["another key", "purpose", "row", "no row", "row and more", "cut short", "longer", "empty"],
)
def test_it_opens_for_nothing_else(attempt: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Unsealable):
        attempt(SEALER.seal("secret", b"value", "sec_1"))


@given(position=st.integers(0, 7 + 16), bit=st.integers(0, 7))
def test_no_bit_of_it_can_be_changed(position: int, bit: int) -> None:
    sealed = bytearray(SEALER.seal("cursor", (12345).to_bytes(8)))
    sealed[position] ^= 1 << bit
    with pytest.raises(Unsealable):
        SEALER.open("cursor", bytes(sealed))


@given(text=st.text(max_size=60))
def test_text_that_we_never_gave_is_told_from_ours(text: str) -> None:
    with pytest.raises(Unsealable):
        SEALER.open_text("cursor", text)


def test_there_is_one_spelling_of_a_sealed_text() -> None:
    given_out = SEALER.seal_text("cursor", b"12345678")
    for other in (f"{given_out}=", f" {given_out}", f"{given_out}\n", given_out[:4] + "!" + given_out[4:]):
        with pytest.raises(Unsealable):
            SEALER.open_text("cursor", other)


def test_equal_values_of_two_rows_don_t_look_equal() -> None:
    assert SEALER.seal("secret", b"value", "sec_1") != SEALER.seal("secret", b"value", "sec_2")


def test_the_parts_that_it_is_bound_to_don_t_run_together() -> None:
    assert SEALER.seal("secret", b"value", "ab", "c") != SEALER.seal("secret", b"value", "a", "bc")


def test_after_a_change_of_the_secret_key_the_former_one_still_opens_and_seals_no_more() -> None:
    before = SEALER.seal("secret", b"value")
    after = Sealer(OTHER_KEY, previous=KEY)
    assert after.open("secret", before) == b"value"
    assert Sealer(OTHER_KEY).open("secret", after.seal("secret", b"value")) == b"value"


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert len({SEALER.key_for("sessions"), SEALER.key_for("secret"), Sealer(OTHER_KEY).key_for("sessions")}) == 3
    assert SEALER.digest("a", b"message") != SEALER.digest("b", b"message")
