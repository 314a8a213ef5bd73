"""What `headwater simulate` is asked to change: `KEY=VALUE` texts as members of control values.

Pure: nothing is read or written. Every fault is found, not the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, get_args

from headwater import clock, limits
from headwater.errors import ConfigError
from headwater.model.attribution import CLASSES, WHOLE_PPM, Model
from headwater.model.signals import MODES as RULE_MODES
from headwater.model.signals import signals

MODELS: Final[tuple[str, ...]] = get_args(Model)
DAY_S: Final = 86_400

# What a program may have; the management API refuses the same.
_SECONDS: Final = range(limits.CLICK_WINDOW_S_MIN, limits.CLICK_WINDOW_S_MAX + 1)
# Longer texts are no numbers of this table, and would cost time to read.
_NUMBER_CHARACTERS_MAX: Final = 20
_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_DURATION: Final = re.compile(r"(\d{1,9})([dhms])", re.ASCII)
# Milliseconds of a time that every part of the system can hold.
_TIME_MS: Final = range(1 << 48)

Members = Mapping[str, Any]


class Rules(NamedTuple):
    """Members that replace those of the control values in force."""

    program: Members
    event_types: Mapping[str, Members]
    """By the event type's code."""


class Span(NamedTuple):
    """Conversions accepted from `since_ms` on and before `until_ms` are compared."""

    since_ms: int
    until_ms: int


# ---- Values --------------------------------------------------------------------------------


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return parse


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > _NUMBER_CHARACTERS_MAX:
            raise ValueError(f"a whole number from {low} to {high}")
        if not low <= int(text) <= high:
            raise ValueError(f"from {low} to {high}")
        return int(text)

    return parse


def _decimal(text: str) -> Decimal:
    """A plain decimal number: no sign, no exponent."""
    if len(text) > _NUMBER_CHARACTERS_MAX or not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        raise ValueError("a number such as 30 or 0.5")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number such as 30 or 0.5") from None


def _milliseconds(unit_s: int) -> Callable[[str], int]:
    """A duration in units of so many seconds; whole seconds, within a window's bounds."""

    def parse(text: str) -> int:
        seconds = _decimal(text) * unit_s
        if seconds != int(seconds):
            raise ValueError("comes to no whole number of seconds")
        if int(seconds) not in _SECONDS:
            raise ValueError(f"from {_SECONDS[0]} to {_SECONDS[-1]} seconds")
        return int(seconds) * 1000

    return parse


def _position(text: str) -> list[int]:
    """`40/20/40` in percent, or three parts per million."""
    parts = [_decimal(part.strip()) for part in re.split("[/,]", text)]
    if len(parts) != 3:
        raise ValueError("three shares: first, middle, last")
    if sum(parts) == 100:
        parts = [part * (WHOLE_PPM // 100) for part in parts]
    if sum(parts) != WHOLE_PPM:
        raise ValueError(f"the shares add up to 100, or to {WHOLE_PPM}")
    if any(part != int(part) for part in parts):
        raise ValueError("a share is a whole number of parts per million")
    return [int(part) for part in parts]


def _class_order(text: str) -> list[str]:
    classes = [part.strip() for part in text.split(",")]
    if len(set(classes)) < len(classes):
        raise ValueError("a class is named twice")
    if not set(classes) <= set(CLASSES):
        raise ValueError(f"some of {', '.join(CLASSES)}, by commas")
    return classes


_SECONDS_VALUE: Final = _milliseconds(1)
_DAYS_VALUE: Final = _milliseconds(DAY_S)
# The key, the member of the control value it sets, and how its text is read.
KEYS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "model": ("model", _one_of(*MODELS)),
    "position": ("position_ppm", _position),
    "half_life_days": ("half_life_ms", _DAYS_VALUE),
    "half_life_seconds": ("half_life_ms", _SECONDS_VALUE),
    "class_order": ("class_order", _class_order),
    "click_window_days": ("window_ms", _DAYS_VALUE),
    "click_window_seconds": ("window_ms", _SECONDS_VALUE),
    "soft_click_window_seconds": ("soft_click_window_ms", _SECONDS_VALUE),
    "impression_window_seconds": ("impression_window_ms", _SECONDS_VALUE),
    "explicit_click": ("explicit_click", _one_of("wins", "candidate")),
    "on_conflict": ("on_conflict", _one_of("last_auth", "isolate")),
    "per_partner_latest": ("per_partner_latest", _boolean),
    "members_max": ("members_max", _whole(1, limits.PERSON_MEMBERS_MAX)),
    "hops_max": ("hops_max", _whole(1, limits.PERSON_HOPS_MAX)),
    "neighbours_max": ("neighbours_max", _whole(1, limits.PERSON_NEIGHBOURS_MAX)),
}
# Members an event type has of its own; `KEY:EVENT=VALUE` sets them.
_OF_EVENT_TYPES: Final = frozenset({"window_ms"})

FRAUD: Final = "fraud"
"""The member of a program that holds its fraud rules: a map, of which single members change."""
_RULES: Final = "rules"
# The ends of a ramp are told in 32 bits.
_RAMP_MAX: Final = (1 << 32) - 1
_FRAUD_KEYS: Final[Mapping[str, Callable[[str], Any]]] = {
    "review_from": _whole(1, 100),
    "unique_window_seconds": _whole(60, 30 * DAY_S),
}
_RULE_KEYS: Final[Mapping[str, Callable[[str], Any]]] = {
    "mode": _one_of(*RULE_MODES),
    "weight": _whole(0, 100),
    "low": _whole(0, _RAMP_MAX),
    "high": _whole(0, _RAMP_MAX),
}


# ---- The whole -----------------------------------------------------------------------------


def merged(value: Members, changes: Members) -> dict[str, Any]:
    """A control value with members changed; of a member that is a map, only what is named."""
    found = dict(value)
    for name, change in changes.items():
        old = found.get(name)
        if isinstance(old, Mapping) and isinstance(change, Mapping):
            found[name] = merged(old, change)
        else:
            found[name] = change
    return found


def _set_fraud(program: dict[str, Any], path: Sequence[str], text: str) -> None:
    """`fraud.review_from`, `fraud.rules.CODE.mode` and the like. Raises ValueError."""
    into = program.setdefault(FRAUD, {})
    if len(path) == 1 and path[0] in _FRAUD_KEYS:
        name, parse = path[0], _FRAUD_KEYS[path[0]]
    elif len(path) == 3 and path[0] == _RULES and path[2] in _RULE_KEYS:
        if path[1] not in signals():
            raise ValueError("there is no such code; `headwater reasons` lists them")
        into = into.setdefault(_RULES, {}).setdefault(path[1], {})
        name, parse = path[2], _RULE_KEYS[path[2]]
    else:
        keys = [*_FRAUD_KEYS, *(f"{_RULES}.CODE.{name}" for name in _RULE_KEYS)]
        raise ValueError(f"unknown; after `{FRAUD}.` come {', '.join(keys)}")
    value = parse(text)
    if name in into:
        raise ValueError("set twice")
    into[name] = value


def parse_rules(settings: Sequence[str], event_codes: Sequence[str] = ()) -> Rules:
    """The members that `KEY=VALUE` and `KEY:EVENT=VALUE` texts set.

    `event_codes` are those of the program. Raises ConfigError with every fault; then none holds.
    """
    faults: list[str] = []
    program: dict[str, Any] = {}
    event_types: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        key, colon, event = name.strip().partition(":")
        try:
            if not equals:
                raise ValueError("KEY=VALUE is needed")
            head, *path = key.split(".")
            if head == FRAUD and path and not colon:
                _set_fraud(program, path, text.strip())
                continue
            if key not in KEYS:
                raise ValueError(f"unknown; the keys are {', '.join(KEYS)}, {FRAUD}....")
            member, parse = KEYS[key]
            if colon and member not in _OF_EVENT_TYPES:
                raise ValueError("an event type has no such rule")
            if colon and event not in event_codes:
                raise ValueError(f"the program has no event type {event!r}")
            into = event_types.setdefault(event, {}) if colon else program
            value = parse(text.strip())
            if member in into:
                raise ValueError("set twice")
            into[member] = value
        except ValueError as error:
            faults.append(f"--set {name.strip()}: {error}")
    if faults:
        raise ConfigError(faults)
    return Rules(program, event_types)


def parse_span(since: str, until: str | None, now_ms: int) -> Span:
    """The span between two times, each RFC 3339 or a duration before now such as 30d or 12h.

    Without `until` it has no end. Raises ConfigError with every fault.
    """
    faults: list[str] = []

    def moment(option: str, text: str) -> int:
        try:
            return parse_moment(text, now_ms)
        except ValueError as error:
            faults.append(f"{option}: {error}")
            return 0

    since_ms = moment("--since", since)
    until_ms = _TIME_MS.stop if until is None else moment("--until", until)
    if not faults and until_ms <= since_ms:
        faults.append("--until: not after --since")
    if faults:
        raise ConfigError(faults)
    return Span(since_ms, until_ms)


def parse_moment(text: str, now_ms: int) -> int:
    """Milliseconds of an RFC 3339 time, or of now less a duration. Raises ValueError."""
    duration = _DURATION.fullmatch(text)
    if duration:
        at_ms = max(now_ms - int(duration[1]) * _UNITS_MS[duration[2]], 0)
    else:
        try:
            at_ms = clock.parse_iso_ms(text)
        except (ValueError, OverflowError):
            raise ValueError(
                "an RFC 3339 time with an offset, or a duration such as 30d or 12h"
            ) from None
    if at_ms not in _TIME_MS:
        raise ValueError("out of range")
    return at_ms


def ramp_faults(fraud: Members) -> list[str]:
    """What is wrong with the ramps of fraud rules, put together with those of the table."""
    faults = []
    for code, rule in fraud.get(_RULES, {}).items():
        signal = signals()[code]
        low, high = rule.get("low", signal.low), rule.get("high", signal.high)
        if signal.less_is_worse and low < high:
            faults.append(f"{code}: less is worse: low ({low}) is below high ({high})")
        elif not signal.less_is_worse and low > high:
            faults.append(f"{code}: low ({low}) is above high ({high})")
    return faults


def idle_members(rules: Rules, model: str) -> list[str]:
    """Keys' members that decide nothing under `model`, the model in force with the change."""
    needed = {"position_ppm": "position", "half_life_ms": "time_decay"}
    return [
        f"{member} counts only under the model {needs}, and the model is {model}"
        for member, needs in needed.items()
        if member in rules.program and model != needs
    ]
