"""Names of other networks: the tables, what a report under them becomes, and docs/aliases.md."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import pytest

import alias_tools
import edge_tools
from alias_tools import CLICK, postback, use
from edge_tools import IDENTITY_KEY, KEY, Running
from headwater import _core, ids
from headwater.edge import collect, fields, flat, naming, page_address
from headwater.model import aliases
from headwater.model.reasons import REASONS

edge, ordinary = edge_tools.edge, edge_tools.ordinary
only_own_aliases = alias_tools.only_own_aliases
PAGE = (Path(__file__).parents[2] / "docs" / "aliases.md").read_text("utf-8")


# ---- The tables ------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", sorted(aliases.PRESETS))
def test_a_preset_names_fields_that_are_there_and_each_name_once(preset: str) -> None:
    seen: set[str] = set()
    for group in aliases.PRESETS[preset]:  # type: ignore[index]
        assert group.source.startswith("https://")
        for name, target in group.names.items():
            assert name == name.lower()
            assert name not in aliases.TAKEN
            assert target in aliases.TARGETS or target.startswith(aliases.PROPERTY)
            assert name not in seen
            seen.add(name)


def test_no_two_presets_read_a_name_differently() -> None:
    for one, other in itertools.combinations(aliases.PRESETS, 2):
        first, second = aliases.names_of(one), aliases.names_of(other)
        assert all(first[name] == second[name] for name in first.keys() & second.keys())


def test_the_fields_of_the_tables_are_those_of_events() -> None:
    shapes = (fields.ConversionIn, fields.ClickIn, fields.IdentifyIn, page_address.PageIn)
    known = frozenset[str]().union(*map(naming.names_of, shapes)) - {"url"}
    assert known == aliases.FIELDS
    assert aliases.TAKEN | {"_"} >= flat._OWN
    assert naming._ITEM.keys() == set(aliases.ITEM_PARTS)
    assert collect._EXTRA <= aliases.TAKEN


def test_a_programs_own_names_go_before_its_presets() -> None:
    found = aliases.merged(["konnektive"], {"C1": "click_id"})
    assert (found["c1"], found["c2"]) == ("click_id", "sub2")
    assert aliases.merged(["of-tomorrow"], {}) == {}


# ---- Reports under other names ---------------------------------------------------------------


def test_names_have_no_case_and_values_do(edge: Running) -> None:
    use(edge, "impact")
    query = f"TOKEN={KEY}&EVENTTYPECODE=sale&clickID={CLICK}&oid=Aa-1&AMOUNT=5&customerid=Cc"
    assert postback(edge, query) == (200, "OK")
    body = edge.one().body
    assert (body[3], body[8][0]) == ("Aa-1", 500)
    assert [1, _core.identifier_digest(IDENTITY_KEY, 1, "customer_id", "Cc")] in body[7]


def test_two_names_of_one_field_agree_or_are_refused(edge: Running) -> None:
    use(edge, "keitaro")
    query = {"token": KEY, "subid": CLICK, "status": "sale", "tid": "K-1", "payout": "5"}
    assert postback(edge, {**query, "revenue": "5"}) == (200, "OK")
    edge.take()
    assert postback(edge, {**query, "revenue": "6"}) == (422, "alias_conflict")
    assert postback(edge, {**query, "Payout": "7"}) == (422, "alias_conflict")
    assert not edge.take()
    order = {"program": "check", "event": "sale", "order_id": "K-1", "tid": "K-2", "amount": 5}
    reply = edge.post("/v1/conversions", {**order, "customer_id": "c"})
    assert (reply.status, reply.json["code"]) == (422, "alias_conflict")
    assert [fault["field"] for fault in reply.json["errors"]] == ["order_id"]
    assert "K-2" not in reply.body.decode()
    rows = edge.post("/v1/events", [{"type": "conversion", **order}]).json
    assert (rows[0]["status"], rows[0]["code"]) == (422, "alias_conflict")


def test_a_conflict_on_the_pixel_is_kept_as_a_rejection(edge: Running) -> None:
    use(edge, "keitaro")
    query = "program=check&event=sale&customer_id=c&tid=1&order_id=2"
    assert edge.call("GET", f"/px.gif?{query}").status == 200
    assert edge.one().body[14] == "alias_conflict"


def test_a_conflict_of_the_tag_is_kept_as_a_rejection(edge: Running) -> None:
    use(edge, "keitaro")
    event = {"type": "conversion", "program": "check", "event": "sale", "tid": "1"}
    body = json.dumps({**event, "order_id": "2", "customer_id": "c"}).encode()
    reply = edge.call("POST", "/v1/collect", body, {"Content-Type": "text/plain"})
    assert (reply.status, reply.json["code"]) == (422, "alias_conflict")
    assert edge.one().body[14] == "alias_conflict"


def test_a_number_and_its_text_are_one_value(edge: Running) -> None:
    use(edge, "keitaro")
    body = b'{"program":"check","event":"sale","tid":"1","payout":"5.10","revenue":5.10,'
    reply = edge.call("POST", "/v1/conversions", body + b'"customer_id":"c"}', None, KEY)
    assert reply.status == 201
    assert edge.one().body[8][0] == 510


@pytest.mark.parametrize("extra", [0, 1])
def test_a_kept_value_is_cut_at_its_bound_and_that_is_told(edge: Running, extra: int) -> None:
    use(edge, "everflow")
    value = "v" * (255 + extra)
    query = {"token": KEY, "event": "sale", "transaction_id": CLICK, "order_id": "E-1"}
    assert postback(edge, {**query, "adv1": value, "adv2": "x"}) == (200, "OK")
    flagged = {"truncated": "adv1"} if extra else {}
    assert edge.one().body[12] == {"adv1": "v" * 255, "adv2": "x", **flagged}
    del query["token"]
    reply = edge.post("/v1/conversions", {"program": "check", **query, "ADV1": value})
    assert reply.status == 201
    assert reply.json["warnings"] == (["value cut to 255 bytes: adv1"] if extra else [])
    assert edge.one().body[12] == {"adv1": "v" * 255, **flagged}


def test_an_order_id_is_never_cut(edge: Running) -> None:
    use(edge, "everflow", oid="order_id")
    query = {"token": KEY, "event": "sale", "transaction_id": CLICK, "oid": "o" * 256}
    assert postback(edge, query) == (422, "value_too_long")


def test_what_has_no_field_in_the_event_is_kept_with_it(edge: Running) -> None:
    use(edge, "konnektive")
    query = {"token": KEY, "event": "lead", "click_id": CLICK, "c1": "a", "affId": "7"}
    assert postback(edge, query) == (200, "OK")
    assert edge.one().body[12] == {"sub1": "a", "aff_id": "7"}
    click = {"program": "check", "partner": "prt_7", "C1": "a", "c2": "b" * 300}
    assert edge.post("/v1/clicks", click).status == 201
    assert edge.one().body[5] == {"sub1": "a", "sub2": "b" * 255, "truncated": "sub2"}


def test_a_networks_address_field_takes_it_plain_or_hashed(edge: Running) -> None:
    use(edge, "impact")
    mail = "a@shop.example"
    hashed = {
        "email": mail.upper(),
        "email_sha256": "d3c3b0b0" + "0" * 56,
        "email_sha1": "0123456789abcdef0123456789abcdef01234567",
    }
    for name, value in hashed.items():
        body = {"program": "check", "event": "lead", "CustomerEmail": value}
        assert edge.post("/v1/conversions", body).status == 201
        normal = value.lower() if name == "email" else value
        digest = _core.identifier_digest(IDENTITY_KEY, 1, name, normal)
        assert [3, digest] in edge.one().body[7]


def test_a_networks_secret_is_never_kept(edge: Running) -> None:
    use(edge, "tune")
    body = {"program": "check", "event": "lead", "customer_id": "c", "security_token": "s3cret"}
    assert edge.post("/v1/conversions", body).json["warnings"] == [
        "unknown field ignored: security_token"
    ]
    assert b"s3cret" not in edge.writer.records[0][1]
    edge.take()
    assert edge.call("GET", f"/px.gif?{urlencode(body)}").status == 200
    assert b"s3cret" not in edge.writer.records[0][1]


IMPACT_ITEMS = {
    "ItemSku2": "S-2",
    "ItemQuantity2": "3",
    "ItemSubTotal2": "4.50",
    "ItemSku1": "S-1",
    "ItemName1": "Socks",
    "ItemCategory1": "wear",
    "ItemQuantity1": 2,
    "amt1": "1.00",
}


def test_items_by_number_are_the_array_in_a_body_and_in_a_query(edge: Running) -> None:
    use(edge, "impact")
    order = {"program": "check", "event": "sale", "order_id": "A", "customer_id": "c"}
    expected = [["S-1", "Socks", "wear", 2, 100], ["S-2", None, None, 3, 450]]
    assert edge.post("/v1/conversions", {**order, **IMPACT_ITEMS}).json["warnings"] == []
    assert edge.one().body[11] == expected
    assert postback(edge, {"token": KEY, **order, **IMPACT_ITEMS}) == (200, "OK")
    assert edge.one().body[11] == expected
    sent = json.dumps({"type": "conversion", **order, **IMPACT_ITEMS}).encode()
    assert edge.call("POST", "/v1/collect", sent, {"Content-Type": "text/plain"}).status == 201
    assert edge.one().body[11] == expected
    twice = {**order, "items": [{"sku": "S-1"}], "ItemSku1": "S-1"}
    reply = edge.post("/v1/conversions", twice)
    assert (reply.status, reply.json["errors"][0]["field"]) == (422, "items")


@pytest.mark.parametrize("number", [20, 21])
def test_items_by_number_end_at_twenty(edge: Running, number: int) -> None:
    order = {"program": "check", "event": "sale", "order_id": "A", "customer_id": "c"}
    reply = edge.post("/v1/conversions", {**order, f"sku{number}": "S"})
    assert reply.status == 201
    assert len(edge.one().body[11]) == (number == 20)
    assert len(reply.json["warnings"]) == (number == 21)


# ---- Status, and the answer ------------------------------------------------------------------


STATUS = {"token": KEY, "subid": CLICK, "tid": "S-1", "payout": "5"}


@pytest.mark.parametrize(
    ("status", "event_type"), [("lead", 2), ("sale", 1), ("rebill", 1), ("SALE", 1)]
)
def test_a_status_says_which_event_it_is(edge: Running, status: str, event_type: int) -> None:
    use(edge, "keitaro")
    assert postback(edge, {**STATUS, "status": status}) == (200, "OK")
    body = edge.one().body
    assert body[2] % 10 == event_type
    assert (body[12], body[14]) == ({"status": status}, None)


@pytest.mark.parametrize("status", ["approved", "pending"])
def test_a_status_that_names_no_event_needs_one(edge: Running, status: str) -> None:
    use(edge, "keitaro")
    assert postback(edge, {**STATUS, "status": status}) == (422, "required")
    assert postback(edge, {**STATUS, "status": status, "event": "sale"}) == (200, "OK")


@pytest.mark.parametrize("status", ["rejected", "invalid", "trash", "Rejected"])
def test_a_rejection_is_kept_as_one_and_never_a_conversion(edge: Running, status: str) -> None:
    use(edge, "keitaro")
    assert postback(edge, {**STATUS, "status": status, "event": "sale"}) == (200, "OK")
    record = edge.one()
    assert (record.brand, record.body[14]) == (1, "status_rejected")
    assert (record.body[3], record.body[4], record.body[7]) == ("S-1", "main", [])
    body = {"program": "check", "event": "sale", "order_id": "S-1", "customer_id": "c"}
    reply = edge.post("/v1/conversions", {**body, "status": status})
    assert (reply.status, reply.json["code"]) == (422, "status_rejected")
    assert not edge.take()


def test_an_unknown_status_is_refused(edge: Running) -> None:
    use(edge, "keitaro")
    assert postback(edge, {**STATUS, "status": "billed"}) == (422, "required")
    query = {**STATUS, "status": "billed", "event": "sale"}
    assert postback(edge, query) == (422, "unknown_status")
    assert not edge.take()


def test_lists_turn_a_networks_words_into_known_ones(edge: Running) -> None:
    use(edge, "keitaro")
    lists = {
        "lead_status": "reg, topup",
        "sale_status": "billed",
        "rejected_status": "canceled,fake",
        "ignore_status": "ping",
    }
    expected = {"topup": None, "Billed": None, "fake": "status_rejected", "ping": "status_ignored"}
    for word, refused in expected.items():
        assert postback(edge, {**STATUS, **lists, "status": word}) == (200, "OK")
        body = edge.one().body
        assert body[14] == refused
        if refused is None:
            assert body[12]["original_status"] == word


@pytest.mark.parametrize("text", ["OK", '{"ok":true}', "x" * 64, "success=true;"])
def test_a_network_gets_the_answer_it_waits_for(edge: Running, text: str) -> None:
    use(edge, "keitaro")
    query = {**STATUS, "status": "sale", "return": text}
    assert postback(edge, query) == (200, text)
    assert postback(edge, {**query, "status": "trash"}) == (200, text)


# ---- The page --------------------------------------------------------------------------------


def examples() -> list[tuple[str, str]]:
    return re.findall(r"^([a-z]+) +(/postback\?\S+)$", PAGE, re.MULTILINE)


def test_every_preset_has_an_address_on_the_page() -> None:
    assert [name for name, _path in examples()] == list(aliases.PRESETS)


@pytest.mark.parametrize(("preset", "path"), examples())
def test_every_address_on_the_page_works_as_printed(edge: Running, preset: str, path: str) -> None:
    use(edge, preset)
    made = path.replace("CODE", "check").replace("KEY", quote(KEY)).replace("CLICK", CLICK)
    reply = edge.call("GET", made)
    assert (reply.status, reply.body) == (200, b"OK")
    body = edge.one().body
    sent = dict(parse_qsl(path.partition("?")[2]))
    amounts = {"Amount", "amount", "payout", "orderTotal"}
    assert amounts & sent.keys()
    assert (body[3][:2], body[6], body[8][:2]) == (
        "A-",
        ids.parse_event("clk", CLICK),
        [1990, "EUR"],
    )
    assert body[14] is None


def test_the_page_has_every_name_of_every_preset() -> None:
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    for preset in aliases.PRESETS:
        assert spelled(rows[preset]) == aliases.names_of(preset)


def spelled(cell: str) -> dict[str, str]:
    """A row of the page: "`adv1-5` properties.adv1-5, ..."."""
    found = {}
    for name, target in re.findall(r"`([^`]+)` ([a-z0-9_.-]+)", cell):
        span = re.search(r"(\d+)-(\d+)$", name)
        numbers = range(int(span[1]), int(span[2]) + 1) if span else [None]
        for number in numbers:
            found[numbered(name, number)] = numbered(target, number)
    return found


def numbered(text: str, number: int | None) -> str:
    return text if number is None else re.sub(r"\d+-\d+$", str(number), text)


def test_the_page_tells_of_every_reason() -> None:
    codes = (
        "alias_conflict",
        "pii_in_value",
        "unknown_status",
        "status_rejected",
        "status_ignored",
    )
    for code in codes:
        assert code in REASONS
        assert f"`{code}`" in PAGE
