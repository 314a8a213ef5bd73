"""Every attack at every rate in every background, pooled; and what pace gets each through."""

from __future__ import annotations

import gc
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from typing import Any, Final, NamedTuple

from bench.fraud.attacks import Attack
from bench.fraud.play import Played, play
from bench.fraud.world import Background, Crowd

from headwater.ops.evaluate_bots import BotList
from headwater.ops.evaluate_statistics import Interval, wilson

PACES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
EVADES_BELOW: Final = 0.5
CROWD: Final = Crowd(share=0.3, addresses=1)
AT_ANY_PACE: Final = "at any pace"
Say = Callable[[str], None]


class Pooled(NamedTuple):
    """One attack at one rate, over all seeds."""

    attack: str
    rate: float
    """Injected events for one click of the background."""
    injected: int
    detected: Interval
    stolen: int
    stolen_detected: Interval
    background_flagged: Interval
    converters_flagged: Interval
    first_detected_s: float | None
    """Median over the seeds in which anything was detected."""
    undetected_seeds: int
    precision: float | None
    """Of what is flagged, the share that was injected, at this rate."""

    def told(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            name: value._asdict() if isinstance(value, Interval) else value
            for name, value in self._asdict().items()
        }


class Evasion(NamedTuple):
    """How far an attack must slow down to get through."""

    attack: str
    pace: int | None
    """None: at the slowest pace tried it is still found."""
    recall: float
    """At that pace."""
    says: str


class Quiet(NamedTuple):
    """Backgrounds without any attack."""

    flagged: Interval
    converters_flagged: Interval
    crowd_accepted: Interval
    """Of a crowd of thousands behind one address."""
    crowd_clicks: int


class Task(NamedTuple):
    """One run: an attack, and a background, by their numbers among those of a bench."""

    attack: int | None
    """None: nothing is injected."""
    background: int
    count: int
    seed: int
    pace: int = 1


@dataclass
class Bench:
    """What is measured with. Runs share nothing, and go to as many processes as there are
    processors; what comes of them does not depend on how many."""

    backgrounds: Sequence[Background]
    crowd: Background
    """With thousands of people behind one address."""
    attacks: Sequence[Attack]
    rates: Sequence[float]
    search_rate: float
    bots: BotList | None
    say: Say

    def background(self, number: int) -> Background:
        return [*self.backgrounds, self.crowd][number]

    def run(self, task: Task) -> Played:
        """One run."""
        background = self.background(task.background)
        attack = None if task.attack is None else self.attacks[task.attack]
        return play(background, attack, task.count, seed=task.seed, pace=task.pace, bots=self.bots)

    def measure(self) -> tuple[list[Pooled], list[Evasion], Quiet]:
        """Everything: attacks at their rates, the paces that get through, and quiet traffic."""
        with _processes(self) as processes:
            # What takes longest begins first, so that no processor ends alone.
            searches = [
                (number, processes.submit(_search, number)) for number in range(len(self.attacks))
            ]
            runs = {task: processes.submit(_run, task) for task in self._tasks()}
            quiet = self._quiet([processes.submit(_run, task) for task in self._quiet_tasks()])
            found = [
                self._pooled(number, rate, runs)
                for number in range(len(self.attacks))
                for rate in self.rates
            ]
            evasions = [self._told(number, search.result()) for number, search in searches]
        return found, evasions, quiet

    def _tasks(self) -> list[Task]:
        every = [
            task
            for number in range(len(self.attacks))
            for rate in self.rates
            for task in self._tasks_of(number, rate)
        ]
        return sorted(every, key=lambda task: -task.count)

    def _tasks_of(self, attack: int, rate: float) -> list[Task]:
        return [
            Task(attack, number, _count(rate, background), seed=1000 + number)
            for number, background in enumerate(self.backgrounds)
        ]

    def _pooled(self, attack: int, rate: float, runs: dict[Task, Future[Played]]) -> Pooled:
        name = self.attacks[attack].name
        found = pooled(name, rate, [runs[task].result() for task in self._tasks_of(attack, rate)])
        self.say(f"{name} at {rate:.1%}: {found.detected.value or 0:.1%} detected")
        return found

    def search(self, attack: int) -> Evasion:
        """The first pace, of doubling ones, at which most of an attack gets through. What is
        found at one pace is taken to be found at every faster one."""
        known = self.attacks[attack]
        count = _count(self.search_rate, self.backgrounds[0])
        paces = PACES if known.says else PACES[:1]
        recalls: dict[int, float] = {}

        def gets_through(pace: int) -> bool:
            task = Task(attack, 0, count, seed=77, pace=pace)
            recalls[pace] = self.run(task).recall
            return recalls[pace] < EVADES_BELOW

        at = bisect_left(paces, True, key=gets_through)
        pace = paces[min(at, len(paces) - 1)]
        is_found = at == len(paces)
        return Evasion(known.name, None if is_found else pace, recalls[pace], _says(known, pace))

    def _told(self, attack: int, evasion: Evasion) -> Evasion:
        says = "found even" if evasion.pace is None else "gets through"
        self.say(f"{self.attacks[attack].name}: {says} {evasion.says}")
        return evasion

    def _quiet_tasks(self) -> list[Task]:
        everywhere = range(len(self.backgrounds) + 1)
        return [Task(None, number, 0, seed=1) for number in everywhere]

    def _quiet(self, running: Sequence[Future[Played]]) -> Quiet:
        *runs, crowd = [run.result() for run in running]
        return Quiet(
            wilson(
                sum(run.background_flagged for run in runs), sum(run.background for run in runs)
            ),
            wilson(
                sum(run.converters_flagged for run in runs), sum(run.converters for run in runs)
            ),
            wilson(crowd.crowd_accepted, crowd.crowd),
            crowd.crowd,
        )


def _count(rate: float, background: Background) -> int:
    return max(round(rate * background.clicks), 4)


_held: list[Bench] = []
"""The bench of a worker: what it holds is inherited, and never sent to it."""


def _hold(bench: Bench) -> None:
    _held[:] = [bench]


def _run(task: Task) -> Played:
    return _held[0].run(task)


def _search(attack: int) -> Evasion:
    return _held[0].search(attack)


def _processes(bench: Bench) -> ProcessPoolExecutor:
    # What collects garbage in a worker would copy all that it inherits.
    gc.collect()
    gc.freeze()
    forked = get_context("fork")
    return ProcessPoolExecutor(os.cpu_count(), forked, initializer=_hold, initargs=(bench,))


def _says(attack: Attack, pace: int) -> str:
    return attack.says(pace) if attack.says else AT_ANY_PACE


def pooled(name: str, rate: float, runs: Sequence[Played]) -> Pooled:
    """The runs of one attack as one."""

    def share(hits: Iterable[int], totals: Iterable[int]) -> Interval:
        return wilson(sum(hits), sum(totals))

    detected = share((run.detected for run in runs), (run.injected for run in runs))
    flagged = share((run.background_flagged for run in runs), (run.background for run in runs))
    times = [run.first_detected_s for run in runs if run.first_detected_s is not None]
    return Pooled(
        attack=name,
        rate=rate,
        injected=sum(run.injected for run in runs),
        detected=detected,
        stolen=sum(run.stolen for run in runs),
        stolen_detected=share((run.stolen_detected for run in runs), (run.stolen for run in runs)),
        background_flagged=flagged,
        converters_flagged=share(
            (run.converters_flagged for run in runs), (run.converters for run in runs)
        ),
        first_detected_s=median(times) if times else None,
        undetected_seeds=len(runs) - len(times),
        precision=precision(detected.value, flagged.value, rate),
    )


def precision(recall: float | None, false_alarms: float | None, rate: float) -> float | None:
    """Of what is flagged the share that is an attack, where so many events in all are."""
    if recall is None or false_alarms is None:
        return None
    prevalence = rate / (1 + rate)
    right, wrong = recall * prevalence, false_alarms * (1 - prevalence)
    return right / (right + wrong) if right + wrong else None
