"""Through a whole system: a click and its sale, what is owed for it, and how it is settled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from book_tools import TERMS
from headwater import ids
from headwater.cli import app
from headwater.ledger.deciding import decision_entries, request_decisions
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import book_entries
from headwater.model.book import DecisionEntry
from headwater.model.records import DecisionBody
from headwater.ops.verify import run_verify
from system_tools import System, wait_for

BRAND, PROGRAM, SALE = 1, 1, 1


def decided(ledger: Ledger, action: str, subject: bytes, **params: str) -> DecisionEntry:
    """What came of a decision."""
    body = DecisionBody(action, subject, params)
    (requested,) = request_decisions(ledger, [(BRAND, body)])
    found: dict[bytes, DecisionEntry] = {}

    def is_there() -> bool:
        found.update(decision_entries(ledger, [requested.event_id]))
        return bool(found)

    wait_for(is_there, 60, "the decision is carried out")
    return found[requested.event_id]


def with_terms(ledger: Ledger) -> None:
    events = {str(SALE): {"default": {"kind": "percent", "ppm": 50_000}}}
    value: dict[str, Any] = {**TERMS, "program": PROGRAM, "events": events}
    with ledger.write() as connection:
        revision = take_revisions(connection)
        announce(connection, revision, [Change("terms", 1, BRAND, value, None, for_edges=False)])


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_sale_is_owed_approved_and_settled(tmp_path: Path, is_accepted: bool) -> None:
    with System(tmp_path) as system:
        scene = system.program(partners=1)
        fraud = {"rules": {"CTIT_TOO_SHORT": {"mode": "shadow" if is_accepted else "score"}}}
        system.console.patch("/v1/programs/prg_1", {"fraud": fraud})
        ledger = open_ledger(system.settings.effective_ledger_url)
        try:
            with_terms(ledger)
            system.links_when_committed()
            landed = system.edge("GET", f"/c/{scene.codes[0]}").headers["location"]
            click_id = landed.rpartition("click_id=")[2]
            sale = {
                "program": scene.program,
                "event": "sale",
                "order_id": "A-1",
                "click_id": click_id,
                "amount": "80.00",
                "currency": "EUR",
            }
            told = system.convert(sale, scene.key)
            assert told["fraud"]["verdict"] == ("accept" if is_accepted else "review")
            (action,) = told["actions"]
            assert (action["state"], action["payout"], action["currency"]) == (
                "pending",
                "4.00",
                "EUR",
            )
            action_id = ids.parse_event("act", action["action_id"])
            if not is_accepted:
                assert decided(ledger, "action.approve", action_id).outcome == "applied"
                assert decided(ledger, "action.approve", action_id).code == "illegal_move"
            command = [
                "settle",
                "--data",
                str(system.settings.data),
                "--until",
                "2099-01-01T00:00:00Z",
            ]
            for locked in (1, 0):
                said = CliRunner().invoke(app, command)
                assert (said.exit_code, said.output) == (0, f"locked {locked}\n")
            asked = f"/v1/conversions/{told['conversion_id']}"
            assert decided(ledger, "action.reverse", action_id).code == "action_locked"

            def is_shown() -> bool:
                shown = system.edge("GET", asked, key=scene.key).json["actions"]
                return [each["state"] for each in shown] == ["locked"]

            wait_for(is_shown, 60, "edges tell what became of the action")
            assert run_verify(system.settings) == 0
            with ledger.write() as connection:
                connection.execute(sa.update(book_entries).values(amount_minor=0))
            assert run_verify(system.settings) == 1, "a book that was tampered with is another"
        finally:
            ledger.close()
