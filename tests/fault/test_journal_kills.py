"""A process killed between any two steps of a frame's way: what it answered is not lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import journal_tools as tools

short_folder = tools.short_folder
valkey = tools.valkey

WRITER = """
import asyncio, sys
from pathlib import Path
import journal_tools as tools

async def job(url, root, producer):
    settings = {"segment_bytes": 20_000, "answer_ms": 20}
    async with tools.writing(url, Path(root), producer, **settings) as writer:
        next_number = 0
        async def submit():
            nonlocal next_number
            while True:
                next_number += 1
                number = next_number
                await writer.submit(number % 2, tools.record(producer, number))
                sys.stdout.write(f"{producer}:{number}\\n")
                sys.stdout.flush()
        await asyncio.gather(*(submit() for _ in range(8)))

tools.run(job(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def started(url: str, root: Path, producer: int, out: Path, fault: str = "") -> subprocess.Popen:
    environment = {
        **os.environ,
        "HEADWATER_FAULT": fault,
        "PYTHONPATH": str(Path(tools.__file__).parent),
    }
    with out.open("ab") as stdout:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(root), str(producer)],
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env=environment,
        )


def answered(out: Path) -> set[bytes]:
    """Whole lines only: a line cut off by the kill was not said."""
    return set(out.read_bytes().rpartition(b"\n")[0].split(b"\n")) - {b""}


def recovered(valkey: tools.Server, folder: Path, told: set[bytes]) -> None:
    """The next process of the host brings everything answered to the streams."""

    async def job() -> None:
        async with tools.writing(valkey.url, folder / "spool", 999):
            await tools.until(lambda: told <= tools.records_in(tools.stored(valkey)), 60)
        tools.same_bytes(tools.stored(valkey))

    tools.run(job())


@pytest.mark.parametrize(
    "fault", ["spool.appended:20", "xadd.sent:20", "xadd.answered:20", "spool.appended:1"]
)
def test_killed_at_a_step(valkey: tools.Server, short_folder: Path, fault: str) -> None:
    out = short_folder / "answered"
    process = started(valkey.url, short_folder / "spool", 5, out, fault)
    assert process.wait(60) == -signal.SIGKILL
    recovered(valkey, short_folder, answered(out))


def test_killed_while_it_deletes_what_is_committed(
    valkey: tools.Server, short_folder: Path
) -> None:
    out = short_folder / "answered"
    process = started(valkey.url, short_folder / "spool", 5, out, "spool.released:1")
    while process.poll() is None:
        tools.commit_all(valkey)
        time.sleep(0.02)
    assert process.returncode == -signal.SIGKILL
    recovered(valkey, short_folder, answered(out))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_with_redis_going_too(
    valkey: tools.Server, short_folder: Path, seed: int
) -> None:
    """Both are killed, in either order, at random moments; then both come back."""
    rng = random.Random(seed)
    out = short_folder / "answered"
    for producer in range(1, 4):
        process = started(valkey.url, short_folder / "spool", producer, out)
        deadline = time.monotonic() + 20
        before = out.stat().st_size
        while out.stat().st_size == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.3)
        if rng.random() < 0.5:
            valkey.kill()
            time.sleep(rng.random() * 0.2)
        process.kill()
        process.wait()
        if valkey.process is None:
            valkey.start()
    told = answered(out)
    assert len(told) > 10
    recovered(valkey, short_folder, told)
