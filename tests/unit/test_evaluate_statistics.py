"""The statistics of an evaluation, each beside a slower way to the same figure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ops.evaluate_statistics import (
    NOTHING,
    Z95,
    Ranked,
    auc,
    cross_validated,
    folds,
    logistic,
    quantile,
    quantiles,
    solve,
    wilson,
)

# ---- Shares --------------------------------------------------------------------------------


def score_statistic(hits: int, total: int, true_share: float) -> float:
    """How many deviations the observed share lies from a supposed true one."""
    return (hits / total - true_share) / math.sqrt(true_share * (1 - true_share) / total)


@given(st.integers(1, 5000), st.data())
def test_wilsons_bounds_are_where_the_score_test_turns(total: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, total))
    found = wilson(hits, total)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    if hits:
        assert score_statistic(hits, total, found.low) == pytest.approx(Z95)
    else:
        assert found.low == 0
    if hits < total:
        assert score_statistic(hits, total, found.high) == pytest.approx(-Z95)
    else:
        assert found.high == 1


def test_a_published_interval_comes_out() -> None:
    found = wilson(0, 10)
    assert (found.low, found.high) == (0, pytest.approx(0.27753, abs=1e-5))


def test_of_nothing_there_is_no_share() -> None:
    assert wilson(0, 0) == NOTHING


# ---- Areas ---------------------------------------------------------------------------------

Cases = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40)


def pairs_won(cases: Sequence[tuple[int, bool]]) -> float | None:
    """The area by its definition: every positive against every negative."""
    positives = [score for score, label in cases if label]
    negatives = [score for score, label in cases if not label]
    if not positives or not negatives:
        return None
    won = sum((p > n) + (p == n) / 2 for p, n in itertools.product(positives, negatives))
    return won / (len(positives) * len(negatives))


def delong_half(cases: Sequence[tuple[int, bool]]) -> float:
    """Half the interval, by DeLong's placements one by one."""
    positives = [score for score, label in cases if label]
    negatives = [score for score, label in cases if not label]

    def placed(one: int, others: Sequence[int]) -> float:
        return sum((one > other) + (one == other) / 2 for other in others) / len(others)

    of_positives = [placed(p, negatives) for p in positives]
    of_negatives = [1 - placed(n, positives) for n in negatives]
    variance = sum(
        statistics.variance(each) / len(each) if len(each) > 1 else 0.0
        for each in (of_positives, of_negatives)
    )
    return Z95 * math.sqrt(variance)


@given(Cases)
def test_the_area_is_the_share_of_pairs_in_order(cases: list[tuple[int, bool]]) -> None:
    found = auc([score for score, _ in cases], [label for _, label in cases])
    wanted = pairs_won(cases)
    if wanted is None:
        assert found == NOTHING
        return
    assert found.value == pytest.approx(wanted)
    half = delong_half(cases)
    assert found.low == pytest.approx(max(wanted - half, 0), abs=1e-9)
    assert found.high == pytest.approx(min(wanted + half, 1), abs=1e-9)


def test_ranking_takes_a_case_at_a_time() -> None:
    ranked = Ranked()
    for score, label in ((3, True), (1, False), (2, False)):
        ranked.add(score, label)
    assert (ranked.positives, ranked.negatives) == (1, 2)
    assert ranked.auc().value == 1


# ---- Quantiles -----------------------------------------------------------------------------


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=50))
def test_quantiles_are_those_of_the_standard_library(values: list[int]) -> None:
    ordered = sorted(values)
    wanted = statistics.quantiles(ordered, n=4, method="inclusive")
    found = [quantile([float(each) for each in ordered], share) for share in (0.25, 0.5, 0.75)]
    assert found == pytest.approx(wanted)


def test_named_quantiles_of_nothing_are_none() -> None:
    assert quantiles([], {"p50": 0.5, "max": 1.0}) == {"p50": None, "max": None}
    assert quantiles([7], {"p1": 0.01, "max": 1.0}) == {"p1": 7, "max": 7}
    assert quantiles([3, 1, 2], {"p50": 0.5, "max": 1.0}) == {"p50": 2, "max": 3}


# ---- Regression ----------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(0, 10_000))
def test_a_system_of_equations_is_solved(width: int, seed: int) -> None:
    random = Random(seed)
    base = [[random.gauss(0, 1) for _ in range(width)] for _ in range(width)]
    matrix = [
        [sum(row[at] * row[other] for row in base) + 2 * (at == other) for other in range(width)]
        for at in range(width)
    ]
    wanted = [random.gauss(0, 1) for _ in range(width)]
    right = [sum(matrix[at][n] * wanted[n] for n in range(width)) for at in range(width)]
    assert solve(matrix, right) == pytest.approx(wanted)


def drawn(seed: int, count: int = 400) -> tuple[list[list[float]], list[bool]]:
    """Cases of a known law: the first feature speaks, the second is noise."""
    random = Random(seed)
    rows, labels = [], []
    for _ in range(count):
        row = [random.gauss(0, 1), random.gauss(0, 1)]
        rows.append(row)
        labels.append(random.random() < 1 / (1 + math.exp(-(2 * row[0] - 0.5))))
    return rows, labels


def test_weights_are_where_no_step_helps() -> None:
    rows, labels = drawn(1)
    rows = [[1.0, *row] for row in rows]
    weights = logistic(rows, labels)

    def loss(tried: Sequence[float]) -> float:
        total = 0.0
        for row, label in zip(rows, labels, strict=True):
            value = sum(weight * each for weight, each in zip(tried, row, strict=True))
            total += math.log1p(math.exp(-value if label else value))
        return total + 1e-3 / 2 * sum(weight * weight for weight in tried[1:])

    least = loss(weights)
    for at in range(3):
        for step in (-1e-3, 1e-3):
            moved = list(weights)
            moved[at] += step
            assert loss(moved) > least
    assert weights[1] == pytest.approx(2, abs=0.6)
    assert abs(weights[2]) < 0.4


def test_classes_that_a_feature_separates_do_not_overflow() -> None:
    rows = [[1.0, float(number)] for number in range(20)]
    weights = logistic(rows, [number >= 10 for number in range(20)])
    assert all(math.isfinite(weight) for weight in weights)
    assert weights[1] > 0


def test_what_is_scored_was_not_learned_from() -> None:
    rows, labels = drawn(2)
    found = auc(cross_validated(rows, labels), labels)
    assert found.value == pytest.approx(0.85, abs=0.06)
    # Features that say nothing come out as nothing, which they would not if cases were remembered.
    random = Random(3)
    noise = [[random.gauss(0, 1) for _ in range(3)] for _ in labels]
    assert auc(cross_validated(noise, labels), labels).value == pytest.approx(0.5, abs=0.08)


def test_a_feature_that_never_varies_does_no_harm() -> None:
    rows, labels = drawn(4)
    constant = [[*row, 7.0] for row in rows]
    plain, with_it = (auc(cross_validated(each, labels), labels).value for each in (rows, constant))
    assert plain == pytest.approx(with_it, abs=1e-3)


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 100))
def test_folds_share_out_both_classes(labels: list[bool], seed: int) -> None:
    drawn_folds = folds(labels, 5, seed)
    assert drawn_folds == folds(labels, 5, seed)
    for which in (False, True):
        cases = list(zip(drawn_folds, labels, strict=True))
        counts = [cases.count((number, which)) for number in range(5)]
        assert max(counts) - min(counts) <= 1
