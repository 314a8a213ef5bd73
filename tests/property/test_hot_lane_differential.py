"""The hot lane against the ordinary one: the same bytes to both, the same answers and records."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hot_pixels import HOT_PIXELS, OTHER_PIXELS, PIXEL_TARGETS
from hot_tools import HEADERS, HOST, HOT, OTHER, QUERIES, TARGETS, get
from lane_tools import (
    Lanes,
    alone,
    answers_of,
    compare,
    compare_sequence,
    exchange,
    forgotten,
    lanes,
    records_of,
)

__all__ = ["forgotten", "lanes"]

TAKEN = {**HOT, **{f"pixel: {name}": data for name, data in HOT_PIXELS.items()}}
LEFT = {**OTHER, **{f"pixel: {name}": data for name, data in OTHER_PIXELS.items()}}
BOTH = {**TAKEN, **LEFT}
assert len(BOTH) == len(HOT) + len(OTHER) + len(HOT_PIXELS) + len(OTHER_PIXELS)

GENERATED = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# ---- recorded requests


@pytest.mark.parametrize("name", TAKEN)
def test_a_plain_request_takes_the_hot_lane_and_is_answered_the_same(
    lanes: Lanes, name: str
) -> None:
    assert compare(lanes, TAKEN[name]) == 1


@pytest.mark.parametrize("name", LEFT)
def test_what_is_doubtful_takes_the_ordinary_lane(lanes: Lanes, name: str) -> None:
    assert compare(lanes, LEFT[name]) == 0


@pytest.mark.parametrize(
    "chain",
    [b"x", b"203.0.113.9:80", b"[2001:db8::1]", b"127.0.0.1", b"1.2.3.4,127.0.0.1", b"01.2.3.4"],
)
def test_a_forwarded_chain_means_the_same(lanes: Lanes, chain: bytes) -> None:
    compare(lanes, get(b"/c/spring_1", HOST, b"X-Forwarded-For: " + chain + b"\r\n"))


# ---- where the bytes are cut


@pytest.mark.parametrize("name", ["Chrome", "closing", "POST", "pixel: a browser's"])
def test_a_request_may_come_in_two_pieces_cut_anywhere(lanes: Lanes, name: str) -> None:
    data = BOTH[name]
    for at in range(1, len(data)):
        compare(lanes, data, [data[:at], data[at:]], 0.001)


@pytest.mark.parametrize(
    "name", ["Chrome", "robots", "unknown code", "pixel: plain", "pixel: items"]
)
def test_after_a_cut_request_the_hot_lane_is_open_again(lanes: Lanes, name: str) -> None:
    first, whole = BOTH[name], HOT["Chrome"]
    for at in (1, len(first) // 2, len(first) - len(b"\r\n\r\n")):
        chunks = [first[:at], first[at:], whole, whole]
        answers, records = alone(lanes, [first, whole, whole])
        # Time enough for the first answer: what comes while it is made is not the hot lane's.
        found = exchange(lanes.hot.port, chunks, 0.05)
        assert (answers_of(found), records_of(lanes.hot, found)) == (answers, records)
        assert lanes.hot_count() == 2


def test_more_requests_than_are_answered_at_once_are_all_answered(lanes: Lanes) -> None:
    requests = [get(b"/c/spring_1?sub1=%d" % number, HOST) for number in range(100)]
    assert compare_sequence(lanes, requests, [b"".join(requests)]) == 100


def test_links_and_the_pixel_share_a_connection(lanes: Lanes) -> None:
    names = ["Chrome", "plain", "pixel: plain", "pixel: refused: nobody", "tokens", "pixel: test"]
    requests = [BOTH[name] for name in names * 6]
    assert compare_sequence(lanes, requests, [b"".join(requests)]) == 36


# Those after which a connection goes on.
GOING_ON = sorted(
    name
    for name in BOTH
    if name.removeprefix("pixel: ") not in {"closing", "HTTP/1.0"} and name != "broken encoding"
)


@GENERATED
@given(
    st.lists(st.sampled_from(GOING_ON), min_size=1, max_size=8),
    st.lists(st.floats(0, 1), max_size=4),
)
def test_pipelined_requests_of_all_kinds_are_answered_in_order(
    lanes: Lanes, names: list[str], cuts: list[float]
) -> None:
    requests = [BOTH[name] for name in names]
    data = b"".join(requests)
    ends = sorted({int(cut * len(data)) for cut in cuts} | {0, len(data)})
    chunks = [data[start:end] for start, end in itertools.pairwise(ends)]
    compare_sequence(lanes, requests, chunks)


# ---- generated and mutated requests


@GENERATED
@given(TARGETS, QUERIES, HEADERS, st.booleans())
def test_a_request_put_together_at_random(
    lanes: Lanes,
    target: bytes,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    has_host: bool,
) -> None:
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    first = [HOST] if has_host and all(name != b"Host" for name, _ in headers) else []
    compare(lanes, get(target + (b"?" + query if query else b""), *first, *lines))


@GENERATED
@given(PIXEL_TARGETS, HEADERS)
def test_a_report_by_the_pixel_put_together_at_random(
    lanes: Lanes, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    first = [] if any(name == b"Host" for name, _ in headers) else [HOST]
    compare(lanes, get(target, *first, *lines))


@GENERATED
@given(
    st.sampled_from(sorted(TAKEN)),
    st.lists(
        st.tuples(
            st.floats(0, 0.999),
            st.sampled_from(["put", "insert", "remove"]),
            st.sampled_from([*b"\r\n \t:%&=+?#/\x00\x7f\xffaA1;,", None]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_a_recorded_request_with_some_bytes_changed(
    lanes: Lanes, name: str, changes: list[tuple[float, str, int | None]]
) -> None:
    data = bytearray(TAKEN[name])
    for place, how, byte in changes:
        at = int(place * len(data))
        if how == "remove" or byte is None:
            del data[at]
        elif how == "put":
            data[at] = byte
        else:
            data.insert(at, byte)
    compare(lanes, bytes(data))
