"""Rows of the book: actions and their history, entries, what managers decided, what is counted.

Fields are the columns of the tables of the same names (`ledger/book_tables.py`), in their order; a
test holds them to it. Amounts are integers: `_minor` in minor units of the currency, `_micros` in
millionths of one. Texts ending in `_json` are JSON with sorted keys, and `{}` or `[]` when empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Final, NamedTuple

Credits = tuple[tuple[int, bytes | None, int], ...]
"""(partner, click id, share_ppm), in their order."""

PENDING: Final = "pending"
APPROVED: Final = "approved"
REVERSED: Final = "reversed"
LOCKED: Final = "locked"
PAID: Final = "paid"
STATES: Final = (PENDING, APPROVED, REVERSED, LOCKED, PAID)
SETTLED: Final = frozenset({LOCKED, PAID})
"""What no evidence and no decision changes any more."""

CREDITED_BY_MANAGER: Final = "credited_by_manager"
"""The reason of a conversion that a manager gave to a partner."""

CANCELED: Final = "canceled"
LEFT: Final = "left"
TOTAL: Final = "total"
REFUND: Final = "refund"

CONVERSION: Final = "conversion"
CLICKS: Final = "clicks"
"""Kinds of actions: of a conversion; of a partner's clicks of a day."""


def kept_text(text: str) -> str:
    """A text of a record as rows hold it: PostgreSQL takes no NUL."""
    return text.replace("\0", "")


class ActionFlag(IntFlag):
    TEST = 1
    """Of a test order: it is in no report, no cap and no account."""
    OVER_CAP = 2
    """A cap was reached: it is unpaid."""
    HELD = 4
    """Fraud scoring said `review`: it does not lock before a manager has approved it."""
    INSTANT = 8
    """Clicks paid without review: there is no reversal."""
    MANUAL = 16
    """A manager gave the conversion to this partner: no evidence takes it away."""
    RATE_MISSING = 32
    """No exchange rate was in force: unpaid until it is reset with one."""


class Conversion(NamedTuple):
    """A conversion as the engine decided it last, or a manager."""

    conversion_id: bytes
    brand: int
    program: int
    event_type: int
    order_id: str | None
    line: str
    accept_ms: int
    occurred_ms: int
    status: str
    reason: str | None
    amount_minor: int
    currency: str
    flags: int
    revision: int
    verdict: str
    record: bytes
    """Of the report with the most to say of money: a server's before a browser's."""
    credits: Credits


class Action(NamedTuple):
    """The payable result of a conversion for one partner, or of a partner's clicks of one day."""

    action_id: bytes
    partition: int
    brand: int
    program: int
    partner: int
    event_type: int
    kind: str
    """CONVERSION or CLICKS."""
    conversion_id: bytes | None
    click_id: bytes | None
    """The credited click that counts most; None: a promo code's use, or no conversion."""
    click_day: str | None
    """Of CLICKS: the day in the program's time zone, 2026-01-31."""
    order_id: str | None
    line: str
    state: str
    original_state: str
    reason: str | None
    """Why it is reversed, unpaid or held."""
    tracked_ms: int
    lock_ms: int
    """When it is due to lock."""
    due_ms: int | None
    """`lock_ms` while a tick may lock it, else None."""
    locked_ms: int | None
    """When it was locked, or closed as reversed; None: it is open."""
    pay_ms: int | None
    """When it is due to be paid; None before the lock."""
    currency: str
    """Of the order."""
    order_minor: int
    """What was reported of the order."""
    left_minor: int
    """What is left of that after modifications."""
    payout_currency: str
    revenue_minor: int
    """`left_minor` in `payout_currency`, the partner's share of it."""
    payout_micros: int
    payout_minor: int
    compensated_minor: int
    """What was added, or taken, after the lock."""
    rate_json: str
    """The exchange rate fixed at the event: currency_from, currency_to, numerator, denominator,
    source, date; `{}` when none was needed."""
    terms: int
    """0: no terms were in force."""
    terms_version: int
    rule: str
    """Which part of the terms made the payout."""
    share_ppm: int
    flags: int
    """Bits of ActionFlag."""
    charges_json: str
    """What it has taken, and gives back when reversed: of caps `caps`: [[key, amount], ...], of a
    tier `tier`: [key, amount, what the month held before]."""
    change_json: str
    """A manager's modification of this action alone: what is left, as the decision says it."""
    revision: int
    """Number of its moves."""


class ActionMove(NamedTuple):
    """One step of an action's life. `revision` numbers them from 1."""

    action_id: bytes
    revision: int
    brand: int
    at_ms: int
    """Engine time."""
    verb: str
    state_before: str
    """Empty before the first."""
    state: str
    reason: str | None
    note: str
    actor: str
    """Key id of the manager, or `system`, `shopify`."""
    cause: bytes
    """Event id of the decision; the conversion's id where the engine's decision was the cause;
    the action's id of a tick."""
    payout_minor: int
    """After the move."""


class ActionItem(NamedTuple):
    """What an action pays for one line of the order."""

    action_id: bytes
    ordinal: int
    sku: str
    category: str
    quantity: int
    subtotal_minor: int
    payout_micros: int
    payout_minor: int


class BookEntry(NamedTuple):
    """One line of the double-entry book."""

    action_id: bytes
    revision: int
    """The move's."""
    ordinal: int
    """An even one and the next are a pair, and sum to zero."""
    account: str
    brand: int
    program: int
    partner: int
    at_ms: int
    currency: str
    amount_minor: int
    cause: bytes


class DecisionEntry(NamedTuple):
    """A manager's decision, and what came of it."""

    event_id: bytes
    brand: int
    accept_ms: int
    at_ms: int
    action: str
    subject: bytes
    actor: str
    request: str
    """Id of the request that asked for many."""
    reason: str | None
    note: str
    outcome: str
    """`applied`, `refused`, or `waiting` for its order."""
    code: str | None
    """Of a refusal."""
    detail_json: str


class OrderChange(NamedTuple):
    """A modification, a refund or the end of an order, kept also before the order is known."""

    conversion_id: bytes
    ordinal: int
    event_id: bytes
    brand: int
    """Of the decision."""
    at_ms: int
    kind: str
    """CANCELED: the whole, for good; LEFT: what is left of it; TOTAL: what it comes to before
    refunds; REFUND: what is taken off."""
    said_ms: int
    """When it was so: of several LEFT and TOTAL the latest counts."""
    refund_id: str
    """Of REFUND: each is taken off once. Empty of others."""
    amount_minor: int
    currency: str
    items_json: str
    """The items of `amount_minor`; empty when they are not told."""
    reason: str | None
    actor: str
    note: str
    state: str
    """`applied`, `refused` or `waiting`."""


class ClickDay(NamedTuple):
    """Clicks of one partner on one day of the program's time zone, under one currency of terms."""

    program: int
    partner: int
    day: str
    currency: str
    partition: int
    brand: int
    event_type: int
    mode: str
    """`review` or `instant`."""
    gross: int
    invalid: int
    """Rejected or filtered by scoring."""
    duplicate: int
    """Not the visitor's first of the window, or not counted."""
    rejected: int
    """By a manager."""
    over_cap: int
    payable: int
    payout_micros: int
    terms: int
    terms_version: int
    lock_ms: int
    due_ms: int | None
    """`lock_ms` until it is locked; None of instant clicks."""
    state: str
    action_id: bytes | None


class ClickStanding(NamedTuple):
    """What the book holds of a click of a program that pays clicks, or of one that a manager has
    decided on.
    """

    click_id: bytes
    brand: int
    program: int
    partner: int
    day: str
    currency: str
    revision: int
    """Of the newest score that is known here; 0: the first."""
    verdict: str
    score: int
    standing: str
    """Which count of its day it is in: invalid, duplicate, rejected, over_cap, payable; `late`:
    of a day that was locked before it came; empty: its program does not pay clicks."""
    is_first: bool
    """It is counted, and the visitor's first of the window."""
    payout_micros: int
    """What it pays if it is payable."""
    charges_json: str
    """What it has taken of caps: [[key, amount], ...]."""
    manager: str
    """`accepted`, `rejected`, or empty."""
    reason: str | None
    at_ms: int


class Setting(NamedTuple):
    """An object of the configuration as the book goes by it: its control record."""

    partition: int
    object: str
    number: int
    control: bytes


class Tally(NamedTuple):
    """How much of a cap or a tier is used."""

    key: str
    brand: int
    used: int


@dataclass(slots=True)
class Booked:
    """What came of a batch in the book, for those who write the rest of it and answer."""

    conversions: dict[bytes, tuple[Any, ...]] = field(default_factory=dict)
    """Rows to write, as the engine's outcomes have them: of each conversion the newest that
    stands. One without a record leaves the record that is there."""
    kept: set[bytes] = field(default_factory=set)
    """Conversions of which a row of the engine was not taken: the ledger's decision stands."""
    credited: dict[bytes, Credits] = field(default_factory=dict)
    """Conversions that a manager gave to partners."""
    late_evidence: list[tuple[Any, ...]] = field(default_factory=list)
    """Rows of that table, for decisions that may not change any more."""
    actions: dict[bytes, list[Action]] = field(default_factory=dict)
    """Actions of the conversions in `conversions`."""
    moved: set[bytes] = field(default_factory=set)
    """Conversions whose answer is another by a manager's decision."""
    unread: list[tuple[str, int, int]] = field(default_factory=list)
    """Object, number and revision of the configuration's records that could not be read, and were
    not taken."""
