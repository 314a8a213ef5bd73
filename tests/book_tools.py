"""A log of the engine's outcomes made by hand, run through the book over a real ledger."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgpack
import sqlalchemy as sa

from headwater.book.book import Book
from headwater.ledger import matching
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import (
    BOOK_TABLES,
    conversions,
    credit_shares,
    firings,
    late_evidence,
    pixel_decisions,
    pixel_versions,
    waiting_lead_identifiers,
    waiting_leads,
)
from headwater.matcher.ordering import TABLES, TICKS, ordered
from headwater.model.book import Action
from headwater.model.pixels import Pixel
from headwater.model.records import (
    NO_CLIENT,
    NO_SUBJECT,
    ClickBody,
    ControlBody,
    ConversionBody,
    DecisionBody,
    Flag,
    IdentifierType,
    Item,
    Kind,
    Money,
    Record,
    Source,
    Trust,
    encode,
)
from ledger_tools import NOW_MS, acquired, batch

BRAND, PROGRAM, SALE, LEAD, CLICK_TYPE = 1, 1, 1, 2, 3
TOLD_TABLES = (firings, pixel_decisions, pixel_versions, waiting_leads, waiting_lead_identifiers)
DAY_MS = 86_400_000
POSTBACK = "https://partner.example/p?id={click_id}&paid={payout}&state={status}&sub={sub1}"
TERMS: dict[str, Any] = {
    "program": PROGRAM,
    "partner": 0,
    "version": 1,
    "from_ms": 0,
    "until_ms": None,
    "currency": "EUR",
    "window_seconds": None,
    "locking": {"kind": "tracked", "days": 30},
    "payment": {"months": 0, "days": 20},
    "change_notice_days": 0,
    "reversal_max_ppm": 1_000_000,
    "cpc_mode": "review",
    "approve": "automatic",
    "events": {
        str(SALE): {"groups": [], "default": {"kind": "percent", "ppm": 100_000}},
        str(CLICK_TYPE): {"groups": [], "default": {"kind": "flat", "amount_micros": 250_000}},
    },
    "caps": [],
}


class Step(NamedTuple):
    table: str
    row: Any
    time_ms: int


def event(number: int) -> bytes:
    """An event id of the test's choice."""
    return number.to_bytes(16, "big")


class Log:
    """Steps as the engine gives them. Time goes on by a second with each, unless told."""

    def __init__(self, *, kinds: Sequence[str] = ("sale", "lead")) -> None:
        self.steps: list[Step] = []
        self.now_ms = NOW_MS
        self._numbers = iter(range(1, 1_000_000))
        self.control("program", PROGRAM, {"timezone": "UTC", "currency": "EUR"})
        for number, kind in enumerate(("sale", "lead", "click"), 1):
            if kind in kinds:
                value = {"program": PROGRAM, "code": kind, "kind": kind, "status": "active"}
                self.control("event_type", number, value)

    def add(self, table: str, row: Any) -> None:
        self.now_ms += 1000
        self.steps.append(Step(table, row, self.now_ms))

    def wait(self, ms: int) -> None:
        self.now_ms += ms

    def tick(self) -> None:
        self.add(TICKS, None)

    def control(self, kind: str, number: int, value: dict[str, Any] | None) -> None:
        revision = next(self._numbers)
        body = ControlBody(kind, number, revision, value)
        self.add("controls", [BRAND, kind, number, revision, self._record(Kind.CONTROL, body)])

    def enrol(self, partner: int, *, status: str = "active") -> None:
        value = {"program": PROGRAM, "partner": partner, "status": status}
        self.control("enrolment", partner, value)

    def terms(self, number: int = 1, **changes: Any) -> None:
        self.control("terms", number, {**TERMS, **changes})

    def pixel(self, number: int = 1, **changes: Any) -> None:
        """A postback of partner 7 for sales in any program, unless told."""
        made = Pixel(number, 7, 0, "cpa", "main", "postback", POSTBACK, None, 0)
        status = changes.pop("status", "active")
        value = {**made._replace(**changes)._asdict(), "status": status}
        self.control("pixel", number, value)

    def _record(
        self, kind: Kind, body: Any, trust: Trust = Trust.SERVER, source: Source = Source.S2S
    ) -> bytes:
        name = event(next(self._numbers))
        # Edges accept a record before it is on the log.
        return encode(Record(kind, name, BRAND, self.now_ms, None, trust, source, body))

    def conversion(
        self,
        number: int,
        *credits_given: Sequence[Any],
        revision: int = 1,
        amount_minor: int = 10_000,
        currency: str = "EUR",
        verdict: str = "accept",
        status: str | None = None,
        test: bool = False,
        event_type: int = SALE,
        items: tuple[Item, ...] = (),
        trust: Trust = Trust.SERVER,
        accept_ms: int | None = None,
        has_record: bool = True,
        visitor: bytes | None = None,
        source: Source = Source.S2S,
        denied: bool = False,
    ) -> bytes:
        """Credits are (partner, share_ppm) or (partner, share_ppm, click id)."""
        conversion_id = event(10**6 + number)
        flags = (int(Flag.TEST) if test else 0) | (int(Flag.CONSENT_DENIED) if denied else 0)
        named = ((int(IdentifierType.VISITOR), visitor),) if visitor else ()
        money = Money(amount_minor, currency, None, None, None)
        order = f"A-{number}"
        body = ConversionBody(
            *(conversion_id, PROGRAM, event_type, order, "main", flags, None, named, money),
            *("SAVE10", "new", items, {}, NO_CLIENT, None),
        )
        given = [[each[0], each[2] if len(each) > 2 else None, each[1]] for each in credits_given]
        status = status or ("attributed" if given else "unattributed")
        at_ms = accept_ms or self.now_ms + 1000
        row = [
            *(conversion_id, BRAND, PROGRAM, event_type, order, "main", at_ms, at_ms),
            *(status, None, amount_minor, currency, flags, revision, given),
            *(msgpack.packb({"members": named}), bytes(16)),
            *(verdict, 0, 0, b"", self._record(Kind.CONVERSION, body, trust, source)),
        ]
        if not has_record:
            row[-1] = b""
        self.add("conversions", row)
        return conversion_id

    def decision(
        self, action: str, subject: bytes = NO_SUBJECT, brand: int = BRAND, **params: Any
    ) -> bytes:
        name = event(next(self._numbers))
        texts = {key: str(value) for key, value in params.items()}
        record = Record(
            *(Kind.DECISION, name, brand, self.now_ms, None, Trust.SERVER, Source.CONSOLE),
            DecisionBody(action, subject, texts),
        )
        self.add("others", [name, int(Kind.DECISION), brand, self.now_ms, encode(record)])
        return name

    def click(
        self,
        partner: int = 1,
        *,
        verdict: str = "accept",
        counted: str = "counted",
        is_unique: int = 1,
        test: bool = False,
    ) -> bytes:
        name = event(2 * 10**6 + next(self._numbers))
        flags = int(Flag.TEST) if test else 0
        body = ClickBody(PROGRAM, partner, 1, flags, (), {"sub1": "blog"}, NO_CLIENT)
        head = [name, BRAND, PROGRAM, partner, 1, self.now_ms + 1000, self.now_ms + 1000, 2, 1]
        record = encode(
            Record(Kind.CLICK, name, BRAND, self.now_ms, None, Trust.BROWSER, Source.LINK, body)
        )
        self.add("clicks", [*head, flags, verdict, counted, is_unique, 0, 0, b"", record])
        return name

    def scored_again(
        self, click_id: bytes, revision: int, verdict: str = "reject", counted: str = "counted"
    ) -> None:
        row = [
            click_id,
            BRAND,
            self.now_ms,
            revision,
            verdict,
            counted,
            1,
            90,
            0,
            b"",
            "X",
            event(1),
        ]
        self.add("decision_revised", row)

    def outcomes(self, cuts: Iterable[int] = ()) -> list[dict[str, Any]]:
        """The log as batches; each cut is how many steps come before it."""
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(self.steps)}), len(self.steps)]
        return [_outcomes(self.steps[start:end]) for start, end in itertools.pairwise(edges)]


def _outcomes(steps: Sequence[Step]) -> dict[str, Any]:
    found: dict[str, Any] = {table: [] for table in TABLES}
    runs: list[list[int]] = []
    for table, row, time_ms in steps:
        number = len(TABLES) if table == TICKS else TABLES.index(table)
        if table != TICKS:
            found[table].append(row)
        if runs and runs[-1][0] == number and runs[-1][2] == time_ms:
            runs[-1][1] += 1
        else:
            runs.append([number, 1, time_ms])
    return {**found, "steps": runs}


def run(ledger: Ledger, log: Log, cuts: Iterable[int] = (), *, restarts: bool = False) -> None:
    """Commit the log, cut into batches; with `restarts` each batch has a book of its own."""
    book = Book(0, matching.settings_of(ledger, 0))
    for outcomes in log.outcomes(cuts):
        if restarts:
            book = Book(0, matching.settings_of(ledger, 0))
        commit(ledger, book, outcomes)
    log.steps.clear()


def commit(ledger: Ledger, book: Book, outcomes: dict[str, Any]) -> matching.Committed:
    return matching.commit(
        ledger,
        [batch(acquired(ledger), **outcomes)],
        lease_until_ms=0,
        book=lambda store, batch: book.apply(store, batch.outcomes, ordered(batch.outcomes)),
    )


def tables(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Everything the book and the engine's decisions have left in the ledger."""
    with ledger.read() as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(sa.select(table))), key=repr
            )
            for table in (*BOOK_TABLES, *TOLD_TABLES, conversions, credit_shares, late_evidence)
        }


def rows(ledger: Ledger, table: str) -> list[dict[str, Any]]:
    """Rows of a table, in the order of its key."""
    chosen = next(each for each in (*BOOK_TABLES, *TOLD_TABLES) if each.name == table)
    with ledger.read() as connection:
        found = connection.execute(sa.select(chosen).order_by(*chosen.primary_key)).mappings()
        return [dict(row) for row in found]


def actions(ledger: Ledger) -> dict[int, Action]:
    """The actions of a log with one conversion, by partner."""
    return {row["partner"]: Action(**row) for row in rows(ledger, "actions")}


def accounts(ledger: Ledger) -> dict[str, int]:
    """What stands on each account, in minor units of all currencies together."""
    sums: dict[str, int] = {}
    for row in rows(ledger, "book_entries"):
        sums[row["account"]] = sums.get(row["account"], 0) + row["amount_minor"]
    return {account: amount for account, amount in sums.items() if amount}


_ACCOUNT_OF = {
    "pending": "partner_pending",
    "approved": "partner_approved",
    "locked": "partner_payable",
    "paid": "partner_paid",
}


def imbalances(ledger: Ledger) -> list[str]:
    """What of the double-entry book does not hold: each move sums to zero, the accounts are what
    the actions say, and the balances that are kept are the sums of the entries.
    """
    faults = []
    summed: dict[tuple[int, int, str, str], int] = {}
    by_move: dict[tuple[bytes, int, str], int] = {}
    booked: dict[tuple[str, str], int] = {}
    for row in rows(ledger, "book_entries"):
        move = (row["action_id"], row["revision"], row["currency"])
        by_move[move] = by_move.get(move, 0) + row["amount_minor"]
        kept = (row["program"], row["partner"], row["currency"], row["account"])
        summed[kept] = summed.get(kept, 0) + row["amount_minor"]
        place = (row["account"], row["currency"])
        booked[place] = booked.get(place, 0) + row["amount_minor"]
    balances = rows(ledger, "book_balances")
    if summed != {tuple(row.values())[:4]: row["amount_minor"] for row in balances}:
        faults.append("the balances are not the sums of the entries")
    faults += [f"{move} does not sum to zero" for move, total in by_move.items() if total]
    owed: dict[tuple[str, str], int] = {}
    for row in rows(ledger, "actions"):
        if row["flags"] & 1:
            continue
        places = [("partner_payable", row["compensated_minor"])]
        if row["state"] != "reversed":
            places.append((_ACCOUNT_OF[row["state"]], row["payout_minor"]))
        for account, amount in places:
            for place in (
                (account, row["payout_currency"]),
                ("brand_expense", row["payout_currency"]),
            ):
                sign = -1 if place[0] == "brand_expense" else 1
                owed[place] = owed.get(place, 0) + sign * amount
    for place in booked.keys() | owed.keys():
        if booked.get(place, 0) != owed.get(place, 0):
            faults.append(f"{place}: booked {booked.get(place, 0)}, owed {owed.get(place, 0)}")
    return faults
