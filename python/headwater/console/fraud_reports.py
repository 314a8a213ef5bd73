"""Routes of reports about invalid traffic: clicks gross and net, and what each signal did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from headwater import clock, ids, limits
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request, not_found
from headwater.console.event_shapes import ClickReportQuery, FraudReportQuery
from headwater.console.fields import parse_reference
from headwater.console.own_links import brand_of
from headwater.console.reports import period_ms
from headwater.console.views import View
from headwater.errors import FieldFault
from headwater.ledger import deployment, fraud_reports, queries
from headwater.ledger.engine import Ledger
from headwater.ledger.fraud_reports import ClickCount, Finding, Span
from headwater.ledger.schema import programs
from headwater.model import fraud
from headwater.model.signals import by_number

_DAYS: Final = 30


class ClickCounts(View):
    """`gross`: all clicks but tests and prefetches that nobody came after. `filtered` is declared
    automation (general invalid traffic), `rejected` sophisticated invalid traffic, `duplicate`
    what is neither and repeats another click; `net` is the rest of gross. `review` and `unique`
    are parts of net.
    """

    gross: int
    filtered: int
    rejected: int
    duplicate: int
    net: int
    review: int
    unique: int
    prefetch: int
    test: int


class ClickReportRow(ClickCounts, kw_only=True):
    """`partner_id` or `day` is null, by what the report is grouped."""

    partner_id: str | None
    day: str | None


class ClickReport(View):
    since: str
    until: str
    group: str
    total: ClickCounts
    rows: list[ClickReportRow]


class WouldBe(View):
    """How many verdicts would about be another if the signal alone left shadow."""

    review: int
    reject: int
    filtered: int


class SignalReport(View):
    """`clicks`, `conversions` and `points` are those on which the signal counted, the others
    those on which it was in shadow. A code with `REF_` is what conversions have from their click.
    """

    code: str
    family: str
    meaning: str
    clicks: int
    conversions: int
    points: int
    shadow_clicks: int
    shadow_conversions: int
    would_be: WouldBe


class FraudReport(View):
    since: str
    until: str
    signals: list[SignalReport]


# ---- Clicks, gross and net -----------------------------------------------------------------


async def report_clicks(console: Console, request: Request) -> Answer:
    query: ClickReportQuery = request.query
    since_ms, until_ms = period_ms(query.since, query.until, _DAYS)
    program = await own_program_row(console, request, query.program_id)
    span = Span(program["id"], since_ms, until_ms)
    await _require_bearable(console, span, limits.REPORT_ROWS_MAX)
    if query.group == "partner":
        found = await console.run(fraud_reports.click_counts, console.ledger, span)
        rows = _by_partner(found)
    else:
        rows, found = await console.run(_by_day, console.ledger, span, program["timezone"])
    return Answer(
        ClickReport(
            since=clock.iso_ms(since_ms),
            until=clock.iso_ms(until_ms),
            group=query.group,
            total=ClickCounts(**_counts(found)),
            rows=rows,
        )
    )


def _counts(found: Iterable[ClickCount]) -> dict[str, int]:
    sums = dict.fromkeys(ClickCounts.__struct_fields__, 0)
    for each in found:
        if each.counted in ("test", "prefetch"):
            sums[each.counted] += each.clicks
            continue
        sums["gross"] += each.clicks
        if each.verdict == "filtered":
            sums["filtered"] += each.clicks
        elif each.verdict == "reject":
            sums["rejected"] += each.clicks
        elif each.counted == "duplicate":
            sums["duplicate"] += each.clicks
        else:
            sums["net"] += each.clicks
            sums["review"] += each.clicks if each.verdict == "review" else 0
            sums["unique"] += each.clicks if each.is_unique else 0
    return sums


def _by_partner(found: list[ClickCount]) -> list[ClickReportRow]:
    partners: dict[int, list[ClickCount]] = {}
    for each in found:
        partners.setdefault(each.partner, []).append(each)
    return [
        ClickReportRow(partner_id=ids.object_text("prt", number), day=None, **_counts(counts))
        for number, counts in sorted(partners.items())
    ]


def _by_day(
    ledger: Ledger, span: Span, timezone: str
) -> tuple[list[ClickReportRow], list[ClickCount]]:
    rows, found = [], []
    for day, since_ms, until_ms in days(span, timezone):
        counts = fraud_reports.click_counts(ledger, Span(span.program, since_ms, until_ms))
        rows.append(ClickReportRow(partner_id=None, day=day, **_counts(counts)))
        found += counts
    return rows, found


def days(span: Span, timezone: str) -> Iterator[tuple[str, int, int]]:
    """The days of a span, each with its part of it; the first and the last may be cut."""
    zone = ZoneInfo(timezone)
    at_ms = span.since_ms
    while at_ms < span.until_ms:
        day = datetime.fromtimestamp(at_ms / 1000, zone).date()
        following = day + timedelta(days=1)
        midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
        # Where a change of the clock leaves out midnight, the day ends with what is left of it.
        end_ms = max(round(midnight.timestamp() * 1000), at_ms + 1)
        yield day.isoformat(), at_ms, min(end_ms, span.until_ms)
        at_ms = end_ms


# ---- What each signal did ------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    number: int
    clicks: int = 0
    conversions: int = 0
    points: int = 0
    shadow_clicks: int = 0
    shadow_conversions: int = 0
    would_be: dict[str, int] = field(
        default_factory=lambda: {"review": 0, "reject": 0, "filtered": 0}
    )


async def report_fraud(console: Console, request: Request) -> Answer:
    query: FraudReportQuery = request.query
    since_ms, until_ms = period_ms(query.since, query.until, 1)
    program = await own_program_row(console, request, query.program_id)
    span = Span(program["id"], since_ms, until_ms)
    await _require_bearable(console, span, limits.FRAUD_REPORT_ROWS_MAX)
    tallies = await console.run(_tallies, console.ledger, span, program["fraud"])
    return Answer(
        FraudReport(
            since=clock.iso_ms(since_ms),
            until=clock.iso_ms(until_ms),
            signals=[_signal(code, tally) for code, tally in sorted(tallies.items())],
        )
    )


def _tallies(ledger: Ledger, span: Span, rules: dict[str, Any]) -> dict[str, _Tally]:
    network = deployment.read_network_rules(ledger)
    review_from = {"review_from": fraud.REVIEW_FROM, **network, **rules}["review_from"]
    tallies: dict[str, _Tally] = {}
    for each in fraud_reports.click_findings(ledger, span):
        _add(tallies, each, review_from, is_click=True)
    for each in fraud_reports.conversion_findings(ledger, span):
        _add(tallies, each, review_from, is_click=False)
    return tallies


def _add(tallies: dict[str, _Tally], finding: Finding, review_from: int, *, is_click: bool) -> None:
    found = fraud.scored(finding.fraud)
    if found is None:
        return
    for each in found.findings:
        tally = tallies.setdefault(each.code, _Tally(each.number))
        if not each.is_shadow:
            tally.points += each.points
            tally.clicks += is_click
            tally.conversions += not is_click
            continue
        tally.shadow_clicks += is_click
        tally.shadow_conversions += not is_click
        verdict = fraud.would_be(finding.verdict, found, each, review_from)
        if verdict != finding.verdict:
            tally.would_be[verdict] += 1


def _signal(code: str, tally: _Tally) -> SignalReport:
    signal = by_number().get(tally.number)
    return SignalReport(
        code=code,
        family="unknown" if signal is None else signal.family,
        meaning=code if signal is None else signal.meaning,
        clicks=tally.clicks,
        conversions=tally.conversions,
        points=tally.points,
        shadow_clicks=tally.shadow_clicks,
        shadow_conversions=tally.shadow_conversions,
        would_be=WouldBe(**tally.would_be),
    )


# ---- What both need ------------------------------------------------------------------------


async def own_program_row(console: Console, request: Request, text: str) -> dict[str, Any]:
    """The program a query names. Raises RequestRefused: `not_found`, also for another brand's;
    `forbidden` for a partner's key.
    """
    brand = brand_of(request)
    reference = parse_reference("prg", text)
    row = await console.run(queries.object_row, console.ledger, programs, reference)
    if row is None or brand not in (None, row["brand_id"]):
        raise not_found()
    return row


async def _require_bearable(console: Console, span: Span, rows_max: int) -> None:
    if not await console.run(fraud_reports.is_within, console.ledger, span, rows_max):
        detail = f"the period has over {rows_max} clicks or conversions; ask for a shorter one"
        raise refused([FieldFault("since", "invalid", detail)])
