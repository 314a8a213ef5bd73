"""The tag's events: what a page may say, from where, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

import edge_tools
from collect_tools import CLICK, HOST, SHOP, digest, sale, send, visitor_of
from edge_tools import Reply, Running, program
from headwater import ids, metrics
from headwater.model.records import Flag

edge, ordinary = edge_tools.edge, edge_tools.ordinary


# ---- Origins ---------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [SHOP, "https://a.wild.example", "https://b.a.wild.example"])
def test_the_programs_own_pages_read_the_answer(edge: Running, origin: str) -> None:
    reply = send(edge, _Origin=origin)
    assert reply.status == 202
    assert reply.headers["Access-Control-Allow-Origin"] == origin
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert reply.headers["Vary"] == "Origin"
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example.evil.example",
        "https://shop.example:8443",
        "https://wild.example",
        "https://notwild.example",
        "https://evil.example/.wild.example",
        "https://evil.example#.wild.example",
        "https://a@evil.wild.example",
        "https://" + "a." * 2000 + "wild.example:1",
        "shop.example",
    ],
)
def test_pages_of_others_are_refused_and_kept_as_a_rejection(edge: Running, origin: str) -> None:
    reply = sale(edge, _Origin=origin, _cookie=ids.visitor_id(), customer_id="c")
    assert (reply.status, reply.json["code"]) == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert "Set-Cookie" not in reply.headers
    record = edge.one()
    assert (record.body[14], record.brand, record.source) == ("origin_not_allowed", 1, 3)
    assert record.body[7] == []


def test_named_origins_stand_in_place_of_the_programs_hosts(edge: Running) -> None:
    named = ["https://app.example:8443"]
    edge.edge.table.apply("program", 5, program(code="yen", allowed_origins=named))
    try:
        assert send(edge, program="yen", _Origin=named[0]).status == 202
        assert send(edge, program="yen").status == 403
    finally:
        edge.edge.table.apply("program", 5, program(code="yen", currency="JPY"))
    assert send(edge, program="yen").status == 202


@pytest.mark.parametrize("origin", ["null", None])
def test_without_an_origin_the_cookie_is_neither_read_nor_set(
    edge: Running, origin: str | None
) -> None:
    reply = send(edge, "identify", _Origin=origin, _cookie=ids.visitor_id(), customer_id="c")
    assert reply.status == 202
    assert "Set-Cookie" not in reply.headers
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert edge.one().body[2] == [[1, digest("customer_id", "c")]]


def test_a_preflight_is_answered_for_pages_of_any_program(edge: Running) -> None:
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
    reply = edge.call("OPTIONS", "/v1/collect", headers=headers)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Access-Control-Allow-Origin"] == SHOP
    assert reply.headers["Access-Control-Allow-Methods"] == "POST"
    assert reply.headers["Access-Control-Allow-Headers"] == "content-type"
    other = edge.call("OPTIONS", "/v1/collect", headers={"Origin": "https://evil.example"})
    assert other.status == 204
    assert "Access-Control-Allow-Origin" not in other.headers


# ---- Events ----------------------------------------------------------------------------------


def test_i2_a_page_view_is_kept_without_what_is_personal(edge: Running) -> None:
    url = f"{SHOP}/a/jane%40b.example/c?q=secret&utm_source=x&sub1=jane@b.example&click_id=1#top"
    reply = send(edge, url=url, click_id=CLICK)
    assert reply.json["cookie"] == "set"
    record = edge.one()
    assert (record.kind, record.brand, record.trust, record.source) == (2, 1, 2, 3)
    assert record.body[1] == f"{SHOP}/a/*/c?utm_source=x"
    visitor = [8, digest("visitor_id", visitor_of(reply))]
    assert record.body[3] == [[6, bytes(range(16))], visitor]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//x", "https://[", "", "https://a.example/\n", "x" * 9000]
)
def test_what_is_no_address_of_a_page_is_not_kept(edge: Running, url: str) -> None:
    reply = send(edge, url=url)
    if reply.status == 202:
        assert edge.one().body[1] is None
    else:
        assert (reply.status, reply.json["code"]) == (422, "invalid")
        assert edge.one().body[14] == "invalid"


def test_i7_the_visitor_cookie_is_set_on_the_brands_own_host(edge: Running) -> None:
    reply = send(edge)
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "Path=/" in cookie
    assert "SameSite=Lax" in cookie
    assert f"Max-Age={30 * 86400}" in cookie
    assert reply.json["cookie_age_s"] == 30 * 86400
    again = send(edge, _cookie=visitor_of(reply))
    assert again.json["cookie"] == "http"
    assert "Set-Cookie" not in again.headers


def test_i5_on_a_host_of_another_site_no_cookie_is_set(edge: Running) -> None:
    reply = send(edge, _Host="track.example")
    assert reply.json["cookie"] == "none"
    assert "Set-Cookie" not in reply.headers


def test_i5_which_cookie_knew_the_visitor_is_kept_with_the_conversion(edge: Running) -> None:
    visitor, script = ids.visitor_id(), ids.visitor_id()
    sale(edge, _cookie=visitor, visitor_id=script, cookie_origin="js")
    record = edge.one()
    assert record.body[12] == {"cookie_origin": "http"}
    assert record.body[7] == [[8, digest("visitor_id", visitor)]]
    sale(edge, visitor_id=script, cookie_origin="js")
    record = edge.one()
    assert record.body[12] == {"cookie_origin": "js"}
    assert record.body[7] == [[8, digest("visitor_id", script)]]
    sale(edge, _cookie=visitor, _Host="track.example", cookie_origin="http")
    assert edge.one().body[12] == {"cookie_origin": "third_party"}
    sale(edge, customer_id="c", cookie_origin="http")
    assert edge.one().body[12] == {}


def test_i3_identify_ties_one_person_to_the_visitor(edge: Running) -> None:
    visitor = ids.visitor_id()
    assert send(edge, "identify", _cookie=visitor, customer_id="c").status == 202
    record = edge.one()
    assert (record.kind, record.trust, record.source) == (3, 2, 3)
    assert record.body[2] == [[1, digest("customer_id", "c")], [8, digest("visitor_id", visitor)]]
    assert send(edge, "identify", _cookie=visitor).status == 422
    assert edge.one().body[14] == "no_identifier"


def test_i4_a_conversion_of_the_tag(edge: Running) -> None:
    items = [{"sku": "a", "quantity": 2, "subtotal": 1.5, "category": "x", "name": "n"}]
    reply = sale(edge, customer_id="c", items=items, promo_code="P", customer_status="new",
                 url=f"{SHOP}/thanks?order=1")  # fmt: skip
    assert reply.status == 201
    assert set(reply.json) == {"conversion_id", "pixels", "warnings", "cookie", "cookie_age_s"}
    assert reply.json["pixels"] == []
    assert reply.json["warnings"] == []
    body = edge.one().body._asdict()
    assert body["money"] == [500, "EUR", None, None, None]
    assert body["items"] == [["a", "n", "x", 2, 150]]
    assert (body["promo_code"], body["customer_status"]) == ("P", "new")
    assert body["client"][2] == f"{SHOP}/thanks"


def test_i4_the_programs_own_names_are_taken(edge: Running) -> None:
    reply = send(edge, "conversion", event="sale", txid="T-9", payout="7", customer_id="c")
    assert reply.status == 201
    body = edge.one().body
    assert (body[3], body[8][0]) == ("T-9", 700)


def test_i4_a_sale_without_an_order_id_is_kept_as_a_rejection(edge: Running) -> None:
    counter = metrics.REJECTIONS.labels("tag", "order_id_required")
    edge.flush()
    before = counter._value.get()
    reply = sale(edge, order_id=None, customer_id="c")
    assert (reply.status, reply.json["code"]) == (422, "order_id_required")
    assert reply.headers["Access-Control-Allow-Origin"] == SHOP
    assert edge.one().body[14] == "order_id_required"
    edge.flush()
    assert counter._value.get() == before + 1


def test_a_page_is_not_told_who_earned_its_conversion(edge: Running) -> None:
    text = sale(edge, customer_id="c").body.decode()
    for word in ("credits", "partner", "fraud", "score", "attributed", "reason"):
        assert word not in text


def test_the_answer_carries_the_pixels_once(edge: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = [{"kind": "image", "url": "https://partner.example/p"}]
    monkeypatch.setattr(
        edge_tools,
        "decision_of",
        lambda text, brand: {"conversion_id": text, "brand": brand, "pixels": pixels},
    )
    assert sale(edge, customer_id="c").json["pixels"] == pixels
    edge.hub.outcome = "repeat"
    again = sale(edge, customer_id="c")
    assert (again.status, again.json["pixels"]) == (200, [])


def test_i1_the_same_order_with_another_amount_is_in_conflict(edge: Running) -> None:
    edge.hub.outcome = "conflict"
    reply = sale(edge, customer_id="c")
    assert (reply.status, reply.json["code"]) == (409, "order_conflict")
    assert edge.one().body[14] is None


def lead(edge: Running, event_id: str | None, **fields: Any) -> Reply:
    return send(edge, "conversion", event="lead", customer_id="c", event_id=event_id, **fields)


def test_a_lead_reported_again_under_its_event_id_is_the_same(edge: Running) -> None:
    event_id = ids.visitor_id()
    first = lead(edge, event_id)
    assert first.status == 201
    again = lead(edge, event_id)
    assert (again.status, again.json["conversion_id"]) == (200, first.json["conversion_id"])
    other = lead(edge, ids.visitor_id())
    assert (other.status, other.json["conversion_id"] != first.json["conversion_id"]) == (201, True)


def test_a_lead_that_falls_back_to_the_image_is_the_same_event(edge: Running) -> None:
    event_id = ids.visitor_id()
    lead(edge, event_id)
    first = edge.one()
    query = f"program=check&event=lead&customer_id=c&event_id={event_id}"
    assert edge.call("GET", f"/px.gif?{query}").status == 200
    again = edge.one()
    assert (again.event_id, again.body[0]) == (first.event_id, first.body[0])


@pytest.mark.parametrize("event_id", ["short", "x" * 65, "a b" * 8, 17, ["x" * 20]])
def test_an_event_id_of_another_form_is_refused(edge: Running, event_id: Any) -> None:
    assert lead(edge, event_id).status == 422
    assert edge.one().body[14] == "invalid"


# ---- Direct mode -----------------------------------------------------------------------------


def direct(edge: Running, **fields: Any) -> Reply:
    return send(edge, "click", **fields)


def test_i8_a_landing_page_reports_the_same_click_a_redirect_makes(edge: Running) -> None:
    edge.call("GET", "/c/spring_1?sub1=a&utm_source=b", headers={"Host": HOST})
    by_redirect = edge.one()
    reply = direct(edge, link="SPRING_1", sub1="a", utm_source="b", event_id=ids.visitor_id())
    assert reply.status == 201
    record = edge.one()
    assert ids.parse_event("clk", reply.json["click_id"]) == record.event_id
    assert (record.kind, record.trust, record.source) == (1, 2, 3)
    assert record.body[:3] == by_redirect.body[:3]
    assert record.body.params == by_redirect.body.params
    visitor = [8, digest("visitor_id", visitor_of(reply))]
    assert record.body.identifiers == [visitor]
    assert record.body.flags & Flag.NEW_VISITOR


def test_i8_a_landing_page_reloaded_reports_the_same_click(edge: Running) -> None:
    event_id = ids.visitor_id()
    first = direct(edge, partner="prt_7", event_id=event_id)
    again = direct(edge, partner="prt_7", event_id=event_id)
    assert first.json["click_id"] == again.json["click_id"]
    assert direct(edge, partner="prt_7").json["click_id"] != first.json["click_id"]


def test_i8_a_link_of_a_tracking_domain_is_found_by_its_host(edge: Running) -> None:
    assert direct(edge, link="own").status == 201
    assert direct(edge, link="own", _Host="track.example").status == 422


def test_a_click_of_a_page_names_no_person(edge: Running) -> None:
    reply = direct(edge, link="spring_1", email="a@b.example", customer_id="c", click_id=CLICK,
                   external_click_id="x", ip="203.0.113.9", user_agent="curl/8",
                   occurred_at="2026-01-01T00:00:00Z")  # fmt: skip
    record = edge.one()
    assert {kind for kind, _ in record.body.identifiers} == {7, 8}
    assert record.claim_ms is None
    assert record.body.client[:2] == ["127.0.0.0/24", edge_tools.BROWSER]
    assert reply.json["warnings"] == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "required"),
        ({"link": "nosuch"}, "unknown_link"),
        ({"link": "foreign"}, "unknown_link"),
        ({"link": "gone"}, "unknown_link"),
        ({"link": "late"}, "link_expired"),
        ({"link": "eight"}, "unknown_partner"),
        ({"partner": "prt_99"}, "unknown_partner"),
        ({"partner": "7"}, "unknown_partner"),
        ({"link": "spring_1", "partner": "prt_8"}, "unknown_partner"),
        ({"link": 7}, "invalid"),
    ],
)
def test_a_click_nobody_may_earn_is_refused(
    edge: Running, fields: dict[str, Any], code: str
) -> None:
    assert direct(edge, **fields).json["code"] == code
    record = edge.one()
    assert (record.kind, record.body[14]) == (4, code)


# ---- Consent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["gpc", "denied", "default"])
def test_without_consent_nothing_of_the_visitor_is_kept(edge: Running, said: str) -> None:
    fields: dict[str, Any] = {"_cookie": ids.visitor_id(), "visitor_id": ids.visitor_id()}
    if said == "gpc":
        fields |= {"_Sec_GPC": "1", "consent": "granted"}
    elif said == "denied":
        fields["consent"] = "denied"
    else:
        fields["program"] = "quiet"
    for kind, more in (
        ("page", {"url": f"{SHOP}/a"}),
        ("identify", {"customer_id": "c"}),
        ("click", {"partner": "prt_7"}),
        ("conversion", {"event": "sale", "order_id": "T-2"}),
    ):
        reply = send(edge, kind, **fields, **more)
        assert reply.status in (201, 202)
        assert reply.json["cookie"] == "denied"
        assert "Set-Cookie" not in reply.headers
        record = edge.one()
        body = record.body._asdict()
        assert body["flags"] == Flag.CONSENT_DENIED
        assert body["identifiers"] == []
        assert body["client"][:3] == [None, "desktop", None]
        assert body.get("url") is None


def test_a_silenced_order_counts_for_nobody_and_is_not_refused(edge: Running) -> None:
    assert sale(edge).status == 422
    assert sale(edge, consent="denied").status == 201
    assert sale(edge, consent="denied", click_id=CLICK).status == 201
    assert [record.body[6] for record in edge.take()] == [None, None, bytes(range(16))]


def test_consent_gives_the_cookie_and_takes_it_back(edge: Running) -> None:
    given = send(edge, "consent", program="quiet", consent="granted")
    assert (given.status, given.json["cookie"]) == (200, "set")
    visitor = visitor_of(given)
    taken = send(edge, "consent", program="quiet", consent="denied", _cookie=visitor)
    assert "hw_visitor=; Max-Age=0; Path=/" in taken.headers["Set-Cookie"]
    assert not edge.take()
    assert send(edge, "consent", program="nosuch", consent="denied").status == 422
