"""Terms: the contract between a brand and a partner, as the book reads it from the log.

`read_terms` is lenient: what is on the log has been checked (`check_terms`), and a book that stops
at a record would stop for good. What cannot be read pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from headwater import limits
from headwater.book.calendar import Locking, Payment
from headwater.model.currency import EXPONENTS
from headwater.model.records import NUMBER_MAX

Per = Literal["order", "item"]
Basis = Literal["actions", "revenue"]

ORDER_TOTAL: Final = "order_total"
ITEM_FIELDS: Final = frozenset(("category", "sku"))
TEXT_FIELDS: Final = frozenset(
    (
        "customer_status", "country", "promo_code", "partner", "device",
        *(f"sub{number}" for number in range(1, 11)),
    )
)  # fmt: skip
GROUP_FIELDS: Final = ITEM_FIELDS | TEXT_FIELDS | {ORDER_TOTAL}
"""What a payout group may ask for."""


@dataclass(frozen=True, slots=True)
class Pay:
    """What one order, or each item of it, earns."""

    kind: Literal["flat", "percent"]
    amount: int
    """Flat: micros of a minor unit of the terms' currency; percent: parts per million."""
    per: Per = "order"
    """`item`: a flat amount for each piece, a percentage of each item's own price."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a field has to be: one of `texts` (casefolded), or in one of `ranges` (from, below)."""

    field: str
    texts: frozenset[str] = frozenset()
    ranges: tuple[tuple[int, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Pays where every condition of `when` holds and none of `unless` does."""

    when: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    pay: Pay


@dataclass(frozen=True, slots=True)
class Step:
    """`pay` from the `start`th action of the month on, or from that much revenue (minor units)."""

    start: int
    pay: Pay


@dataclass(frozen=True, slots=True)
class Tiers:
    """Steps that take the default's place as a partner's month goes on, the lowest first.

    `retroactive`: the highest step reached pays for all of the month. `marginal`: each pays for
    what lies past its own start.
    """

    basis: Basis
    kind: Literal["retroactive", "marginal"]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class EventTerms:
    """What one event type pays: the first group that fits, else the tiers, else the default."""

    groups: tuple[Group, ...] = ()
    default: Pay | None = None
    tiers: Tiers | None = None

    @property
    def per(self) -> Per:
        """Whether items or orders are matched with groups: as the default pays."""
        pays = (*([self.default] if self.default else []), *(group.pay for group in self.groups))
        return pays[0].per if pays else "order"


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` of a metric in a period of the program's time zone."""

    metric: Literal["conversions", "payout", "revenue"]
    period: Literal["day", "month", "lifetime"]
    scope: Literal["program", "partner"]
    event_type: int | None
    """None: all event types together."""
    limit: int
    """Conversions, or minor units of the terms' currency."""


@dataclass(frozen=True, slots=True)
class Terms:
    """One version of the terms of a program, for one partner or for all."""

    number: int
    program: int
    partner: int
    """0: the program's template, for every partner without terms of its own."""
    version: int
    from_ms: int
    until_ms: int | None
    currency: str
    window_ms: int | None
    """Referral window; None: the program's."""
    locking: Locking
    payment: Payment
    change_notice_days: int
    reversal_max_ppm: int
    """Largest share of a month's payout that may be reversed."""
    cpc_mode: Literal["review", "instant"]
    approve: Literal["automatic", "manual"]
    events: Mapping[int, EventTerms]
    """By event type."""
    caps: tuple[Cap, ...]

    def event(self, event_type: int) -> EventTerms:
        """What an event type pays: nothing where the terms do not name it."""
        return self.events.get(event_type, _NOTHING)


_NOTHING: Final = EventTerms()
# Digits of a number that fits 63 bits, and one.
_DIGITS_MAX: Final = 20
_LOCKING: Final = Locking("month_end", 1, 0)


class Timeline:
    """All terms of a program (or of many), and which are in force when. Does not change."""

    def __init__(self, terms: Iterable[Terms]) -> None:
        self._newest_first: dict[tuple[int, int], list[Terms]] = {}
        for each in terms:
            self._newest_first.setdefault((each.program, each.partner), []).append(each)
        for listed in self._newest_first.values():
            listed.sort(key=lambda each: (each.from_ms, each.version, each.number), reverse=True)

    def in_force(self, program: int, partner: int, at_ms: int) -> Terms | None:
        """The partner's own terms at a time, else the program's template, else None.

        Of several those that began last. They end at `until_ms` (exclusive); what they replaced
        does not come back.
        """
        for owner in (partner, 0):
            for terms in self._newest_first.get((program, owner), ()):
                if terms.from_ms > at_ms:
                    continue
                if terms.until_ms is None or at_ms < terms.until_ms:
                    return terms
                break
        return None


def may_replace(before: Terms | None, after: Terms | None, at_ms: int) -> bool:
    """Whether a control record, applied at `at_ms` of the log, may change terms this way.

    None: there were none, or they are deleted. Terms in force are immutable but for their end,
    and terms that are over have theirs for good. What was priced keeps its terms in any case.
    """
    if before is None or before.from_ms > at_ms:
        return True
    if after is None or (before.until_ms is not None and before.until_ms <= at_ms):
        return False
    return _without_end(after) == _without_end(before)


def _without_end(terms: Terms) -> tuple[Any, ...]:
    names = (name for name in Terms.__slots__ if name not in ("until_ms", "version"))
    return tuple(getattr(terms, name) for name in names)


# ---- Reading a control value -----------------------------------------------------------------


def read_terms(number: int, value: Mapping[str, Any]) -> Terms:
    """The terms of a control value `terms`; `number` is the object's. The shape is described in
    docs/money.md. Whatever is absent or unreadable counts as its default.
    """
    currency = value.get("currency")
    window_s = value.get("window_seconds")
    until_ms = value.get("until_ms")
    return Terms(
        number=number,
        program=_whole(value.get("program")),
        partner=_whole(value.get("partner")),
        version=_whole(value.get("version")),
        from_ms=_whole(value.get("from_ms")),
        until_ms=until_ms if type(until_ms) is int else None,
        currency=currency if isinstance(currency, str) and currency in EXPONENTS else "EUR",
        window_ms=window_s * 1000 if type(window_s) is int and window_s > 0 else None,
        locking=_locking(_map(value.get("locking"))),
        payment=_payment(_map(value.get("payment"))),
        change_notice_days=_whole(value.get("change_notice_days")),
        reversal_max_ppm=_whole(value.get("reversal_max_ppm"), 1_000_000),
        cpc_mode="instant" if value.get("cpc_mode") == "instant" else "review",
        approve="manual" if value.get("approve") == "manual" else "automatic",
        events={
            int(key): _event(_map(event))
            for key, event in _map(value.get("events")).items()
            if isinstance(key, str) and key.isdecimal() and len(key) < _DIGITS_MAX
        },
        caps=tuple(cap for each in _list(value.get("caps")) if (cap := _cap(_map(each)))),
    )


def _whole(value: object, default: int = 0) -> int:
    return value if type(value) is int and 0 <= value <= NUMBER_MAX else default


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else ()


def _locking(value: Mapping[str, Any]) -> Locking:
    months = min(_whole(value.get("months")), limits.LOCK_MONTHS_MAX)
    days = min(_whole(value.get("days")), limits.LOCK_DAYS_MAX)
    match value.get("kind"):
        case "month_end":
            return Locking("month_end", months, days)
        case "tracked":
            return Locking("tracked", 0, days)
        case "never":
            return Locking("never", 0, 0)
    return _LOCKING


def _payment(value: Mapping[str, Any]) -> Payment:
    return Payment(
        min(_whole(value.get("months")), limits.LOCK_MONTHS_MAX),
        min(_whole(value.get("days")), limits.LOCK_DAYS_MAX),
    )


def read_pay(value: object) -> Pay | None:
    """A payout of a control value; None when it is none."""
    given = _map(value)
    per: Per = "item" if given.get("per") == "item" else "order"
    match given.get("kind"):
        case "flat":
            most = limits.PAYOUT_MINOR_MAX * 1_000_000
            return Pay("flat", min(_whole(given.get("amount_micros")), most), per)
        case "percent":
            return Pay("percent", min(_whole(given.get("ppm")), 1_000_000), per)
    return None


def _event(value: Mapping[str, Any]) -> EventTerms:
    return EventTerms(
        groups=tuple(group for each in _list(value.get("groups")) if (group := _group(_map(each)))),
        default=read_pay(value.get("default")),
        tiers=_tiers(_map(value.get("tiers"))),
    )


def _group(value: Mapping[str, Any]) -> Group | None:
    pay = read_pay(value.get("pay"))
    if pay is None:
        return None
    when, unless = _map(value.get("when")), _map(value.get("not"))
    return Group(
        tuple(_condition(str(field), wanted) for field, wanted in when.items()),
        tuple(_condition(str(field), wanted) for field, wanted in unless.items()),
        pay,
    )


def _condition(field: str, wanted: object) -> Condition:
    if field == ORDER_TOTAL:
        ranges = tuple(
            (_whole(each[0]), each[1] if type(each[1]) is int else None)
            for each in _list(wanted)
            if len(_list(each)) == 2
        )
        return Condition(field, ranges=ranges)
    return Condition(field, frozenset(fold(str(each)) for each in _list(wanted)))


def fold(text: str) -> str:
    """A text as conditions compare it: without case, and without spaces around it."""
    return text.strip().casefold()


def _tiers(value: Mapping[str, Any]) -> Tiers | None:
    steps = []
    for each in _list(value.get("steps")):
        pay = read_pay(_map(each).get("pay"))
        if pay is not None:
            steps.append(Step(_whole(_map(each).get("from")), pay))
    if not steps:
        return None
    return Tiers(
        basis="revenue" if value.get("basis") == "revenue" else "actions",
        kind="marginal" if value.get("kind") == "marginal" else "retroactive",
        steps=tuple(sorted(steps, key=lambda step: step.start)),
    )


def _cap(value: Mapping[str, Any]) -> Cap | None:
    metric, period, scope = (value.get(name) for name in ("metric", "period", "scope"))
    event_type, limit = value.get("event_type"), value.get("limit")
    if (
        metric not in ("conversions", "payout", "revenue")
        or period not in ("day", "month", "lifetime")
        or scope not in ("program", "partner")
        or type(limit) is not int
    ):
        return None
    # Counters of payout are in micros, and have 64 bits.
    limit = max(0, min(limit, limits.PAYOUT_MINOR_MAX))
    return Cap(metric, period, scope, event_type if type(event_type) is int else None, limit)
