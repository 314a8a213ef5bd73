"""Generated background traffic: people who come, come again, share addresses, and buy.

Nothing in it is fraud, so everything flagged in it is a false alarm. Of equal arguments it is
always the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Final, NamedTuple

from bench.fraud.browsers import Browser, draw, request
from bench.fraud.events import (
    BEGIN_MS,
    CHECKOUT,
    DAY_MS,
    HOUR_MS,
    LEAD,
    SALE,
    Event,
    Maker,
    Visit,
    caller,
    email,
    visitor,
)

from headwater import ids
from headwater.model.records import Flag, NetworkFlag
from headwater.ops.evaluate_feed import number_of

DAYS: Final = 5
PARTNERS: Final = 24
_LINKS: Final = 6
_SUBS: Final = 5
_VISITS_KEPT: Final = 20_000
_LISTS: Final = int(
    NetworkFlag.STRICT_LOADED
    | NetworkFlag.BROAD_LOADED
    | NetworkFlag.VPN_LOADED
    | NetworkFlag.TOR_LOADED
    | NetworkFlag.CRAWLERS_LOADED
)


@dataclass
class Background:
    """Traffic that nobody made up to steal, and what of it an attacker can see and use."""

    name: str
    begin_ms: int
    end_ms: int
    partners: int
    clicks: int
    events: list[Event]
    visits: list[Visit]
    """A sample of the clicks, in order of time."""
    converted: dict[int, int] = field(default_factory=dict)
    """Of each conversion its number, and that of the click that led to it."""
    crowd: set[int] = field(default_factory=set)
    """Numbers of the clicks of a crowd behind one address."""


@dataclass
class _Person:
    browser: Browser
    address: str
    cookie: str
    keeps_cookie: bool
    flags: int
    is_crowd: bool


class Crowd(NamedTuple):
    """People behind the addresses of a carrier."""

    share: float = 0.05
    """Of all people."""
    addresses: int = 3


CARRIERS: Final = Crowd()


class _World:
    def __init__(self, seed: int, clicks: int, crowd: Crowd, days: int) -> None:
        self.random = Random(seed)
        self.clicks = clicks
        self.days = days
        self._carrier = crowd
        self.maker = Maker(1)
        self.visits: list[Visit] = []
        self.made = 0
        self.converted: dict[int, int] = {}
        self.crowd: set[int] = set()
        self._people = 0
        self._partner_sums = list(accumulate(1 / (1 + n) ** 0.9 for n in range(PARTNERS)))
        # How often a click on a partner's links leads to a sale: some are far better than others.
        self._rates = [self.random.lognormvariate(math.log(0.03), 0.5) for _ in range(PARTNERS)]
        # One partner's newsletter goes out at a time: an hour with many clicks.
        self._bursts = [
            (self.random.randrange(PARTNERS), self._moment_ms()) for _ in range(2 * days)
        ]

    def run(self) -> Background:
        while self.made < self.clicks:
            self._live(self._person())
        events = sorted(self.maker.events)
        return Background(
            "generated",
            BEGIN_MS,
            BEGIN_MS + self.days * DAY_MS,
            PARTNERS,
            self.made,
            events,
            sorted(self.visits),
            self.converted,
            self.crowd,
        )

    # ---- People ------------------------------------------------------------------------

    def _person(self) -> _Person:
        random = self.random
        self._people += 1
        drawn = random.random()
        share = self._carrier.share
        if drawn < share:
            # A carrier's: thousands of people behind a handful of addresses.
            address = f"100.64.0.{1 + random.randrange(self._carrier.addresses)}"
        elif drawn < share + 0.12:
            # An office, a school, a café: some dozens behind one.
            address = _address(3_000_000 + random.randrange(max(self.clicks // 150, 1)))
        else:
            # At home: two or three.
            address = _address(random.randrange(max(self.clicks // 4, 1)))
        flags = _LISTS
        if random.random() < 0.015:
            flags |= int(NetworkFlag.VPN)
        elif random.random() < 0.003:
            flags |= int(NetworkFlag.DATACENTRE_BROAD)
        keeps = random.random() < 0.85
        name = f"person {self._people}"
        return _Person(draw(random), address, name, keeps, flags, drawn < share)

    def _moment_ms(self) -> int:
        """A time: more by day than by night."""
        random = self.random
        while True:
            place = random.random() * self.days
            if random.random() < 0.55 + 0.45 * math.sin(2 * math.pi * (place - 0.3)):
                return BEGIN_MS + int(place * DAY_MS)

    def _live(self, person: _Person) -> None:
        """All that a person does."""
        random = self.random
        at_ms = self._moment_ms()
        partner = self._partner()
        if random.random() < 0.12:
            partner, burst_ms = random.choice(self._bursts)
            at_ms = burst_ms + int(random.expovariate(1 / 1.5) * HOUR_MS)
        number = 0
        while at_ms < BEGIN_MS + self.days * DAY_MS - HOUR_MS:
            number += 1
            cookie = person.cookie if person.keeps_cookie else f"{person.cookie} {number}"
            is_new = number == 1 or not person.keeps_cookie
            if self._visit(person, at_ms, partner, cookie, is_new=is_new) or random.random() < 0.55:
                return
            at_ms += int(random.expovariate(1 / 14) * HOUR_MS) + 60_000
            if random.random() < 0.5:
                partner = self._partner()

    def _partner(self) -> int:
        drawn = self.random.random() * self._partner_sums[-1]
        return next(number for number, total in enumerate(self._partner_sums) if drawn < total)

    # ---- What they do ------------------------------------------------------------------

    def _visit(
        self, person: _Person, at_ms: int, partner: int, cookie: str, *, is_new: bool
    ) -> bool:
        """A click and what follows; whether the person bought."""
        random = self.random
        link = 10 * partner + random.randrange(_LINKS) + 1
        click = self._click(person, at_ms, partner, link, cookie, is_new=is_new)
        if random.random() < 0.04:
            again_ms = at_ms + random.randrange(200, 2500)
            self._click(person, again_ms, partner, link, cookie, is_new=False)
        if random.random() >= self._rates[partner]:
            return False
        minutes = random.lognormvariate(math.log(9), 1.3)
        done_ms = at_ms + int(max(minutes, 0.4) * 60_000)
        self._buy(person, done_ms, cookie, click)
        return True

    def _click(
        self, person: _Person, at_ms: int, partner: int, link: int, cookie: str, *, is_new: bool
    ) -> bytes:
        random = self.random
        referrer = f"https://blog{partner}.example/" if random.random() < 0.75 else None
        client = caller(
            person.address,
            at_ms,
            person.browser.agent,
            referrer,
            request(random, person.browser),
            person.flags,
        )
        known = visitor(cookie)
        sub = f"place {random.randrange(_SUBS)}"
        event = self.maker.click(
            *(at_ms, client, known),
            partner=partner + 1,
            link=link,
            sub=sub,
            flags=int(Flag.NEW_VISITOR) if is_new else 0,
        )
        self.made += 1
        if person.is_crowd:
            self.crowd.add(self.maker.events[-1].number)
        if self.made * _VISITS_KEPT % max(self.clicks, 1) < _VISITS_KEPT:
            where = (person.address, partner + 1, link, sub)
            self.visits.append(Visit(at_ms, event, client, known, *where))
        return event

    def _buy(self, person: _Person, at_ms: int, cookie: str, click: bytes) -> None:
        random = self.random
        started_ms = at_ms - random.randrange(15_000, 300_000)
        clicked_ms = ids.event_id_ms(click)
        started_ms = max(started_ms, clicked_ms + 4000)
        kind = LEAD if random.random() < 0.3 else SALE
        known = visitor(cookie)
        if kind == SALE:
            self.maker.page_view(started_ms, CHECKOUT, known)
        else:
            known += email(person.cookie)
        client = caller(person.address, at_ms, person.browser.agent, flags=person.flags)
        self.maker.conversion(
            max(at_ms, started_ms + 5000),
            known,
            click_id=click if random.random() < 0.6 else None,
            kind=kind,
            client=client,
            is_disposable=random.random() < 0.01,
            started_ms=started_ms,
        )
        self.converted[self.maker.events[-1].number] = number_of(click)


def _address(number: int) -> str:
    return f"{11 + number // 16_777_216}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def generate(seed: int, clicks: int, crowd: Crowd = CARRIERS, *, days: int = DAYS) -> Background:
    """The background of so many clicks."""
    return _World(seed, clicks, crowd, days).run()
