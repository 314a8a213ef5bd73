"""The list of bots as control records, whole or as it was on a day."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from headwater import _core
from headwater.model.records import ControlBody, Kind, Record, Source, Trust, encode
from headwater.ops import evaluate_bots
from headwater.ops.evaluate_bots import BotList, chunks, installed, listed

ENTRIES: list[dict[str, Any]] = [
    {"pattern": "old", "instances": []},
    {"pattern": "odd", "addition_date": "some day"},
    {"pattern": "before", "addition_date": "2025/10/31"},
    {"pattern": "after", "addition_date": "2025/11/01"},
    {"pattern": "before", "addition_date": "2024/01/01"},
]


def test_what_was_listed_before_a_day() -> None:
    whole = listed(ENTRIES, "1.0", None)
    assert whole == ("1.0", ("old", "odd", "before", "after"), 0)
    found = listed(ENTRIES, "1.0", date(2025, 11, 1))
    assert found == ("1.0 before 2025-11-01", ("old", "odd", "before"), 1)


def test_the_installed_list_shrinks_with_the_day() -> None:
    whole, older = installed(), installed(date(2020, 1, 1))
    assert len(whole.patterns) > len(older.patterns) > 100
    assert older.left_out > 0
    assert set(older.patterns) <= set(whole.patterns)


@pytest.mark.parametrize("count", [0, 1, 4000, 4001, 9000])
def test_every_pattern_is_in_one_record(count: int) -> None:
    bots = BotList("1", tuple(f"pattern {number}" for number in range(count)), 0)
    found = list(chunks(bots))
    assert [number for number, _ in found] == list(range(len(found)))
    told: list[str] = []
    for number, value in found:
        assert (value["version"], value["chunk"], value["chunks"]) == ("1", number, len(found))
        patterns = value["patterns"]
        assert isinstance(patterns, list)
        told += patterns
        head = (Kind.CONTROL, bytes(16), 0, 1, None, Trust.SERVER, Source.CONSOLE)
        _core.validate_record(encode(Record(*head, ControlBody("bot_list", number, 1, value))))
    assert tuple(told) == bots.patterns


def test_long_patterns_fill_a_record_by_their_bytes() -> None:
    bots = BotList("1", tuple("é" * 200 + str(number) for number in range(200)), 0)
    found = list(chunks(bots))
    assert len(found) > 1
    assert all(len(str(value["patterns"]).encode()) < 32 * 1024 for _, value in found)


def test_a_missing_package_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_bots, "_PACKAGE", "no-such-package")
    with pytest.raises(Exception, match="no-such-package is not installed"):
        installed()
