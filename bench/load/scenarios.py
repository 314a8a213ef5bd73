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
# Less urgent than the generator, with which the matcher shares cores where there are two.
MATCHER_NICE: Final = 10

Told = dict[str, Any]


def _checked(checked: Checked, system: System) -> Told:
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
    """A closed loop over all processes, until the last click is committed: CPU for each."""
    with stand.system() as (system, files):
        for pids in system.pids().values():
            for pid in pids:
                processes.move(pid, stand.server_cores | stand.load_cores)
        ids = stand.path("ids")
        before, steps = processes.cpu_by_part(system.pids()), system.matcher_steps()
        plan = Plan(system.config.port, files["keep-alive"], [Stage(0, seconds)], ids=ids)
        driven = stand.generator.drive(plan)
        committed = system.committed()
        checked = system.check([ids], COMMITTED_S)
        used = cpu_between(before, processes.cpu_by_part(system.pids()))
        of_steps = cpu_between(steps, system.matcher_steps())
        clicks = max(driven.answered, 1)
        found = {
            **_told(driven),
            **_checked(checked, system),
            "answered_per_s": round(driven.per_s),
            "committed_per_s_meanwhile": round(committed / seconds),
            "cpu_us_per_click": {name: value / clicks * 1e6 for name, value in used.items()},
            "matcher_cpu_us_per_click": {
                name: value / clicks * 1e6 for name, value in of_steps.items()
            },
            "generator_cpu_us_per_click": driven.cpu_s / clicks * 1e6,
            "committed_per_cpu_second": round(clicks / sum(used.values())),
            "resident_bytes": system.resident_bytes(),
        }
    stand.say(f"{found['committed_per_cpu_second']:,} clicks committed for a second of CPU")
    return found


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
        checked = system.check(id_files, COMMITTED_S)
        drained_s = clock.monotonic_s() - began_s - stages[0].seconds - size.burst_s
        conversions = shop.finish()
        found = {
            **_told(driven),
            **_checked(checked, system),
            "edge_capacity_per_s": round(capacity),
            "burst_per_s": round(rate),
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
            **_checked(checked, system),
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
    """Time to a pixel's first byte: on an idle system, and beside a load."""
    size = stand.size
    with stand.system() as (system, files):
        first = stand.path("ids")
        capacity = stand.capacity(system, files, first)
        system.check([first, Path(f"{first}-first")], COMMITTED_S)
        _nice_matcher(stand, system)
        idle = probe.pixel_waits_ms(system, size.pixels, pause_s=0.005)
        rate = stand.allowed("keep-alive", capacity * LOADED_SHARE)
        seconds = max(size.pixels * 0.02, 2.0)
        plan = Plan(system.config.port, files["keep-alive"], [Stage(rate, seconds)])
        loading = threading.Thread(target=stand.generator.drive, args=(plan,))
        loading.start()
        loaded = probe.pixel_waits_ms(system, size.pixels, pause_s=0.01)
        loading.join()
    found: Told = {
        "rate_per_s": round(rate),
        "idle": probe.percentiles(idle),
        "loaded": probe.percentiles(loaded),
        "waits_ms": {"idle": idle, "loaded": loaded},
    }
    stand.say(f"pixels: p99 {found['idle']['p99_ms']} ms idle, {found['loaded']['p99_ms']} loaded")
    return found
