"""The bytes of what scoring found, as the engine writes them."""

from __future__ import annotations

import msgpack

from headwater.model.fraud import SEVERITY_WHOLE
from headwater.model.signals import MODES, signals


def finding(
    code: str,
    *,
    points: int = 0,
    mode: str = "score",
    severity: int = SEVERITY_WHOLE,
    weight: int | None = None,
    observed: int = 1,
    threshold: int = 1,
) -> list[int | bool]:
    """One finding; a code with REF_ is inherited."""
    signal = signals()[code.removeprefix("REF_")]
    return [
        signal.number,
        code.startswith("REF_"),
        MODES.index(mode),
        signal.weight if weight is None else weight,
        severity,
        points,
        observed,
        threshold,
    ]


def fraud_bytes(*findings: list[int | bool], not_evaluated: tuple[str, ...] = ()) -> bytes:
    """A `fraud` column."""
    mask = sum(1 << signals()[code].number for code in not_evaluated)
    packed: bytes = msgpack.packb([bytes(range(16)), "bots-1", None, mask, list(findings)])
    return packed
