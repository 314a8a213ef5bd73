"""Redis killed while its disk stalls: where `appendfsync everysec` would lose answered events."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from system_tools import System, load, wait_for

STALL_US = 1_500_000


# `make test` installs strace, so this is skipped only where it cannot be had.
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace; `make test` installs it")
def test_redis_killed_while_its_disk_stalls_loses_nothing(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        scene = system.program()
        with load(scene, clicks=1_000_000, rate=500, seed=8) as traffic:
            for kill_after_s in (0.4, 1.0, 1.9):
                time.sleep(1.0)
                (server,) = system.pids("valkey")
                stall = subprocess.Popen(
                    [
                        "strace",
                        *("-f", "-qq", "-p", str(server), "-o", os.devnull),
                        *("-e", "trace=fdatasync"),
                        *("-e", f"inject=fdatasync:delay_enter={STALL_US}"),
                    ],
                    stderr=subprocess.DEVNULL,
                )
                time.sleep(kill_after_s)
                os.kill(server, signal.SIGKILL)
                stall.wait(60)
                wait_for(lambda pid=server: pid not in system.pids("valkey"), 60, "it is dead")
                wait_for(lambda: system.pids("valkey"), 60, "it is started again")
            time.sleep(2.0)
        assert system.events("redis silent"), "the stall was felt"
        system.wait_committed(traffic.tally.answered)
        assert system.faults(traffic.tally) == []
