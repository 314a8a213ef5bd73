"""Decisions on their way to the log: well formed, once under a key, and written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from headwater import clock, limits
from headwater.errors import RequestRefused
from headwater.ledger import audit, deciding, outbox
from headwater.ledger.deciding import RequestKey, request_decisions
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Origin, create_brand
from headwater.ledger.outbox import Change, announce, mark_appended, take_revisions
from headwater.ledger.schema import audit_log, config_outbox, management_requests
from headwater.model.records import NO_SUBJECT, DecisionBody, decode
from ledger_tools import ledger_in

APPROVE = (1, DecisionBody("action.approve", bytes(15) + b"\x01", {"note": "fine"}))
SETTLE = (1, DecisionBody("program.settle", NO_SUBJECT, {"until_ms": "1"}))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        assert create_brand(opened, Origin(), name="brand").row["id"] == 1
        mark_appended(opened, [1])
        yield opened


def on_the_way(ledger: Ledger) -> list[bytes]:
    with ledger.read() as connection:
        statement = (
            sa.select(config_outbox.c.control)
            .where(config_outbox.c.object != "brand")
            .order_by(config_outbox.c.revision)
        )
        return list(connection.scalars(statement))


def test_decisions_asked_for_together_are_found_together(ledger: Ledger) -> None:
    first = request_decisions(ledger, [APPROVE, SETTLE])
    other = request_decisions(ledger, [APPROVE])
    asked = deciding.asked_together(ledger, first[0].request)
    assert [each.action for each in asked] == ["action.approve", "program.settle"]
    assert [each.event_id for each in asked] == [each.event_id for each in first]
    assert asked[0].entry is None
    assert len(deciding.asked_together(ledger, other[0].request)) == 1
    body = DecisionBody._make(decode(on_the_way(ledger)[0]).body)
    assert body.params["actor"] == "system"
    assert body.params["request"].startswith("evt_")


def test_a_subject_of_another_length_is_not_written(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        request_decisions(ledger, [(1, DecisionBody("program.settle", b"", {}))])
    assert on_the_way(ledger) == []


def test_what_the_log_would_not_take_is_not_written(ledger: Ledger) -> None:
    """It would stop every record behind it."""
    many = {str(number): "" for number in range(65)}
    with pytest.raises(RequestRefused):
        request_decisions(ledger, [(1, DecisionBody("action.approve", NO_SUBJECT, many))])
    deep: dict[str, object] = {}
    for _ in range(10):
        deep = {"in": deep}
    with pytest.raises(RequestRefused), ledger.write() as connection:
        announce(connection, take_revisions(connection), [Change("terms", 1, 1, deep, None)])
    assert on_the_way(ledger) == []
    assert outbox.not_appended(ledger).announcements == []


def test_a_key_stands_for_one_request_for_a_day(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = RequestKey(b"n" * 16, b"b" * 16)
    first = request_decisions(ledger, [APPROVE, SETTLE], key=key)
    assert request_decisions(ledger, [SETTLE], key=key) == first
    with pytest.raises(RequestRefused, match="idempotency_conflict"):
        request_decisions(ledger, [APPROVE], key=RequestKey(key.name, b"c" * 16))
    assert len(on_the_way(ledger)) == 2
    now_ms = clock.now_ms()
    later_ms = now_ms + limits.IDEMPOTENCY_KEPT_S * 1000
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms - 5000)
    assert request_decisions(ledger, [APPROVE], key=key) == first
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms + 5000)
    assert request_decisions(ledger, [APPROVE], key=key) != first
    with ledger.read() as connection:
        count = sa.select(sa.func.count()).select_from(management_requests)
        assert connection.scalar(count) == 1


def test_what_fails_is_not_in_the_audit_log_either(ledger: Ledger) -> None:
    with audit.acting_as("key_7"):
        request_decisions(ledger, [APPROVE])
        with pytest.raises(RequestRefused):
            request_decisions(
                ledger, [SETTLE, (1, DecisionBody("x", NO_SUBJECT, {"big": "x" * 40_000}))]
            )
    with ledger.read() as connection:
        rows = connection.execute(sa.select(audit_log)).all()
    assert [(row.actor, row.object, row.verb) for row in rows] == [("key_7", "action", "approve")]
    assert audit.current_actor() == "system"
