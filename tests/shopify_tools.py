"""Webhooks in the shapes Shopify documents (Admin REST API: Order, Refund), and their signature."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import itertools
import json
from typing import Any

from edge_tools import IDENTITY_KEY, Reply, Running, program
from headwater.model import sealing, signing
from headwater.model.records import Kind, Trust

SECRET = "shpss_0123456789abcdef0123456789abcdef"
OLD_SECRET = "shpss_an-older-secret-of-the-shop"
ORDER_ID = "820982911946154508"
CLICK_ID = "clk_01k8v0000000000000000000c1"
VISITOR_ID = "01k8v0000000000000000000v1"
_ids = itertools.count(1)


def money(amount: str, currency: str = "EUR", shop: str = "") -> dict[str, Any]:
    """A price set: what the shop counts in (dollars), and what the customer saw."""
    return {
        "shop_money": {"amount": shop or amount, "currency_code": "USD"},
        "presentment_money": {"amount": amount, "currency_code": currency},
    }


def line(number: int, sku: str, price: str, quantity: int, discount: str) -> dict[str, Any]:
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/LineItem/{number}",
        "attributed_staffs": [],
        "current_quantity": quantity,
        "fulfillable_quantity": quantity,
        "fulfillment_status": None,
        "gift_card": False,
        "grams": 500,
        "name": f"{sku} - large",
        "price": price,
        "price_set": money(price),
        "product_exists": True,
        "product_id": 7513594,
        "properties": [],
        "quantity": quantity,
        "requires_shipping": True,
        "sku": sku,
        "taxable": True,
        "title": sku.title(),
        "total_discount": "0.00",
        "total_discount_set": money("0.00"),
        "variant_id": 4264112,
        "discount_allocations": [
            {"amount": discount, "amount_set": money(discount), "discount_application_index": 0}
        ]
        if discount
        else [],
        "duties": [],
        "tax_lines": [],
    }


ORDER: dict[str, Any] = {
    "id": 820982911946154508,
    "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
    "app_id": None,
    "browser_ip": "203.0.113.7",
    "buyer_accepts_marketing": True,
    "cancel_reason": None,
    "cancelled_at": None,
    "cart_token": "68778783ad298f1c80c3bafcddeea02f",
    "checkout_id": 901414060,
    "checkout_token": "bd5a8aa1ecd019dd3520ff791ee3a24c",
    "client_details": {
        "accept_language": None,
        "browser_height": None,
        "browser_ip": "203.0.113.7",
        "browser_width": None,
        "session_hash": None,
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0",
    },
    "confirmed": True,
    "contact_email": "ada@customers.example",
    "created_at": "2026-01-05T16:23:30-05:00",
    "currency": "USD",
    "current_subtotal_price": "45.00",
    "current_subtotal_price_set": money("40.50", shop="45.00"),
    "customer": {
        "id": 115310627314723954,
        "email": "ada@customers.example",
        "created_at": None,
        "first_name": "Ada",
        "last_name": "Smith",
        "phone": None,
        "default_address": {"id": 715243470612851245, "city": "Ottawa"},
    },
    "discount_applications": [
        {
            "target_type": "line_item",
            "type": "discount_code",
            "value": "10.0",
            "value_type": "percentage",
            "allocation_method": "across",
            "target_selection": "all",
            "code": "SPRING",
        }
    ],
    "discount_codes": [{"code": "SPRING", "amount": "4.50", "type": "percentage"}],
    "email": "ada@customers.example",
    "financial_status": "paid",
    "fulfillment_status": None,
    "line_items": [
        line(487817672276298554, "socks", "10.00", 2, "2.00"),
        line(976318377106520349, "hat", "25.00", 1, "2.50"),
    ],
    "name": "#9999",
    "note": None,
    "note_attributes": [
        {"name": "hw_click_id", "value": CLICK_ID},
        {"name": "hw_visitor_id", "value": VISITOR_ID},
        {"name": "hw_consent", "value": "granted"},
        {"name": "gift message", "value": "4111 1111 1111 1111"},
    ],
    "order_number": 1234,
    "phone": None,
    "presentment_currency": "EUR",
    "processed_at": "2026-01-05T16:23:30-05:00",
    "refunds": [],
    "source_name": "web",
    "subtotal_price": "45.00",
    "subtotal_price_set": money("40.50", shop="45.00"),
    "test": False,
    "token": "123456abcd",
    "total_discounts": "5.00",
    "total_discounts_set": money("4.50", shop="5.00"),
    "total_price": "58.00",
    "total_price_set": money("53.20", shop="58.00"),
    "total_shipping_price_set": money("5.00"),
    "total_tax": "8.40",
    "total_tax_set": money("7.70", shop="8.40"),
    "updated_at": "2026-01-05T16:23:31-05:00",
    "user_id": None,
}
REFUND: dict[str, Any] = {
    "id": 890088186047892319,
    "order_id": 820982911946154508,
    "created_at": "2026-01-09T10:00:00-05:00",
    "note": "Things were damaged",
    "user_id": 548380009,
    "processed_at": "2026-01-09T10:00:00-05:00",
    "duties": [],
    "total_duties_set": money("0.00"),
    "return": None,
    "admin_graphql_api_id": "gid://shopify/Refund/890088186047892319",
    "refund_line_items": [
        {
            "id": 487817672276298627,
            "line_item_id": 487817672276298554,
            "location_id": None,
            "quantity": 1,
            "restock_type": "no_restock",
            "subtotal": 9.0,
            "subtotal_set": money("9.00"),
            "total_tax": 1.71,
            "total_tax_set": money("1.71"),
            "line_item": line(487817672276298554, "socks", "10.00", 2, "2.00"),
        }
    ],
    "transactions": [
        {
            "id": 245135271310201194,
            "order_id": 820982911946154508,
            "amount": "10.71",
            "kind": "refund",
            "gateway": "bogus",
            "status": "success",
            "test": False,
            "currency": "EUR",
        }
    ],
    "order_adjustments": [],
}


def order(**changes: Any) -> dict[str, Any]:
    """An order of 45.00 EUR less 4.50, with tax and shipping."""
    return {**copy.deepcopy(ORDER), **changes}


def refund(**changes: Any) -> dict[str, Any]:
    """A pair of socks given back, of an order's two."""
    return {**copy.deepcopy(REFUND), **changes}


def signed(raw: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.new(secret.encode(), raw, hashlib.sha256).digest()).decode()


def headers(
    raw: bytes, topic: str, *, webhook_id: str = "", secret: str = SECRET
) -> dict[str, str]:
    """The headers of a delivery."""
    return {
        "Content-Type": "application/json",
        "X-Shopify-Topic": topic,
        "X-Shopify-Hmac-Sha256": signed(raw, secret),
        "X-Shopify-Shop-Domain": "acme.myshopify.com",
        "X-Shopify-API-Version": "2026-01",
        "X-Shopify-Webhook-Id": webhook_id or hashlib.sha256(raw + topic.encode()).hexdigest(),
        "X-Shopify-Triggered-At": "2026-01-05T21:23:31.000000000Z",
    }


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


# ---- Deliveries to an edge of the tests ------------------------------------------------------


def sealed(*secrets: str, number: int = 1) -> list[str]:
    nonces = (bytes([n]) * sealing.NONCE_BYTES for n in itertools.count())
    return [
        sealing.seal(IDENTITY_KEY, signing.SHOPIFY, number, secret, nonce)
        for secret, nonce in zip(secrets, nonces, strict=False)
    ]


def configure(edge: Running, *secrets: str, **changes: Any) -> None:
    value = program(shopify_secrets=sealed(*secrets), **changes)
    edge.edge.table.apply("program", 1, value)


def deliver(edge: Running, topic: str, body: Any, **how: Any) -> Reply:
    raw = body if isinstance(body, bytes) else encoded(body)
    how.setdefault("webhook_id", f"delivery-{next(_ids)}")
    return edge.call("POST", "/v1/shopify/check", raw, headers(raw, topic, **how))


def taken(edge: Running, topic: str, body: Any) -> list[Any]:
    """The records of a webhook that is taken."""
    reply = deliver(edge, topic, body)
    assert (reply.status, reply.json["code"]) == (200, None)
    return edge.take()


def change(edge: Running, topic: str, body: Any) -> tuple[str, dict[str, str]]:
    """Action and particulars of the one decision a webhook comes to."""
    (record,) = [each for each in taken(edge, topic, body) if each.kind == Kind.DECISION]
    assert (record.brand, record.trust) == (1, Trust.SERVER)
    return record.body.action, record.body.params


def refused(edge: Running, topic: str, body: Any) -> str:
    """The reason a webhook is kept as a rejection under."""
    reply = deliver(edge, topic, body)
    assert reply.status == 200, "the shop would send it again, and then nothing more at all"
    assert edge.one().body.refused == reply.json["code"]
    return str(reply.json["code"])
