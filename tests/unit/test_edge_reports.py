"""Clicks, identifies and batches a server reports, and repeats under an Idempotency-Key."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlencode

import pytest

import edge_tools
from edge_tools import KEY, Running
from headwater import ids, limits, metrics
from headwater.model.records import IdentifierType

PROBLEM = "application/problem+json"


edge, ordinary = edge_tools.edge, edge_tools.ordinary


def test_a_click_is_reported(edge: Running) -> None:
    body = {
        "program": "check",
        "partner": "prt_7",
        "sub1": "s" * 300,
        "referrer": "https://a.example/" + "r" * 2000,
        "ip": "203.0.113.9",
        "visitor_id": "own-visitor",
        "odd": 1,
    }
    reply = edge.post("/v1/clicks", body)
    assert reply.status == 201
    assert reply.json["warnings"] == ["unknown field ignored: odd"]
    record = edge.one()
    assert reply.json["click_id"] == ids.event_text("clk", record.event_id)
    assert (record.kind, record.trust, record.source) == (1, 1, 4)
    assert record.body[:4] == (1, 7, 0, 0)
    assert record.body[5] == {"sub1": "s" * 255, "truncated": "sub1"}
    assert len(record.body[6][2]) == limits.REFERRER_BYTES_MAX


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({}, {"required"}),
        ({"partner": "prt_99"}, {"unknown_partner"}),
        ({"partner": "prt_8"}, {"unknown_partner"}),
        ({"partner": "prt_9"}, {"unknown_partner"}),
        ({"partner": "nonsense"}, {"unknown_partner"}),
        ({"link": "lnk_99"}, {"unknown_link"}),
        ({"link": "gone"}, {"unknown_link"}),
        ({"link": "foreign"}, {"unknown_link"}),
        ({"link": "lnk_1", "partner": "prt_8"}, {"unknown_partner"}),
        ({"partner": "prt_7", "program": "other"}, {"unknown_program"}),
        ({"partner": "prt_7", "email": "x"}, {"invalid_email"}),
    ],
)
def test_a_click_names_what_exists(edge: Running, fields: dict[str, Any], codes: set[str]) -> None:
    reply = edge.post("/v1/clicks", {"program": "check", **fields})
    assert reply.status == 422
    assert set(reply.codes) == codes


@pytest.mark.parametrize("link", ["lnk_1", "Spring_1", "SPRING_1"])
def test_a_click_may_name_its_link(edge: Running, link: str) -> None:
    assert edge.post("/v1/clicks", {"program": "check", "link": link}).status == 201
    assert edge.one().body[:3] == (1, 7, 1)


def test_an_identify_is_accepted(edge: Running) -> None:
    click = ids.event_text("clk", ids.event_id(5))
    body = {"program": "check", "customer_id": "c9", "profile_id": "p9", "click_id": click}
    reply = edge.post("/v1/identify", body)
    assert reply.status == 202
    record = edge.one()
    assert reply.json["event_id"] == ids.event_text("evt", record.event_id)
    assert [kind for kind, _digest in record.body[2]] == [1, 2, 6]
    assert [6, ids.parse_event("clk", click)] in record.body[2]
    assert edge.post("/v1/identify", {"program": "check"}).codes == ["no_identifier"]


def test_a_batch_answers_each_event_in_order(edge: Running) -> None:
    events = [
        {"type": "conversion", "program": "check", "event": "lead", "customer_id": "c"},
        {"type": "conversion", "program": "check"},
        {"type": "identify", "program": "check", "customer_id": "c"},
        {"type": "click", "program": "check", "partner": "prt_7"},
        {"type": "nope"},
        {},
        5,
    ]
    reply = edge.post("/v1/events", events)
    assert reply.status == 207
    rows = reply.json
    assert [row["index"] for row in rows] == list(range(7))
    assert [row["status"] for row in rows] == [202, 422, 202, 201, 422, 422, 422]
    assert [row["code"] for row in rows[:2]] == [None, "required"]
    assert [(row["id"] or "")[:4] for row in rows] == ["cnv_", "", "evt_", "clk_", "", "", ""]
    assert len(edge.take()) == 3
    assert edge.call("GET", f"/v1/conversions/{rows[0]['id']}", key=KEY).json["status"] == "pending"


@pytest.mark.parametrize("extra", [0, 1])
def test_b5_a_batch_is_bounded(edge: Running, extra: int) -> None:
    event = {"type": "identify", "program": "check", "customer_id": "c"}
    reply = edge.post("/v1/events", [event] * (limits.BATCH_EVENTS_MAX + extra))
    assert reply.status == (413 if extra else 207)
    assert len(edge.take()) == (0 if extra else limits.BATCH_EVENTS_MAX)


def test_a_batch_is_an_array(edge: Running) -> None:
    assert edge.post("/v1/events", {}).status == 422


def test_an_idempotency_key_makes_a_repeat_the_same_event(edge: Running) -> None:
    body = {"program": "check", "event": "lead", "customer_id": "c"}
    first = edge.post("/v1/conversions", body, Idempotency_Key="k-1")
    assert first.status == 201
    record = edge.one()
    again = edge.post("/v1/conversions", body, Idempotency_Key="k-1")
    assert again.status == 200
    assert again.json["conversion_id"] == first.json["conversion_id"]
    assert not edge.take()
    edge.hub.stored.clear()
    edge.hub.outcome = None
    later = edge.post("/v1/conversions", body, Idempotency_Key="k-1")
    assert later.status == 202
    assert later.json["conversion_id"] == first.json["conversion_id"]
    assert edge.one().event_id == record.event_id
    other = edge.post("/v1/conversions", {**body, "customer_id": "d"}, Idempotency_Key="k-1")
    assert (other.status, other.json["code"]) == (409, "idempotency_conflict")
    assert not edge.take()


def test_a_refused_body_does_not_use_up_its_key(edge: Running) -> None:
    body = {"program": "check", "event": "lead"}
    assert edge.post("/v1/conversions", body, Idempotency_Key="k-2").status == 422
    body["customer_id"] = "c"
    assert edge.post("/v1/conversions", body, Idempotency_Key="k-2").status == 201


def test_a_repeat_of_a_conflict_is_a_conflict(edge: Running) -> None:
    edge.hub.outcome = "conflict"
    body = {"program": "check", "event": "sale", "order_id": "C", "customer_id": "c"}
    for _ in range(2):
        reply = edge.post("/v1/conversions", body, Idempotency_Key="k-3")
        assert (reply.status, reply.json["code"]) == (409, "order_conflict")
    assert len(edge.take()) == 1


@pytest.mark.parametrize("path", ["/v1/clicks", "/v1/identify"])
def test_observations_take_an_idempotency_key_too(edge: Running, path: str) -> None:
    body = {"program": "check", "partner": "prt_7", "customer_id": "c"}
    answers = [edge.post(path, body, Idempotency_Key="k-4").json for _ in range(2)]
    assert answers[0] == answers[1]
    first, second = edge.take()
    assert first.event_id == second.event_id


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_an_idempotency_key_is_plain(edge: Running, key: str) -> None:
    body = {"program": "check", "event": "lead", "customer_id": "c"}
    headers = {"Idempotency-Key": key.encode("utf-8").decode("latin-1")}
    assert edge.call("POST", "/v1/conversions", body, headers, KEY).status == 422


def test_a_partners_key_reports_its_own_clicks_and_nothing_else(edge: Running) -> None:
    secret = "key-of-a-partner"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    edge.edge.table.apply(
        "key", 70, {"sha256": digest, "scopes": ["events"], "brand": 1, "partner": 7}
    )
    order = {"program": "check", "event": "sale", "order_id": "P", "customer_id": "c"}
    identify = {"program": "check", "customer_id": "c"}
    batch = [{"type": "conversion", **order}, {"type": "identify", **identify}]
    batch += [{"type": "click", "program": "check", "partner": "prt_7"}]
    own = [{"partner_id": "prt_7"}]
    try:
        assert edge.call("POST", "/v1/conversions", order, key=secret).status == 403
        assert edge.call("POST", "/v1/identify", identify, key=secret).status == 403
        query = urlencode({**order, "token": secret})
        assert edge.call("GET", f"/postback?{query}").body == b"forbidden"
        rows = edge.call("POST", "/v1/events", batch, key=secret).json
        assert [row["status"] for row in rows] == [403, 403, 201]
        assert edge.one().kind == 1
        told = edge.post("/v1/conversions", order).json["conversion_id"]
        for seen, status in (([], 404), ([{"partner_id": "prt_8"}], 404), (own, 200)):
            edge.hub.stored[told]["credits"] = seen
            reply = edge.call("GET", f"/v1/conversions/{told}", key=secret)
            assert reply.status == status
        edge.hub.stored[told]["credits"] = [*own, {"partner_id": "prt_8"}]
        scored = {"score": 45, "verdict": "review", "codes": ["IP_VELOCITY"]}
        edge.hub.stored[told]["fraud"] = scored
        seen_by_partner = edge.call("GET", f"/v1/conversions/{told}", key=secret).json
        assert seen_by_partner["credits"] == own
        assert seen_by_partner["fraud"] == {"score": None, "verdict": "review", "codes": []}
    finally:
        edge.edge.table.apply("key", 70, None)


def test_a_partners_click_names_no_persons(edge: Running) -> None:
    """Else whoever knows the hash of an address earns that person's next order."""
    secret = "key-of-a-partner"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    edge.edge.table.apply(
        "key", 70, {"sha256": digest, "scopes": ["events"], "brand": 1, "partner": 7}
    )
    persons = {"email": "a@shop.example", "customer_id": "c", "phone": "+4930123456"}
    body = {"program": "check", "partner": "prt_7", "external_click_id": "x", **persons}
    try:
        reply = edge.call("POST", "/v1/clicks", {**body, "device_id": "d-1"}, key=secret)
        assert reply.status == 201
        assert len(reply.json["warnings"]) == 4
        edge.call("POST", "/v1/events", [{"type": "click", **body}], key=secret)
        for record in edge.take():
            assert [kind for kind, _ in record.body[4]] == [IdentifierType.EXTERNAL_CLICK]
    finally:
        edge.edge.table.apply("key", 70, None)


def test_what_is_sent_again_under_its_key_is_counted_once(edge: Running) -> None:
    body = {"program": "check", "partner": "prt_7", "customer_id": "c"}
    batch = [{"type": "click", **body}, {"type": "identify", **body}]
    before = accepted(edge)
    for _ in range(2):
        edge.post("/v1/clicks", body, Idempotency_Key="k-5")
        edge.post("/v1/identify", body, Idempotency_Key="k-5")
        edge.post("/v1/events", batch, Idempotency_Key="k-5")
    assert accepted(edge) - before == 4


def accepted(edge: Running) -> float:
    """Clicks and identifies the metrics count as accepted."""
    edge.flush()
    counts = [metrics.EVENTS_ACCEPTED.labels(kind)._value.get() for kind in ("click", "identify")]
    return float(sum(counts))


def test_a_click_may_name_partner_and_link_by_external_ids(edge: Running) -> None:
    table = edge.edge.table
    table.apply("partner", 7, {"name": "Seven", "status": "active", "external_id": "crm 7"})
    table.apply("link", 1, edge_tools.link(external_id="banner/ä"))
    table.apply("link", 9, edge_tools.link(code="foreign", program=2, external_id="banner/ä"))
    click = {"program": "check", "partner": "ext:crm 7", "link": "ext:banner/ä"}
    try:
        assert edge.post("/v1/clicks", click).status == 201
        assert edge.one().body[:3] == (1, 7, 1)
        for fields, code in (
            ({"partner": "ext:"}, "unknown_partner"),
            ({"partner": "ext:nobody"}, "unknown_partner"),
            ({"link": "ext:nothing"}, "unknown_link"),
        ):
            assert edge.post("/v1/clicks", {"program": "check", **fields}).codes[0] == code
        # An external id that goes to another partner leaves nothing behind.
        table.apply("partner", 8, {"status": "active", "external_id": "crm 7"})
        table.apply("partner", 7, {"name": "Seven", "status": "active"})
        assert table.partner_number("ext:crm 7") == 8
        table.apply("partner", 8, None)
        assert table.partner_number("ext:crm 7") is None
    finally:
        edge_tools.fill(table)
    assert edge.post("/v1/clicks", click).status == 422
