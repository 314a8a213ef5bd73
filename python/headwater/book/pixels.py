"""Which pixels are fired for what partners earn: chosen, held back, cancelled, in log order.

Of a partner's pixels for one commission and slot the most specific decides, also when it may not
fire: one of the program before one of all programs, one of the product before one of all upsells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from headwater import limits
from headwater.book.macros import render_url, source_of, values_of
from headwater.model.pixels import (
    ANY_PROGRAM,
    ANY_UPSELL,
    COMMISSIONS,
    MAIN,
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

ACTIVE: Final = "active"
REVERSED: Final = "reversed"
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

    def held(self, action_id: bytes) -> Sequence[PixelDecision]:
        """The decisions of an action that are `held`."""

    def held_of_partner(self, program: int, partner: int) -> Sequence[PixelDecision]: ...

    def add_lead(self, lead: Lead) -> None: ...
    def drop_lead(self, event_id: bytes) -> None: ...
    def leads_due(self, until_ms: int, count: int) -> Sequence[Lead]:
        """Those due by then, the earliest first. Costs nothing when there are none."""

    def leads_of_action(self, action_id: bytes) -> Sequence[Lead]: ...
    def leads_of_partner(self, program: int, partner: int) -> Sequence[Lead]: ...
    def leads_of_pixel(self, pixel: int) -> Sequence[Lead]: ...
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


# ---- What the log says of the configuration ------------------------------------------------


def on_pixel(
    store: Store, number: int, revision: int, value: dict[str, Any] | None, at_ms: int
) -> None:
    """Take a control record of a pixel in, under its number; `value` None: it is deleted."""
    number = pixel_of(number)
    if value is not None and value.get("status") == ACTIVE:
        store.put_pixel(read_pixel(number, value), revision)
        return
    store.drop_pixel(number)
    for lead in store.leads_of_pixel(number):
        _cancel(store, lead, "pixel_inactive", at_ms)


def on_enrolment(store: Store, program: int, partner: int, status: str, at_ms: int) -> None:
    """Take a control record of an enrolment in: what waits for one that is over is never sent."""
    if status == ACTIVE:
        return
    for lead in store.leads_of_partner(program, partner):
        _cancel(store, lead, "partner_inactive", at_ms)
    for decision in store.held_of_partner(program, partner):
        store.put_decision(decision._replace(code="partner_inactive", at_ms=at_ms))


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


def on_move(store: Store, earned: Earned, told: Told, at_ms: int) -> None:
    """An action has moved: a reversed one fires nothing any more, an approved one what was held.

    Called for every move but the first; `earned` is the action after it.
    """
    if earned.state == REVERSED:
        for lead in store.leads_of_action(earned.action_id):
            _cancel(store, lead, "reversed", at_ms)
        for decision in store.held(earned.action_id):
            store.put_decision(decision._replace(code="reversed", at_ms=at_ms))
        return
    if earned.is_held:
        return
    held = {decision.pixel for decision in store.held(earned.action_id)}
    if not held:
        return
    # Whoever reported it has had its answer.
    late = told._replace(is_first=False)
    by_number = {pixel.number: pixel for pixel in store.pixels_of(earned.partner)}
    for number in sorted(held):
        if number in by_number:
            _decide(store, by_number[number], earned, late, at_ms)
        else:
            _decided(store, earned, number, "pixel_inactive", at_ms)


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
        return "held"
    if pixel.type != POSTBACK and not told.is_first:
        return "browser_gone"
    return None


def _send(store: Store, pixel: Pixel, earned: Earned, told: Told, at_ms: int) -> str:
    """Write the message down, or let it wait for its time; what became of it."""
    event_id = firing_id(earned.action_id, pixel.number)
    values = values_of(earned, told, event_id)
    url = render_url(source_of(pixel.type, pixel.template), values)
    if len(url) > limits.PIXEL_URL_BYTES_MAX:
        return "url_too_long"
    firing = Firing(
        event_id,
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
    if pixel.commission != "cpl" or pixel.rule != NOT_FOR_SALES:
        store.add_firing(firing)
        return "fired"
    due_ms = max(at_ms, told.accept_ms) + max(pixel.delay_ms, limits.LEAD_DELAY_MS_MIN)
    store.add_lead(Lead(firing, due_ms, earned.order_id, _named_by(told)))
    return "waiting_for_sale"


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


def on_time(store: Store, at_ms: int) -> None:
    """The log's time went on: leads whose time has come are fired, a bounded number at once.

    To be called before whatever the log holds at that time is looked at: a sale at the very
    moment finds the lead fired.
    """
    for lead in store.leads_due(at_ms, limits.LEADS_DUE_AT_ONCE):
        store.drop_lead(lead.firing.event_id)
        store.add_firing(lead.firing._replace(at_ms=lead.due_ms))
        store.put_decision(_of_lead(lead, "fired", lead.due_ms))


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
