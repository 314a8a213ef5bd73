"""The list of crawlers: cut to fit records, told to every lane once, and again when it changes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console_tools import PARTITIONS, console_in, controls_on, until
from headwater import _core, limits
from headwater.console import bot_list
from headwater.console.bot_list import BotLists, made, read
from headwater.errors import ConfigError
from headwater.ledger import deployment, outbox
from headwater.ledger.deployment import BotList
from headwater.ledger.engine import Ledger
from headwater.model.records import ControlBody, decode
from ledger_tools import ledger_in

LANES = 3


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path, LANES) as opened:
        yield opened


def told(ledger: Ledger) -> list[tuple[int, int, dict[str, Any]]]:
    """(lane, number, value) of the rows that wait for the log, which they are marked to be on."""
    rows = outbox.not_appended(ledger).announcements
    outbox.mark_appended(ledger, [row.revision for row in rows])
    for row in rows:
        _core.validate_record(row.control)
    return [
        (row.partition, row.number, dict(ControlBody._make(decode(row.control).body).value or {}))
        for row in rows
    ]


def patterns_of(rows: list[tuple[int, int, dict[str, Any]]], lane: int) -> list[str]:
    """What an engine would put together from the parts of its lane."""
    parts = sorted((value["chunk"], value) for at, _, value in rows if at == lane)
    assert [number for number, _ in parts] == list(range(parts[0][1]["chunks"]))
    assert len({value["version"] for _, value in parts}) == 1
    return [pattern for _, value in parts for pattern in value["patterns"]]


def test_every_lane_is_told_all_parts_of_the_package(ledger: Ledger) -> None:
    BotLists(ledger, ()).look()
    rows = told(ledger)
    published = list(dict.fromkeys(read(())))
    assert len(published) > 1000
    for lane in range(LANES):
        assert patterns_of(rows, lane) == published
    numbers = [number for _, number, _ in rows]
    assert len(set(numbers)) == len(numbers)
    assert {(lane, number // 1024) for lane, number, _ in rows} == {
        (lane, lane) for lane in range(LANES)
    }
    assert all(len(value["patterns"]) <= 400 for *_, value in rows)
    assert not [row for row in outbox.published_objects(ledger) if row[1] == "bot_list"]


def test_a_list_that_was_told_is_not_told_again(ledger: Ledger) -> None:
    BotLists(ledger, ()).look()
    told(ledger)
    BotLists(ledger, ()).look()
    assert told(ledger) == []


def test_a_file_takes_the_place_of_the_package_and_is_read_again(
    ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "bots.txt"
    file.write_text("# ours\n\nFirstBot\nSecond\\/\n", "utf-8")
    lists = BotLists(ledger, [file])
    lists.look()
    first = told(ledger)
    assert patterns_of(first, 0) == ["FirstBot", "Second\\/"]
    file.write_text(json.dumps([{"pattern": "Third", "url": "x"}]), "utf-8")
    lists.look()
    second = told(ledger)
    assert [patterns_of(second, lane) for lane in range(LANES)] == [["Third"]] * LANES
    assert second[0][2]["version"] != first[0][2]["version"]


def test_a_lane_that_a_crash_left_behind_is_told_by_the_next(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TRANSACTION_ROWS_MAX", 3)
    bots = BotList("v1", [["a"], ["b"]])
    original = deployment.announce
    calls = 0

    def dies_at_the_second(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        original(*arguments)
        if calls == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(deployment, "announce", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        deployment.announce_bot_list(ledger, bots)
    before = told(ledger)
    assert {lane for lane, *_ in before} == {0}
    deployment.announce_bot_list(ledger, bots)
    after = told(ledger)
    assert sorted(lane for lane, *_ in [*before, *after]) == [0, 0, 1, 1, 2, 2]
    assert [patterns_of([*before, *after], lane) for lane in range(LANES)] == [["a", "b"]] * LANES


@pytest.mark.parametrize(
    "patterns",
    [
        [],
        [""],
        [f"bot{number}" for number in range(limits.BOT_PATTERNS_MAX + 1)],
        ["x" * (limits.BOT_PATTERN_LENGTH_MAX + 1)],
        [str(number).rjust(1024, "x") for number in range(512)] + ["y"],
    ],
    ids=["none", "empty", "too-many", "too-long", "too-large"],
)
def test_what_an_engine_would_not_take_is_not_told(patterns: list[str]) -> None:
    with pytest.raises(ConfigError):
        made(patterns)


def test_the_largest_list_fits() -> None:
    long = [f"{number}".rjust(limits.BOT_PATTERN_LENGTH_MAX, "x") for number in range(23)]
    assert len(made(long).chunks) == 1
    assert len(made([*long, "y" * limits.BOT_PATTERN_LENGTH_MAX]).chunks) == 2
    many = [f"bot{number}" for number in range(limits.BOT_PATTERNS_MAX)]
    assert [len(chunk) for chunk in made(many).chunks] == [400] * 20 + [192]


@given(st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=1500))
def test_parts_hold_everything_in_order_and_fit_a_record(patterns: list[str]) -> None:
    bots = made(patterns)
    assert [each for chunk in bots.chunks for each in chunk] == list(dict.fromkeys(patterns))
    assert all(bots.chunks)
    for chunk in bots.chunks:
        assert len(chunk) <= limits.BOT_CHUNK_PATTERNS_MAX
        assert len(msgpack.packb(chunk)) < limits.RECORD_BYTES_MAX - 4096
    assert made(patterns).version == bots.version


def test_the_version_is_of_what_is_in_it() -> None:
    assert made(["a", "b"]).version == made(["a", "b", "a", ""]).version
    assert made(["a", "b"]).version != made(["b", "a"]).version


def test_a_list_that_cannot_be_read_leaves_the_former(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def looked_once() -> None:
        lists = BotLists(ledger, [tmp_path / "not-there"])
        await lists.start()
        await asyncio.to_thread(until, lambda: caplog.records)
        await lists.close()

    asyncio.run(looked_once())
    assert [record.message for record in caplog.records] == ["bot_list_kept"]
    assert told(ledger) == []


def test_a_console_tells_the_list_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_list, "read", lambda _files: ["OurBot"])
    with console_in(tmp_path) as console:
        store = console.store
        assert store is not None

        def lanes() -> list[int]:
            bodies = [ControlBody._make(record.body) for record in controls_on(store)]
            return [body.number for body in bodies if body.kind == "bot_list"]

        until(lambda: len(lanes()) == PARTITIONS)
        assert lanes() == [0, 1024]


def test_lookups_of_what_was_told_are_served_by_an_index(ledger: Ledger, tmp_path: Path) -> None:
    plan = sqlite3.connect(tmp_path / "ledger.sqlite").execute(
        "EXPLAIN QUERY PLAN SELECT control FROM config_outbox "
        "WHERE object = 'bot_list' AND number = 0 ORDER BY revision DESC LIMIT 1"
    )
    assert ["ix_config_outbox_object" in row[3] for row in plan] == [True]
