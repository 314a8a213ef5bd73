"""The pixel and the postback: conversions that come as a query; and the state of a process."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

import edge_tools
from edge_tools import IDENTITY_KEY, KEY, OTHER_KEY, READ_KEY, Reply, Running
from headwater import _core, clock, ids, metrics
from headwater.model.records import Flag

edge, ordinary = edge_tools.edge, edge_tools.ordinary


def pixel(edge: Running, query: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = edge.call("GET", f"/px.gif?{query}", headers=named)
    assert reply.status == 200
    assert reply.body[:6] == b"GIF89a"
    assert len(reply.body) == 43
    assert reply.headers["Content-Type"] == "image/gif"
    control = "no-store, no-cache, must-revalidate, private"
    assert reply.headers["Cache-Control"] == control
    assert reply.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert reply.headers["Timing-Allow-Origin"] == "*"
    assert "Set-Cookie" not in reply.headers
    return reply


def test_of_a_plain_address_a_browser_ties_the_one_strong_digest(edge: Running) -> None:
    pixel(edge, "program=check&event=sale&order_id=P-2&amount=5.00&email=A%40b.example")
    digest = _core.identifier_digest(IDENTITY_KEY, 1, "email", "a@b.example")
    assert edge.one().body[7] == [[3, digest]]


GOOD = "program=check&event=sale&order_id=P-1&amount=5.00&customer_id=c"


def test_a_pixel_is_the_same_report_from_a_browser(edge: Running) -> None:
    visitor = ids.visitor_id()
    query = (
        f"{GOOD}&currency=USD&sku1=a&qty1=2&amt1=1.50&cat1=x&sku3=c&test=1"
        "&customer_status=new&promo_code=P&occurred_at=2026-01-01T00:00:00+02:00&cb=123"
    )
    pixel(edge, query, Cookie=f"hw_visitor={visitor}", Referer="https://shop.example/thanks")
    record = edge.one()
    assert (record.kind, record.brand, record.trust, record.source) == (4, 1, 2, 2)
    assert record.claim_ms == clock.parse_iso_ms("2025-12-31T22:00:00Z")
    body = record.body._asdict()
    order = _core.conversion_digest(IDENTITY_KEY, ["1", "1", "1", "P-1", "main"])
    assert body["conversion_id"] == order
    assert body["money"] == [500, "USD", None, None, None]
    assert body["items"] == [["a", None, "x", 2, 150], ["c", None, None, 1, None]]
    assert body["flags"] == Flag.TEST
    assert body["refused"] is None
    digest = _core.identifier_digest(IDENTITY_KEY, 1, "visitor_id", visitor)
    assert [8, digest] in body["identifiers"]
    assert body["client"][0] == "127.0.0.0/24"
    assert body["client"][2] == "https://shop.example/thanks"


def test_pixel_and_server_meet_on_one_conversion(edge: Running) -> None:
    pixel(edge, GOOD)
    assert edge.one().body[0] == ids.parse_event(
        "cnv", edge.convert(order_id="P-1").json["conversion_id"]
    )


def test_the_cookie_alone_identifies(edge: Running) -> None:
    query = "program=check&event=sale&order_id=P-2"
    pixel(edge, query, Cookie=f"hw_visitor={ids.visitor_id()}")
    record = edge.one()
    assert record.body[14] is None
    assert len(record.body[7]) == 1


@pytest.mark.parametrize(
    ("query", "reason", "brand"),
    [
        ("", "required", 0),
        ("program=nope&event=%00", "invalid", 0),
        ("program=nope&event=sale&customer_id=c&order_id=x", "unknown_program", 0),
        ("program=check&event=nope&customer_id=c", "unknown_event_type", 1),
        ("program=check&event=sale&order_id=x", "no_identifier", 1),
        ("program=check&event=sale&customer_id=c", "order_id_required", 1),
        ("program=check&event=lead&customer_id=a@b.example", "pii_in_customer_id", 1),
        (f"{GOOD}&amount=1&discount=-1", "amount_negative", 1),
        (f"{GOOD}&tax=1.234", "amount_precision", 1),
        (f"{GOOD}&currency=ABC", "currency_unknown", 1),
        (f"{GOOD}&qty1=two", "invalid", 1),
        (f"{GOOD}&line=%00", "invalid", 1),
        (f"{GOOD}&sku1=a%00", "invalid", 1),
        ("program=check&event=sale&customer_id=c&order_id=a%00b", "invalid", 1),
        (f"{GOOD}&qty1={'9' * 5000}", "invalid", 1),
        (f"{GOOD}&promo_code=4111111111111111", "card_number_refused", 1),
        (f"{GOOD}&card_number=4111111111111111", "card_number_refused", 1),
        (f"{GOOD}&card_number={'0' * 16}&cvv=1&expiry=12/31", "test_card_invalid", 1),
        (f"{GOOD}&click_id=%7Bclick%7D", "invalid_identifier", 1),
        (f"{GOOD}&occurred_at=1764000000000", "invalid", 1),
        ("program=paused&event=sale&customer_id=c&order_id=x", "program_inactive", 1),
        ("&".join(f"p{index}=1" for index in range(65)), "too_many_parameters", 0),
    ],
)
def test_a_bad_pixel_is_kept_as_a_rejection(
    edge: Running, query: str, reason: str, brand: int
) -> None:
    pixel(edge, query)
    record = edge.one()
    assert record.body[14] == reason
    assert record.brand == brand
    assert record.body[7] == []
    assert record.body[3] is None
    assert b"4111111111111111" not in record.body[0]


def test_a_rejection_is_counted(edge: Running) -> None:
    counter = metrics.REJECTIONS.labels("pixel", "no_identifier")
    edge.flush()
    before = counter._value.get()
    pixel(edge, "program=check&event=sale&order_id=x")
    edge.flush()
    assert counter._value.get() == before + 1


def test_a_method_that_is_switched_off_records_nothing(edge: Running) -> None:
    pixel(edge, GOOD.replace("check", "nopixel"))
    assert not edge.take()
    assert edge.convert(program="nopixel").status == 201
    edge.take()
    edge.edge.table.apply(
        "program",
        6,
        {
            "brand": 1,
            "code": "nopixel",
            "destination_url": "https://a.example/",
            "currency": "EUR",
            "methods": ["pixel"],
        },
    )
    reply = edge.convert(program="nopixel")
    assert (reply.status, reply.json["code"]) == (403, "method_disabled")


def test_with_gpc_a_pixel_keeps_nothing_of_the_visitor(edge: Running) -> None:
    pixel(edge, GOOD, Cookie=f"hw_visitor={ids.visitor_id()}", Sec_GPC="1")
    body = edge.one().body
    assert body[5] == Flag.CONSENT_DENIED
    assert body[7] == []
    assert body[13][:3] == [None, "desktop", None]


@pytest.mark.parametrize("trouble", ["full", "late", "failed"])
def test_the_gif_comes_whatever_the_journal_does(edge: Running, trouble: str) -> None:
    edge.writer.full = trouble == "full"
    edge.writer.outcome = None if trouble == "late" else OSError("disk")
    pixel(edge, GOOD)


def test_head_of_the_pixel_records_nothing(edge: Running) -> None:
    assert edge.call("HEAD", f"/px.gif?{GOOD}").status == 200
    assert not edge.take()


def postback(edge: Running, **fields: Any) -> tuple[int, str]:
    query = {
        "program": "check",
        "token": KEY,
        "event": "sale",
        "order_id": "N-1",
        "customer_id": "c",
        "amount": "3.00",
        **fields,
    }
    query = {name: value for name, value in query.items() if value is not None}
    reply = edge.call("GET", f"/postback?{urlencode(query)}")
    assert reply.headers.get_content_type() == "text/plain"
    return reply.status, reply.body.decode()


def test_a_postback_is_the_same_report_from_a_server(edge: Running) -> None:
    assert postback(edge, status="approved") == (200, "OK")
    record = edge.one()
    assert (record.trust, record.source) == (1, 5)
    assert record.body[3] == "N-1"
    assert record.body[8] == [300, "EUR", None, None, None]
    assert record.body[12] == {"status": "approved"}
    assert record.body[13] == [None, None, None, None, None]


def test_a_postback_may_use_the_programs_own_names(edge: Running) -> None:
    assert postback(edge, order_id=None, amount=None, txid="N-2", payout="7") == (200, "OK")
    body = edge.one().body
    assert (body[3], body[8][0]) == ("N-2", 700)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"token": None}, 401, "unauthorized"),
        ({"token": "wrong"}, 401, "unauthorized"),
        ({"token": "é" * 5000}, 414, ""),
        ({"token": "x" * 200}, 401, "unauthorized"),
        ({"token": READ_KEY}, 403, "forbidden"),
        ({"token": OTHER_KEY}, 422, "unknown_program"),
        ({"event": "nope"}, 422, "unknown_event_type"),
        ({"customer_id": None}, 422, "no_identifier"),
        ({"amount": "1.001"}, 422, "amount_precision"),
        ({"order_id": "a\x00b"}, 422, "invalid"),
        ({"line": "\x00"}, 422, "invalid"),
        ({"promo_code": "4111111111111111"}, 422, "card_number_refused"),
        ({f"x{index}": "1" for index in range(70)}, 400, "too_many_parameters"),
    ],
)
def test_a_bad_postback_is_told_why(
    edge: Running, fields: dict[str, Any], status: int, code: str
) -> None:
    if status == 414:
        query = urlencode({"token": fields["token"]})
        assert edge.call("GET", f"/postback?{query}").status == 414
    else:
        assert postback(edge, **fields) == (status, code)
    assert not edge.take()


def test_a_postback_of_a_conflicting_order_is_told_so(edge: Running) -> None:
    edge.hub.outcome = "conflict"
    assert postback(edge) == (409, "order_conflict")
    edge.hub.outcome = None
    assert postback(edge) == (200, "OK")


def test_a_postback_that_is_not_safe_is_to_be_sent_again(edge: Running) -> None:
    edge.writer.full = True
    assert postback(edge) == (503, "unavailable")


def test_health_and_readiness(edge: Running) -> None:
    assert edge.call("GET", "/healthz").status == 200
    assert edge.call("HEAD", "/healthz").status == 200
    ready = edge.call("GET", "/readyz")
    assert ready.status == 200
    assert ready.json["degraded"] == []
    assert ready.json["unsafe_redis"] is False
    edge.writer.redis_ok = False
    degraded = edge.call("GET", "/readyz")
    assert (degraded.status, degraded.json["degraded"]) == (200, ["redis"])
    edge.writer.redis_ok = True
    edge.writer.accepting = False
    assert edge.call("GET", "/readyz").status == 503
    edge.writer.accepting = True
    edge.feed.fresh, edge.feed.revision = False, 0
    assert edge.call("GET", "/readyz").status == 503
    edge.feed.revision = 5
    assert edge.call("GET", "/readyz").json["degraded"] == ["configuration"]
    edge.feed.fresh = True
    edge.edge.gate = lambda: False
    assert edge.call("GET", "/readyz").status == 503
    edge.edge.gate = lambda: True
    assert edge.call("GET", "/readyz").status == 200


def test_the_small_files(edge: Running) -> None:
    assert edge.call("GET", "/robots.txt").body == b"User-agent: *\nDisallow: /\n"
    gpc = edge.call("GET", "/.well-known/gpc.json")
    assert gpc.json["gpc"] is True
    assert gpc.headers["Content-Type"] == "application/json"


def test_metrics_are_counted_in_bulk(edge: Running) -> None:
    accepted = metrics.EVENTS_ACCEPTED.labels("click")
    seconds = metrics.EDGE_REQUEST_SECONDS.labels("redirect")
    edge.flush()
    before = accepted._value.get(), seconds._sum.get()
    for _ in range(5):
        edge.call("GET", "/c/spring_1")
    edge.flush()
    assert accepted._value.get() == before[0] + 5
    assert seconds._sum.get() > before[1]
    lines = [
        sample
        for metric in metrics.EDGE_REQUEST_SECONDS.collect()
        for sample in metric.samples
        if sample.labels.get("route") == "redirect" and sample.name.endswith("_count")
    ]
    assert lines[0].value >= 5
