"""Orders and refunds as Shopify's webhooks tell them, read into fields of a conversion and into
what becomes of it later.

Amounts are those the customer saw (`presentment_money`), and of an order the subtotal: goods after
every discount, before shipping and tips. The web pixel knows no other of the same kind, so both
reports of an order agree. What cannot be read and is no money is left out: an order is not lost
for a line's title.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from headwater import clock, limits
from headwater.edge import cards, moments, money
from headwater.edge.address import parse_address
from headwater.edge.parse import Number
from headwater.edge.text import cut, has_control
from headwater.errors import FieldFault, RequestRefused
from headwater.model.currency import EXPONENTS, decimal_text

PLATFORM: Final = "shopify"
# Attributes of the cart, which the shop's theme sets from what the landing page knew.
CLICK, VISITOR, CONSENT = "hw_click_id", "hw_visitor_id", "hw_consent"
_CONSENTS = ("granted", "denied")
_ID_DIGITS_MAX = 20


class Change(NamedTuple):
    """What becomes of an order after it was reported."""

    action: str
    """`modify` or `reverse`."""
    key: str
    """The same for every repeat, whatever it is sent as."""
    params: dict[str, str]


class _Paid(NamedTuple):
    minor: int
    currency: str


class _Line(NamedTuple):
    sku: str | None
    name: str | None
    quantity: int
    subtotal_minor: int | None


# ---- What an order is reported with ----------------------------------------------------------


def conversion(order: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """The fields of the order's conversion, but program and event. Raises RequestRefused."""
    paid = _order_money(order, "subtotal_price")
    if paid is None:
        raise _fault("subtotal_price", "amount_invalid")
    lines = _lines(order, paid.currency)
    customer = _object(order.get("customer"))
    client = _object(order.get("client_details"))
    found = {
        "order_id": order_number(order.get("id"), "id"),
        "amount": decimal_text(paid.minor, paid.currency),
        "currency": paid.currency,
        "discount": _optional(order, "total_discounts", paid.currency),
        "tax": _optional(order, "total_tax", paid.currency),
        "shipping": _optional(order, "total_shipping_price", paid.currency),
        "customer_id": _plain(_digits(customer.get("id"))),
        "email": _first_text(order.get("email"), order.get("contact_email"), customer.get("email")),
        "phone": _first_text(order.get("phone"), customer.get("phone")),
        "promo_code": next((_text(each.get("code")) for each in _objects(order, "discount_codes")),
                           None),
        "items": [_item(line, paid.currency) for line in lines[: limits.ITEMS_MAX]],
        "occurred_at": _moment(order.get("created_at"), now_ms),
        "ip": _address(order.get("browser_ip") or client.get("browser_ip")),
        "user_agent": _text(client.get("user_agent"), limits.USER_AGENT_BYTES_MAX),
        "test": order.get("test") is True,
        **_attributes(order),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def order_number(value: Any, field: str) -> str:
    """An order's id as every report of it names it. Raises RequestRefused."""
    found = _digits(value)
    if found is None:
        raise _fault(field, "order_id_required")
    return found


def _attributes(order: Mapping[str, Any]) -> dict[str, Any]:
    """What the theme left in the cart: click, visitor, and the choice of the visitor."""
    said = {
        each["name"]: _text(each.get("value"))
        for each in _objects(order, "note_attributes")
        if isinstance(each.get("name"), str)
    }
    consent = said.get(CONSENT)
    return {
        "click_id": said.get(CLICK),
        "visitor_id": said.get(VISITOR),
        "consent": consent if consent in _CONSENTS else None,
    }


def _item(line: _Line, currency: str) -> dict[str, Any]:
    subtotal = line.subtotal_minor
    return {
        "sku": line.sku,
        "name": line.name,
        "quantity": line.quantity,
        "subtotal": None if subtotal is None else decimal_text(subtotal, currency),
    }


# ---- What becomes of it ----------------------------------------------------------------------


def cancellation(order: Mapping[str, Any], now_ms: int) -> Change | None:
    """The end of an order that was cancelled, None for one that was not. Raises RequestRefused."""
    cancelled_at = order.get("cancelled_at")
    if not cancelled_at:
        return None
    number = order_number(order.get("id"), "id")
    params = _params("order_cancelled", number, _moment(cancelled_at, now_ms))
    cause = _text(order.get("cancel_reason"))
    return Change("reverse", f"cancel {number}", params | ({"cause": cause} if cause else {}))


def modification(order: Mapping[str, Any], now_ms: int) -> Change:
    """What the order comes to after edits, refunds apart: they are told by themselves. Raises
    RequestRefused.
    """
    number = order_number(order.get("id"), "id")
    paid = _order_money(order, "subtotal_price")
    if paid is None:
        raise _fault("subtotal_price", "amount_invalid")
    lines = _lines(order, paid.currency, _refunded(order))
    if any(line.subtotal_minor is None for line in lines):
        raise _fault("line_items", "amount_invalid")
    at = _moment(order.get("updated_at"), now_ms)
    params = _params("order_updated", number, at)
    params |= _sums(sum(line.subtotal_minor or 0 for line in lines), paid.currency, lines)
    # An edit taken back is one of its own: the time tells it from the first state.
    return Change("modify", f"update {number} {at} {params['amount_minor']}", params)


def refund(body: Mapping[str, Any], now_ms: int) -> Change | None:
    """What a refund takes away of an order's goods, None where it is nothing. Raises
    RequestRefused.
    """
    number = order_number(body.get("order_id"), "order_id")
    refund_id = order_number(body.get("id"), "id")
    lines: list[_Line] = []
    currencies: set[str] = set()
    for each in _objects(body, "refund_line_items"):
        paid = _presentment(each.get("subtotal_set"))
        quantity = _quantity(each.get("quantity"))
        if paid is None or quantity is None:
            raise _fault("refund_line_items", "amount_invalid")
        item = _object(each.get("line_item"))
        lines.append(_Line(_text(item.get("sku")), _title(item), quantity, paid.minor))
        currencies.add(paid.currency)
    total = sum(line.subtotal_minor or 0 for line in lines)
    for each in _objects(body, "order_adjustments"):
        # More was paid back than the lines come to (below zero), or less.
        if each.get("kind") == "refund_discrepancy":
            adjusted = _signed(each.get("amount_set"))
            if adjusted is None:
                raise _fault("order_adjustments", "amount_invalid")
            total -= adjusted.minor
            currencies.add(adjusted.currency)
    if total <= 0:
        return None
    if len(currencies) != 1:
        raise _fault("refund_line_items", "currency_unknown")
    params = _params("order_refunded", number, _moment(body.get("created_at"), now_ms))
    params |= {"refund_id": refund_id, **_sums(total, currencies.pop(), lines)}
    return Change("reverse", f"refund {refund_id}", params)


def _params(reason: str, number: str, at: str | None) -> dict[str, str]:
    params = {"by": PLATFORM, "reason": reason, "order_id": number}
    return params | ({"at": at} if at else {})


def _sums(amount_minor: int, currency: str, lines: Iterable[_Line]) -> dict[str, str]:
    listed = [
        {"sku": line.sku, "quantity": line.quantity, "subtotal_minor": line.subtotal_minor}
        for line in lines
    ]
    items = msgspec.json.encode(listed).decode()
    sums = {"amount_minor": str(amount_minor), "currency": currency}
    return sums | ({"items": items} if len(items) <= limits.DECISION_LINES_BYTES_MAX else {})


# ---- Lines and money -------------------------------------------------------------------------


def _lines(
    order: Mapping[str, Any], currency: str, refunded: Mapping[str, int] | None = None
) -> list[_Line]:
    """The order's lines with what was paid for each; `refunded`: as they are after edits."""
    found = []
    for each in _objects(order, "line_items"):
        ordered = _quantity(each.get("quantity"))
        subtotal = None if ordered is None else _line_minor(each, ordered, currency)
        ordered = ordered or 0
        kept = ordered
        if refunded is not None:
            current = _quantity(each.get("current_quantity"))
            taken = refunded.get(_digits(each.get("id")) or "", 0)
            kept = ordered if current is None else min(ordered, current + taken)
        if subtotal is not None and kept != ordered:
            subtotal = subtotal * kept // ordered
        found.append(_Line(_text(each.get("sku")), _title(each), kept, subtotal))
    return found


def _line_minor(line: Mapping[str, Any], quantity: int, currency: str) -> int | None:
    """What was paid for a line: its price by its quantity, less its share of every discount."""
    price = _presentment(line.get("price_set"))
    if price is None or price.currency != currency:
        return None
    total = price.minor * quantity
    for each in _objects(line, "discount_allocations"):
        share = _presentment(each.get("amount_set"))
        if share is None or share.currency != currency:
            return None
        total -= share.minor
    return max(total, 0)


def _refunded(order: Mapping[str, Any]) -> dict[str, int]:
    """How many of each line were refunded, by the line's id."""
    counts: dict[str, int] = {}
    for each in _objects(order, "refunds"):
        for line in _objects(each, "refund_line_items"):
            number = _digits(line.get("line_item_id"))
            if number is not None:
                counts[number] = counts.get(number, 0) + (_quantity(line.get("quantity")) or 0)
    return counts


def _order_money(order: Mapping[str, Any], name: str) -> _Paid | None:
    """An amount of an order; where only the shop's own currency is told, that."""
    paid = _presentment(order.get(f"{name}_set"))
    return paid or _paid(order.get(name), order.get("currency"))


def _optional(order: Mapping[str, Any], name: str, currency: str) -> str | None:
    paid = _presentment(order.get(f"{name}_set"))
    return decimal_text(paid.minor, currency) if paid and paid.currency == currency else None


def _presentment(value: Any) -> _Paid | None:
    shown = _object(_object(value).get("presentment_money"))
    return _paid(shown.get("amount"), shown.get("currency_code"))


def _signed(value: Any) -> _Paid | None:
    """As `_presentment`, of an amount that may be below zero."""
    shown = _object(_object(value).get("presentment_money"))
    text = _amount_text(shown.get("amount"))
    paid = _paid(text.removeprefix("-"), shown.get("currency_code")) if text else None
    return paid._replace(minor=-paid.minor) if paid and text and text.startswith("-") else paid


def _paid(amount: Any, currency: Any) -> _Paid | None:
    code = money.currency_code(currency) if isinstance(currency, str) else None
    text = _amount_text(amount)
    if code is None or text is None:
        return None
    whole, point, decimals = text.partition(".")
    # Amounts come with two decimals whatever the currency has.
    exponent = EXPONENTS[code]
    if point and not decimals[exponent:].strip("0"):
        text = f"{whole}.{decimals[:exponent]}" if exponent else whole
    try:
        return _Paid(money.minor_units(text, code), code)
    except money.AmountRefused:
        return None


def _amount_text(value: Any) -> str | None:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


# ---- Values ----------------------------------------------------------------------------------


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(owner: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = owner.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _digits(value: Any) -> str | None:
    """An id: a whole number, or its digits."""
    text = _amount_text(value)
    is_id = text is not None and text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS_MAX
    return text if is_id else None


def _quantity(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value <= limits.ITEM_QUANTITY_MAX else None


def _text(value: Any, bytes_max: int = limits.PARAMETER_BYTES_MAX) -> str | None:
    """A text that may be kept: in its bound, without what would have the whole order refused."""
    return _plain(cut(value.strip(), bytes_max)) if isinstance(value, str) else None


def _plain(text: str | None) -> str | None:
    if not text or has_control(text) or cards.looks_like_card(text):
        return None
    return text


def _first_text(*values: Any) -> str | None:
    return next((text for text in map(_text, values) if text), None)


def _title(line: Mapping[str, Any]) -> str | None:
    return _first_text(line.get("title"), line.get("name"))


def _address(value: Any) -> str | None:
    return value if isinstance(value, str) and parse_address(value) is not None else None


def _moment(value: Any, now_ms: int) -> str | None:
    try:
        return clock.iso_ms(moments.claimed_ms(value, now_ms)) if isinstance(value, str) else None
    except moments.MomentRefused:
        return None


def _fault(field: str, code: str) -> RequestRefused:
    fault = FieldFault(field, code, "Not as Shopify documents it.")
    return RequestRefused(code, fault.detail, faults=(fault,))
