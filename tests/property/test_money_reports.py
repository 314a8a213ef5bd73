"""Reports of money add up to the double-entry book, whatever has happened.

Method: logs of orders, clicks, decisions and ticks, drawn at random, run through the book over a
real ledger; the reports are held against sums over the book's own rows.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from book_tools import CLICK_TYPE, DAY_MS, SALE, Log, event, rows, run
from headwater.console import money_reports
from headwater.ledger import actions, pending_clicks
from headwater.ledger.actions import ActionFilter
from headwater.ledger.engine import Ledger
from headwater.ledger.pending_clicks import DayFilter
from headwater.model.currency import EXPONENTS
from ledger_tools import ledger_in

WHOLE = 1_000_000
EVENTS: dict[str, Any] = {
    str(SALE): {"groups": [], "default": {"kind": "percent", "ppm": 123_456}},
    str(CLICK_TYPE): {"groups": [], "default": {"kind": "flat", "amount_micros": 370_001}},
}
VERBS = ("approve", "reverse", "reset", "pay")

step = st.one_of(
    st.tuples(st.just("sale"), st.integers(1, 3), st.integers(0, 10_000_000), st.booleans()),
    st.tuples(st.just("click"), st.integers(1, 3)),
    st.tuples(st.sampled_from(VERBS), st.integers(0, 40)),
    st.tuples(st.just("compensate"), st.integers(0, 40), st.integers(-500, 500)),
    st.tuples(st.just("reject"), st.integers(0, 40)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
)


def play(ledger: Ledger, steps: list[tuple[Any, ...]]) -> None:
    log = Log(kinds=("sale", "click"))
    log.terms(events=EVENTS)
    clicks: list[bytes] = []
    made: list[bytes] = []
    for number, (what, *values) in enumerate(steps, 1):
        if what == "sale":
            partner, amount_minor, is_test = values
            given = [(partner, WHOLE // 2), (partner + 1, WHOLE - WHOLE // 2)]
            log.conversion(number, *given, amount_minor=amount_minor, test=is_test)
        elif what == "click":
            clicks.append(log.click(values[0]))
        elif what == "wait":
            log.wait(values[0] * DAY_MS)
            log.tick()
        elif what == "reject" and clicks:
            log.decision("clicks.reject", clicks[values[0] % len(clicks)], reason="CONS_FRAUD")
        elif what in (*VERBS, "compensate"):
            run(ledger, log)
            made = [row["action_id"] for row in rows(ledger, "actions")]
            subject = made[values[0] % len(made)] if made else event(1)
            params = {"payout_minor": values[1]} if what == "compensate" else {}
            log.decision(f"action.{what}", subject, **params)
    run(ledger, log)


def minor(text: str, currency: str = "EUR") -> int:
    found = Fraction(text) * 10 ** EXPONENTS[currency]
    assert found.denominator == 1, text
    return int(found)


def booked(ledger: Ledger, *accounts: str, partner: int | None = None) -> int:
    return sum(
        row["amount_minor"]
        for row in rows(ledger, "book_entries")
        if row["account"] in accounts and partner in (None, row["partner"])
    )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(st.lists(step, max_size=25))
def test_reports_add_up_to_the_book_after_anything(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, ledger_in(Path(folder)) as ledger:
        play(ledger, steps)
        report = money_reports.balance_of(actions.balances(ledger))
        for total in report.totals:
            accounts = [total.pending, total.approved, total.payable, total.paid]
            assert sum(map(minor, accounts)) == -minor(total.brand_expense)
            for name in ("pending", "approved", "payable", "paid", "owed"):
                shown = sum(minor(getattr(row, name)) for row in report.items)
                assert shown == minor(getattr(total, name))
            assert minor(total.paid) == booked(ledger, "partner_paid")
            assert -minor(total.owed) - minor(total.paid) == booked(ledger, "brand_expense")
        for row in report.items:
            number = int(row.partner_id[4:])
            owing = ("partner_pending", "partner_approved", "partner_payable")
            assert minor(row.owed) == booked(ledger, *owing, partner=number)
        _lists_add_up(ledger)
        _clicks_add_up(ledger)


def _lists_add_up(ledger: Ledger) -> None:
    """What actions say they pay is what the book holds for them."""
    wanted = ActionFilter(is_test=False)
    listed = actions.action_page(ledger, wanted, before=None, count=10_000)
    standing = sum(row["payout_minor"] for row in listed if row["state"] != "reversed")
    beside = sum(row["compensated_minor"] for row in listed)
    assert standing + beside == -booked(ledger, "brand_expense")


def _clicks_add_up(ledger: Ledger) -> None:
    days = pending_clicks.day_page(ledger, DayFilter(), after=None, count=10_000)
    totals = pending_clicks.day_totals(ledger, DayFilter())
    of_clicks = [row for row in rows(ledger, "actions") if row["kind"] == "clicks"]
    assert sum(total.booked_minor for total in totals) == sum(
        row["payout_minor"] + row["compensated_minor"] for row in of_clicks
    )
    assert sum(day["booked_minor"] or 0 for day in days) == sum(
        total.booked_minor for total in totals
    )
    for day in days:
        parts = ("invalid", "duplicate", "rejected", "over_cap", "payable")
        late = sum(
            standing["standing"] == "late"
            for standing in rows(ledger, "click_standings")
            if (standing["partner"], standing["day"]) == (day["partner"], day["day"])
        )
        assert day["gross"] == sum(day[name] for name in parts) + late
