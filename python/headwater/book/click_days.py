"""Clicks that are paid for (CPC): counted by partner and day, reviewed, and turned into actions.

A day is one of the program's time zone. Under `review` its clicks wait for the day's lock time,
and what was not rejected becomes one action. Under `instant` the day's action is there from its
first payable click on, and grows; nothing of it is taken back, and partners are told of it when
the day is over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

from headwater.book import entries as double
from headwater.book import pricing
from headwater.book.actions import lock, post, put_entry
from headwater.book.calendar import day_of, day_start_ms, lock_at_ms, pay_at_ms
from headwater.book.caps import Amounts, CapKey, cap_keys
from headwater.book.context import Cause, Context, digest
from headwater.book.facts import Fields
from headwater.book.money import accrue
from headwater.book.payout import click_micros
from headwater.book.pricing import NOTHING, add_tally, compact, take_of_caps
from headwater.book.rejected import REJECTED
from headwater.book.terms import Terms
from headwater.model.book import (
    CLICKS,
    LOCKED,
    PENDING,
    Action,
    ActionFlag,
    ClickDay,
    ClickStanding,
)
from headwater.model.records import CLICK, Flag, touch_type

INSTANT: Final = "instant"
INVALID, DUPLICATE = "invalid", "duplicate"
OVER_CAP, PAYABLE, LATE = "over_cap", "payable", "late"
ACCEPTED: Final = "accepted"
_COUNTS: Final = frozenset((INVALID, DUPLICATE, REJECTED, OVER_CAP, PAYABLE))
_NO_CHARGES: Final = "[]"

# Positions in rows of the engine's outcomes.
_CLICK, _BRAND, PROGRAM, _PARTNER, _ACCEPT_MS, _FLAGS = 0, 1, 2, 3, 5, 9
_VERDICT, _COUNTED, _IS_UNIQUE, _SCORE = 10, 11, 12, 13
_AGAIN_REVISION, _AGAIN_VERDICT, _AGAIN_COUNTED, _AGAIN_UNIQUE, _AGAIN_SCORE = 3, 4, 5, 6, 7


def count_click(context: Context, row: Sequence[Any]) -> None:
    """Count a click of a program that pays clicks."""
    if row[_FLAGS] & Flag.TEST or touch_type(row[_FLAGS]) != CLICK:
        return
    program, partner, accept_ms = row[PROGRAM], row[_PARTNER], row[_ACCEPT_MS]
    if context.settings.is_paused(program, partner):
        return
    if context.store.standing(row[_CLICK]) is not None:
        return
    terms = context.settings.terms(program, partner, accept_ms)
    if terms is None:
        return
    day = _day(context, terms, row[_BRAND], partner, accept_ms)
    fields = Fields(context.store, partner, None, row[_CLICK])
    standing = ClickStanding(
        click_id=row[_CLICK],
        brand=row[_BRAND],
        program=program,
        partner=partner,
        day=day.day,
        currency=day.currency,
        revision=0,
        verdict=row[_VERDICT],
        score=row[_SCORE],
        standing="",
        is_first=row[_COUNTED] == "counted" and bool(row[_IS_UNIQUE]),
        payout_micros=click_micros(terms, day.event_type, fields),
        charges_json=_NO_CHARGES,
        manager="",
        reason=None,
        at_ms=accept_ms,
    )
    day = day._replace(gross=day.gross + 1)
    context.store.put_click_day(day)
    if _is_closed(context, day):
        context.store.put_standing(standing._replace(standing=LATE))
    else:
        settle(context, standing, day)


def _is_closed(context: Context, day: ClickDay) -> bool:
    """Whether nothing is added to a day: it is locked or, of instant clicks, paid."""
    if day.mode != INSTANT:
        return day.state == LOCKED
    action = context.store.action(day.action_id) if day.action_id else None
    return action is not None and action.state != LOCKED


def _day(context: Context, terms: Terms, brand: int, partner: int, accept_ms: int) -> ClickDay:
    """The day a click belongs to."""
    zone = context.settings.zone(terms.program)
    key = (terms.program, partner, day_of(accept_ms, zone).isoformat(), terms.currency)
    found = context.store.click_day(key)
    if found is not None:
        return found
    lock_ms = lock_at_ms(accept_ms, terms.locking, zone)
    is_instant = terms.cpc_mode == INSTANT
    return ClickDay(
        *key,
        partition=context.partition,
        brand=brand,
        event_type=context.settings.click_types[terms.program],
        mode=terms.cpc_mode,
        gross=0,
        invalid=0,
        duplicate=0,
        rejected=0,
        over_cap=0,
        payable=0,
        payout_micros=0,
        terms=terms.number,
        terms_version=terms.version,
        lock_ms=lock_ms,
        due_ms=_day_end_ms(key[2], zone) if is_instant else lock_ms,
        state=LOCKED if is_instant else PENDING,
        action_id=None,
    )


def _day_end_ms(day: str, zone: str) -> int:
    return day_start_ms(date.fromisoformat(day) + timedelta(days=1), zone)


def score_again(context: Context, row: Sequence[Any]) -> None:
    """Take in what later evidence made of a click's score."""
    standing = context.store.standing(row[_CLICK])
    if standing is None or row[_AGAIN_REVISION] <= standing.revision:
        return
    standing = standing._replace(
        revision=row[_AGAIN_REVISION],
        verdict=row[_AGAIN_VERDICT],
        score=row[_AGAIN_SCORE],
        is_first=row[_AGAIN_COUNTED] == "counted" and bool(row[_AGAIN_UNIQUE]),
    )
    day = day_of_standing(context, standing)
    if day is None or day.state == LOCKED:
        context.store.put_standing(standing)
    else:
        settle(context, standing, day)


def day_of_standing(context: Context, standing: ClickStanding) -> ClickDay | None:
    """The day a click is counted in; None when its program does not pay clicks."""
    if not standing.day:
        return None
    key = (standing.program, standing.partner, standing.day, standing.currency)
    return context.store.click_day(key)


def settle(context: Context, standing: ClickStanding, day: ClickDay) -> None:
    """Put a click in the count of its day that it belongs to now."""
    wanted = _wanted(standing, day.mode)
    is_past_trying = (wanted, standing.standing) == (PAYABLE, OVER_CAP) and not standing.manager
    if wanted == standing.standing or is_past_trying:
        context.store.put_standing(standing)
        return
    if standing.standing == PAYABLE:
        for key, amount in json.loads(standing.charges_json):
            add_tally(context, key, standing.brand, -amount)
        standing = standing._replace(charges_json=_NO_CHARGES)
        day = day._replace(payout_micros=day.payout_micros - standing.payout_micros)
    if wanted == PAYABLE:
        took = _taken(context, standing, day.event_type)
        if took is None and standing.standing == OVER_CAP:
            context.store.put_standing(standing)
            return
        if took is None:
            wanted = OVER_CAP
        else:
            standing = standing._replace(charges_json=compact(took))
            day = day._replace(payout_micros=day.payout_micros + standing.payout_micros)
    counts = {wanted: getattr(day, wanted) + 1}
    if standing.standing in _COUNTS:
        counts[standing.standing] = getattr(day, standing.standing) - 1
    day = day._replace(**counts)
    standing = standing._replace(standing=wanted)
    if wanted == PAYABLE and day.mode == INSTANT:
        day = _grow(context, day, standing)
    context.store.put_standing(standing)
    context.store.put_click_day(day)


def _wanted(standing: ClickStanding, mode: str) -> str:
    if standing.manager:
        return PAYABLE if standing.manager == ACCEPTED else REJECTED
    if standing.verdict in ("reject", "filtered"):
        return INVALID
    if not standing.is_first:
        return DUPLICATE
    # Nobody looks at instant clicks before they are paid.
    return INVALID if standing.verdict == "review" and mode == INSTANT else PAYABLE


def has_room(context: Context, standing: ClickStanding, day: ClickDay) -> bool:
    """Whether every cap has room for a click now."""
    caps = _caps(context, standing, day.event_type)
    return pricing.has_room(context, caps, Amounts(1, standing.payout_micros, 0))


def _caps(context: Context, standing: ClickStanding, event_type: int) -> list[CapKey]:
    terms = context.settings.terms(standing.program, standing.partner, standing.at_ms)
    if terms is None or not terms.caps:
        return []
    zone = context.settings.zone(standing.program)
    return cap_keys(
        terms.caps,
        standing.program,
        standing.partner,
        event_type,
        standing.at_ms,
        zone,
        terms.currency,
    )


def _taken(
    context: Context, standing: ClickStanding, event_type: int
) -> list[tuple[str, int]] | None:
    caps, amounts = _caps(context, standing, event_type), Amounts(1, standing.payout_micros, 0)
    return take_of_caps(context, caps, amounts, standing.brand)


def _carry_key(day: ClickDay) -> str:
    return f"carry/{day.program}/{day.partner}/{day.currency}"


def _booked(context: Context, day: ClickDay, micros: int) -> int:
    """Whole minor units of what was earned; what is below one is carried on."""
    key = _carry_key(day)
    booked, carried = accrue(context.store.tally(key), micros)
    context.store.put_tally(key, day.brand, carried)
    return booked


def _grow(context: Context, day: ClickDay, standing: ClickStanding) -> ClickDay:
    """Add a click to its day's action, which is there from the first one on."""
    amount_minor = _booked(context, day, standing.payout_micros)
    action = context.store.action(day.action_id) if day.action_id else None
    if action is None:
        made = _action(context, day)._replace(
            state=LOCKED,
            locked_ms=context.at_ms,
            flags=int(ActionFlag.INSTANT),
            payout_micros=day.payout_micros,
            payout_minor=amount_minor,
        )
        post(context, None, made, "create", Cause(made.action_id))
        # Nobody is told of the first click's pay for the whole day's.
        context.moved.pop(made.action_id, None)
        return day._replace(action_id=made.action_id)
    action = action._replace(
        payout_micros=day.payout_micros, payout_minor=action.payout_minor + amount_minor
    )
    context.store.put_action(action)
    # One pair of entries stands for all the day's clicks.
    why = double.Cause(action.action_id, action.action_id, context.at_ms)
    grown = double.entries(why, None, double.Position("locked", action.payout_minor), day.currency)
    for line in grown:
        put_entry(context, action._replace(revision=1), line, grows=True)
    return day


def is_over(context: Context, program: int, day: str) -> bool:
    """Whether the log's time is past a day of the program's time zone."""
    return day_of(context.at_ms, context.settings.zone(program)).isoformat() > day


def lock_day(context: Context, day: ClickDay, cause: Cause | None) -> None:
    """Turn a day's payable clicks into one action, and close the day. Of instant clicks the action
    is there: what it has come to is told.
    """
    is_instant = day.mode == INSTANT
    day = day._replace(state=LOCKED, due_ms=None)
    if is_instant:
        action = context.store.action(day.action_id) if day.action_id else None
        if action is not None:
            context.note_move(None, action)
    elif day.payable:
        made = _action(context, day)._replace(
            payout_micros=day.payout_micros,
            payout_minor=_booked(context, day, day.payout_micros),
        )
        why = cause or Cause(made.action_id)
        lock(context, post(context, None, made, "create", why), why)
        day = day._replace(action_id=made.action_id)
    context.store.put_click_day(day)


def _action(context: Context, day: ClickDay) -> Action:
    zone = context.settings.zone(day.program)
    terms = context.settings.numbered(day.terms)
    return Action(
        action_id=digest("clicks", day.program, day.partner, day.day, day.currency),
        partition=day.partition,
        brand=day.brand,
        program=day.program,
        partner=day.partner,
        event_type=day.event_type,
        kind=CLICKS,
        conversion_id=None,
        click_id=None,
        click_day=day.day,
        order_id=None,
        line="main",
        state=PENDING,
        original_state=PENDING,
        reason=None,
        tracked_ms=day_start_ms(date.fromisoformat(day.day), zone),
        lock_ms=day.lock_ms,
        due_ms=None,
        locked_ms=None,
        pay_ms=pay_at_ms(day.lock_ms, terms.payment, zone) if terms else None,
        currency=day.currency,
        order_minor=0,
        left_minor=0,
        payout_currency=day.currency,
        revenue_minor=0,
        payout_micros=0,
        payout_minor=0,
        compensated_minor=0,
        rate_json=NOTHING,
        terms=day.terms,
        terms_version=day.terms_version,
        rule="clicks",
        share_ppm=1_000_000,
        flags=0,
        charges_json=NOTHING,
        change_json=NOTHING,
        revision=0,
    )
