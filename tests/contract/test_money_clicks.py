"""Clicks that are paid for, through the management API: reviewed, turned into actions, reported.

Method: a real console, Redis, ledger, engine and book. A day is one of UTC.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest

from console_tools import RunningConsole, faults_of
from headwater import clock, ids, limits
from money_tools import QUARTER_CENT, TEN_PERCENT, Market, Matcher, running_matcher

Parts = tuple[RunningConsole, Matcher]
DAY_MS = 86_400_000
BEFORE = clock.iso_ms(clock.now_ms() - 7 * DAY_MS)
CENT = {"default": {"kind": "flat", "amount_micros": 1_000_000}}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with running_matcher(tmp_path_factory.mktemp("money")) as running:
        yield running


@pytest.fixture
def market(parts: Parts) -> Market:
    """A program that has paid a cent a click for a week; no code is on its site."""
    made = Market(*parts)
    made.with_clicks_paid()
    made.terms(starts_at=BEFORE, events={"click": CENT}, locking={"kind": "tracked", "days": 30})
    return made


def pending(market: Market, query: str = "") -> list[Any]:
    path = f"/v1/clicks/pending?program_id={market.program}{query}"
    reply = market.call("GET", path)
    assert reply.status == 200, reply.json
    found: list[Any] = reply.json["items"]
    return found


def payouts(market: Market) -> Any:
    path = f"/v1/reports/cpc-payouts?program_id={market.program}"
    return market.call("GET", path).json


def decided(market: Market, verb: str, **body: Any) -> Any:
    reply = market.call("POST", f"/v1/clicks/{verb}", body)
    assert reply.status == 200, reply.json
    return reply.json


def settled(market: Market) -> int:
    body = {"brand_id": market.brand, "until": "2099-01-01T00:00:00Z"}
    locked: int = market.call("POST", "/v1/settle", body).json["brands"][0]["locked"]
    return locked


def test_i16_i17_a_click_is_paid_without_code_on_the_site(parts: Parts) -> None:
    """The event type is all it takes; a quarter of a cent adds up exactly over the clicks."""
    market = Market(*parts)
    market.with_clicks_paid()
    market.terms(
        starts_at=BEFORE,
        events={"click": QUARTER_CENT},
        locking={"kind": "tracked", "days": 1},
    )
    for _ in range(10):
        market.counted_click(market.rival, DAY_MS)
    (row,) = payouts(market)["items"]
    assert (row["payable"], row["rate"], row["earned"], row["payout"]) == (
        10,
        "0.0025",
        "0.025",
        None,
    )
    assert settled(market) == 1
    (row,) = payouts(market)["items"]
    assert (row["payout"], row["state"]) == ("0.02", "locked")


def test_i18_pending_clicks_are_listed_by_partner_and_day(market: Market) -> None:
    first, second = market.counted_click(), market.counted_click()
    other = market.counted_click(market.rival)
    found = pending(market)
    assert [each["click_id"] for each in found] == [first, second, other]
    shown = found[0]
    assert (shown["verdict"], shown["standing"], shown["payout"]) == ("accept", "payable", "0.01")
    assert (shown["decision"], shown["currency"], shown["codes"]) == (None, "EUR", [])
    assert isinstance(shown["score"], int)
    for query in (
        f"&partner_id={market.rival}",
        f"&partner={market.rival}&day={found[2]['day']}",
    ):
        assert [each["click_id"] for each in pending(market, query)] == [other]
    for query in ("&day=2020-01-01", "&verdict=reject", "&standing=invalid", "&score_from=100"):
        assert pending(market, query) == []
    page = market.call("GET", f"/v1/clicks/pending?program_id={market.program}&limit=2").json
    rest = pending(market, f"&limit=2&cursor={page['next_cursor']}")
    assert [each["click_id"] for each in (*page["items"], *rest)] == [first, second, other]
    assert faults_of(market.call("GET", "/v1/clicks/pending?day=2026-02-30")) == {"day": "invalid"}


def test_i18_clicks_are_accepted_and_rejected_again_and_again(market: Market) -> None:
    first, second = market.counted_click(), market.counted_click()
    assert faults_of(market.call("POST", "/v1/clicks/reject", {"click_ids": [first]})) == {
        "reason": "required"
    }
    for _ in range(2):
        told = decided(market, "reject", click_ids=[first], reason="NOT_COMPLIANCE_TERMS")
        assert (told["items"][0]["status"], told["items"][0]["code"]) == (200, None)
        shown = pending(market)[0]
        assert (shown["standing"], shown["decision"], shown["reason"]) == (
            "rejected",
            "rejected",
            "NOT_COMPLIANCE_TERMS",
        )
        assert payouts(market)["items"][0]["payable"] == 1
    decided(market, "accept", click_ids=[first])
    assert [each["standing"] for each in pending(market)] == ["payable", "payable"]
    unknown = ids.event_text("clk", bytes(16))
    many = decided(market, "reject", click_ids=[unknown, second], reason="CONS_FRAUD")
    assert [(item["status"], item["code"]) for item in many["items"]] == [
        (404, "not_found"),
        (200, None),
    ]
    assert (many["changed"], many["unchanged"]) == (1, 1)
    audit = market.call("GET", f"/v1/audit?object_id={first}").json["items"]
    assert [each["verb"] for each in audit] == ["accept", "reject", "reject"]
    assert audit[0]["actor"].startswith("key_")


def test_i18_a_filter_decides_on_a_partners_day(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = [market.counted_click() for _ in range(3)]
    other = market.counted_click(market.rival)
    monkeypatch.setattr(limits, "REVIEWED_AT_ONCE_MAX", 2)
    chosen = {
        "program_id": market.program,
        "partner_id": market.partner,
        "day": pending(market)[0]["day"],
        "verdict": ["accept"],
    }
    told = [decided(market, "reject", filter=chosen, reason="CONS_FRAUD") for _ in range(3)]
    assert [(each["changed"], each["more"]) for each in told] == [
        (2, True),
        (1, False),
        (0, False),
    ]
    found = {each["click_id"]: each["standing"] for each in pending(market)}
    assert found == {**dict.fromkeys(clicks, "rejected"), other: "payable"}


def test_i18_a_decision_on_clicks_is_carried_out_once_under_its_key(market: Market) -> None:
    click_id = market.counted_click()
    headers = {"Idempotency-Key": "night"}
    body = {"click_ids": [click_id], "reason": "CONS_FRAUD"}
    first = market.call("POST", "/v1/clicks/reject", body, headers=headers).json
    decided(market, "accept", click_ids=[click_id])
    again = market.call("POST", "/v1/clicks/reject", body, headers=headers).json
    assert again == first
    assert pending(market)[0]["standing"] == "payable"


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"click_ids": "invalid"}),
        ({"click_ids": ["act_" + "0" * 26]}, {"click_ids.0": "invalid"}),
        ({"click_ids": []}, {"click_ids": "invalid"}),
        (
            {"filter": {"program_id": "prg_1"}},
            {"filter.partner_id": "required", "filter.day": "required"},
        ),
        (
            {"filter": {"program_id": "prg_9999", "partner_id": "prt_1", "day": "2026-01-01"}},
            {"filter.program_id": "unknown_program"},
        ),
        (
            {"filter": {"program_id": "prg_1", "partner_id": "ext:no", "day": "2026-01-01"}},
            {"filter.partner_id": "unknown_partner"},
        ),
    ],
)
def test_reviews_that_are_not_taken(market: Market, body: Any, faults: dict[str, str]) -> None:
    assert faults_of(market.call("POST", "/v1/clicks/accept", body)) == faults


def test_a_rejected_click_takes_back_what_it_earned_by_a_sale(market: Market) -> None:
    """Also where the program pays nothing for the click itself; accepted, it is given back."""
    market.terms(events={"sale": TEN_PERCENT})
    action_id = market.sale_of()
    click_id = market.call("GET", f"/v1/actions/{action_id}").json["click_id"]
    decided(market, "reject", click_ids=[click_id], reason="CONS_FRAUD")
    shown = market.call("GET", f"/v1/actions/{action_id}").json
    assert (shown["state"], shown["reason"]) == ("reversed", "CLICK_REJECTED")
    assert market.booked() == {}
    decided(market, "accept", click_ids=[click_id])
    assert market.call("GET", f"/v1/actions/{action_id}").json["state"] == "pending"
    assert market.booked() == {"brand_expense": -1_000, "partner_pending": 1_000}


def test_i19_what_nobody_rejected_becomes_one_action_once(market: Market) -> None:
    clicks = [market.counted_click(ago_ms=DAY_MS) for _ in range(3)]
    decided(market, "reject", click_ids=clicks[:1], reason="CONS_FRAUD")
    assert [settled(market), settled(market)] == [1, 0]
    (action,) = market.call("GET", f"/v1/actions?program_id={market.program}").json["items"]
    assert (action["kind"], action["state"], action["payout"], action["conversion_id"]) == (
        "clicks",
        "locked",
        "0.02",
        None,
    )
    assert market.booked() == {"brand_expense": -2, "partner_payable": 2}
    assert pending(market) == []
    late = market.call("POST", "/v1/clicks/accept", {"click_ids": clicks[:1]}).json["items"][0]
    assert (late["status"], late["code"]) == (409, "action_locked")


def test_i15_instant_clicks_are_paid_at_once_and_never_reviewed(market: Market) -> None:
    market.terms(partner_id=market.rival, events={"click": CENT}, cpc_mode="instant")
    click_id = market.counted_click(market.rival)
    market.counted_click(market.rival)
    (row,) = payouts(market)["items"]
    assert (row["mode"], row["state"], row["payout"], row["payable"]) == (
        "instant",
        "locked",
        "0.02",
        2,
    )
    assert pending(market) == []
    body = {"click_ids": [click_id], "reason": "CONS_FRAUD"}
    told = market.call("POST", "/v1/clicks/reject", body).json["items"][0]
    assert (told["status"], told["code"]) == (409, "action_locked")
    assert market.moved(row["action_id"], "reverse", 409, reason="CONS_FRAUD")["code"] in (
        "action_locked",
        "illegal_move",
    )


def test_i21_the_payouts_report_adds_up_to_the_book(market: Market) -> None:
    clicks = [market.counted_click(ago_ms=DAY_MS) for _ in range(3)]
    market.counted_click(market.rival, DAY_MS)
    decided(market, "reject", click_ids=clicks[:1], reason="CONS_FRAUD")
    before = payouts(market)
    assert {row["partner_id"]: row["state"] for row in before["items"]} == {
        market.partner: "pending",
        market.rival: "pending",
    }
    settled(market)
    market.counted_click(ago_ms=DAY_MS)
    report = payouts(market)
    mine = next(row for row in report["items"] if row["partner_id"] == market.partner)
    names = (
        *("gross", "filtered", "duplicate", "rejected", "late", "payable"),
        *("rate", "payout", "state"),
    )
    assert [mine[name] for name in names] == [4, 0, 0, 1, 1, 2, "0.01", "0.02", "locked"]
    (total,) = report["totals"]
    assert (total["gross"], total["late"], total["payable"], total["payout"]) == (5, 1, 3, "0.03")
    cents = [round(100 * float(row["payout"])) for row in report["items"]]
    assert sum(cents) == market.booked()["partner_payable"] == 3
    path = f"/v1/reports/balance?program_id={market.program}"
    (owed,) = market.call("GET", path).json["totals"]
    assert (owed["payable"], owed["owed"], owed["brand_expense"]) == ("0.03", "0.03", "-0.03")


def test_i21_the_payouts_report_is_there_as_csv(market: Market) -> None:
    market.counted_click()
    market.counted_click(market.rival)
    path = f"/v1/reports/cpc-payouts.csv?program_id={market.program}"
    reply = market.call("GET", path)
    assert reply.headers.get_content_type() == "text/csv"
    assert reply.body.endswith(b"\r\n")
    told = payouts(market)["items"]
    rows = list(csv.DictReader(io.StringIO(reply.body.decode())))
    assert [{name: row[name] or None for name in row} for row in rows] == [
        {name: None if value is None else str(value) for name, value in item.items()}
        for item in told
    ]
    page = market.call("GET", f"{path}&limit=1")
    cursor = page.headers["Headwater-Next-Cursor"]
    assert len(page.body.splitlines()) == 2
    rest = market.call("GET", f"{path}&limit=1&cursor={cursor}")
    assert rest.headers["Headwater-Next-Cursor"] is None
    assert len(market.call("GET", f"{path}&until_day=2020-01-01").body.splitlines()) == 1
