"""`headwater settle`: lock what is due now, or by a time, without waiting for a tick.

A decision goes on the log for each brand, and is asked again as long as there was more than one
decision locks at once. What is locked already is not locked again, however often this is run.
"""

from __future__ import annotations

import json
from typing import Final

from headwater import clock, limits
from headwater.config import Config
from headwater.errors import ConfigError, HeadwaterError
from headwater.ledger.deciding import brand_numbers, decision_entries, request_decisions
from headwater.ledger.engine import Ledger, open_ledger
from headwater.model.records import NO_SUBJECT, DecisionBody

POLL_S = 0.1
ANSWER_S = 30.0
_AT_ONCE: Final = limits.DECISIONS_AT_ONCE_MAX


def run_settle(settings: Config, until: str | None) -> int:
    """How many actions and days of clicks were locked.

    Raises ConfigError for a time that is none, HeadwaterError when the system does not answer.
    """
    until_ms = clock.now_ms()
    if until is not None:
        try:
            until_ms = clock.parse_iso_ms(until)
        except ValueError:
            raise ConfigError([f"--until: {until!r} is not an RFC 3339 time"]) from None
    ledger = open_ledger(settings.effective_ledger_url)
    try:
        locked, left = 0, brand_numbers(ledger)
        while left:
            asked, left = left[:_AT_ONCE], left[_AT_ONCE:]
            details = _decided(ledger, asked, until_ms)
            locked += sum(detail["locked"] for detail in details.values())
            left += [brand for brand, detail in details.items() if detail["more"]]
        return locked
    finally:
        ledger.close()


def _decided(ledger: Ledger, brands: list[int], until_ms: int) -> dict[int, dict[str, int]]:
    """What came of a decision for each brand."""
    params = {"until_ms": str(until_ms), "actor": "settle"}
    body = DecisionBody("program.settle", NO_SUBJECT, params)
    requested = request_decisions(ledger, [(brand, body) for brand in brands])
    deadline_s = clock.monotonic_s() + ANSWER_S
    while clock.monotonic_s() < deadline_s:
        found = decision_entries(ledger, [each.event_id for each in requested])
        if len(found) == len(requested):
            return {entry.brand: json.loads(entry.detail_json) for entry in found.values()}
        clock.sleep(POLL_S)
    raise HeadwaterError(
        "the decision is saved, but not carried out yet: are the console and the matcher running?"
    )
