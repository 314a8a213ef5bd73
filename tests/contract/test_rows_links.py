"""What the features say of tracking links, P1 to P16: a test for each row that has no other.

At a whole system: every event goes in by HTTP, and what became of it is read back by HTTP.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

import row_tools
from headwater import clock
from headwater.errors import HeadwaterError
from row_tools import HOUR_S, Shop, ago
from system_tools import System, wait_for

system = row_tools.system
_numbers = itertools.count()


@pytest.fixture
def shop(system: System) -> Shop:
    return Shop(system, f"shop-{next(_numbers)}")


def test_p1_one_link_of_each_partner_brings_clicks_leads_and_sales(shop: Shop) -> None:
    codes = [link["code"] for link in shop.links]
    assert len(set(codes)) == 2
    with pytest.raises(HeadwaterError, match="conflict"):
        shop.system.console.post(
            "/v1/links",
            {
                "program_id": shop.program,
                "partner_id": shop.partners[1],
                "code": codes[0].upper(),
            },
        )
    click_id = shop.clicked(1)
    for event in ("lead", "sale"):
        assert shop.credited(shop.convert("A-1", event, click_id=click_id)) == [1]


def test_p2_a_link_is_one_key_among_several(shop: Shop) -> None:
    """A customer's earlier click, a promo code, and a click id of the order's own."""
    code = {"code": "SPRING", "partner_id": shop.partners[1]}
    shop.system.console.post(f"/v1/programs/{shop.program}/promo-codes", code)
    shop.told_click(0, customer_id="c")
    assert shop.credited(shop.convert("A-1", customer_id="c")) == [0]
    assert shop.credited(shop.convert("A-2", promo_code="spring")) == [1]
    assert shop.credited(shop.convert("A-3", customer_id="c", promo_code="SPRING")) == [1]
    late = shop.clicked(1)
    assert shop.credited(shop.convert("A-4", customer_id="c", click_id=late)) == [1]


def test_p3_clicks_views_leads_sales_and_custom_events_carry_the_click_id(shop: Shop) -> None:
    click_id = shop.clicked()
    page = {"type": "page", "program": shop.code, "click_id": click_id}
    headers = {"Content-Type": "text/plain", "Origin": "https://shop.example"}
    body = json.dumps({**page, "url": "https://shop.example/landing"}).encode()
    assert shop.system.edge("POST", "/v1/collect", body, headers=headers).status == 202
    for event in ("lead", "sale", "trial"):
        decision = shop.convert(f"A-{event}", event, click_id=click_id)
        assert [credit["click_id"] for credit in decision["credits"]] == [click_id]


def test_p7_a_partner_may_open_its_own_click_and_read_why(shop: Shop) -> None:
    lost, won = shop.told_click(0, customer_id="c"), shop.told_click(1, customer_id="c")
    shop.convert("A-1", customer_id="c")
    told = []
    for partner, click_id in ((0, lost), (1, won)):
        path = f"/v1/partners/{shop.partners[partner]}/conversions/{click_id}/explain"
        told.append(shop.system.console.get(path))
    assert [each["touches"][0]["outcome"] for each in told] == ["older", "credited"]
    # Neither reads of the other.
    assert shop.partners[1] not in json.dumps(told[0])
    assert won not in json.dumps(told[0])


def test_p8_what_is_credited_to_nobody_is_reported_with_its_reason(shop: Shop) -> None:
    shop.convert("A-1", customer_id="nobody-knows")
    shop.post("identify", customer_id="known", email="k@shop.example")
    shop.convert("A-2", customer_id="known")
    shop.told_click(0, customer_id="old", occurred_at=ago(31 * 24 * HOUR_S))
    shop.convert("A-3", customer_id="old")
    report = shop.system.console.get(f"/v1/reports/unattributed?program={shop.code}")
    reasons = {item["order_id"]: item["reason"] for item in report["items"]}
    assert reasons == {"A-1": "no_identifier_known", "A-2": "no_touch", "A-3": "outside_window"}
    assert report["items"][0]["nearest_miss"]["partner_id"] == shop.partners[0]


def test_p12_p14_clicks_are_counted_by_link_partner_and_day(shop: Shop) -> None:
    console, began = shop.system.console, ago(0)
    for partner in (0, 0, 1):
        shop.clicked(partner, sub1=f"s{partner}")

    def counted() -> bool:
        found = console.get(f"/v1/reports/clicks?program_id={shop.program}")
        rows = {row["partner_id"]: row["gross"] for row in found["rows"]}
        return rows == {shop.partners[0]: 2, shop.partners[1]: 1}

    wait_for(counted, 60, "the clicks are counted")
    path = f"/v1/clicks?program_id={shop.program}&partner_id={shop.partners[0]}"
    listed = console.get(path)["items"]
    assert {item["link_id"] for item in listed} == {shop.links[0]["id"]}
    assert {item["params"]["sub1"] for item in listed} == {"s0"}
    assert all(item["user_agent"] and item["address_prefix"] for item in listed)
    by_day = console.get(f"/v1/reports/clicks?program_id={shop.program}&group=day")
    assert {row["day"] for row in by_day["rows"]} >= {began[:10], clock.iso_ms(clock.now_ms())[:10]}
    assert sum(row["gross"] for row in by_day["rows"]) == 3


@pytest.mark.parametrize(
    ("model", "shares"),
    [
        (None, [(1, 1_000_000)]),
        ("first_click", [(0, 1_000_000)]),
        ("linear", [(0, 500_000), (1, 500_000)]),
    ],
)
def test_p13_the_last_click_earns_unless_the_program_says_otherwise(
    system: System, model: str | None, shares: list[tuple[int, int]]
) -> None:
    settings: dict[str, Any] = {"attribution": {"model": model}} if model else {}
    shop = Shop(system, f"shop-{next(_numbers)}", **settings)
    for partner in (0, 1):
        shop.told_click(partner, customer_id="c", occurred_at=ago(100 - partner))
    decision = shop.convert("A-1", customer_id="c")
    found = zip(shop.credited(decision), decision["credits"], strict=True)
    assert sorted((place, credit["share_ppm"]) for place, credit in found) == shares


@pytest.mark.parametrize(("event", "window_s"), [("sale", 24 * HOUR_S), ("signup", 2 * HOUR_S)])
@pytest.mark.parametrize("beyond_ms", [-1, 0])
def test_p15_a_click_counts_until_its_window_and_not_at_it(
    system: System, event: str, window_s: int, beyond_ms: int
) -> None:
    shop = Shop(system, f"shop-{next(_numbers)}", click_window_seconds=24 * HOUR_S)
    shop.event_type("signup", "lead", click_window_seconds=2 * HOUR_S)
    happened_ms = clock.now_ms() - 1000
    touched_ms = happened_ms - window_s * 1000 - beyond_ms
    shop.told_click(customer_id="c", occurred_at=clock.iso_ms(touched_ms))
    decision = shop.convert("A-1", event, customer_id="c", occurred_at=clock.iso_ms(happened_ms))
    if beyond_ms < 0:
        assert shop.credited(decision) == [0]
    else:
        assert (decision["status"], decision["reason"]) == ("unattributed", "outside_window")


def test_p15_a_window_is_an_hour_to_400_days(shop: Shop) -> None:
    path = f"/v1/programs/{shop.program}"
    for seconds in (HOUR_S, 400 * 24 * HOUR_S):
        changed = shop.system.console.patch(path, {"click_window_seconds": seconds})
        assert changed["click_window_seconds"] == seconds
    for seconds in (HOUR_S - 1, 400 * 24 * HOUR_S + 1):
        with pytest.raises(HeadwaterError, match="invalid"):
            shop.system.console.patch(path, {"click_window_seconds": seconds})


def test_p16_all_five_utm_parameters_are_kept_with_the_click(shop: Shop) -> None:
    names = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
    click_id = shop.clicked(**{name: f"v-{name}" for name in names})
    read = shop.system.console.get(f"/v1/clicks/{click_id}")
    assert {name: read["params"][name] for name in names} == {name: f"v-{name}" for name in names}
