"""Shopify's webhooks at the edge: who may send them, and what is made of them."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_tools import Running, edge, ordinary, program
from headwater import ids, limits
from headwater.model.records import Flag, Kind, Source, Trust
from shopify_tools import (
    CLICK_ID,
    OLD_SECRET,
    ORDER_ID,
    SECRET,
    configure,
    deliver,
    encoded,
    headers,
    line,
    money,
    order,
    refund,
    refused,
    sealed,
    signed,
    taken,
)

__all__ = ["edge", "ordinary"]


@pytest.fixture(autouse=True)
def with_secret(edge: Running) -> None:
    configure(edge, OLD_SECRET, SECRET)


# ---- An order --------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["orders/create", "orders/paid"])
def test_i22_an_order_is_a_conversion(edge: Running, topic: str) -> None:
    reply = deliver(edge, topic, order())
    record = edge.one()
    body = record.body
    assert reply.json == {
        "conversion_id": ids.event_text("cnv", body.conversion_id),
        "code": None,
    }
    assert (record.kind, record.trust, record.source) == (
        Kind.CONVERSION,
        Trust.SERVER,
        Source.S2S,
    )
    assert (body.order_id, body.line, body.flags) == (ORDER_ID, "main", 0)
    assert body.money == [4050, "EUR", 450, 770, 500]
    assert body.items == [["socks", "Socks", None, 2, 1800], ["hat", "Hat", None, 1, 2250]]
    assert body.promo_code == "SPRING"
    assert ids.event_text("clk", body.click_id) == CLICK_ID
    assert {kind for kind, _ in body.identifiers} == {1, 3, 8}
    assert body.client[:2] == ["203.0.113.0/24", "Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0"]
    assert record.claim_ms == 1767648210000
    assert body.params == {"platform": "shopify"}


def test_i22_the_api_and_the_webhook_report_one_order(edge: Running) -> None:
    (record,) = taken(edge, "orders/create", order())
    edge.convert(order_id=ORDER_ID)
    assert edge.one().body.conversion_id == record.body.conversion_id


def test_a_test_order_is_marked(edge: Running) -> None:
    (record,) = taken(edge, "orders/create", order(test=True))
    assert record.body.flags & Flag.TEST


def test_i22_consent_that_the_theme_passed_on_is_kept_to(edge: Running) -> None:
    denied = [{"name": "hw_consent", "value": "denied"}]
    (record,) = taken(edge, "orders/create", order(note_attributes=denied))
    assert record.body.flags & Flag.CONSENT_DENIED
    assert (record.body.identifiers, record.body.click_id) == ([], None)
    assert record.body.client[:2] == [None, "desktop"]


@pytest.mark.parametrize("attributes", [[], [{"name": "hw_consent", "value": "maybe"}]])
def test_without_a_word_of_consent_the_programs_default_counts(
    edge: Running, attributes: list[Any]
) -> None:
    (record,) = taken(edge, "orders/create", order(note_attributes=attributes))
    assert not record.body.flags & Flag.CONSENT_DENIED
    configure(edge, SECRET, consent_default="denied")
    (record,) = taken(edge, "orders/create", order(note_attributes=attributes))
    assert record.body.flags & Flag.CONSENT_DENIED


def test_the_currency_is_what_the_customer_paid_in(edge: Running) -> None:
    yen = order(subtotal_price_set=money("1000.00", "JPY"), line_items=[], total_tax_set=None)
    (record,) = taken(edge, "orders/create", yen)
    assert record.body.money[:2] == [1000, "JPY"]
    old = order(subtotal_price_set=None)
    (record,) = taken(edge, "orders/create", old)
    assert record.body.money[:2] == [4500, "USD"]


def test_numbers_are_read_as_written(edge: Running) -> None:
    raw = encoded(order()).replace(b'"amount": "40.50"', b'"amount": 40.50')
    (record,) = taken(edge, "orders/create", raw)
    assert record.body.money[0] == 4050


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "no address", "contact_email": None},
        {"phone": "12"},
        {"browser_ip": "not one", "client_details": []},
        {"created_at": "2099-01-01T00:00:00Z"},
        {"created_at": 12},
        {"customer": "x"},
        {"customer": {"id": 4111111111111111}},
        {"discount_codes": [{"code": "a\nb"}]},
        {"note_attributes": [{"name": "hw_click_id", "value": "clk_forged"}]},
        {"note_attributes": [{"name": ["x"], "value": {}}, 7]},
        {"note_attributes": {"hw_click_id": "x"}},
        {"line_items": None},
        {"line_items": [{"sku": 7, "quantity": -1, "title": "x\x00"}]},
        {"line_items": [{**line(1, "x", "1.00", 1, ""), "title": "4111 1111 1111 1111"}]},
        {"line_items": [{**line(1, "x", "1.00", 1, ""), "title": "long " * 200}]},
        {"total_tax_set": "x", "total_discounts_set": {"presentment_money": None}},
    ],
)
def test_an_order_is_not_lost_for_what_is_no_money(edge: Running, changes: dict[str, Any]) -> None:
    (record,) = taken(edge, "orders/create", order(**changes))
    assert record.body.money[:2] == [4050, "EUR"]
    assert record.body.order_id == ORDER_ID


def test_a_huge_order_is_kept(edge: Running) -> None:
    lines = [line(number, "s" * 255, "1.00", 1, "") for number in range(500)]
    (record,) = taken(edge, "orders/create", order(line_items=lines))
    assert record.body.money[0] == 4050
    many = [line(number, "s", "1.00", 1, "") for number in range(limits.ITEMS_MAX + 1)]
    (record,) = taken(edge, "orders/create", order(line_items=many))
    assert len(record.body.items) == limits.ITEMS_MAX


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": None}, "order_id_required"),
        ({"id": True}, "order_id_required"),
        ({"id": "x"}, "order_id_required"),
        ({"id": -1}, "order_id_required"),
        ({"subtotal_price": None, "subtotal_price_set": None}, "amount_invalid"),
        ({"subtotal_price": "x", "subtotal_price_set": 7}, "amount_invalid"),
        ({"subtotal_price": "1e9", "subtotal_price_set": []}, "amount_invalid"),
        ({"subtotal_price": "-1.00", "subtotal_price_set": None}, "amount_invalid"),
        ({"currency": "XYZ", "subtotal_price_set": None}, "amount_invalid"),
        ({"email": None, "contact_email": None, "customer": None, "note_attributes": [],
          "discount_codes": []}, "no_identifier"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_order_is_a_rejection(
    edge: Running, changes: dict[str, Any], code: str
) -> None:
    assert refused(edge, "orders/create", order(**changes)) == code


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"id":1,"id":2}', b"\xff", b"[" * 99])
def test_what_is_no_object_is_a_rejection(edge: Running, body: bytes) -> None:
    assert refused(edge, "orders/create", body) in ("malformed_body", "invalid", "duplicate_key")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(st.sampled_from(sorted(order()) + sorted(refund())), min_size=1, max_size=4),
    junk=JUNK,
    inside=st.booleans(),
)
def test_wrong_types_anywhere_break_nothing(
    edge: Running, names: list[str], junk: Any, inside: bool
) -> None:
    for topic, body in (("orders/updated", order()), ("refunds/create", refund())):
        for name in names:
            value = body.get(name)
            if inside and isinstance(value, list) and value and isinstance(value[0], dict):
                for key in value[0]:
                    value[0][key] = copy.deepcopy(junk)
            else:
                body[name] = copy.deepcopy(junk)
        assert deliver(edge, topic, body).status == 200
    edge.take()


# ---- Who may send ----------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [OLD_SECRET, SECRET])
def test_while_secrets_rotate_two_are_valid(edge: Running, secret: str) -> None:
    assert deliver(edge, "orders/create", order(), secret=secret).status == 200
    configure(edge, SECRET)
    status = deliver(edge, "orders/create", order(), secret=secret).status
    assert status == (200 if secret == SECRET else 401)


def test_another_secret_makes_no_signature(edge: Running) -> None:
    edge.take()
    reply = deliver(edge, "orders/create", order(), secret="shpss_not-the-secret-of-it")
    assert (reply.status, reply.json["code"]) == (401, "unauthorized")
    assert edge.take() == []


def test_every_changed_byte_breaks_the_signature(edge: Running) -> None:
    raw = encoded({"id": 1, "subtotal_price": "1.00", "currency": "EUR"})
    sent = headers(raw, "orders/create")
    for at in range(0, len(raw), 3):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert edge.call("POST", "/v1/shopify/check", changed, sent).status == 401
    assert edge.call("POST", "/v1/shopify/check", raw + b" ", sent).status == 401
    assert edge.take() == []


@pytest.mark.parametrize(
    "signature",
    ["", "x", "ü", "AAAA", signed(b"other"), base64.b64encode(b"x" * 33).decode(), "=" * 44],
)
def test_a_broken_signature_is_refused(edge: Running, signature: str) -> None:
    raw = encoded(order())
    sent = {**headers(raw, "orders/create"), "X-Shopify-Hmac-Sha256": signature}
    sent = {name: value.encode("utf-8").decode("latin-1") for name, value in sent.items()}
    assert edge.call("POST", "/v1/shopify/check", raw, sent).status == 401


@pytest.mark.parametrize("path", ["/v1/shopify/", "/v1/shopify/nobody", "/v1/shopify/other",
                                  "/v1/shopify/check/x", "/v1/shopify/%63heck"])  # fmt: skip
def test_a_program_without_a_secret_looks_like_none(edge: Running, path: str) -> None:
    raw = encoded(order())
    reply = edge.call("POST", path, raw, headers(raw, "orders/create"))
    assert (reply.status, reply.json["code"]) == (401, "unauthorized")


def test_a_secret_of_another_program_opens_nothing(edge: Running) -> None:
    edge.edge.table.apply("program", 1, program(shopify_secrets=sealed(SECRET, number=2)))
    assert deliver(edge, "orders/create", order()).status == 401


def test_bodies_stop_at_a_bound(edge: Running) -> None:
    raw = encoded({"id": 1}).ljust(limits.SHOPIFY_BODY_BYTES_MAX)
    assert deliver(edge, "orders/create", raw).status == 200
    assert deliver(edge, "orders/create", raw + b" ").status == 413


def test_a_body_nobody_signed_is_not_read(edge: Running) -> None:
    head = (
        b"POST /v1/shopify/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"X-Shopify-Topic: orders/create\r\nContent-Length: 1000000\r\n\r\n"
    )
    assert b" 401 " in edge.raw(head).split(b"\r\n")[0]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_webhooks_are_posted(edge: Running, method: str) -> None:
    assert edge.call(method, "/v1/shopify/check").status == 405


def test_i0_the_method_may_be_switched_off(edge: Running) -> None:
    configure(edge, SECRET, methods=["pixel", "s2s"])
    assert deliver(edge, "orders/create", order()).json["code"] == "method_disabled"
    configure(edge, SECRET, methods=["shopify"])
    assert deliver(edge, "orders/create", order()).status == 200


@pytest.mark.parametrize("topic", ["customers/redact", "orders/delete", "", "Orders/Create"])
def test_what_is_not_tracked_is_passed_over_and_counted(edge: Running, topic: str) -> None:
    edge.take()
    reply = deliver(edge, topic, order())
    assert (reply.status, reply.json["code"]) == (200, "unknown_topic")
    assert edge.take() == []


# ---- Again, and out of order -----------------------------------------------------------------


def test_a_delivery_that_comes_again_is_the_same_event(edge: Running) -> None:
    for body, topic in ((order(), "orders/create"), (refund(), "refunds/create")):
        first, second = (
            deliver(edge, topic, body, webhook_id="b54557e4-bdd9-4b37-8a5f-bf7d70bcd043")
            for _ in range(2)
        )
        assert first.json == second.json
        one, other = edge.take()
        assert one.event_id == other.event_id


def test_a_delivery_without_an_id_is_known_by_its_body(edge: Running) -> None:
    raw = encoded(order())
    sent = headers(raw, "orders/create")
    del sent["X-Shopify-Webhook-Id"]
    for _ in range(2):
        assert edge.call("POST", "/v1/shopify/check", raw, sent).status == 200
    one, other = edge.take()
    assert one.event_id == other.event_id


def test_further_topics_report_the_same_order_in_the_same_words(edge: Running) -> None:
    reports = [
        each.body[:-2]
        for topic in ("orders/create", "orders/paid", "orders/updated")
        for each in taken(edge, topic, order())
        if each.kind == Kind.CONVERSION
    ]
    assert reports[0] == reports[1] == reports[2]


def test_what_is_not_safe_is_not_taken(edge: Running) -> None:
    edge.writer.full = True
    reply = deliver(edge, "orders/updated", order())
    assert (reply.status, reply.json["code"]) == (503, "unavailable")
    assert reply.headers["Retry-After"]
    edge.writer.full, edge.writer.outcome = False, OSError("disk")
    assert deliver(edge, "orders/updated", order()).status == 503
