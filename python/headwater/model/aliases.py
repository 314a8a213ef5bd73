"""What other networks call the fields of an event: presets for programs that move from them.

Names are compared without case, so they stand here in lower case. Each group of names has the
page it was read on. A name that Headwater itself has is never an alias: it means itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from headwater.model.destination import SUB_IDS, UTM_NAMES

Names = Mapping[str, str]
Preset = Literal[
    "binom", "everflow", "impact", "keitaro", "konnektive", "redtrack", "tune", "voluum"
]

PROPERTY: Final = "properties."
"""Begins a target that is no field: the value is kept among the conversion's properties."""
CREDENTIAL: Final = "token"
"""The postback's credential, which some networks call otherwise."""
ITEM_PARTS: Final = ("sku", "qty", "amt", "cat", "name")
ITEMS_MAX: Final = 20
ITEM_NAMES: Final = frozenset(
    f"{part}{number}" for part in ITEM_PARTS for number in range(1, ITEMS_MAX + 1)
)
FIELDS: Final = frozenset(
    (
        "program", "event", "click_id", "external_click_id", "visitor_id", "customer_id",
        "profile_id", "email", "email_sha256", "email_sha1", "phone", "phone_sha256",
        "device_id", "occurred_at", "ip", "user_agent", "consent", "test", "order_id", "line",
        "product_id", "amount", "currency", "discount", "tax", "shipping", "customer_status",
        "promo_code", "items", "properties", "status", "payment", "checkout_started_at",
        "partner", "link", "touch_type", "referrer", "shared_id", "source",
        *SUB_IDS, *UTM_NAMES,
    )
)  # fmt: skip
"""Every field an event may have."""
STATUS_LISTS: Final = ("sale_status", "lead_status", "rejected_status", "ignore_status")
TAKEN: Final = (
    FIELDS
    | ITEM_NAMES
    | {"url", "cookie_origin", "event_id", CREDENTIAL, "return", "hw_test", "cb"}
    | {"card_number", "cvv", "expiry", *STATUS_LISTS}
)
"""Names that mean something to Headwater: no alias may have one."""
TARGETS: Final = (
    (FIELDS - {"program", "items", "properties", "payment"}) | ITEM_NAMES | {CREDENTIAL}
)
"""What an alias may stand for, beside a property."""


class Group(NamedTuple):
    """Names that one page documents."""

    source: str
    names: Names


def _numbered(name: str, target: str, count: int, first: int = 1) -> dict[str, str]:
    """`name` with each number, for `target` with the same."""
    return {f"{name}{each}": f"{target}{each}" for each in range(first, count + 1)}


def _items(**parts: str) -> dict[str, str]:
    """Numbered names of the parts of an order's items."""
    found: dict[str, str] = {}
    for name, part in parts.items():
        found |= _numbered(name, part, ITEMS_MAX)
    return found


_IMPACT: Final = "https://integrations.impact.com/impact-brand/"
_EVERFLOW: Final = "https://helpdesk.everflow.io/customer/accessing-editing-s2s-postback-urls"
_KEITARO: Final = "https://docs.keitaro.io/en/conversions/postback.html"
_TUNE: Final = "https://support.tune.com/hc/en-us/articles/"

PRESETS: Final[Mapping[Preset, tuple[Group, ...]]] = {
    "impact": (
        Group(
            _IMPACT + "reference/submit-a-conversion",
            {
                "eventtypecode": "event", "clickid": "click_id", "customerid": "customer_id",
                "customprofileid": "profile_id", "customclickid": "external_click_id",
                "promocode": "promo_code", "orderpromocode": "promo_code", "googaid": "device_id",
                "appleifa": "device_id", "eventdate": "occurred_at",
            },
        ),
        Group(
            _IMPACT + "docs/order-level-data",
            {
                "orderid": "order_id", "oid": "order_id", "currencycode": "currency",
                "orderdiscount": "discount", "ordershipping": "shipping", "ordertax": "tax",
                "ordersubtotal": PROPERTY + "order_subtotal",
                "paymenttype": PROPERTY + "payment_type",
            },
        ),
        Group(
            _IMPACT + "reference/the-conversion-object",
            {
                "customeremail": "email", "customerstatus": "customer_status",
                "ipaddress": "ip", "useragent": "user_agent",
                **_items(itemsku="sku", itemquantity="qty", itemsubtotal="amt"),
                **_items(itemcategory="cat", itemname="name"),
            },
        ),
        Group(
            "https://help.impact.com/ 48001236008, item-level details",
            _items(quantity="qty", amount="amt", category="cat"),
        ),
        Group(
            _IMPACT + "docs/api-tracking-integration",
            {"irclickid": "click_id", "referringurl": "referrer"},
        ),
        Group(
            "https://help.impact.com/ 48001235417, sub ids",
            {"sharedid": "shared_id", **_numbered("subid", "sub", 3)},
        ),
    ),
    "tune": (
        Group(
            _TUNE + "4413247665431-Receiving-Conversions-via-Postback-URL",
            {"transaction_id": "click_id"},
        ),
        Group(
            _TUNE + "1500005236742-Customizing-a-Conversion-URL",
            {
                "adv_sub": PROPERTY + "adv_sub",
                **_numbered("adv_sub", PROPERTY + "adv_sub", 5, first=2),
                **_numbered("adv_unique", PROPERTY + "adv_unique", 5),
            },
        ),
        Group(
            _TUNE + "1500008248141, conversion_unique_id",
            {"conversion_unique_id": "order_id"},
        ),
        Group(
            "https://docs.tealium.com/server-side-connectors/tune-postback-tracking-connector",
            {
                "security_token": "token", "google_aid": "device_id", "ios_ifa": "device_id",
                "user_id": "customer_id",
            },
        ),
        Group(
            _TUNE + "1500005236722, tracking link parameters",
            {"aff_sub": "sub1", **_numbered("aff_sub", "sub", 5, first=2)},
        ),
    ),
    "everflow": (
        Group(
            _EVERFLOW,
            {"transaction_id": "click_id", **_numbered("adv", PROPERTY + "adv", 10)},
        ),
        Group(
            "https://developers.everflow.io/sdk/conversion-tracking",
            {
                "coupon_code": "promo_code", "user_id": "customer_id",
                "verification_token": "token",
            },
        ),
        Group(
            "https://mrpostback.com/everflow/",
            {"_ef_transaction_id": "click_id", "sale_amount": "amount", "source_id": "source"},
        ),
    ),
    "voluum": (
        Group(
            "https://doc.voluum.com/article/parameters-in-postback-urls",
            {"cid": "click_id", "payout": "amount", "txid": "order_id"},
        ),
        Group(
            "https://doc.voluum.com/en/tracking_conversions_postback.html",
            {"et": "event", **_numbered("param", PROPERTY + "param", 5)},
        ),
    ),
    "keitaro": (
        Group(
            _KEITARO,
            {
                "subid": "click_id", "tid": "order_id", "payout": "amount", "revenue": "amount",
                "cost": PROPERTY + "cost", **_numbered("sub_id_", "sub", 10),
                **_numbered("sub_id_", PROPERTY + "sub", 15, first=11),
            },
        ),
    ),
    "konnektive": (
        Group(
            "https://help.checkoutchamp.com/crm/crm-setup/affiliate-setup/affiliate-pixels",
            {
                "orderid": "order_id", "ordertotal": "amount", "taxtotal": "tax",
                "productid": "product_id", "producttotal": PROPERTY + "product_total",
                "baseprice": PROPERTY + "base_price", **_numbered("c", "sub", 5),
            },
        ),
        Group(
            "https://konnektive.atlassian.net/wiki/x/VACCfw",
            {"affid": PROPERTY + "aff_id", **_numbered("sourcevalue", "sub", 5)},
        ),
    ),
    "redtrack": (
        Group(
            "https://help.redtrack.io/ tracking-event-types",
            {"clickid": "click_id", "type": "event", "rdtk_event_id": "order_id"},
        ),
    ),
    "binom": (
        Group(
            "https://docs.binom.org/postback-url.php",
            {
                "cnv_id": "click_id", "payout": "amount", "cnv_status": "status",
                "cnv_status2": PROPERTY + "cnv_status2", "cnv_currency": "currency",
            },
        ),
        Group("https://docs.binom.org/payout-tracking-v2.php", {"clickid": "click_id"}),
    ),
}  # fmt: skip


def names_of(preset: str) -> dict[str, str]:
    """The names of one preset; nothing for a name that is none."""
    found: dict[str, str] = {}
    for each, groups in PRESETS.items():
        if each == preset:
            for group in groups:
                found |= group.names
    return found


def merged(presets: Iterable[str], own: Names) -> dict[str, str]:
    """The names a program takes, in lower case: its own entries before those of its presets."""
    found: dict[str, str] = {}
    for preset in presets:
        found |= names_of(preset)
    return found | {name.lower(): target for name, target in own.items()}
