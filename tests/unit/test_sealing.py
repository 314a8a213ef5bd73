"""Secrets of others, kept sealed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.model import sealing

KEY = bytes(range(32))
NONCE = bytes(16)


@given(st.text(max_size=300), st.integers(0, 2**40), st.binary(min_size=16, max_size=16))
def test_what_is_sealed_opens_again_and_does_not_show(text: str, number: int, nonce: bytes) -> None:
    sealed = sealing.seal(KEY, "x", number, text, nonce)
    assert sealing.opened(KEY, "x", number, sealed) == text
    if len(text) > 3:
        assert text.encode("utf-8", "surrogatepass").hex() not in sealed


@pytest.mark.parametrize(
    ("key", "purpose", "number"), [(bytes(32), "x", 1), (KEY, "y", 1), (KEY, "x", 2)]
)
def test_it_opens_for_nothing_else(key: bytes, purpose: str, number: int) -> None:
    sealed = sealing.seal(KEY, "x", 1, "secret", NONCE)
    with pytest.raises(sealing.Broken):
        sealing.opened(key, purpose, number, sealed)


def test_every_changed_byte_is_noticed() -> None:
    raw = bytes.fromhex(sealing.seal(KEY, "x", 1, "secret", NONCE))
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(sealing.Broken):
            sealing.opened(KEY, "x", 1, changed.hex())


@pytest.mark.parametrize("text", ["", "zz", "00", "00" * 47, "no hex"])
def test_what_is_no_sealed_text_is_refused(text: str) -> None:
    with pytest.raises(sealing.Broken):
        sealing.opened(KEY, "x", 1, text)


def test_two_seals_of_one_secret_differ() -> None:
    first, second = (sealing.seal(KEY, "x", 1, "secret", bytes([n]) * 16) for n in (1, 2))
    assert first[32:] != second[32:]
