"""The table of fraud signals, as the engine has it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from headwater import _core

MODES: Final = ("off", "shadow", "score", "enforce")
"""What a rule is to do, by its number on the wire."""
_EFFECTS: Final = {"filters": "filters", "rejects": "rejects"}
SHADOW: Final = MODES.index("shadow")


class Signal(NamedTuple):
    """One line of the table. `low` and `high` are the ramp of its severity, in `unit`: below
    `low` none, from `high` on full; with `low` over `high` less is worse.
    """

    number: int
    code: str
    family: str
    stage: str
    """`click`, `conversion` or `source`."""
    hardness: str
    """`soft`, `filters`, `rejects` or `counts`."""
    mode: str
    weight: int
    low: int
    high: int
    unit: str
    window_s: int
    """0: there is no window."""
    meaning: str

    @property
    def effect(self) -> str:
        """What it does by default, in words."""
        if self.mode == "off":
            return f"off; weight {self.weight}"
        does = _EFFECTS.get(self.hardness, f"weight {self.weight}")
        if self.unit == "flag":
            return does
        window = f" in {self.window_s} s" if self.window_s else ""
        ramp = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"
        return f"{does} from {ramp} {self.unit}{window}"

    @property
    def less_is_worse(self) -> bool:
        """Whether small observed values are the grave ones."""
        return self.low > self.high or self.unit == "milliseconds"


@functools.cache
def signals() -> Mapping[str, Signal]:
    """Every signal by its code, in the order of the numbers."""
    found = (Signal(*row) for row in _core.signals())
    return MappingProxyType({signal.code: signal for signal in found})


@functools.cache
def by_number() -> Mapping[int, Signal]:
    """Every signal by its number."""
    return MappingProxyType({signal.number: signal for signal in signals().values()})
