"""What scoring found of a click or a conversion, as the engine writes and the ledger keeps it."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgpack

from headwater.model.signals import SHADOW, by_number

INHERITED: Final = "REF_"
"""Stands before the code of what a conversion has from its click."""
SEVERITY_WHOLE: Final = 1 << 16
REVIEW_FROM: Final = 40
"""The score from which on a person should look, unless rules say otherwise."""
_CERTAIN: Final = 100 * SEVERITY_WHOLE


class Finding(NamedTuple):
    """One signal that has something to say. Severity is in 16-bit fractions of the whole."""

    number: int
    is_inherited: bool
    mode: int
    weight: int
    severity: int
    points: int
    observed: int
    threshold: int

    @property
    def code(self) -> str:
        """Its public name."""
        code = code_of(self.number)
        return INHERITED + code if self.is_inherited else code

    @property
    def is_shadow(self) -> bool:
        """It is shown, and has had no effect."""
        return self.mode == SHADOW


class Scored(NamedTuple):
    """All findings, those with the most points first, and what they rest on."""

    config_hash: bytes
    bots: str | None
    """Version of the list of bots in force; None: there was none."""
    addresses: str | None
    """Version of the address lists."""
    not_evaluated: int
    """A bit for each signal that would have been looked at and had nothing to look at."""
    findings: tuple[Finding, ...]


def scored(raw: bytes) -> Scored | None:
    """What stands in a `fraud` column; None when nothing was scored."""
    if not raw:
        return None
    config_hash, bots, addresses, not_evaluated, findings = msgpack.unpackb(raw)
    return Scored(
        config_hash, bots, addresses, not_evaluated, tuple(Finding(*each) for each in findings)
    )


def would_be(verdict: str, found: Scored, shadow: Finding, review_from: int) -> str:
    """About the verdict that there would be if a finding in shadow counted: the caps of scores
    that rest on the source alone are left out.
    """
    signal = by_number().get(shadow.number)
    hardness = "soft" if signal is None else signal.hardness
    if verdict == "filtered" or hardness == "counts":
        return verdict
    if hardness == "filters":
        return "filtered"
    if verdict == "reject" or hardness == "rejects":
        return "reject"
    together = (*(each for each in found.findings if not each.is_shadow), shadow)
    return "review" if _score(together) >= review_from else verdict


def _score(findings: tuple[Finding, ...]) -> int:
    """The strongest of each family, and the families as independent doubts, in whole numbers."""
    families: dict[str, int] = {}
    for finding in findings:
        signal = by_number().get(finding.number)
        family = "" if signal is None else signal.family
        value = min(finding.weight * finding.severity, _CERTAIN)
        families[family] = max(families.get(family, 0), value)
    left, whole = 1, 1
    for value in families.values():
        left, whole = left * (_CERTAIN - value), whole * _CERTAIN
    return (200 * (whole - left) + whole) // (2 * whole)


def codes(raw: bytes) -> list[str]:
    """The codes that had an effect, or could have had: without those in shadow."""
    found = scored(raw)
    return [] if found is None else [each.code for each in found.findings if not each.is_shadow]


def code_of(number: int) -> str:
    """The code of a signal. One that this version does not know is told by its number."""
    signal = by_number().get(number)
    return f"SIGNAL_{number}" if signal is None else signal.code


def codes_of_mask(mask: int) -> list[str]:
    """The codes of a mask of signals, in the order of their numbers."""
    return [code_of(number) for number in range(mask.bit_length()) if mask >> number & 1]
