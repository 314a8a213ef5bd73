"""Processes under measurement: on which cores they run, what CPU and memory they use."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
END_S = 10.0

Pids = Mapping[str, Sequence[int]]
"""Of what serves, by what it does."""


def cores() -> tuple[set[int], set[int]]:
    """Cores for what serves and for what loads it; the same where there is but one."""
    every = sorted(os.sched_getaffinity(0))
    return set(every[:-1]) or set(every), {every[-1]}


@contextmanager
def on_cores(wanted: set[int]) -> Iterator[None]:
    """What is started in the block runs on these cores, with all its own children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move(pid: int, wanted: set[int]) -> None:
    """All threads of a running process to these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), wanted)


def make_nice(pid: int, nice: int) -> None:
    """All threads of a running process give way to others by so much."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)


def _fields(pid: int) -> list[str]:
    # The name, in parentheses, may hold anything; the state is the first field behind it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pid: int) -> float:
    """User and system time of all its threads, those that ended included."""
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    """Memory that the process holds now."""
    return int(_fields(pid)[21]) * PAGE_BYTES


def cpu_by_part(pids: Pids) -> dict[str, float]:
    """CPU seconds of each part; a process that is gone counts no more."""
    used: dict[str, float] = {}
    for name, numbers in pids.items():
        for pid in numbers:
            try:
                used[name] = used.get(name, 0.0) + cpu_s(pid)
            except OSError:
                used.setdefault(name, 0.0)
    return used


def children(pid: int) -> list[int]:
    return [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, and SIGKILL for what does not heed it."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(command: Sequence[str], log: Path, on: set[int]) -> Iterator[subprocess.Popen[str]]:
    """A child on these cores, ended with the block. What it prints goes to the log."""
    with log.open("ab") as output, on_cores(on):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        yield process
    finally:
        end(process)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
