"""What a system goes through: a plain load, a burst far above what the matcher does, Redis away.

Each starts a system of its own, ends with the search for every answered click, and tells its
figures as plain values for the report.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.load import probe, processes
from bench.load.drive import Driven, Plan, Stage
from bench.load.stand import Stand
from bench.load.system import Checked, System
from bench.peers.compare import cpu_between
from bench.peers.servers import own_redis

from headwater import clock

# Of the edge's capacity.
BURST_SHARE: Final = 0.9
BURST_FACTOR: Final = 10
LOADED_SHARE: Final = 0.7
OUTAGE_SHARE: Final = 0.3
COMMITTED_S: Final = 300.0
SHOP_EVERY_S: Final = 0.25
_IDLE_PAUSE_S: Final = 0.005
_LOADED_PAUSE_S: Final = 0.01
# Less urgent than the generator, with which the matcher shares cores where there are two.
MATCHER_NICE: Final = 10

Told = dict[str, Any]


def checked_told(checked: Checked, system: System) -> Told:
    """What became of answered clicks, by the names of the report."""
    return {
        "answered": checked.answered,
        "answered_and_not_in_the_ledger": checked.absent,
        "in_the_ledger_more_than_once": checked.doubled,
        "until_all_were_committed_s": round(checked.waited_s, 2),
        "past_the_accept_deadline": unaccepted(system, "deadline"),
        "unaccepted_for_other_reasons": unaccepted(system, "") - unaccepted(system, "deadline"),
    }


def unaccepted(system: System, reason: str) -> int:
    """Visitors redirected whose click was not safe in time, as the edges count them."""
    return int(system.metric("headwater_clicks_unaccepted_total", reason))


def is_whole(told: Told) -> bool:
    """Nothing was lost that was answered as safe, nothing doubled, nothing unanswered."""
    unsafe = told["past_the_accept_deadline"] + told["unaccepted_for_other_reasons"]
    is_kept = bool(told["answered_and_not_in_the_ledger"] <= unsafe)
    return is_kept and told["in_the_ledger_more_than_once"] == 0 and told["failed"] == 0


def _told(driven: Driven) -> Told:
    """The parts of a run that plots and tables are made of."""
    told = driven.told
    return {
        "failed": driven.failed,
        "peak_queued": told["peak_queued"],
        "stages": told["stages"],
        "window_ms": told["window_ms"],
        "windows": told["windows"],
    }


def _nice_matcher(stand: Stand, system: System) -> None:
    """The matcher off the edge's core: onto the generator's, to whom it gives way."""
    for pid in system.pids()["matcher"]:
        processes.move(pid, stand.load_cores)
        processes.make_nice(pid, MATCHER_NICE)


def throughput(stand: Stand, seconds: float) -> Told:
    """Closed loops over all processes, each until its last click is committed: CPU of each."""
    with stand.system() as (system, files):
        for pids in system.pids().values():
            for pid in pids:
                processes.move(pid, stand.server_cores | stand.load_cores)
        id_files: list[Path] = []
        rounds, failed = [], 0
        disk = _disk_bytes(system)
        for seed in range(1, stand.size.rounds + 1):
            id_files.append(stand.path("ids"))
            stages = [Stage(0, seconds)]
            plan = Plan(
                system.config.port, files["keep-alive"], stages, ids=id_files[-1], seed=seed
            )
            told, driven = _throughput_round(stand, system, plan, id_files)
            rounds.append(told)
            failed += driven.failed
        checked = system.check(id_files, COMMITTED_S)
        found = {
            **checked_told(checked, system),
            **{name: _medians([one[name] for one in rounds]) for name in rounds[0]},
            "failed": failed,
            "rounds": rounds,
            "disk_bytes_per_click": {
                name: (size - disk[name]) / max(checked.answered, 1)
                for name, size in _disk_bytes(system).items()
            },
            "resident_bytes": system.resident_bytes(),
        }
    stand.say(f"{found['committed_per_cpu_second']:,.0f} clicks committed for a second of CPU")
    return found


def _disk_bytes(system: System) -> dict[str, int]:
    """What stays of clicks: in the ledger, whose own log is soon folded in, and in the archive."""
    data = system.config.data
    parts = {"ledger": data.glob("ledger.sqlite"), "archive": (data / "archive").rglob("*")}
    return {name: sum(path.stat().st_size for path in paths) for name, paths in parts.items()}


def _throughput_round(
    stand: Stand, system: System, plan: Plan, id_files: list[Path]
) -> tuple[Told, Driven]:
    before, steps = processes.cpu_by_part(system.pids()), system.matcher_steps()
    had = system.committed()
    driven = stand.generator.drive(plan)
    meanwhile = system.committed() - had
    waited_s = system.wait_committed(id_files, COMMITTED_S)
    used = cpu_between(before, processes.cpu_by_part(system.pids()))
    of_steps = cpu_between(steps, system.matcher_steps())
    clicks = max(driven.answered, 1)
    told = {
        "answered_per_s": driven.per_s,
        "committed_per_s_meanwhile": meanwhile / plan.seconds,
        "sustained_per_s": driven.answered / (plan.seconds + waited_s),
        "until_all_were_committed_s": round(waited_s, 2),
        "cpu_us_per_click": {name: value / clicks * 1e6 for name, value in used.items()},
        "matcher_cpu_us_per_click": {
            name: value / clicks * 1e6 for name, value in of_steps.items()
        },
        "generator_cpu_us_per_click": driven.cpu_s / clicks * 1e6,
        "committed_per_cpu_second": clicks / sum(used.values()),
    }
    return told, driven


def _medians(values: list[Any]) -> Any:
    """Of figures by round, and of tables of figures entry by entry."""
    if isinstance(values[0], dict):
        return {name: median(one[name] for one in values) for name in values[0]}
    return median(values)


def burst(stand: Stand) -> Told:
    """Ten times the load, at nine tenths of what the edge can, while a shop reports its orders."""
    size = stand.size
    with stand.system() as (system, files):
        first = stand.path("ids")
        capacity = stand.capacity(system, files, first)
        id_files = [first, Path(f"{first}-first")]
        system.check(id_files, COMMITTED_S)
        _nice_matcher(stand, system)
        rate = stand.allowed("keep-alive", capacity * BURST_SHARE)
        calm = rate / BURST_FACTOR
        stages = [Stage(calm, size.calm_s), Stage(rate, size.burst_s), Stage(calm, size.calm_s)]
        id_files.append(stand.path("ids"))
        shop = probe.Shop(system, SHOP_EVERY_S)
        shop.start()
        began_s = clock.monotonic_s()
        driven = stand.generator.drive(
            Plan(
                system.config.port,
                files["keep-alive"],
                stages,
                connections=256,
                ids=id_files[-1],
            )
        )
        lag_s = system.metric("headwater_matcher_lag_seconds")
        committed = system.committed()
        checked = system.check(id_files, COMMITTED_S)
        drained_s = clock.monotonic_s() - began_s - stages[0].seconds - size.burst_s
        worked_off = system.committed() - committed
        conversions = shop.finish()
        found = {
            **_told(driven),
            **checked_told(checked, system),
            "edge_capacity_per_s": round(capacity),
            "burst_per_s": round(rate),
            # Of nothing, where it kept up.
            "matcher_per_s": round(worked_off / checked.waited_s) if checked.waited_s > 1 else None,
            "matcher_lag_at_the_end_of_the_load_s": lag_s,
            "drained_after_the_burst_s": round(drained_s, 2),
            "conversions": [asdict(conversion) for conversion in conversions],
            "resident_bytes": system.resident_bytes(),
        }
    stand.say(
        f"burst at {rate:,.0f}/s: p99 {driven.latency_us(1)['p99'] / 1000:.1f} ms, "
        f"{found['past_the_accept_deadline']} past the deadline, backlog gone "
        f"{found['drained_after_the_burst_s']} s after it"
    )
    return found


def outage(stand: Stand) -> Told:
    """Redis is killed under load, and comes back; nobody is to notice who is answered."""
    size = stand.size
    with (
        own_redis(stand.path("redis"), stand.server_cores) as server,
        stand.system(redis_url=server.url) as (system, files),
    ):
        ids = stand.path("ids")
        capacity = stand.capacity(system, files, ids)
        id_files = [ids, Path(f"{ids}-first"), stand.path("ids")]
        system.check(id_files[:2], COMMITTED_S)
        _nice_matcher(stand, system)
        rate = stand.allowed("keep-alive", capacity * OUTAGE_SHARE)
        plan = Plan(
            system.config.port,
            files["keep-alive"],
            [Stage(rate, size.outage_s * 3)],
            connections=256,
            ids=id_files[-1],
        )
        with _later(size.outage_s, server.kill), _later(size.outage_s * 2, server.start):
            driven = stand.generator.drive(plan)
        checked = system.check(id_files, COMMITTED_S)
        found = {
            **_told(driven),
            **checked_told(checked, system),
            "rate_per_s": round(rate),
            "killed_at_s": size.outage_s,
            "started_at_s": size.outage_s * 2,
        }
    stand.say(f"Redis away: {driven.failed} unanswered, {checked.absent} absent")
    return found


@contextmanager
def _later(seconds: float, action: Any) -> Iterator[None]:
    """Do something so long after the block began, and before it ends."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def pixels(stand: Stand) -> Told:
    """Time to a pixel's first byte, by turns: on an idle system, and beside a load."""
    size = stand.size
    rounds: list[Told] = []
    with stand.system() as (system, files):
        id_files = [stand.path("ids")]
        capacity = stand.capacity(system, files, id_files[0])
        id_files.append(Path(f"{id_files[0]}-first"))
        system.wait_committed(id_files, COMMITTED_S)
        _nice_matcher(stand, system)
        rate = stand.allowed("keep-alive", capacity * LOADED_SHARE)
        failed = 0
        for _ in range(size.rounds):
            idle = probe.pixel_waits_ms(system, size.pixels, _IDLE_PAUSE_S)
            id_files.append(stand.path("ids"))
            stages = [Stage(rate, size.pixels * _LOADED_PAUSE_S * 1.5 + 1.0)]
            plan = Plan(system.config.port, files["keep-alive"], stages, ids=id_files[-1])
            with driving(stand, plan) as driven:
                loaded = probe.pixel_waits_ms(system, size.pixels, _LOADED_PAUSE_S)
            failed += sum(one.failed for one in driven)
            rounds.append({"idle": probe.percentiles(idle), "loaded": probe.percentiles(loaded)})
            system.wait_committed(id_files, COMMITTED_S)
        checked = system.check(id_files, COMMITTED_S)
        found: Told = {**checked_told(checked, system), "failed": failed}
    found |= {
        "rate_per_s": round(rate),
        "pixels": size.pixels,
        "rounds": rounds,
        **{state: _medians([one[state] for one in rounds]) for state in ("idle", "loaded")},
    }
    stand.say(f"pixels: p99 {found['idle']['p99_ms']} ms idle, {found['loaded']['p99_ms']} loaded")
    return found


@contextmanager
def driving(stand: Stand, plan: Plan) -> Iterator[list[Driven]]:
    """A load beside the block, from half a second before it; what it came to is there after.

    Raises RuntimeError for a load that ended in an error: nothing was measured beside it.
    """
    driven: list[Driven] = []
    loading = threading.Thread(target=lambda: driven.append(stand.generator.drive(plan)))
    loading.start()
    clock.sleep(0.5)
    try:
        yield driven
    finally:
        loading.join()
    if not driven:
        raise RuntimeError("the load beside it ended in an error")
