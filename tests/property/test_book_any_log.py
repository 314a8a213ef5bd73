"""Whatever stands on the log, the book takes it or refuses it: it never stops at a record."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_book_log import fresh_ledger

from book_tools import BRAND, CLICK_TYPE, LEAD, PROGRAM, SALE, TERMS, Log, event, imbalances
from headwater.book.book import Book
from headwater.book.context import digest
from headwater.book.decisions import _HANDLERS
from headwater.book.settings import OBJECTS
from headwater.ledger import matching
from headwater.ledger.book_store import BookStore
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import PartitionBatch
from headwater.matcher.ordering import ordered
from headwater.model.book import Booked
from headwater.model.pixels import NOT_FOR_SALES
from headwater.model.records import (
    NO_CLIENT,
    NO_SUBJECT,
    ClickBody,
    Item,
    Kind,
    Record,
    Source,
    Trust,
    encode,
)
from ledger_tools import acquired, batch

TIME_MS_MAX = (1 << 48) - 1
EDGES = [0, 1, 5, 10**12, 10**12 + 1, 10**18, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63)]
NUMBERS = st.sampled_from(EDGES) | st.integers(-(2**63), 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["active", "paused", "sale", "click", "flat", "percent", "EUR", "USD", "image", "{sub1}", "\0"]
)
# What msgpack holds on the log: the engine takes no fractions.
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.integers(0, 5) | st.tuples(st.integers(0, 5)), inner)
    ),
    max_leaves=8,
)
PAY = {"kind": "percent", "ppm": 100_000, "per": "item"}
FLAT = {"kind": "flat", "amount_micros": 10**18}
STEPS_OF_TIERS = [{"from": 2, "pay": PAY}]
CAPS = [
    {"metric": metric, "period": "month", "scope": scope, "limit": 2**63 - 1}
    for metric in ("conversions", "payout", "revenue")
    for scope in ("program", "partner")
]
PLAIN: dict[str, dict[str, Any]] = {
    "program": {"timezone": "UTC", "currency": "EUR", "code": "p"},
    "event_type": {"program": PROGRAM, "code": "c", "kind": "sale", "status": "active"},
    "enrolment": {"program": PROGRAM, "partner": 7, "status": "active"},
    "terms": {
        **TERMS,
        "events": {
            str(SALE): {
                "default": PAY,
                "tiers": {"basis": "revenue", "kind": "retroactive", "steps": STEPS_OF_TIERS},
            },
            str(LEAD): {"default": FLAT},
            str(CLICK_TYPE): {"default": FLAT},
        },
        "caps": CAPS,
        "reversal_max_ppm": 500_000,
    },
    "exchange_rate": {
        "currency_from": "USD",
        "currency_to": "EUR",
        "numerator": 10**17,
        "denominator": 1,
        "from_ms": 0,
    },
    "money_settings": {"reversal_reasons": ["OURS"]},
    "pixel": {
        "partner": 7,
        "program": 0,
        "commission": "cpa",
        "slot": "main",
        "type": "postback",
        "template": "https://partner.example/?{click_time}{datetime}{payout}{sub1}{base_price}",
        "rule": None,
        "delay_ms": 0,
        "status": "active",
    },
}
CONTROLS = st.sampled_from(OBJECTS).flatmap(
    lambda kind: st.tuples(
        st.just("control"),
        st.just(kind),
        st.sampled_from([1, 2, 3, 2**63 - 1]),
        st.none()
        | VALUES.filter(lambda value: isinstance(value, dict))
        | st.dictionaries(st.sampled_from(sorted(PLAIN[kind])), VALUES, max_size=2).map(
            lambda changed: {**PLAIN[kind], **changed}
        )
        | st.sampled_from(sorted(PLAIN[kind])).map(
            lambda left: {name: value for name, value in PLAIN[kind].items() if name != left}
        ),
    )
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "sku": JSON | st.sampled_from(["a", "\ud800", "\0"]),
            "quantity": NUMBERS | JSON,
            "subtotal_minor": NUMBERS | JSON,
        },
    ),
    max_size=3,
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: NUMBERS.map(str) | TEXTS
            for name in ("amount_minor", "payout_minor", "partner", "program", "until_ms")
        },
        **dict.fromkeys(
            ("actor", "by", "note", "cause", "request", "currency", "refund_id"), TEXTS
        ),
        "reason": TEXTS | st.sampled_from(["CONS_FRAUD", "OURS", "order_refunded"]),
        "day": TEXTS | st.just("2026-09-21"),
        "at": TEXTS | st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]),
        "click_id": TEXTS,
        "items": ITEMS.map(json.dumps) | JSON.map(json.dumps),
        "filter": JSON.map(json.dumps)
        | st.dictionaries(st.sampled_from(["verdict", "standing", "score_from"]), JSON).map(
            json.dumps
        ),
    },
)
ORDERS = st.integers(1, 3)
PARTNERS = st.sampled_from([7, 8, 2**63 - 1])
SUBJECTS = st.sampled_from(["order", "action", "click", "none"])
DECISIONS = st.tuples(
    st.just("decision"), st.sampled_from(sorted(_HANDLERS)) | TEXTS, SUBJECTS, ORDERS, PARTNERS,
    PARAMS, st.booleans(),
)  # fmt: skip
SUBTOTALS = st.none() | st.sampled_from([0, 5, 10**18, 2**63 - 1, -(2**63)])
BOUGHT = st.lists(
    st.builds(
        Item,
        st.none() | TEXTS,
        st.none(),
        st.none() | TEXTS,
        st.sampled_from([0, 1, 10**9, 2**64 - 1]),
        SUBTOTALS,
    ),
    max_size=2,
)
CONVERSIONS = st.tuples(
    st.just("conversion"),
    ORDERS,
    st.lists(PARTNERS, max_size=2),
    st.sampled_from([0, 1, 10_000, 10**12, 10**12 + 1, 10**18, 2**63 - 1, -1, -(2**63)]),
    st.sampled_from(["EUR", "USD", "JPY", "ZZZ"]),
    st.sampled_from(["accept", "review", "reject"]),
    st.sampled_from([SALE, LEAD, 9]),
    BOUGHT,
)
CLICKS = st.tuples(st.just("click"), PARTNERS, st.sampled_from([0, TIME_MS_MAX]), TEXTS)
OTHERS = st.one_of(
    st.tuples(st.just("tick")),
    st.tuples(st.just("wait"), st.integers(0, 400)),
    st.tuples(st.just("scored"), st.sampled_from(["accept", "reject"])),
)


class Writer:
    """Makes the log of what was drawn."""

    def __init__(self) -> None:
        self.log = Log(kinds=("sale", "lead", "click"))
        self.log.terms(**PLAIN["terms"])
        self.log.enrol(7)
        self.log.enrol(8)
        self.log.pixel(template=PLAIN["pixel"]["template"])
        self.log.pixel(2, commission="cpl", rule=NOT_FOR_SALES, delay_ms=1_200_000)
        self._clicks = [self.log.click(7)]
        self._scores = 0
        self._revisions: dict[int, int] = {}
        self.write("conversion", 1, [7, 8], 10_000, "EUR", "accept", SALE, [])

    def write(self, name: str, *of: Any) -> None:
        getattr(self, f"_{name}")(*of)

    def _control(self, kind: str, number: int, value: Any) -> None:
        self.log.control(kind, number, value)

    def _tick(self) -> None:
        self.log.tick()

    def _wait(self, days: int) -> None:
        self.log.wait(days * 86_400_000)

    def _decision(
        self, action: str, subject: str, number: int, partner: int, params: Any, own: bool
    ) -> None:
        order = event(10**6 + number)
        subjects = {
            "order": order,
            "action": digest("conversion", order, partner),
            "click": self._clicks[-1],
            "none": NO_SUBJECT,
        }
        params = {**({"partner": partner} if own else {}), **params}
        self.log.decision(action, subjects[subject], **params)

    def _conversion(
        self,
        number: int,
        partners: list[int],
        amount_minor: int,
        currency: str,
        verdict: str,
        event_type: int,
        items: list[Item],
    ) -> None:
        self._revisions[number] = self._revisions.get(number, 0) + 1
        share = 1_000_000 // max(1, len(partners))
        self.log.conversion(
            number,
            *((partner, share, self._clicks[-1]) for partner in partners),
            revision=self._revisions[number],
            amount_minor=amount_minor,
            currency=currency,
            verdict=verdict,
            event_type=event_type,
            items=tuple(items),
        )

    def _click(self, partner: int, said_ms: int, text: str) -> None:
        click_id = event(5 * 10**6 + len(self._clicks))
        params = {"sub1": text, "source": text, "external_click_id": text}
        body = ClickBody(PROGRAM, partner, 1, 0, (), params, NO_CLIENT)
        head = (Kind.CLICK, click_id, BRAND, said_ms, None, Trust.BROWSER, Source.LINK, body)
        now_ms = self.log.now_ms + 1000
        row = [click_id, BRAND, PROGRAM, partner, 1, now_ms, now_ms, 2, 1, 0]
        record = encode(Record(*head))
        self.log.add("clicks", [*row, "accept", "counted", 1, 0, 0, b"", record])
        self._clicks.append(click_id)

    def _scored(self, verdict: str) -> None:
        self._scores += 1
        self.log.scored_again(self._clicks[-1], self._scores, verdict)


class Watched:
    """A store that holds decisions to writing nothing before they are refused."""

    def __init__(self, store: BookStore) -> None:
        self._store = store
        self._written: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not name.startswith(("put_", "add_")):
            return found

        def write(*given: Any, **options: Any) -> None:
            self._written.append((name, given[0]))
            found(*given, **options)

        return write

    def decision(self, event_id: bytes) -> Any:
        self._written.clear()
        return self._store.decision(event_id)

    def put_decision(self, entry: Any) -> None:
        if entry.outcome == "refused":
            assert all(
                name == "put_order_change" and row.state == "refused" for name, row in self._written
            ), self._written
        self._store.put_decision(entry)


def taken(ledger: Ledger, log: Log, cuts: list[int]) -> None:
    book = Book(0)

    def keep(store: BookStore, of: PartitionBatch) -> Booked:
        watched: Any = Watched(store)
        return book.apply(watched, of.outcomes, ordered(of.outcomes))

    for outcomes in log.outcomes(cuts):
        matching.commit(ledger, [batch(acquired(ledger), **outcomes)], lease_until_ms=0, book=keep)
    # What was kept is read again at the next start.
    Book(0, matching.settings_of(ledger, 0))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    st.lists(CONTROLS | DECISIONS | DECISIONS | CONVERSIONS | CLICKS | OTHERS, max_size=20),
    st.lists(st.integers(1, 30), max_size=3),
)
def test_the_book_stops_at_nothing(steps: list[tuple[Any, ...]], cuts: list[int]) -> None:
    writer = Writer()
    for step in steps:
        writer.write(*step)
    with tempfile.TemporaryDirectory() as folder, fresh_ledger(Path(folder)) as ledger:
        taken(ledger, writer.log, cuts)
        assert imbalances(ledger) == []
