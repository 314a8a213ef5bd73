"""What the demo shows, and the check behind its exit code."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from headwater import ids
from headwater.ledger import census as ledger_census
from headwater.ledger.engine import Ledger
from headwater.ops.demo_traffic import Tally

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def report(
    screen: Console,
    ledger: Ledger,
    tally: Tally,
    drove_s: float,
    committed_s: float,
    *,
    paced: bool,
) -> bool:
    """Print the summary; True when every answered event is in the ledger exactly once."""
    counted = ledger_census.census(ledger)
    screen.print(_traffic_table(tally, drove_s, committed_s, counted))
    screen.print(_outcome_table(counted, tally))
    screen.print(_latency_table(tally, paced))
    faults = check(ledger, tally)
    for fault in faults:
        screen.print(f"[red]NOT TRUE[/red]: {fault}")
    if not faults:
        extra = counted.events - tally.answered
        screen.print(
            f"[green]All {tally.answered} answered events are in the ledger exactly once[/green]; "
            f"{extra} more were committed that were sent and never answered "
            f"({sum(tally.unanswered.values())} requests ended without an answer)."
        )
    return not faults


def check(ledger: Ledger, tally: Tally) -> list[str]:
    """What of the promise does not hold: every answered event committed exactly once, and
    nothing committed that was not sent.
    """
    faults = [] if tally.answered else ["nothing was answered at all"]
    faults += _check_ids(
        "click",
        [ids.parse_event("clk", name.decode()) for name in tally.clicks],
        ledger_census.click_ids(ledger),
        tally.unanswered["click"],
    )
    faults += _check_ids(
        "identify",
        [ids.parse_event("evt", name) for name in tally.identifies],
        ledger_census.observation_ids(ledger),
        tally.unanswered["identify"],
    )
    faults += _check_conversions(ledger, tally)
    rejected = sum(ledger_census.census(ledger).rejections_by_reason.values())
    if not tally.bad_pixels <= rejected <= tally.bad_pixels + tally.unanswered["pixel"]:
        faults.append(f"{tally.bad_pixels} bad pixels were answered, {rejected} are recorded")
    return faults


def _check_ids(
    kind: str, answered: list[bytes], committed: Iterable[bytes], unanswered: int
) -> list[str]:
    times = Counter(committed)
    faults = []
    twice = sum(1 for count in times.values() if count > 1)
    if twice:
        faults.append(f"{twice} {kind}s are committed more than once")
    if len(set(answered)) != len(answered):
        faults.append(f"a {kind} id was given out twice")
    missing = sum(1 for name in answered if name not in times)
    if missing:
        faults.append(f"{missing} answered {kind}s are not in the ledger")
    extra = len(times) - (len(answered) - missing)
    if extra > unanswered:
        faults.append(f"{extra} {kind}s are committed, {unanswered} were sent and not answered")
    return faults


def _check_conversions(ledger: Ledger, tally: Tally) -> list[str]:
    """By conversion: as many reports as were answered; by pixel order: one conversion."""
    reports = ledger_census.reports_by_conversion(ledger)
    by_order = ledger_census.conversion_ids_by_order(ledger, "pixel-")
    faults = []
    expected = Counter(
        {ids.parse_event("cnv", name): count for name, count in tally.conversions.items()}
    )
    missing_orders = [order for order in tally.pixel_orders if order not in by_order]
    if missing_orders:
        faults.append(f"{len(missing_orders)} orders reported by pixel are not in the ledger")
    expected.update(by_order[order] for order in tally.pixel_orders if order in by_order)
    fewer = sum(1 for name, count in expected.items() if reports.get(name, 0) < count)
    if fewer:
        faults.append(f"{fewer} conversions have fewer reports committed than answered")
    extra = sum(reports.values()) - sum(expected.values())
    unanswered = tally.unanswered["conversion"] + tally.unanswered["pixel"]
    if extra > unanswered:
        faults.append(f"{extra} reports are committed, {unanswered} were sent and not answered")
    return faults


def _traffic_table(
    tally: Tally, drove_s: float, committed_s: float, counted: ledger_census.Census
) -> Table:
    table = Table(title="What was sent", title_justify="left")
    table.add_column("")
    table.add_column("events", justify="right")
    table.add_row("clicks redirected", f"{len(tally.clicks):,}")
    table.add_row("identifies accepted", f"{len(tally.identifies):,}")
    table.add_row("conversion reports answered", f"{sum(tally.conversions.values()):,}")
    table.add_row("pixels answered", f"{len(tally.pixel_orders) + tally.bad_pixels:,}")
    table.add_row("accepted in all", f"{tally.answered:,}")
    table.add_row("committed in all", f"{counted.events:,}")
    table.add_row("accepted a second", f"{tally.answered / drove_s:,.0f}")
    table.add_row("committed a second", f"{counted.events / committed_s:,.0f}")
    for code, count in sorted(tally.refused.items()):
        table.add_row(f"refused: {code}", f"{count:,}")
    return table


def _outcome_table(counted: ledger_census.Census, tally: Tally) -> Table:
    table = Table(title="What became of it, by the ledger", title_justify="left")
    table.add_column("", min_width=28)
    table.add_column("events", justify="right")
    for verdict, count in sorted(counted.clicks_by_verdict.items()):
        table.add_row(f"clicks, verdict {verdict}", f"{count:,}")
    for status, count in sorted(counted.conversions_by_status.items()):
        table.add_row(f"conversions {status}", f"{count:,}")
    for reason, count in sorted(counted.conversions_by_reason.items()):
        table.add_row(f"  reason {reason}", f"{count:,}")
    for outcome, count in sorted(counted.reports_by_outcome.items()):
        table.add_row(f"reports: {outcome}", f"{count:,}")
    for reason, count in sorted(counted.rejections_by_reason.items()):
        table.add_row(f"pixels rejected: {reason}", f"{count:,}")
    if tally.decided["undecided in time"]:
        table.add_row("answered 202, decided later", f"{tally.decided['undecided in time']:,}")
    return table


def _latency_table(tally: Tally, paced: bool) -> Table:
    basis = "from when each was due" if paced else "from send to answer, load held by the answers"
    table = Table(title=f"Latency in ms, {basis}", title_justify="left")
    table.add_column("")
    for percentile in PERCENTILES:
        table.add_column(f"p{percentile:g}", justify="right")
    for kind, took in sorted(tally.latency_ns.items()):
        ordered = sorted(took)
        table.add_row(kind, *(f"{_at(ordered, p) / 1e6:.2f}" for p in PERCENTILES))
    return table


def _at(ordered: list[int] | array[int], percentile: float) -> int:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percentile / 100))]
