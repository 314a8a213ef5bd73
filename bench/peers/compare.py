"""The same requests to every server in turn: what each costs, how much it bears, how long it takes.

In each round every server is measured once, the order moving on by one, so that what the machine's
neighbors do falls on all alike; figures are medians over rounds, beside the lowest and highest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench.load import processes
from bench.load.drive import Plan, Stage
from bench.load.requests import Mode
from bench.load.stand import CONNECTIONS, MODES, Stand
from bench.load.system import Checked, System
from bench.peers.servers import Peer, all_peers

OWN: Final = "headwater"
# Of its own capacity: the latency that is promised.
OWN_SHARE: Final = 0.7
# A fixed rate nearer to what a server can bear tells of the queue and not of the server.
RATE_SHARE: Final = 0.9
WARM_UP_S: Final = 0.5
DRAIN_S: Final = 420.0


class Sample(NamedTuple):
    """One server, once."""

    server: str
    mode: Mode
    round: int
    rate: float
    """0: a closed loop."""
    share: float
    """Of the server's own capacity, where the rate was chosen by that; else 0."""
    per_s: float
    failed: int
    cpu_us: dict[str, float]
    """For each request, by part of what serves."""
    latency_us: dict[str, float]
    late_us: dict[str, float]
    """How much later than due the generator sent."""
    is_generator_bound: bool

    @property
    def cpu_us_in_all(self) -> float:
        return sum(self.cpu_us.values())


class Spread(NamedTuple):
    """A figure over its rounds."""

    median: float
    lowest: float
    highest: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


@dataclass
class Comparison:
    """All samples, and what our own answers came to."""

    samples: list[Sample] = field(default_factory=list)
    checked: Checked | None = None
    unaccepted: float = 0.0
    drained: dict[str, Any] = field(default_factory=dict)
    """Of the matcher alone, working off what was answered while it stood still."""

    def closed(self, server: str, mode: Mode) -> list[Sample]:
        return [
            sample
            for sample in self.samples
            if (sample.server, sample.mode, sample.rate) == (server, mode, 0)
        ]

    def capacity(self, server: str, mode: Mode) -> float:
        """Requests a second in a closed loop, the median; 0 where it was not measured."""
        found = self.closed(server, mode)
        return median(sample.per_s for sample in found) if found else 0.0

    def is_bound(self, server: str, mode: Mode) -> bool:
        """Whether the generator gave out before the server, so that it can bear more than that."""
        return any(sample.is_generator_bound for sample in self.closed(server, mode))

    def cpu_us(self, server: str, mode: Mode) -> Spread | None:
        """CPU of everything that serves for one request, in a closed loop."""
        found = [sample.cpu_us_in_all for sample in self.closed(server, mode)]
        return spread(found) if found else None

    def at_rates(self, server: str, mode: Mode) -> Iterator[tuple[float, list[Sample]]]:
        """Samples at fixed rates, by rising rate."""
        found = sorted(
            (s for s in self.samples if (s.server, s.mode) == (server, mode) and s.rate),
            key=lambda sample: sample.rate,
        )
        for rate, group in groupby(found, key=lambda sample: sample.rate):
            yield rate, list(group)

    def ratio(self, mode: Mode, peer: str) -> Spread | None:
        """Our CPU for a click against a peer's for a request, round by round."""
        theirs = {sample.round: sample.cpu_us_in_all for sample in self.closed(peer, mode)}
        found = [
            sample.cpu_us_in_all / theirs[sample.round]
            for sample in self.closed(OWN, mode)
            if theirs.get(sample.round)
        ]
        return spread(found) if found else None


def _own(system: System) -> Peer:
    """Of the system what answers a click: the edge and its Redis."""

    def pids() -> processes.Pids:
        found = system.pids()
        return {name: found[name] for name in ("edge", "redis")}

    return Peer(OWN, system.config.port, 302, pids)


class _Compare:
    def __init__(self, stand: Stand, files: dict[Mode, Path]) -> None:
        self._stand = stand
        self._files = files
        self.ids: list[Path] = []
        self.result = Comparison()

    def sample(
        self, peer: Peer, mode: Mode, round_: int, rate: float, seconds: float, share: float = 0.0
    ) -> None:
        """Measure once. The first moments only warm it up."""
        self._drive(peer, mode, rate, WARM_UP_S, round_ + 1000)
        before = processes.cpu_by_part(peer.pids())
        driven = self._drive(peer, mode, rate, seconds, round_)
        after = processes.cpu_by_part(peer.pids())
        answered = max(driven.answered, 1)
        stage = driven.told["stages"][0]
        found = Sample(
            server=peer.name,
            mode=mode,
            round=round_,
            rate=rate,
            share=share,
            per_s=driven.per_s,
            failed=driven.failed,
            cpu_us={
                name: used / answered * 1e6 for name, used in cpu_between(before, after).items()
            },
            latency_us=stage["latency_us"],
            late_us=stage["late_us"],
            is_generator_bound=rate == 0 and self._stand.generator.is_bound(mode, driven.per_s),
        )
        self.result.samples.append(found)
        peer.forget()
        asked = f"{rate:,.0f}/s" if rate else "closed loop"
        self._stand.say(
            f"round {round_ + 1}, {peer.name}, {mode}, {asked}: {found.per_s:,.0f}/s, "
            f"{found.cpu_us_in_all:.1f} us CPU, p99 {found.latency_us['p99'] / 1000:.1f} ms"
        )

    def _drive(self, peer: Peer, mode: Mode, rate: float, seconds: float, seed: int) -> Any:
        ids = None
        if peer.name == OWN:
            ids = self._stand.path("ids")
            self.ids.append(ids)
        plan = Plan(
            peer.port,
            self._files[mode],
            [Stage(rate, seconds)],
            mode=mode,
            connections=CONNECTIONS[mode],
            status=peer.status,
            ids=ids,
            seed=seed + 1,
        )
        return self._stand.generator.drive(plan)

    def closed_loops(self, peers: list[Peer]) -> None:
        size = self._stand.size
        needs_s = len(peers) * (size.closed_s + WARM_UP_S + 0.5)
        for round_ in range(size.rounds):
            for mode in MODES:
                if self._stand.has_time(f"closed loops, round {round_ + 1}, {mode}", needs_s):
                    for peer in _turned(peers, round_):
                        self.sample(peer, mode, round_, 0, size.closed_s)

    def fixed_rates(self, peers: list[Peer]) -> None:
        size = self._stand.size
        self._own_share(peers)
        steps: list[tuple[Mode, int]] = [("keep-alive", rate) for rate in size.rates]
        steps += [("close", rate) for rate in size.close_rates]
        needs_s = len(peers) * (size.fixed_s + WARM_UP_S + 0.5)
        # Latencies are over thousands of requests each; few rounds show how steady they are.
        for round_ in range(max(size.rounds // 2, 1)):
            for mode, rate in steps:
                if not self._stand.has_time(f"{rate:,}/s, {mode}, round {round_ + 1}", needs_s):
                    continue
                for peer in _turned(peers, round_):
                    self._at(peer, mode, round_, float(rate))

    def _at(self, peer: Peer, mode: Mode, round_: int, rate: float, share: float = 0.0) -> None:
        bearable = self.result.capacity(peer.name, mode) * RATE_SHARE
        if rate <= min(bearable, self._stand.allowed(mode, bearable)):
            self.sample(peer, mode, round_, rate, self._stand.size.fixed_s, share)

    def _own_share(self, peers: list[Peer]) -> None:
        """Each at the same share of what it can bear itself."""
        size = self._stand.size
        needs_s = len(peers) * (size.fixed_s + WARM_UP_S + 0.5)
        for round_ in range(size.rounds):
            if not self._stand.has_time(f"{OWN_SHARE:.0%} of each, round {round_ + 1}", needs_s):
                return
            for peer in _turned(peers, round_):
                rate = round(self.result.capacity(peer.name, "keep-alive") * OWN_SHARE, -2)
                if rate:
                    self._at(peer, "keep-alive", round_, rate, OWN_SHARE)


def _turned(peers: list[Peer], by: int) -> list[Peer]:
    at = by % len(peers)
    return peers[at:] + peers[:at]


def compare(stand: Stand) -> Comparison:
    """All servers side by side; then our matcher works off what was answered."""
    with stand.system() as (system, files):
        run = _Compare(stand, files)
        with system.matcher_stopped():
            with all_peers(stand.folder, stand.server_cores, stand.note) as peers:
                served = [_own(system), *peers]
                run.closed_loops(served)
                run.fixed_rates(served)
            # The servers are done: the matcher has the machine to itself.
            for pids in system.pids().values():
                for pid in pids:
                    processes.move(pid, stand.server_cores | stand.load_cores)
            had = system.committed()
            used = processes.cpu_by_part(system.pids())
            steps = system.matcher_steps()
        stand.say("the matcher works off what was answered")
        checked = system.check(run.ids, DRAIN_S)
        used = cpu_between(used, processes.cpu_by_part(system.pids()))
        steps = cpu_between(steps, system.matcher_steps())
        clicks = max(system.committed() - had, 1)
        run.result.checked = checked
        run.result.drained = {
            "clicks": clicks,
            "seconds": checked.waited_s,
            "per_s": clicks / checked.waited_s,
            "cpu_us": {name: value / clicks * 1e6 for name, value in used.items()},
            "matcher_cpu_us": {name: value / clicks * 1e6 for name, value in steps.items()},
        }
        stand.say(
            f"{clicks:,} clicks committed in {checked.waited_s:.1f} s, {checked.absent} of those "
            f"answered are absent, {checked.doubled} doubled"
        )
        run.result.unaccepted = system.metric("headwater_clicks_unaccepted_total")
    return run.result


def cpu_between(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What each part used in between."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}
