"""The parts of the report on one system: throughput, the burst, Redis away, pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.load.scenarios import Told
from bench.report import charts
from bench.report.page import Block, Chart, Heading, Paragraph, Table

DEADLINE_MS = 50


def _kept(told: Told) -> Table:
    names = {
        "answered": "clicks answered",
        "failed": "requests without an answer",
        "answered_and_not_in_the_ledger": "answered and not in the ledger",
        "in_the_ledger_more_than_once": "in the ledger more than once",
        "past_the_accept_deadline": "redirected at the accept deadline, not yet safe",
        "unaccepted_for_other_reasons": "redirected and not recorded for another reason",
        "until_all_were_committed_s": "seconds from the last answer until all were committed",
    }
    return Table(["", "figure"], [[says, f"{told[name]:,}"] for name, says in names.items()])


def _times(told: Told) -> list[float]:
    step_s = told["window_ms"] / 1000
    return [number * step_s for number in range(len(told["windows"]))]


def _over_time(told: Told, key: str, by: float) -> list[tuple[float, float]]:
    return [
        (at_s, window[key] / by)
        for at_s, window in zip(_times(told), told["windows"], strict=True)
        if window["scheduled"]
    ]


def _per_s(told: Told, key: str) -> list[tuple[float, float]]:
    by_s = 1000 / told["window_ms"]
    return [
        (at_s, window[key] * by_s)
        for at_s, window in zip(_times(told), told["windows"], strict=True)
    ]


def throughput(told: Told) -> Iterator[Block]:
    yield Heading("The whole system")
    yield Paragraph(
        f"Closed loops at {told['answered_per_s']:,.0f} clicks/s, all processes on all cores, each "
        f"until the last click is committed: {told['committed_per_cpu_second']:,.0f} clicks "
        "committed for a second of CPU of edge, Redis, matcher with SQLite, console and supervisor "
        f"together. Medians of {len(told['rounds'])} rounds. The generator is not counted."
    )
    yield Table(
        ["", "CPU us for a click", "memory MiB"],
        [
            [
                name,
                f"{value:.1f}",
                f"{told['resident_bytes'].get(name, 0) / 2**20:,.0f}",
            ]
            for name, value in told["cpu_us_per_click"].items()
        ],
    )
    yield Chart(
        "cpu-of-the-system",
        "CPU for a click from request to ledger, by process",
        charts.bars(
            "CPU for a click, from request to ledger",
            [
                charts.Bar("by process", list(told["cpu_us_per_click"].items())),
                charts.Bar("the matcher by step", list(told["matcher_cpu_us_per_click"].items())),
            ],
            "us",
        ),
    )
    yield _kept(told)
    hour = told["sustained_per_s"] * 3600
    disk = told["disk_bytes_per_click"]
    yield Paragraph(
        f"An hour of it, by arithmetic: {told['sustained_per_s']:,.0f} clicks/s from request to "
        f"ledger are {hour / 1e6:,.1f} million clicks, "
        f"{hour / told['committed_per_cpu_second'] / 3600:.1f} hours of CPU, "
        f"{hour * disk['archive'] / 2**30:,.1f} GiB of archive ({disk['archive']:.0f} bytes a "
        f"click) and {hour * disk['ledger'] / 2**30:,.1f} GiB of ledger "
        f"({disk['ledger']:.0f}). That neither memory nor the streams grow is what "
        "`tests/system/test_soak.py` holds for ten minutes."
    )
    yield Paragraph(
        "What it does not show: latency, as a closed loop hides it; conversions, which cost more "
        "than clicks; a ledger of a hundred million rows."
    )


def drained(told: dict[str, Any]) -> Iterator[Block]:
    """The matcher alone, on what the comparison left."""
    yield Heading("The matcher alone")
    yield Paragraph(
        f"{told['clicks']:,} clicks that waited on the log were committed in "
        f"{told['seconds']:.1f} s, {told['per_s']:,.0f} a second, with nothing else to do."
    )
    yield Table(
        ["step", "CPU us for a click"],
        [[name, f"{value:.1f}"] for name, value in told["matcher_cpu_us"].items()],
    )


def burst(told: Told) -> Iterator[Block]:
    calm, loud, _ = told["stages"]
    over = loud["over_ms"][str(DEADLINE_MS)]
    per_s = told["matcher_per_s"]
    matcher = f"works off {per_s:,} a second" if per_s else "kept up"
    yield Heading("A burst of ten times the load")
    yield Paragraph(
        f"{loud['seconds']:g} seconds at {told['burst_per_s']:,}/s, nine tenths of the "
        f"{told['edge_capacity_per_s']:,}/s that the edge bears (or what the generator may be "
        f"asked for), between stretches at a tenth of it. In the burst p50 is "
        f"{loud['latency_us']['p50'] / 1000:.2f} ms, p99 {loud['latency_us']['p99'] / 1000:.2f} "
        f"ms, p99.9 {loud['latency_us']['p99_9'] / 1000:.2f} ms; {over:,} of {loud['answered']:,} "
        f"took over {DEADLINE_MS} ms (of p99, the generator itself sent "
        f"{loud['late_us']['p99'] / 1000:.2f} ms late). The matcher {matcher}. "
        f"The backlog was gone "
        f"{told['drained_after_the_burst_s']} s after the burst. Before it p99 is "
        f"{calm['latency_us']['p99'] / 1000:.2f} ms."
    )
    marks = [
        charts.Mark(calm["seconds"], "burst"),
        charts.Mark(calm["seconds"] + loud["seconds"], "over"),
    ]
    yield Chart(
        "burst-latency",
        "Latency through the burst, by tenths of a second",
        charts.lines(
            "Latency through the burst",
            [
                charts.Line("p50", _over_time(told, "p50_us", 1000)),
                charts.Line("p99", _over_time(told, "p99_us", 1000)),
                charts.Line("longest", _over_time(told, "max_us", 1000)),
            ],
            x_says="s",
            y_says="ms",
            is_log=True,
            marks=marks,
        ),
    )
    decided = [one for one in told["conversions"] if one["decided_ms"] is not None]
    yield Chart(
        "burst-conversions",
        "What an order waits for its decision, by when it was reported",
        charts.lines(
            "A conversion's wait for its decision",
            [charts.Line("wait", [(one["sent_at_s"], one["decided_ms"]) for one in decided])],
            x_says="s",
            y_says="ms",
            is_log=True,
            marks=marks,
        ),
    )
    longest = max((one["decided_ms"] for one in decided), default=0.0)
    yield Paragraph(
        f"Of {len(told['conversions'])} orders reported meanwhile, {len(decided)} were decided, "
        f"the longest wait was {longest / 1000:.2f} s: an order waits behind the clicks before it."
    )
    yield _kept(told)


def outage(told: Told) -> Iterator[Block]:
    yield Heading("Redis killed, and back")
    (stage,) = told["stages"]
    yield Paragraph(
        f"At {told['rate_per_s']:,} clicks/s, Redis is killed after {told['killed_at_s']:g} s and "
        f"started again after {told['started_at_s']:g} s; meanwhile a click is safe when its "
        f"frame is synced to the edge's own disk. p99 over the whole is "
        f"{stage['latency_us']['p99'] / 1000:.2f} ms."
    )
    marks = [charts.Mark(told["killed_at_s"], "killed"), charts.Mark(told["started_at_s"], "back")]
    yield Chart(
        "outage-throughput",
        "Clicks answered while Redis is killed and comes back",
        charts.lines(
            "Throughput while Redis is away",
            [
                charts.Line("due", _per_s(told, "scheduled")),
                charts.Line("answered", _per_s(told, "answered")),
            ],
            x_says="s",
            y_says="clicks/s",
            marks=marks,
        ),
    )
    yield Chart(
        "outage-latency",
        "Latency while Redis is killed and comes back",
        charts.lines(
            "Latency while Redis is away",
            [
                charts.Line("p50", _over_time(told, "p50_us", 1000)),
                charts.Line("p99", _over_time(told, "p99_us", 1000)),
            ],
            x_says="s",
            y_says="ms",
            is_log=True,
            marks=marks,
        ),
    )
    yield _kept(told)
    yield Paragraph("What it does not show: a Redis that hangs, or a disk that is slow as well.")


def pixels(told: Told) -> Iterator[Block]:
    yield Heading("The pixel")
    columns = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    yield Table(
        ["time to first byte", "p50 ms", "p90 ms", "p99 ms", "longest ms"],
        [
            ["idle", *(f"{told['idle'][name]:.2f}" for name in columns)],
            [
                f"beside {told['rate_per_s']:,} clicks/s",
                *(f"{told['loaded'][name]:.2f}" for name in columns),
            ],
        ],
    )
    yield Paragraph(
        f"{len(told['rounds'])} rounds of {told['pixels']} pixels one after the other, each a "
        "conversion, idle and beside the load by turns, from a Python client whose own time is in "
        "the figure; `python -m bench.browser.run` asks a browser. Medians over the rounds, in "
        "each of which p99 rests on a handful."
    )
