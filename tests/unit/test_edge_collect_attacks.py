"""The tag's events: what a rival or an attacker could send instead."""

from __future__ import annotations

from typing import Any

import pytest

import edge_tools
from collect_tools import HOST, SHOP, sale, send
from edge_tools import Running, program
from headwater import limits

edge, ordinary = edge_tools.edge, edge_tools.ordinary


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 415),
        ("application/json", 202),
        ("text/plain", 202),
        ("text/plain; charset=utf-16", 415),
        ("text/html", 415),
        ("application/msgpack", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_only_text_and_json_are_read(edge: Running, kind: str | None, status: int) -> None:
    if kind is None:
        head = f"POST /v1/collect HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\n{{}}"
        assert b" 415 " in edge.raw(head.encode(), 0.5)[:20]
    else:
        assert send(edge, _Content_Type=kind).status == status


def test_a_body_above_the_bound_is_refused_and_not_recorded(edge: Running) -> None:
    bound = limits.COLLECT_BODY_BYTES_MAX
    headers = {"Content-Type": "text/plain", "Origin": SHOP}
    for length, status in ((bound, 403), (bound + 1, 413)):
        head = b'{"program":"check","type":"page","x":"'
        body = head + b"x" * (length - len(head) - 2) + b'"}'
        reply = edge.call("POST", "/v1/collect", body, {**headers, "Origin": "https://e.example"})
        assert reply.status == status
    assert len(edge.take()) == 1


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"1", b'"x"', b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 4000, b"null"]
)
def test_what_is_no_event_is_refused(edge: Running, raw: bytes) -> None:
    headers = {"Content-Type": "text/plain", "Origin": SHOP}
    assert edge.call("POST", "/v1/collect", raw, headers).status in (400, 422)
    assert not edge.take()


@pytest.mark.parametrize("kind", [None, "", "sale", 1, ["page"], {"page": 1}, "Page"])
def test_an_unknown_event_is_kept_as_a_rejection(edge: Running, kind: Any) -> None:
    reply = send(edge, kind)
    assert (reply.status, reply.json["code"]) == (422, "unknown_type")
    assert edge.one().body[14] == "unknown_type"


@pytest.mark.parametrize("code", ["nosuch", "", None, 7, ["check"], {"check": 1}])
def test_a_program_that_is_not_there(edge: Running, code: Any) -> None:
    for kind in ("page", "identify", "click", "conversion", "consent"):
        reply = send(edge, kind, program=code)
        assert reply.status == 422
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert "Set-Cookie" not in reply.headers
    assert {record.brand for record in edge.take()} == {0}


def test_another_brands_program_is_not_this_pages(edge: Running) -> None:
    put = edge.edge.table.apply
    put("program", 2, program(brand=2, code="other", destination_url="https://rival.example/",
                              deep_link_hosts=[]))  # fmt: skip
    try:
        assert send(edge, program="other").status == 403
        assert send(edge, "conversion", program="other", event="sale", order_id="1").status == 403
    finally:
        put("program", 2, program(brand=2, code="other"))


@pytest.mark.parametrize("value", ["x", "z" * 26, "0" * 25, "0" * 27, 5, {"a": 1}, "ab@c.example"])
def test_a_visitor_id_that_was_not_given_out_is_refused(edge: Running, value: Any) -> None:
    assert send(edge, visitor_id=value).status == 422
    assert edge.one().body[14] == "invalid_identifier"


def test_a_forged_cookie_is_passed_over(edge: Running) -> None:
    reply = send(edge, _cookie="forged")
    assert reply.json["cookie"] == "set"


def test_a_card_number_is_refused_and_appears_nowhere(edge: Running) -> None:
    reply = sale(edge, customer_id="c", promo_code="4111111111111111")
    assert reply.json["code"] == "card_number_refused"
    ((_partition, raw),) = edge.writer.records
    assert b"4111111111111111" not in raw + reply.body


def test_i0_a_switched_off_method_records_nothing(edge: Running) -> None:
    reply = send(edge, "identify", program="nopixel", customer_id="c")
    assert (reply.status, reply.json["code"]) == (403, "method_disabled")
    assert not edge.take()


def test_what_is_not_safe_is_to_be_sent_again(edge: Running) -> None:
    edge.writer.full = True
    for kind, more in (("page", {}), ("conversion", {"event": "lead", "customer_id": "c"})):
        reply = send(edge, kind, **more)
        assert (reply.status, reply.json["code"]) == (503, "unavailable")
        assert reply.headers["Retry-After"] == "5"
        assert reply.headers["Access-Control-Allow-Origin"] == SHOP
    assert sale(edge, order_id=None, customer_id="c").status == 422


def test_a_flood_of_pages_leaves_room_for_servers(edge: Running) -> None:
    edge.edge.waiting_decisions = limits.COLLECT_WAITERS_MAX
    try:
        assert sale(edge, customer_id="c").status == 202
        assert edge.convert(order_id="S-1").status == 201
        edge.edge.waiting_decisions = limits.COLLECT_WAITERS_MAX - 1
        assert sale(edge, customer_id="c").status == 201
    finally:
        edge.edge.waiting_decisions = 0


def test_nothing_that_was_sent_is_repeated(edge: Running) -> None:
    mark = "<script>mark"
    for kind in ("page", "identify", "click", "conversion", "consent", mark):
        for name in ("program", "event", "link", "partner", "visitor_id", "event_id", "email"):
            fields = {"event": "sale", name: mark}
            assert mark.encode() not in send(edge, kind, **fields).body


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_other_methods_are_refused(edge: Running, method: str) -> None:
    reply = edge.call(method, "/v1/collect")
    assert reply.status == 405
    assert reply.headers["Allow"] == "POST, OPTIONS"
