"""What an action pays: terms, rate, tiers and caps brought together, and what it takes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from headwater import limits
from headwater.book.calendar import Locking, lock_at_ms
from headwater.book.caps import Amounts, CapKey, cap_keys, reached, taken
from headwater.book.context import Context
from headwater.book.facts import facts_of
from headwater.book.left import Left
from headwater.book.money import MICROS, Rate, apportion, read_rate
from headwater.book.payout import Payout, payout
from headwater.book.rejected import paid_shares, shares_of
from headwater.book.terms import Terms
from headwater.book.tiers import NO_PROGRESS, Progress, counter_key, measure
from headwater.model.book import Action, ActionFlag, ActionItem, Conversion
from headwater.model.records import Flag

NOTHING: Final = "{}"
NO_TERMS: Final = "no_terms"
_OPEN: Final = Locking("never", 0, 0)
_PRICED: Final = int(ActionFlag.OVER_CAP | ActionFlag.RATE_MISSING)


Tier = tuple[str, int, int]
"""Key of a month's counter, what an action adds to it, what it held before."""


class Priced(NamedTuple):
    """An action with what it pays, and that by item where it pays by item."""

    action: Action
    items: tuple[ActionItem, ...] = ()


def compact(value: Any) -> str:
    """JSON as rows of the book hold it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def add_tally(context: Context, key: str, brand: int, amount: int) -> None:
    """Count `amount` more, or less, under a key."""
    context.store.put_tally(key, brand, context.store.tally(key) + amount)


def give_back(context: Context, action: Action) -> None:
    """Take what an action holds of caps and tiers off their counters."""
    _count_charges(context, action, -1)


def take_again(context: Context, action: Action) -> None:
    """Count what was given back again."""
    _count_charges(context, action, 1)


def _count_charges(context: Context, action: Action, sign: int) -> None:
    if action.charges_json == NOTHING:
        return
    charges = json.loads(action.charges_json)
    for key, amount in charges.get("caps", ()):
        add_tally(context, key, action.brand, sign * amount)
    for key, holders in charges.get("shared", ()):
        _hold(context, key, holders, action.brand, sign)
    if "tier" in charges:
        key, amount, _before = charges["tier"]
        add_tally(context, key, action.brand, sign * amount)


def _hold(context: Context, key: str, holders: str, brand: int, sign: int) -> None:
    """Count one more, or less, of the partners who share a conversion; the first and the last of
    them stand for it in the cap's counter.
    """
    before = context.store.tally(holders)
    context.store.put_tally(holders, brand, before + sign)
    if 0 in (before, before + sign):
        add_tally(context, key, brand, sign)


def priced(context: Context, action: Action, conversion: Conversion, left: Left) -> Priced:
    """The action with what it pays of what is left of its order, by the terms in force when the
    order was tracked. What it held of the counters has been given back; what it takes is counted.
    """
    terms = context.settings.terms(conversion.program, action.partner, conversion.accept_ms)
    zone = context.settings.zone(conversion.program)
    shares = paid_shares(context, conversion, action.partner)
    place = list(shares_of(conversion)).index(action.partner)
    common = action._replace(
        tracked_ms=conversion.accept_ms,
        lock_ms=lock_at_ms(conversion.accept_ms, terms.locking if terms else _OPEN, zone),
        currency=conversion.currency,
        order_minor=conversion.amount_minor,
        left_minor=left.amount_minor,
        share_ppm=shares[place],
        terms=terms.number if terms else 0,
        terms_version=terms.version if terms else 0,
        rule=NO_TERMS,
        payout_micros=0,
        payout_minor=0,
        flags=action.flags & ~_PRICED,
        charges_json=NOTHING,
        reason=None,
    )
    if terms is None:
        # What is beyond belief earns nothing, and no sum of 64 bits holds many of them.
        known_minor = left.amount_minor if left.amount_minor <= limits.PAID_ORDER_MINOR_MAX else 0
        revenue_minor = apportion(known_minor, shares)[place]
        return Priced(
            common._replace(payout_currency=conversion.currency, revenue_minor=revenue_minor)
        )
    pricing = _Pricing(context, conversion, left, terms, zone, shares, place)
    return pricing.price(common, action)


@dataclass(frozen=True, slots=True)
class _Pricing:
    """One partner's part of an order under terms."""

    context: Context
    conversion: Conversion
    left: Left
    terms: Terms
    zone: str
    shares: tuple[int, ...]
    place: int

    def price(self, action: Action, former: Action) -> Priced:
        terms, rate = self.terms, self._rate(former)
        order_minor = rate.convert(self.left.amount_minor) if rate else 0
        # As above, in the terms' currency.
        known_minor = order_minor if order_minor <= limits.PAYOUT_MINOR_MAX else 0
        revenue_minor = apportion(known_minor, self.shares)[self.place]
        progress, tier = self._progress(former, revenue_minor)
        facts = facts_of(self.context.store, self.conversion, action.partner, self.left)
        event_type = self.conversion.event_type
        paid = payout(terms, event_type, facts, rate, progress, self.shares, self.place)
        action = action._replace(
            payout_currency=terms.currency,
            revenue_minor=revenue_minor,
            rule=paid.rule,
            reason=paid.refused,
            rate_json=NOTHING
            if rate is None or rate.currency_from == rate.currency_to
            else compact(rate.value()),
        )
        if paid.refused == "rate_missing":
            return Priced(action._replace(flags=action.flags | ActionFlag.RATE_MISSING))
        if paid.refused:
            return Priced(action)
        if not self.conversion.flags & Flag.TEST:
            charges = self._taken(
                Amounts(1, paid.total_minor * MICROS, revenue_minor), tier, action
            )
            if charges is None:
                flags = action.flags | ActionFlag.OVER_CAP
                return Priced(action._replace(flags=flags, reason="over_cap"))
            action = action._replace(charges_json=charges)
        action = action._replace(payout_micros=paid.total_micros, payout_minor=paid.total_minor)
        return Priced(action, tuple(_items(action.action_id, paid, self.left)))

    def _rate(self, former: Action) -> Rate | None:
        """The rate fixed when the action was made, or another of its conversion; for the first
        of all, that in force for its order.
        """
        conversion = self.conversion
        wanted = (conversion.currency, self.terms.currency)
        others = self.context.store.actions_of(conversion.conversion_id)
        for action in (former, *others):
            kept = read_rate(json.loads(action.rate_json))
            if kept and (kept.currency_from, kept.currency_to) == wanted:
                return kept
        return self.context.settings.rate(conversion.brand, *wanted, conversion.accept_ms)

    def _progress(self, former: Action, revenue_minor: int) -> tuple[Progress, Tier | None]:
        """Where the partner's month stands with this action, and what it adds to that."""
        conversion, terms = self.conversion, self.terms
        tiers = terms.event(conversion.event_type).tiers
        if tiers is None:
            return NO_PROGRESS, None
        parts = counter_key(
            terms,
            tiers,
            conversion.event_type,
            former.partner,
            conversion.accept_ms,
            self.zone,
        )
        key = counter_text("tier", parts)
        adds = measure(tiers.basis, revenue_minor)
        used = before = self.context.store.tally(key)
        held = json.loads(former.charges_json).get("tier")
        if held and held[0] == key:
            before = held[2]
        return Progress(before, used + adds), (key, adds, before)

    def _taken(self, amounts: Amounts, tier: Tier | None, action: Action) -> str | None:
        """Count what the action takes, and say it; None when a cap has no room for it."""
        conversion = self.conversion
        caps = cap_keys(
            self.terms.caps,
            conversion.program,
            action.partner,
            conversion.event_type,
            conversion.accept_ms,
            self.zone,
            self.terms.currency,
        )
        charges: dict[str, Any] = {}
        if caps:
            shared = self._shared(caps)
            store = self.context.store
            held = {key for key, holders in shared.items() if store.tally(holders)}
            wanted = [cap for cap in caps if counter_text("cap", cap.key) not in held]
            if not has_room(self.context, wanted, amounts):
                return None
            own = [cap for cap in caps if counter_text("cap", cap.key) not in shared]
            charges["caps"] = take_of_caps(self.context, own, amounts, action.brand)
            if shared:
                charges["shared"] = list(shared.items())
            for key, holders in shared.items():
                _hold(self.context, key, holders, action.brand, 1)
        if tier:
            add_tally(self.context, tier[0], action.brand, tier[1])
            charges["tier"] = tier
        return compact(charges) if charges else NOTHING

    def _shared(self, caps: list[CapKey]) -> dict[str, str]:
        """Of a conversion that several partners share: the counters that it is in once, whoever
        of them is paid, each with that of those partners.
        """
        if len(shares_of(self.conversion)) == 1:
            return {}
        texts = [
            counter_text("cap", cap.key)
            for cap in caps
            if cap.metric == "conversions" and cap.is_of_program
        ]
        name = self.conversion.conversion_id.hex()
        return {text: f"shared/{name}/{text}" for text in texts}


def counter_text(kind: str, key: Iterable[object]) -> str:
    """The key of a cap's counter, or of a tier's."""
    return "/".join((kind, *map(str, key)))


def take_of_caps(
    context: Context, caps: list[CapKey], amounts: Amounts, brand: int
) -> list[tuple[str, int]] | None:
    """Count `amounts` in each cap, and say what was counted; None when one has no room for it."""
    if not has_room(context, caps, amounts):
        return None
    took = [(counter_text("cap", key), amount) for key, amount in taken(caps, amounts).items()]
    for text, amount in took:
        add_tally(context, text, brand, amount)
    return took


def has_room(context: Context, caps: list[CapKey], amounts: Amounts) -> bool:
    """Whether every one of the caps has room for `amounts`."""
    used = {cap.key: context.store.tally(counter_text("cap", cap.key)) for cap in caps}
    return reached(caps, used, amounts) is None


def has_to_be_priced_at_lock(context: Context, action: Action) -> bool:
    """Whether the month's later actions may have changed what an action pays."""
    terms = context.settings.numbered(action.terms)
    tiers = terms.event(action.event_type).tiers if terms else None
    return tiers is not None and tiers.kind == "retroactive"


def _items(action_id: bytes, paid: Payout, left: Left) -> Iterable[ActionItem]:
    for line in paid.lines:
        if line.item is not None:
            item = left.items[line.item]
            yield ActionItem(
                action_id,
                line.item,
                item.sku or "",
                item.category or "",
                item.quantity,
                item.subtotal_minor or 0,
                line.micros,
                line.minor,
            )
