"""The part of the report that sets servers side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.load.requests import Mode
from bench.load.stand import MODES
from bench.peers.compare import OWN, OWN_SHARE, Comparison, Sample, Spread
from bench.peers.servers import PROMISES
from bench.report import charts
from bench.report.page import Block, Chart, Heading, Listing, Paragraph, Table

NONE = "—"


def told(spread: Spread | None, digits: int = 1) -> str:
    """A median with its lowest and highest."""
    if spread is None:
        return NONE
    median_, low, high = (f"{value:,.{digits}f}" for value in spread)
    return f"{median_} ({low} – {high})"


def of(samples: Sequence[Sample], name: str) -> float:
    """The median over samples of a percentile of latency, in milliseconds."""
    return median(sample.latency_us[name] for sample in samples) / 1000


def _servers(found: Comparison) -> list[str]:
    return list(dict.fromkeys(sample.server for sample in found.samples))


def blocks(found: Comparison) -> Iterator[Block]:
    """Everything about the comparison."""
    yield Heading("Side by side")
    yield Paragraph(
        "Every server has the same cores and is sent the same requests; it serves with one process "
        "(and Redis, where it has one, on the same core). What each does before it answers is not "
        "the same:"
    )
    yield Listing([f"{name}: {PROMISES[name]}." for name in _servers(found)])
    for mode in MODES:
        yield from _costs(found, mode)
    yield from _latencies(found)
    yield Paragraph(
        "What this does not show: several edges on more cores; a network; a disk slower than this "
        "one, which Redis with appendfsync always waits for; what matching costs, which is the "
        "next part. The servers and the kernel's side of the connection share a core, and so do "
        "generator and its side: on real machines the network card's interrupts are elsewhere."
    )


def _costs(found: Comparison, mode: Mode) -> Iterator[Block]:
    says = "kept-alive connections" if mode == "keep-alive" else "a connection for each click"
    yield Heading(f"CPU for a request, {says}", 3)
    rows, bars = [], []
    for server in _servers(found):
        samples = found.closed(server, mode)
        if not samples:
            continue
        parts = {
            part: median(sample.cpu_us[part] for sample in samples) for part in samples[0].cpu_us
        }
        ratio = told(found.ratio(mode, server), 2) if server != OWN else NONE
        at_least = "at least " if found.is_bound(server, mode) else ""
        rows.append(
            [
                server,
                told(found.cpu_us(server, mode)),
                ", ".join(f"{name} {value:.1f}" for name, value in parts.items()),
                f"{at_least}{found.capacity(server, mode):,.0f}",
                ratio,
                str(sum(sample.failed for sample in samples)),
            ]
        )
        bars.append(charts.Bar(server, list(parts.items())))
    yield Table(
        ["", "us", "of which", "requests/s", f"{OWN} against it", "failed"],
        rows,
    )
    yield Chart(
        f"cpu-{mode}",
        f"CPU for a request by component, closed loop, {says}",
        charts.bars(f"CPU for a request, {says}", bars, "us"),
    )
    most = [
        charts.Bar(server, [("requests/s", found.capacity(server, mode))])
        for server in _servers(found)
    ]
    yield Chart(
        f"throughput-{mode}",
        f"Throughput of one core, closed loop, {says}",
        charts.bars(f"Throughput, {says}", most, "/s"),
    )
    yield Paragraph(
        "A closed loop: the next request leaves with the answer. The median of the rounds, with "
        'the lowest and highest. "At least": the generator was above four fifths of its '
        "own ceiling, and the server could bear more. The ratio is taken within each round."
    )


def _latencies(found: Comparison) -> Iterator[Block]:
    yield Heading("Latency at fixed rates", 3)
    rows = []
    for mode in MODES:
        for server in _servers(found):
            for rate, samples in found.at_rates(server, mode):
                share = f"{samples[0].share:.0%} of its own" if samples[0].share else ""
                rows.append(
                    [
                        f"{server}, {mode}",
                        f"{rate:,.0f}",
                        share,
                        *(f"{of(samples, name):.2f}" for name in ("p50", "p99", "p99_9")),
                        f"{median(s.late_us['p99'] for s in samples) / 1000:.2f}",
                        f"{median(sample.cpu_us_in_all for sample in samples):.1f}",
                        str(sum(sample.failed for sample in samples)),
                    ]
                )
    yield Table(
        [
            *("", "requests/s", "capacity", "p50 ms", "p99 ms", "p99.9 ms"),
            *("sent late p99 ms", "CPU us", "failed"),
        ],
        rows,
    )
    series = [
        charts.Line(
            server,
            [(rate, of(samples, "p99")) for rate, samples in found.at_rates(server, "keep-alive")],
        )
        for server in _servers(found)
    ]
    yield Chart(
        "latency-over-load",
        "p99 of latency over load, kept-alive connections",
        charts.lines(
            "p99 of latency over load",
            series,
            x_says="requests/s",
            y_says="ms",
            is_log=True,
        ),
    )
    own = [samples for _, samples in found.at_rates(OWN, "keep-alive")]
    yield Chart(
        "latency-percentiles",
        f"Percentiles of {OWN} over load",
        charts.lines(
            f"{OWN}: latency over load",
            [
                charts.Line(name, [(samples[0].rate, of(samples, key)) for samples in own])
                for name, key in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p99_9"))
            ],
            x_says="requests/s",
            y_says="ms",
            is_log=True,
        ),
    )
    yield Paragraph(
        "An open loop with Poisson arrivals: requests leave when they are due, whether or not "
        "earlier ones were answered, and latency counts from that moment, so a stall of the server "
        "is seen by all who would have come meanwhile. Whatever the generator sends late is in "
        "the latency too, and has a column of its own: where it is near the latency, the figure "
        "tells of the machine."
    )


def own_share(found: Comparison) -> list[Sample]:
    """Our samples at the share of our own capacity that latency is promised for."""
    return [
        sample
        for sample in found.samples
        if sample.server == OWN and sample.share == OWN_SHARE and sample.mode == "keep-alive"
    ]
