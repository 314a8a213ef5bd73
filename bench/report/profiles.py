"""The part of the report that tells where time goes."""

from __future__ import annotations

from collections.abc import Iterator

from bench.load.scenarios import Told
from bench.report.page import Block, Chart, Heading, Paragraph, Table

# Smaller shares are summed up.
_SHARE_MIN = 0.01
NONE = "—"


def profile(told: Told) -> Iterator[Block]:
    yield Heading("Where the time goes")
    if not told["graphs"]:
        yield Paragraph("There is no profiler here: see the notes at the top.")
        return
    yield Paragraph(
        f"{told['seconds']:g} seconds of a closed loop over all processes. A sample belongs to the "
        "code that runs, the C library's to who called it, the kernel's to what it was asked for. "
        "Microseconds are the share of what the kernel charged to the process, for each click. "
        "Why each large part stands is in docs/benchmarks.md."
    )
    for name, part in told.get("components", {}).items():
        yield Heading(f"{name}, by component", 3)
        of_us = part["us_per_click"]
        large = [(who, share) for who, share in part["shares"] if share >= _SHARE_MIN]
        rest = 1 - sum(share for _, share in large)
        rows = [*large, ("the rest", rest)] if rest > 0.0005 else large
        yield Table(
            [f"{part['samples']:,} samples", "share", "us a click"],
            [
                [who, f"{share:.1%}", NONE if of_us is None else f"{share * of_us:.1f}"]
                for who, share in rows
            ],
        )
    for name, functions in told.get("functions", {}).items():
        yield Heading(f"{name}, by function of Python", 3)
        yield Table(
            ["where its thread is", "by itself", "with what it calls"],
            [[who, f"{own:.1%}", f"{whole:.1%}"] for who, own, whole in functions],
        )
    for name, svg in told["graphs"].items():
        yield Chart(name, f"{name}: width is time; what calls stands below what it calls", svg)
    yield Paragraph(
        "What it does not show: waiting, as only running code is sampled by the first tables; "
        "a function of Python has with it the native code and the kernel's work it asked for. "
        "Frames of less than 0.2 % are left out of the graphs, and calls within the interpreter "
        "are one frame."
    )
