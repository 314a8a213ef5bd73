"""Card numbers: none is ever taken, but for the one test number, which marks a test order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headwater.edge.parse import Number
from headwater.edge.query import decode
from headwater.errors import FieldFault, RequestRefused

TEST_NUMBER = "0" * 16
TEST_CVV = "100"

# Digits alone or in groups, not part of a longer word or number.
_DIGITS = re.compile(r"(?<![0-9A-Za-z.])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])", re.ASCII)
# What card networks issue. A plain Luhn test would refuse one in ten of all order numbers,
# timestamps and phone numbers with 13 digits or more.
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}(?:\d{2,5})?"
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}"
    r"|62\d{14,17}|81\d{14,17}"
    r"|(?:5[06-9]|6[0-9])\d{14,17}"
    r"|220[0-4]\d{12,15}",
    re.ASCII,
)
_EXPIRY = (
    re.compile(r"(?P<month>\d{2}) ?[/-]? ?(?P<year>\d{2}|\d{4})", re.ASCII),
    re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})", re.ASCII),
)


def luhn(digits: str) -> bool:
    """Whether the check digit of `digits` is right."""
    total = 0
    for position, character in enumerate(reversed(digits)):
        value = ord(character) - 48
        if position % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def looks_like_card(text: str) -> bool:
    """Whether `text` holds a number a card network could have issued."""
    if len(text) < 13:
        return False
    for match in _DIGITS.finditer(text):
        digits = match[0].replace(" ", "").replace("-", "")
        if _ISSUED.fullmatch(digits) and luhn(digits):
            return True
    return False


def without_card(text: str | None) -> str | None:
    """A header's or an address's text; None where it holds a card number, encoded or not.

    Pages put what was typed into their addresses, and browsers send those on.
    """
    if text is None or len(text) < 13 or not looks_like_card(decode(text)):
        return text
    return None


def holds_card(value: Any) -> bool:
    """Whether any text or number in a parsed body, keys included, looks like a card number."""
    if isinstance(value, str):
        return len(value) >= 13 and looks_like_card(value)
    if isinstance(value, dict):
        return any(holds_card(key) or holds_card(member) for key, member in value.items())
    if isinstance(value, list):
        return any(holds_card(member) for member in value)
    if isinstance(value, Number):
        return looks_like_card(value.text)
    return isinstance(value, int) and value > 10**12 and looks_like_card(str(value))


def refuse_cards(body: Any) -> None:
    """Raise card_number_refused when anything in a parsed body looks like a card number.

    The refusal names no field: a field's name may be the number itself.
    """
    if holds_card(body):
        raise RequestRefused("card_number_refused", "A value looks like a card number.")


def is_test_payment(payment: Mapping[str, Any], year: int, month: int) -> bool:
    """True: `payment` is the test card, valid in this month (UTC); False: it names no number.

    Raises RequestRefused: any other number, or the test number with a wrong cvv or expiry.
    """
    number = payment.get("card_number")
    if number is None:
        return False
    text = str(number) if isinstance(number, str | int) else ""
    if text.replace(" ", "").replace("-", "") != TEST_NUMBER:
        raise RequestRefused("card_number_refused", "Only the test number is known here.")
    if str(payment.get("cvv")) == TEST_CVV and _not_past(payment.get("expiry"), year, month):
        return True
    fault = FieldFault("payment", "test_card_invalid", "CVV 100 and an expiry not in the past.")
    raise RequestRefused("test_card_invalid", fault.detail, faults=(fault,))


def _not_past(expiry: object, year: int, month: int) -> bool:
    if not isinstance(expiry, str):
        return False
    for pattern in _EXPIRY:
        match = pattern.fullmatch(expiry.strip())
        if match and 1 <= int(match["month"]) <= 12:
            written = int(match["year"])
            full_year = written if written > 99 else 2000 + written
            return (full_year, int(match["month"])) >= (year, month)
    return False
