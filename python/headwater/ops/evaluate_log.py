"""An access log: are the bots that say what they are found by what they do?

First pass: the engine judges every user agent of the log; a client (address and agent) whose agent
gets a verdict or a code about it is a declared bot. Second pass: the same page requests as clicks,
with what a redirect server behind a proxy sees of them (address, referrer, time, and the path as
the link), and the agent withheld.

Settled beforehand, not by looking at results:
- A request counts as a click when a person could have made it: GET of a page. Images, styles,
  scripts and the like are loaded by browsers, and no redirect server is asked for them.
- Each client gets one of some browsers by a digest of its name. Nothing of the true agent comes
  through but that two clients of one address are two: a redirect server knows that by its cookie.
- Headers are not told: the log holds none, and its protocol is that of the last proxy.
- A client's score is the mean raw score of its clicks, each as decided when it came. A sum or a
  maximum grows with the number of clicks, so a person who reads much would rank above a bot.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from headwater import limits
from headwater.edge.address import place
from headwater.edge.text import cut
from headwater.model.fraud import scored
from headwater.model.records import Client
from headwater.ops.evaluate_agents import HARD, about_agent
from headwater.ops.evaluate_bots import BotList
from headwater.ops.evaluate_feed import DAY_MS, Feed, Outcomes, network, number_of, plain
from headwater.ops.evaluate_order import Order, Timed, ordered
from headwater.ops.evaluate_read import Faults, Progressed, lines, nobody, require_good
from headwater.ops.evaluate_report import Report, Table, area, bounds
from headwater.ops.evaluate_statistics import Interval, auc, cross_validated
from headwater.ops.replay import COMBINED

_HOUR_MS: Final = 3_600_000
_LOADED_BY_PAGES: Final = re.compile(
    r"\.(?:avif|bmp|css|eot|gif|ico|jpe?g|js|json|map|mp3|mp4|ogg|otf|png|svg|swf|ttf|txt|webm"
    r"|webmanifest|webp|woff2?|xml)$",
    re.IGNORECASE,
)
_MAJORS: Final = 24
_WANTED: Final = "of the combined log format"


class Request(NamedTuple):
    """One line of the log."""

    at_ms: int
    address: str
    agent: str
    referrer: str | None
    method: str
    path: str


def parse(text: str) -> Request:
    """A line. Raises ValueError with what is wrong with it."""
    match = COMBINED.match(text)
    if match is None:
        raise ValueError("not of the combined format")
    try:
        at = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")
    except ValueError:
        raise ValueError("not a time of the combined format") from None
    if at.timestamp() < 0:
        raise ValueError("a time before 1970")
    if match["agent"] is None:
        raise ValueError("without referrer and user agent: the common format")
    method, _, rest = match["request"].partition(" ")
    referrer = match["referrer"]
    return Request(
        int(at.timestamp() * 1000),
        match["address"],
        "" if match["agent"] == "-" else cut(match["agent"], limits.USER_AGENT_BYTES_MAX),
        None if referrer in ("", "-") else cut(referrer, limits.REFERRER_BYTES_MAX),
        method,
        rest.partition(" ")[0],
    )


def is_click(request: Request) -> bool:
    """Whether a person could have made this request by following a link."""
    path = request.path.partition("?")[0]
    return request.method == "GET" and _LOADED_BY_PAGES.search(path) is None


def evaluate(path: Path, bots: BotList, progressed: Progressed = nobody) -> Report:
    """Run the engine over a log. Raises HeadwaterError."""
    faults, order = Faults(), Order()
    agents = judged_agents(_requests(path, faults, order, progressed), bots)
    require_good(path, order.count, faults, _WANTED)
    timed = (
        Timed(request.at_ms, number, text)
        for number, text, request in _parsed(path, Faults(), progressed)
    )
    replayed = _Replayed(order.first_ms, agents)
    for line in ordered(timed, order):
        replayed.take(parse(line.text))
    replayed.finish()
    return _report(order.count, faults, replayed, bots)


def _parsed(
    path: Path, faults: Faults, progressed: Progressed
) -> Iterator[tuple[int, str, Request]]:
    for line in lines(path, faults, progressed):
        try:
            request = parse(line.text)
        except ValueError as error:
            faults.add(line.number, str(error))
            continue
        yield line.number, line.text, request


def _requests(
    path: Path, faults: Faults, order: Order, progressed: Progressed
) -> Iterator[Request]:
    for _, _, request in _parsed(path, faults, progressed):
        order.look(request.at_ms)
        yield request


# ---- First pass ----------------------------------------------------------------------------


class Judged(NamedTuple):
    """What the engine says of an agent alone."""

    is_hard: bool
    is_any: bool


def judged_agents(requests: Iterator[Request], bots: BotList) -> dict[str, Judged]:
    """The engine's word on every agent there is, each from an address of its own."""
    found: dict[str, Judged] = {}
    waiting: dict[int, str] = {}
    begin_ms = DAY_MS
    feed = Feed(begin_ms, bots=bots)

    def take(outcomes: Outcomes) -> None:
        for row in outcomes.clicks:
            is_hard = row.verdict in HARD
            about = about_agent(scored(row.fraud))
            found[waiting.pop(number_of(row.click_id))] = Judged(is_hard, is_hard or bool(about))

    known: set[str] = set()
    for request in requests:
        if request.agent in known:
            continue
        known.add(request.agent)
        at_ms = begin_ms + 1000 * len(known)
        event = feed.click(at_ms, plain(request.agent, f"agent {len(known)}", at_ms))
        waiting[number_of(event)] = request.agent
        if feed.is_full:
            take(feed.flush()[0])
    take(feed.flush()[0])
    return found


# ---- Second pass ---------------------------------------------------------------------------


@dataclass
class Visits:
    """One client, as the engine scored it and as a regression may see it."""

    judged: Judged
    clicks: int = 0
    raw_ppm: int = 0
    without_referrer: int = 0
    in_hour: int = 0
    """The most clicks its address had made in an hour when it clicked."""
    in_day: int = 0
    quick: int = 0
    """Clicks within two seconds of the last."""
    repeated: int = 0
    """Clicks on the link of the last."""
    last_ms: int = -1
    last_path: str = ""

    def features(self) -> list[float]:
        """What the engine's score is made of, as numbers for a regression."""
        return [
            self.without_referrer / self.clicks,
            math.log(self.clicks),
            math.log(self.in_hour),
            math.log(self.in_day),
            self.quick / self.clicks,
            self.repeated / self.clicks,
        ]


class _Replayed:
    """The log's clicks through an engine, with the agents withheld."""

    def __init__(self, begin_ms: int, agents: dict[str, Judged]) -> None:
        self._agents = agents
        self._feed = Feed(begin_ms)
        self._waiting: dict[int, Visits] = {}
        self._hours: dict[tuple[str, int], int] = {}
        self._days: dict[tuple[str, int], int] = {}
        self.clients: dict[tuple[str, str], Visits] = {}

    def take(self, request: Request) -> None:
        """One line of the log, in order of time."""
        name = (request.address, request.agent)
        visits = self.clients.get(name)
        if visits is None:
            visits = self.clients[name] = Visits(self._agents[request.agent])
        if not is_click(request):
            return
        if self._feed.is_due(request.at_ms):
            self._flush()
        self._note(visits, request)
        seen = place(request.address)
        event = self._feed.click(
            request.at_ms,
            Client(
                seen.prefix if seen else None,
                neutral_agent(name),
                request.referrer,
                network(request.address, request.at_ms),
                None,
            ),
            link=zlib.crc32(request.path.encode("utf-8", "replace")) + 1,
        )
        self._waiting[number_of(event)] = visits

    def _note(self, visits: Visits, request: Request) -> None:
        hour = (request.address, request.at_ms // _HOUR_MS)
        day = (request.address, request.at_ms // DAY_MS)
        self._hours[hour] = self._hours.get(hour, 0) + 1
        self._days[day] = self._days.get(day, 0) + 1
        visits.clicks += 1
        visits.without_referrer += request.referrer is None
        visits.in_hour = max(visits.in_hour, self._hours[hour])
        visits.in_day = max(visits.in_day, self._days[day])
        visits.quick += visits.last_ms >= 0 and request.at_ms - visits.last_ms <= 2000
        visits.repeated += request.path == visits.last_path
        visits.last_ms, visits.last_path = request.at_ms, request.path

    def _flush(self) -> None:
        for row in self._feed.flush()[0].clicks:
            self._waiting.pop(number_of(row.click_id)).raw_ppm += row.raw_ppm

    def finish(self) -> None:
        """The rest of what is on its way."""
        self._flush()


def neutral_agent(name: tuple[str, str]) -> str:
    """A browser for a client, the same whenever it comes, that tells nothing of its true agent."""
    drawn = hashlib.blake2b("\0".join(name).encode("utf-8", "replace"), digest_size=4).digest()
    major = 120 + int.from_bytes(drawn, "big") % _MAJORS
    return (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{major}.0.0.0 Safari/537.36"
    )


# ---- Report --------------------------------------------------------------------------------


def _report(read: int, faults: Faults, replayed: _Replayed, bots: BotList) -> Report:
    clients = list(replayed.clients.values())
    ranked = [visits for visits in clients if visits.clicks]
    labels = [visits.judged.is_any for visits in ranked]
    means = [visits.raw_ppm / visits.clicks for visits in ranked]
    by_any = auc(means, labels)
    by_hard = auc(means, [visits.judged.is_hard for visits in ranked])
    ceiling = _ceiling(ranked, labels)
    figures: dict[str, Any] = {
        "auc": by_any.value,
        "auc_interval": bounds(by_any),
        "auc_ceiling": ceiling.value,
        "auc_ceiling_interval": bounds(ceiling),
        "auc_hard": by_hard.value,
        "auc_hard_interval": bounds(by_hard),
        "clients": len(clients),
        "clients_ranked": len(ranked),
        "bots": sum(visits.judged.is_any for visits in clients),
        "bots_hard": sum(visits.judged.is_hard for visits in clients),
        "bots_ranked": sum(labels),
        "clicks": sum(visits.clicks for visits in ranked),
        "bot_list": {"version": bots.version, "patterns": len(bots.patterns)},
    }
    rows = [
        ("auc", area(by_any)),
        ("auc, bots with a hard verdict only", area(by_hard)),
        ("auc_ceiling", area(ceiling)),
        ("clients", str(len(clients))),
        ("... of them with a click, ranked", str(len(ranked))),
        ("... of them declared bots", str(sum(labels))),
        ("clicks", str(figures["clicks"])),
    ]
    notes = [
        "declared bots: clients (address and user agent) whose agent gets a hard verdict or a code "
        "about it that counts; then the agents are withheld",
        "a client's score is the mean raw score of its clicks; clicks are requests of pages, which "
        "a person can make by following a link",
        "auc_ceiling: logistic regression, five folds, on what the score is made of, by client",
    ]
    return Report(read, faults, figures, [Table("Access log", ("figure", "value"), rows)], notes)


def _ceiling(ranked: list[Visits], labels: list[bool]) -> Interval:
    # A class must have members in every fold that is learned from.
    if min(sum(labels), len(labels) - sum(labels)) < 5:
        return Interval(None, None, None)
    return auc(cross_validated([visits.features() for visits in ranked], labels), labels)
