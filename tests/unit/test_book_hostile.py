"""What an attacker with an edge's credentials, or a shop's, can put on the log: the book refuses
it, or passes it over, and goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from book_tools import (
    BRAND,
    CLICK_TYPE,
    LEAD,
    PROGRAM,
    SALE,
    TERMS,
    Log,
    actions,
    event,
    imbalances,
    rows,
    run,
    tables,
)
from headwater import limits
from headwater.book.book import Book
from headwater.book.pixel_check import check_pixel
from headwater.book.terms import read_terms
from headwater.ledger import matching
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import sale_rollups
from headwater.matcher.committing import Committer
from headwater.matcher.ordering import ordered
from headwater.model.book import Booked
from headwater.model.outbound import Rules
from headwater.model.pixels import NOT_FOR_SALES
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    Item,
    Kind,
    Record,
    Source,
    Trust,
    decode,
    encode,
    is_well_formed,
)
from ledger_tools import acquired, batch, ledger_in

WHOLE = 1_000_000
AHEAD_MS = (1 << 48) - 1
"""The latest time a record can have: after the year 10000."""
PER_ITEM = {str(SALE): {"default": {"kind": "percent", "ppm": 100_000, "per": "item"}}}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


def outcomes_of_decisions(ledger: Ledger) -> list[tuple[str, str | None]]:
    return [(row["outcome"], row["code"]) for row in rows(ledger, "decisions_log")]


# ---- Amounts beyond belief -------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(), range(100)])
def test_orders_beyond_belief_without_terms_are_no_revenue(ledger: Ledger, cuts: Any) -> None:
    log = Log()
    for number in range(1, 13):
        log.conversion(number, (7, WHOLE), amount_minor=10**18 - 1)
    log.conversion(13, (7, WHOLE), amount_minor=limits.PAID_ORDER_MINOR_MAX)
    log.conversion(14, (7, WHOLE), amount_minor=limits.PAID_ORDER_MINOR_MAX + 1)
    run(ledger, log, cuts)
    with ledger.read() as connection:
        found = connection.execute(
            sa.select(sale_rollups.c.revenue_minor, sale_rollups.c.order_minor)
        ).all()
    assert {tuple(row) for row in found} == {(limits.PAID_ORDER_MINOR_MAX,) * 2}


def test_a_shop_cannot_raise_orders_without_terms_beyond_belief(ledger: Ledger) -> None:
    log = Log()
    for number in range(1, 13):
        order = log.conversion(number, (7, WHOLE))
        log.decision("modify", order, amount_minor=10**18)
    run(ledger, log)
    assert {row["revenue_minor"] for row in rows(ledger, "actions")} == {0}


def test_a_cap_beyond_belief_is_counted_in_64_bits(ledger: Ledger) -> None:
    log = Log()
    cap = {"metric": "payout", "period": "month", "scope": "partner", "limit": 2**63 - 1}
    flat = {"kind": "flat", "amount_micros": limits.PAYOUT_MINOR_MAX * WHOLE}
    log.terms(caps=[cap], events={str(SALE): {"default": flat}})
    for number in range(1, 13):
        log.conversion(number, (7, WHOLE))
    run(ledger, log)
    assert max(row["used"] for row in rows(ledger, "tallies")) < 2**63


def test_more_pieces_than_a_row_can_hold(ledger: Ledger) -> None:
    log = Log()
    log.terms(events=PER_ITEM)
    log.conversion(1, (7, WHOLE), items=(Item("a\0b", None, "c\0", 2**64 - 1, 5),))
    run(ledger, log)
    (row,) = rows(ledger, "action_items")
    assert (row["sku"], row["category"]) == ("ab", "c")
    assert row["quantity"] == limits.ITEM_QUANTITY_MAX


# ---- Decisions -------------------------------------------------------------------------------


def test_a_refused_credit_changes_nothing(ledger: Ledger) -> None:
    log = Log()
    log.terms()
    log.enrol(7)
    log.enrol(8)
    order = log.conversion(1, (7, WHOLE))
    run(ledger, log)
    before = tables(ledger)
    log.decision("conversion.attribute", order, partner=8, reason="NO_SUCH_REASON")
    run(ledger, log)
    assert outcomes_of_decisions(ledger) == [("refused", "unknown_reason")]
    after = tables(ledger)
    changed = {name for name, found in after.items() if found != before[name]}
    assert changed == {"decisions_log"}
    (action,) = actions(ledger).values()
    log.decision("action.modify", action.action_id, amount_minor=5000)
    run(ledger, log)
    assert outcomes_of_decisions(ledger)[-1] == ("applied", None)


def test_an_action_that_lost_its_credit_is_not_priced_again(ledger: Ledger) -> None:
    log = Log()
    log.terms()
    log.conversion(1, (7, WHOLE))
    log.conversion(1, (8, WHOLE), revision=2)
    run(ledger, log)
    lost = actions(ledger)[7]
    for verb, given in (("reset", {}), ("modify", {"amount_minor": 5000})):
        log.decision(f"action.{verb}", lost.action_id, **given)
    run(ledger, log)
    assert outcomes_of_decisions(ledger) == [
        ("refused", "not_credited"),
        # It is reversed, and what is reversed is not modified.
        ("refused", "illegal_move"),
    ]
    assert actions(ledger)[7] == lost


@pytest.mark.parametrize("sku", ["\\ud800", "\\udfff.", "a\\u0000b"])
@pytest.mark.parametrize("verb", ["order.modify", "action.modify", "modify"])
def test_items_that_no_ledger_keeps_are_refused(ledger: Ledger, verb: str, sku: str) -> None:
    log = Log()
    log.terms(events=PER_ITEM)
    order = log.conversion(1, (7, WHOLE), items=(Item("a", None, None, 1, 10_000),))
    run(ledger, log)
    (action,) = actions(ledger).values()
    subject = action.action_id if verb == "action.modify" else order
    items = f'[{{"sku":"{sku}","quantity":1,"subtotal_minor":5}}]'
    log.decision(verb, subject, amount_minor=5, items=items)
    run(ledger, log)
    assert outcomes_of_decisions(ledger) == [("refused", "invalid")]
    assert [row["sku"] for row in rows(ledger, "action_items")] == ["a"]


def test_no_text_of_a_decision_keeps_a_nul(ledger: Ledger) -> None:
    log = Log()
    log.decision("a\0b", note="c\0d", request="e\0f", by="g\0h", reason="i\0j")
    run(ledger, log)
    (row,) = rows(ledger, "decisions_log")
    assert not [text for text in row.values() if isinstance(text, str) and "\0" in text]
    assert (row["action"], row["outcome"], row["code"]) == ("ab", "refused", "unknown_decision")


# ---- Times -----------------------------------------------------------------------------------


def test_partners_hear_the_engines_time_of_a_click(ledger: Ledger) -> None:
    log = Log(kinds=("sale", "click"))
    log.terms()
    log.pixel(template="https://partner.example/p?at={click_time}")
    click_id = event(3 * 10**6)
    body = ClickBody(PROGRAM, 7, 1, 0, (), {}, NO_CLIENT)
    head = (Kind.CLICK, click_id, BRAND, AHEAD_MS, None, Trust.BROWSER, Source.LINK, body)
    record = encode(Record(*head))
    assert is_well_formed(record)
    taken_ms = 1_790_000_000_123
    row = [click_id, BRAND, PROGRAM, 7, 1, taken_ms, taken_ms, 2, 1, 0]
    log.add("clicks", [*row, "accept", "counted", 1, 0, 0, b"", record])
    log.conversion(1, (7, WHOLE, click_id))
    run(ledger, log)
    (fired,) = rows(ledger, "firings")
    assert fired["url"] == "https://partner.example/p?at=2026-09-21T14%3A13%3A20.123Z"


def test_a_lead_from_the_future_waits_no_longer(ledger: Ledger, monkeypatch: Any) -> None:
    log = Log()
    flat = {"default": {"kind": "flat", "amount_micros": 1_000_000}}
    log.terms(events={str(LEAD): flat})
    log.pixel(commission="cpl", rule=NOT_FOR_SALES, delay_ms=20 * 60_000)
    made = log._record

    def ahead(*given: Any) -> bytes:
        return encode(decode(made(*given))._replace(accept_ms=log.now_ms + 3_600_000))

    monkeypatch.setattr(log, "_record", ahead)
    log.conversion(1, (7, WHOLE), event_type=LEAD)
    log.wait(20 * 60_000)
    log.tick()
    run(ledger, log)
    assert [row["code"] for row in rows(ledger, "pixel_decisions")] == ["fired"]


# ---- Configuration ---------------------------------------------------------------------------

UNREADABLE: list[tuple[str, dict[Any, Any]]] = [
    ("money_settings", {"reversal_reasons": 5}),
    ("exchange_rate", {"currency_from": "USD", "currency_to": "EUR", "from_ms": "x"}),
    ("event_type", {"program": PROGRAM}),
    ("event_type", {"program": PROGRAM, "kind": "click"}),
    ("event_type", {"program": [], "kind": "click", "status": "active"}),
    ("enrolment", {"status": "active"}),
    ("enrolment", {"program": PROGRAM, "partner": 2**64 - 1, "status": "paused"}),
    ("pixel", {"status": "active"}),
    ("terms", {(1, 2): 3}),
]
PIXEL: dict[str, Any] = {
    "partner": 7,
    "program": 0,
    "commission": "cpa",
    "slot": "main",
    "type": "postback",
    "template": "https://partner.example/",
    "rule": None,
    "delay_ms": 0,
    "status": "active",
}
NO_PIXELS = [
    {"type": "image", "template": "<b>"},
    {"type": "image", "template": '<img src="https://a.example/"><![x[y]]>'},
    {"type": "script"},
    {"type": ["image"]},
    {"template": 5},
    {"partner": 2**64 - 1},
    {"partner": "7"},
    {"rule": 5},
    {"slot": {}},
    {"delay_ms": limits.LEAD_DELAY_MS_MAX + 1},
    {"delay_ms": -1},
]


@pytest.mark.parametrize(
    ("kind", "value"), [*UNREADABLE, *(("pixel", {**PIXEL, **each}) for each in NO_PIXELS)]
)
def test_configuration_that_cannot_be_read_is_passed_over(
    ledger: Ledger, kind: str, value: dict[Any, Any]
) -> None:
    log = Log()
    log.terms()
    log.pixel()
    log.control(kind, 50, value)
    log.conversion(1, (7, WHOLE))
    book, (outcomes,) = Book(0), log.outcomes()
    revision = next(row[3] for row in outcomes["controls"] if row[2] == 50)
    told: list[Booked] = []

    def take(store: Any, of: Any) -> Booked:
        told.append(book.apply(store, of.outcomes, ordered(of.outcomes)))
        return told[-1]

    matching.commit(ledger, [batch(acquired(ledger), **outcomes)], lease_until_ms=0, book=take)
    assert told[0].unread == [(kind, 50, revision)]
    assert actions(ledger)[7].payout_minor == 1000
    assert len(rows(ledger, "firings")) == 1
    assert all(row["number"] != 50 for row in rows(ledger, "book_settings"))


def test_the_matcher_says_which_configuration_the_book_did_not_take(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()
    log.terms()
    log.control("exchange_rate", 50, {"from_ms": "x"})
    log.conversion(1, (7, WHOLE))
    (outcomes,) = log.outcomes()
    revision = next(row[3] for row in outcomes["controls"] if row[2] == 50)
    committer: Any = SimpleNamespace(_books={0: Book(0)})
    matching.commit(
        ledger,
        [batch(acquired(ledger), **outcomes)],
        lease_until_ms=0,
        book=lambda store, of: Committer._book(committer, store, of),
    )
    (said,) = [each for each in caplog.records if "not taken" in each.message]
    fields: dict[str, Any] = vars(said)["fields"]
    assert fields == {"object": "exchange_rate", "number": 50, "revision": revision}
    assert actions(ledger)[7].payout_minor == 1000


def test_what_cannot_be_read_leaves_the_former_in_force(ledger: Ledger) -> None:
    log = Log(kinds=("sale", "click"))
    log.terms()
    log.control("event_type", CLICK_TYPE, {"program": PROGRAM, "kind": "click"})
    log.click(7)
    run(ledger, log, restarts=True)
    log.click(7)
    run(ledger, log, restarts=True)
    assert [row["gross"] for row in rows(ledger, "click_days")] == [2]


def test_numbers_of_terms_fit_the_ledger(ledger: Ledger) -> None:
    log = Log()
    log.terms(version=2**63)
    log.conversion(1, (7, WHOLE))
    run(ledger, log)
    assert actions(ledger)[7].terms_version == 0
    assert read_terms(1, {**TERMS, "version": 2**63 - 1}).version == 2**63 - 1


# ---- Templates of pixels ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "https://partner.example/{a b}?x={click_id}",
        "https://a{/x}b.com/",
        "https://partner.example/{\u00e9}",
        "https://partner.example/\ud800",
        "https://partner.example/\0",
    ],
)
def test_a_template_that_can_never_be_sent_is_refused(template: str) -> None:
    value = {"commission": "cpa", "type": "postback", "template": template, "program": None}
    assert [fault.field for fault in check_pixel(value, Rules()).faults] == ["template"]


def test_a_snippet_with_a_marked_section_is_refused() -> None:
    template = '<img src="https://partner.example/"><![x[y]]>'
    value = {"commission": "cpa", "type": "image", "template": template, "program": None}
    assert [fault.field for fault in check_pixel(value, Rules()).faults] == ["template"]
