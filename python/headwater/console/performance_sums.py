"""The rows of a performance report, read part by part: no more of them than a page takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from headwater.console.performance_shapes import DAY
from headwater.ledger import rollup_reads
from headwater.ledger.engine import Ledger
from headwater.ledger.rollup_reads import (
    DAY_QUARTERS,
    QUARTER_MS,
    SPAN_QUARTERS,
    Groups,
    Reading,
    Scope,
    Sums,
    TooManyCells,
)

# Partners that are read together at most: they are names of one statement's parameters, beside
# those of programs.
_PARTNERS_MAX: Final = 250
# Of what has been read, how much more at once.
_GROWTH: Final = 4
# Behind every row of a day, before those of the next.
_DAY_END: Final = "~"

Key = tuple[Any, ...]
Found = list[tuple[Key, Sums]]


class Asked(NamedTuple):
    """A report that was asked for, checked against the ledger."""

    groups: Sequence[str]
    """As asked, days first."""
    timezone: str
    first: int
    """In quarter hours, as `end`."""
    end: int
    program: int | None
    brand: int | None
    only: Mapping[str, Any]

    @property
    def is_by_partner(self) -> bool:
        """Whether it is read some partners at a time."""
        is_first = bool(self.groups) and self.groups[0] == "partner" and "partner" not in self.only
        # Links are few, and read at once.
        return is_first and not {"partner", "program", "link"}.issuperset(self.groups)

    def takes(self, after: Key) -> bool:
        """Whether a page of it can begin behind a key, or behind a day or partners whole."""
        if not after:
            return False
        if len(after) == len(self.groups):
            return True
        kind = str if DAY in self.groups else int
        is_part = DAY in self.groups or self.is_by_partner
        return is_part and len(after) == 1 and isinstance(after[0], kind)


class Part(NamedTuple):
    """Rows in their order, and behind what key the following ones are."""

    rows: Found
    after: Key | None


def total_of(ledger: Ledger, asked: Asked) -> Sums:
    """Raises TooManyCells."""
    with ledger.read() as connection:
        reading = Reading(connection)
        scope = _scope(connection, reading, asked, ())
        return reading.grouped(scope, asked.first, asked.end).get((), Sums())


def page_of(ledger: Ledger, asked: Asked, after: Key | None, count: int) -> Part:
    """Rows behind a key, no more than so many, and what the next page begins behind. It may have
    fewer, or none, and others follow: where more would be read than one answer may.

    Raises TooManyCells when not even one day, or few partners, can be read.
    """
    rows, following = gathered(ledger, asked, after, count + 1)
    if len(rows) > count:
        return Part(rows[:count], rows[count - 1][0])
    return Part(rows, following)


def gathered(ledger: Ledger, asked: Asked, after: Key | None, enough: int) -> Part:
    """As `page_of`, with the whole part in which there are enough rows."""
    found: Found = []
    following: Key | None = None
    with ledger.read() as connection:
        parts = _parts(connection, asked, after, enough)
        try:
            for part in parts:
                found += [each for each in part.rows if after is None or each[0] > after]
                following = part.after
                if len(found) >= enough:
                    break
        except TooManyCells:
            if following is None:
                raise
    return Part(found, following)


def _scope(connection: Any, reading: Reading, asked: Asked, groups: Sequence[str]) -> Scope:
    """Of a partner the programs alone in which anything came of it: in the others it would be
    looked for in vain, quarter hour by quarter hour.
    """
    marks = rollup_reads.marks_of(connection, program=asked.program, brand=asked.brand)
    scope = Scope(marks, groups, asked.only)
    if "partner" not in asked.only:
        return scope
    of_partner = replace(scope, groups=("program",), only={"partner": asked.only["partner"]})
    # Whole spans and days are the fewest cells; what is not over has none of its own.
    first, end = asked.first - asked.first % SPAN_QUARTERS, asked.end + -asked.end % DAY_QUARTERS
    found = reading.grouped(of_partner, first, end)
    return _narrowed(scope, {program for (program,) in found}, scope.only)


def _narrowed(scope: Scope, programs: set[int], only: Mapping[str, Any]) -> Scope:
    marks = {program: mark for program, mark in scope.marks.items() if program in programs}
    return replace(scope, marks=marks, only=only)


def _parts(connection: Any, asked: Asked, after: Key | None, enough: int) -> Iterator[Part]:
    reading = Reading(connection)
    inner = [each for each in asked.groups if each != DAY]
    scope = _scope(connection, reading, asked, inner)
    if DAY in asked.groups:
        yield from _of_days(reading, asked, scope, str(after[0]) if after else "", enough)
    elif asked.is_by_partner:
        yield from _of_partners(reading, asked, scope, after[0] if after else 0, enough)
    else:
        yield Part(_ordered(reading.grouped(scope, asked.first, asked.end)), None)


def _following(done: int, rows: int, enough: int) -> int:
    """How many days or partners to read next when some gave so many rows: at least one."""
    wanted = -(-(enough - rows) * done // max(rows, 1))
    return max(1, min(_GROWTH * done, wanted))


def _ordered(groups: Groups) -> Found:
    return [(key, groups[key]) for key in sorted(groups)]


# ---- Partners ------------------------------------------------------------------------------


def _of_partners(
    reading: Reading, asked: Asked, scope: Scope, since: int, enough: int
) -> Iterator[Part]:
    """First few partners, then more at once."""
    # All there are, which is quick; of some nothing may be left by what else is asked for.
    by_partner = replace(scope, groups=("partner", "program"), only={})
    programs: dict[int, set[int]] = {}
    for partner, program in reading.grouped(by_partner, asked.first, asked.end):
        if partner >= since:
            programs.setdefault(partner, set()).add(program)
    partners, done, rows, count = sorted(programs), 0, 0, 1
    while done < len(partners):
        chosen = tuple(partners[done : done + count])
        within = set[int]().union(*(programs[partner] for partner in chosen))
        narrowed = _narrowed(scope, within, {**scope.only, "partner": chosen})
        try:
            found = _ordered(reading.grouped(narrowed, asked.first, asked.end))
        except TooManyCells:
            if len(chosen) == 1:
                raise
            count = len(chosen) // 2
            continue
        done, rows = done + len(chosen), rows + len(found)
        yield Part(found, (chosen[-1] + 1,) if done < len(partners) else None)
        count = min(_following(done, rows, enough), _PARTNERS_MAX)


# ---- Days ----------------------------------------------------------------------------------


class Cut(NamedTuple):
    """A day's name, its first quarter hour, and its end."""

    name: str
    first: int
    end: int


def _days(asked: Asked, since: str) -> Iterator[Cut]:
    """The days of a report from the one named on; the first and the last may be cut."""
    zone = ZoneInfo(asked.timezone)
    first = asked.first
    while first < asked.end:
        day = datetime.fromtimestamp(first * QUARTER_MS / 1000, zone).date()
        following = day + timedelta(days=1)
        midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
        # Where a change of the clock leaves out midnight, the day ends with what is left of it.
        end = max(round(midnight.timestamp() * 1000) // QUARTER_MS, first + 1)
        if day.isoformat() >= since:
            yield Cut(day.isoformat(), first, min(end, asked.end))
        first = end


def _of_days(
    reading: Reading, asked: Asked, scope: Scope, since: str, enough: int
) -> Iterator[Part]:
    """First one day, then more of them together, as far as they have 24 hours."""
    cuts = list(_days(asked, since))
    done = rows = 0
    count = 1
    while done < len(cuts):
        left = reading.cells_left
        run = _run(cuts[done : done + count])
        for part in _of_run(reading, asked, scope, run):
            rows += len(part.rows)
            yield part
        done += len(run)
        each = max(1, (left - reading.cells_left) // len(run))
        # More than can be read would be counted in vain.
        count = min(_following(done, rows, enough), max(1, reading.cells_left // each))


def _run(cuts: Sequence[Cut]) -> Sequence[Cut]:
    """The first day; and those that follow as long as all have 24 hours."""
    lengths = (cut.end - cut.first == DAY_QUARTERS for cut in cuts)
    return cuts[: max(1, sum(1 for _ in takewhile(bool, lengths)))]


def _of_run(reading: Reading, asked: Asked, scope: Scope, run: Sequence[Cut]) -> Iterator[Part]:
    """Days that follow one another: together, or else as many of them as can be read."""
    if len(run) == 1:
        groups = reading.grouped(scope, run[0].first, run[0].end)
        rows: Found = [((run[0].name, *key), sums) for key, sums in _ordered(groups)]
    else:
        try:
            groups = reading.by_day(scope, run[0].first, run[-1].end)
        except TooManyCells:
            half = len(run) // 2
            yield from _of_run(reading, asked, scope, run[:half])
            yield from _of_run(reading, asked, scope, run[half:])
            return
        rows = [((run[key[0]].name, *key[1:]), sums) for key, sums in _ordered(groups)]
    is_last = run[-1].end >= asked.end
    yield Part(rows, None if is_last else (run[-1].name + _DAY_END,))
