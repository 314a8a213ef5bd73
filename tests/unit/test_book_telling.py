"""From the log to partner pixels: what the book's moves make of them, through a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from book_tools import DAY_MS, LEAD, SALE, TERMS, Log, actions, event, imbalances, rows, run
from headwater.ledger.engine import Ledger
from headwater.model.book import ActionFlag
from headwater.model.pixels import NOT_FOR_SALES
from headwater.model.records import Source
from ledger_tools import ledger_in

WHOLE = 1_000_000
MINUTE_MS = 60_000
VISITOR = b"v" * 16
TAG = '<img src="https://partner.example/i?o={order_id}">'


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


@pytest.fixture
def log() -> Log:
    made = Log(kinds=("sale", "lead", "click"))
    paid = {**TERMS["events"], str(LEAD): {"default": {"kind": "flat", "amount_micros": 5_000_000}}}
    made.terms(events=paid)
    made.pixel()
    made.pixel(2, commission="cpl", rule=NOT_FOR_SALES, delay_ms=20 * MINUTE_MS)
    return made


def urls(ledger: Ledger) -> list[str]:
    fired = sorted(rows(ledger, "firings"), key=lambda row: row["at_ms"])
    return [row["url"].removeprefix("https://partner.example/p?") for row in fired]


def codes(ledger: Ledger) -> list[str]:
    """What was said of each action and pixel, the first action first."""
    order = [row["action_id"] for row in sorted(rows(ledger, "actions"), key=_tracked)]
    found = rows(ledger, "pixel_decisions")
    found.sort(key=lambda row: (order.index(row["action_id"]), row["pixel"]))
    return [row["code"] for row in found]


def _tracked(row: dict[str, object]) -> tuple[object, ...]:
    return row["tracked_ms"], row["partner"]


def test_k1_each_partner_hears_of_its_own_share_alone(ledger: Ledger, log: Log) -> None:
    log.pixel(3, partner=8)
    log.conversion(1, (7, 600_000), (8, 300_000), (9, 100_000))
    run(ledger, log)
    fired = {row["partner"]: row["url"] for row in rows(ledger, "firings")}
    assert {partner: "paid=" + url.split("paid=")[1] for partner, url in fired.items()} == {
        7: "paid=6.00&state=pending&sub=",
        8: "paid=3.00&state=pending&sub=",
    }


def test_a_firing_says_what_the_credited_click_said(ledger: Ledger, log: Log) -> None:
    click_id = log.click(7)
    log.conversion(1, (7, WHOLE, click_id))
    run(ledger, log)
    (said,) = urls(ledger)
    assert said.startswith("id=clk_")
    assert said.endswith("&paid=10.00&state=pending&sub=blog")


def test_k4_a_partner_out_of_the_program_earns_nothing_and_hears_nothing(
    ledger: Ledger, log: Log
) -> None:
    log.conversion(1, (7, WHOLE), event_type=LEAD)
    log.conversion(2, (7, WHOLE), verdict="review")
    log.enrol(7, status="paused")
    log.conversion(3, (7, WHOLE))
    log.wait(DAY_MS)
    log.tick()
    run(ledger, log)
    assert codes(ledger) == ["partner_inactive", "held"]
    held = next(row for row in rows(ledger, "actions") if row["flags"] & ActionFlag.HELD)
    log.decision("action.approve", held["action_id"])
    run(ledger, log)
    assert codes(ledger) == ["partner_inactive", "partner_inactive"]
    assert urls(ledger) == []


def test_a_pixel_that_is_paused_fires_no_more(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE))
    log.pixel(status="paused")
    log.conversion(2, (7, WHOLE))
    run(ledger, log)
    assert len(urls(ledger)) == 1


def test_an_older_word_on_a_pixel_changes_nothing(ledger: Ledger, log: Log) -> None:
    """The console may send what it has sent before."""
    old = log.steps[-1]
    log.conversion(1, (7, WHOLE), event_type=LEAD)
    log.pixel(2, commission="cpl", rule=NOT_FOR_SALES, delay_ms=20 * MINUTE_MS, status="paused")
    log.add("controls", old.row)
    log.conversion(2, (7, WHOLE), event_type=LEAD)
    log.wait(DAY_MS)
    log.tick()
    run(ledger, log, range(20), restarts=True)
    assert codes(ledger) == ["pixel_inactive", "no_pixel"]


@pytest.mark.parametrize(
    ("after_ms", "code"),
    [(19 * MINUTE_MS + 59_000, "suppressed_sale"), (20 * MINUTE_MS + 1000, "fired")],
    ids=["19:59", "20:01"],
)
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("is_credited", [False, True])
def test_k11_a_sale_of_the_visitor_cancels_a_lead_for_twenty_minutes(
    ledger: Ledger, log: Log, after_ms: int, code: str, restarts: bool, is_credited: bool
) -> None:
    """The sale is of another order, of nobody or of another partner: the visitor is the same."""
    log.conversion(1, (7, WHOLE), event_type=LEAD, visitor=VISITOR)
    log.wait(after_ms - 1000)
    log.conversion(2, *([(9, WHOLE)] if is_credited else []), visitor=VISITOR)
    log.wait(30 * MINUTE_MS)
    log.tick()
    run(ledger, log, range(20) if restarts else (), restarts=restarts)
    assert codes(ledger)[0] == code
    assert len(urls(ledger)) == (code == "fired")
    assert rows(ledger, "waiting_leads") == []


@pytest.mark.parametrize(
    "sale",
    [{"visitor": b"w" * 16}, {"visitor": VISITOR, "test": True},
     {"visitor": VISITOR, "status": "rejected"}, {"visitor": VISITOR, "event_type": LEAD}],
    ids=["another visitor", "a test", "rejected", "a lead"],
)  # fmt: skip
def test_k11_what_is_no_sale_of_the_visitor_cancels_nothing(
    ledger: Ledger, log: Log, sale: dict[str, object]
) -> None:
    log.conversion(1, (7, WHOLE), event_type=LEAD, visitor=VISITOR)
    log.conversion(2, **sale)  # type: ignore[arg-type]
    log.wait(20 * MINUTE_MS)
    log.tick()
    run(ledger, log)
    assert codes(ledger) == ["fired"]


def test_k11_a_later_look_at_a_sale_cancels_too(ledger: Ledger, log: Log) -> None:
    """Evidence that came later shows the buyer to be the lead's visitor."""
    log.conversion(1, (7, WHOLE), event_type=LEAD, visitor=VISITOR)
    log.conversion(2, visitor=b"w" * 16)
    log.conversion(2, revision=2, visitor=VISITOR, has_record=False)
    log.wait(20 * MINUTE_MS)
    log.tick()
    run(ledger, log)
    assert codes(ledger) == ["suppressed_sale"]


def test_what_waits_for_a_manager_is_told_when_it_is_approved(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE), verdict="review")
    run(ledger, log)
    assert (codes(ledger), urls(ledger)) == (["held"], [])
    log.decision("action.approve", actions(ledger)[7].action_id)
    run(ledger, log)
    assert (codes(ledger), urls(ledger)) == (["fired"], ["id=&paid=10.00&state=approved&sub="])
    log.wait(31 * DAY_MS)
    log.tick()
    run(ledger, log)
    assert len(urls(ledger)) == 1


def test_what_a_manager_reverses_before_that_is_never_told(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE), verdict="review")
    run(ledger, log)
    log.decision("action.reverse", actions(ledger)[7].action_id, reason="CONS_FRAUD")
    run(ledger, log)
    assert (codes(ledger), urls(ledger)) == (["reversed"], [])


def test_what_is_rejected_or_nobodys_is_told_to_nobody(ledger: Ledger, log: Log) -> None:
    log.conversion(1, status="rejected", verdict="reject")
    log.conversion(2)
    run(ledger, log)
    assert rows(ledger, "pixel_decisions") == []


def test_an_order_that_was_canceled_before_it_came_is_told_to_nobody(
    ledger: Ledger, log: Log
) -> None:
    for number, order_type in ((1, SALE), (2, LEAD)):
        log.decision("reverse", event(10**6 + number), by="shopify", reason="order_cancelled")
        log.conversion(number, (7, WHOLE), event_type=order_type)
    log.wait(DAY_MS)
    log.tick()
    run(ledger, log)
    assert codes(ledger) == ["reversed", "reversed"]
    assert urls(ledger) == []


def test_what_another_partner_loses_the_new_one_hears_of(ledger: Ledger, log: Log) -> None:
    log.pixel(3, partner=8)
    log.conversion(1, (8, WHOLE))
    log.conversion(1, (7, WHOLE), revision=2, has_record=False)
    log.conversion(1, (7, WHOLE), revision=3, has_record=False)
    run(ledger, log)
    assert [row["partner"] for row in rows(ledger, "firings")].count(7) == 1
    assert len(urls(ledger)) == 2


def test_a_conversion_that_a_manager_gives_a_partner_is_told(ledger: Ledger, log: Log) -> None:
    log.enrol(7)
    conversion_id = log.conversion(1)
    log.decision("conversion.attribute", conversion_id, partner=7)
    run(ledger, log)
    assert urls(ledger) == ["id=&paid=10.00&state=pending&sub="]


def test_k22_a_test_order_is_told_and_paid_nothing(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE), test=True)
    run(ledger, log)
    (fired,) = rows(ledger, "firings")
    assert fired["is_test"]
    assert rows(ledger, "book_entries") == []


def test_what_is_over_a_cap_is_not_told(ledger: Ledger) -> None:
    log = Log()
    log.pixel()
    cap = {"metric": "conversions", "period": "day", "scope": "program", "event_type": None}
    log.terms(caps=[{**cap, "limit": 0}])
    log.conversion(1, (7, WHOLE))
    run(ledger, log)
    assert codes(ledger) == ["over_cap"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": Source.TAG}, "fired"),
        ({"source": Source.TAG, "denied": True}, "consent_denied"),
        ({"source": Source.S2S}, "skipped_source_api"),
        ({"source": Source.PIXEL}, "skipped_source_pixel"),
    ],
    ids=str,
)
def test_k16_images_go_with_the_answer_to_the_tag_alone(
    ledger: Ledger, log: Log, changes: dict[str, object], code: str
) -> None:
    log.pixel(1, type="image", template=TAG)
    log.conversion(1, (7, WHOLE), **changes)  # type: ignore[arg-type]
    run(ledger, log)
    assert codes(ledger) == [code]
    assert len(urls(ledger)) == (code == "fired")


def test_k16_a_credit_found_later_comes_too_late_for_the_browser(ledger: Ledger, log: Log) -> None:
    log.pixel(1, type="image", template=TAG)
    log.conversion(1, source=Source.TAG)
    log.conversion(1, (7, WHOLE), revision=2, has_record=False)
    run(ledger, log)
    assert codes(ledger) == ["browser_gone"]


def test_k7_a_day_of_clicks_is_told_when_it_is_paid(ledger: Ledger, log: Log) -> None:
    log.pixel(3, commission="cpc")
    for _ in range(8):
        log.click(7)
    run(ledger, log)
    assert urls(ledger) == []
    log.wait(32 * DAY_MS)
    log.tick()
    log.tick()
    run(ledger, log)
    assert urls(ledger) == ["id=&paid=0.02&state=locked&sub="]


def test_k7_a_day_of_instant_clicks_is_told_once_with_all_it_paid(ledger: Ledger, log: Log) -> None:
    """Four clicks of a quarter of a cent: the first alone would be told as nothing."""
    log.terms(2, partner=7, events=TERMS["events"], cpc_mode="instant")
    log.pixel(3, commission="cpc")
    for _ in range(4):
        log.click(7)
    log.decision("program.settle", until_ms=2**50)
    run(ledger, log)
    assert urls(ledger) == []
    log.wait(DAY_MS)
    log.tick()
    log.tick()
    run(ledger, log, range(9), restarts=True)
    assert urls(ledger) == ["id=&paid=0.01&state=locked&sub="]
    log.wait(DAY_MS)
    log.decision("action.pay", actions(ledger)[7].action_id)
    log.tick()
    run(ledger, log)
    assert len(urls(ledger)) == 1


def test_k4_a_day_of_instant_clicks_is_not_told_to_a_partner_that_left(
    ledger: Ledger, log: Log
) -> None:
    log.terms(2, partner=7, events=TERMS["events"], cpc_mode="instant")
    log.pixel(3, commission="cpc")
    log.enrol(7)
    log.click(7)
    log.enrol(7, status="removed")
    log.wait(DAY_MS)
    log.tick()
    run(ledger, log)
    assert (codes(ledger), urls(ledger)) == (["partner_inactive"], [])


def test_what_was_reversed_before_it_was_told_is_told_when_it_is_back(
    ledger: Ledger, log: Log
) -> None:
    log.conversion(1, (7, WHOLE), verdict="review")
    run(ledger, log)
    action_id = actions(ledger)[7].action_id
    for verb in ("reverse", "reset", "approve"):
        log.decision(
            f"action.{verb}", action_id, **({"reason": "CONS_FRAUD"} if verb == "reverse" else {})
        )
    run(ledger, log, range(9), restarts=True)
    assert (codes(ledger), urls(ledger)) == (["fired"], ["id=&paid=10.00&state=approved&sub="])


def test_an_order_that_grows_again_is_told(ledger: Ledger, log: Log) -> None:
    """It was given back whole before it came, so nobody heard of it."""
    log.decision("order.modify", event(10**6 + 1), amount_minor=0, currency="EUR")
    log.conversion(1, (7, WHOLE))
    log.decision("order.modify", event(10**6 + 1), amount_minor=5_000, currency="EUR")
    run(ledger, log)
    assert urls(ledger) == ["id=&paid=5.00&state=pending&sub="]


def test_what_has_room_in_its_cap_later_is_told(ledger: Ledger) -> None:
    log = Log()
    log.pixel()
    cap = {"metric": "conversions", "period": "day", "scope": "program", "event_type": None}
    log.terms(caps=[{**cap, "limit": 1}])
    log.conversion(1, (8, WHOLE))
    second = log.conversion(2, (7, WHOLE))
    run(ledger, log)
    by_order = {row["conversion_id"]: row["action_id"] for row in rows(ledger, "actions")}
    log.decision(
        "action.reverse",
        next(each for order, each in by_order.items() if order != second),
        reason="CONS_FRAUD",
    )
    log.decision("action.reset", by_order[second])
    run(ledger, log)
    assert urls(ledger) == ["id=&paid=10.00&state=pending&sub="]


def test_a_reversed_lead_leaves_nothing_behind_when_it_is_closed(ledger: Ledger, log: Log) -> None:
    log.conversion(1, (7, WHOLE), event_type=LEAD, visitor=VISITOR)
    run(ledger, log)
    log.decision("action.reverse", actions(ledger)[7].action_id, reason="CONS_FRAUD")
    run(ledger, log)
    assert len(rows(ledger, "waiting_leads")) == 1
    log.wait(31 * DAY_MS)
    log.tick()
    run(ledger, log)
    assert (rows(ledger, "waiting_leads"), rows(ledger, "waiting_lead_identifiers")) == ([], [])
    assert codes(ledger) == ["reversed"]
