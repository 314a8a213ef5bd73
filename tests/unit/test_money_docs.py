"""docs/money.md says what the code does: its terms hold, its lists are complete."""

from __future__ import annotations

import json
import re
from pathlib import Path

from headwater.book.entries import account_of
from headwater.book.money import same
from headwater.book.payout import OrderFacts, click_micros, payout
from headwater.book.reasons import REVERSAL_REASONS
from headwater.book.states import STATES
from headwater.book.terms import GROUP_FIELDS, read_terms
from headwater.book.terms_check import ProgramFacts, check_terms
from headwater.book.tiers import Progress
from headwater.console import bodies, terms_values
from headwater.console.money_routes import MONEY_ROUTES
from headwater.console.terms_shapes import TermsIn
from headwater.ledger.terms import Owner

PAGE = (Path(__file__).parents[2] / "docs/money.md").read_text("utf-8")


def test_the_terms_it_shows_hold_and_pay_what_it_says() -> None:
    block = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)[0]
    value = json.loads(block)
    assert check_terms(value, ProgramFacts({3: "sale", 4: "click"}, 0)) == []
    terms = read_terms(1, value)

    def paid(amount: int, month: int = 0, **fields: str) -> int:
        facts = OrderFacts(amount, "EUR", fields=fields)
        return payout(terms, 3, facts, same("EUR"), Progress(0, month)).total_minor

    assert paid(5_000, customer_status="new", country="AT") == 600
    assert paid(10_000, customer_status="new", country="AT", promo_code="staff") == 1_500
    assert paid(9_999) == 400
    assert [paid(5_000, month) for month in (19_999, 20_000, 40_000)] == [200, 300, 400]
    assert click_micros(terms, 4, {}) == 250_000


def test_its_lists_are_complete() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {"sub1", "sub10"} <= named
    assert {field for field in GROUP_FIELDS if not field.startswith("sub")} <= named
    assert REVERSAL_REASONS.keys() <= named
    assert {account_of(state) for state in STATES} <= named


def test_its_json_fragments_are_json() -> None:
    for fragment in re.findall(r"`(\{\"[^`]+)`", PAGE):
        json.loads(re.sub(r": [nm]\b", ": 1", fragment))


def test_the_terms_it_shows_for_the_api_are_taken() -> None:
    body = json.loads(re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)[1])
    shape, warnings = bodies.decode(TermsIn, body)
    event_type = {"id": 3, "code": "sale", "kind": "sale", "external_id": None}
    owner = Owner({"id": 7, "currency": "EUR"}, 0, [event_type], [], [])
    value = terms_values.value_of(owner, shape, 1_000)
    assert warnings == []
    assert (value["from_ms"], list(value["events"])) == (1_000, ["3"])


def test_it_names_every_route_of_money() -> None:
    listed = PAGE[PAGE.index("## Over the API") :]
    for route in MONEY_ROUTES:
        last = route.path.rpartition("/")[2].replace("cpc-payouts.csv", ".csv")
        named = route.path if last.startswith("{") else last
        assert named in listed, route.path
