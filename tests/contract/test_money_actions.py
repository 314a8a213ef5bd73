"""Actions through the management API: read, moved one by one and in bulk, each move once.

Method: a real console, Redis, ledger, engine and book.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from console_tools import RunningConsole, faults_of, fresh, until
from headwater import ids, limits
from headwater.model.records import Item
from money_tools import Market, Matcher, running_matcher

Parts = tuple[RunningConsole, Matcher]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with running_matcher(tmp_path_factory.mktemp("money")) as running:
        yield running


@pytest.fixture
def market(parts: Parts) -> Market:
    made = Market(*parts)
    made.terms()
    return made


def read(market: Market, action_id: str) -> Any:
    reply = market.call("GET", f"/v1/actions/{action_id}")
    assert reply.status == 200, reply.json
    return reply.json


def settled(market: Market) -> Any:
    body = {"brand_id": market.brand, "until": "2099-01-01T00:00:00Z"}
    reply = market.call("POST", "/v1/settle", body)
    assert reply.status == 200, reply.json
    return reply.json["brands"][0]["locked"]


# ---- One action


def test_an_action_is_read_with_its_history(market: Market) -> None:
    action_id = market.sale_of(8_000)
    market.moved(action_id, "approve", note="checked by hand")
    found = read(market, action_id)
    assert (found["state"], found["payout"], found["payout_currency"]) == (
        "approved",
        "8.00",
        "EUR",
    )
    assert [(move["verb"], move["state"]) for move in found["moves"]] == [
        ("create", "pending"),
        ("approve", "approved"),
    ]
    assert found["moves"][1]["note"] == "checked by hand"
    assert found["moves"][1]["actor"].startswith("key_")
    for at in range(0, len(found["entries"]), 2):
        pair = found["entries"][at : at + 2]
        assert sum(float(entry["amount"]) for entry in pair) == 0
    assert (found["terms_version"], found["rule"], found["share_ppm"]) == (1, "default", 1_000_000)


def test_moves_follow_the_state_machine_and_illegal_ones_are_409(market: Market) -> None:
    action_id = market.sale_of()
    assert market.moved(action_id, "approve")["state"] == "approved"
    assert market.moved(action_id, "approve", 409)["code"] == "illegal_move"
    reversed_ = market.moved(action_id, "reverse", reason="item_returned")
    assert (reversed_["state"], reversed_["reason"]) == ("reversed", "ITEM_RETURNED")
    assert market.booked() == {}
    assert market.moved(action_id, "reset")["state"] == "pending"
    assert market.moved(action_id, "pay", 409)["code"] == "illegal_move"
    assert settled(market) == 1
    for verb, body in (("reverse", {"reason": "CONS_FRAUD"}), ("reset", {}), ("approve", {})):
        refused = market.moved(action_id, verb, 409, **body)
        assert (refused["code"], refused["state"]) == ("action_locked", "locked")
    assert market.moved(action_id, "pay")["state"] == "paid"
    assert market.booked() == {"brand_expense": -1_000, "partner_paid": 1_000}
    compensated = market.moved(action_id, "compensate", payout="-2.50", reason="ORDER_ERROR")
    assert (compensated["state"], compensated["compensated"]) == ("paid", "-2.50")


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"reason": "required"}),
        ({"reason": "no reason"}, {"reason": "invalid"}),
        ({"reason": "CONS_FRAUD", "note": "x" * 256}, {"note": "invalid"}),
    ],
)
def test_a_reversal_has_a_reason(market: Market, body: Any, faults: dict[str, str]) -> None:
    action_id = market.sale_of()
    assert faults_of(market.call("POST", f"/v1/actions/{action_id}/reverse", body)) == faults


def test_a_reason_is_one_of_the_field_or_of_the_program(market: Market) -> None:
    action_id = market.sale_of()
    assert market.moved(action_id, "reverse", 422, reason="GIFT_CARD")["code"] == "unknown_reason"
    path = f"/v1/programs/{market.program}/money-settings"
    shown = market.call("PUT", path, {"reversal_reasons": ["GIFT_CARD"]})
    assert shown.status == 200
    assert market.call("GET", path).json["reversal_reasons"][-1]["code"] == "GIFT_CARD"
    assert market.moved(action_id, "reverse", reason="gift_card")["reason"] == "GIFT_CARD"
    taken = market.call("PUT", path, {"reversal_reasons": ["CONS_FRAUD"]})
    assert faults_of(taken) == {"reversal_reasons": "invalid"}
    # What Headwater itself gives as a reason is nobody else's to give.
    other = market.sale_of()
    assert market.moved(other, "reverse", 422, reason="REATTRIBUTED")["code"] == "unknown_reason"


def test_an_action_pays_for_what_is_left(market: Market) -> None:
    market.terms(
        events={"sale": {"default": {"kind": "percent", "ppm": 100_000, "per": "item"}}},
        partner_id=market.partner,
    )
    items = (Item("A", None, "shoes", 1, 6_000), Item("B", None, "hats", 2, 4_000))
    action_id = market.sale_of(10_000, items=items)
    assert [item["payout"] for item in read(market, action_id)["items"]] == ["6.00", "4.00"]
    left = [{"sku": "B", "quantity": 1, "subtotal": "20.00"}]
    modified = market.moved(
        action_id, "modify", amount=20, items=left, reason="ITEM_RETURNED", currency="EUR"
    )
    assert (modified["amount"], modified["payout"], modified["order_amount"]) == (
        "20.00",
        "2.00",
        "100.00",
    )
    assert [item["payout"] for item in read(market, action_id)["items"]] == ["2.00"]
    wrong = {"amount": "1.00", "currency": "USD", "reason": "ORDER_UPDATE"}
    assert market.moved(action_id, "modify", 422, **wrong)["code"] == "currency_mismatch"
    nothing = market.moved(action_id, "modify", amount="0", reason="ITEM_RETURNED")
    assert nothing["state"] == "reversed"


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("1.001", "amount_precision"),
        ("-1", "amount_negative"),
        ("1e3", "amount_invalid"),
        ("1" * 19, "amount_invalid"),
        (0.1234567890123456, "amount_invalid"),
        (1e22, "amount_invalid"),
    ],
)
def test_amounts_are_read_exactly_or_refused(market: Market, amount: object, code: str) -> None:
    action_id = market.sale_of()
    body = {"amount": amount, "reason": "ORDER_UPDATE"}
    reply = market.call("POST", f"/v1/actions/{action_id}/modify", body)
    assert faults_of(reply) == {"amount": code}
    assert read(market, action_id)["payout"] == "10.00"


# ---- Once, however often


def test_a_repeat_under_one_key_is_answered_as_the_first(market: Market) -> None:
    action_id = market.sale_of()
    path, headers = f"/v1/actions/{action_id}/approve", {"Idempotency-Key": "once"}
    for _ in range(3):
        reply = market.call("POST", path, {}, headers=headers)
        assert (reply.status, reply.json["state"]) == (200, "approved")
    assert len(read(market, action_id)["moves"]) == 2
    other = market.call("POST", path, {"note": "other"}, headers=headers)
    assert (other.status, other.json["code"]) == (409, "idempotency_conflict")
    # Another route, and another caller, have keys of their own.
    finance = market.key("finance", brand_id=market.brand)
    again = market.call("POST", path, {}, headers=headers, key=finance)
    assert again.json["code"] == "illegal_move"
    for bad in ("", "x" * 256, "caf\u00e9"):
        refused = market.call("POST", path, {}, headers={"Idempotency-Key": bad})
        assert faults_of(refused) == {"Idempotency-Key": "invalid"}


def test_of_parallel_requests_one_is_carried_out(market: Market) -> None:
    """Eight at once: under one key all are the first; without, one moves and seven are told."""
    keyed, free = market.sale_of(), market.sale_of()
    headers = {"Idempotency-Key": "together"}
    with ThreadPoolExecutor(8) as pool:
        same = pool.map(
            lambda _: market.call("POST", f"/v1/actions/{keyed}/approve", {}, headers=headers),
            range(8),
        )
        each = pool.map(lambda _: market.call("POST", f"/v1/actions/{free}/approve", {}), range(8))
        assert [reply.status for reply in same] == [200] * 8
        assert sorted(reply.status for reply in each) == [200] + [409] * 7
    for action_id in (keyed, free):
        assert len(read(market, action_id)["moves"]) == 2


def test_a_decision_the_book_has_not_come_to_is_202(market: Market) -> None:
    action_id = market.sale_of()
    market.matcher.is_paused.set()
    try:
        reply = market.call("POST", f"/v1/actions/{action_id}/approve")
        assert (reply.status, reply.json["status"]) == (202, "pending")
    finally:
        market.matcher.is_paused.clear()
    where = reply.headers["Location"]
    assert where == f"/v1/decisions/{reply.json['id']}"

    until(lambda: market.call("GET", where).json["status"] == "applied")
    assert read(market, action_id)["state"] == "approved"


# ---- Orders


def test_an_order_is_reversed_and_modified_as_a_whole(market: Market) -> None:
    action_id = market.sale_of(order_id="whole")
    conversion_id = read(market, action_id)["conversion_id"]
    body = {"amount": "40.00", "reason": "ITEM_RETURNED"}
    changed = market.call("POST", f"/v1/conversions/{conversion_id}/modify", body)
    assert [each["payout"] for each in changed.json["actions"]] == ["4.00"]
    order = {"program_id": market.program, "event": "sale", "order_id": "whole"}
    reversed_ = market.call("POST", "/v1/orders/reverse", {**order, "reason": "CONS_ERROR"})
    assert (reversed_.status, reversed_.json["decision"]["status"]) == (200, "applied")
    assert [each["state"] for each in reversed_.json["actions"]] == ["reversed"]
    assert market.booked() == {}


def test_a_refund_may_come_before_its_order(market: Market) -> None:
    order = {"program_id": market.program, "event": "sale", "order_id": "early"}
    body = {**order, "amount": "25.00", "reason": "ITEM_RETURNED"}
    early = market.call("POST", "/v1/orders/modify", body)
    assert (early.status, early.json["status"]) == (202, "waiting")
    action_id = market.sale_of(10_000, order_id="early")
    assert read(market, action_id)["payout"] == "2.50"
    assert market.call("GET", f"/v1/decisions/{early.json['id']}").json["status"] == "applied"


def test_a_conversion_is_given_to_a_partner_by_hand(market: Market) -> None:
    action_id = market.sale_of()
    conversion_id = read(market, action_id)["conversion_id"]
    path = f"/v1/conversions/{conversion_id}/attribute"
    body = {"partner_id": market.rival, "reason": "PUB_ACT_DISPUTE", "note": "ticket 7"}
    found = {each["partner_id"]: each for each in market.call("POST", path, body).json["actions"]}
    assert (found[market.partner]["state"], found[market.partner]["reason"]) == (
        "reversed",
        "REATTRIBUTED",
    )
    assert (found[market.rival]["state"], found[market.rival]["manual"]) == ("pending", True)
    stranger = market.console.made("/v1/partners", {"name": "stranger"})["id"]
    refused = market.call("POST", path, {"partner_id": stranger})
    assert (refused.status, refused.json["code"]) == (409, "partner_not_in_program")
    click_id = ids.event_text("clk", market.click(market.partner))
    wrong = market.call("POST", path, {"partner_id": market.rival, "click_id": click_id})
    assert faults_of(wrong) == {"click_id": "invalid"}
    (entry,) = market.call("GET", f"/v1/audit?object_id={conversion_id}").json["items"]
    assert (entry["object"], entry["verb"]) == ("conversion", "attribute")


# ---- Many


def test_many_are_moved_each_by_itself(market: Market) -> None:
    first, second = market.sale_of(), market.sale_of()
    market.moved(first, "approve")
    unknown = ids.event_text("act", bytes(16))
    body = {"move": "approve", "action_ids": [first, unknown, second]}
    headers = {"Idempotency-Key": "many"}
    for _ in range(2):
        reply = market.call("POST", "/v1/actions/bulk", body, headers=headers)
        assert reply.status == 207
        told = [(item["id"], item["status"], item["code"]) for item in reply.json["items"]]
        assert told == [
            (first, 409, "illegal_move"),
            (unknown, 404, "not_found"),
            (second, 200, None),
        ]
    assert read(market, second)["state"] == "approved"


def test_many_are_chosen_by_a_filter_and_the_rest_is_asked_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [market.sale_of() for _ in range(3)]
    other = market.sale_of(partner=market.rival)
    monkeypatch.setattr(limits, "DECISIONS_AT_ONCE_MAX", 2)
    chosen = {"program_id": market.program, "partner_id": market.partner}
    body = {"move": "reverse", "filter": chosen, "reason": "CONS_FRAUD"}
    counts = []
    for _ in range(3):
        reply = market.call("POST", "/v1/actions/bulk", body).json
        counts.append((len(reply["items"]), reply["more"]))
    assert counts == [(2, True), (1, False), (0, False)]
    assert {read(market, each)["state"] for each in made} == {"reversed"}
    assert read(market, other)["state"] == "pending"


def test_many_by_a_filter_are_answered_again_from_what_was_decided(market: Market) -> None:
    """The filter finds nothing more by then."""
    partner = market._partner()
    made = {market.sale_of(partner=partner) for _ in range(2)}
    chosen = {"program_id": market.program, "partner_id": partner}
    body = {"move": "approve", "filter": chosen}
    headers = {"Idempotency-Key": fresh("filter")}
    first, again = (
        market.call("POST", "/v1/actions/bulk", body, headers=headers).json["items"]
        for _ in range(2)
    )
    assert {each["id"] for each in first} == made
    assert first == again
    other = {**body, "move": "pay"}
    refused = market.call("POST", "/v1/actions/bulk", other, headers=headers)
    assert (refused.status, refused.json["code"]) == (409, "idempotency_conflict")


def test_a_request_moves_as_many_as_its_bound_and_no_more(market: Market) -> None:
    most = limits.DECISIONS_AT_ONCE_MAX
    unknown = [ids.event_text("act", number.to_bytes(16, "big")) for number in range(most + 1)]
    body = {"move": "approve", "action_ids": unknown}
    assert faults_of(market.call("POST", "/v1/actions/bulk", body)) == {"action_ids": "invalid"}
    body = {"move": "approve", "action_ids": unknown[:most]}
    assert len(market.call("POST", "/v1/actions/bulk", body).json["items"]) == most


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"move": "approve"}, {"action_ids": "invalid"}),
        ({"move": "lock", "action_ids": ["act_" + "0" * 26]}, {"move": "invalid"}),
        ({"move": "reverse", "action_ids": ["act_" + "0" * 26]}, {"reason": "required"}),
        ({"move": "pay", "action_ids": ["clk_" + "0" * 26]}, {"action_ids.0": "invalid"}),
        ({"move": "pay", "filter": {}}, {"filter.program_id": "required"}),
        (
            {"move": "pay", "action_ids": ["act_" + "0" * 26] * 301},
            {"action_ids": "invalid"},
        ),
    ],
)
def test_requests_for_many_that_are_not_taken(
    market: Market, body: Any, faults: dict[str, str]
) -> None:
    assert faults_of(market.call("POST", "/v1/actions/bulk", body)) == faults


def test_lists_are_filtered_and_paged(market: Market) -> None:
    made = [market.sale_of() for _ in range(3)]
    market.moved(made[0], "approve")
    other = market.sale_of(partner=market.rival)
    base = f"/v1/actions?program_id={market.program}"

    def listed(query: str) -> list[str]:
        return [item["id"] for item in market.call("GET", base + query).json["items"]]

    assert listed("") == [other, *reversed(made)]
    assert listed(f"&partner_id={market.rival}") == [other]
    assert listed("&state=approved") == [made[0]]
    order_id = read(market, made[1])["order_id"]
    assert listed(f"&order_id={order_id}") == [made[1]]
    assert listed("&until=2020-01-01T00:00:00Z") == listed("&partner_id=prt_99999") == []
    found, cursor = [], ""
    while True:
        page = market.call("GET", f"{base}&limit=3{cursor}").json
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [other, *reversed(made)]


def test_settling_locks_what_is_due_once(market: Market) -> None:
    action_id = market.sale_of()
    early = {"brand_id": market.brand, "until": "2020-01-01T00:00:00Z"}
    assert market.call("POST", "/v1/settle", early).json["brands"][0]["locked"] == 0
    assert [settled(market), settled(market)] == [1, 0]
    found = read(market, action_id)
    assert (found["state"], found["locked_at"] is None, found["pay_at"] is None) == (
        "locked",
        False,
        False,
    )
