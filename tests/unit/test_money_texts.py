"""Amounts as the API reads and shows them: exactly, or not at all."""

from __future__ import annotations

import csv
import io
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.console import money_texts
from headwater.console.money_reports import csv_bytes
from headwater.console.terms_shapes import ItemIn
from headwater.errors import RequestRefused
from headwater.model.currency import EXPONENTS


@pytest.mark.parametrize(
    ("micros", "currency", "text"),
    [
        (0, "EUR", "0.00"),
        (250_000, "EUR", "0.0025"),
        (1_000_000, "EUR", "0.01"),
        (1, "EUR", "0.00000001"),
        (123_450_000, "EUR", "1.2345"),
        (0, "JPY", "0"),
        (1_500_000, "JPY", "1.5"),
        (1_000_000, "KWD", "0.001"),
        (-2_500_000, "EUR", "-0.025"),
    ],
)
def test_micros_are_shown_exactly(micros: int, currency: str, text: str) -> None:
    assert money_texts.micros_text(micros, currency) == text


@given(st.integers(-(10**18), 10**18), st.sampled_from(sorted(EXPONENTS)))
def test_what_is_shown_of_micros_is_the_amount(micros: int, currency: str) -> None:
    shown = Fraction(money_texts.micros_text(micros, currency))
    assert shown == Fraction(micros, 10**6 * 10 ** EXPONENTS[currency])


@given(st.integers(0, 10**13))
def test_a_number_and_a_text_of_an_amount_are_read_alike(cents: int) -> None:
    text = money_texts.text(cents, "EUR")
    assert money_texts.minor("amount", text, "EUR") == cents
    assert money_texts.minor("amount", float(text), "EUR") == cents


@pytest.mark.parametrize("amount", [float("inf"), float("nan"), 1e300, 0.1 + 0.2, -1.0, True])
def test_numbers_that_are_no_amount(amount: float) -> None:
    with pytest.raises(RequestRefused):
        money_texts.minor("amount", amount, "EUR")


def test_lines_beyond_a_record_are_refused() -> None:
    longest = [ItemIn(sku="x" * 250, quantity=1, subtotal="1") for _ in range(200)]
    with pytest.raises(RequestRefused) as refused:
        money_texts.items_json(longest, "EUR")
    assert refused.value.faults[0].code == "too_many_values"


def test_a_table_holds_no_formula() -> None:
    """What a partner named is a text to every spreadsheet; a number stays one."""
    line = [
        "=1+1",
        "+49",
        "-5.00",
        "@x",
        "a,b",
        'say "x"',
        None,
        "\tx",
        "-x",
        "\n=1",
        "\r=1",
        "-1+1",
        "-\u0661",
    ]
    _head, told = csv.reader(io.StringIO(csv_bytes(["a"], [line]).decode(), newline=""))
    assert told == [
        *("'=1+1", "'+49", "-5.00", "'@x", "a,b", 'say "x"', "", "'\tx", "'-x"),
        *("'\n=1", "'\r=1", "'-1+1", "'-\u0661"),
    ]
