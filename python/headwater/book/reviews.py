"""Managers' decisions on clicks: accepted or rejected, one by one or by partner and day."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headwater import limits
from headwater.book.actions import (
    ORDER_REVERSED,
    Order,
    Refused,
    order_of,
    price_again,
    reverse,
    would_pay,
)
from headwater.book.click_days import ACCEPTED, LATE, OVER_CAP, day_of_standing, has_room, settle
from headwater.book.context import Cause, Context
from headwater.book.decided import Decided, number, reason
from headwater.book.facts import click_body
from headwater.book.rejected import CLICK_REJECTED, REJECTED, earns_nothing, paid_shares, shares_of
from headwater.book.reversals import is_beyond, with_taken
from headwater.book.states import Verb
from headwater.model.book import LOCKED, REVERSED, Action, ClickStanding, Conversion
from headwater.model.records import NO_SUBJECT, decode


def accept(context: Context, said: Decided) -> Mapping[str, Any]:
    """Let clicks be paid that scoring, or a manager, had refused."""
    return _review(context, said, ACCEPTED)


def reject(context: Context, said: Decided) -> Mapping[str, Any]:
    """Let clicks not be paid, and reverse what they earned by conversions."""
    return _review(context, said, REJECTED)


def _review(context: Context, said: Decided, word: str) -> Mapping[str, Any]:
    if said.subject != NO_SUBJECT:
        standing = _standing(context, said)
        if not _fits(context, standing, word):
            raise Refused("over_cap")
        _decide(context, said, standing, word)
        return {"changed": 1, "more": False}
    chosen = _chosen(context, said)
    wanted = [each for each in chosen if each.manager != word and _is_open(context, each)]
    changed, beyond = 0, 0
    for standing in wanted:
        if changed == limits.REVIEWED_AT_ONCE_MAX:
            break
        if not _fits(context, standing, word):
            beyond += 1
            continue
        try:
            _decide(context, said, standing, word)
        except Refused as refused:
            if refused.code != "reversal_max":
                raise
            beyond += 1
        else:
            changed += 1
    return {
        "changed": changed,
        "unchanged": len(chosen) - len(wanted) + beyond,
        "more": len(wanted) > changed + beyond,
    }


def _fits(context: Context, standing: ClickStanding, word: str) -> bool:
    """False for a click to be accepted that is over the cap still."""
    if word != ACCEPTED or standing.standing != OVER_CAP:
        return True
    day = day_of_standing(context, standing)
    return day is None or has_room(context, standing, day)


def _standing(context: Context, said: Decided) -> ClickStanding:
    """What is held of the click that is the subject. Raises Refused."""
    found = context.store.standing(said.subject)
    if found is None:
        record = context.store.click_record(said.subject)
        if record is None or decode(record).brand != said.brand:
            raise Refused("not_found")
        body = click_body(record)
        found = ClickStanding(
            click_id=said.subject,
            brand=said.brand,
            program=body.program,
            partner=body.partner,
            day="",
            currency="",
            revision=0,
            verdict="",
            score=0,
            standing="",
            is_first=False,
            payout_micros=0,
            charges_json="[]",
            manager="",
            reason=None,
            at_ms=context.at_ms,
        )
    if found.brand != said.brand:
        raise Refused("not_found")
    if not _is_open(context, found):
        raise Refused("action_locked")
    return found


def _is_open(context: Context, standing: ClickStanding) -> bool:
    day = day_of_standing(context, standing)
    return day is None or (day.state != LOCKED and standing.standing != LATE)


def _chosen(context: Context, said: Decided) -> list[ClickStanding]:
    """Clicks of a partner's day that the filter names. Raises Refused."""
    program, partner = number(said, "program"), number(said, "partner")
    wanted = _filter(said)
    found = context.store.standings_of_day(program, partner, said.text("day"))
    return [each for each in found if each.brand == said.brand and wanted(each)]


def _filter(said: Decided) -> Callable[[ClickStanding], bool]:
    """`verdict` and `standing`: one of a list; `score_from`: at least. Raises Refused."""
    try:
        given = json.loads(said.text("filter") or "{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Refused("invalid", field="filter")
    verdicts, standings = given.get("verdict") or [], given.get("standing") or []
    score_from = given.get("score_from", 0)
    is_well = isinstance(verdicts, list) and isinstance(standings, list)
    if not is_well or type(score_from) is not int:
        raise Refused("invalid", field="filter")

    def holds(standing: ClickStanding) -> bool:
        return (
            (not verdicts or standing.verdict in verdicts)
            and (not standings or standing.standing in standings)
            and standing.score >= score_from
        )

    return holds


def _decide(context: Context, said: Decided, standing: ClickStanding, word: str) -> None:
    why = reason(context, said, standing.program)
    standing = standing._replace(manager=word, reason=why)
    before = context.store.standing(standing.click_id)
    context.store.put_standing(standing)
    if word == REJECTED and is_beyond(context, _losses(context, standing.click_id)):
        context.store.put_standing(before or standing._replace(manager="", reason=None))
        raise Refused("reversal_max")
    day = day_of_standing(context, standing)
    if day is not None:
        settle(context, standing, day)
    cause = Cause(said.event_id, said.actor, None, said.text("note"))
    for conversion, action in list(_earned_by(context, standing.click_id)):
        _follow(context, order_of(context, conversion), action, cause)


def _losses(context: Context, click_id: bytes) -> Iterator[tuple[Action, int]]:
    """What open actions would lose by a click that is rejected now."""
    for conversion, action in _earned_by(context, click_id):
        if action.state == REVERSED:
            continue
        if earns_nothing(context, conversion, action.partner):
            yield action, action.payout_minor
        else:
            order = order_of(context, conversion)
            paid_minor = would_pay(context, action, order, action.change_json)
            yield action, action.payout_minor - paid_minor


def _earned_by(context: Context, click_id: bytes) -> Iterator[tuple[Conversion, Action]]:
    """Open actions that a click brought."""
    for conversion_id in context.store.conversions_of_click(click_id):
        conversion = context.store.conversion(conversion_id)
        if conversion is None:
            continue
        owners = {owner for owner, click, _share in conversion.credits if click == click_id}
        for action in context.store.actions_of(conversion_id):
            if action.partner in owners and action.locked_ms is None:
                yield conversion, action


def _follow(context: Context, order: Order, action: Action, cause: Cause) -> None:
    """Take back what a rejected click earned by a conversion; accepted again, it is given back."""
    conversion, partner = order.conversion, action.partner
    is_rejected = earns_nothing(context, conversion, partner)
    place = list(shares_of(conversion)).index(partner)
    share_ppm = paid_shares(context, conversion, partner)[place]
    if action.state == REVERSED:
        if is_rejected or action.reason != CLICK_REJECTED:
            return
    elif share_ppm == action.share_ppm and not is_rejected:
        return
    if is_rejected:
        why = Cause(cause.event_id, cause.actor, CLICK_REJECTED, cause.note)
        reverse(context, action, why)
    elif order.left.is_nothing:
        # It is the order now that keeps it from being back.
        context.store.put_action(action._replace(reason=ORDER_REVERSED))
    else:
        paid_minor = would_pay(context, action, order, action.change_json)
        change = with_taken(context, action, action.change_json, paid_minor)
        verb: Verb = "reset" if action.state == REVERSED else "modify"
        price_again(context, action, order, verb, cause, change_json=change)
    context.booked.moved.add(conversion.conversion_id)
