"""Laws of exact money, each beside the plainest way to say the same."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.book.money import (
    MICROS,
    Rate,
    accrue,
    apportion,
    half_even,
    rate_between,
    rate_parts,
    read_rate,
    same,
)
from headwater.model.currency import EXPONENTS

AMOUNT = st.integers(-(10**18), 10**18)
WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=12)
CURRENCY = st.sampled_from(["JPY", "EUR", "USD", "KWD"])


def rate_of(source: str, target: str, text: str) -> Rate:
    return Rate(source, target, *rate_parts(text), "ECB", "2026-11-20")


@given(AMOUNT, st.integers(1, 10**12))
def test_half_even_is_what_fractions_round_to(numerator: int, denominator: int) -> None:
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(AMOUNT)
def test_of_two_that_are_as_near_the_even_one(number: int) -> None:
    assert half_even(2 * number + 1, 2) % 2 == 0


@given(AMOUNT, WEIGHTS)
def test_parts_sum_to_the_total_and_none_is_a_unit_off(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    if whole:
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - Fraction(total * weight, whole)) < 1
    assert apportion(-total, weights) == [-part for part in parts]


@given(st.integers(0, 60), st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_the_largest_remainders_get_what_is_left(total: int, weights: list[int]) -> None:
    whole = sum(weights) or len(weights)
    quotas = [Fraction(total * (weight if sum(weights) else 1), whole) for weight in weights]
    parts = [int(quota) for quota in quotas]
    while sum(parts) < total:
        owed = [quota - part for quota, part in zip(quotas, parts, strict=True)]
        parts[owed.index(max(owed))] += 1
    assert apportion(total, weights) == parts


def test_what_cannot_be_shared_out_is_told() -> None:
    assert apportion(0, []) == []
    with pytest.raises(ValueError, match="nothing to share"):
        apportion(1, [])
    with pytest.raises(ValueError, match="negative"):
        apportion(1, [2, -1])


@given(st.lists(st.integers(0, 3 * MICROS), max_size=40))
def test_amounts_below_a_unit_are_never_lost(amounts: list[int]) -> None:
    """I16: a partner with one click a day of a quarter of a cent is paid to the cent."""
    booked = carried = 0
    for micros in amounts:
        minor, carried = accrue(carried, micros)
        booked += minor
        assert abs(carried) <= MICROS // 2
    assert booked * MICROS + carried == sum(amounts)


def test_four_clicks_of_a_quarter_cent_are_one_cent() -> None:
    booked = carried = 0
    for _ in range(4):
        minor, carried = accrue(carried, 250_000)
        booked += minor
    assert (booked, carried) == (1, 0)


@given(
    st.integers(0, 10**15),
    CURRENCY,
    CURRENCY,
    st.integers(1, 10**12 - 1),
    st.integers(0, 6),
)
def test_conversion_is_decimal_arithmetic_rounded_once(
    amount: int, source: str, target: str, digits: int, places: int
) -> None:
    text = f"{Decimal(digits).scaleb(-places):f}"
    with localcontext() as context:
        context.prec = 80
        units = Decimal(amount).scaleb(-EXPONENTS[source]) * Decimal(text)
        minor = units.scaleb(EXPONENTS[target]).to_integral_value(ROUND_HALF_EVEN)
    rate = rate_of(source, target, text)
    assert rate.convert(amount) == int(minor)
    assert rate.inverse().exact(1) * rate.exact(1) == 1
    assert read_rate(rate.value()) == rate


def test_exponents_of_none_two_and_three_decimals() -> None:
    assert rate_of("JPY", "EUR", "0.006").convert(1000) == 600
    assert rate_of("EUR", "JPY", "160.5").convert(100) == 160
    assert rate_of("EUR", "KWD", "0.333").convert(100) == 333
    assert rate_of("KWD", "JPY", "500").convert(1) == 0


def test_a_pair_has_its_own_rate_or_the_opposite_turned_round() -> None:
    rates = {("USD", "EUR"): rate_of("USD", "EUR", "0.8")}
    assert rate_between(rates, "USD", "EUR") == rates["USD", "EUR"]
    back = rate_between(rates, "EUR", "USD")
    assert back is not None
    assert back.convert(100) == 125
    assert back.source == "ECB"
    assert rate_between(rates, "EUR", "JPY") is None
    assert rate_between(rates, "EUR", "EUR") == same("EUR")
    assert rate_between(rates, "ABC", "ABC") is None


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.000", "-1", "+1", "1e3", "1.", ".5", "1,5", " 1", "1" * 13, "1." + "1" * 13, "٣"],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimal number|above zero"):
        rate_parts(text)


def test_the_longest_rate_is_taken() -> None:
    assert rate_parts("9" * 12 + "." + "9" * 12) == (10**24 - 1, 10**12)


@pytest.mark.parametrize(
    "change",
    [
        {"numerator": 0},
        {"denominator": 0},
        {"numerator": True},
        {"numerator": 10**24 + 1},
        {"numerator": "1"},
        {"currency_from": "ABC"},
        {"currency_to": ["EUR"]},
    ],
)
def test_a_record_that_is_no_rate_is_none(change: dict[str, object]) -> None:
    value = rate_of("USD", "EUR", "0.8").value()
    assert read_rate({**value, "numerator": 10**24}) is not None
    assert read_rate({**value, **change}) is None
    assert read_rate({}) is None
