"""Server-to-server routes: what is taken, what is refused, and how it is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest

import edge_tools
from edge_tools import IDENTITY_KEY, KEY, OTHER_KEY, READ_KEY, Running
from headwater import _core, clock, ids, limits
from headwater.model.records import Flag

PROBLEM = "application/problem+json"


edge, ordinary = edge_tools.edge, edge_tools.ordinary


def refused(edge: Running, **fields: Any) -> list[str]:
    """Codes of the faults of a conversion that must be refused."""
    reply = edge.convert(**fields)
    assert reply.status == 422, reply.body
    assert reply.headers["Content-Type"] == PROBLEM
    assert reply.json["status"] == 422
    assert not edge.take()
    return reply.codes or [reply.json["code"]]


def test_a_conversion_is_answered_with_its_decision(edge: Running) -> None:
    click = ids.event_text("clk", ids.event_id(clock.now_ms()))
    reply = edge.convert(
        click_id=click,
        line="upsell:42",
        discount="1.00",
        tax=2,
        shipping="0.50",
        promo_code="SPRING",
        customer_status="new",
        items=[{"sku": "a", "quantity": 2, "subtotal": "5.00"}, {"name": "b"}],
        properties={"color": "red"},
        product_id="42",
        ip="203.0.113.9",
        user_agent="UA",
        occurred_at="2026-01-01T00:00:00Z",
        checkout_started_at="2025-12-31T23:59:00+00:00",
        mystery=1,
    )
    assert reply.status == 201
    answer = reply.json
    assert answer["status"] == "unattributed"
    assert "brand" not in answer
    assert answer["warnings"] == ["unknown field ignored: mystery"]
    assert reply.headers["Location"] == f"/v1/conversions/{answer['conversion_id']}"
    assert "Set-Cookie" not in reply.headers
    record = edge.one()
    assert (record.kind, record.brand, record.trust, record.source) == (4, 1, 1, 4)
    assert record.claim_ms == clock.parse_iso_ms("2026-01-01T00:00:00Z")
    body = record.body._asdict()
    digest = _core.identifier_digest(IDENTITY_KEY, 1, "customer_id", "cust-1")
    order = _core.conversion_digest(IDENTITY_KEY, ["1", "1", "1", "A-1", "upsell:42"])
    assert answer["conversion_id"] == ids.event_text("cnv", order)
    assert body == {
        "conversion_id": order,
        "program": 1,
        "event_type": 1,
        "order_id": "A-1",
        "line": "upsell:42",
        "flags": 0,
        "click_id": ids.parse_event("clk", click),
        "identifiers": [[1, digest]],
        "money": [1000, "EUR", 100, 200, 50],
        "promo_code": "SPRING",
        "customer_status": "new",
        "items": [["a", None, None, 2, 500], [None, "b", None, 1, None]],
        "params": {"color": "red", "product_id": "42"},
        "client": ["203.0.113.0/24", "UA", None, [None, None, 0, None, None], None],
        "refused": None,
        "started_ms": clock.parse_iso_ms("2025-12-31T23:59:00Z"),
    }


@pytest.mark.parametrize(
    ("outcome", "status"), [("created", 201), ("repeat", 200), ("merged", 200), ("conflict", 409)]
)
def test_what_the_engine_says_decides_the_status(edge: Running, outcome: str, status: int) -> None:
    edge.hub.outcome = outcome
    reply = edge.convert()
    assert reply.status == status
    assert reply.json["conversion_id"].startswith("cnv_")
    if status == 409:
        assert reply.json["code"] == "order_conflict"
        assert reply.headers["Content-Type"] == PROBLEM


def test_an_undecided_conversion_is_accepted_with_its_address(edge: Running) -> None:
    edge.hub.outcome = None
    reply = edge.convert()
    assert reply.status == 202
    assert reply.json["status"] == "pending"
    location = reply.headers["Location"]
    read = edge.call("GET", location, key=KEY)
    assert read.status == 200
    assert read.json["status"] == "pending"
    assert edge.call("GET", location, key=OTHER_KEY).status == 404
    assert edge.hub.forgotten[-1] == edge.hub.expected[-1]


def test_a_sender_that_will_not_wait_is_answered_at_once(edge: Running) -> None:
    edge.hub.expected.clear()
    body = {"program": "check", "event": "lead", "customer_id": "c"}
    reply = edge.post("/v1/conversions", body, Prefer="handling=strict, respond-async")
    assert reply.status == 202
    assert reply.headers["Preference-Applied"] == "respond-async"
    assert not edge.hub.expected


def test_in_the_spool_alone_nothing_is_waited_for(edge: Running) -> None:
    edge.writer.outcome = False
    assert edge.convert().status == 202


@pytest.mark.parametrize("trouble", ["full", "late", "failed"])
def test_what_is_not_safe_is_not_accepted(edge: Running, trouble: str) -> None:
    edge.writer.full = trouble == "full"
    edge.writer.outcome = None if trouble == "late" else OSError("disk")
    reply = edge.convert()
    assert reply.status == 503
    assert reply.json["code"] == "unavailable"
    assert int(reply.headers["Retry-After"]) > 0
    edge.take()


def status_file(edge: Running, ledger_ok: bool | None, age_ms: int = 0) -> None:
    file = Path(edge.edge.config.data) / "run" / "matcher.status"
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    if ledger_ok is not None:
        at_ms = clock.now_ms() - age_ms
        file.write_text(json.dumps({"ledger_ok": ledger_ok, "at_ms": at_ms}))
    edge.edge.ledger._looked_s = float("-inf")


def test_with_redis_and_ledger_down_conversions_are_refused_and_clicks_are_not(
    edge: Running,
) -> None:
    edge.writer.redis_ok = False
    edge.writer.outcome = False
    for ledger_ok, age_ms in ((None, 0), (False, 0), (True, 5000)):
        status_file(edge, ledger_ok, age_ms)
        reply = edge.convert()
        assert reply.status == 503
        assert reply.headers["Retry-After"]
        batch = edge.post("/v1/events", [{"type": "conversion", "program": "check"}])
        assert batch.json[0]["status"] == 503
    assert edge.call("GET", "/c/spring_1").status == 302
    body = {"program": "check", "partner": "prt_7"}
    assert edge.post("/v1/clicks", body).status == 201
    status_file(edge, True)
    assert edge.convert().status == 202
    status_file(edge, False)
    edge.writer.redis_ok, edge.writer.outcome = True, True
    assert edge.convert().status == 202
    status_file(edge, None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": KEY}, 401),
        ({"Authorization": f"Bearer {KEY[:-1]}"}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"Authorization": "Bearer é"}, 401),
        ({"Authorization": "Bearer " + "a" * 8000}, 401),
        ({"Authorization": f"Bearer {READ_KEY}"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/v1/conversions", "/v1/clicks", "/v1/identify", "/v1/events"])
def test_a_key_is_needed_before_anything_is_read(
    edge: Running, path: str, headers: dict[str, str], status: int
) -> None:
    reply = edge.call("POST", path, b"not json", headers)
    assert reply.status == status
    assert reply.headers["Content-Type"] == PROBLEM
    assert ("WWW-Authenticate" in reply.headers) == (status == 401)


def test_another_brands_program_is_unknown(edge: Running) -> None:
    assert refused(edge, program="other") == ["unknown_program"]
    assert refused(edge, program="nope") == ["unknown_program"]
    assert refused(edge, program="paused") == ["program_inactive"]
    assert edge.convert(OTHER_KEY).status == 422


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({"program": None}, {"required"}),
        ({"event": None}, {"required"}),
        ({"event": "nope"}, {"unknown_event_type"}),
        ({"event": "visit"}, {"invalid"}),
        ({"order_id": None}, {"order_id_required"}),
        ({"order_id": ""}, {"order_id_required"}),
        ({"customer_id": None}, {"no_identifier"}),
        ({"customer_id": ""}, {"no_identifier"}),
        ({"customer_id": "a@b.example"}, {"pii_in_customer_id"}),
        ({"customer_id": "x-a%40b.example"}, {"pii_in_customer_id"}),
        ({"email": "nonsense"}, {"invalid_email"}),
        ({"email_sha256": "zz"}, {"invalid_email_sha256"}),
        ({"email_sha1": "zz"}, {"invalid_email_sha1"}),
        ({"phone": "abc"}, {"invalid_phone"}),
        ({"click_id": "{click_id}"}, {"invalid_identifier"}),
        ({"click_id": "cnv_" + "0" * 26}, {"invalid_identifier"}),
        ({"amount": "1.001"}, {"amount_precision"}),
        ({"amount": -1}, {"amount_negative"}),
        ({"amount": True}, {"amount_invalid"}),
        ({"discount": "x", "tax": "-1"}, {"amount_invalid", "amount_negative"}),
        ({"currency": "ABC"}, {"currency_unknown"}),
        ({"program": "yen", "currency": None}, {"amount_precision"}),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, {"time_out_of_range"}),
        ({"occurred_at": 1764000000}, {"invalid"}),
        ({"checkout_started_at": "2999-01-01T00:00:00Z"}, {"time_out_of_range"}),
        ({"checkout_started_at": "1999-01-01T00:00:00Z"}, {"time_out_of_range"}),
        ({"checkout_started_at": "2026-01-01T00:00:00"}, {"invalid"}),
        ({"customer_status": "old"}, {"invalid"}),
        ({"consent": "maybe"}, {"invalid"}),
        ({"test": "true"}, {"invalid"}),
        ({"ip": "999.1.1.1"}, {"invalid"}),
        ({"items": {}}, {"invalid"}),
        ({"items": [1]}, {"invalid"}),
        ({"items": [{"quantity": -1}]}, {"invalid"}),
        ({"items": [{"quantity": 1.5}]}, {"invalid"}),
        ({"items": [{"subtotal": "1.001"}, {"sku": 5}]}, {"amount_precision", "invalid"}),
        ({"items": [{}] * (limits.ITEMS_MAX + 1)}, {"too_many_values"}),
        ({"properties": {"a": 1}}, {"invalid"}),
        ({"properties": {"a": "x" * 256}}, {"value_too_long"}),
        ({"properties": {"a" * 256: "x"}}, {"value_too_long"}),
        ({"properties": {str(n): "x" for n in range(21)}}, {"too_many_values"}),
        ({"order_id": "x" * 256}, {"value_too_long"}),
        ({"promo_code": "x" * 256}, {"value_too_long"}),
        ({"order_id": 5}, {"invalid"}),
        ({"order_id": 1.5}, {"invalid"}),
        ({"order_id": ["x"]}, {"invalid"}),
        ({"payment": {"card_number": "0" * 16, "cvv": "1"}}, {"test_card_invalid"}),
        ({"payment": {"card_number": "1"}}, {"card_number_refused"}),
        ({"promo_code": "4111 1111 1111 1111"}, {"card_number_refused"}),
        ({"unknown": {"deep": ["4111111111111111"]}}, {"card_number_refused"}),
    ],
)
def test_b9_b11_a_field_at_fault_is_named(
    edge: Running, fields: dict[str, Any], codes: set[str]
) -> None:
    assert set(refused(edge, **fields)) == codes


@pytest.mark.parametrize(
    "order_id",
    ["٣٤", "１２", "a\u202eb", "a\x00b", "a\u2028b", "a\nb", "é", "\x1b[31m", "\u200b"],
)
@pytest.mark.parametrize("field", ["order_id", "line", "product_id"])
def test_b10_ids_are_ascii(edge: Running, field: str, order_id: str) -> None:
    assert refused(edge, **{field: order_id}) == ["invalid"]


@pytest.mark.parametrize("field", ["customer_id", "promo_code", "currency", "program", "ip"])
def test_b10_no_field_holds_a_control_character(edge: Running, field: str) -> None:
    assert refused(edge, **{field: "a\x00b"})


@pytest.mark.parametrize(
    "fields",
    [
        {"properties": {"color": "a\x00b"}},
        {"properties": {"a\x00b": "red"}},
        *({"items": [{name: "a\x00b"}]} for name in ("sku", "name", "category")),
        {"status": "a\x00b"},
    ],
    ids=str,
)
def test_b10_no_ledger_keeps_a_nul_so_none_is_taken(edge: Running, fields: dict[str, Any]) -> None:
    """PostgreSQL has no text with one."""
    assert set(refused(edge, **fields)) <= {"invalid", "unknown_status"}


def test_every_fault_is_told_at_once_and_nothing_sent_is_repeated(edge: Running) -> None:
    marker = "sEnTiNeL"
    reply = edge.convert(
        event=marker,
        amount=marker,
        occurred_at=marker,
        email=marker,
        click_id=marker,
        customer_status=marker,
        ip=marker,
        items=[{"quantity": marker}],
        properties={marker: 5},
    )
    assert reply.status == 422
    assert marker.encode() not in reply.body
    fields = {fault["field"] for fault in reply.json["errors"]}
    assert fields == {
        "event", "amount", "occurred_at", "email", "click_id", "customer_status", "ip",
        "items[0].quantity", "properties",
    }  # fmt: skip
    missing = edge.post("/v1/conversions", {})
    assert {fault["field"] for fault in missing.json["errors"]} >= {"program", "event"}


def test_values_at_their_bounds_are_taken(edge: Running) -> None:
    reply = edge.convert(
        order_id="o" * limits.ORDER_ID_BYTES_MAX,
        promo_code="é" * 127,
        properties={f"{n:02}" + "k" * 253: "v" * 255 for n in range(limits.PROPERTIES_MAX)},
        items=[{"sku": "s"}] * limits.ITEMS_MAX,
        amount="0",
        warnings=None,
    )
    assert reply.status == 201
    assert edge.one().body[8][0] == 0


def test_an_order_larger_than_a_record_is_refused(edge: Running) -> None:
    items = [{"sku": f"{n:03}" + "s" * 200} for n in range(limits.ITEMS_MAX)]
    assert edge.convert(items=items).status == 413
    assert not edge.take()


def test_a_promo_code_alone_is_enough(edge: Running) -> None:
    assert edge.convert(customer_id=None, promo_code="SPRING").status == 201


def test_blocked_values_link_nobody_and_lose_nothing(edge: Running) -> None:
    assert edge.convert(customer_id="null", email="a@b.example").status == 201
    kinds = [kind for kind, _digest in edge.one().body[7]]
    # A plain address has two digests: of its SHA-256 and of its SHA-1.
    assert kinds == [3, 3]


def test_the_same_person_has_the_same_digest_however_it_is_said(edge: Running) -> None:
    import hashlib

    hashed = hashlib.sha256(b"a@b.example").hexdigest()
    edge.convert(email=" A@B.example ", email_sha256=hashed, customer_id=None)
    plain = edge.one().body[7]
    assert len(plain) == 2
    edge.convert(email_sha256=hashed, customer_id=None)
    assert edge.one().body[7][0] in plain
    hashed_short = hashlib.sha1(b"a@b.example").hexdigest()
    edge.convert(email_sha1=hashed_short, customer_id=None)
    assert edge.one().body[7][0] in plain
    edge.convert(phone="030 123456", customer_id=None)
    local = edge.one().body[7]
    edge.convert(phone="+49 30 123456", customer_id=None)
    assert edge.one().body[7] == local


def test_without_consent_only_the_click_id_counts(edge: Running) -> None:
    click = ids.event_text("clk", ids.event_id(1))
    fields = {"click_id": click, "ip": "203.0.113.9", "user_agent": "Googlebot"}
    assert edge.convert(consent="denied", **fields).status == 201
    body = edge.one().body
    assert body[5] == Flag.CONSENT_DENIED
    assert body[6] == ids.parse_event("clk", click)
    assert body[7] == []
    assert body[13] == [None, "bot", None, [None, None, 0, None, None], None]
    edge.convert(program="quiet", **fields)
    assert edge.one().body[7] == []
    edge.convert(program="quiet", consent="granted", **fields)
    assert edge.one().body[7] != []


def test_the_test_card_makes_a_test_order(edge: Running) -> None:
    payment = {"card_number": "0000000000000000", "cvv": "100", "expiry": "12/2031"}
    assert edge.convert(payment=payment).status == 201
    record = edge.writer.records[-1][1]
    assert edge.one().body[5] == Flag.TEST
    assert b"0000000000000000" not in record
    edge.convert(test=True)
    assert edge.one().body[5] == Flag.TEST


def test_msgpack_is_taken_without_floats_for_money(edge: Running) -> None:
    body = {"program": "check", "event": "sale", "order_id": "M", "customer_id": "c"}
    kind = {"Content-Type": "application/msgpack"}
    packed = msgpack.packb({**body, "amount": "9.99"})
    assert edge.call("POST", "/v1/conversions", packed, kind, KEY).status == 201
    assert edge.one().body[8][0] == 999
    packed = msgpack.packb({**body, "amount": 9.99})
    reply = edge.call("POST", "/v1/conversions", packed, kind, KEY)
    assert (reply.status, reply.codes) == (422, ["amount_invalid"])


def test_b9_json_money_is_exact(edge: Running) -> None:
    for text, minor in (("0.1", 10), ("1152921504606846.97", 115292150460684697), ("4.35", 435)):
        raw = (
            b'{"program":"check","event":"sale","order_id":"x","customer_id":"c","amount":%s}'
            % text.encode()
        )
        assert edge.call("POST", "/v1/conversions", raw, key=KEY).status == 201
        assert edge.one().body[8][0] == minor


@pytest.mark.parametrize("body", [[], "x", 5, None, True, [{}]])
def test_a_body_of_another_shape_is_refused(edge: Running, body: Any) -> None:
    for path in ("/v1/conversions", "/v1/clicks", "/v1/identify"):
        assert edge.post(path, json.dumps(body).encode()).status == 422


def test_a_decision_is_read_by_id_and_by_order(edge: Running) -> None:
    made = edge.convert().json
    by_id = edge.call("GET", f"/v1/conversions/{made['conversion_id']}", key=KEY)
    assert by_id.status == 200
    assert by_id.json == made
    query = "?program=check&event=sale&order_id=A-1"
    by_order = edge.call("GET", f"/v1/conversions{query}", key=KEY)
    assert by_order.json == made
    line = edge.call("GET", f"/v1/conversions{query}&line=upsell:1", key=KEY)
    assert line.status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/conversions", 422),
        ("/v1/conversions?program=check", 422),
        ("/v1/conversions?program=other&event=sale&order_id=x", 404),
        ("/v1/conversions?program=check&event=nope&order_id=x", 404),
        ("/v1/conversions/", 422),
        ("/v1/conversions/cnv_x", 404),
        ("/v1/conversions/cnv_" + "0" * 26, 404),
        ("/v1/conversions/clk_" + "0" * 26, 404),
        ("/v1/conversions/%00", 404),
        ("/v1/nothing", 404),
    ],
)
def test_what_is_not_there_is_not_found(edge: Running, path: str, status: int) -> None:
    reply = edge.call("GET", path, key=KEY)
    assert reply.status == status
    assert reply.headers["Content-Type"] == PROBLEM


def test_reading_needs_the_brands_key(edge: Running) -> None:
    made = edge.convert().json["conversion_id"]
    assert edge.call("GET", f"/v1/conversions/{made}").status == 401
    assert edge.call("GET", f"/v1/conversions/{made}", key=READ_KEY).status == 403
    assert edge.call("GET", f"/v1/conversions/{made}", key=OTHER_KEY).status == 404


def test_nobody_can_be_asked_while_redis_is_away(edge: Running) -> None:
    edge.writer.redis_ok = False
    reply = edge.call("GET", "/v1/conversions/cnv_" + "0" * 26, key=KEY)
    assert reply.status == 503
    assert "Retry-After" in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/clicks", "POST"),
        ("PUT", "/v1/conversions", "POST, GET"),
        ("POST", "/px.gif", "GET, HEAD"),
        ("HEAD", "/postback", "GET"),
        ("DELETE", "/readyz", "GET, HEAD"),
    ],
)
def test_a_route_says_which_methods_it_takes(
    edge: Running, method: str, path: str, allow: str
) -> None:
    reply = edge.call(method, path)
    assert reply.status == 405
    assert reply.headers["Allow"] == allow


def test_a_key_that_is_deleted_is_refused_at_once(edge: Running) -> None:
    table = edge.edge.table
    key = table._keys[1]
    try:
        table.apply("key", 1, None)
        assert edge.convert().status == 401
    finally:
        table.apply("key", 1, {"sha256": key.digest.hex(), "scopes": ["events"], "brand": 1})
    assert edge.convert().status == 201
