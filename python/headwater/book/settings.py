"""The configuration the book goes by, as the log says it: programs, terms, exchange rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from headwater.book.macros import source_of
from headwater.book.money import Rate, rate_between, read_rate
from headwater.book.terms import Terms, Timeline, may_replace, read_terms
from headwater.model.pixels import pixel_of, read_pixel
from headwater.model.records import NUMBER_MAX, ControlBody

OBJECTS: Final = (
    *("program", "event_type", "enrolment"),
    *("terms", "exchange_rate", "money_settings", "pixel"),
)
"""Objects of the configuration the book looks at."""
ACTIVE: Final = "active"
CLICK: Final = "click"

Value = Mapping[str, Any]


class EventType(NamedTuple):
    """What the book knows of an event type."""

    program: int
    code: str
    kind: str
    """`click`, `lead`, `sale` or `custom`."""


_UNKNOWN: Final = EventType(0, "", "")


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError("not a whole number that the ledger keeps")
    return value


def _check_pixel(number: int, value: Value | None) -> None:
    if value is not None and value.get("status") == ACTIVE:
        pixel = read_pixel(pixel_of(number), value)
        source_of(pixel.type, pixel.template)


class Settings:
    """What is in force at the book's place on the log. Changed by control records alone."""

    def __init__(self) -> None:
        self._revisions: dict[tuple[str, int], int] = {}
        self._zones: dict[int, str] = {}
        self._codes: dict[int, str] = {}
        self._event_types: dict[int, EventType] = {}
        self.click_types: dict[int, int] = {}
        """Programs that pay clicks, with their event type."""
        self._terms: dict[int, Terms] = {}
        self._timeline: Timeline | None = None
        self._rates: dict[int, tuple[int, int, Rate]] = {}
        self._enrolled: dict[tuple[int, int], bool] = {}
        self._reasons: dict[int, frozenset[str]] = {}

    def apply(self, brand: int, control: ControlBody, at_ms: int) -> bool:
        """Take a control record in; without a value the object is deleted. `at_ms` is the log's
        time. False: it is older than what is known of the object, or would change terms that are
        in force, and is not taken.

        Raises KeyError, TypeError or ValueError for a value that cannot be read; nothing of it is
        taken.
        """
        kind, number, revision = control[:3]
        value: Value | None = control.value
        if revision <= self._revisions.get((kind, number), 0):
            return False
        if not self._take(brand, kind, number, value, at_ms):
            return False
        self._revisions[kind, number] = revision
        return True

    def _take(self, brand: int, kind: str, number: int, value: Value | None, at_ms: int) -> bool:
        match kind:
            case "program":
                self._zones[number] = str((value or {}).get("timezone", "UTC"))
                self._codes[number] = str((value or {}).get("code", ""))
            case "event_type":
                self._apply_event_type(number, value)
            case "enrolment":
                self._apply_enrolment(value)
            case "terms":
                return self._apply_terms(number, value, at_ms)
            case "exchange_rate":
                self._apply_rate(brand, number, value)
            case "money_settings":
                codes = (value or {}).get("reversal_reasons", ())
                self._reasons[number] = frozenset(str(code) for code in codes)
            case "pixel":
                _check_pixel(number, value)
        return True

    def _apply_event_type(self, number: int, value: Value | None) -> None:
        found, is_active = _UNKNOWN, False
        if value is not None:
            code, kind = str(value.get("code", "")), str(value["kind"])
            found = EventType(_number(value["program"]), code, kind)
            is_active = value["status"] == ACTIVE
        before = self._event_types.pop(number, None)
        if before is not None and self.click_types.get(before.program) == number:
            del self.click_types[before.program]
        if value is None:
            return
        self._event_types[number] = found
        if found.kind == CLICK and is_active:
            self.click_types[found.program] = number

    def _apply_enrolment(self, value: Value | None) -> None:
        if value is None:
            return
        pair = (_number(value["program"]), _number(value["partner"]))
        self._enrolled[pair] = value["status"] == ACTIVE

    def _apply_terms(self, number: int, value: Value | None, at_ms: int) -> bool:
        before = self._terms.get(number)
        after = None if value is None else read_terms(number, value)
        # What is in force is immutable, whoever wrote the record.
        if not may_replace(before, after, at_ms):
            return False
        self._terms.pop(number, None)
        if after is not None:
            self._terms[number] = after
        self._timeline = None
        return True

    def _apply_rate(self, brand: int, number: int, value: Value | None) -> None:
        rate = None if value is None else read_rate(value)
        from_ms = 0 if value is None else _number(value.get("from_ms", 0))
        self._rates.pop(number, None)
        if rate is not None:
            self._rates[number] = (brand, from_ms, rate)

    # ---- Questions

    def zone(self, program: int) -> str:
        """The time zone of a program."""
        return self._zones.get(program, "UTC")

    def code(self, program: int) -> str:
        """The code of a program; empty for one that is not known."""
        return self._codes.get(program, "")

    def event_type(self, number: int) -> EventType:
        """An event type; one of no kind when it is not known."""
        return self._event_types.get(number, _UNKNOWN)

    def terms(self, program: int, partner: int, at_ms: int) -> Terms | None:
        """The terms in force for a partner."""
        if self._timeline is None:
            self._timeline = Timeline(self._terms.values())
        return self._timeline.in_force(program, partner, at_ms)

    def numbered(self, number: int) -> Terms | None:
        """Terms by their number, in force or not."""
        return self._terms.get(number)

    def rate(self, brand: int, currency_from: str, currency_to: str, at_ms: int) -> Rate | None:
        """The brand's rate in force for an order of that time; None: there is none."""
        if currency_from == currency_to:
            return rate_between({}, currency_from, currency_to)
        newest: dict[tuple[str, str], tuple[tuple[int, int], Rate]] = {}
        for number, (of_brand, from_ms, rate) in self._rates.items():
            if of_brand != brand or from_ms > at_ms:
                continue
            pair = (rate.currency_from, rate.currency_to)
            if pair not in newest or newest[pair][0] < (from_ms, number):
                newest[pair] = ((from_ms, number), rate)
        rates = {pair: rate for pair, (_order, rate) in newest.items()}
        return rate_between(rates, currency_from, currency_to)

    def is_paused(self, program: int, partner: int) -> bool:
        """Whether a partner takes no new credit in a program."""
        return not self._enrolled.get((program, partner), True)

    def is_enrolled(self, program: int, partner: int) -> bool:
        """Whether a partner is in a program, paused or not."""
        return (program, partner) in self._enrolled

    def reversal_reasons(self, program: int) -> frozenset[str]:
        """A program's own reasons of reversals."""
        return self._reasons.get(program, frozenset())
