"""The order that previews of partner pixels are filled in with: made up, the same every time, a
value that needs escaping among its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headwater.book import macros
from headwater.model.pixels import ANY_UPSELL, UPSELL, Earned, Told, firing_id
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    Client,
    ConversionBody,
    Item,
    Money,
    Source,
)

Row = Mapping[str, Any]

ORDER_ID: Final = "SAMPLE-1001"
CURRENCY: Final = "USD"
_AT_MS: Final = 1_767_268_800_000
_ORDER_MINOR, _PAYOUT_MINOR, _TAX_MINOR = 4990, 499, 390
_KINDS: Final = {"cpa": "sale", "cpl": "lead", "cpc": "click"}
# One value that shows what becomes of spaces and signs.
_SUB_IDS: Final = {"sub1": "sample one & two"} | {
    f"sub{number}": f"sample-sub{number}" for number in range(2, 11)
}
_SAID_OF_CLICK: Final = {
    **_SUB_IDS,
    "source": "sample-source",
    "shared_id": "sample-shared",
    "external_click_id": "sample-external-click",
}
_USER_AGENT: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1"
)
_PRODUCT_ID: Final = "sample-product"
_SAID_OF_ORDER: Final = {"product_id": _PRODUCT_ID} | {
    f"adv{number}": f"sample-adv{number}" for number in range(1, 11)
}
_CLICK_ID, _CONVERSION_ID, _ACTION_ID = (bytes([number]) * 16 for number in (1, 2, 3))


def values(pixel: Row, program: Row | None) -> dict[str, str]:
    """What each macro stands for in the sample order of a pixel; `program` None: of any."""
    earned = _earned(pixel, program)
    return macros.values_of(earned, _told(earned), firing_id(_ACTION_ID, pixel["id"]))


def _earned(pixel: Row, program: Row | None) -> Earned:
    kind = _KINDS[pixel["commission"]]
    line = f"{UPSELL}{_PRODUCT_ID}" if pixel["slot"] == ANY_UPSELL else pixel["slot"]
    currency = program["currency"] if program else CURRENCY
    is_click = kind == "click"
    return Earned(
        action_id=_ACTION_ID,
        brand=program["brand_id"] if program else 0,
        program=program["id"] if program else 0,
        program_code=program["code"] if program else "sample-program",
        partner=pixel["partner_id"],
        event_type=0,
        event_code=kind,
        event_kind=kind,
        conversion_id=None if is_click else _CONVERSION_ID,
        click_id=None if is_click else _CLICK_ID,
        order_id=None if is_click else ORDER_ID,
        line=line,
        state="pending",
        is_held=False,
        is_test=True,
        is_over_cap=False,
        tracked_ms=_AT_MS,
        currency=currency,
        order_minor=0 if is_click else _ORDER_MINOR,
        payout_currency=currency,
        payout_minor=_PAYOUT_MINOR,
    )


def _told(earned: Earned) -> Told:
    if earned.conversion_id is None:
        return Told(_AT_MS, int(Source.LINK), False, True, None, None, None)
    conversion = ConversionBody(
        earned.conversion_id,
        earned.program,
        earned.event_type,
        earned.order_id,
        earned.line,
        0,
        earned.click_id,
        (),
        Money(earned.order_minor, earned.currency, None, _TAX_MINOR, None),
        "SAMPLE10",
        None,
        (Item("sample-sku", "Sample", None, 1, earned.order_minor - _TAX_MINOR),),
        dict(_SAID_OF_ORDER),
        NO_CLIENT,
        None,
    )
    said, client = dict(_SAID_OF_CLICK), Client(None, _USER_AGENT, None)
    click = ClickBody(earned.program, earned.partner, 0, 0, (), said, client)
    return Told(_AT_MS, int(Source.S2S), False, True, conversion, click, _AT_MS - 60_000)
