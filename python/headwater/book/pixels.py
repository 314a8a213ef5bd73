"""Which pixels are fired for what partners earn: chosen, held back, cancelled, in log order.

Of a partner's pixels for one commission and slot the most specific decides, also when it may not
fire: one of the program before one of all programs, one of the product before one of all upsells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from headwater import limits
from headwater.book.macros import render_url, source_of, values_of
from headwater.model.pixels import (
    ANY_PROGRAM,
    ANY_UPSELL,
    COMMISSIONS,
    MAIN,
    NEVER_MS,
    NOT_FOR_SALES,
    POSTBACK,
    UPSELL,
    Earned,
    Firing,
    Lead,
    Pixel,
    PixelDecision,
    Told,
    firing_id,
    pixel_of,
    read_pixel,
    slot_of_line,
)
from headwater.model.records import IdentifierType, Source

Identifiers = Iterable[tuple[int, bytes]]
InProgram = Callable[[int, int], bool]
"""Whether a partner, the second, takes part in a program."""

ACTIVE: Final = "active"
REVERSED: Final = "reversed"
HELD: Final = "held"
# What an action that moves may yet be told of: it was not, for this.
_STOPPED: Final = (HELD, REVERSED, "over_cap")
# Pixel 0 of a decision: there was none to choose.
_NONE: Final = 0


class Store(Protocol):
    """Rows as they are after everything that was put so far, of one lane of the log."""

    def put_pixel(self, pixel: Pixel, revision: int) -> None: ...
    def drop_pixel(self, number: int) -> None: ...
    def pixels_of(self, partner: int) -> Sequence[Pixel]:
        """The partner's active pixels."""

    def add_firing(self, firing: Firing) -> None:
        """Say that a message is due; one that is there already stays as it is."""

    def put_decision(self, decision: PixelDecision) -> None:
        """In place of an earlier one of action and pixel."""

    def decisions_of(self, action_id: bytes) -> Sequence[PixelDecision]:
        """What was decided last of each pixel for an action."""

    def add_lead(self, lead: Lead) -> None: ...
    def drop_lead(self, event_id: bytes) -> None: ...
    def park_lead(self, event_id: bytes) -> None:
        """Let a lead wait without end: a sale cancels it, no time fires it."""

    def leads_due(self, until_ms: int, count: int) -> Sequence[Lead]:
        """Those due by then, the earliest first. Costs nothing when there are none."""

    def leads_of_action(self, action_id: bytes) -> Sequence[Lead]: ...
    def leads_of_visitor(
        self,
        brand: int,
        program: int,
        order_id: str | None,
        identifiers: Identifiers,
        count: int,
    ) -> Sequence[Lead]:
        """Leads of the program with that order id, or that name one of the identifiers; the
        earliest first, so many at most.
        """

    def forget_in_leads(self, brand: int, identifiers: Identifiers) -> None:
        """Leads are no more found by these."""


# ---- What the log says of the configuration ------------------------------------------------


def on_pixel(store: Store, number: int, revision: int, value: dict[str, Any] | None) -> None:
    """Take a control record of a pixel in, under its number; `value` None: it is deleted."""
    number = pixel_of(number)
    if value is not None and value.get("status") == ACTIVE:
        store.put_pixel(read_pixel(number, value), revision)
    else:
        store.drop_pixel(number)


# ---- What partners earn ----------------------------------------------------------------------


def on_action(store: Store, earned: Earned, told: Told, at_ms: int) -> None:
    """An action was made: say of the partner's pixels for it which one fires, and why others do
    not. `at_ms` is the log's time.
    """
    own = store.pixels_of(earned.partner)
    if not own:
        return
    found = candidates(own, earned)
    if not found:
        _decided(store, earned, _NONE, "no_pixel", at_ms)
        return
    _decide(store, found[0], earned, told, at_ms)
    for pixel in found[1:]:
        _decided(store, earned, pixel.number, "less_specific", at_ms)


def on_action_of_inactive(store: Store, earned: Earned, at_ms: int) -> None:
    """An action was made for a partner that is not in the program any more: of clicks that it
    brought before. Nothing is fired.
    """
    for pixel in candidates(store.pixels_of(earned.partner), earned):
        _decided(store, earned, pixel.number, "partner_inactive", at_ms)


def on_move(store: Store, earned: Earned, told: Told, at_ms: int, *, is_in: bool) -> None:
    """An action has moved: a reversed one fires nothing any more; one that is approved, or back,
    or has room in its cap, what it did not fire for that.

    Called for every move but the first; `earned` is the action after it, `is_in`: its partner
    takes part in the program.
    """
    waiting = {decision.pixel: decision for decision in store.decisions_of(earned.action_id)}
    leads = {lead.firing.pixel: lead for lead in store.leads_of_action(earned.action_id)}
    if earned.state == REVERSED:
        for lead in leads.values():
            # It may come back, and a sale until then counts.
            store.park_lead(lead.firing.event_id)
        for number, decision in waiting.items():
            if decision.code == HELD or number in leads:
                store.put_decision(decision._replace(code=REVERSED, at_ms=at_ms))
        return
    # Whoever reported it has had its answer.
    late = told._replace(is_first=False)
    by_number = {pixel.number: pixel for pixel in store.pixels_of(earned.partner)}
    for number, decision in sorted(waiting.items()):
        if decision.code not in _STOPPED or (decision.code == HELD and earned.is_held):
            continue
        if number in leads:
            store.drop_lead(leads[number].firing.event_id)
        if not is_in:
            _decided(store, earned, number, "partner_inactive", at_ms)
        elif number in by_number:
            _decide(store, by_number[number], earned, late, at_ms)
        else:
            _decided(store, earned, number, "pixel_inactive", at_ms)


def on_close(store: Store, action_id: bytes) -> None:
    """A reversed action is closed: it does not come back."""
    for lead in store.leads_of_action(action_id):
        store.drop_lead(lead.firing.event_id)


def candidates(own: Sequence[Pixel], earned: Earned) -> list[Pixel]:
    """A partner's pixels for an action's program, commission and slot, the most specific first."""
    commission = COMMISSIONS.get(earned.event_kind)
    slot = slot_of_line(earned.line) if commission == "cpa" else MAIN
    slots = (slot, ANY_UPSELL) if slot.startswith(UPSELL) else (slot,)
    found = [
        pixel
        for pixel in own
        if pixel.commission == commission
        and pixel.slot in slots
        and pixel.program in (earned.program, ANY_PROGRAM)
    ]
    return sorted(
        found, key=lambda pixel: (pixel.program == ANY_PROGRAM, pixel.slot != slot, pixel.number)
    )


def _decide(store: Store, pixel: Pixel, earned: Earned, told: Told, at_ms: int) -> None:
    code = _obstacle(pixel, earned, told)
    if code is None:
        code = _send(store, pixel, earned, told, at_ms)
    elif code == HELD and _waits_for_sale(pixel):
        # Its own time begins with its approval, but a sale counts from now on.
        store.add_lead(Lead(_firing(pixel, earned, "", at_ms), NEVER_MS, *_visitor(earned, told)))
    _decided(store, earned, pixel.number, code, at_ms)


def _obstacle(pixel: Pixel, earned: Earned, told: Told) -> str | None:
    """Why a pixel that was chosen does not fire now; None when it does."""
    if earned.is_over_cap:
        return "over_cap"
    if pixel.type != POSTBACK:
        if told.source == Source.PIXEL:
            return "skipped_source_pixel"
        if told.source != Source.TAG:
            return "skipped_source_api"
        if told.is_denied:
            return "consent_denied"
    # Nobody approves a test, and whoever makes one wants to see it arrive.
    if earned.is_held and not earned.is_test:
        return HELD
    if pixel.type != POSTBACK and not told.is_first:
        return "browser_gone"
    return None


def _send(store: Store, pixel: Pixel, earned: Earned, told: Told, at_ms: int) -> str:
    """Write the message down, or let it wait for its time; what became of it."""
    values = values_of(earned, told, firing_id(earned.action_id, pixel.number))
    url = render_url(source_of(pixel.type, pixel.template), values)
    if len(url) > limits.PIXEL_URL_BYTES_MAX:
        return "url_too_long"
    firing = _firing(pixel, earned, url, at_ms)
    if not _waits_for_sale(pixel):
        store.add_firing(firing)
        return "fired"
    due_ms = max(at_ms, told.accept_ms) + max(pixel.delay_ms, limits.LEAD_DELAY_MS_MIN)
    store.add_lead(Lead(firing, due_ms, *_visitor(earned, told)))
    return "waiting_for_sale"


def _waits_for_sale(pixel: Pixel) -> bool:
    return pixel.commission == "cpl" and pixel.rule == NOT_FOR_SALES


def _firing(pixel: Pixel, earned: Earned, url: str, at_ms: int) -> Firing:
    return Firing(
        firing_id(earned.action_id, pixel.number),
        earned.brand,
        earned.program,
        earned.partner,
        pixel.number,
        earned.action_id,
        earned.conversion_id,
        pixel.type,
        url,
        earned.is_test,
        at_ms,
    )


def _visitor(earned: Earned, told: Told) -> tuple[str | None, tuple[tuple[int, bytes], ...]]:
    """What a sale is known by to be one of a lead's visitor."""
    return earned.order_id, _named_by(told)


def _named_by(told: Told) -> tuple[tuple[int, bytes], ...]:
    """What a lead's own report names its visitor by."""
    body = told.conversion
    if body is None:
        return ()
    named = {(int(kind), digest) for kind, digest in body.identifiers}
    if body.click_id is not None:
        named.add((int(IdentifierType.CLICK), body.click_id))
    return tuple(sorted(named))


# ---- Leads that wait -------------------------------------------------------------------------


def on_sale(
    store: Store,
    *,
    brand: int,
    program: int,
    order_id: str | None,
    identifiers: Identifiers,
    is_test: bool,
    at_ms: int,
) -> None:
    """A sale was decided: it cancels the waiting leads of its visitor in the program.

    `identifiers` are those the decision's explanation has as members: the visitor as the
    identity graph sees it. A test order cancels only leads that are tests, another only those
    that are none. To be called for every revision of a sale, after `on_time`.
    """
    most = limits.LEADS_PER_SALE_MAX
    for lead in store.leads_of_visitor(brand, program, order_id, identifiers, most):
        # One whose time has come is past cancelling, though its turn may not have.
        if lead.firing.is_test == is_test and lead.due_ms > at_ms:
            _cancel(store, lead, "suppressed_sale", at_ms)


def on_time(store: Store, at_ms: int, is_in: InProgram) -> None:
    """The log's time went on: leads whose time has come are fired, a bounded number at once; but
    those of a pixel that is gone by now, or of a partner that has left, are not.

    To be called before whatever the log holds at that time is looked at: a sale at the very
    moment finds the lead fired.
    """
    for lead in store.leads_due(at_ms, limits.LEADS_DUE_AT_ONCE):
        firing, code = lead.firing, "fired"
        store.drop_lead(firing.event_id)
        if not is_in(firing.program, firing.partner):
            code = "partner_inactive"
        elif all(pixel.number != firing.pixel for pixel in store.pixels_of(firing.partner)):
            code = "pixel_inactive"
        else:
            store.add_firing(firing._replace(at_ms=lead.due_ms))
        store.put_decision(_of_lead(lead, code, lead.due_ms))


def _cancel(store: Store, lead: Lead, code: str, at_ms: int) -> None:
    store.drop_lead(lead.firing.event_id)
    store.put_decision(_of_lead(lead, code, at_ms))


def _of_lead(lead: Lead, code: str, at_ms: int) -> PixelDecision:
    firing = lead.firing
    return PixelDecision(
        firing.action_id,
        firing.pixel,
        firing.brand,
        firing.program,
        firing.partner,
        firing.conversion_id,
        at_ms,
        code,
    )


def _decided(store: Store, earned: Earned, pixel: int, code: str, at_ms: int) -> None:
    store.put_decision(
        PixelDecision(
            earned.action_id,
            pixel,
            earned.brand,
            earned.program,
            earned.partner,
            earned.conversion_id,
            at_ms,
            code,
        )
    )
