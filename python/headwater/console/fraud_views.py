"""What scoring found, as the management API answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from headwater import clock, ids
from headwater.console.views import View
from headwater.model.fraud import SEVERITY_WHOLE, Finding, code_of, codes_of_mask, scored
from headwater.model.signals import MODES, by_number

Row = Mapping[str, Any]
IvtClass = Literal["none", "GIVT", "SIVT"]
_CLASSES: Final[Mapping[str, IvtClass]] = {"filtered": "GIVT", "reject": "SIVT"}
_NO_EVENT: Final = bytes(16)
_UNKNOWN: Final = "unknown"


class FraudCode(View):
    """One signal. `severity_percent` is how grave it is, `points` its part of the score, `window`
    seconds, null where there is none. A code with `REF_` is the credited click's. Mode `shadow`:
    it is shown and has no effect.
    """

    code: str
    family: str
    severity_percent: int
    weight: int
    points: int
    mode: str
    observed: int
    threshold: int
    unit: str
    window: int | None
    meaning: str


class Lists(View):
    """Versions of the lists that were in force."""

    bots: str | None
    addresses: str | None


class FraudDetail(View):
    """A score of 0 to 100 and what it is made of: the points of `codes` add up to it.

    `ivt_class`: general (declared automation) or sophisticated invalid traffic, by the verdict.
    `not_evaluated`: signals that had nothing to look at, a list that is not loaded for example.
    """

    score: int
    verdict: str
    ivt_class: IvtClass
    codes: list[FraudCode]
    not_evaluated: list[str]
    config_hash: str
    lists: Lists


class ClickRevision(View):
    """What later evidence made of a click. `cause`: a signal, `prefetch_promoted`, `duplicate`."""

    revision: int
    at: str
    verdict: str
    counted: str
    unique: bool
    score: int
    fraud: FraudDetail | None
    cause: str
    cause_event_id: str | None


def detail(row: Row) -> FraudDetail | None:
    """The score of a click, a revision of one, or a conversion; None when it was not scored."""
    found = scored(row["fraud"])
    if found is None:
        return None
    return FraudDetail(
        score=row["score"],
        verdict=row["verdict"],
        ivt_class=_CLASSES.get(row["verdict"], "none"),
        codes=[_code(finding) for finding in found.findings],
        not_evaluated=codes_of_mask(found.not_evaluated),
        config_hash=found.config_hash.hex(),
        lists=Lists(bots=found.bots, addresses=found.addresses),
    )


def _code(finding: Finding) -> FraudCode:
    signal = by_number().get(finding.number)
    return FraudCode(
        code=finding.code,
        family=_UNKNOWN if signal is None else signal.family,
        severity_percent=finding.severity * 100 // SEVERITY_WHOLE,
        weight=finding.weight,
        points=finding.points,
        mode=MODES[finding.mode] if finding.mode < len(MODES) else _UNKNOWN,
        observed=finding.observed,
        threshold=finding.threshold,
        unit=_UNKNOWN if signal is None else signal.unit,
        window=None if signal is None or not signal.window_s else signal.window_s,
        meaning=code_of(finding.number) if signal is None else signal.meaning,
    )


def revisions(rows: Sequence[Row]) -> list[ClickRevision]:
    """The history of a click."""
    return [
        ClickRevision(
            revision=row["revision"],
            at=clock.iso_ms(row["at_ms"]),
            verdict=row["verdict"],
            counted=row["counted"],
            unique=bool(row["is_unique"]),
            score=row["score"],
            fraud=detail(row),
            cause=row["cause"],
            cause_event_id=_event(row["cause_event"]),
        )
        for row in rows
    ]


def _event(raw: bytes) -> str | None:
    return None if raw in (b"", _NO_EVENT) else ids.event_text("evt", raw)
