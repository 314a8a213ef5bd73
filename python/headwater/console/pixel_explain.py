"""Why a pixel was fired for an order, or was not: the questions of the troubleshooting chart, in
their order, up to the first that stops the pixel.

Answered from what was decided, not from what the configuration has become since; only where no
action was made it is asked how things stand now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headwater import ids
from headwater.console.views import View
from headwater.ledger.firings import CLIENT, DELIVERED, WAITING
from headwater.ledger.values import ACTIVE
from headwater.model.pixels import COMMISSIONS, DECISION_CODES, DELIVERY_CODES, MAIN, slot_of_line
from headwater.model.records import Flag

Row = Mapping[str, Any]

QUESTIONS: Final = {
    "partner_found": "Was a partner found for the order?",
    "in_program": "Is the partner in the program?",
    "action_made": "Did the partner earn an action?",
    "pixel_exists": "Has the partner a pixel for the program, the commission and the slot?",
    "source_allows_type": "Can the pixel be fired where the order was reported?",
    "prepaid": "Is it a prepaid card?",
    "held": "Does the order wait for a person's approval?",
    "test": "Is it a test order?",
    "suppressed": "Did anything else stop the pixel?",
    "sent": "Was it sent?",
    "answered": "Did the partner's server take it?",
}
"""The steps of the chart."""

YES, NO, NOT_YET, NOT_KNOWN = "yes", "no", "not_yet", "not_known"
_NO_PIXEL: Final = 0
_NOT_CHOSEN: Final = "less_specific"
# At which step a decision stops the pixel, and the answer to that step's question.
_STOPS: Final = {
    "partner_inactive": ("in_program", NO),
    "no_pixel": ("pixel_exists", NO),
    "skipped_source_api": ("source_allows_type", NO),
    "skipped_source_pixel": ("source_allows_type", NO),
    "browser_gone": ("source_allows_type", NO),
    "consent_denied": ("source_allows_type", NO),
    "held": ("held", YES),
}


class PixelStep(View):
    """One question: `passes` says whether the pixel goes on after the answer."""

    step: str
    question: str
    answer: str
    passes: bool
    code: str | None
    detail: str


class PixelWalk(View):
    """The chart, walked for one partner. `conclusion` is the detail of its last step."""

    partner_id: str | None
    action_id: str | None
    pixel_id: str | None
    fired: bool
    conclusion: str
    steps: list[PixelStep]


class PixelExplanation(View):
    """A walk for each partner that the order has to do with; with none, one that says so."""

    conversion_id: str
    walks: list[PixelWalk]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one partner's part in an order."""

    conversion: Row
    is_credited: bool
    """Now; it may have been before."""
    event_kind: str | None
    standing: str | None
    """Of the partner's enrolment, now."""
    action: Row | None
    decision: Row | None
    """Of the pixel that was chosen, or of there being none."""
    firing: Row | None
    attempt: Row | None
    """The last."""


def chosen(decisions: Sequence[Row]) -> Row | None:
    """Of an action's decisions the one that counts."""
    return next((row for row in decisions if row["code"] != _NOT_CHOSEN), None)


def nobody(conversion: Row) -> PixelWalk:
    """The walk of an order without a partner."""
    reason = conversion["reason"] or conversion["status"]
    step = _step("partner_found", NO, False, f"No partner has credit for it: {reason}.", reason)
    return PixelWalk(
        partner_id=None,
        action_id=None,
        pixel_id=None,
        fired=False,
        conclusion=step.detail,
        steps=[step],
    )


def walk(partner: int, facts: Facts) -> PixelWalk:
    """The chart for one partner."""
    has, had = "The partner has credit for the order.", "The partner had credit for the order."
    steps = [_step("partner_found", YES, True, has if facts.is_credited else had)]
    for ask in (_in_program, _action_made, _pixel_exists, _source, _prepaid, _held, _test):
        steps.append(ask(facts))
        if not steps[-1].passes:
            break
    else:
        steps += _outbound(facts)
    pixel = facts.decision["pixel"] if facts.decision else _NO_PIXEL
    return PixelWalk(
        partner_id=ids.object_text("prt", partner),
        action_id=ids.event_text("act", facts.action["action_id"]) if facts.action else None,
        pixel_id=ids.object_text("pxl", pixel) if pixel else None,
        fired=facts.firing is not None,
        conclusion=steps[-1].detail,
        steps=steps,
    )


def _step(name: str, answer: str, passes: bool, detail: str, code: str | None = None) -> PixelStep:
    return PixelStep(
        step=name,
        question=QUESTIONS[name],
        answer=answer,
        passes=passes,
        code=code,
        detail=detail,
    )


def _stopped(name: str, facts: Facts) -> PixelStep | None:
    """The step at which the decision stops the pixel, if it is this one."""
    code = facts.decision["code"] if facts.decision else ""
    where, answer = _STOPS.get(code, ("", ""))
    return _step(name, answer, False, DECISION_CODES[code], code) if where == name else None


def _in_program(facts: Facts) -> PixelStep:
    stopped = _stopped("in_program", facts)
    if stopped:
        return stopped
    if facts.action is None and facts.standing != ACTIVE:
        how = "not enrolled" if facts.standing is None else facts.standing
        return _step("in_program", NO, False, f"In the program the partner is {how}.")
    return _step("in_program", YES, True, "The partner was in the program.")


def _action_made(facts: Facts) -> PixelStep:
    if facts.action is None:
        reason = facts.conversion["reason"]
        verdict = facts.conversion["verdict"]
        why = f"Nothing was earned: {reason or verdict}."
        return _step("action_made", NO, False, why, reason)
    state = facts.action["state"]
    return _step("action_made", YES, True, f"The action is {state}.", facts.action["reason"])


def _pixel_exists(facts: Facts) -> PixelStep:
    commission = COMMISSIONS.get(facts.event_kind or "", "cpa")
    slot = slot_of_line(facts.conversion["line"]) if commission == "cpa" else MAIN
    for_what = f"{commission.upper()}, slot {slot}"
    stopped = _stopped("pixel_exists", facts)
    if stopped or facts.decision is None:
        detail = f"When the action was made the partner had no pixel for it ({for_what})."
        return _step("pixel_exists", NO, False, detail, "no_pixel")
    return _step("pixel_exists", YES, True, f"The most specific one was chosen ({for_what}).")


def _source(facts: Facts) -> PixelStep:
    return _stopped("source_allows_type", facts) or _step(
        "source_allows_type", YES, True, "Its type can be fired for an order reported like this."
    )


def _prepaid(facts: Facts) -> PixelStep:  # noqa: ARG001 - one of a row of questions
    return _step("prepaid", NOT_KNOWN, True, "No card is ever seen here, so none is held back.")


def _held(facts: Facts) -> PixelStep:
    return _stopped("held", facts) or _step("held", NO, True, "It waits for nobody's approval.")


def _test(facts: Facts) -> PixelStep:
    if facts.conversion["flags"] & Flag.TEST:
        return _step("test", YES, True, "A test order fires, and says so by {is_test}.")
    return _step("test", NO, True, "It is no test.")


def _outbound(facts: Facts) -> list[PixelStep]:
    """From the decision to the partner's server."""
    firing, code = facts.firing, facts.decision["code"] if facts.decision else "no_pixel"
    if firing is None:
        answer = NOT_YET if code == "waiting_for_sale" else YES
        return [_step("suppressed", answer, False, DECISION_CODES[code], code)]
    steps = [_step("suppressed", NO, True, "Nothing stopped it.")]
    if firing["state"] == CLIENT:
        given = "It was given to the visitor's browser with the answer."
        unknown = "What a browser does with it is not told to us."
        return [
            *steps,
            _step("sent", YES, True, given),
            _step("answered", NOT_KNOWN, False, unknown),
        ]
    if not firing["attempts"]:
        return [*steps, _unsent(firing)]
    count = firing["attempts"]
    steps.append(_step("sent", YES, True, f"It was sent {count} time{'s' * (count != 1)}."))
    return [*steps, _answered(firing, facts.attempt)]


def _unsent(firing: Row) -> PixelStep:
    if firing["state"] == WAITING:
        return _step("sent", NOT_YET, False, "It is due, and was not sent yet.")
    code = firing["code"]
    return _step("sent", NO, False, DELIVERY_CODES.get(code, "It was given up."), code)


def _answered(firing: Row, attempt: Row | None) -> PixelStep:
    code = attempt["code"] if attempt else firing["code"]
    detail = DELIVERY_CODES.get(code, "No answer is on record.")
    if attempt and attempt["status"] is not None:
        detail = f"{detail} The status was {attempt['status']}."
    if firing["state"] == DELIVERED:
        return _step("answered", YES, True, detail, code)
    answer = NOT_YET if firing["state"] == WAITING else NO
    return _step("answered", answer, False, detail, code)
