"""What two replays decided, set side by side: by partner, by reason, conversion by conversion.

And the first of them held against the ledger, which it should repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from headwater import limits
from headwater.ledger import queries
from headwater.ledger.engine import Ledger
from headwater.model.records import ConversionBody, Flag
from headwater.model.records import decode as decode_record
from headwater.ops.simulate_replay import Decided, Decisions, Identifier, unpack
from headwater.ops.simulate_rules import Span

# Conversions that differ from the ledger, named in the report.
DIFFERING_NAMED = 20


# ---- Before and after ----------------------------------------------------------------------


@dataclass
class PartnerChange:
    """One partner's credit under both rules, in parts per million of a conversion."""

    before_ppm: int = 0
    after_ppm: int = 0
    gained_ppm: int = 0
    lost_ppm: int = 0
    conversions_before: int = 0
    conversions_after: int = 0
    conversions_gained: int = 0
    """It has a share of these after the change and had none before."""
    conversions_lost: int = 0

    def add(self, before_ppm: int, after_ppm: int) -> None:
        """Take in one conversion."""
        self.before_ppm += before_ppm
        self.after_ppm += after_ppm
        self.gained_ppm += max(after_ppm - before_ppm, 0)
        self.lost_ppm += max(before_ppm - after_ppm, 0)
        self.conversions_before += before_ppm > 0
        self.conversions_after += after_ppm > 0
        self.conversions_gained += after_ppm > before_ppm == 0
        self.conversions_lost += before_ppm > after_ppm == 0

    def add_all(self, other: PartnerChange) -> None:
        for name in vars(other):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Moved(NamedTuple):
    """A conversion whose credit moved between partners, or to or from nobody."""

    accept_ms: int
    conversion_id: bytes
    packed_before: bytes
    packed_after: bytes

    @property
    def before(self) -> Decided:
        return unpack(self.packed_before)

    @property
    def after(self) -> Decided:
        return unpack(self.packed_after)


@dataclass
class Comparison:
    conversions: int = 0
    tests: int = 0
    """Test conversions: left out of everything else."""
    partners: dict[int, PartnerChange] = field(default_factory=dict)
    unattributed_before: Counter[str] = field(default_factory=Counter)
    unattributed_after: Counter[str] = field(default_factory=Counter)
    moved: list[Moved] = field(default_factory=list)
    """In the order of acceptance."""
    repaid: list[Moved] = field(default_factory=list)
    """In the order of acceptance: credited as before, and paid otherwise."""
    clicks_changed: int = 0
    """Conversions whose partners keep their shares and have them for other clicks."""

    @property
    def totals(self) -> PartnerChange:
        """Sums over the partners; of conversions, each counts once for each of its partners."""
        total = PartnerChange()
        for change in self.partners.values():
            total.add_all(change)
        return total


def shares(decided: Decided) -> dict[int, int]:
    """Parts per million by partner."""
    by_partner: dict[int, int] = {}
    for partner, _click, share_ppm in decided.credits:
        by_partner[partner] = by_partner.get(partner, 0) + share_ppm
    return by_partner


def compare(before: Decisions, after: Decisions) -> Comparison:
    """Both engines took the same reports, so both decided the same conversions."""
    found = Comparison()
    for conversion_id, packed_before in before.packed.items():
        packed_after = after.packed[conversion_id]
        was = unpack(packed_before)
        if was.flags & Flag.TEST:
            found.tests += 1
            continue
        found.conversions += 1
        # Packed alike, and so the same object, for all but those that changed.
        now = was if packed_after is packed_before else unpack(packed_after)
        shares_before, shares_after = shares(was), shares(now)
        for partner in shares_before.keys() | shares_after.keys():
            change = found.partners.setdefault(partner, PartnerChange())
            change.add(shares_before.get(partner, 0), shares_after.get(partner, 0))
        if not was.credits:
            found.unattributed_before[was.reason or "unknown"] += 1
        if not now.credits:
            found.unattributed_after[now.reason or "unknown"] += 1
        if shares_before != shares_after:
            found.moved.append(Moved(was.accept_ms, conversion_id, packed_before, packed_after))
        elif was.credits != now.credits:
            found.clicks_changed += 1
    found.moved.sort(key=lambda moved: moved[:2])
    return found


def note_repaid(
    found: Comparison, before: Decisions, after: Decisions, paid: Collection[bytes]
) -> None:
    """Note, of conversions that are told to be `paid` otherwise, those whose credit stayed."""
    moved = {each.conversion_id for each in found.moved}
    for conversion_id in paid:
        packed = before.packed.get(conversion_id)
        if packed is not None and conversion_id not in moved:
            accept_ms = unpack(packed).accept_ms
            now = after.packed[conversion_id]
            found.repaid.append(Moved(accept_ms, conversion_id, packed, now))
    found.repaid.sort(key=lambda each: each[:2])


# ---- The ledger ----------------------------------------------------------------------------


@dataclass
class LedgerCheck:
    """Whether the replay under the rules as they are gives the credits the ledger holds."""

    compared: int = 0
    differing: list[bytes] = field(default_factory=list)
    touched_by_erasure: int = 0
    """Of those that differ: they rest on identifiers that were erased, and are no fault."""
    missing: int = 0
    """Decided by the replay and not in the ledger within the span."""


class _Open(NamedTuple):
    """A conversion of the ledger that was decided while the replay ran, or otherwise."""

    revision: int
    credits: list[tuple[int, bytes | None, int]]
    is_touched: bool


def check_ledger(
    ledger: Ledger,
    program: int,
    span: Span,
    before: Decisions,
    erased: set[Identifier],
    catch_up: Callable[[], Decisions],
) -> LedgerCheck:
    """Hold a replay against the ledger, which may have gone on.

    `catch_up` replays what was committed since, and gives the decisions among it; it is called
    only when the ledger holds something that the replay has not seen.
    """
    found = LedgerCheck()
    unseen = set(before.packed)
    waiting: dict[bytes, _Open] = {}
    for row in _stored(ledger, program, span):
        conversion_id = row["conversion_id"]
        unseen.discard(conversion_id)
        packed = before.packed.get(conversion_id)
        stored = _Open(row["revision"], _credits(row["credits"]), False)
        if packed is not None and _is_equal(unpack(packed), stored):
            found.compared += 1
        else:
            waiting[conversion_id] = stored._replace(is_touched=_touches(row, erased))
    found.missing = len(unseen)
    later = catch_up().packed if waiting else {}
    for conversion_id, stored in waiting.items():
        found.compared += 1
        packed = later.get(conversion_id) or before.packed.get(conversion_id)
        mine = unpack(packed) if packed is not None else None
        # Revised once more after it was read from the ledger: that says nothing.
        is_newer = mine is not None and mine.revision > stored.revision and conversion_id in later
        if is_newer or (mine is not None and _is_equal(mine, stored)):
            continue
        if stored.is_touched:
            found.touched_by_erasure += 1
        else:
            found.differing.append(conversion_id)
    return found


def _stored(ledger: Ledger, program: int, span: Span) -> Iterator[dict[str, Any]]:
    """The ledger's conversions of a span, the newest first, read a page at a time."""
    wanted = queries.ConversionFilter(program, since_ms=span.since_ms, until_ms=span.until_ms)
    before = None
    while True:
        page, before = queries.conversion_page(
            ledger, wanted, before=before, count=limits.PAGE_ROWS_MAX
        )
        yield from page
        if before is None:
            return


def _credits(rows: Sequence[Sequence[Any]]) -> list[tuple[int, bytes | None, int]]:
    return [(partner, click_id, share_ppm) for partner, click_id, share_ppm in rows]


def _is_equal(mine: Decided, stored: _Open) -> bool:
    return mine.revision == stored.revision and mine.credits == stored.credits


def _touches(row: dict[str, Any], erased: set[Identifier]) -> bool:
    """Whether a conversion was reported with, or reached, an identifier that was erased."""
    if not erased:
        return False
    members = msgpack.unpackb(row["explain"], strict_map_key=False).get("members", ())
    reported = ConversionBody._make(decode_record(row["record"]).body).identifiers
    return any((kind, digest) in erased for kind, digest in (*members, *reported))
