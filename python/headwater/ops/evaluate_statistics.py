"""Statistics of an evaluation: shares with intervals, areas under curves, quantiles, a regression.

Plain Python, exact where it can be: a report has to come out the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

# Two-sided 95 % of the normal distribution.
Z95: Final = 1.959963984540054

_IRLS_STEPS: Final = 30
_IRLS_ENOUGH: Final = 1e-9
# A small ridge keeps a feature that separates the classes from growing without end.
_RIDGE: Final = 1e-3


class Interval(NamedTuple):
    """A figure and its 95 % confidence interval; None where there was nothing to measure."""

    value: float | None
    low: float | None
    high: float | None


NOTHING: Final = Interval(None, None, None)


def wilson(hits: int, total: int) -> Interval:
    """The share of hits with Wilson's score interval."""
    if total == 0:
        return NOTHING
    share = hits / total
    square = Z95 * Z95
    middle = (share + square / (2 * total)) / (1 + square / total)
    spread = share * (1 - share) / total + square / (4 * total * total)
    half = Z95 / (1 + square / total) * math.sqrt(spread)
    # At none and at all the bound is exact, and rounding must not pass it.
    low = 0.0 if hits == 0 else max(middle - half, 0.0)
    high = 1.0 if hits == total else min(middle + half, 1.0)
    return Interval(share, low, high)


class Ranked:
    """Scores of two classes, counted by score: memory is bounded by the scores there can be."""

    def __init__(self) -> None:
        self._counts: dict[float, list[int]] = {}

    def add(self, score: float, is_positive: bool) -> None:
        """Take in one; of the positives a high score is expected."""
        self._counts.setdefault(score, [0, 0])[is_positive] += 1

    @property
    def negatives(self) -> int:
        return sum(counts[0] for counts in self._counts.values())

    @property
    def positives(self) -> int:
        return sum(counts[1] for counts in self._counts.values())

    def auc(self) -> Interval:
        """The chance that a positive ranks above a negative, ties halved; DeLong's interval."""
        negatives, positives = self.negatives, self.positives
        if not negatives or not positives:
            return NOTHING
        # Of each class the sums of its members' placements and of their squares.
        placed = [[0.0, 0.0], [0.0, 0.0]]
        below = [0, 0]
        for _, (negative, positive) in sorted(self._counts.items()):
            of_positive = (below[0] + negative / 2) / negatives
            of_negative = (positives - below[1] - positive / 2) / positives
            for which, count, place in ((0, negative, of_negative), (1, positive, of_positive)):
                placed[which][0] += count * place
                placed[which][1] += count * place * place
            below[0] += negative
            below[1] += positive
        area = placed[1][0] / positives
        variance = _variance(placed[0], negatives) / negatives
        variance += _variance(placed[1], positives) / positives
        half = Z95 * math.sqrt(variance)
        return Interval(area, max(area - half, 0.0), min(area + half, 1.0))


def _variance(sums: Sequence[float], count: int) -> float:
    if count < 2:
        return 0.0
    return max(sums[1] - sums[0] * sums[0] / count, 0.0) / (count - 1)


def auc(scores: Iterable[float], labels: Iterable[bool]) -> Interval:
    """The area under the curve of scores held in memory."""
    ranked = Ranked()
    for score, label in zip(scores, labels, strict=True):
        ranked.add(score, label)
    return ranked.auc()


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of sorted values, between neighbours by their distance."""
    at = share * (len(ordered) - 1)
    before = math.floor(at)
    after = min(before + 1, len(ordered) - 1)
    return ordered[before] + (at - before) * (ordered[after] - ordered[before])


def quantiles(values: Iterable[float], shares: Mapping[str, float]) -> dict[str, float | None]:
    """Named quantiles; None where there are no values."""
    ordered = sorted(values)
    return {name: quantile(ordered, share) if ordered else None for name, share in shares.items()}


# ---- Regression ----------------------------------------------------------------------------

Row = Sequence[float]


def folds(labels: Sequence[bool], count: int, seed: int) -> list[int]:
    """The fold of each case: as many positives in each, drawn by the seed."""
    drawn = [0] * len(labels)
    random = Random(seed)
    for which in (False, True):
        cases = [number for number, label in enumerate(labels) if label is which]
        random.shuffle(cases)
        for place, number in enumerate(cases):
            drawn[number] = place % count
    return drawn


def cross_validated(
    rows: Sequence[Row], labels: Sequence[bool], count: int = 5, seed: int = 1
) -> list[float]:
    """A score for each case from a logistic regression that has not seen the case's fold."""
    fold = folds(labels, count, seed)
    scores = [0.0] * len(rows)
    for held_out in range(count):
        learned = [number for number in range(len(rows)) if fold[number] != held_out]
        scale = _Scale([rows[number] for number in learned])
        weights = logistic(
            [scale.of(rows[number]) for number in learned], [labels[number] for number in learned]
        )
        for number in range(len(rows)):
            if fold[number] == held_out:
                scores[number] = _dot(weights, scale.of(rows[number]))
    return scores


class _Scale:
    """Brings features to mean 0 and deviation 1, as those of the learned rows were."""

    def __init__(self, rows: Sequence[Row]) -> None:
        columns = list(zip(*rows, strict=True))
        self._means = [math.fsum(column) / len(column) for column in columns]
        self._deviations = [
            math.sqrt(math.fsum((each - mean) ** 2 for each in column) / len(column)) or 1.0
            for column, mean in zip(columns, self._means, strict=True)
        ]

    def of(self, row: Row) -> list[float]:
        """The row, scaled, after the constant."""
        scaled = zip(row, self._means, self._deviations, strict=True)
        return [1.0, *((each - mean) / deviation for each, mean, deviation in scaled)]


def logistic(rows: Sequence[Row], labels: Sequence[bool]) -> list[float]:
    """Weights of a logistic regression with a small ridge, by reweighted least squares.

    The first feature is the constant, which the ridge leaves alone.
    """
    width = len(rows[0])
    weights = [0.0] * width
    for _ in range(_IRLS_STEPS):
        gradient = [0.0 if at == 0 else -_RIDGE * weights[at] for at in range(width)]
        hessian = [[0.0] * width for _ in range(width)]
        for at in range(1, width):
            hessian[at][at] = _RIDGE
        for row, label in zip(rows, labels, strict=True):
            chance = _sigmoid(_dot(weights, row))
            bend = chance * (1 - chance)
            for at, value in enumerate(row):
                gradient[at] += (label - chance) * value
                line, share = hessian[at], bend * value
                for other in range(at + 1):
                    line[other] += share * row[other]
        step = solve(hessian, gradient)
        weights = [weight + change for weight, change in zip(weights, step, strict=True)]
        if max(map(abs, step)) < _IRLS_ENOUGH:
            break
    return weights


def _dot(weights: Row, row: Row) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, row, strict=True))


def _sigmoid(value: float) -> float:
    # Beyond this the sides are 0 and 1 to the last bit, and exp would overflow.
    bounded = min(max(value, -36.0), 36.0)
    return 1 / (1 + math.exp(-bounded))


def solve(lower: Sequence[Row], right: Row) -> list[float]:
    """x of A x = right, for a positive definite A given by its lower triangle (Cholesky)."""
    width = len(right)
    root = [[0.0] * width for _ in range(width)]
    for at in range(width):
        for other in range(at + 1):
            rest = lower[at][other] - math.fsum(_products(root[at], root[other], other))
            # A feature that is constant in a fold has nothing left: it gets no weight.
            if at == other:
                root[at][at] = math.sqrt(max(rest, 1e-12))
            else:
                root[at][other] = rest / root[other][other]
    forward: list[float] = []
    for at in range(width):
        forward.append((right[at] - math.fsum(_products(root[at], forward, at))) / root[at][at])
    found = [0.0] * width
    for at in reversed(range(width)):
        known = math.fsum(root[below][at] * found[below] for below in range(at + 1, width))
        found[at] = (forward[at] - known) / root[at][at]
    return found


def _products(left: Row, right: Row, count: int) -> Iterator[float]:
    return (left[at] * right[at] for at in range(count))
