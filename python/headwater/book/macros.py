"""Macros of partner pixels: names in braces, or in brackets as one older system wrote them, that
stand for what is known of an action.

A template is gone through once: what a value holds is never read as a macro again. In a URL a
value is percent-encoded whole, in an attribute of a tag also escaped for HTML, so no value can
end the place it stands in.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from typing import Final
from urllib.parse import quote

from headwater import clock, ids
from headwater.model import browsers
from headwater.model.currency import EXPONENTS, decimal_text
from headwater.model.devices import device_of, system_of
from headwater.model.pixels import COMMISSIONS, UPSELL, Earned, Told
from headwater.model.records import ClickBody, Client, ConversionBody

_MACRO: Final = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}|\[([A-Za-z][A-Za-z0-9_]*)\]", re.ASCII)

BRACKETS: Final = {
    "orderid": "order_id",
    "ordertotal": "sale_amount",
    "producttotal": "product_total",
    "productid": "product_id",
    "baseprice": "base_price",
    "taxtotal": "tax_total",
    **{f"c{number}": f"c{number}" for number in range(1, 6)},
}
"""Macros in brackets, in lower case, and the names they stand for."""

_SUB_IDS: Final = [f"sub{number}" for number in range(1, 11)]
_ADVERTISERS: Final = [f"adv{number}" for number in range(1, 11)]
_STATUS_CODES: Final = {"approved": "1", "locked": "1", "paid": "1", "pending": "2"}
_REVERSED_CODE: Final = "3"

Values = Mapping[str, str]


# ---- Rendering -------------------------------------------------------------------------------


def render_url(template: str, values: Values) -> str:
    """A URL with its macros filled in; a macro without a value is empty."""
    return _filled(template, values, lambda text: quote(text, safe="", errors="replace"))


def render_attribute(template: str, values: Values) -> str:
    """The text of an attribute that is no URL, escaped for HTML."""
    return html.escape(_filled(template, values, str))


def _filled(template: str, values: Values, escape: Callable[[str], str]) -> str:
    return _MACRO.sub(lambda match: escape(values.get(_name(match), "")), template)


def _name(match: re.Match[str]) -> str:
    """The name of a macro; empty for brackets around what is none."""
    braces, brackets = match[1], match[2]
    return braces.lower() if braces else BRACKETS.get(brackets.lower(), "")


def values_in(template: str, values: Values) -> dict[str, str]:
    """What each macro of a template stands for, by the macro as it is written."""
    return {match[0]: values.get(_name(match), "") for match in _MACRO.finditer(template)}


def has_macro(text: str) -> bool:
    """Whether something in a text is written as a macro, known or not."""
    return _MACRO.search(text) is not None


def unknown_in(template: str) -> list[str]:
    """Macros of a template that stand for nothing, as they are written; each once."""
    found = [match[0] for match in _MACRO.finditer(template) if _name(match) not in NAMES]
    return list(dict.fromkeys(found))


# ---- Tags ------------------------------------------------------------------------------------


class _OneTag(HTMLParser):
    """Everything a snippet consists of."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.opened: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.closed: list[str] = []
        self.is_other = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.closed.append(tag)

    def handle_data(self, data: str) -> None:
        self.is_other |= bool(data.strip())

    def _other(self, data: str) -> None:
        self.is_other |= data is not None

    handle_comment = handle_pi = unknown_decl = _other

    def handle_decl(self, decl: str) -> None:
        self._other(decl)


TAGS: Final = {"image": "img", "iframe": "iframe"}
_HARMLESS: Final = (
    "src width height alt title border style frameborder scrolling referrerpolicy marginwidth "
    "marginheight loading"
)
_ATTRIBUTES: Final = frozenset(_HARMLESS.split())


class SnippetRefused(ValueError):
    """What a partner pasted is not exactly one tag of its type."""


def attributes_of(kind: str, snippet: str) -> dict[str, str]:
    """The attributes of a snippet's one tag, `src` among them.

    Raises SnippetRefused for anything but one `<img>` or one empty `<iframe>`, and for attributes
    that could run or load more than `src` does.
    """
    tag = TAGS[kind]
    parser = _OneTag()
    try:
        parser.feed(snippet)
    except AssertionError:
        # What it says of a marked section, `<![x[`, of a kind it does not know.
        raise SnippetRefused("Exactly one tag, and nothing beside it.") from None
    # What is left unread is a tag that is not closed.
    rest = parser.rawdata
    parser.close()
    if rest.strip() or parser.is_other or len(parser.opened) != 1 or parser.opened[0][0] != tag:
        raise SnippetRefused(f"Exactly one <{tag}> tag, and nothing beside it.")
    if parser.closed not in ([], [tag]):
        raise SnippetRefused(f"Only the <{tag}> tag itself is closed.")
    pairs = parser.opened[0][1]
    names = [name for name, _value in pairs]
    refused = sorted(set(names) - _ATTRIBUTES)
    if refused or len(set(names)) != len(names):
        raise SnippetRefused("An attribute is given twice, or is not one a pixel needs.")
    found = {name: value or "" for name, value in pairs}
    if not found.get("src"):
        raise SnippetRefused("The tag needs an src.")
    return found


def source_of(kind: str, template: str) -> str:
    """The URL template of a pixel: what it is, or the `src` of its tag."""
    return attributes_of(kind, template)["src"].strip() if kind in TAGS else template


def preview(kind: str, template: str, values: Values) -> str:
    """What a pixel becomes with these values: the URL, or the whole tag."""
    if kind not in TAGS:
        return render_url(template, values)
    made = []
    for name, text in attributes_of(kind, template).items():
        if name == "src":
            made.append(f'src="{html.escape(render_url(text.strip(), values))}"')
        else:
            made.append(f'{name}="{render_attribute(text, values)}"')
    tag = TAGS[kind]
    end = f"></{tag}>" if tag == "iframe" else ">"
    return f"<{tag} {' '.join(made)}{end}"


# ---- Values ----------------------------------------------------------------------------------


def values_of(earned: Earned, told: Told, event_id: bytes) -> dict[str, str]:
    """What each macro stands for. What is not known is left out."""
    named = {
        **_of_action(earned, event_id),
        **_of_click(told),
        **_of_order(earned, told.conversion),
    }
    for number, name in enumerate(_SUB_IDS[:5], 1):
        text = named.get(name, "")
        named[f"c{number}"] = text
        named["aff_sub" if number == 1 else f"aff_sub{number}"] = text
    return {name: text for name, text in named.items() if text}


def _of_action(earned: Earned, event_id: bytes) -> dict[str, str]:
    program = ids.object_text("prg", earned.program)
    partner = ids.object_text("prt", earned.partner)
    click = "" if earned.click_id is None else ids.event_text("clk", earned.click_id)
    conversion = earned.conversion_id
    return {
        "action_id": ids.event_text("act", earned.action_id),
        "conversion_id": "" if conversion is None else ids.event_text("cnv", conversion),
        "click_id": click,
        "transaction_id": click,
        "event_id": ids.event_text("evt", event_id),
        "event_type": earned.event_code,
        "event_name": earned.event_code,
        "status": earned.state,
        "status_code": _STATUS_CODES.get(earned.state, _REVERSED_CODE),
        "payout": _decimal(earned.payout_minor, earned.payout_currency),
        "payout_currency": earned.payout_currency,
        "commission_type": COMMISSIONS.get(earned.event_kind, "").upper(),
        "program_id": program,
        "offer_id": program,
        "campaign_id": program,
        "campaign_name": earned.program_code,
        "partner_id": partner,
        "affiliate_id": partner,
        "adv_id": ids.object_text("brd", earned.brand),
        "goal_id": ids.object_text("ety", earned.event_type),
        "datetime": _time(earned.tracked_ms),
        "timestamp": str(earned.tracked_ms // 1000),
        "is_test": str(int(earned.is_test)),
        "is_upsell": str(int(earned.line.startswith(UPSELL))),
        # Of the event id, so that the same firing has the same number at every attempt.
        "random": str(int.from_bytes(event_id[:8], "big")),
    }


def _of_click(told: Told) -> dict[str, str]:
    click = told.click
    if click is None:
        return {}
    body = ClickBody(*click)
    kept = (*_SUB_IDS, "source", "shared_id", "external_click_id")
    found = {name: body.params[name] for name in kept if name in body.params}
    client = Client(*body.client)
    found |= _of_agent(client.user_agent or "")
    network = client.network
    if network is not None:
        digest, _before, _flags, country, _lists = network
        found["ip_hash"] = digest.hex() if digest else ""
        found["country"] = country or ""
    if told.click_ms is not None:
        found["click_time"] = _time(told.click_ms)
    return found


def _of_agent(user_agent: str) -> dict[str, str]:
    """As coarse as reports have it."""
    if not user_agent:
        return {}
    browser = browsers.family(user_agent)
    return {
        "device": device_of(user_agent),
        "os": system_of(user_agent) or "",
        "browser": "" if browser == browsers.UNKNOWN else browser,
    }


def _of_order(earned: Earned, conversion: ConversionBody | None) -> dict[str, str]:
    product = earned.line.removeprefix(UPSELL) if earned.line.startswith(UPSELL) else ""
    found = {
        "order_id": earned.order_id or "",
        "product_id": product,
        "currency": earned.currency,
        "sale_amount": _decimal(earned.order_minor, earned.currency),
    }
    if conversion is None:
        return found
    body = ConversionBody(*conversion)
    _amount, currency, discount, tax, shipping = body.money
    items = [item for item in body.items if item[0]]
    skus = [str(item[0]) for item in items]
    subtotals = [item[4] for item in body.items if item[4] is not None]
    base_minor = earned.order_minor - (tax or 0) - (shipping or 0)
    found |= {
        "sku": ",".join(skus),
        "product_id": product or body.params.get("product_id", "") or (skus[0] if skus else ""),
        "promo_code": body.promo_code or "",
        "base_price": _decimal(base_minor + (discount or 0), currency),
        "product_total": _decimal(sum(subtotals) if subtotals else base_minor, currency),
        "tax_total": "" if tax is None else _decimal(tax, currency),
    }
    found.update((name, body.params[name]) for name in _ADVERTISERS if name in body.params)
    return found


def _time(at_ms: int) -> str:
    """Empty for a time that calendars do not reach: a record may say anything."""
    return clock.iso_ms(at_ms) if 0 <= at_ms <= clock.ISO_MS_MAX else ""


def _decimal(amount_minor: int, currency: str) -> str:
    return decimal_text(amount_minor, currency) if currency in EXPONENTS else ""


_PLAIN: Final = (
    "click_id transaction_id order_id event_id event_type event_name status status_code payout "
    "payout_currency sale_amount currency commission_type offer_id campaign_id campaign_name "
    "program_id affiliate_id partner_id adv_id goal_id product_id product_total base_price "
    "tax_total sku promo_code source shared_id external_click_id country region city device os "
    "browser ip_hash datetime timestamp click_time is_test is_upsell random action_id "
    "conversion_id aff_sub aff_sub2 aff_sub3 aff_sub4 aff_sub5 c1 c2 c3 c4 c5"
)
NAMES: Final = frozenset((*_PLAIN.split(), *_SUB_IDS, *_ADVERTISERS))
"""Every macro in braces. Of regions and cities nothing is known, so they are empty."""
