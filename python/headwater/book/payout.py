"""What an order earns a partner: exact fractions all the way, rounded once.

The commission of the whole order is rounded half even to a minor unit of the terms' currency. Items
and partners who share the order then get parts of that, so both sum to it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, Literal

from headwater import limits
from headwater.book.money import MICROS, Rate, apportion, rounded, same
from headwater.book.terms import (
    ITEM_FIELDS,
    ORDER_TOTAL,
    Condition,
    EventTerms,
    Group,
    Pay,
    Terms,
    Tiers,
    fold,
)
from headwater.book.tiers import NO_PROGRESS, Progress, split, step_at

Refusal = Literal["rate_missing", "amount_out_of_range"]
WHOLE: Final = (MICROS,)
"""Shares of an order that one partner has alone."""


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """One item of an order; its price in minor units of the order's currency, for all pieces."""

    sku: str | None
    category: str | None
    quantity: int
    subtotal_minor: int | None


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What is known of an order, or of what is left of one."""

    amount_minor: int
    currency: str
    items: tuple[ItemFacts, ...] = ()
    fields: Mapping[str, str | None] = field(default_factory=dict)
    """Values of `TEXT_FIELDS`; None or absent: not known."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one item earned, or the order as a whole (`item` None)."""

    item: int | None
    """Its place in the order's items."""
    rule: str
    """What paid: `groups.2`, `tiers.0`, `default`; several of one item joined by `+`; or `none`."""
    micros: int
    minor: int


@dataclass(frozen=True, slots=True)
class Payout:
    """What a partner's share of an order comes to, in the terms' currency."""

    lines: tuple[Line, ...]
    total_micros: int
    """Rounded half even at the micro only where a rate makes it a fraction."""
    total_minor: int
    order_minor: int
    """The order's whole amount in the terms' currency; what it adds to revenue."""
    rule: str
    """The lines' rules, each once, joined by `, `."""
    refused: Refusal | None = None
    """Why it comes to nothing though the terms pay something."""


def payout(
    terms: Terms,
    event_type: int,
    facts: OrderFacts,
    rate: Rate | None,
    progress: Progress = NO_PROGRESS,
    shares: Sequence[int] = WHOLE,
    place: int = 0,
) -> Payout:
    """What the partner at `place` of `shares` (ppm, in the order of credits) gets.

    `rate` is from the order's currency to the terms', fixed at the order's time; None: there is
    none, and what depends on the amount is refused. Shares of one order sum to exactly what one
    partner would have got by the same terms.
    """
    if rate is None:
        if facts.amount_minor and _looks_at_amount(terms, event_type):
            return _refused("rate_missing")
        facts, rate = _without_amounts(facts), same(terms.currency)
    if facts.amount_minor > limits.PAID_ORDER_MINOR_MAX:
        return _refused("amount_out_of_range")
    order_minor = rate.convert(facts.amount_minor)
    priced = _Pricing(terms.event(event_type), facts, rate, progress).lines()
    exact = sum((line.exact for line in priced), Fraction(0))
    whole_minor = rounded(exact)
    if max(order_minor, whole_minor) > limits.PAYOUT_MINOR_MAX:
        return _refused("amount_out_of_range")
    micros = apportion(rounded(exact * MICROS), shares)[place]
    minor = apportion(whole_minor, shares)[place]
    weights = [rounded(line.exact * MICROS) for line in priced]
    line_micros, line_minor = apportion(micros, weights), apportion(minor, weights)
    lines = tuple(
        Line(line.item, line.rule, line_micros[number], line_minor[number])
        for number, line in enumerate(priced)
    )
    rule = ", ".join(dict.fromkeys(line.rule for line in lines))
    return Payout(lines, micros, minor, order_minor, rule)


def click_micros(terms: Terms, event_type: int, fields: Mapping[str, str | None]) -> int:
    """What one click earns, in micros of the terms' currency: flat amounts alone pay clicks."""
    return min(_click_micros(terms, event_type, fields), limits.CLICK_MICROS_MAX)


def _click_micros(terms: Terms, event_type: int, fields: Mapping[str, str | None]) -> int:
    event = terms.event(event_type)
    facts = OrderFacts(0, terms.currency, (), fields)
    for group in event.groups:
        if _fits(group, facts, Fraction(0), ()):
            return group.pay.amount if group.pay.kind == "flat" else 0
    return event.default.amount if event.default and event.default.kind == "flat" else 0


def _refused(why: Refusal) -> Payout:
    return Payout((), 0, 0, 0, "none", why)


def _looks_at_amount(terms: Terms, event_type: int) -> bool:
    event = terms.event(event_type)
    tiers = event.tiers
    steps = tiers.steps if tiers else ()
    pays = (event.default, *(group.pay for group in event.groups), *(step.pay for step in steps))
    conditions = (each for group in event.groups for each in (*group.when, *group.unless))
    return (
        any(pay is not None and pay.kind == "percent" for pay in pays)
        or any(condition.field == ORDER_TOTAL for condition in conditions)
        or (tiers is not None and tiers.basis == "revenue")
        or any(cap.metric == "revenue" for cap in terms.caps)
    )


def _without_amounts(facts: OrderFacts) -> OrderFacts:
    items = tuple(replace(item, subtotal_minor=None) for item in facts.items)
    return replace(facts, amount_minor=0, items=items)


@dataclass(frozen=True, slots=True)
class _Priced:
    item: int | None
    rule: str
    exact: Fraction


@dataclass(frozen=True, slots=True)
class _Pricing:
    """One order being priced by the terms of its event type."""

    event: EventTerms
    facts: OrderFacts
    rate: Rate
    progress: Progress

    def lines(self) -> list[_Priced]:
        facts, total = self.facts, self.rate.exact(self.facts.amount_minor)
        if self.event.per == "order" or not facts.items:
            group = self._group(total, facts.items)
            return [self._priced(None, group, total, 1, Fraction(self.progress.before))]
        start, lines = Fraction(self.progress.before), []
        for place, (item, base_minor) in enumerate(
            zip(facts.items, item_bases(facts), strict=True)
        ):
            base = self.rate.exact(base_minor)
            group = self._group(total, (item,))
            lines.append(self._priced(place, group, base, item.quantity, start))
            start += base
        return lines

    def _group(self, total: Fraction, items: Sequence[ItemFacts]) -> int | None:
        for number, group in enumerate(self.event.groups):
            if _fits(group, self.facts, total, items):
                return number
        return None

    def _priced(
        self, item: int | None, group: int | None, base: Fraction, pieces: int, start: Fraction
    ) -> _Priced:
        if group is not None:
            exact = _earned(self.event.groups[group].pay, base, pieces)
            return _Priced(item, f"groups.{group}", exact)
        tiers = self.event.tiers
        if tiers is not None and tiers.kind == "marginal" and tiers.basis == "revenue":
            return self._split(tiers, item, base, pieces, start)
        reached = 0
        if tiers is not None:
            # Of the actions so far this one is the next; a retroactive step looks at all of them.
            retroactive = tiers.kind == "retroactive"
            reached = self.progress.total if retroactive else self.progress.before + 1
        return self._at(tiers, reached, item, base, pieces)

    def _at(
        self, tiers: Tiers | None, reached: int, item: int | None, base: Fraction, pieces: int
    ) -> _Priced:
        step = None if tiers is None else step_at(tiers, reached)
        if tiers is not None and step is not None:
            rule = f"tiers.{tiers.steps.index(step)}"
            return _Priced(item, rule, _earned(step.pay, base, pieces))
        if self.event.default is None:
            return _Priced(item, "none", Fraction(0))
        return _Priced(item, "default", _earned(self.event.default, base, pieces))

    def _split(
        self, tiers: Tiers, item: int | None, base: Fraction, pieces: int, start: Fraction
    ) -> _Priced:
        parts = split(tiers, start, base)
        if not parts:
            return self._at(tiers, int(start), item, base, pieces)
        exact, rules = Fraction(0), []
        for number, (step, part) in enumerate(parts):
            pay = self.event.default if step is None else step.pay
            rules.append("default" if step is None else f"tiers.{tiers.steps.index(step)}")
            # A flat amount cannot be cut: it is paid where the order begins.
            if pay is not None and (number == 0 or pay.kind == "percent"):
                exact += _earned(pay, part, pieces)
        return _Priced(item, "+".join(rules), exact)


def item_bases(facts: OrderFacts) -> list[int]:
    """What a percentage of each item is taken of, in the order's currency.

    An item's own price. Where prices add up to more than the order was paid with (a discount on
    the whole), the amount paid, shared out by them. An item without a price has 0.
    """
    prices = [max(0, item.subtotal_minor or 0) for item in facts.items]
    return prices if sum(prices) <= facts.amount_minor else apportion(facts.amount_minor, prices)


def _earned(pay: Pay, base: Fraction, pieces: int) -> Fraction:
    if pay.kind == "percent":
        return base * pay.amount / MICROS
    return Fraction(pay.amount * (pieces if pay.per == "item" else 1), MICROS)


def _fits(group: Group, facts: OrderFacts, total: Fraction, items: Sequence[ItemFacts]) -> bool:
    return all(_holds(each, facts, total, items) for each in group.when) and not any(
        _holds(each, facts, total, items) for each in group.unless
    )


def _holds(
    wanted: Condition, facts: OrderFacts, total: Fraction, items: Sequence[ItemFacts]
) -> bool:
    if wanted.field == ORDER_TOTAL:
        return any(low <= total and (high is None or total < high) for low, high in wanted.ranges)
    if wanted.field in ITEM_FIELDS:
        found = [item.sku if wanted.field == "sku" else item.category for item in items]
    else:
        found = [facts.fields.get(wanted.field)]
    return any(value is not None and fold(value) in wanted.texts for value in found)
