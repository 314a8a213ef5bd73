"""Every reason code: what refuses a request, what leaves a conversion without credit, what is
said of a recorded rejection. `headwater reasons` prints this table.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """`status`: of the HTTP answer that carries the code; None where no request is refused."""

    status: int | None
    meaning: str


REASONS: dict[str, Reason] = {
    # Requests
    "malformed_body": Reason(400, "The body is not well-formed JSON or MessagePack."),
    "duplicate_key": Reason(400, "An object of the body names a key twice."),
    "malformed_request": Reason(400, "The request is not well-formed HTTP."),
    "too_many_parameters": Reason(400, "The query has more parameters than are taken."),
    "unauthorized": Reason(401, "The key is missing, unknown or revoked."),
    "forbidden": Reason(403, "The key's scope, brand or partner does not reach this."),
    "method_disabled": Reason(403, "The program has this tracking method switched off."),
    "origin_not_allowed": Reason(403, "Pages of this origin may not report to the program."),
    "not_found": Reason(404, "There is no such object, or it is not yours to see."),
    "method_not_allowed": Reason(405, "The route does not take this method."),
    "conflict": Reason(409, "Another object holds this name already."),
    "order_conflict": Reason(
        409, "The order was reported before with another amount, currency, items, code or click."
    ),
    "idempotency_conflict": Reason(409, "The Idempotency-Key was used before with another body."),
    "illegal_move": Reason(409, "The action's state does not allow this."),
    "action_locked": Reason(409, "The action is locked: only a compensating entry is possible."),
    "action_held": Reason(409, "The action waits for a person's approval and does not lock."),
    "terms_in_force": Reason(409, "Terms that have begun do not change, but for their end."),
    "not_credited": Reason(409, "The conversion does not credit the action's partner any more."),
    "order_reversed": Reason(409, "Nothing is left of the order."),
    "reversal_max": Reason(409, "The terms let no more of the partner's month be reversed."),
    "too_many_moves": Reason(409, "The action, or the order, was changed too often."),
    "request_timeout": Reason(408, "The request did not arrive in time."),
    "body_too_large": Reason(413, "The body is larger than the route takes."),
    "link_expired": Reason(410, "The link's time is over."),
    "batch_too_large": Reason(413, "The batch holds more events than are taken at once."),
    "uri_too_long": Reason(414, "The request line is longer than is taken."),
    "unsupported_media_type": Reason(415, "The body's type or encoding is not taken."),
    "head_too_large": Reason(431, "The request's header fields are larger than are taken."),
    "expectation_failed": Reason(417, "The only expectation taken is 100-continue."),
    "rate_limited": Reason(429, "Too many requests; retry later."),
    "internal_error": Reason(500, "A fault of ours; the log has it under the request's id."),
    "unavailable": Reason(503, "The event was not accepted; retry after the time given."),
    "not_published": Reason(
        503, "The change is saved but not yet on the log; it will apply without a retry."
    ),
    "ledger_unavailable": Reason(503, "The ledger does not answer; retry after the time given."),
    "http_version": Reason(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."),
    # Fields
    "invalid": Reason(422, "A field has a value that is not taken; the detail says which."),
    "required": Reason(422, "A required field is missing."),
    "unknown_program": Reason(422, "No program has this code, or not of this key's brand."),
    "unknown_event_type": Reason(422, "The program has no such event type."),
    "unknown_link": Reason(422, "No link has this code or id."),
    "unknown_partner": Reason(422, "No such partner is enrolled in the program."),
    "partner_not_in_program": Reason(409, "The partner is not enrolled in the program."),
    "unknown_type": Reason(422, "The batch's event has no known `type`."),
    "program_inactive": Reason(422, "The program does not take events now."),
    "no_identifier": Reason(
        422, "One identifier at least is needed; of a conversion, a promo code will do."
    ),
    "pii_in_customer_id": Reason(422, "The customer id looks like an e-mail address."),
    "pii_in_value": Reason(422, "A value that is kept as it is holds an e-mail address."),
    "card_number_refused": Reason(422, "A value looks like a card number; none is ever taken."),
    "test_card_invalid": Reason(422, "The test card needs CVV 100 and an expiry not in the past."),
    "amount_precision": Reason(422, "The amount has more decimals than its currency."),
    "amount_invalid": Reason(422, "The amount is not a decimal number of at most 18 digits."),
    "amount_negative": Reason(422, "An amount below zero; a reversal is its own request."),
    "currency_unknown": Reason(422, "Not an ISO 4217 currency code."),
    "time_out_of_range": Reason(422, "The time is over five minutes ahead, or before 2000."),
    "order_id_required": Reason(422, "A sale needs an order id."),
    "alias_conflict": Reason(422, "Two names of one field carry different values."),
    "unknown_status": Reason(
        422, "The status is none that is known; lists such as sale_status may map it."
    ),
    "status_rejected": Reason(
        422, "The report's own status says that it was rejected: it is no conversion."
    ),
    "status_ignored": Reason(422, "The report's own lists say that its status is to be ignored."),
    "value_too_long": Reason(422, "A value is longer than the field takes."),
    "too_many_values": Reason(422, "More items or properties than are taken."),
    "invalid_email": Reason(422, "Not an e-mail address."),
    "invalid_email_sha256": Reason(422, "Not the hex SHA-256 of an e-mail address."),
    "invalid_email_sha1": Reason(422, "Not the hex SHA-1 of an e-mail address."),
    "invalid_phone": Reason(422, "Not a phone number."),
    "invalid_phone_sha256": Reason(422, "Not the hex SHA-256 of a phone number."),
    "phone_country_missing": Reason(
        422, "The phone number has no country code and the program no default country."
    ),
    "phone_country_unknown": Reason(422, "The country of the phone number is not known."),
    "invalid_identifier": Reason(422, "An identifier has a form that is not taken."),
    "invalid_destination": Reason(422, "The destination is not an absolute http(s) URL in ASCII."),
    "currency_mismatch": Reason(422, "The amount is not in the order's currency."),
    "unknown_reason": Reason(422, "Neither a reason of the field nor one of the program's own."),
    "unknown_decision": Reason(422, "There is no such decision."),
    "invalid_cursor": Reason(422, "The cursor is not one this list gave."),
    # Events that are taken, and what becomes of them
    "unknown_topic": Reason(None, "The webhook is about something that is not tracked."),
    "deep_link_refused": Reason(
        None, "The deep link leaves the program's hosts; the link's own destination was used."
    ),
    "no_identifier_known": Reason(None, "None of the conversion's identifiers was seen before."),
    "no_touch": Reason(None, "The identifiers are known, and no click belongs to them."),
    "outside_window": Reason(None, "The clicks found are older than the program's window."),
    "hub": Reason(None, "An identifier has too many neighbors to stand for one visitor."),
    "click_unknown": Reason(None, "No click has this id in this program."),
    "click_evicted": Reason(None, "The click was evicted: the brand is at its live-click bound."),
    "fraud_rejected": Reason(
        None, "The conversion, or every click that was found, was rejected by fraud scoring."
    ),
    "filtered": Reason(
        None, "The click is declared automation: counted gross, and never credited."
    ),
    "prefetch": Reason(None, "The browser fetched the link ahead of time, and nobody went there."),
    "consent_denied": Reason(None, "Consent was denied: no identifier but the click id counts."),
    "over_cap": Reason(None, "A cap of the terms is reached."),
    "rate_missing": Reason(None, "There is no exchange rate from the order's currency."),
    "amount_out_of_range": Reason(None, "The order, or what it would earn, is beyond belief."),
    "credited_by_manager": Reason(None, "A manager gave the conversion to the partner."),
    "partner_inactive": Reason(None, "The partner or its enrolment is not active."),
    # Frames that are set aside
    "bad_checksum": Reason(None, "The frame's checksum is wrong: it was damaged on the way."),
    "malformed": Reason(None, "The frame holds a record that cannot be decoded."),
    "wrong_partition": Reason(None, "The frame was put on another partition's stream."),
    "brands_max": Reason(None, "The partition is at its bound of brands."),
    "panic": Reason(None, "The frame ended the engine twice; it is set aside."),
}


def status_of(code: str) -> int:
    """The HTTP status a refusal with this code has; 500 for a code that refuses nothing."""
    reason = REASONS.get(code)
    return reason.status if reason and reason.status else 500
