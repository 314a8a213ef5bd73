"""The custom web pixel for Shopify, in a frame as bare as Shopify's, with its documented events."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import pytest

from browser_tools import Brand
from headwater import clock
from headwater.model.records import Flag, decode
from shopify_tools import SECRET, encoded, headers, order

# What the sandbox gives a custom pixel: events, consent, and the cookies of the page above it.
SANDBOX = """
const handlers = {}, jar = {};
const analytics = { subscribe: (name, run) => { handlers[name] = run; } };
const api = { customerPrivacy: { subscribe: (name, run) => { handlers[name] = run; } } };
const init = { customerPrivacy: ALLOWED };
const browser = { cookie: {
  get: async (name) => jar[name] || "",
  set: async (text) => { const [, name, value] = /^(\\w+)=([^;]*)/.exec(text); jar[name] = value; },
} };
addEventListener("message", async ({ data }) => {
  for (const [name, event] of data) await handlers[name](event);
});
"""
ALLOWED = {"analyticsProcessingAllowed": True, "marketingAllowed": True}
DENIED = {"analyticsProcessingAllowed": True, "marketingAllowed": False}
CHECKOUT = {
    "token": "c1-abc",
    "email": "Ada@B.example",
    "currencyCode": "EUR",
    "order": {"id": "5001", "customer": {"id": "7001", "isFirstOrder": True}},
    "subtotalPrice": {"amount": 40.5, "currencyCode": "EUR"},
    "totalTax": {"amount": 7.7, "currencyCode": "EUR"},
    "shippingLine": {"price": {"amount": 5.0, "currencyCode": "EUR"}},
    "discountApplications": [{"type": "DISCOUNT_CODE", "title": "SPRING"}],
    "lineItems": [
        {
            "title": "Socks",
            "quantity": 2,
            "variant": {"sku": "S-1"},
            "finalLinePrice": {"amount": 40.5, "currencyCode": "EUR"},
        }
    ],
}


def checkout(brand: Brand, page: Any, events: list[Any], privacy: dict[str, bool]) -> None:
    script = brand.snippet(kind="shopify")
    inside = f"<script>{SANDBOX.replace('ALLOWED', json.dumps(privacy))}\n{script}</script>"
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{escape(inside)}"></iframe>'
    page.goto(brand.page("/shop", frame, head=""))
    with page.expect_request(lambda each: '"type":"conversion"' in (each.post_data or "")):
        page.evaluate(
            "e => document.querySelector('iframe').contentWindow.postMessage(e, '*')", events
        )


def events_of(landing: str) -> list[Any]:
    viewed = {
        "context": {
            "document": {"location": {"href": landing, "search": landing[landing.index("?") :]}}
        }
    }
    return [["page_viewed", viewed], ["checkout_completed", {"data": {"checkout": CHECKOUT}}]]


@pytest.fixture
def landing(brand: Brand) -> str:
    """Where a click on the link leads."""
    return str(brand.system.edge("GET", f"/c/{brand.link}").headers["Location"])


def test_i22_an_order_is_reported_from_the_sandbox(brand: Brand, page: Any, landing: str) -> None:
    checkout(brand, page, events_of(landing), ALLOWED)
    decision = brand.decision("5001")
    assert decision["status"] == "attributed"
    assert decision["credits"][0]["partner_id"] == brand.partner
    (record,) = [decode(raw) for raw in brand.records("conversions")]
    body = record.body
    assert body.money == [4050, "EUR", None, 770, 500]
    assert body.items == [["S-1", "Socks", None, 2, 4050]]
    assert (body.promo_code, body.customer_status) == ("SPRING", "new")
    assert body.params == {"cookie_origin": "js"}
    assert {1, 8} <= {kind for kind, _ in body.identifiers}


def test_i22_shopifys_consent_is_kept_to(brand: Brand, page: Any, landing: str) -> None:
    checkout(brand, page, events_of(landing), DENIED)
    decision = brand.decision("5001")
    assert (decision["status"], decision["reason"]) == ("unattributed", "consent_denied")
    (record,) = [decode(raw) for raw in brand.records("conversions")]
    assert record.body.flags == Flag.CONSENT_DENIED
    assert record.body.identifiers == []
    assert brand.count("observations") == 0


def test_i22_an_order_that_is_not_made_yet_is_left_to_its_webhook(
    brand: Brand, page: Any, landing: str
) -> None:
    script = brand.snippet(kind="shopify")
    inside = f"<script>{SANDBOX.replace('ALLOWED', json.dumps(ALLOWED))}\n{script}</script>"
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{escape(inside)}"></iframe>'
    page.goto(brand.page("/shop", frame, head=""))
    events = events_of(landing)
    events[1][1] = {"data": {"checkout": {**CHECKOUT, "order": None}}}
    with page.expect_request(lambda each: '"type":"identify"' in (each.post_data or "")):
        page.evaluate(
            "e => document.querySelector('iframe').contentWindow.postMessage(e, '*')", events
        )
    program = brand.system.console.program(brand.code)["id"]
    path = f"/v1/programs/{program}/shopify-secrets"
    brand.system.console.post(path, {"secret": SECRET})
    brand.wait_count("observations", 2)
    now = clock.iso_ms(clock.now_ms())
    made = order(id=5001, created_at=now, note_attributes=[], email="ada@b.example", customer=None)
    raw = encoded(made)
    path = f"/v1/shopify/{brand.code}"
    sent = headers(raw, "orders/create")
    assert brand.system.edge("POST", path, raw, headers=sent).status == 200
    assert brand.decision("5001")["credits"][0]["partner_id"] == brand.partner


# ---- The theme's part ------------------------------------------------------------------------

# What the storefront gives a theme: the privacy API once it is asked for.
STOREFRONT = """
window.allowed = ALLOWED;
window.Shopify = { routes: { root: "/" }, loadFeatures: (_names, done) => {
  Shopify.customerPrivacy = {
    analyticsProcessingAllowed: () => allowed, marketingAllowed: () => allowed,
  };
  done();
} };
"""


def cart(brand: Brand, page: Any, *, allowed: bool, query: str = "") -> list[Any]:
    """Attributes the theme's part writes into the cart while a page is looked at."""
    written: list[Any] = []

    def keep(route: Any) -> None:
        written.append(json.loads(route.request.post_data)["attributes"])
        route.fulfill(status=200, body="{}")

    page.route("**/cart/update.js", keep)
    start = STOREFRONT.replace("ALLOWED", json.dumps(allowed))
    head = f"<script>{start}</script>{brand.snippet(kind='shopify-theme')}"
    page.goto(brand.page("/landing", head=head) + query)
    page.wait_for_function("sessionStorage.getItem('hw_cart')")
    return written


CLICK = "clk_01k8v0000000000000000000c1"
VISITOR = "01k8v0000000000000000000v1"


def test_i22_the_theme_leaves_the_click_with_the_cart(
    brand: Brand, context: Any, page: Any
) -> None:
    told = cart(brand, page, allowed=True, query=f"?click_id={CLICK}")
    assert told == [{"hw_consent": "granted", "hw_click_id": CLICK, "hw_visitor_id": ""}]
    page.reload()
    page.wait_for_function("document.readyState == 'complete'")
    assert len(told) == 1, "a reload has nothing new to say"
    context.add_cookies(
        [{"name": "hw_tag", "value": f"{VISITOR}.{CLICK}", "url": brand.site.address}]
    )
    with page.expect_response("**/cart/update.js"):
        page.goto(f"{brand.site.address}/landing")
    assert told[1:] == [{"hw_consent": "granted", "hw_click_id": CLICK, "hw_visitor_id": VISITOR}]


def test_i22_the_theme_asks_shopify_for_consent(brand: Brand, page: Any) -> None:
    told = cart(brand, page, allowed=False, query=f"?click_id={CLICK}")
    assert told == [{"hw_consent": "denied", "hw_click_id": "", "hw_visitor_id": ""}]
    with page.expect_response("**/cart/update.js"):
        page.evaluate(
            "allowed = true; document.dispatchEvent(new Event('visitorConsentCollected'))"
        )
    assert told[1]["hw_click_id"] == CLICK
