"""Background and attack together through an engine, and what it said of each event in the end."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from bench.fraud.attacks import Attack, Stage
from bench.fraud.events import BEGIN_MS, CHECKOUT, DAY_MS, INJECTED, KINDS, Event
from bench.fraud.world import Background

from headwater.ops.evaluate_bots import BotList
from headwater.ops.evaluate_feed import Feed, Outcomes, number_of

# Positions in the engine's conversion rows.
_CONVERSION, _ACCEPT, _CREDITS, _VERDICT = 0, 6, 14, 17
RULES: Final[dict[str, Any]] = {"checkout_paths": [CHECKOUT]}
"""What such a program configures; all weights and ramps are as delivered."""


class Played(NamedTuple):
    """What came of one attack in one background."""

    injected: int
    """Events judged."""
    detected: int
    stolen: int
    stolen_detected: int
    first_detected_s: float | None
    """From the first event judged to the first that was detected; None: none was."""
    background: int
    """Clicks of the background."""
    background_flagged: int
    converters: int
    converters_flagged: int
    """Of these the conversion, or the click that led to it, is not `accept`."""
    crowd: int
    crowd_accepted: int

    @property
    def recall(self) -> float:
        return self.detected / self.injected if self.injected else 0.0


@dataclass
class _Said:
    """The engine's last word on every event that matters."""

    stage: Stage
    flagged: set[int] = field(default_factory=set)
    """Numbers of events that are not `accept`."""
    uncounted: set[int] = field(default_factory=set)
    uncredited: set[int] = field(default_factory=set)
    """Injected conversions that do not credit the attacker."""
    first_ms: int | None = None

    def take(self, outcomes: Outcomes) -> None:
        for row in outcomes.clicks:
            number = number_of(row.click_id)
            self._click(number, row.verdict, row.counted, row.accept_ms)
        for revised in outcomes.revised:
            number = number_of(revised.click_id)
            self._click(number, revised.verdict, revised.counted, revised.at_ms)
        for conversion in outcomes.conversions:
            self._conversion(conversion)

    def _click(self, number: int, verdict: str, counted: str, at_ms: int) -> None:
        _put(self.flagged, number, verdict != "accept")
        if number >= INJECTED:
            _put(self.uncounted, number, counted != "counted")
            if verdict != "accept" or counted != "counted":
                self._noticed(number, at_ms)

    def _conversion(self, row: list[Any]) -> None:
        number = number_of(row[_CONVERSION])
        _put(self.flagged, number, row[_VERDICT] != "accept")
        if number >= INJECTED:
            is_credited = any(credit[0] == self.stage.partner for credit in row[_CREDITS])
            _put(self.uncredited, number, not is_credited)
            if not is_credited or row[_VERDICT] != "accept":
                self._noticed(number, row[_ACCEPT])

    def _noticed(self, number: int, at_ms: int) -> None:
        if number in self.stage.judged:
            self.first_ms = at_ms if self.first_ms is None else min(self.first_ms, at_ms)

    @property
    def detected(self) -> set[int]:
        return self.flagged | self.uncounted | self.uncredited


def _put(numbers: set[int], number: int, is_in: bool) -> None:
    if is_in:
        numbers.add(number)
    else:
        numbers.discard(number)


def play(
    background: Background,
    attack: Attack | None,
    count: int,
    *,
    seed: int,
    pace: float = 1.0,
    bots: BotList | None = None,
) -> Played:
    """One run: of equal arguments always the same."""
    stage = Stage(background, Random(seed))
    if attack is not None and count:
        attack.play(stage, count, pace)
    said = _Said(stage)
    for outcomes in run(heapq.merge(background.events, sorted(stage.maker.events)), bots):
        said.take(outcomes)
    return _counted(background, stage, said)


def run(events: Iterable[Event], bots: BotList | None) -> Iterable[Outcomes]:
    """What the engine says of events in order of time."""
    feed: Feed | None = None
    for event in events:
        if feed is None:
            begin_ms = min(event.at_ms, BEGIN_MS)
            feed = Feed(begin_ms, [RULES], bots=bots, window_ms=30 * DAY_MS, kinds=KINDS)
        if feed.is_due(event.at_ms):
            yield feed.flush()[0]
        feed.give(event.at_ms, event.raw)
    if feed is not None:
        yield feed.flush()[0]


def _counted(background: Background, stage: Stage, said: _Said) -> Played:
    detected, flagged = said.detected, said.flagged
    honest = sum(number < INJECTED and number not in background.converted for number in flagged)
    buyers = background.converted.items()
    first_s = None
    if said.first_ms is not None:
        begins_ms = min(e.at_ms for e in stage.maker.events if e.number in stage.judged)
        first_s = max(said.first_ms - begins_ms, 0) / 1000
    return Played(
        injected=len(stage.judged),
        detected=len(stage.judged & detected),
        stolen=len(stage.stolen),
        stolen_detected=len(stage.stolen & detected),
        first_detected_s=first_s,
        background=background.clicks,
        background_flagged=honest,
        converters=len(background.converted),
        converters_flagged=sum(own in flagged or click in flagged for own, click in buyers),
        crowd=len(background.crowd),
        crowd_accepted=len(background.crowd - flagged),
    )
