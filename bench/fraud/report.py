"""The result as a page for people, with how it was measured and what is known to get through."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.fraud.attacks import Attack, duration
from bench.fraud.measure import AT_ANY_PACE, Evasion, Pooled, Quiet

from headwater.ops.evaluate_statistics import Interval

METHOD: Final = """\
Each attack is put into the background at a rate: so many injected events for a hundred clicks of
the background. Detected: in the end the event is `review`, `reject` or `filtered`, or the click is
not counted, or the conversion does not credit the attacker. Flagged: the honest click is not
`accept`; of a converter, neither its conversion nor the click that led to it may be. Rules, weights
and ramps are those delivered; of the program only the path of its checkout is configured. The seeds
of these runs were used for nothing else. A rate is one of clicks for all attacks, those on
conversions too, of which there are far fewer. Shares have Wilson's 95 % interval. Precision is the
share of attacks among all that is flagged, at that rate; an attack's time runs from its first
event."""

KNOWN: Final = (
    "People who are paid to click, each with a phone and a line of their own, and few clicks a "
    "day: nothing in a request tells them from customers. The quality of their source does, late.",
    "A browser driven by a program that sends what a browser sends, at a reader's pace, from "
    "addresses of homes: as above.",
    "A new partner without honest clicks before the attack: nothing is known of what is usual for "
    "it, so a burst of one kind of browser is none.",
    "A source that stays below the number of clicks from which its quality is judged, or is "
    "renamed (another sub id) before.",
    "A hijack of the last click by an extension that clicks before the checkout opens, or on a "
    "site whose checkout pages do not carry the tag.",
    "An injected click in a shop that does not report when the purchase began.",
    "A forged report that names a true click id of the forger's own: see the source's signals.",
)


@dataclass
class Result:
    """All that a run measured."""

    background: str
    clicks: int
    seeds: int
    seconds: float
    pooled: Sequence[Pooled]
    evasions: Sequence[Evasion]
    quiet: Quiet
    attacks: Sequence[Attack]

    def told(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            **machine(),
            "background": self.background,
            "clicks": self.clicks,
            "seeds": self.seeds,
            "seconds": round(self.seconds, 1),
            "attacks": [each.told() for each in self.pooled],
            "evasions": [each._asdict() for each in self.evasions],
            "quiet": {
                name: value._asdict() if isinstance(value, Interval) else value
                for name, value in self.quiet._asdict().items()
            },
            "known_evasions": KNOWN,
        }


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {"python": platform.python_version(), "cpus": os.cpu_count(), "os": platform.system()}


def page(results: Sequence[Result]) -> str:
    """The whole page in Markdown."""
    parts = ["# Injected attacks", METHOD]
    for result in results:
        parts += _section(result)
    parts += ["## Known to get through", "\n".join(f"- {text}" for text in KNOWN)]
    return "\n\n".join(parts) + "\n"


def _section(result: Result) -> list[str]:
    quiet = result.quiet
    lines = [
        f"{result.clicks:,} clicks in {result.seeds} seeds, {result.seconds:.0f} s. "
        f"With nothing injected {_share(quiet.flagged)} of the clicks are flagged, and "
        f"{_share(quiet.converters_flagged)} of the converters. "
        f"Of {quiet.crowd_clicks:,} generated clicks of a crowd behind one address "
        f"{_share(quiet.crowd_accepted)} are accepted."
    ]
    return [
        f"## In {result.background} traffic",
        *lines,
        _attacks(result),
        "### How slow an attack must be",
        _evasions(result),
    ]


def _attacks(result: Result) -> str:
    head = (
        "| attack | rate | injected | detected | background flagged | converters flagged "
        "| first found after | precision |"
    )
    rows = [head, "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for each in result.pooled:
        after = "never" if each.first_detected_s is None else duration(each.first_detected_s)
        shares = (each.detected, each.background_flagged, each.converters_flagged)
        precise = "none" if each.precision is None else f"{each.precision:.1%}"
        cells = [each.attack, f"{each.rate:.1%}", str(each.injected), *map(_share, shares)]
        rows.append("| " + " | ".join([*cells, after, precise]) + " |")
        if each.stolen:
            share = f"{_share(each.stolen_detected)} of {each.stolen}"
            rows.append(f"| ... conversions it steals | | | {share} | | | | |")
    return "\n".join(rows)


def _evasions(result: Result) -> str:
    what = {attack.name: attack.what for attack in result.attacks}
    rows = ["| attack | what it is | gets through | still found |", "|---|---|---|---:|"]
    for each in result.evasions:
        if each.pace is None:
            says = "no" if each.says == AT_ANY_PACE else f"not even {each.says}"
        else:
            says = each.says
        cells = (each.attack, what[each.attack], says, f"{each.recall:.0%}")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _share(interval: Interval) -> str:
    if interval.value is None or interval.low is None or interval.high is None:
        return "none"
    return f"{interval.value:.2%} ({interval.low:.2%}–{interval.high:.2%})"
