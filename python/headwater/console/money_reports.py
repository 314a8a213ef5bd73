"""Reports of money: what is owed, and what clicks are paid. Their sums are the book's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from headwater import ids
from headwater.console import money_texts, paging
from headwater.console.action_shapes import BalanceQuery, PayoutsQuery
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.events import number_of
from headwater.console.own_links import bound, reach_of
from headwater.console.views import View
from headwater.ledger import actions, pending_clicks
from headwater.ledger.actions import Balance
from headwater.ledger.pending_clicks import DayFilter, DayKey, DayTotal
from headwater.ledger.schema import brands, partners, programs
from headwater.model.cells import safe_cell

Row = Mapping[str, Any]
CSV: Final = "text/csv; charset=utf-8"


class BalanceRow(View):
    """What a program owes a partner: `pending` and `approved` may still be reversed, `payable` is
    locked and not yet paid, `paid` is paid. `owed` is all of it but what is paid.
    """

    partner_id: str
    program_id: str
    currency: str
    pending: str
    approved: str
    payable: str
    paid: str
    owed: str


class BalanceTotal(View):
    """All rows of one currency. `brand_expense` is what the brands have spent, below zero: with
    the partners' accounts it comes to nothing.
    """

    currency: str
    pending: str
    approved: str
    payable: str
    paid: str
    owed: str
    brand_expense: str


class BalanceReport(View):
    items: list[BalanceRow]
    totals: list[BalanceTotal]


class ClickPayout(View):
    """A partner's clicks of a day of the program's time zone. `filtered` by scoring, `rejected` by
    a manager, `over_cap` unpaid by a cap, `late`: the day was locked, or paid, before they came.
    `gross` is the sum of these and `payable`; `rate` is what a payable click brought on average.
    `earned` is exact; `payout` what was booked of it, in whole units with what former days left
    over, null until the day locks.
    """

    day: str
    program_id: str
    partner_id: str
    gross: int
    filtered: int
    duplicate: int
    rejected: int
    over_cap: int
    late: int
    payable: int
    rate: str
    earned: str
    payout: str | None
    currency: str
    state: str
    mode: str
    action_id: str | None


class ClickPayoutTotal(View):
    currency: str
    gross: int
    filtered: int
    duplicate: int
    rejected: int
    over_cap: int
    late: int
    payable: int
    earned: str
    payout: str


class ClickPayouts(View):
    """`items` are one page, by day; `totals` are of all days that were asked for."""

    items: list[ClickPayout]
    totals: list[ClickPayoutTotal]
    next_cursor: str | None


# ---- Balance -------------------------------------------------------------------------------

_ACCOUNTS: Final = {
    "partner_pending": "pending",
    "partner_approved": "approved",
    "partner_payable": "payable",
    "partner_paid": "paid",
}
_SPENT: Final = "brand_expense"


async def report_balance(console: Console, request: Request) -> Answer:
    query: BalanceQuery = request.query
    reach = reach_of(request)
    found = await console.run(
        actions.balances,
        console.ledger,
        brand=bound(await number_of(console, brands, "brd", query.brand_id), reach.brand),
        program=await number_of(console, programs, "prg", query.program_id),
        partner=bound(await number_of(console, partners, "prt", query.partner_id), reach.partner),
    )
    return Answer(balance_of(found))


def balance_of(found: Sequence[Balance]) -> BalanceReport:
    """The report of some sums of the book."""
    rows: dict[tuple[int, int, str], dict[str, int]] = {}
    totals: dict[str, dict[str, int]] = {}
    for each in found:
        for sums in (
            rows.setdefault((each.partner, each.program, each.currency), {}),
            totals.setdefault(each.currency, {}),
        ):
            sums[each.account] = sums.get(each.account, 0) + each.amount_minor
    return BalanceReport(
        items=[
            BalanceRow(
                partner_id=ids.object_text("prt", partner),
                program_id=ids.object_text("prg", program),
                currency=currency,
                **_sums(sums, currency),
            )
            for (partner, program, currency), sums in rows.items()
        ],
        totals=[
            BalanceTotal(
                currency=currency,
                **_sums(sums, currency),
                brand_expense=money_texts.text(sums.get(_SPENT, 0), currency),
            )
            for currency, sums in sorted(totals.items())
        ],
    )


def _sums(sums: Mapping[str, int], currency: str) -> dict[str, str]:
    found = {name: sums.get(account, 0) for account, name in _ACCOUNTS.items()}
    found["owed"] = found["pending"] + found["approved"] + found["payable"]
    return {name: money_texts.text(amount, currency) for name, amount in found.items()}


# ---- What clicks are paid ------------------------------------------------------------------


async def report_click_payouts(console: Console, request: Request) -> Answer:
    query: PayoutsQuery = request.query
    wanted, rows = await _days(console, request)
    totals = await console.run(pending_clicks.day_totals, console.ledger, wanted)
    page = paging.page(query, rows, _payout, _place)
    return Answer(
        ClickPayouts(
            items=page.items,
            totals=[_total(each) for each in totals],
            next_cursor=page.next_cursor,
        )
    )


async def report_click_payouts_csv(console: Console, request: Request) -> Answer:
    query: PayoutsQuery = request.query
    _wanted, rows = await _days(console, request)
    page = paging.page(query, rows, _payout, _place)
    headers = {"Content-Disposition": 'attachment; filename="click-payouts.csv"'}
    if page.next_cursor is not None:
        headers["Headwater-Next-Cursor"] = page.next_cursor
    names = ClickPayout.__struct_fields__
    lines = [[getattr(item, name) for name in names] for item in page.items]
    return Answer(csv_bytes(names, lines), headers=headers, content_type=CSV)


async def _days(console: Console, request: Request) -> tuple[DayFilter, list[dict[str, Any]]]:
    """The filter that is asked for, and the rows of one page and one more."""
    query: PayoutsQuery = request.query
    reach = reach_of(request)
    wanted = DayFilter(
        brand=reach.brand,
        program=await number_of(console, programs, "prg", query.program_id),
        partner=bound(await number_of(console, partners, "prt", query.partner_id), reach.partner),
        since_day=query.since_day,
        until_day=query.until_day,
    )
    after = paging.decode(query.cursor, tuple[str, int, int, str])
    rows = await console.run(
        pending_clicks.day_page,
        console.ledger,
        wanted,
        after=None if after is None else DayKey(*after),
        count=query.limit + 1,
    )
    return wanted, rows


def _place(row: Row) -> DayKey:
    return DayKey(row["day"], row["program"], row["partner"], row["currency"])


# Clicks of a day that are in none of these came too late.
_COUNTED: Final = ("invalid", "duplicate", "rejected", "over_cap", "payable")


def _payout(row: Row) -> ClickPayout:
    currency, payable = row["currency"], row["payable"]
    booked = row["booked_minor"]
    return ClickPayout(
        day=row["day"],
        program_id=ids.object_text("prg", row["program"]),
        partner_id=ids.object_text("prt", row["partner"]),
        gross=row["gross"],
        filtered=row["invalid"],
        duplicate=row["duplicate"],
        rejected=row["rejected"],
        over_cap=row["over_cap"],
        late=row["gross"] - sum(row[name] for name in _COUNTED),
        payable=payable,
        rate=money_texts.micros_text(row["payout_micros"] // payable if payable else 0, currency),
        earned=money_texts.micros_text(row["payout_micros"], currency),
        payout=None if booked is None else money_texts.text(booked, currency),
        currency=currency,
        state=row["action_state"] or row["state"],
        mode=row["mode"],
        action_id=None if row["action_id"] is None else ids.event_text("act", row["action_id"]),
    )


def _total(total: DayTotal) -> ClickPayoutTotal:
    return ClickPayoutTotal(
        currency=total.currency,
        gross=total.gross,
        filtered=total.invalid,
        duplicate=total.duplicate,
        rejected=total.rejected,
        over_cap=total.over_cap,
        late=total.gross - sum(getattr(total, name) for name in _COUNTED),
        payable=total.payable,
        earned=money_texts.micros_text(total.payout_micros, total.currency),
        payout=money_texts.text(total.booked_minor, total.currency),
    )


def csv_bytes(names: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """RFC 4180 in UTF-8. What a spreadsheet would take for a formula has an apostrophe before."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(names)
    for line in lines:
        writer.writerow([safe_cell(each) if isinstance(each, str) else each for each in line])
    return written.getvalue().encode()
