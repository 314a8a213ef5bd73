"""The custom web pixel for Shopify, in a frame as bare as Shopify's, with its documented events."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import pytest

from browser_tools import Brand
from headwater.model.records import Flag, decode

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
