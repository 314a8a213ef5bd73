"""Labelled files as they are read: bad lines, bad bytes, times out of order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import limits
from headwater.errors import HeadwaterError
from headwater.ops import evaluate_agents, evaluate_clicks, evaluate_log
from headwater.ops.evaluate_order import Order, Timed, ordered
from headwater.ops.evaluate_read import Faults, lines, require_good

COMBINED = (
    '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /a?b=1 HTTP/1.1" 200 203023 '
    '"https://blog.example/" "Mozilla/5.0 (X11; Linux x86_64) \\"quoted\\" Firefox/141.0"'
)
ROW = "83230,3,1,13,379,2017-11-06 14:32:21,,0"
CONVERTED = "17357,19,0,24,213,2017-11-06 14:33:34,2017-11-06 14:35:00,1"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


# ---- Lines ---------------------------------------------------------------------------------


def test_lines_come_without_their_ends_and_with_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbfone\r\n\n  \ntwo\nlast")
    told: list[int] = []
    faults = Faults()
    found = list(lines(path, faults, told.append))
    assert found == [(1, "one"), (4, "two"), (5, "last")]
    assert sum(told) == path.stat().st_size
    assert faults.count == 0


def test_bytes_that_are_no_text_do_not_stop_a_file(tmp_path: Path) -> None:
    found = list(lines(written(tmp_path, b"a\xff\xfeb\nc\x00d\n"), Faults()))
    assert [line.text for line in found] == ["a\ufffd\ufffdb", "c\x00d"]


@pytest.mark.parametrize("size", [0, 1, limits.EVALUATED_LINE_BYTES_MAX * 3])
def test_a_line_beyond_the_bound_is_a_fault_and_the_next_is_read(tmp_path: Path, size: int) -> None:
    longest = limits.EVALUATED_LINE_BYTES_MAX
    told: list[int] = []
    path = written(tmp_path, b"x" * (longest + size) + b"\nnext\n")
    faults = Faults()
    assert list(lines(path, faults, told.append)) == [(2, "next")]
    assert (faults.count, faults.first[0][0]) == (1, 1)
    assert sum(told) == path.stat().st_size


def test_a_line_at_the_bound_is_read(tmp_path: Path) -> None:
    text = b"x" * (limits.EVALUATED_LINE_BYTES_MAX - 1)
    (found,) = lines(written(tmp_path, text + b"\n"), Faults())
    assert len(found.text) == limits.EVALUATED_LINE_BYTES_MAX - 1


def test_faults_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    faults = Faults()
    for number in range(1, 9):
        faults.add(number, "bad")
    assert faults.count == 8
    assert faults.told() == [{"line": number, "fault": "bad"} for number in range(1, 6)]
    require_good(tmp_path, 1, faults, "good")
    with pytest.raises(HeadwaterError, match=r"no line is good \(line 1: bad; line 2"):
        require_good(tmp_path, 0, faults, "good")


def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(HeadwaterError, match="No such file"):
        list(lines(tmp_path / "none", Faults()))
    with pytest.raises(HeadwaterError, match="directory"):
        list(lines(tmp_path, Faults()))


# ---- Formats -------------------------------------------------------------------------------


def test_an_agent_with_its_label() -> None:
    assert evaluate_agents.parse('{"ua": "x", "label": "bot", "more": 1}') == ("x", "bot")
    assert evaluate_agents.parse('{"ua": "", "label": "browser"}') == ("", "browser")
    long = json.dumps({"ua": "é" * 1000, "label": "bot"})
    assert len(evaluate_agents.parse(long)[0].encode()) <= limits.USER_AGENT_BYTES_MAX


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x", "not JSON"),
        ("[" * 10_000, "not JSON"),
        ("[]", "not a JSON object"),
        ('{"label": "bot"}', '"ua"'),
        ('{"ua": 3, "label": "bot"}', '"ua"'),
        ('{"ua": "x"}', '"label"'),
        ('{"ua": "x", "label": "Bot"}', '"label"'),
        ('{"ua": "x", "label": ["bot"]}', '"label"'),
    ],
)
def test_a_line_that_is_no_labelled_agent(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        evaluate_agents.parse(text)


def test_half_a_surrogate_becomes_a_question_mark() -> None:
    assert evaluate_agents.parse('{"ua": "a\\ud800b", "label": "bot"}')[0] == "a?b"


def test_a_line_of_an_access_log() -> None:
    found = evaluate_log.parse(COMBINED)
    assert found == (
        *(1431857103000, "192.0.2.7", 'Mozilla/5.0 (X11; Linux x86_64) \\"quoted\\" Firefox/141.0'),
        *("https://blog.example/", "GET", "/a?b=1"),
    )
    nothing = COMBINED.replace("https://blog.example/", "-")
    assert evaluate_log.parse(nothing).referrer is None
    agentless = COMBINED[: COMBINED.rindex(' "Mozilla')] + ' "-"'
    assert evaluate_log.parse(agentless).agent == ""


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        COMBINED.replace("May", "Foo"),
        COMBINED.replace("17/May/2015", "17/May/1915"),
        COMBINED[: COMBINED.index(' "https')],
    ],
)
def test_a_line_of_no_access_log(text: str) -> None:
    with pytest.raises(ValueError, match=r"format|time"):
        evaluate_log.parse(text)


@pytest.mark.parametrize(
    ("request_line", "wanted"),
    [
        ("GET / HTTP/1.1", True),
        ("GET /style.css-is-good/ HTTP/1.1", True),
        ("GET /page?image=a.png HTTP/1.1", True),
        ("GET /a.PNG?v=3 HTTP/1.1", False),
        ("GET /robots.txt HTTP/1.1", False),
        ("HEAD / HTTP/1.1", False),
        ("POST / HTTP/1.1", False),
        ("-", False),
    ],
)
def test_a_click_is_what_a_person_can_do(request_line: str, wanted: bool) -> None:
    text = COMBINED.replace("GET /a?b=1 HTTP/1.1", request_line)
    assert evaluate_log.is_click(evaluate_log.parse(text)) is wanted


def test_clients_of_one_address_stay_apart_without_their_agents() -> None:
    drawn = {evaluate_log.neutral_agent(("192.0.2.1", str(number))) for number in range(200)}
    assert len(drawn) > 10
    assert all("Chrome/" in agent for agent in drawn)
    again = evaluate_log.neutral_agent(("192.0.2.1", "7"))
    assert again == evaluate_log.neutral_agent(("192.0.2.1", "7"))


def test_a_row_of_a_click_log() -> None:
    assert evaluate_clicks.parse(ROW) == (83230, 3, 1, 13, 379, 1509978741000, None)
    assert evaluate_clicks.parse(CONVERTED).attributed_ms == 1509978900000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2,3",
        ROW + ",",
        ROW.replace("83230", "x"),
        ROW.replace("83230", "-1"),
        ROW.replace("83230", "٣"),
        ROW.replace("83230", "9" * 40),
        ROW.replace("2017-11-06", "2017-13-06"),
        ROW.replace("2017-11-06", "1969-12-31"),
        ROW.replace("14:32:21", "24:00:00"),
        ROW.replace("14:32:21", "14:32"),
        ROW.replace(" ", "T"),
        ROW[:-1] + "2",
        ROW[:-1] + "1",
        CONVERTED.replace("14:35", "14:32"),
    ],
)
def test_a_row_of_no_click_log(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        evaluate_clicks.parse(text)


def test_only_the_signals_asked_for_are_on() -> None:
    velocity = evaluate_clicks.velocity_only()["rules"]
    assert "IP_VELOCITY" not in velocity
    assert velocity["SOURCE_QUALITY"] == {"mode": "off"}
    both = evaluate_clicks.velocity_and_sources()["rules"]
    assert velocity.keys() - both.keys() == evaluate_clicks.SOURCE_RULES


# ---- Order ---------------------------------------------------------------------------------


def timed(times: list[int]) -> Iterator[Timed]:
    return (Timed(at_ms, number, f"line {number}") for number, at_ms in enumerate(times))


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 7))
def test_lines_come_in_order_of_time_and_then_of_the_file(times: list[int], at_once: int) -> None:
    order = Order()
    for at_ms in times:
        order.look(at_ms)
    assert order.is_kept == (times == sorted(times))
    assert order.first_ms == min(times, default=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "EVALUATED_SORT_LINES", at_once)
        found = list(ordered(timed(times), order))
    assert found == sorted(timed(times))


def test_a_sorted_line_keeps_every_character(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "EVALUATED_SORT_LINES", 1)
    odd = ["a\x1fb", "\ufffd\u2028\x0b\x0c\r", 'c,"d"\'']
    given_lines = [Timed(10 - number, number, text) for number, text in enumerate(odd)]
    order = Order()
    for line in given_lines:
        order.look(line.at_ms)
    assert [line.text for line in ordered(given_lines, order)] == odd[::-1]
