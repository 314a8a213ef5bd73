"""What a sender, or a rival who guesses names, may try with names of other networks."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import urlencode

import pytest

import alias_tools
import edge_tools
from alias_tools import CLICK, postback, use
from edge_tools import KEY, Running
from headwater.model import aliases
from headwater.model.records import Flag, IdentifierType

edge, ordinary = edge_tools.edge, edge_tools.ordinary
only_own_aliases = alias_tools.only_own_aliases
STATUS = {"token": KEY, "subid": CLICK, "tid": "S-1", "payout": "5"}


def test_a_card_number_is_refused_where_it_would_be_cut(edge: Running) -> None:
    use(edge, "everflow")
    query = {"token": KEY, "event": "lead", "transaction_id": CLICK}
    for before in (0, 200, 242, 250, 400):
        value = " " * before + "4111 1111 1111 1111"
        assert postback(edge, {**query, "adv1": value}) == (422, "card_number_refused")
    assert not edge.take()


def test_an_address_is_left_out_of_what_is_kept_even_where_it_would_be_cut(edge: Running) -> None:
    use(edge, "everflow", "keitaro", note="properties.note")
    query = {"token": KEY, "event": "sale", "transaction_id": CLICK, "order_id": "E-1"}
    for before in (0, 240, 250, 255, 400):
        value = "n" * before + " ada.lovelace@shop.example"
        fields = {"adv1": value, "adv2": "x", "note": value.replace("@", "%40")}
        assert postback(edge, {**query, **fields}) == (200, "OK")
        assert edge.one().body[12] == {"adv2": "x"}
    del query["token"]
    body = {
        "program": "check",
        **query,
        "adv1": "a@b.example",
        "properties": {"own": "a@b.example"},
    }
    told = "left out, for it holds an e-mail address: "
    assert edge.post("/v1/conversions", body).json["warnings"] == [told + "own", told + "adv1"]
    assert edge.one().body[12] == {}
    click = {"program": "check", "partner": "prt_7", "sub_id_1": "a@b.example", "sub_id_2": "s"}
    assert edge.post("/v1/clicks", click).json["warnings"] == [told + "sub1"]
    assert edge.one().body[5] == {"sub2": "s"}


@pytest.mark.parametrize("name", ["tid", "order_id", "line", "product_id", "promo_code"])
def test_an_address_is_refused_where_no_part_can_be_left_out(edge: Running, name: str) -> None:
    use(edge, "keitaro")
    query = {"token": KEY, "event": "lead", "subid": CLICK, name: "A-1-ada@shop.example"}
    assert postback(edge, query) == (422, "pii_in_value")
    assert not edge.take()
    # A rejection keeps the order's id; not this one.
    assert postback(edge, {**query, "status": "rejected"}) == (200, "OK")
    assert edge.one().body[3] is None


def test_a_text_in_place_of_an_object_is_refused_with_a_status_as_well(edge: Running) -> None:
    query = f"token={KEY}&event=sale&order_id=1&click_id={CLICK}&properties=x"
    assert postback(edge, query) == (422, "invalid")
    assert postback(edge, f"{query}&status=billed&sale_status=billed") == (422, "invalid")


def test_the_names_of_what_was_cut_are_cut_themselves(edge: Running) -> None:
    names = [f"{'n' * 62}{number}" for number in range(6)]
    use(edge, **{f"a{number}": f"properties.{name}" for number, name in enumerate(names)})
    query = {"token": KEY, "event": "lead", "click_id": CLICK}
    query |= {f"a{number}": "v" * 256 for number in range(6)}
    assert postback(edge, query) == (200, "OK")
    kept = edge.one().body[12]
    assert kept.keys() == {*names, "truncated"}
    assert kept["truncated"] == ",".join(names)[:255]


@pytest.mark.parametrize(
    "sent",
    [
        "Program=other",
        "PROGRAM=yen",
        "Order_Id=B",
        "TID=B",
        "security_token=wrong",
        "Token=wrong",
        "payout=6",
        "CustomerEmail=b@shop.example&email=c@shop.example",
        "ItemSku1=S&sku1=T",
        "hw_test=1&test=0",
    ],
)
def test_no_second_name_overrules_the_first(edge: Running, sent: str) -> None:
    use(edge, "impact", "keitaro", "tune")
    good = f"token={KEY}&event=sale&subid={CLICK}&order_id=A&amount=5"
    assert postback(edge, f"{good}&{sent}") == (422, "alias_conflict")
    assert not edge.take()


def test_names_that_are_no_fields_of_an_event_do_not_stop_it(edge: Running) -> None:
    use(edge, "impact", "keitaro", "everflow")
    others = {"tid": "A", "oid": "B", "ADV1": "x", "adv1": "y", "ItemSku1": "S", "payout": ""}
    reply = edge.post("/v1/identify", {"program": "check", "customer_id": "c", **others})
    assert reply.status == 202
    assert reply.json["warnings"] == [f"unknown field ignored: {name}" for name in others]


@pytest.mark.parametrize(
    "sent",
    ["program=other", "order_id=B", "token=wrong", "amount=6", "order%5Fid=B", "%6frder_id=B"],
)
def test_of_a_name_sent_twice_the_first_counts(edge: Running, sent: str) -> None:
    good = f"token={KEY}&event=sale&click_id={CLICK}&order_id=A&amount=5"
    assert postback(edge, f"{good}&{sent}") == (200, "OK")
    body = edge.one().body
    assert (body[1], body[3], body[8][0]) == (1, "A", 500)


@pytest.mark.parametrize(
    "sent", ["order_id[]=B", "order_id%00=B", "order_id%20=B", "ORDER_%C4%B0D=B", "order_%C4%B1d=B"]
)
def test_a_name_that_looks_like_a_fields_is_none(edge: Running, sent: str) -> None:
    good = f"token={KEY}&event=sale&click_id={CLICK}"
    assert postback(edge, f"{good}&{sent}") == (422, "order_id_required")
    assert not edge.take()


def test_one_order_under_any_names_and_by_any_way_is_one_conversion(edge: Running) -> None:
    use(edge, *aliases.PRESETS)
    names = ("tid", "txid", "orderId", "oid", "conversion_unique_id", "rdtk_event_id", "order_id")
    found = set()
    for name in names:
        fields = {"event": "sale", name: "A-1", "customer_id": "c"}
        assert postback(edge, {"token": KEY, **fields}) == (200, "OK")
        found.add(edge.one().body[0])
        edge.call("GET", f"/px.gif?{urlencode({'program': 'check', **fields})}")
        found.add(edge.one().body[0])
        assert edge.post("/v1/conversions", {"program": "check", **fields}).status == 201
        found.add(edge.one().body[0])
    assert len(found) == 1


def test_one_programs_names_are_not_anothers(edge: Running) -> None:
    use(edge, "keitaro")
    query = {"token": KEY, "event": "lead", "subid": CLICK}
    assert postback(edge, query) == (200, "OK")
    reply = edge.call("GET", f"/postback?{urlencode({**query, 'program': 'yen'})}")
    assert (reply.status, reply.body) == (422, b"no_identifier")


def test_a_rejection_needs_a_key_of_the_programs_brand(edge: Running) -> None:
    use(edge, "keitaro")
    for token, code in (("wrong", "unauthorized"), (edge_tools.OTHER_KEY, "unknown_program")):
        query = {**STATUS, "status": "rejected", "event": "sale", "token": token}
        assert postback(edge, query)[1] == code
    assert not edge.take()


@pytest.mark.parametrize("text", ["<b>", "a\r\nSet-Cookie: x=1", "x" * 65, "é", "a\x00"])
def test_an_answer_that_could_be_a_page_or_a_header_is_refused(edge: Running, text: str) -> None:
    use(edge, "keitaro")
    query = {**STATUS, "status": "sale", "return": text}
    assert postback(edge, query) == (422, "invalid")
    # Nobody without a key has a word in the answer at all.
    assert postback(edge, {**query, "token": "wrong"}) == (401, "unauthorized")
    assert not edge.take()


# ---- A rival partner, and pages anybody may write ---------------------------------------------

PERSON = {
    "CustomerId": "c-7",
    "CustomerEmail": "ada@shop.example",
    "CustomProfileId": "p-7",
    "GoogAId": "d-7",
}


def with_partners_key(edge: Running) -> str:
    """A key that one partner has for reporting its own clicks."""
    digest = hashlib.sha256(b"of-partner-7").hexdigest()
    value = {"sha256": digest, "scopes": ["events"], "brand": 1, "partner": 7}
    edge.edge.table.apply("key", 70, value)
    return "of-partner-7"


def test_a_partner_ties_nobody_to_its_click_by_another_name(edge: Running) -> None:
    use(edge, "impact")
    body = {"program": "check", "partner": "prt_7", **PERSON, "CustomClickId": "own"}
    reply = edge.call("POST", "/v1/clicks", body, None, with_partners_key(edge))
    assert reply.status == 201
    assert len(reply.json["warnings"]) == len(PERSON)
    assert [kind for kind, _digest in edge.one().body[4]] == [IdentifierType.EXTERNAL_CLICK]


@pytest.mark.parametrize("fields", [{"partner": "ext:rival"}, {"link": "ext:rival's"}])
def test_a_partner_reports_for_no_other_by_an_external_id(
    edge: Running, fields: dict[str, str]
) -> None:
    table = edge.edge.table
    rival = {"name": "Nine", "status": "active", "external_id": "rival"}
    table.apply("partner", 9, rival)
    table.apply("enrolment", 91, {"program": 1, "partner": 9, "status": "active"})
    table.apply("link", 5, edge_tools.link(code="nine", partner=9, external_id="rival's"))
    try:
        body = {"program": "check", **fields}
        assert edge.post("/v1/clicks", body).status == 201
        edge.take()
        reply = edge.call("POST", "/v1/clicks", body, None, with_partners_key(edge))
        assert (reply.status, reply.json["code"]) == (403, "forbidden")
        assert not edge.take()
    finally:
        table.apply("partner", 9, None)
        edge_tools.fill(table)


def test_a_page_says_nothing_by_another_name_that_it_may_not_say(edge: Running) -> None:
    use(edge, "impact", kind="touch_type")
    seen = {
        "IpAddress": "203.0.113.9",
        "UserAgent": "Forged/1.0",
        "EventDate": "2001-01-01T00:00:00Z",
    }
    click = {"type": "click", "program": "check", "partner": "prt_7", "kind": "impression"}
    plain = {"Content-Type": "text/plain"}
    sent = json.dumps({**click, **seen, **PERSON}).encode()
    assert edge.call("POST", "/v1/collect", sent, plain).status == 201
    record = edge.one()
    assert record.claim_ms is None
    assert (record.body[3] & Flag.SOFT_CLICK, record.body[3] & Flag.IMPRESSION) == (0, 0)
    kinds = {kind for kind, _digest in record.body[4]}
    assert kinds <= {IdentifierType.VISITOR}
    assert "Forged" not in repr(edge_tools.client_of(record))


def test_a_page_takes_no_order_back(edge: Running) -> None:
    use(edge, "keitaro")
    order = {"program": "check", "event": "sale", "tid": "S-1", "customer_id": "c"}
    sent = json.dumps({"type": "conversion", **order, "status": "rejected"}).encode()
    reply = edge.call("POST", "/v1/collect", sent, {"Content-Type": "text/plain"})
    assert (reply.status, reply.json["code"]) == (422, "status_rejected")
    assert edge.one().body[14] == "status_rejected"
    pixel = urlencode({**order, "status": "trash"})
    assert edge.call("GET", f"/px.gif?{pixel}").status == 200
    record = edge.one()
    # Kept under an id of its own: the order's conversion is not touched, nor named.
    assert (record.body[3], record.body[14]) == (None, "status_rejected")
    assert record.event_id == record.body[0]


@pytest.mark.parametrize("name", ["u", "next", "redirect", "destination_url"])
def test_no_alias_leads_anywhere(edge: Running, name: str) -> None:
    """The names are of events alone: a link does not read them, a postback redirects nobody."""
    use(edge, *aliases.PRESETS, **{name: "referrer"})
    there = "https://evil.example/"
    reply = edge.call("GET", f"/c/spring_1?{urlencode({'referrer': there, 'ReferringUrl': there})}")
    assert "evil" not in reply.headers["Location"]
    edge.take()
    query = {"program": "check", "token": KEY, "event": "lead", "click_id": CLICK, name: there}
    reply = edge.call("GET", f"/postback?{urlencode(query)}")
    assert (reply.status, reply.body, reply.headers["Location"]) == (200, b"OK", None)
