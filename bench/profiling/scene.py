"""The system under a closed loop, and what its processes do with their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.load import processes
from bench.load.drive import Plan, Stage
from bench.load.scenarios import COMMITTED_S, Told, checked_told, driving
from bench.load.stand import Stand
from bench.load.system import System, answered_number
from bench.peers.compare import cpu_between
from bench.profiling import flame, record, stacks
from bench.profiling.stacks import Samples

from headwater import clock

PARTS: Final = ("edge", "redis", "matcher")
PYTHON_PARTS: Final = ("edge", "matcher")
FUNCTIONS: Final = 12
# Before samples are taken and after: connections, first batches, the profiler's own start.
_AROUND_S: Final = 1.0


def profile(stand: Stand) -> Told:
    """Samples of edge, Redis and matcher under load: by component, by function, as flame graphs.

    What cannot be had is noted, and left out.
    """
    why_not = {"perf": record.install_perf(), "py-spy": record.install_py_spy()}
    for tool, reason in why_not.items():
        if reason:
            stand.note(f"left out of the profile: what {tool} sees ({reason})")
    found: Told = {"seconds": stand.size.profile_s, "graphs": {}}
    if all(why_not.values()):
        return found
    with stand.system() as (system, files):
        for pids in system.pids().values():
            for pid in pids:
                processes.move(pid, stand.server_cores | stand.load_cores)
        run = _Run(stand, system, files["keep-alive"])
        if not why_not["perf"]:
            run.all_parts(found)
        if not why_not["py-spy"]:
            run.functions(found)
        found |= checked_told(system.check(run.ids, COMMITTED_S), system)
        found["failed"] = run.failed
    return found


class _Run:
    def __init__(self, stand: Stand, system: System, requests: Path) -> None:
        self._stand = stand
        self._system = system
        self._requests = requests
        self._seconds = stand.size.profile_s
        self.ids: list[Path] = []
        self.failed = 0

    @contextmanager
    def _loaded(self) -> Iterator[None]:
        """A closed loop for as long as samples are taken, and until all of it is committed."""
        self.ids.append(self._stand.path("ids"))
        stages = [Stage(0, self._seconds + 2 * _AROUND_S)]
        plan = Plan(self._system.config.port, self._requests, stages, ids=self.ids[-1])
        with driving(self._stand, plan) as driven:
            clock.sleep(_AROUND_S / 2)
            yield
        self.failed += driven[0].failed
        self._system.wait_committed(self.ids, COMMITTED_S)

    def _tried(self, what: str, action: Callable[[], None]) -> None:
        try:
            with self._loaded():
                action()
        except record.CannotProfile as error:
            self._stand.note(f"left out of the profile: {what} ({error})")

    def all_parts(self, found: Told) -> None:
        """By component, and what each costs a click, as the kernel charged it."""
        seen: dict[str, Samples] = {}
        pids = {name: self._system.pids()[name] for name in PARTS}

        def act() -> None:
            seen.update(record.perf(pids, self._seconds, self._stand.path("perf")))

        before = processes.cpu_by_part(pids)
        self._tried("perf", act)
        used = cpu_between(before, processes.cpu_by_part(pids))
        if not seen:
            return
        clicks = max(answered_number(self.ids[-1:]), 1)
        found["clicks"] = clicks
        found["components"] = {
            name: {
                "samples": sum(samples.values()),
                "us_per_click": used[name] / clicks * 1e6,
                "shares": stacks.by_component(samples),
            }
            for name, samples in seen.items()
        }
        for name, samples in seen.items():
            found["graphs"][f"flame-{name}"] = flame.svg(
                f"{name}: native code and kernel", stacks.folded(samples)
            )

    def functions(self, found: Told) -> None:
        """The Python functions in which time goes."""
        found["functions"] = {}
        for name in PYTHON_PARTS:
            (pid,) = self._system.pids()[name]
            seen: list[Samples] = []

            def act(pid: int = pid, seen: list[Samples] = seen) -> None:
                seen.append(record.py_spy(pid, self._seconds, self._stand.path("py-spy")))

            self._tried(f"py-spy on the {name}", act)
            for samples in seen:
                found["functions"][name] = stacks.by_function(samples, FUNCTIONS)
                found["graphs"][f"flame-{name}-python"] = flame.svg(
                    f"{name}: functions of Python", stacks.folded(samples)
                )
                # Without perf, this is all that is known of components.
                found.setdefault("components", {}).setdefault(
                    name,
                    {
                        "samples": sum(samples.values()),
                        "us_per_click": None,
                        "shares": stacks.by_component(samples),
                    },
                )
