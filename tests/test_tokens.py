"""Tokens on the hot path: what is remembered of them, how much a bad one costs, and how many an address may try."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.plane import tokens
from gateway.plane.knowledge import Generation, Key, Knowledge
from gateway.plane.tokens import (
    FORGERIES_PER_SECOND,
    FORGERY_BURST,
    REMEMBERED_SECONDS,
    Forgeries,
    Holder,
    Tokens,
    TooManyForgeries,
    UnknownToken,
)
from gateway.signing import LONGEST_TOKEN, BadToken, key_header, sign, verify
from models import KeyState

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
SIGNERS = {f"sig_{number}": Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2)}
FEW, KEY = 3, "key_a"


def claims_of(key_id: str, generation: int = 1) -> dict[str, Any]:
    jti = f"{key_id}.{generation}"
    return {"iss": "https://example.org", "sub": "usr", "aud": "prj", "jti": jti, "role": "rol", "iat": 1}


def token(key_id: str, generation: int = 1, kid: str = "sig_1") -> bytes:
    return sign(SIGNERS[kid], key_header(kid), claims_of(key_id, generation)).encode()


def forged(key_id: str, number: int = 0) -> bytes:
    """It says what a good one says, and has a signature of the right length."""
    head, claims, signature = token(key_id).decode().split(".")
    return f"{head}.{claims}.{number:04d}{signature[4:]}".encode()


def known_key(key_id: str) -> Key:
    """It has one token, by the first of two signing keys."""
    key = Key(key_id, "prj", "tpl", "rol", "usr", KeyState.ACTIVE, None)
    return replace(key, generations={1: Generation("sig_1", json.dumps(claims_of(key_id)), None)})


@dataclass
class Door:
    """What tells tokens apart, how often a signature was checked, and what time it is."""

    tokens: Tokens
    checked: int = 0
    now: float = 1000.0
    knowledge: Knowledge = field(default_factory=Knowledge)

    def lets_in(self, sent: bytes, address: str = HERE) -> bool:
        try:
            self.tokens.holder(sent, address)
        except BadToken:
            return False
        return True

    def checks_for(self, sent: bytes, address: str = HERE) -> int:
        """How many signatures it takes."""
        before = self.checked
        self.lets_in(sent, address)
        return self.checked - before


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    knowledge = Knowledge()
    knowledge.public_keys = {kid: signer.public_key() for kid, signer in SIGNERS.items()}
    knowledge.keys = {key_id: known_key(key_id) for key_id in ("key_a", "key_b", "key_c", "key_d")}
    door = Door(Tokens(knowledge), knowledge=knowledge)

    def counted(*arguments: Any, **options: Any) -> dict[str, Any]:
        door.checked += 1
        return verify(*arguments, **options)

    monkeypatch.setattr(tokens, "verify", counted)
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: door.now))
    return door


# ---------------------------------------------------------------- what is remembered


def test_a_good_token_is_verified_once_and_again_when_its_time_in_memory_is_over(door: Door) -> None:
    assert door.tokens.holder(token("key_a"), HERE) == Holder("key_a", 1)
    assert door.checks_for(token("key_a")) == 0
    door.now += REMEMBERED_SECONDS - 0.001
    assert door.checks_for(token("key_a")) == 0
    door.now += 0.001
    assert door.checks_for(token("key_a")) == 1
    assert door.checks_for(token("key_a")) == 0


def test_no_more_tokens_are_remembered_than_the_most_and_the_longest_verified_goes_first(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_REMEMBERED", FEW)
    for key_id in ("key_a", "key_b", "key_c", "key_d"):
        assert door.lets_in(token(key_id))
    assert len(door.tokens) == FEW
    assert [door.checks_for(token(key_id)) for key_id in ("key_d", "key_c", "key_b", "key_a")] == [0, 0, 0, 1]
    assert len(door.tokens) == FEW


def test_no_flood_of_forged_tokens_pushes_out_a_good_one(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_REMEMBERED", FEW)
    for key_id in ("key_a", "key_b", "key_c"):
        assert door.lets_in(token(key_id))
    for number in range(200):
        assert not door.lets_in(forged("key_a", number), f"198.51.100.{number}")
    assert len(door.tokens) == FEW
    assert [door.checks_for(token(key_id)) for key_id in ("key_a", "key_b", "key_c")] == [0, 0, 0]


# ---------------------------------------------------------------- what a bad one costs

UNCHECKED: dict[str, tuple[type[BadToken], bytes]] = {
    "too long": (BadToken, token("key_a") + b"A" * LONGEST_TOKEN),
    "no token": (BadToken, b"nonsense"),
    "not ASCII": (BadToken, "é".encode() * 50),
    "of another kind": (BadToken, sign(SIGNERS["sig_1"], {"typ": "JWT"}, claims_of("key_a")).encode()),
    "without a generation": (BadToken, sign(SIGNERS["sig_1"], key_header("sig_1"), {"jti": "key_a"}).encode()),
    "of a generation with a sign": (
        BadToken,
        sign(SIGNERS["sig_1"], key_header("sig_1"), {"jti": "key_a.+1"}).encode(),
    ),
    "of a generation past all": (BadToken, token("key_a", 10**9)),
    "of an unknown signer": (UnknownToken, sign(SIGNERS["sig_1"], key_header("sig_9"), claims_of("key_a")).encode()),
    "of an unknown key": (UnknownToken, token("key_z")),
    "of an unknown generation": (UnknownToken, token("key_a", 2)),
    "of another signer than the generation's": (UnknownToken, token("key_a", kid="sig_2")),
}


@pytest.mark.parametrize("why", UNCHECKED)
def test_what_can_be_told_without_a_signature_costs_none_and_spends_nothing(door: Door, why: str) -> None:
    kind, sent = UNCHECKED[why]
    for _ in range(2 * FORGERY_BURST):
        with pytest.raises(BadToken) as raised:
            door.tokens.holder(sent, HERE)
        assert type(raised.value) is kind
    assert door.checked == 0
    assert door.lets_in(token("key_a"))


def test_a_token_whose_signer_was_withdrawn_is_told_without_a_signature(door: Door) -> None:
    del door.knowledge.public_keys["sig_1"]
    assert door.checks_for(token("key_a")) == 0
    assert not door.lets_in(token("key_a"))


def test_a_token_that_says_other_than_what_was_signed_for_it_is_a_forgery_though_its_signature_is_right(
    door: Door,
) -> None:
    other = sign(SIGNERS["sig_1"], key_header("sig_1"), {**claims_of("key_a"), "role": "rol_owner"})
    assert not door.lets_in(other.encode())
    assert door.checked == 1


@given(data=st.data())
def test_no_other_spelling_of_a_token_is_let_in(data: st.DataObject) -> None:
    """So one token takes one place in memory. The padding alone, which JWTs leave out, may be there."""
    knowledge, good = Knowledge(), token("key_a")
    knowledge.public_keys, knowledge.keys = {"sig_1": SIGNERS["sig_1"].public_key()}, {"key_a": known_key("key_a")}
    at, gone = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, 4))
    changed = good[:at] + data.draw(st.binary(max_size=4)) + good[at + gone :]
    if changed.rstrip(b"=") != good:
        with pytest.raises(BadToken):
            Tokens(knowledge).holder(changed, HERE)


@given(sent=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_whatever_comes_is_a_bad_token_and_nothing_worse(sent: bytes) -> None:
    for each in (sent, token("key_a")[:40] + sent):
        with pytest.raises(BadToken):
            Tokens(Knowledge()).holder(each, HERE)


# ---------------------------------------------------------------- who sends forged ones


def exhaust(door: Door, address: str) -> None:
    """Until this address may try none for the moment."""
    for number in range(FORGERY_BURST + 2):
        try:
            assert not door.lets_in(forged("key_a", number), address)
        except TooManyForgeries:
            return
    raise AssertionError


def test_an_address_that_forged_a_key_many_times_has_none_of_it_checked_until_a_moment_later(door: Door) -> None:
    """What is remembered goes on from there, and what comes from elsewhere."""
    assert door.lets_in(token("key_a"))
    exhaust(door, HERE)
    checked = door.checked
    with pytest.raises(TooManyForgeries):
        door.tokens.holder(forged("key_a", 900), HERE)
    assert door.lets_in(token("key_a"))
    assert door.checked == checked
    assert not door.lets_in(forged("key_a", 901), ELSEWHERE)
    door.now += 2 / FORGERIES_PER_SECOND
    assert not door.lets_in(forged("key_a", 902))


def test_who_forges_one_key_keeps_no_other_key_of_the_address_from_being_let_in(door: Door) -> None:
    """Behind a proxy that isn't trusted all callers have one address."""
    exhaust(door, HERE)
    assert door.lets_in(token("key_b"))
    assert door.lets_in(token("key_c"))


def test_a_key_that_was_let_in_before_is_let_in_again_however_many_were_forged_meanwhile(door: Door) -> None:
    assert door.lets_in(token("key_a"))
    door.now += REMEMBERED_SECONDS + 1
    exhaust(door, HERE)
    assert door.lets_in(token("key_a"))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff::9", True),
        ("2001:db8:0:0::1", "2001:db8:0:1::1", False),
        ("2001:db8::1", "2001:DB8:0::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "192.0.2.1", False),
    ],
)
def test_who_has_an_address_of_ipv6_has_all_of_its_64_and_one_of_ipv4_has_that(
    door: Door, one: str, other: str, is_same: bool
) -> None:
    exhaust(door, one)
    if is_same:
        with pytest.raises(TooManyForgeries):
            door.tokens.holder(forged("key_a", 900), other)
    else:
        assert not door.lets_in(forged("key_a", 900), other)


def test_only_so_many_addresses_are_remembered_and_the_longest_quiet_goes_first(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_SOURCES", 2 * FEW)  # an address counts by itself and with each key
    exhaust(door, HERE)
    for number in range(FEW - 1):
        assert not door.lets_in(forged("key_a"), f"198.51.100.{number}")
    with pytest.raises(TooManyForgeries):
        door.tokens.holder(forged("key_a", 900), HERE)
    assert not door.lets_in(forged("key_a"), ELSEWHERE)
    assert not door.lets_in(forged("key_a", 901), HERE)


gaps = st.lists(st.integers(0, 300) | st.integers(0, 20_000), min_size=1, max_size=400)


@given(gaps_ms=gaps)
def test_in_any_time_no_more_forged_tokens_are_checked_than_a_burst_and_the_rate(gaps_ms: list[int]) -> None:
    """And an address that keeps to the rate is never turned away."""
    checked, forgeries = [], Forgeries()
    for at in map(seconds, accumulate(gaps_ms)):
        try:
            forgeries.admit(HERE, KEY, at)
        except TooManyForgeries:
            continue
        forgeries.add(HERE, KEY, at)
        checked.append(at)
    for first, last in pairs(len(checked)):
        elapsed = checked[last] - checked[first]
        assert last - first + 1 <= FORGERY_BURST + 2 + elapsed * FORGERIES_PER_SECOND
    if min(gaps_ms) >= 1000 / FORGERIES_PER_SECOND:
        assert len(checked) == len(gaps_ms)


def seconds(milliseconds: int) -> float:
    return 1_000_000 + milliseconds / 1000


def pairs(quantity: int) -> Iterator[tuple[int, int]]:
    return ((first, last) for first in range(0, quantity, 7) for last in range(first, quantity))
