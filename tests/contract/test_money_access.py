"""Who may look at money and decide on it, and what is written down of every change.

Method: a real console, Redis, ledger, engine and book; a rival partner, a rival brand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from console_tools import RunningConsole, faults_of, fresh
from headwater.console.money_routes import MONEY_ROUTES
from money_tools import TEN_PERCENT, Market, Matcher, running_matcher

Parts = tuple[RunningConsole, Matcher]
ACTION = "act_" + "0" * 26


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with running_matcher(tmp_path_factory.mktemp("money")) as running:
        yield running


@pytest.fixture(scope="module")
def market(parts: Parts) -> Market:
    made = Market(*parts)
    made.with_clicks_paid()
    click = {"default": {"kind": "flat", "amount_micros": 1_000_000}}
    made.terms(events={"sale": TEN_PERCENT, "click": click})
    return made


@pytest.fixture(scope="module")
def other(parts: Parts) -> Market:
    """Another brand's market."""
    made = Market(*parts)
    made.terms()
    return made


def items(market: Market, path: str, key: str) -> list[Any]:
    reply = market.call("GET", path, key=key)
    assert reply.status == 200, (path, reply.json)
    found: list[Any] = reply.json["items"]
    return found


# ---- Scopes


def test_a_route_takes_keys_of_its_scopes_and_no_others(market: Market) -> None:
    """`read` looks, `finance` looks and decides, `events` reaches nothing, `admin` everything."""
    keys = {scope: market.key(scope) for scope in ("events", "read", "finance")}
    for route in MONEY_ROUTES:
        path = route.path.replace("{id}", "x")
        for scope, key in keys.items():
            status = market.call(route.method, path, b"{}" if route.body else None, key=key).status
            assert (status == 403) is (scope not in route.scopes), (route.path, scope, status)
        decides = route.method != "GET"
        assert not decides or "read" not in route.scopes, route.path


def test_a_partner_never_decides_on_its_own_money(market: Market) -> None:
    body = {"scopes": ["finance"], "partner_id": market.partner}
    assert faults_of(market.call("POST", "/v1/keys", body)) == {"scopes": "invalid"}


# ---- A partner's key


def test_a_partner_sees_its_own_rows_and_nothing_of_others(market: Market, other: Market) -> None:
    mine, rivals = market.sale_of(), market.sale_of(partner=market.rival)
    market.counted_click()
    market.counted_click(market.rival)
    key = market.key("read", partner_id=market.partner)
    for path in (
        "/v1/actions",
        f"/v1/actions?program_id={market.program}",
        f"/v1/actions?partner_id={market.partner}",
        "/v1/clicks/pending",
        "/v1/reports/balance",
        "/v1/reports/cpc-payouts",
    ):
        assert {each["partner_id"] for each in items(market, path, key)} == {market.partner}, path
    csv = market.call("GET", "/v1/reports/cpc-payouts.csv", key=key).body.decode()
    assert market.partner in csv
    assert market.rival not in csv
    for path in (
        f"/v1/actions?partner_id={market.rival}",
        f"/v1/actions?program_id={other.program}",
        f"/v1/clicks/pending?partner_id={market.rival}",
        f"/v1/clicks/pending?partner={market.rival}",
        f"/v1/reports/balance?partner_id={market.rival}",
        f"/v1/reports/cpc-payouts?partner_id={market.rival}",
        "/v1/actions?partner_id=prt_99999",
    ):
        assert items(market, path, key) == [], path
    assert market.call("GET", f"/v1/actions/{mine}", key=key).status == 200
    hidden, absent = (
        market.call("GET", f"/v1/actions/{each}", key=key) for each in (rivals, ACTION)
    )
    assert hidden.status == absent.status == 404
    assert hidden.json == absent.json
    (total,) = market.call("GET", "/v1/reports/balance", key=key).json["totals"]
    assert total["owed"] == "10.00"


def test_a_partner_is_told_the_reason_but_not_the_note_or_who(market: Market) -> None:
    action_id = market.sale_of()
    market.moved(action_id, "reverse", reason="CONS_FRAUD", note="card was stolen, see 7")
    key = market.key("read", partner_id=market.partner)
    reply = market.call("GET", f"/v1/actions/{action_id}", key=key)
    move = reply.json["moves"][-1]
    assert (move["reason"], move["note"], move["actor"]) == ("CONS_FRAUD", None, "manager")
    assert b"stolen" not in reply.body


def test_a_partner_sees_the_terms_that_hold_for_it(market: Market, other: Market) -> None:
    path = f"/v1/programs/{market.program}/terms"
    template = items(market, path, "admin")[0]["id"]
    own = market.terms(partner_id=market.rival)["id"]
    rival, partner = (
        market.key("read", partner_id=each) for each in (market.rival, market.partner)
    )
    assert [each["id"] for each in items(market, path, partner)] == [template]
    assert [each["id"] for each in items(market, path, rival)] == [own]
    assert items(market, f"{path}?partner_id={market.rival}", partner) == []
    for terms_id, key, status in (
        (template, partner, 200),
        (own, partner, 404),
        (own, rival, 200),
        (template, rival, 404),
    ):
        assert market.call("GET", f"/v1/terms/{terms_id}", key=key).status == status
    for hidden in (
        f"/v1/programs/{other.program}/terms",
        f"/v1/programs/{other.program}/money-settings",
    ):
        assert market.call("GET", hidden, key=partner).status == 404


def test_a_partner_is_told_no_groups_of_other_partners(parts: Parts) -> None:
    market = Market(*parts)
    pay = {"kind": "percent", "ppm": 200_000}
    own, rival = market.partner, market.rival
    groups = [
        {"when": {"partner": [rival]}, "pay": pay},
        {"when": {"partner": [rival, f" {own.upper()} "], "country": ["DE"]}, "pay": pay},
        {"when": {"sub1": ["a"]}, "not": {"partner": [rival], "sub2": ["b"]}, "pay": pay},
        {"when": {"sub1": ["c"]}, "not": {"partner": [own]}, "pay": pay},
        {"not": {"partner": [rival]}, "pay": pay},
        {"when": {"device": ["ios"]}, "pay": pay},
    ]
    terms_id = market.terms(events={"sale": {"groups": groups, **TEN_PERCENT}})["id"]
    key = market.key("read", partner_id=own)
    one = market.call("GET", f"/v1/terms/{terms_id}", key=key)
    listed = market.call("GET", f"/v1/programs/{market.program}/terms", key=key)
    assert listed.json["items"] == [one.json]
    assert rival.encode() not in one.body + listed.body
    (event,) = one.json["events"].values()
    assert event == {
        **TEN_PERCENT,
        "groups": [
            {"when": {"partner": [own], "country": ["DE"]}, "pay": pay},
            {"when": {"sub1": ["a"]}, "not": {"sub2": ["b"]}, "pay": pay},
            {"not": {}, "pay": pay},
            {"when": {"device": ["ios"]}, "pay": pay},
        ],
    }
    whole = market.call("GET", f"/v1/terms/{terms_id}", key=market.key("read"))
    (event,) = whole.json["events"].values()
    assert event["groups"] == groups


def test_a_partner_is_told_no_score_of_clicks_that_wait(market: Market) -> None:
    click_id = market.counted_click()
    path = f"/v1/clicks/pending?partner_id={market.partner}"
    key = market.key("read", partner_id=market.partner)
    for query in ("", "&score_from=100"):
        told = {each["click_id"]: each for each in items(market, path + query, key)}
        assert (told[click_id]["score"], told[click_id]["codes"]) == (None, [])
    for_manager = {each["click_id"]: each for each in items(market, path, "admin")}
    assert for_manager[click_id]["score"] is not None


def test_a_partner_is_told_no_number_of_a_group(parts: Parts) -> None:
    """It would count the groups that are for others."""
    market = Market(*parts)
    pay = {"kind": "percent", "ppm": 200_000}
    groups = [
        {"when": {"partner": [market.rival]}, "pay": pay},
        {"when": {"order_total": [[0, None]]}, "pay": pay},
    ]
    market.terms(events={"sale": {"groups": groups, **TEN_PERCENT}})
    action_id = market.sale_of()
    key = market.key("read", partner_id=market.partner)
    one = market.call("GET", f"/v1/actions/{action_id}", key=key).json
    (listed,) = items(market, "/v1/actions", key)
    assert (one["rule"], listed["rule"]) == ("groups", "groups")
    path = "/v1/exports/actions?format=jsonl"
    assert b'"groups"' in market.call("GET", path, key=key).body
    assert market.call("GET", f"/v1/actions/{action_id}").json["rule"] == "groups.1"


# ---- A brand's key


def test_a_brands_key_reaches_its_brand_alone(market: Market, other: Market) -> None:
    mine, theirs = market.sale_of(), other.sale_of()
    key = market.key("finance", brand_id=market.brand)
    assert mine in {each["id"] for each in items(market, "/v1/actions?limit=500", key)}
    programs = {each["program_id"] for each in items(market, "/v1/actions?limit=500", key)}
    assert programs == {market.program}
    assert items(market, f"/v1/reports/balance?brand_id={other.brand}", key) == []
    assert {each["program_id"] for each in items(market, "/v1/reports/balance", key)} == programs
    assert items(market, f"/v1/exchange-rates?brand_id={other.brand}", key) == []
    conversion_id = other.call("GET", f"/v1/actions/{theirs}").json["conversion_id"]
    reason = {"reason": "CONS_FRAUD"}
    for path, body in (
        (f"/v1/actions/{theirs}/approve", {}),
        (f"/v1/actions/{theirs}/reverse", reason),
        (f"/v1/actions/{theirs}/modify", {"amount": "1", **reason}),
        (f"/v1/conversions/{conversion_id}/reverse", reason),
        (f"/v1/conversions/{conversion_id}/attribute", {"partner_id": other.rival}),
    ):
        assert market.call("POST", path, body, key=key).status == 404, path
    bulk = {"move": "approve", "action_ids": [theirs, mine]}
    told = market.call("POST", "/v1/actions/bulk", bulk, key=key).json["items"]
    assert [each["status"] for each in told] == [404, 200]
    by_filter = {"move": "approve", "filter": {"program_id": other.program}}
    assert market.call("POST", "/v1/actions/bulk", by_filter, key=key).json["items"] == []
    order = {"program_id": other.program, "event": "sale", "order_id": "1", **reason}
    assert faults_of(market.call("POST", "/v1/orders/reverse", order, key=key)) == {
        "program_id": "unknown_program"
    }
    settled = market.call("POST", "/v1/settle", {}, key=key).json["brands"]
    assert [each["brand_id"] for each in settled] == [market.brand]
    beyond = {"brand_id": other.brand}
    assert market.call("POST", "/v1/settle", beyond, key=key).json["brands"] == []
    assert other.call("GET", f"/v1/actions/{theirs}").json["state"] == "pending"


def test_a_brands_key_decides_on_its_own_clicks_alone(market: Market, other: Market) -> None:
    click_id = market.counted_click()
    key = market.key("finance", brand_id=other.brand)
    body: dict[str, Any] = {"click_ids": [click_id], "reason": "CONS_FRAUD"}
    (item,) = market.call("POST", "/v1/clicks/reject", body, key=key).json["items"]
    assert (item["status"], item["code"]) == (404, "not_found")
    day = {"program_id": market.program, "partner_id": market.partner, "day": "2026-01-01"}
    body = {"filter": day, "reason": "CONS_FRAUD"}
    assert faults_of(market.call("POST", "/v1/clicks/reject", body, key=key)) == {
        "filter.program_id": "unknown_program"
    }


def test_a_decision_is_told_to_its_brand_alone(market: Market, other: Market) -> None:
    headers = {"Idempotency-Key": fresh("key")}
    body = {"brand_id": other.brand}
    decision = market.call("POST", "/v1/settle", body, headers=headers).json["brands"][0]
    path = f"/v1/decisions/{decision['decision_id']}"
    own, rivals = (market.key("finance", brand_id=each) for each in (other.brand, market.brand))
    assert market.call("GET", path, key=own).json["status"] == "applied"
    assert market.call("GET", path, key=rivals).status == 404


def test_a_deleted_key_decides_nothing_more(market: Market) -> None:
    made = market.console.made("/v1/keys", {"scopes": ["finance"]})
    action_id = market.sale_of()
    market.call("DELETE", f"/v1/keys/{made['id']}")
    path = f"/v1/actions/{action_id}/approve"
    assert market.call("POST", path, {}, key=made["key"]).status == 401


# ---- The audit log


def audited(market: Market, query: str) -> list[Any]:
    return items(market, f"/v1/audit?{query}", "admin")


def test_every_change_is_written_down_with_what_it_changed(market: Market) -> None:
    brand = market.console.made("/v1/brands", {"name": "before"})["id"]
    market.call("PATCH", f"/v1/brands/{brand}", {"name": "after"})
    market.call("PATCH", f"/v1/brands/{brand}", {"name": "after"})
    changed, made = audited(market, f"object_id={brand}")
    assert (made["verb"], made["object"], changed["verb"]) == ("made", "brand", "changed")
    assert changed["changes"] == [{"member": "name", "before": "before", "after": "after"}]
    assert changed["actor"] == made["actor"]
    mine = market.console.made("/v1/keys", {"scopes": ["admin"]})
    market.call("PATCH", f"/v1/brands/{brand}", {"name": "later"}, key=mine["key"])
    (entry,) = audited(market, f"actor={mine['id']}")
    assert entry["object_id"] == brand
    (made,) = audited(market, f"object=key&object_id={mine['id']}")
    scopes = {each["member"]: each["after"] for each in made["changes"]}
    assert (scopes["scopes"], scopes["sha256"]) == (["admin"], None)


def test_an_enrolment_is_called_by_its_program_and_partner(market: Market) -> None:
    path = f"/v1/programs/{market.program}/partners/{market.partner}"
    for status in ("paused", "active"):
        assert market.call("PATCH", path, {"status": status}).status == 200
    found = audited(market, f"object=enrolment&object_id={market.program}/{market.partner}")
    told = [(each["verb"], each["changes"][0].get("after")) for each in found[:2]]
    assert told == [("changed", "active"), ("changed", "paused")]
    assert found[-1]["verb"] == "made"


def test_no_secret_and_no_address_is_written_down(market: Market) -> None:
    partner = {"name": "p", "email": "zzz@partner.example"}
    partner_id = market.console.made("/v1/partners", partner)["id"]
    path = f"/v1/programs/{market.program}/shopify-secrets"
    assert market.call("POST", path, {"secret": "zzz-" * 8}).status in (200, 201)
    pixel = {
        "program_id": market.program,
        "commission": "cpa",
        "type": "postback",
        "template": "https://partner.example/p?id={click_id}&token=zzz",
        "test_url": "https://partner.example/p?token=zzz",
    }
    made = market.call("POST", f"/v1/partners/{market.partner}/pixels", pixel)
    assert made.status in (200, 201), made.body
    market.call("PATCH", f"/v1/partners/{partner_id}", {"email": "zz2@partner.example"})
    reply = market.call("GET", "/v1/audit?limit=500")
    assert b"zzz" not in reply.body
    assert b"zz2" not in reply.body
    (entry,) = audited(market, f"object_id={made.json['id']}")
    told = {each["member"]: each["after"] for each in entry["changes"]}
    assert told["template"] == "https://partner.example/p?id={click_id}&token=***"
    assert audited(market, f"object_id={partner_id}")[0]["changes"] == [
        {"member": "email", "before": None, "after": None}
    ]


def test_decisions_and_settings_of_money_are_in_it(market: Market) -> None:
    action_id = market.sale_of()
    market.moved(action_id, "reverse", reason="CONS_FRAUD", note="by phone")
    (entry,) = audited(market, f"object_id={action_id}")
    told = {each["member"]: each["after"] for each in entry["changes"]}
    assert (entry["verb"], told) == ("reverse", {"reason": "CONS_FRAUD", "note": "by phone"})
    path = f"/v1/programs/{market.program}/money-settings"
    market.call("PUT", path, {"reversal_reasons": ["LOST"]})
    market.call("PUT", path, {"reversal_reasons": ["LOST", "STOLEN"]})
    newest = audited(market, "object=money_settings")[0]
    assert newest["changes"] == [
        {"member": "reversal_reasons", "before": ["LOST"], "after": ["LOST", "STOLEN"]}
    ]
    terms_id = market.terms(external_id=fresh("terms"))["id"]
    (made,) = audited(market, f"object_id={terms_id}")
    assert {each["member"] for each in made["changes"]} >= {"value", "version", "partner_id"}


def test_what_was_refused_is_not_in_it(market: Market) -> None:
    before = audited(market, "limit=1")[0]["id"]
    brand = f"/v1/brands/{market.brand}"
    assert market.call("PATCH", brand, {"name": ""}).status == 422
    assert market.call("POST", "/v1/programs", {}).status == 422
    assert audited(market, "limit=1")[0]["id"] == before


def test_the_log_is_paged_and_cut_by_time(market: Market) -> None:
    page = market.call("GET", "/v1/audit?limit=2").json
    rest = audited(market, f"limit=2&cursor={page['next_cursor']}")
    numbers = [int(each["id"][4:]) for each in (*page["items"], *rest)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 4
    assert audited(market, "until=2020-01-01T00:00:00Z") == []
    assert audited(market, "since=2020-01-01T00:00:00Z&limit=1")
