"""What a pixel's definition has to be before it is saved: every fault at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from headwater import limits
from headwater.book.macros import (
    SnippetRefused,
    has_macro,
    render_url,
    source_of,
    unknown_in,
)
from headwater.errors import FieldFault
from headwater.model.outbound import Rules, fault_of
from headwater.model.pixels import (
    ANY_PROGRAM,
    MAIN,
    NOT_FOR_SALES,
    POSTBACK,
    RULES,
    TYPES,
    UPSELL,
)

_COMMISSIONS: Final = ("cpa", "cpc", "cpl")
_ANY: Final = "*"


class Checked(NamedTuple):
    """A definition that was looked at. With faults `columns` are of no use."""

    columns: dict[str, Any]
    """As the table of pixels has them."""
    faults: tuple[FieldFault, ...]
    warnings: tuple[str, ...]


def check_pixel(value: Mapping[str, Any], rules: Rules) -> Checked:
    """Check what the API is told of a pixel: `program` (a number, or `*` or None for all),
    `commission`, `product_id` (of a CPA pixel: None for the main offer, `*` for every upsell),
    `type`, `template`, `rule` and `delay_seconds` (of a CPL pixel), `test_url`.

    `rules` are the deployment's own for outgoing requests.
    """
    faults: list[FieldFault] = []

    def fault(field: str, detail: str, code: str = "invalid") -> None:
        faults.append(FieldFault(field, code, detail))

    commission, kind = value.get("commission"), value.get("type")
    if commission not in _COMMISSIONS:
        fault("commission", f"One of {', '.join(_COMMISSIONS)}.")
    if kind not in TYPES:
        fault("type", f"One of {', '.join(TYPES)}.")
    elif kind != POSTBACK and commission in ("cpl", "cpc"):
        fault("type", "Only a postback can be used with this commission.")
    faults += _product_faults(commission, value.get("product_id"))
    faults += _rule_faults(commission, value.get("rule"), value.get("delay_seconds"))
    template = value.get("template")
    warnings: list[str] = []
    if not isinstance(template, str) or not template.strip():
        fault("template", "The URL or the tag the partner gave.", "required")
    elif kind in TYPES:
        template = template.strip()
        faults += _template_faults(str(kind), template, rules)
        warnings = [
            f"template: {name[: limits.FIELD_NAME_CHARACTERS_MAX]} is no macro, and will be empty"
            for name in unknown_in(template)[: limits.WARNINGS_MAX]
        ]
    test_url = value.get("test_url")
    if test_url is not None and (detail := _url_fault(test_url, rules)):
        fault("test_url", detail)
    return Checked({} if faults else _columns(value), tuple(faults), tuple(warnings))


def _product_faults(commission: Any, product: Any) -> list[FieldFault]:
    if product is None:
        return []
    if commission != "cpa":
        return [FieldFault("product_id", "invalid", "Only a CPA pixel is of a product.")]
    is_text = isinstance(product, str) and product.strip()
    if not is_text or not _is_utf8(product) or len(product.encode()) > limits.PARAMETER_BYTES_MAX:
        return [FieldFault("product_id", "invalid", "The id of a product, or * for every upsell.")]
    return []


def _rule_faults(commission: Any, rule: Any, delay: Any) -> list[FieldFault]:
    if commission != "cpl":
        given = [
            name for name, held in (("rule", rule), ("delay_seconds", delay)) if held is not None
        ]
        return [FieldFault(name, "invalid", "Only a CPL pixel has it.") for name in given]
    if rule is not None and rule not in RULES:
        return [FieldFault("rule", "invalid", f"One of {', '.join(RULES)}.")]
    if delay is None:
        return []
    if rule not in (None, NOT_FOR_SALES):
        return [FieldFault("delay_seconds", "invalid", "This rule fires at once.")]
    low, high = limits.LEAD_DELAY_MS_MIN // 1000, limits.LEAD_DELAY_MS_MAX // 1000
    if type(delay) is not int or not low <= delay <= high:
        return [FieldFault("delay_seconds", "invalid", f"A whole number from {low} to {high}.")]
    return []


def _template_faults(kind: str, template: str, rules: Rules) -> list[FieldFault]:
    if not _is_utf8(template):
        return [FieldFault("template", "invalid", "Not UTF-8.")]
    if len(template.encode()) > limits.PIXEL_TEMPLATE_BYTES_MAX:
        most = limits.PIXEL_TEMPLATE_BYTES_MAX
        return [FieldFault("template", "value_too_long", f"At most {most} bytes.")]
    try:
        source = source_of(kind, template)
    except SnippetRefused as refused:
        return [FieldFault("template", "invalid", str(refused))]
    # Whatever a macro stands for, it never says where the message goes.
    authority = re.split(r"[/?#]", source.partition("://")[2], maxsplit=1)[0]
    if "://" not in source or has_macro(source.partition("://")[0] + authority):
        return [FieldFault("template", "invalid", "Scheme and host are written out, no macros.")]
    # As it will be sent: braces around what is no macro stay as they are.
    detail = fault_of(render_url(source, {}), rules)
    return [FieldFault("template", "invalid", detail)] if detail else []


def _is_utf8(text: str) -> bool:
    """JSON can spell half of a surrogate pair, and NUL, which no ledger keeps."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _url_fault(url: Any, rules: Rules) -> str | None:
    if not isinstance(url, str) or len(url) > limits.URL_BYTES_MAX:
        return "Not a URL."
    return fault_of(url, rules)


def _columns(value: Mapping[str, Any]) -> dict[str, Any]:
    is_lead = value["commission"] == "cpl"
    rule = (value.get("rule") or NOT_FOR_SALES) if is_lead else None
    delay_s = value.get("delay_seconds")
    delay_ms = limits.LEAD_DELAY_MS_MIN if delay_s is None else delay_s * 1000
    program = value.get("program")
    product = value.get("product_id")
    return {
        "program_number": ANY_PROGRAM if program in (None, _ANY) else program,
        "commission": value["commission"],
        "slot": MAIN if product is None else f"{UPSELL}{product.strip()}",
        "type": value["type"],
        "template": value["template"].strip(),
        "rule": rule,
        "delay_ms": delay_ms if rule == NOT_FOR_SALES else 0,
        "test_url": value.get("test_url"),
    }
