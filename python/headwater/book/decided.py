"""A decision as its record says it. Its parameters are texts, and are read with care: edges put
decisions on the log too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from headwater import clock
from headwater.book.actions import Refused
from headwater.book.context import Context
from headwater.book.reasons import reversal_reason
from headwater.model.book import kept_text

_DIGITS: Final = 19


class Decided(NamedTuple):
    """One decision."""

    event_id: bytes
    brand: int
    accept_ms: int
    action: str
    subject: bytes
    params: Mapping[str, str]

    def text(self, name: str) -> str:
        """A parameter; empty when it is not named."""
        return kept_text(str(self.params.get(name, "")))

    @property
    def actor(self) -> str:
        """Who decided: a key's id, `shopify`, or `system`."""
        return self.text("actor") or self.text("by") or "system"


def whole(said: Decided, name: str, lowest: int, highest: int) -> int:
    """A parameter that is a whole number in these bounds. Raises Refused."""
    text = said.text(name)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS):
        raise Refused("invalid", field=name)
    value = int(text)
    if not lowest <= value <= highest:
        raise Refused("invalid", field=name)
    return value


def number(said: Decided, name: str) -> int:
    """The number of an object of the configuration. Raises Refused."""
    return whole(said, name, 1, 2**31)


def amount(said: Decided, currency: str) -> int:
    """What is left of an order, in its own currency. Raises Refused."""
    if said.text("currency") not in ("", currency):
        raise Refused("currency_mismatch", currency=currency)
    return whole(said, "amount_minor", 0, 10**18)


def said_ms(said: Decided) -> int:
    """When what it says was so: `at`, an RFC 3339 time that is not later than it came. Raises
    Refused for what is no time.
    """
    text = said.text("at")
    if not text:
        return said.accept_ms
    try:
        return min(clock.parse_iso_ms(text), said.accept_ms)
    except ValueError:
        raise Refused("invalid", field="at") from None


def reason(context: Context, said: Decided, program: int) -> str | None:
    """The reason code of a decision: one of the field's, or of the program's own. Raises Refused
    for another.
    """
    text = said.text("reason")
    if not text:
        return None
    code = reversal_reason(text, context.settings.reversal_reasons(program))
    if code is None:
        raise Refused("unknown_reason")
    return code
