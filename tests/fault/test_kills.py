"""Real processes killed for real, under load, at random moments.

After each, the system comes back by itself, and every event that was answered is in the ledger
exactly once; what else is there was sent and never answered; and the archive replays to the same.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from headwater import limits
from headwater.ledger.engine import open_ledger
from headwater.ops.demo_traffic import Tally, Traffic
from headwater.ops.verify import run_verify
from rollup_tools import faults as rollup_faults
from system_tools import System, load, wait_for

KILLS = 20
SEED = 20_260_101
RATE = 600
LOAD = 1000
MANY = 1_000_000
# Commits so slow that the matcher always reads and applies a batch beside one.
OVERLAPPING = {"HEADWATER_FAULT_SLOW": "commit.before:60"}


def settle(system: System, tally: Tally) -> None:
    system.wait_committed(tally.answered)
    assert system.faults(tally) == []
    assert run_verify(system.settings) == 0, "the archive alone gives what the ledger holds"
    ledger = open_ledger(system.settings.effective_ledger_url, read_only=True)
    try:
        assert rollup_faults(ledger, limits.ROLLUP_SUB_IDS_MAX) == []
    finally:
        ledger.close()


def go_on(traffic: Traffic) -> None:
    """Until there was load: what survives a kill has to be seen to work."""
    time.sleep(1.0)
    wait_for(lambda: traffic.tally.answered > LOAD, 100, "there was load")


def kill_under_load(system: System, role: str, *, kills: int, pause_s: tuple[float, float]) -> None:
    """Kill one process of a role again and again, each time when it is back and working."""
    random = Random(SEED)
    scene = system.program()
    with load(scene, clicks=MANY, rate=RATE, seed=SEED) as traffic:
        for _ in range(kills):
            time.sleep(random.uniform(*pause_s))
            wait_for(lambda: system.pids(role), 60, f"{role} runs")
            os.kill(random.choice(system.pids(role)), signal.SIGKILL)
        wait_for(lambda: system.pids(role), 60, f"{role} runs")
        go_on(traffic)
    settle(system, traffic.tally)
    assert len(system.events("role died")) >= kills


@pytest.mark.parametrize(
    ("role", "kills"),
    [
        pytest.param("headwater edge", 3, id="edge"),
        pytest.param("valkey", 3, id="redis"),
        pytest.param("headwater matcher", 3, id="matcher"),
    ],
)
def test_nothing_answered_is_lost_when_a_role_is_killed(
    tmp_path: Path, role: str, kills: int
) -> None:
    with System(tmp_path) as system:
        kill_under_load(system, role, kills=kills, pause_s=(0.5, 1.5))


def test_nothing_is_lost_when_the_matcher_is_killed_with_two_batches_in_hand(
    tmp_path: Path,
) -> None:
    with System(tmp_path, environment=OVERLAPPING) as system:
        kill_under_load(system, "headwater matcher", kills=3, pause_s=(1.0, 2.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "role",
    [
        pytest.param("headwater edge", id="edge"),
        pytest.param("valkey", id="redis"),
        pytest.param("headwater matcher", id="matcher"),
    ],
)
def test_nothing_answered_is_lost_in_many_kills(tmp_path: Path, role: str) -> None:
    with System(tmp_path) as system:
        kill_under_load(system, role, kills=KILLS, pause_s=(0.2, 3.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "site",
    [
        "matcher.applied",
        "matcher.archived",
        "matcher.before_commit",
        "commit.begun",
        "commit.position",
        "commit.rows",
        "commit.before",
        "commit.after",
        "matcher.committed",
        "matcher.told",
    ],
)
@pytest.mark.parametrize("pace", [{}, OVERLAPPING], ids=["", "overlapping"])
def test_nothing_is_lost_or_doubled_wherever_the_matcher_dies(
    tmp_path: Path, site: str, pace: dict[str, str]
) -> None:
    """Every life of the matcher ends at `site` of some batch; the next goes on from there."""
    with System(tmp_path, environment={"HEADWATER_FAULT": f"{site}:25", **pace}) as system:
        scene = system.program()
        with load(scene, clicks=MANY, rate=RATE, seed=SEED) as traffic:
            wait_for(lambda: len(system.events("role died")) >= 4, 90, "the matcher died at work")
            go_on(traffic)
        settle(system, traffic.tally)


@pytest.mark.parametrize("kills", [2, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_the_whole_system_killed_and_started_again(tmp_path: Path, kills: int) -> None:
    random = Random(SEED)
    system = System(tmp_path)
    system.start()
    try:
        scene = system.program()
        with load(scene, clicks=MANY, rate=RATE, seed=SEED) as traffic:
            for _ in range(kills):
                time.sleep(random.uniform(0.5, 2.0))
                system.kill()
                system.start()
            go_on(traffic)
        settle(system, traffic.tally)
    finally:
        system.kill()


def test_fewer_edges_after_a_restart_drain_what_the_others_left(tmp_path: Path) -> None:
    system = System(tmp_path, edges=3)
    system.start()
    try:
        scene = system.program()
        with load(scene, clicks=MANY, rate=RATE, seed=SEED) as traffic:
            time.sleep(2.0)
            for pid in system.pids("valkey"):
                os.kill(pid, signal.SIGSTOP)
            time.sleep(1.0)
            system.kill()
            object.__setattr__(system.settings, "edges", 1)
            system.start()
            go_on(traffic)
        settle(system, traffic.tally)
        spool = system.settings.data / "spool"
        wait_for(lambda: len(list(spool.iterdir())) <= 1, 60, "the dead edges' folders are gone")
    finally:
        system.kill()


def test_redirects_go_on_while_redis_hangs(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        scene = system.program()
        with load(scene, clicks=MANY, rate=RATE, seed=SEED) as traffic:
            time.sleep(1.0)
            (server,) = system.pids("valkey")
            os.kill(server, signal.SIGSTOP)
            before = len(traffic.tally.clicks)
            time.sleep(3.0)
            wait_for(lambda: len(traffic.tally.clicks) > before + RATE, 60, "clicks go on")
            os.kill(server, signal.SIGCONT)
            go_on(traffic)
        settle(system, traffic.tally)


def test_a_clean_stop_commits_everything_and_exits_0(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.start()
    try:
        scene = system.program()
        with load(scene, clicks=2000, rate=0, seed=SEED) as traffic:
            wait_for(lambda: traffic.tally.answered >= 2000, 60, "the load is through")
        assert system.stop() == 0
        assert system.faults(traffic.tally) == []
    finally:
        system.kill()


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.start()
    assert len(system.pids()) == 6
    system.kill()
