"""ISO 4217: the currencies money may be in, and how many decimals each has.

Active national currencies as of amendment 177. Fund codes, precious metals and test codes are
left out: no order is paid in them.
"""

from __future__ import annotations

import re
from typing import Final

from headwater import limits

_NO_DECIMALS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_TWO_DECIMALS: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP "
    "GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD "
    "LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB "
    "PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
    "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XAD XCD XCG YER ZAR "
    "ZMW ZWG"
)
_THREE_DECIMALS: Final = "BHD IQD JOD KWD LYD OMR TND"

EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for exponent, codes in ((0, _NO_DECIMALS), (2, _TWO_DECIMALS), (3, _THREE_DECIMALS))
    for code in codes.split()
}
"""Decimals of each currency: one unit is 10 ** exponent minor units."""


def decimal_text(amount_minor: int, currency: str) -> str:
    """`1234` and `EUR` as `12.34`: exact, with all the decimals the currency has.

    Raises KeyError for a currency that is not in EXPONENTS.
    """
    exponent = EXPONENTS[currency]
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(exponent + 1, "0")
    if not exponent:
        return sign + digits
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


_AMOUNT = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)


class AmountRefused(ValueError):
    """`code` is a reason: amount_invalid, amount_negative or amount_precision."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def minor_of_text(text: str, currency: str) -> int:
    """Minor units of `currency` (a known code) in a decimal text.

    Digits, and at most one point between digits; neither sign nor exponent nor grouping. Raises
    AmountRefused.
    """
    if text.startswith("-"):
        raise AmountRefused("amount_negative")
    match = _AMOUNT.fullmatch(text) if len(text) <= 2 * limits.AMOUNT_DIGITS_MAX else None
    if match is None:
        raise AmountRefused("amount_invalid")
    whole, fraction = match[1], match[2] or ""
    exponent = EXPONENTS[currency]
    if len(fraction) > exponent:
        raise AmountRefused("amount_precision")
    digits = (whole + fraction.ljust(exponent, "0")).lstrip("0")
    if len(digits) > limits.AMOUNT_DIGITS_MAX:
        raise AmountRefused("amount_invalid")
    return int(digits or "0")
