"""What the features say of tracking methods, I0 to I23: a test for each row that has no other.

At a whole system: every event goes in by HTTP, and what became of it is read back by HTTP.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any
from urllib.parse import urlencode

import pytest

import row_tools
from row_tools import Shop, ago
from system_tools import System, wait_for

system = row_tools.system
_numbers = itertools.count()


@pytest.fixture
def shop(system: System) -> Shop:
    return Shop(system, f"shop-{next(_numbers)}")


def fire_pixel(shop: Shop, **fields: str) -> None:
    query = urlencode({"program": shop.code, "event": "sale", **fields})
    assert shop.system.edge("GET", f"/px.gif?{query}").status == 200


def test_i0_there_is_no_edition_and_each_method_has_a_switch(system: System) -> None:
    """The pixel answers its image all the same, and records nothing."""
    shop = Shop(system, f"shop-{next(_numbers)}", methods=["pixel"])
    refused = shop.post("conversions", event="sale", order_id="A", customer_id="c")
    assert (refused.status, refused.json["code"]) == (403, "method_disabled")
    shop.system.console.patch(f"/v1/programs/{shop.program}", {"methods": ["s2s"]})
    fire_pixel(shop, order_id="B", customer_id="c")
    shop.convert("A", customer_id="c")
    page = shop.system.console.get(f"/v1/conversions?program_id={shop.program}")
    assert [item["order_id"] for item in page["items"]] == ["A"]


@pytest.mark.parametrize("ways", [("pixel",), ("s2s",), ("pixel", "s2s"), ("s2s", "pixel")])
def test_i1_an_order_by_any_ways_is_one_and_the_same_conversion(
    shop: Shop, ways: tuple[str, ...]
) -> None:
    click_id = shop.clicked()
    for way in ways:
        if way == "pixel":
            fire_pixel(shop, order_id="A-1", amount="5.00", click_id=click_id)
        else:
            shop.convert("A-1", amount="5.00", click_id=click_id)
    found = shop.by_order("A-1")
    assert shop.credited(found) == [0]
    path = f"/v1/conversions/{found['conversion_id']}"

    def told() -> set[str]:
        return {report["source"] for report in shop.system.console.get(path)["reports"]}

    wait_for(lambda: told() == set(ways), 60, "every report is told")
    read = shop.system.console.get(path)
    assert (read["amount"], read["currency"], read["order_id"]) == ("5.00", "EUR", "A-1")
    # The id is the order's alone: it is the same whichever way came first.
    again = shop.convert("A-1", amount="5.00", click_id=click_id)
    assert again["conversion_id"] == found["conversion_id"]


def test_i2_the_pixel_is_43_bytes_and_its_faults_are_kept_by_reason(shop: Shop) -> None:
    answer = shop.system.edge("GET", f"/px.gif?program={shop.code}&event=sale&customer_id=c")
    assert (answer.status, len(answer.body), answer.body[:6]) == (200, 43, b"GIF89a")
    assert answer.headers["Content-Type"] == "image/gif"
    assert "no-store" in answer.headers["Cache-Control"]
    metric = 'headwater_rejections_total{reason="order_id_required",source="pixel"}'

    def counted() -> bool:
        return metric in shop.system.console.text("/metrics")

    wait_for(counted, 60, "the rejection is counted")


def test_i9_server_calls_neither_set_nor_read_a_cookie(shop: Shop) -> None:
    landed = shop.system.edge("GET", f"/c/{shop.links[0]['code']}")
    cookie = {"Cookie": landed.headers["Set-Cookie"].partition(";")[0]}
    click = {"program": shop.code, "partner": shop.partners[0]}
    sale = {"program": shop.code, "event": "sale", "order_id": "A-1", "customer_id": "c"}
    calls: list[tuple[str, Any, set[int]]] = [
        ("clicks", click, {201}),
        ("identify", {"program": shop.code, "customer_id": "c"}, {202}),
        ("conversions", sale, {201, 202}),
        ("events", [{"type": "click", **click}], {207}),
    ]
    for name, body, statuses in calls:
        answer = shop.system.edge("POST", f"/v1/{name}", body, shop.key, cookie)
        assert answer.status in statuses
        assert "Set-Cookie" not in answer.headers
    postback = urlencode({**sale, "order_id": "A-2", "token": shop.key})
    answer = shop.system.edge("GET", f"/postback?{postback}", headers=cookie)
    assert (answer.status, answer.headers["Set-Cookie"]) == (200, None)
    # The cookie's visitor clicked; the order of the same connection is nobody's.
    assert shop.credited(shop.by_order("A-1")) == []


def test_i10_a_stored_click_id_is_all_a_server_needs(shop: Shop) -> None:
    click_id = shop.clicked()
    postback = {"program": shop.code, "token": shop.key, "event": "sale", "click_id": click_id}
    query = urlencode({**postback, "order_id": "A-2", "amount": "1.00"})
    assert shop.system.edge("GET", f"/postback?{query}").body == b"OK"
    for decision in (shop.convert("A-1", click_id=click_id), shop.by_order("A-2")):
        assert shop.credited(decision) == [0]
        assert decision["credits"][0]["click_id"] == click_id


def test_i11_a_click_told_by_a_server_gives_a_click_id_and_takes_no_person_in_clear(
    shop: Shop,
) -> None:
    shop.system.console.patch(f"/v1/programs/{shop.program}", {"alias_presets": ["impact"]})
    seen = {
        "CustomProfileId": "profile-1",
        "CustomerEmail": hashlib.sha1(b"a@shop.example").hexdigest(),
        "IpAddress": "203.0.113.9",
        "UserAgent": "Mozilla/5.0",
        "ReferringUrl": "https://blog.example/best",
        "EventDate": ago(60),
        "consent": "granted",
    }
    click_id = shop.told_click(**seen)
    read = shop.system.console.get(f"/v1/clicks/{click_id}")
    assert (read["referrer"], read["address_prefix"]) == (
        "https://blog.example/best",
        "203.0.113.0/24",
    )
    refused = shop.post("clicks", partner=shop.partners[0], CustomerId="a@shop.example")
    assert (refused.status, refused.json["code"]) == (422, "pii_in_customer_id")
    # Plain or hashed, the address leads to the click.
    assert shop.credited(shop.convert("A-1", CustomerEmail=" A@Shop.example ")) == [0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CustomerId", "c-77"),
        ("CustomProfileId", "6f1d7c1e-profile"),
        ("CustomClickId", "partners-own-click"),
        ("CustomerEmail", "b@shop.example"),
        ("GoogAId", "38400000-8cf0-11bd-b23e-10b96e40000d"),
        ("AppleIfa", "6D92078A-8246-4BA4-AE5B-76104861E7DC"),
    ],
)
def test_i12_one_attribution_key_is_enough_and_none_is_too_few(
    shop: Shop, name: str, value: str
) -> None:
    shop.system.console.patch(f"/v1/programs/{shop.program}", {"alias_presets": ["impact"]})
    shop.told_click(**{name: value})
    order = {"EventTypeCode": "sale", "EventDate": ago(0), "OrderId": "A-1"}
    answer = shop.post("conversions", **order, **{name: value})
    assert answer.status in (201, 202), answer.body
    assert shop.credited(shop.system.decision(answer, shop.key)) == [0]
    refused = shop.post("conversions", **{**order, "OrderId": "A-2"})
    assert (refused.status, refused.json["code"]) == (422, "no_identifier")


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_i13_the_same_events_in_any_order_give_the_same_credit(
    shop: Shop, order: tuple[int, ...]
) -> None:
    """Each event says when it happened; those that decide come before the order, in any order."""
    events = [
        {
            "type": "click",
            "partner": shop.partners[0],
            "visitor_id": "v-1",
            "occurred_at": ago(500),
        },
        {
            "type": "click",
            "partner": shop.partners[1],
            "visitor_id": "v-2",
            "occurred_at": ago(400),
        },
        {"type": "identify", "visitor_id": "v-1", "customer_id": "c", "occurred_at": ago(300)},
        {"type": "identify", "visitor_id": "v-2", "customer_id": "c", "occurred_at": ago(200)},
    ]
    for place in order:
        batch = [{"program": shop.code, **events[place]}]
        answer = shop.system.edge("POST", "/v1/events", batch, shop.key)
        assert answer.json[0]["code"] is None
    decision = shop.convert("A-1", customer_id="c")
    assert shop.credited(decision) == [1]
    told = shop.explained(decision)
    outcomes = [
        (shop.partners.index(each["partner_id"]), each["outcome"]) for each in told["candidates"]
    ]
    assert sorted(outcomes) == [(0, "older"), (1, "credited")]


def test_i14_every_match_is_found_by_exact_identifiers_and_shown_with_its_path(
    shop: Shop,
) -> None:
    """visitor → e-mail → customer; the same address and agent alone tie nobody."""
    agent = {"ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (same)"}
    first = shop.told_click(0, visitor_id="v-1", **agent)
    second = shop.told_click(1, device_id="d-1", **agent)
    stranger = shop.told_click(1, visitor_id="v-9", **agent)
    assert shop.post("identify", visitor_id="v-1", email="a@shop.example").status == 202
    assert shop.post("identify", email="a@shop.example", customer_id="c").status == 202
    assert shop.post("identify", device_id="d-1", customer_id="c").status == 202
    told = shop.explained(shop.convert("A-1", customer_id="c", **agent))
    found = {each["click_id"]: each for each in told["candidates"]}
    assert found.keys() == {first, second}
    assert stranger not in json.dumps(told)
    kinds = [step["from"]["type"] for step in found[first]["path"]]
    assert kinds == ["customer_id", "email", "visitor_id"]
    assert all(step["event_id"] for step in found[first]["path"])
    assert {each["outcome"] for each in found.values()} == {"credited", "older"}


def test_i6_it_is_told_how_orders_were_reported_and_by_what_they_matched(shop: Shop) -> None:
    safari = {
        "Host": "go.shop.example",
        "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    }
    landed = shop.system.edge("GET", f"/c/{shop.links[0]['code']}", headers=safari)
    visitor = {"Cookie": landed.headers["Set-Cookie"].partition(";")[0]}
    pixel = {"program": shop.code, "event": "sale", "order_id": "A-1", "amount": "1.00"}
    path = f"/px.gif?{urlencode(pixel)}"
    assert shop.system.edge("GET", path, headers={**safari, **visitor}).status == 200
    assert shop.credited(shop.by_order("A-1")) == [0]
    shop.convert("A-1", amount="1.00", customer_id="c")
    shop.convert("A-2", amount="1.00", customer_id="stranger")
    console, query = shop.system.console, f"program_id={shop.program}"
    told = console.get(f"/v1/reports/coverage?{query}")["total"]
    assert told == {"conversions": 2, "pixel_only": 0, "s2s_only": 1, "both": 1}
    told = console.get(f"/v1/reports/match-rate?{query}")
    assert {(row["browser"], row["cookie_origin"], row["matched"]) for row in told["rows"]} == {
        ("safari", "http", 1),
        ("unknown", "server", 0),
    }
    found = {row["identifier"]: row["matched"] for row in told["identifiers"]}
    assert found == {"customer_id": 0, "visitor_id": 1}
