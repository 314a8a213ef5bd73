"""The matcher killed at work, with money at stake: each action, entry and firing exactly once.

What is owed is made again from the archive (`headwater verify`) and has to be what the ledger
holds, whose accounts have to balance: nothing was lost, nothing was booked twice.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from book_tools import POSTBACK, TERMS, imbalances, rows
from headwater.ledger.deciding import decision_entries, request_decisions
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import actions, conversions, firings
from headwater.model.records import NO_SUBJECT, DecisionBody
from headwater.ops.verify import run_verify
from system_tools import System, load, wait_for

BRAND, PROGRAM, SALE = 1, 1, 1
SEED, RATE, MANY = 20_260_102, 400, 1_000_000
CAP = 15
LOAD_BREAKS = (
    *("CTIT_TOO_SHORT", "DUPLICATE_CLICK", "COLLISION"),
    *("IP_VELOCITY", "SUBNET_BURST", "ID_CHURN"),
)
PIXEL: dict[str, Any] = {
    "program": 0,
    "commission": "cpa",
    "slot": "main",
    "type": "postback",
    "template": POSTBACK,
    "rule": None,
    "delay_ms": 0,
    "status": "active",
}


def with_money(ledger: Ledger, partners: int) -> None:
    """Terms with a cap that the load passes, and a pixel for each partner."""
    cap = {"metric": "conversions", "period": "lifetime", "scope": "partner", "event_type": None}
    events = {str(SALE): {"default": {"kind": "percent", "ppm": 50_000}}}
    value = {**TERMS, "events": events, "caps": [{**cap, "limit": CAP}]}
    told = [("terms", 1, value)]
    told += [("pixel", number, {**PIXEL, "partner": number}) for number in range(1, partners + 1)]
    with ledger.write() as connection:
        for kind, number, said in told:
            change = Change(kind, number, BRAND, said, None, for_edges=False)
            announce(connection, take_revisions(connection), [change])


def settled(ledger: Ledger) -> int:
    """How many actions a `settle` of everything locks."""
    body = DecisionBody("program.settle", NO_SUBJECT, {"until_ms": str(2**60)})
    (asked,) = request_decisions(ledger, [(BRAND, body)])
    wait_for(lambda: decision_entries(ledger, [asked.event_id]), 60, "the decision is carried out")
    entry = decision_entries(ledger, [asked.event_id])[asked.event_id]
    return int(json.loads(entry.detail_json)["locked"])


@pytest.mark.parametrize(
    "site",
    [
        "commit.rows",
        "commit.after",
        *(pytest.param(site, marks=pytest.mark.slow) for site in (
            "matcher.applied", "matcher.before_commit", "commit.position", "commit.before",
            "matcher.committed", "matcher.told",
        )),
    ],
)  # fmt: skip
def test_money_is_booked_once_wherever_the_matcher_dies(tmp_path: Path, site: str) -> None:
    with System(tmp_path, environment={"HEADWATER_FAULT": f"{site}:25"}) as system:
        scene = system.program(partners=3)
        # Visitors of the load have one address, and buy within the second.
        rules = {code: {"mode": "off"} for code in LOAD_BREAKS}
        system.console.patch("/v1/programs/prg_1", {"fraud": {"rules": rules}})
        ledger = open_ledger(system.settings.effective_ledger_url)
        try:
            with_money(ledger, 3)
            with load(scene, clicks=MANY, rate=RATE, seed=SEED) as traffic:
                wait_for(lambda: len(system.events("role died")) >= 4, 90, "the matcher died")
            system.wait_committed(traffic.tally.answered)
            assert system.faults(traffic.tally) == []
            locked = settled(ledger)
            assert settled(ledger) == 0, "what is locked is not locked again"
            check(ledger, locked)
        finally:
            ledger.close()
        assert run_verify(system.settings) == 0, "the archive alone gives what is owed"


def check(ledger: Ledger, locked: int) -> None:
    assert imbalances(ledger) == []
    made = rows(ledger, "actions")
    assert locked == sum(row["locked_ms"] is not None for row in made) > 0
    by_partner: dict[int, int] = {}
    for row in made:
        if row["payout_minor"]:
            by_partner[row["partner"]] = by_partner.get(row["partner"], 0) + 1
    assert max(by_partner.values()) == CAP, "the cap was reached and never passed"
    with ledger.read() as connection:
        attributed = connection.scalar(
            sa.select(sa.func.count()).where(conversions.c.status == "attributed")
        )
        assert len(made) == attributed, "an action for each conversion, and no other"
        told = set(connection.scalars(sa.select(firings.c.action_id)))
        paid = sa.select(actions.c.action_id).where(
            actions.c.payout_minor > 0, actions.c.flags.op("&")(4) == 0
        )
        assert told == set(connection.scalars(paid)), "each was told that is paid"
