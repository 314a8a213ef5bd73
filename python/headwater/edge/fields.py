"""What each kind of event may say: the fields with their types, read with every fault at once."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from headwater import limits
from headwater.edge.cards import looks_like_card
from headwater.edge.text import bytes_count, cut, has_control, is_plain
from headwater.errors import FieldFault, RequestRefused
from headwater.model.destination import SUB_IDS, UTM_NAMES
from headwater.model.identifiers import looks_like_email
from headwater.model.reasons import REASONS

Consent = Literal["granted", "denied"]
TouchType = Literal["click", "soft_click", "impression"]
CLICK_PARAMETERS = (*SUB_IDS, "shared_id", "source", *UTM_NAMES)
"""What a click may carry to reports: cut at the bound and flagged, never refused for length."""


class EventIn(msgspec.Struct, kw_only=True):
    """Fields of every event. Amounts are `Any`: they are read from their own text."""

    program: str
    click_id: str | None = None
    external_click_id: str | None = None
    visitor_id: str | None = None
    customer_id: str | None = None
    profile_id: str | None = None
    email: str | None = None
    email_sha256: str | None = None
    email_sha1: str | None = None
    phone: str | None = None
    phone_sha256: str | None = None
    device_id: str | None = None
    occurred_at: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    consent: Consent | None = None
    test: bool | None = None


class IdentifyIn(EventIn, kw_only=True):
    """POST /v1/identify."""


class ClickIn(EventIn, kw_only=True):
    """POST /v1/clicks; `partner` or `link` is required."""

    partner: str | None = None
    link: str | None = None
    touch_type: TouchType | None = None
    referrer: str | None = None
    shared_id: str | None = None
    source: str | None = None
    sub1: str | None = None
    sub2: str | None = None
    sub3: str | None = None
    sub4: str | None = None
    sub5: str | None = None
    sub6: str | None = None
    sub7: str | None = None
    sub8: str | None = None
    sub9: str | None = None
    sub10: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None


class ConversionIn(EventIn, kw_only=True):
    """POST /v1/conversions, the pixel and the postback."""

    event: str
    checkout_started_at: str | None = None
    order_id: str | None = None
    line: str | None = None
    product_id: str | None = None
    amount: Any = None
    currency: str | None = None
    discount: Any = None
    tax: Any = None
    shipping: Any = None
    customer_status: Literal["new", "existing"] | None = None
    promo_code: str | None = None
    items: list[Any] | None = None
    properties: dict[str, str] | None = None
    status: str | None = None
    payment: dict[str, Any] | None = None


class ItemIn(msgspec.Struct, kw_only=True):
    """One line of an order."""

    sku: str | None = None
    name: str | None = None
    category: str | None = None
    quantity: int | None = None
    subtotal: Any = None


Event = typing.TypeVar("Event", bound=msgspec.Struct)

# Compared byte for byte, by people and machines: printable ASCII only.
_PLAIN_FIELDS = {"order_id", "line", "product_id"}
_BYTES_MAX = {
    "order_id": limits.ORDER_ID_BYTES_MAX,
    "line": limits.PARAMETER_BYTES_MAX,
    "product_id": limits.PARAMETER_BYTES_MAX,
    "promo_code": limits.PARAMETER_BYTES_MAX,
    "status": limits.PARAMETER_BYTES_MAX,
    "sku": limits.PARAMETER_BYTES_MAX,
    "name": limits.PARAMETER_BYTES_MAX,
    "category": limits.PARAMETER_BYTES_MAX,
}
# Kept word for word, and what they name is another thing without a part: refused when they hold an
# e-mail address.
_KEPT_WHOLE = {*_PLAIN_FIELDS, "promo_code"}
# Kept as they can be kept: a control character in them is no reason to lose the event.
_LENIENT_FIELDS = {"user_agent", "referrer", *CLICK_PARAMETERS}
# One word of a few: networks write it with a capital.
_CASELESS_FIELDS = {"customer_status"}
_WARNED_BYTES_MAX = 64


class Faults:
    """The field faults of one event, gathered and raised together."""

    def __init__(self) -> None:
        self.found: list[FieldFault] = []

    def add(self, field: str, code: str, detail: str = "") -> None:
        """Note that `field` is at fault; the detail defaults to the reason's meaning."""
        self.found.append(FieldFault(field, code, detail or REASONS[code].meaning))

    def at(self, field: str) -> bool:
        """Whether `field` is at fault already."""
        return any(fault.field == field for fault in self.found)

    def raise_any(self) -> None:
        """Raise RequestRefused with all faults under the first one's code, if there are any."""
        if self.found:
            first = self.found[0]
            raise RequestRefused(first.code, first.detail, faults=tuple(self.found))


def read(shape: type[Event], body: Any, faults: Faults) -> tuple[Event, list[str]]:
    """The fields of `shape` in a parsed body, and the unknown fields' names for `warnings`.

    A field that is null or empty counts as absent. Each field at fault is noted and left at its
    default; a required one that is missing or wrong holds "".
    """
    if not isinstance(body, dict):
        raise RequestRefused("invalid", "An event is an object.")
    types, required = _shape_of(shape)
    values: dict[str, Any] = dict.fromkeys(required, "")
    unknown: list[str] = []
    for name, value in body.items():
        kind = types.get(name)
        if kind is None:
            unknown.append(name)
        elif value is not None and value != "":
            _read_field(name, value, kind, values, faults)
    for name in required:
        if body.get(name) in (None, ""):
            faults.add(name, "required")
    return shape(**values), _warnings(unknown)


def _read_field(name: str, value: Any, kind: Any, values: dict[str, Any], faults: Faults) -> None:
    if name in _CASELESS_FIELDS and isinstance(value, str):
        value = value.lower()
    try:
        value = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # "Expected `str`, got `int`" names types alone; other messages may quote the value.
        detail = str(error)
        faults.add(name, "invalid", detail if detail.startswith("Expected") else "")
        return
    if isinstance(value, str):
        fault = _text_fault(name, value)
        if fault:
            faults.add(name, fault)
            return
    values[name] = value


def _text_fault(name: str, value: str) -> str | None:
    if bytes_count(value) > _BYTES_MAX.get(name, len(value) * 4):
        return "value_too_long"
    if name in _KEPT_WHOLE and looks_like_email(value):
        return "pii_in_value"
    if name in _PLAIN_FIELDS:
        return None if is_plain(value) else "invalid"
    return "invalid" if name not in _LENIENT_FIELDS and has_control(value) else None


def _plain(name: str) -> str:
    return cut(name, _WARNED_BYTES_MAX).encode("ascii", "backslashreplace").decode()


def _warnings(unknown: list[str]) -> list[str]:
    """What was passed over, named in ASCII and cut so that an answer stays small."""
    told = [f"unknown field ignored: {_plain(name)}" for name in unknown[: limits.WARNINGS_MAX]]
    if len(unknown) > limits.WARNINGS_MAX:
        told.append(f"and {len(unknown) - limits.WARNINGS_MAX} more")
    return told


def without_addresses(values: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """Values that may be kept as they are: those with an e-mail address are left out, with a
    warning each.
    """
    kept = {name: value for name, value in values.items() if not looks_like_email(value)}
    warnings.extend(address_left_out(name) for name in values if name not in kept)
    return kept


def address_left_out(name: str) -> str:
    """The warning of a value that is not kept."""
    return f"left out, for it holds an e-mail address: {_plain(name)}"


def cut_parameters(
    values: Callable[[str], str | None], warnings: list[str] | None = None
) -> dict[str, str]:
    """The click's parameters that have a value, cut; `truncated` names those that were.

    Card numbers and e-mail addresses are left out before anything is cut: nobody could tell half
    of one. `warnings` tell of it.
    """
    params: dict[str, str] = {}
    truncated = []
    given = {name: value for name in CLICK_PARAMETERS if (value := values(name))}
    for name, value in without_addresses(given, [] if warnings is None else warnings).items():
        if looks_like_card(value):
            continue
        kept = cut(value, limits.PARAMETER_BYTES_MAX)
        if len(kept) != len(value):
            truncated.append(name)
        params[name] = kept
    if truncated:
        params["truncated"] = ",".join(truncated)
    return params


_shapes: dict[type, tuple[Mapping[str, Any], tuple[str, ...]]] = {}


def _shape_of(shape: type) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Types by field name without None, and the required names; worked out once a shape."""
    found = _shapes.get(shape)
    if found is None:
        hints = typing.get_type_hints(shape)
        types = {name: _without_none(kind) for name, kind in hints.items()}
        required = tuple(
            field.name
            for field in msgspec.structs.fields(shape)
            if field.default is msgspec.NODEFAULT
        )
        found = _shapes[shape] = (types, required)
    return found


def _without_none(kind: Any) -> Any:
    arms = [arm for arm in typing.get_args(kind) if arm is not type(None)]
    is_union = type(None) in typing.get_args(kind)
    return arms[0] if is_union and len(arms) == 1 else kind
