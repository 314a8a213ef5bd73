"""What a committed batch is told: each report its decision, and what was decided without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from headwater import ids
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import Committed
from headwater.matcher import outcomes
from headwater.matcher.partition import merge_outcomes
from ledger_tools import conversion_outcome, ledger_in, report_outcome

FIRST, SECOND, THIRD = (bytes([number]) * 16 for number in (1, 2, 3))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def test_a_decision_without_a_report_is_stored_as_it_was_last_made(ledger: Ledger) -> None:
    """Late evidence has an order decided again: who asks the edge must not get what was before."""
    batch = merge_outcomes(
        {},
        {
            "conversions": [
                conversion_outcome(FIRST),
                conversion_outcome(SECOND, revision=2, reason="no_touch"),
                conversion_outcome(SECOND, revision=3, credits_given=((4, None, 1_000_000),)),
                conversion_outcome(THIRD),
            ],
            "reports": [report_outcome(FIRST)],
        },
    )
    committed = Committed(decided_before={THIRD})
    told = outcomes.decisions_to_tell(ledger, [batch], committed)
    assert [each.conversion_id for each in told] == [ids.event_text("cnv", FIRST)]
    revised = outcomes.revised(ledger, [batch], told, committed)
    assert list(revised) == [ids.event_text("cnv", SECOND)]
    decision = msgpack.unpackb(revised[ids.event_text("cnv", SECOND)])
    assert decision["credits"] == [
        {"partner_id": "prt_4", "click_id": None, "share_ppm": 1_000_000}
    ]
