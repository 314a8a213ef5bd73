"""What is owed, read from the double-entry book."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from headwater.ledger.actions import balances
from headwater.ledger.engine import Ledger
from ledger_tools import ledger_in


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("bound", ["brand", "program", "partner"])
def test_a_bounded_balance_reads_no_entries_of_others(ledger: Ledger, bound: str) -> None:
    """However long the books of other brands and partners are."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        asked.append((statement, values))

    engine = ledger._reader
    sa.event.listen(engine, "before_cursor_execute", note)
    assert balances(ledger, **{bound: 1}) == []
    sa.event.remove(engine, "before_cursor_execute", note)
    (statement, values) = next(each for each in asked if "book_entries" in each[0])
    with ledger.read() as connection:
        rows_ = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        plan = [row[3] for row in rows_ if "book_entries" in row[3]]
    where = "program=? AND partner=?" if bound == "partner" else "program=?"
    assert plan == [f"SEARCH book_entries USING COVERING INDEX ix_book_entries_balance ({where})"]
