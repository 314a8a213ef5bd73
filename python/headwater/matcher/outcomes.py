"""What a committed batch is told to others: decisions to waiting edges, counts to the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from headwater import ids, metrics
from headwater.ledger.decisions import decision, decision_by_id
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import Committed
from headwater.ledger.pixel_store import client_pixels
from headwater.model.book import Action
from headwater.model.records import CLICK, Kind, Source, touch_type

Outcomes = Mapping[str, Any]
Row = Sequence[Any]


class Told(NamedTuple):
    """A decision on its way to the edge that waits for it."""

    producer: int
    event_id: bytes
    conversion_id: str
    message: bytes
    decision: bytes


# Positions in the engine's outcome rows.
REPORT_EVENT, REPORT_CONVERSION, REPORT_SOURCE, REPORT_OUTCOME, REPORT_PRODUCER = 0, 1, 5, 6, 7
CREATED = "created"
CONVERSION_ID, CONVERSION_BRAND, CONVERSION_STATUS, CONVERSION_REASON = 0, 1, 8, 9
CONVERSION_CREDITS = 14
CONVERSION_VERDICT, CONVERSION_SCORE, CONVERSION_FRAUD = 17, 18, 20
REVISION_VERDICT = 4


def decision_of(row: Row, actions: Sequence[Action] = ()) -> dict[str, Any]:
    """The decision in one conversion row of the engine's outcomes, with its actions."""
    return decision(
        row[CONVERSION_ID],
        row[CONVERSION_BRAND],
        row[CONVERSION_STATUS],
        row[CONVERSION_REASON],
        row[CONVERSION_CREDITS],
        (row[CONVERSION_VERDICT], row[CONVERSION_SCORE], row[CONVERSION_FRAUD]),
        actions,
    )


def decisions_to_tell(
    ledger: Ledger, batches: Sequence[Outcomes], committed: Committed
) -> list[Told]:
    """One message for each report of the batches, which are committed.

    A repeat or a conflict is answered with the first decision, read from the ledger; so is a
    report of a conversion of which the ledger keeps another decision than the engine made.
    """
    reports = [report for outcomes in batches for report in outcomes["reports"]]
    if not reports:
        return []
    known = {
        row[CONVERSION_ID]: decision_of(row, committed.actions.get(row[CONVERSION_ID], ()))
        for row in _standing(batches, committed)
    }
    for name, pixels in client_pixels(ledger, _told_by_the_tag(reports)).items():
        if name in known:
            known[name]["pixels"] = pixels
    told = []
    for report in reports:
        name = report[REPORT_CONVERSION]
        found = known.get(name) or decision_by_id(ledger, name)
        if found is None:
            continue
        known[name] = found
        message = {
            "event_id": report[REPORT_EVENT],
            "conversion_id": found["conversion_id"],
            "outcome": report[REPORT_OUTCOME],
            "decision": found,
        }
        told.append(
            Told(
                report[REPORT_PRODUCER],
                report[REPORT_EVENT],
                ids.event_text("cnv", report[REPORT_CONVERSION]),
                msgpack.packb(message),
                msgpack.packb(found),
            )
        )
    return told


def _standing(batches: Sequence[Outcomes], committed: Committed) -> Iterator[Row]:
    """Rows of conversions whose decision is the engine's; the ledger has that of the others."""
    for outcomes in batches:
        for row in outcomes["conversions"]:
            name = row[CONVERSION_ID]
            if name not in committed.decided_before and name not in committed.moved:
                yield row


def _told_by_the_tag(reports: Sequence[Row]) -> list[bytes]:
    """Conversions whose first report is a browser's that waits: it fires partners' pixels."""
    return [
        report[REPORT_CONVERSION]
        for report in reports
        if report[REPORT_SOURCE] == Source.TAG and report[REPORT_OUTCOME] == CREATED
    ]


def revised(
    ledger: Ledger, batches: Sequence[Outcomes], told: Sequence[Told], committed: Committed
) -> dict[str, bytes]:
    """Decisions of the batches that no report brought about: late evidence did, or a manager. By
    conversion id; nobody waits for them, and what is stored of the conversion has to follow.
    """
    found = {
        row[CONVERSION_ID]: decision_of(row, committed.actions.get(row[CONVERSION_ID], ()))
        for row in _standing(batches, committed)
    }
    for name in committed.moved:
        moved = decision_by_id(ledger, name)
        if moved is not None:
            found[name] = moved
    answered = {each.conversion_id for each in told}
    texts = {ids.event_text("cnv", name): each for name, each in found.items()}
    return {text: msgpack.packb(each) for text, each in texts.items() if text not in answered}


def count(outcomes: Outcomes) -> None:
    """Add a committed batch to the metrics."""
    committed = {
        "conversion": len(outcomes["reports"]),
        "rejection": len(outcomes["rejections"]),
        "control": len(outcomes["controls"]),
        "erasure": len(outcomes.get("erasures", ())),
        "tick": outcomes["ticks"],
    }
    for row in outcomes["observations"]:
        name = Kind(row[1]).name.lower()
        committed[name] = committed.get(name, 0) + 1
    for row in outcomes["others"]:
        name = Kind(row[1]).name.lower()
        committed[name] = committed.get(name, 0) + 1
    verdicts: dict[str, int] = {}
    for (flags, verdict), number in outcomes["clicks"].standings().items():
        name = touch_type(flags)
        committed[name] = committed.get(name, 0) + number
        if name == CLICK:
            verdicts[verdict] = verdicts.get(verdict, 0) + number
    for name, number in committed.items():
        if number:
            metrics.EVENTS_COMMITTED.labels(name).inc(number)
    for verdict, number in verdicts.items():
        metrics.CLICKS.labels(verdict).inc(number)
    for row in outcomes.get("decision_revised", ()):
        metrics.CLICK_REVISIONS.labels(row[REVISION_VERDICT]).inc()
    if outcomes["duplicates"]:
        metrics.DUPLICATES.inc(outcomes["duplicates"])
    for row in outcomes["quarantined"]:
        metrics.QUARANTINED.labels(row[2]).inc()
