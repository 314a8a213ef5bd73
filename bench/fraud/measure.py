"""Every attack at every rate in every background, pooled; and what pace gets each through."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, NamedTuple

from bench.fraud.attacks import Attack
from bench.fraud.play import Played, play
from bench.fraud.world import Background, Crowd, generate

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


@dataclass
class Bench:
    """What is measured with."""

    backgrounds: Sequence[Background]
    attacks: Sequence[Attack]
    rates: Sequence[float]
    bots: BotList | None
    say: Say

    def all(self) -> list[Pooled]:
        """Every attack at every rate."""
        found = []
        for attack in self.attacks:
            for rate in self.rates:
                runs = [
                    play(
                        background,
                        attack,
                        max(round(rate * background.clicks), 4),
                        seed=1000 + number,
                        bots=self.bots,
                    )
                    for number, background in enumerate(self.backgrounds)
                ]
                found.append(pooled(attack.name, rate, runs))
                share = found[-1].detected.value
                self.say(f"{attack.name} at {rate:.1%}: {share:.1%} detected")
        return found

    def evasions(self, rate: float) -> list[Evasion]:
        """The first pace, of doubling ones, at which most of an attack gets through. What is
        found at one pace is taken to be found at every faster one."""
        return [self._evasion(attack, rate) for attack in self.attacks]

    def _evasion(self, attack: Attack, rate: float) -> Evasion:
        background = self.backgrounds[0]
        count = max(round(rate * background.clicks), 4)
        paces = PACES if attack.says else PACES[:1]
        recalls: dict[int, float] = {}

        def gets_through(pace: int) -> bool:
            run = play(background, attack, count, seed=77, pace=pace, bots=self.bots)
            recalls[pace] = run.recall
            return run.recall < EVADES_BELOW

        at = bisect_left(paces, True, key=gets_through)
        pace = paces[min(at, len(paces) - 1)]
        is_found = at == len(paces)
        self.say(f"{attack.name}: {'found even' if is_found else 'gets through'} at pace {pace}")
        return Evasion(attack.name, None if is_found else pace, recalls[pace], _says(attack, pace))


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


class Quiet(NamedTuple):
    """Backgrounds without any attack."""

    flagged: Interval
    converters_flagged: Interval
    crowd_accepted: Interval
    """Of a crowd of thousands behind one address."""
    crowd_clicks: int


def quiet(backgrounds: Sequence[Background], seed: int, clicks: int) -> Quiet:
    """What is flagged where nothing was injected, and how a crowd behind one address fares."""
    runs = [play(background, None, 0, seed=1) for background in backgrounds]
    crowd = play(generate(seed, clicks, CROWD), None, 0, seed=1)
    return Quiet(
        wilson(sum(run.background_flagged for run in runs), sum(run.background for run in runs)),
        wilson(sum(run.converters_flagged for run in runs), sum(run.converters for run in runs)),
        wilson(crowd.crowd_accepted, crowd.crowd),
        crowd.crowd,
    )
