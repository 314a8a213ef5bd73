"""A reported conversion: from its fields to a record, the same for every way it may come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headwater import _core, ids, limits
from headwater.edge import cards, identifiers, moments, money, statuses
from headwater.edge.address import parse_address
from headwater.edge.client import NOBODY, Caller, kept
from headwater.edge.context import Edge
from headwater.edge.fields import ConversionIn, EventIn, Faults, ItemIn, read, without_addresses
from headwater.edge.links import EventType, Program
from headwater.edge.text import bytes_count, has_control
from headwater.errors import RequestRefused
from headwater.model.records import (
    NO_CLIENT,
    Client,
    ConversionBody,
    Flag,
    Identifiers,
    Item,
    Kind,
    Money,
    Record,
    Source,
    Trust,
    TypeAndDigest,
    encode,
)

MAIN_LINE = "main"
# ISO 4217 for "no currency": of a refused report whose program is not known.
NO_CURRENCY = "X" * 3


@dataclass(slots=True)
class Origin:
    """Where a report comes from, and what the request itself says of the visitor."""

    source: Source
    trust: Trust
    brand: int | None = None
    """The key's brand; None: any."""
    caller: Caller = NOBODY
    """The browser that reports by itself; of a server's report nobody."""
    visitor: str | None = None
    """Value of the visitor cookie."""
    gpc: bool = False
    idempotency_key: str | None = None
    flags: int = 0
    """Bits of Flag the request itself shows."""
    params: Mapping[str, str] = field(default_factory=dict)
    """What is kept with a conversion beside its own properties."""
    platform: str = ""
    """The shop system whose webhook it is."""

    @property
    def method(self) -> str:
        """The tracking method a program may switch off; the tag is the pixel's."""
        if self.platform:
            return self.platform
        return "pixel" if self.source in (Source.PIXEL, Source.TAG) else "s2s"


@dataclass(slots=True)
class Report:
    """A conversion ready for the journal."""

    event_id: bytes
    conversion_id: bytes
    brand: int
    record: bytes
    warnings: list[str] = field(default_factory=list)

    @property
    def conversion_text(self) -> str:
        return ids.event_text("cnv", self.conversion_id)


def read_program(
    edge: Edge, code: str, brand: int | None, method: str, faults: Faults
) -> Program | None:
    """The program an event names, or None with the fault noted."""
    if not code:
        return None
    program = edge.table.program(code)
    if program is None or brand not in (None, program.brand):
        faults.add("program", "unknown_program")
        return None
    if not edge.table.program_active(program):
        faults.add("program", "program_inactive")
        return None
    if program.methods is not None and method not in program.methods:
        raise RequestRefused("method_disabled")
    return program


def claim_ms(event: EventIn, now_ms: int, faults: Faults) -> int | None:
    """The caller's time of the event, or None."""
    return _moment_ms("occurred_at", event.occurred_at, now_ms, faults)


def _moment_ms(name: str, text: str | None, now_ms: int, faults: Faults) -> int | None:
    if not text:
        return None
    try:
        return moments.claimed_ms(text, now_ms)
    except moments.MomentRefused as refused:
        faults.add(name, refused.code, "A time is RFC 3339 with an offset.")
        return None


def consent_denied(event: EventIn, program: Program, gpc: bool) -> bool:
    """Whether nothing but a click id may be kept of the visitor."""
    if gpc:
        return True
    return event.consent == "denied" if event.consent else program.denied


def client_of(
    edge: Edge,
    event: EventIn,
    origin: Origin,
    program: Program,
    now_ms: int,
    denied: bool,
    faults: Faults,
) -> Client:
    """What is kept of the visitor's device.

    A server says it in the event; what its own connection shows is its own. A browser's
    connection shows it, and what its event says counts for nothing: anybody could say it.
    """
    if event.ip and parse_address(event.ip) is None:
        faults.add("ip", "invalid", "Not an IP address.")
        return NO_CLIENT
    caller = origin.caller
    if origin.trust is Trust.SERVER:
        caller = Caller(event.ip or "", event.user_agent)
    return kept(edge.networks, caller, program.brand, now_ms, denied=denied)


def prepare(edge: Edge, body: Mapping[str, Any], origin: Origin) -> Report:
    """The record of a report. Raises RequestRefused with every fault that was found."""
    now_ms = edge.now_ms()
    cards.refuse_cards(body)
    faults = Faults()
    event, warnings = read(ConversionIn, body, faults)
    program = read_program(edge, event.program, origin.brand, origin.method, faults)
    if not (
        identifiers.given(event)
        or event.promo_code
        or origin.visitor
        or _is_silenced(event, program, origin)
    ):
        faults.add("identifiers", "no_identifier")
    flags = Flag(origin.flags) | _mail_flags(edge, event)
    if event.test or _is_test_order(event, now_ms):
        flags |= Flag.TEST
    claimed = claim_ms(event, now_ms, faults)
    started = _moment_ms("checkout_started_at", event.checkout_started_at, now_ms, faults)
    click = _click_id(event, faults)
    if program is None:
        faults.raise_any()
        raise RequestRefused("unknown_program")
    statuses.judge(event.status, faults)
    event_type = _event_type(edge, event, program, faults)
    paid = _money(event, program, faults)
    items = _items(event, paid.currency, faults)
    params = {**without_addresses(_params(event, faults), warnings), **origin.params}
    denied = consent_denied(event, program, origin.gpc)
    known = _identifiers(edge, event, program, origin, faults)
    if denied:
        flags |= Flag.CONSENT_DENIED
        known = ()
    client = client_of(edge, event, origin, program, now_ms, denied, faults)
    faults.raise_any()
    if event_type is None:
        raise RequestRefused("unknown_event_type")
    event_id, conversion_id = _ids(edge, event, event_type, program, origin, now_ms)
    body_out = ConversionBody(
        conversion_id=conversion_id,
        program=program.number,
        event_type=event_type.number,
        order_id=event.order_id or None,
        line=event.line or MAIN_LINE,
        flags=int(flags),
        click_id=click,
        identifiers=known,
        money=paid,
        promo_code=event.promo_code or None,
        customer_status=event.customer_status,
        items=items,
        params=params,
        client=client,
        refused=None,
        started_ms=started,
    )
    return Report(
        event_id=event_id,
        conversion_id=conversion_id,
        brand=program.brand,
        record=_encoded(event_id, program.brand, now_ms, claimed, origin, body_out),
        warnings=warnings,
    )


def prepare_rejection(
    edge: Edge,
    code: str,
    body: Mapping[str, Any],
    origin: Origin,
    *,
    order_id: str | None = None,
) -> Report:
    """The record that keeps a refused report: why, for which program, from where; no values but
    the order's id, where the caller has found it good.

    Brand, program and event type are 0 where the report names none that exists.
    """
    now_ms = edge.now_ms()
    program = edge.table.program(str(body.get("program", "")))
    event_type = program and edge.table.event_type(program.number, str(body.get("event", "")))
    brand = program.brand if program else 0
    event_id = ids.event_id(now_ms)
    denied = origin.gpc or body.get("consent") == "denied" or (program and program.denied)
    caller = origin.caller._replace(referrer=None)
    body_out = ConversionBody(
        conversion_id=event_id,
        program=program.number if program else 0,
        event_type=event_type.number if event_type else 0,
        order_id=order_id,
        line=MAIN_LINE,
        flags=int(Flag.CONSENT_DENIED) if denied else 0,
        click_id=None,
        identifiers=(),
        money=Money(0, program.currency if program else NO_CURRENCY, None, None, None),
        promo_code=None,
        customer_status=None,
        items=(),
        params={},
        client=kept(edge.networks, caller, brand, now_ms, denied=bool(denied)),
        refused=code,
    )
    return Report(
        event_id=event_id,
        conversion_id=event_id,
        brand=brand,
        record=_encoded(event_id, brand, now_ms, None, origin, body_out),
    )


def order_conversion_id(
    edge: Edge, program: Program, event_type: EventType, order_id: str, line: str
) -> bytes:
    """The id every report of this order meets on, whichever way it comes."""
    parts = [str(program.brand), str(program.number), str(event_type.number), order_id, line]
    return _core.conversion_digest(edge.identity_key, parts)


def keyed_id(edge: Edge, what: str, brand: int, idempotency_key: str) -> bytes:
    """16 bytes that every repeat of a request with this Idempotency-Key meets on."""
    return _core.conversion_digest(edge.identity_key, [what, str(brand), idempotency_key])


def _ids(
    edge: Edge,
    event: ConversionIn,
    event_type: EventType,
    program: Program,
    origin: Origin,
    now_ms: int,
) -> tuple[bytes, bytes]:
    key = origin.idempotency_key
    event_id = keyed_id(edge, "event", program.brand, key) if key else ids.event_id(now_ms)
    if event.order_id:
        line = event.line or MAIN_LINE
        return event_id, order_conversion_id(edge, program, event_type, event.order_id, line)
    if key:
        return event_id, keyed_id(edge, "conversion", program.brand, key)
    return event_id, ids.event_id(now_ms)


def _encoded(
    event_id: bytes,
    brand: int,
    now_ms: int,
    claimed: int | None,
    origin: Origin,
    body: ConversionBody,
) -> bytes:
    return encode(
        Record(
            kind=int(Kind.CONVERSION),
            event_id=event_id,
            brand=brand,
            accept_ms=now_ms,
            claim_ms=claimed,
            trust=int(origin.trust),
            source=int(origin.source),
            body=body,
        )
    )


def _mail_flags(edge: Edge, event: ConversionIn) -> Flag:
    """What is known of the mail address: it says nothing of who the visitor is."""
    lists = edge.networks.lists
    if not event.email or not lists.disposable:
        return Flag(0)
    found = lists.is_disposable(event.email)
    return Flag.EMAIL_LOOKED_UP | Flag.DISPOSABLE_EMAIL if found else Flag.EMAIL_LOOKED_UP


def _is_silenced(event: ConversionIn, program: Program | None, origin: Origin) -> bool:
    """Whether the visitor's own choice keeps the browser from naming anybody: then the report
    is taken without an identifier, and counts for nobody.
    """
    if program is None or origin.trust is not Trust.BROWSER:
        return False
    return consent_denied(event, program, origin.gpc)


def _is_test_order(event: ConversionIn, now_ms: int) -> bool:
    if event.payment is None:
        return False
    year, month = moments.year_and_month(now_ms)
    return cards.is_test_payment(event.payment, year, month)


def _click_id(event: EventIn, faults: Faults) -> bytes | None:
    if not event.click_id:
        return None
    found = identifiers.click_id(event.click_id)
    if found is None:
        faults.add("click_id", "invalid_identifier", "Not the form of a click id.")
    return found


def _event_type(
    edge: Edge, event: ConversionIn, program: Program, faults: Faults
) -> EventType | None:
    found = edge.table.event_type(program.number, event.event) if event.event else None
    if found is None or not found.active:
        if event.event:
            faults.add("event", "unknown_event_type")
        return None
    if found.kind == "click":
        faults.add("event", "invalid", "Click events come from links, not from reports.")
    if found.kind == "sale" and not event.order_id and not faults.at("order_id"):
        faults.add("order_id", "order_id_required")
    return found


def _identifiers(
    edge: Edge, event: ConversionIn, program: Program, origin: Origin, faults: Faults
) -> Identifiers:
    key, brand = edge.identity_key, program.brand
    country = program.default_country
    found = identifiers.digests(key, brand, event, country, faults, origin.trust)
    if origin.visitor:
        cookie: TypeAndDigest = identifiers.visitor(key, brand, origin.visitor)
        found = tuple(sorted({*found, cookie}))
    return found


def _money(event: ConversionIn, program: Program, faults: Faults) -> Money:
    currency = money.currency_code(event.currency or program.currency)
    if currency is None:
        faults.add("currency", "currency_unknown")
        return Money(0, NO_CURRENCY, None, None, None)
    amount = _amount("amount", event.amount, currency, faults)
    return Money(
        amount or 0,
        currency,
        _amount("discount", event.discount, currency, faults),
        _amount("tax", event.tax, currency, faults),
        _amount("shipping", event.shipping, currency, faults),
    )


def _amount(name: str, value: Any, currency: str, faults: Faults) -> int | None:
    if value is None or value == "":
        return None
    try:
        return money.minor_units(value, currency)
    except money.AmountRefused as refused:
        faults.add(name, refused.code)
        return None


def _items(event: ConversionIn, currency: str, faults: Faults) -> tuple[Item, ...]:
    if not event.items:
        return ()
    if len(event.items) > limits.ITEMS_MAX:
        faults.add("items", "too_many_values", f"At most {limits.ITEMS_MAX} items.")
        return ()
    return tuple(
        _item(position, item, currency, faults) for position, item in enumerate(event.items)
    )


def _item(position: int, value: Any, currency: str, faults: Faults) -> Item:
    field_name = f"items[{position}]"
    if not isinstance(value, dict):
        faults.add(field_name, "invalid", "An item is an object.")
        return Item(None, None, None, 0, None)
    inner = Faults()
    item, _unknown = read(ItemIn, value, inner)
    quantity = 1 if item.quantity is None else item.quantity
    if not 0 <= quantity <= limits.ITEM_QUANTITY_MAX:
        inner.add("quantity", "invalid", "Not a whole number from 0.")
    subtotal = (
        _amount("subtotal", item.subtotal, currency, inner) if currency != NO_CURRENCY else None
    )
    for fault in inner.found:
        faults.add(f"{field_name}.{fault.field}", fault.code, fault.detail)
    return Item(item.sku, item.name, item.category, quantity, subtotal)


def _params(event: ConversionIn, faults: Faults) -> dict[str, str]:
    params = event.properties or {}
    if len(params) > limits.PROPERTIES_MAX:
        faults.add("properties", "too_many_values", f"At most {limits.PROPERTIES_MAX}.")
        return {}
    for name, value in params.items():
        if max(bytes_count(name), bytes_count(value)) > limits.PARAMETER_BYTES_MAX:
            faults.add("properties", "value_too_long")
        elif has_control(name) or has_control(value):
            faults.add("properties", "invalid", "A control character.")
    for name in ("product_id", "status"):
        value = getattr(event, name)
        if value:
            params = {**params, name: value}
    return params
