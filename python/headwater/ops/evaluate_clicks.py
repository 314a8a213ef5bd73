"""A click log in the layout of TalkingData's competition: how clicks that convert are told apart.

What is measured is non-conversion, not fraud: hardly any of the clicks that do not convert are
fraudulent. A program, whose partners are the log's apps and whose `sub1` is the channel; so a
source, as the engine knows it, is an app's channel. The address is the log's `ip`, the user agent
a browser made of device and system. Everything is fed in order of time, a conversion when it
happened, and a click counts with the score it got when it came: the past alone speaks.

`auc_velocity` is of an engine in which only the velocity signals are on; in the engine of
`auc_source` those of sources are as well that speak of clicks without conversions. The first part
of the file teaches and is not ranked, as in the figures published of this layout.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

from headwater.model.records import Client
from headwater.model.signals import signals
from headwater.ops.evaluate_bots import BotList
from headwater.ops.evaluate_feed import DAY_MS, Feed, network, number_of
from headwater.ops.evaluate_order import Order, Timed, ordered
from headwater.ops.evaluate_read import Faults, Progressed, lines, nobody, require_good
from headwater.ops.evaluate_report import Report, Table, area, bounds
from headwater.ops.evaluate_statistics import Interval, Ranked, quantiles

COLUMNS: Final = (
    *("ip", "app", "device", "os", "channel"),
    *("click_time", "attributed_time", "is_attributed"),
)
QUANTILES: Final[Mapping[str, float]] = {
    "p1": 0.01,
    "p5": 0.05,
    "p10": 0.1,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "max": 1.0,
}
SOURCE_RULES: Final = frozenset({"SOURCE_QUALITY", "CLICK_FLOODING"})
TEACHING_SHARE: Final = 0.6
_WINDOW_MS: Final = 7 * DAY_MS
_NUMBER_DIGITS_MAX: Final = 15
_WANTED: Final = f"of the layout {','.join(COLUMNS)}"


class Row(NamedTuple):
    """One click; when it converted, if it did."""

    ip: int
    app: int
    device: int
    os: int
    channel: int
    click_ms: int
    attributed_ms: int | None


def parse(text: str) -> Row:
    """A line. Raises ValueError with what is wrong with it."""
    fields = text.split(",")
    if len(fields) != len(COLUMNS):
        raise ValueError(f"{len(fields)} fields and not {len(COLUMNS)}")
    ip, app, device, system, channel, clicked, attributed, is_attributed = fields
    if is_attributed not in ("0", "1"):
        raise ValueError("is_attributed is neither 0 nor 1")
    numbers = (_number(ip), _number(app), _number(device), _number(system), _number(channel))
    click_ms = _time_ms(clicked)
    attributed_ms = None
    if is_attributed == "1":
        attributed_ms = _time_ms(attributed)
        if attributed_ms < click_ms:
            raise ValueError("attributed_time is before click_time")
    return Row(*numbers, click_ms, attributed_ms)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _NUMBER_DIGITS_MAX:
        raise ValueError("not a number where one is needed")
    return int(text)


_days_ms: dict[str, int] = {}


def _time_ms(text: str) -> int:
    """Milliseconds of `2017-11-07 09:30:38`, UTC."""
    if len(text) != 19 or text[10] != " " or text[13] != ":" or text[16] != ":":
        raise ValueError("not a time such as 2017-11-07 09:30:38")
    day_ms = _days_ms.get(text[:10])
    if day_ms is None:
        day_ms = (date.fromisoformat(text[:10]) - date(1970, 1, 1)).days * DAY_MS
        if day_ms < DAY_MS:
            raise ValueError("a time before 1970")
        # A file of nothing but different days must not fill the memory.
        if len(_days_ms) < 10_000:
            _days_ms[text[:10]] = day_ms
    hour, minute, second = _number(text[11:13]), _number(text[14:16]), _number(text[17:])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("not a time of the day")
    return day_ms + 1000 * (3600 * hour + 60 * minute + second)


def evaluate(path: Path, bots: BotList, progressed: Progressed = nobody) -> Report:
    """Run both engines over a click log. Raises HeadwaterError."""
    faults, order = Faults(), Order()
    delays_ms = array("Q")
    for _, row in _parsed(path, faults, progressed):
        order.look(row.click_ms)
        if row.attributed_ms is not None:
            delays_ms.append(row.attributed_ms - row.click_ms)
    require_good(path, order.count, faults, _WANTED)
    run = _Run(order, bots)
    timed = (
        Timed(row.click_ms, line.number, line.text)
        for line, row in _parsed(path, Faults(), progressed)
    )
    for line in ordered(timed, order):
        run.click(parse(line.text))
    run.finish()
    return _report(order.count, faults, run, quantiles(delays_ms, QUANTILES), len(delays_ms))


def _parsed(path: Path, faults: Faults, progressed: Progressed) -> Iterator[tuple[Any, Row]]:
    for line in lines(path, faults, progressed):
        if line.number == 1 and line.text.split(",")[0].strip() == COLUMNS[0]:
            if tuple(line.text.strip().split(",")) != COLUMNS:
                faults.add(1, f"the columns are not {','.join(COLUMNS)}")
            continue
        try:
            row = parse(line.text)
        except ValueError as error:
            faults.add(line.number, str(error))
            continue
        yield line, row


# ---- Engines -------------------------------------------------------------------------------


def rules_on(is_on: Callable[[str], bool]) -> dict[str, Any]:
    """A program's fraud rules with all signals off but some."""
    return {"rules": {code: {"mode": "off"} for code in signals() if not is_on(code)}}


def velocity_only() -> dict[str, Any]:
    return rules_on(lambda code: signals()[code].family == "velocity")


def velocity_and_sources() -> dict[str, Any]:
    """Not those that speak against sources whose clicks do convert, too often or in odd times:
    they are right or wrong about fraud, and say the contrary of this file's label."""
    return rules_on(lambda code: signals()[code].family == "velocity" or code in SOURCE_RULES)


class _Run:
    """The log through two engines, and where each click ranks in them."""

    def __init__(self, order: Order, bots: BotList) -> None:
        self._feed = Feed(
            order.first_ms,
            [velocity_only(), velocity_and_sources()],
            bots=bots,
            window_ms=_WINDOW_MS,
        )
        self._teaching = int(TEACHING_SHARE * order.count)
        self._seen = 0
        # Of each click in flight: whether it is ranked, whether it converts.
        self._waiting: dict[int, tuple[bool, bool]] = {}
        self._due: list[tuple[int, bytes]] = []
        self.ranked = [Ranked(), Ranked()]
        self.whole = [Ranked(), Ranked()]

    def click(self, row: Row) -> None:
        """A click, after all conversions before it."""
        while self._due and self._due[0][0] <= row.click_ms:
            self._convert()
        self._make_room(row.click_ms)
        event = self._feed.click(
            row.click_ms,
            Client(None, agent(row.device, row.os), None, network(str(row.ip), row.click_ms)),
            partner=row.app + 1,
            params={"sub1": str(row.channel)},
        )
        is_converted = row.attributed_ms is not None
        self._waiting[number_of(event)] = (self._seen >= self._teaching, is_converted)
        self._seen += 1
        if row.attributed_ms is not None:
            heapq.heappush(self._due, (row.attributed_ms, event))

    def _convert(self) -> None:
        at_ms, click_id = heapq.heappop(self._due)
        self._make_room(at_ms)
        self._feed.conversion(at_ms, order=f"order {number_of(click_id)}", click_id=click_id)

    def _make_room(self, at_ms: int) -> None:
        if self._feed.is_due(at_ms):
            self._take()

    def _take(self) -> None:
        for which, outcomes in enumerate(self._feed.flush()):
            for row in outcomes.clicks:
                is_ranked, is_converted = self._waiting[number_of(row.click_id)]
                self.whole[which].add(row.raw_ppm, not is_converted)
                if is_ranked:
                    self.ranked[which].add(row.raw_ppm, not is_converted)
        self._waiting = {}

    def finish(self) -> None:
        """The rest of what is on its way. Conversions after the last click teach nobody."""
        self._take()


def agent(device: int, system: int) -> str:
    """A browser of a device and a system: another one for any other two."""
    return (
        f"Mozilla/5.0 (Linux; Android {system}; D{device}) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{60 + system % 80}.0.0.0 Mobile Safari/537.36"
    )


# ---- Report --------------------------------------------------------------------------------


def _report(
    read: int, faults: Faults, run: _Run, delays_ms: dict[str, float | None], conversions: int
) -> Report:
    # A short file may have no conversion after its first part: then all of it is ranked.
    is_part = all(ranked.positives and ranked.negatives for ranked in run.ranked)
    velocity, source = (ranked.auc() for ranked in (run.ranked if is_part else run.whole))
    whole = [ranked.auc() for ranked in run.whole]
    seconds = {name: None if ms is None else ms / 1000 for name, ms in delays_ms.items()}
    first = run.ranked[0] if is_part else run.whole[0]
    figures: dict[str, Any] = {
        "label": "non-conversion AUC (not fraud recall)",
        "auc_velocity": velocity.value,
        "auc_velocity_interval": bounds(velocity),
        "auc_source": source.value,
        "auc_source_interval": bounds(source),
        "auc_velocity_whole_file": whole[0].value,
        "auc_source_whole_file": whole[1].value,
        "ctit_seconds": seconds,
        "clicks": read,
        "conversions": conversions,
        "ranked": {
            "after_share": TEACHING_SHARE if is_part else 0.0,
            "clicks": first.positives + first.negatives,
            "conversions": first.negatives,
        },
    }
    rows = [
        ("auc_velocity", area(velocity)),
        ("auc_source", area(source)),
        ("... of the whole file", f"{_area(whole[0])}, {_area(whole[1])}"),
        ("clicks ranked", str(first.positives + first.negatives)),
        ("... of them converted", str(first.negatives)),
    ]
    times = [(name, "none" if value is None else f"{value:g}") for name, value in seconds.items()]
    notes = [
        "non-conversion AUC (not fraud recall): how far clicks that convert rank below those that "
        "do not",
        "auc_velocity: velocity signals alone; auc_source: with "
        + " and ".join(sorted(SOURCE_RULES)),
    ]
    tables = [
        Table("Non-conversion AUC", ("figure", "value, 95 %"), rows),
        Table("From click to conversion, seconds", ("quantile", "seconds"), times),
    ]
    return Report(read, faults, figures, tables, notes)


def _area(interval: Interval) -> str:
    return "none" if interval.value is None else f"{interval.value:.3f}"
