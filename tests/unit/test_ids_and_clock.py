"""Ids: ordered by time, one text for each. Times: one form out, any offset in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import clock, ids

MS = st.integers(min_value=0, max_value=(1 << 48) - 1)


@given(st.binary(min_size=16, max_size=16))
def test_an_id_survives_its_text(raw: bytes) -> None:
    assert ids.decode(ids.encode(raw)) == raw


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_texts_are_ordered_as_the_bytes(one: bytes, other: bytes) -> None:
    assert (one < other) == (ids.encode(one) < ids.encode(other))


@given(st.text(max_size=30))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        raw = ids.decode(text)
    except ValueError:
        return
    assert ids.encode(raw) == text


def test_the_largest_id_and_one_past_it() -> None:
    assert ids.decode("7" + "z" * 25) == b"\xff" * 16
    with pytest.raises(ValueError, match="128 bits"):
        ids.decode("8" + "0" * 25)


@given(MS)
def test_an_event_id_holds_its_time(at_ms: int) -> None:
    raw = ids.event_id(at_ms)
    assert len(raw) == 16
    assert ids.event_id_ms(raw) == at_ms


def test_event_ids_of_one_millisecond_differ() -> None:
    assert len({ids.event_id(1) for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("text", ["prg_", "prg_x", "prt_1", "prg_-1", "prg_٣", "prg_99999999999"])
def test_a_wrong_object_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="prg"):
        ids.parse_object("prg", text)


def test_an_object_id_survives_its_text() -> None:
    assert ids.parse_object("prg", ids.object_text("prg", 17)) == 17


@given(st.integers(min_value=0, max_value=4_000_000_000_000))
def test_a_time_survives_its_text(at_ms: int) -> None:
    assert clock.parse_iso_ms(clock.iso_ms(at_ms)) == at_ms


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-11-21T04:24:50.036Z", 1_795_235_090_036),
    ],
)
def test_any_offset_is_read(text: str, at_ms: int) -> None:
    assert clock.parse_iso_ms(text) == at_ms


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-21", "2026-11-21T04:24:50", "1795235090", "２026-11-21T00:00:00Z"]
)
def test_a_text_without_a_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        clock.parse_iso_ms(text)
