"""The twelve attacks: what is injected, at what pace, and what of it is judged.

Each attack is a function of a stage (background, seeded stream, maker of events), of how many
events to inject, and of a pace: 1 is how such attacks are usually run, 2 is half as fast. The
events that are judged are those the attacker would be paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

from bench.fraud.browsers import RARE, draw, request
from bench.fraud.events import (
    DAY_MS,
    HOUR_MS,
    INJECTED,
    Maker,
    Visit,
    caller,
    visitor,
)
from bench.fraud.world import DAYS, Background

from headwater.model.records import Client, Flag

NEW: Final = int(Flag.NEW_VISITOR)


@dataclass
class Stage:
    """Where an attack is played."""

    background: Background
    random: Random
    maker: Maker = field(default_factory=lambda: Maker(INJECTED))
    judged: set[int] = field(default_factory=set)
    """Numbers of the injected clicks or conversions that are the attack."""
    stolen: set[int] = field(default_factory=set)
    """Numbers of true conversions whose credit the attack is after, where these are few beside
    the clicks that are judged."""

    @property
    def partner(self) -> int:
        """The attacker: one of the middling partners, with honest clicks of its own."""
        return min(self.background.partners, 6)

    def begin_ms(self, span_ms: int) -> int:
        """When an attack of that length begins: there is traffic to compare with before it, and
        it ends in time."""
        known = self.background
        latest = known.end_ms - span_ms - HOUR_MS
        wanted = known.begin_ms + (known.end_ms - known.begin_ms) * 6 // 10
        return max(min(wanted + self.random.randrange(HOUR_MS), latest), known.begin_ms)

    @property
    def longest_ms(self) -> int:
        """The time an attack may take at most."""
        return (self.background.end_ms - self.background.begin_ms) * 4 // 5

    def judge(self) -> None:
        """The event made last is one that counts."""
        self.judged.add(self.maker.events[-1].number)

    def steal(self) -> None:
        """The conversion made last is one whose credit the attack is after."""
        self.stolen.add(self.maker.events[-1].number)

    def victims(self, count: int) -> list[Visit]:
        """Visits of the background, drawn at random, in order of time."""
        known = self.background.visits
        return sorted(self.random.choices(known[: len(known) * 9 // 10], k=count))


class Attack(NamedTuple):
    """One kind of attack."""

    name: str
    play: Callable[[Stage, int, float], None]
    what: str
    says: Callable[[float], str] | None = None
    """What a pace means, for a reader; None: the attack has no pace."""


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def spread_over(hours: float) -> Callable[[float], str]:
    """What is done in so many hours at pace 1, at most in the time there is."""
    longest = 0.8 * 24 * DAYS
    return lambda pace: f"spread over {duration(3600 * min(hours * pace, longest))}"


def span_of(stage: Stage, count: int, gap_ms: float) -> tuple[int, int]:
    """Count and length of a row of events so far apart, cut to the time there is."""
    fitting = max(int(stage.longest_ms / gap_ms), 4)
    made = min(count, fitting)
    return made, int(made * gap_ms)


# ---- Clicks --------------------------------------------------------------------------------


def flood(stage: Stage, count: int, pace: float) -> None:
    """A script at one address; no cookies."""
    random = stage.random
    count, span_ms = span_of(stage, count, 12_000 * pace)
    begin_ms = stage.begin_ms(span_ms)
    browser = draw(random)
    address = f"45.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"
    for number, at_ms in enumerate(_times(random, begin_ms, span_ms, count)):
        client = caller(address, at_ms, browser.agent, None, request(random, browser))
        link = 10 * stage.partner + random.randrange(6)
        _click(stage, at_ms, client, f"flood {number}", link, "flood", NEW)


def botnet(stage: Stage, count: int, pace: float) -> None:
    """Four clicks from each of many addresses, all with the same old browser."""
    random = stage.random
    count, span_ms = span_of(stage, count, max(4 * HOUR_MS / count, 1) * pace)
    begin_ms = stage.begin_ms(span_ms)
    addresses = [
        f"{random.randrange(60, 90)}.{random.randrange(256)}.{random.randrange(256)}.7"
        for _ in range(max(count // 4, 1))
    ]
    for number, at_ms in enumerate(_times(random, begin_ms, span_ms, count)):
        address = addresses[number % len(addresses)]
        client = caller(address, at_ms, RARE.agent, _page(stage), request(random, RARE))
        link = 10 * stage.partner + random.randrange(6)
        _click(stage, at_ms, client, f"botnet {number}", link, "botnet", NEW)


def metronome(stage: Stage, count: int, pace: float) -> None:
    """Machines that click by a timer, a minute apart, cookies and all."""
    random = stage.random
    gap_ms = 60_000 * pace
    fitting = max(int(stage.longest_ms / 2 / gap_ms), 6)
    machines = -(-count // fitting)
    for machine in range(machines):
        made = min(fitting, count - machine * fitting)
        begin_ms = stage.begin_ms(int(made * gap_ms))
        browser = draw(random)
        address = f"91.{machine >> 8 & 255}.{machine & 255}.{random.randrange(256)}"
        for number in range(made):
            at_ms = begin_ms + int(number * gap_ms) + random.randrange(400)
            client = caller(address, at_ms, browser.agent, _page(stage), request(random, browser))
            link = 10 * stage.partner + number % 6
            _click(stage, at_ms, client, f"machine {machine}", link, "timer", NEW * (not number))


def replay(stage: Stage, count: int, pace: float) -> None:
    """True clicks sent again, all alike, 0.2 to 8 seconds later."""
    for visit in stage.victims(count):
        at_ms = visit.at_ms + int(stage.random.uniform(200, 8000) * pace)
        stage.maker.click(
            *(at_ms, visit.client, visit.identifiers),
            partner=visit.partner,
            link=visit.link,
            sub=visit.sub,
        )
        stage.judge()


def prefetch_storm(stage: Stage, count: int, pace: float) -> None:
    """A page that has browsers fetch the links ahead, which nobody then follows."""
    random = stage.random
    for at_ms, victim in _spread(stage, count, pace):
        browser = draw(random)
        asked = request(random, browser, purpose="prefetch", is_clicked=False)
        client = caller(victim.address, at_ms, browser.agent, _page(stage), asked)
        flags = int(Flag.PREFETCH) | NEW
        _click(stage, at_ms, client, f"ahead {at_ms}", 10 * stage.partner, "prefetch", flags)


def iframe_stuffing(stage: Stage, count: int, pace: float) -> None:
    """Links in invisible frames of a page that people look at."""
    random = stage.random
    for at_ms, victim in _spread(stage, count, pace):
        browser = draw(random)
        asked = request(random, browser, dest="iframe", is_clicked=False)
        client = caller(victim.address, at_ms, browser.agent, _page(stage), asked)
        _click(stage, at_ms, client, f"framed {at_ms}", 10 * stage.partner, "frame", NEW)


def image_click(stage: Stage, count: int, pace: float) -> None:
    """Links as the source of images."""
    random = stage.random
    for at_ms, victim in _spread(stage, count, pace):
        browser = draw(random)
        asked = request(random, browser, dest="image", mode="no-cors", is_clicked=False)
        client = caller(victim.address, at_ms, browser.agent, _page(stage), asked)
        _click(stage, at_ms, client, f"image {at_ms}", 10 * stage.partner, "image", NEW)


def _click(
    stage: Stage, at_ms: int, client: Client, cookie: str, link: int, sub: str, flags: int
) -> None:
    stage.maker.click(
        *(at_ms, client, visitor(cookie)),
        partner=stage.partner,
        link=link,
        sub=sub,
        flags=flags,
    )
    stage.judge()


def _page(stage: Stage) -> str:
    return f"https://blog{stage.partner - 1}.example/"


def _times(random: Random, begin_ms: int, span_ms: int, count: int) -> list[int]:
    return sorted(begin_ms + random.randrange(max(span_ms, 1)) for _ in range(count))


def _spread(stage: Stage, count: int, pace: float) -> list[tuple[int, Visit]]:
    """Moments of half a day times the pace, each with a visitor of the background."""
    span_ms = min(int(DAY_MS / 2 * pace), stage.longest_ms)
    times = _times(stage.random, stage.begin_ms(span_ms), span_ms, count)
    return list(zip(times, stage.victims(count), strict=True))
