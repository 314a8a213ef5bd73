"""Ranges of sequences behave as the sets they stand for."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headwater.journal.ranges import RangeSet

pairs = st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda p: (p[0], p[0] + p[1]))


def numbers(ranges: RangeSet) -> set[int]:
    return {number for low, high in ranges for number in range(low, high + 1)}


@given(st.lists(pairs, max_size=30), pairs)
def test_a_range_set_is_a_set(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges = RangeSet(added)
    expected = {number for low, high in added for number in range(low, high + 1)}
    assert numbers(ranges) == expected
    inside = set(range(asked[0], asked[1] + 1)) <= expected
    assert ranges.covers(*asked) == inside
    listed = list(ranges)
    assert listed == sorted(listed)
    assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(listed))


@given(st.lists(pairs, max_size=20), st.lists(pairs, max_size=20))
def test_union_and_cover(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    left, right = RangeSet(one), RangeSet(two)
    assert left.covers_all(right) == (numbers(right) <= numbers(left))
    union = left.copy()
    union.update(right)
    assert numbers(union) == numbers(left) | numbers(right)
    assert union.covers_all(left)
    assert union.covers_all(right)
    assert left == RangeSet(one), "a copy is not its original"
    assert bool(union) == bool(one or two)


def test_in_order_it_stays_one_range() -> None:
    ranges = RangeSet()
    for low in range(1, 3000, 3):
        ranges.add(low, low + 2)
    assert list(ranges) == [(1, 3000)]
    assert len(ranges) == 1
