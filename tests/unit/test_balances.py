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


@pytest.mark.parametrize(
    ("bound", "plan"),
    [
        ("", "SCAN book_balances"),
        ("brand", "SEARCH book_balances USING PRIMARY KEY (program=?)"),
        ("program", "SEARCH book_balances USING PRIMARY KEY (program=?)"),
        ("partner", "SEARCH book_balances USING PRIMARY KEY (program=? AND partner=?)"),
    ],
)
def test_a_balance_reads_no_entries_and_nothing_of_others(
    ledger: Ledger, bound: str, plan: str
) -> None:
    """However long the book, and however many other brands and partners there are."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        asked.append((statement, values))

    engine = ledger._reader
    sa.event.listen(engine, "before_cursor_execute", note)
    assert balances(ledger, **({bound: 1} if bound else {})) == []
    sa.event.remove(engine, "before_cursor_execute", note)
    (statement, values) = next(each for each in asked if "book_balances" in each[0])
    with ledger.read() as connection:
        rows_ = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        assert [row[3] for row in rows_ if "book_" in row[3]] == [plan]
    assert not any("book_entries" in each[0] for each in asked)
