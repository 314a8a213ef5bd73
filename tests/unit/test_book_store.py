"""From decisions on the log to what is owed: actions, their moves, and the double-entry book."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from book_tools import (
    DAY_MS,
    SALE,
    Log,
    accounts,
    actions,
    imbalances,
    rows,
    run,
    tables,
)
from headwater.ledger.decisions import decision_by_id
from headwater.ledger.engine import Ledger
from headwater.model.book import Action, ActionFlag
from headwater.model.records import Item, Trust
from ledger_tools import ledger_in

WHOLE = 1_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


@pytest.fixture
def log() -> Log:
    made = Log()
    made.terms()
    return made


def only(ledger: Ledger) -> Action:
    (action,) = actions(ledger).values()
    return action


def decided(ledger: Ledger) -> list[tuple[str, str | None]]:
    found = sorted(rows(ledger, "decisions_log"), key=lambda row: row["at_ms"])
    return [(row["outcome"], row["code"]) for row in found]


def test_a_conversion_makes_one_pending_action_for_its_partner(ledger: Ledger, log: Log) -> None:
    conversion_id = log.conversion(1, (7, WHOLE))
    run(ledger, log)
    action = only(ledger)
    assert (action.state, action.partner, action.payout_minor, action.order_id) == (
        "pending",
        7,
        1000,
        "A-1",
    )
    assert accounts(ledger) == {"brand_expense": -1000, "partner_pending": 1000}
    told = decision_by_id(ledger, conversion_id)
    assert told is not None
    assert [(each["partner_id"], each["state"], each["payout"]) for each in told["actions"]] == [
        ("prt_7", "pending", "10.00")
    ]


def test_partners_who_share_a_conversion_share_its_payout_exactly(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (1, 333_333), (2, 333_333), (3, 333_334), amount_minor=1000)
    run(ledger, log)
    found = actions(ledger)
    assert sum(action.payout_minor for action in found.values()) == 100
    assert sum(action.revenue_minor for action in found.values()) == 1000


def test_an_unattributed_or_rejected_conversion_makes_no_action(ledger: Ledger, log: Log) -> None:
    log.conversion(1)
    log.conversion(2, status="rejected", verdict="reject")
    run(ledger, log)
    assert rows(ledger, "actions") == []


def test_without_terms_an_action_pays_nothing(ledger: Ledger) -> None:
    log = Log()
    log.conversion(1, (7, WHOLE))
    run(ledger, log)
    assert (only(ledger).payout_minor, only(ledger).rule) == (0, "no_terms")


def test_a_test_order_is_marked_and_owed_to_nobody(ledger: Ledger) -> None:
    log = Log()
    log.terms(caps=[cap(limit=1)])
    log.conversion(1, (7, WHOLE), test=True)
    log.conversion(2, (8, WHOLE))
    run(ledger, log)
    found = actions(ledger)
    assert found[7].flags & ActionFlag.TEST
    assert not found[8].flags & ActionFlag.OVER_CAP
    assert accounts(ledger) == {"brand_expense": -1000, "partner_pending": 1000}


def cap(**changes: object) -> dict[str, object]:
    return {
        "metric": "conversions",
        "period": "day",
        "scope": "program",
        "event_type": None,
        "limit": 1,
        **changes,
    }


def test_what_is_over_a_cap_is_unpaid_and_says_so(ledger: Ledger) -> None:
    log = Log()
    log.terms(caps=[cap(metric="payout", limit=1500)])
    for number in (1, 2):
        log.conversion(number, (number, WHOLE))
    log.conversion(3, (3, WHOLE), amount_minor=5000)
    run(ledger, log)
    found = actions(ledger)
    assert [found[partner].payout_minor for partner in (1, 2, 3)] == [1000, 0, 500]
    assert (found[2].reason, bool(found[2].flags & ActionFlag.OVER_CAP)) == ("over_cap", True)


def test_a_reversed_action_gives_its_room_back(ledger: Ledger) -> None:
    log = Log()
    log.terms(caps=[cap()])
    log.conversion(1, (1, WHOLE))
    run(ledger, log)
    first = only(ledger)
    log.decision("action.reverse", first.action_id, reason="CONS_FRAUD")
    log.conversion(2, (2, WHOLE))
    log.decision("action.reset", first.action_id)
    run(ledger, log)
    found = actions(ledger)
    assert (found[2].payout_minor, found[1].state, found[1].reason) == (1000, "pending", "over_cap")


def test_a_manager_approves_and_a_tick_locks(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE))
    run(ledger, log)
    action_id = only(ledger).action_id
    log.decision("action.approve", action_id, actor="key_3", note="seen")
    run(ledger, log)
    assert only(ledger).state == "approved"
    log.tick()
    run(ledger, log)
    assert only(ledger).state == "approved", "it is not due"
    log.wait(31 * DAY_MS)
    log.tick()
    log.tick()
    log.decision("action.pay", action_id)
    run(ledger, log)
    moves = rows(ledger, "action_moves")
    assert [(move["verb"], move["state"], move["actor"]) for move in moves] == [
        ("create", "pending", "system"),
        ("approve", "approved", "key_3"),
        ("lock", "locked", "system"),
        ("pay", "paid", "system"),
    ]
    assert accounts(ledger) == {"brand_expense": -1000, "partner_paid": 1000}


def test_what_nobody_reversed_locks_and_what_is_in_review_waits(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (1, WHOLE))
    log.conversion(2, (2, WHOLE), verdict="review")
    log.wait(31 * DAY_MS)
    log.tick()
    run(ledger, log)
    found = actions(ledger)
    assert (found[1].state, found[2].state) == ("locked", "pending")
    log.decision("action.approve", found[2].action_id)
    log.tick()
    run(ledger, log)
    assert actions(ledger)[2].state == "locked"


def test_a_locked_action_takes_a_compensation_alone(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE))
    log.wait(31 * DAY_MS)
    log.tick()
    run(ledger, log)
    locked = only(ledger)
    for verb in ("reverse", "reset", "approve", "modify"):
        log.decision(f"action.{verb}", locked.action_id, amount_minor=1)
    log.decision("action.compensate", locked.action_id, payout_minor=-400, reason="ITEM_RETURNED")
    run(ledger, log)
    assert decided(ledger) == [("refused", "action_locked")] * 4 + [("applied", None)]
    assert only(ledger).compensated_minor == -400
    assert accounts(ledger) == {"brand_expense": -600, "partner_payable": 600}


def test_settle_locks_what_is_due_by_then_once(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE))
    run(ledger, log)
    due_ms = only(ledger).lock_ms
    for until_ms in (due_ms - 1, due_ms, due_ms):
        log.decision("program.settle", until_ms=until_ms)
    log.decision("program.settle", brand=2, until_ms=due_ms)
    run(ledger, log)
    found = sorted(rows(ledger, "decisions_log"), key=lambda row: row["at_ms"])
    assert [json.loads(row["detail_json"])["locked"] for row in found] == [0, 1, 0, 0]
    assert only(ledger).state == "locked"


@pytest.mark.parametrize("count", [2, 3])
def test_a_tick_locks_so_many_and_the_next_the_rest(
    ledger: Ledger, log: Log, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("headwater.limits.LOCKED_AT_ONCE_MAX", 2)
    for number in range(count):
        log.conversion(number, (number + 1, WHOLE))
    log.wait(31 * DAY_MS)
    log.tick()
    run(ledger, log)
    states = [action.state for action in actions(ledger).values()]
    assert states.count("locked") == 2
    log.tick()
    run(ledger, log)
    assert {action.state for action in actions(ledger).values()} == {"locked"}


# ---- Orders


def test_a_refund_of_a_part_leaves_the_rest_of_the_payout(ledger: Ledger, log: Log) -> None:
    conversion_id = log.conversion(1, (7, WHOLE))
    log.decision("order.modify", conversion_id, amount_minor=2500, currency="EUR", actor="shopify")
    run(ledger, log)
    action = only(ledger)
    assert (action.order_minor, action.left_minor, action.payout_minor) == (10_000, 2500, 250)
    log.decision("modify", conversion_id, amount_minor=0, currency="EUR")
    run(ledger, log)
    assert (only(ledger).state, accounts(ledger)) == ("reversed", {})


def test_a_refund_by_item_leaves_the_others(ledger: Ledger) -> None:
    log = Log()
    event = {"groups": [], "default": {"kind": "percent", "ppm": 100_000, "per": "item"}}
    log.terms(events={str(SALE): event})
    items = (Item("A", None, "shoes", 1, 6000), Item("B", None, "hats", 2, 4000))
    conversion_id = log.conversion(1, (7, WHOLE), items=items)
    run(ledger, log)
    assert [row["payout_minor"] for row in rows(ledger, "action_items")] == [600, 400]
    left = json.dumps([{"sku": "B", "quantity": 1, "subtotal_minor": 2000}])
    log.decision("order.modify", conversion_id, amount_minor=2000, currency="EUR", items=left)
    run(ledger, log)
    (item,) = rows(ledger, "action_items")
    assert (item["sku"], item["category"], item["payout_minor"]) == ("B", "hats", 200)
    assert only(ledger).payout_minor == 200


def test_a_refund_before_its_order_waits_for_it(ledger: Ledger, log: Log) -> None:
    conversion_id = log.conversion(1, (7, WHOLE))
    order = log.steps.pop()
    log.decision("order.modify", conversion_id, amount_minor=4000, currency="EUR")
    log.decision("order.modify", conversion_id, amount_minor=3000, currency="EUR")
    log.decision("order.modify", conversion_id, amount_minor=3000, currency="USD")
    run(ledger, log)
    assert decided(ledger) == [("waiting", None)] * 3
    log.add("conversions", order.row)
    run(ledger, log)
    assert only(ledger).payout_minor == 300
    assert decided(ledger) == [("applied", None)] * 2 + [("refused", "currency_mismatch")]


def test_a_partner_credited_after_the_order_was_reversed_earns_nothing(
    ledger: Ledger, log: Log
) -> None:
    conversion_id = log.conversion(1)
    log.decision("order.reverse", conversion_id)
    log.conversion(1, (7, WHOLE), revision=2, has_record=False)
    run(ledger, log)
    assert (only(ledger).state, only(ledger).reason) == ("reversed", "ORDER_REVERSED")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"amount_minor": 5, "currency": "USD"}, "currency_mismatch"),
        ({"amount_minor": -1, "currency": "EUR"}, "invalid"),
        ({"amount_minor": "1e3", "currency": "EUR"}, "invalid"),
        ({"currency": "EUR"}, "invalid"),
        ({"amount_minor": 5, "items": "[1]"}, "invalid"),
        ({"amount_minor": 5, "items": '[{"quantity":-1}]'}, "invalid"),
        ({"amount_minor": 5, "items": "{"}, "invalid"),
        ({"amount_minor": 5, "reason": "BECAUSE"}, "unknown_reason"),
    ],
    ids=str,
)
def test_a_decision_that_makes_no_sense_changes_nothing(
    ledger: Ledger, log: Log, params: dict[str, object], code: str
) -> None:
    conversion_id = log.conversion(1, (7, WHOLE))
    run(ledger, log)
    before = only(ledger)
    log.decision("order.modify", conversion_id, **params)
    log.decision("action.modify", before.action_id, **params)
    run(ledger, log)
    assert decided(ledger) == [("refused", code)] * 2
    assert only(ledger) == before


def test_one_brand_decides_nothing_of_another(ledger: Ledger, log: Log) -> None:
    conversion_id = log.conversion(1, (7, WHOLE))
    run(ledger, log)
    before = only(ledger)
    for action, subject in (
        ("action.reverse", before.action_id),
        ("order.reverse", conversion_id),
        ("conversion.attribute", conversion_id),
        ("nonsense", conversion_id),
    ):
        log.decision(action, subject, brand=2, partner=9)
    run(ledger, log)
    assert {code for _outcome, code in decided(ledger)} == {"not_found", "unknown_decision"}
    assert only(ledger) == before


# ---- The engine decides again


def test_a_conversion_credited_to_another_moves_its_payout(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (1, WHOLE))
    log.conversion(1, (2, WHOLE), revision=2, has_record=False)
    run(ledger, log)
    found = actions(ledger)
    assert (found[1].state, found[1].reason, found[2].state) == (
        "reversed",
        "REATTRIBUTED",
        "pending",
    )
    assert accounts(ledger) == {"brand_expense": -1000, "partner_pending": 1000}
    log.conversion(1, (1, WHOLE), revision=3, has_record=False)
    run(ledger, log)
    found = actions(ledger)
    assert (found[1].state, found[2].state) == ("pending", "reversed")


def test_what_a_manager_reversed_stays_so_whatever_the_engine_finds(
    ledger: Ledger, log: Log
) -> None:
    log.conversion(1, (1, WHOLE))
    run(ledger, log)
    log.decision("action.reverse", only(ledger).action_id, reason="CONS_FRAUD")
    log.conversion(1, (1, 500_000), (2, 500_000), revision=2, has_record=False)
    run(ledger, log)
    found = actions(ledger)
    assert (found[1].state, found[1].reason, found[2].payout_minor) == (
        "reversed",
        "CONS_FRAUD",
        500,
    )


def test_after_the_lock_evidence_is_only_reported(ledger: Ledger, log: Log) -> None:
    conversion_id = log.conversion(1, (1, WHOLE))
    log.wait(31 * DAY_MS)
    log.tick()
    run(ledger, log)
    before = tables(ledger)
    log.conversion(1, (2, WHOLE), revision=2, has_record=False)
    log.conversion(1, (1, WHOLE), revision=3, has_record=False)
    run(ledger, log)
    after = tables(ledger)
    assert [row[5] for row in after.pop("late_evidence")] == [[2]]
    before.pop("late_evidence")
    assert after == before
    told = decision_by_id(ledger, conversion_id)
    assert told is not None
    assert told["credits"][0]["partner_id"] == "prt_1"


def test_a_conversion_a_manager_credits_stays_with_that_partner(ledger: Ledger, log: Log) -> None:
    log.enrol(5)
    conversion_id = log.conversion(1, (1, WHOLE))
    log.decision("conversion.attribute", conversion_id, partner=5, actor="key_2")
    log.conversion(1, (2, WHOLE), revision=2, amount_minor=20_000)
    run(ledger, log)
    found = actions(ledger)
    assert {partner: action.state for partner, action in found.items()} == {
        1: "reversed",
        5: "pending",
    }
    assert (found[5].payout_minor, bool(found[5].flags & ActionFlag.MANUAL)) == (2000, True)
    told = decision_by_id(ledger, conversion_id)
    assert told is not None
    assert (told["reason"], [each["partner_id"] for each in told["credits"]]) == (
        "credited_by_manager",
        ["prt_5"],
    )
    assert [row[5] for row in tables(ledger)["late_evidence"]] == [[2]]


def test_a_partner_without_enrolment_in_force_gets_no_new_action(ledger: Ledger, log: Log) -> None:
    log.enrol(5, status="paused")
    conversion_id = log.conversion(1, (5, WHOLE))
    log.decision("conversion.attribute", conversion_id, partner=5)
    run(ledger, log)
    assert (rows(ledger, "actions"), decided(ledger)) == ([], [("refused", "partner_inactive")])


def test_what_a_server_says_of_items_outlasts_what_a_browser_says(ledger: Ledger) -> None:
    log = Log()
    event = {"groups": [], "default": {"kind": "percent", "ppm": 100_000, "per": "item"}}
    log.terms(events={str(SALE): event})
    log.conversion(1, (7, WHOLE), items=(Item("A", None, "shoes", 1, 10_000),))
    log.conversion(
        1, (7, WHOLE), revision=2, items=(Item("Z", None, None, 1, 1),), trust=Trust.BROWSER
    )
    run(ledger, log)
    assert [row["sku"] for row in rows(ledger, "action_items")] == ["A"]


def test_an_order_the_engine_had_forgotten_keeps_its_actions(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (1, WHOLE), revision=2)
    run(ledger, log)
    before = tables(ledger)
    log.conversion(1, (2, WHOLE), revision=1)
    run(ledger, log)
    assert tables(ledger) == before


# ---- Terms and rates


def test_terms_in_force_do_not_change(ledger: Ledger, log: Log) -> None:
    log.terms(events={str(SALE): {"default": {"kind": "percent", "ppm": 500_000}}})
    log.terms(2, from_ms=log.now_ms + DAY_MS, locking={"kind": "never"})
    run(ledger, log)
    log.conversion(1, (1, WHOLE))
    log.wait(DAY_MS)
    log.conversion(2, (2, WHOLE))
    run(ledger, log)
    found = actions(ledger)
    assert [(found[partner].terms, found[partner].payout_minor) for partner in (1, 2)] == [
        (1, 1000),
        (2, 1000),
    ]


def test_an_order_in_another_currency_keeps_the_rate_of_its_time(ledger: Ledger, log: Log) -> None:
    def rate(number: int, numerator: int, from_ms: int) -> None:
        value = {
            "currency_from": "USD",
            "currency_to": "EUR",
            "numerator": numerator,
            "denominator": 100,
            "source": "ECB",
            "date": "2026-09-21",
            "from_ms": from_ms,
        }
        log.control("exchange_rate", number, value)

    log.conversion(1, (1, WHOLE), currency="USD")
    run(ledger, log)
    assert (only(ledger).payout_minor, only(ledger).reason) == (0, "rate_missing")
    rate(1, 90, 0)
    log.decision("action.reset", only(ledger).action_id)
    run(ledger, log)
    assert (only(ledger).payout_minor, only(ledger).payout_currency) == (900, "EUR")
    rate(2, 50, log.now_ms)
    conversion_id = log.conversion(1, (1, WHOLE), revision=2, currency="USD", amount_minor=20_000)
    log.decision("order.modify", conversion_id, amount_minor=5000, currency="USD")
    run(ledger, log)
    assert (only(ledger).payout_minor, json.loads(only(ledger).rate_json)["numerator"]) == (450, 90)


def test_a_retroactive_step_pays_for_what_is_not_locked(ledger: Ledger) -> None:
    log = Log()
    tiers = {
        "basis": "actions",
        "kind": "retroactive",
        "steps": [{"from": 3, "pay": {"kind": "percent", "ppm": 200_000}}],
    }
    event = {"default": {"kind": "percent", "ppm": 100_000}, "tiers": tiers}
    log.terms(events={str(SALE): event}, locking={"kind": "month_end", "months": 0, "days": 10})
    for number in (1, 2, 3):
        log.conversion(number, (7, WHOLE))
    log.wait(60 * DAY_MS)
    log.tick()
    run(ledger, log)
    found = rows(ledger, "actions")
    assert [(row["state"], row["payout_minor"]) for row in found] == [("locked", 2000)] * 3
