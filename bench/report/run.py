"""Measure everything, and write one page of it.

    python -m bench.report.run [--quick] [--only peers,throughput,burst,outage,pixels] [--out DIR]

The page is DIR/report.md and DIR/report.html, every number DIR/report.json. Fails if a click was
lost, doubled or unanswered, or if a part could not be measured.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.load import scenarios
from bench.load.drive import CEILING_SHARE
from bench.load.stand import FULL, QUICK, Stand, stand
from bench.peers.compare import OWN, Comparison, compare, spread
from bench.report import machine, scenes, servers
from bench.report.page import Block, Chart, Heading, Listing, Paragraph, Table, html, markdown

TITLE = "Headwater, measured"
PARTS = ("peers", "throughput", "burst", "outage", "pixels")
# What a part needs at the least, in seconds: below that it is not begun.
_NEEDS_S = {"throughput": 60.0, "burst": 90.0, "outage": 60.0, "pixels": 30.0}


def measured(place: Stand, parts: list[str]) -> dict[str, Any]:
    """What each part came to, by name."""
    size = place.size
    doing: dict[str, Callable[[], Any]] = {
        "throughput": lambda: scenarios.throughput(place, size.throughput_s),
        "burst": lambda: scenarios.burst(place),
        "outage": lambda: scenarios.outage(place),
        "pixels": lambda: scenarios.pixels(place),
        "peers": lambda: compare(place),
    }
    found: dict[str, Any] = {}
    # The comparison comes last and takes what time is left.
    for name in (*PARTS[1:], PARTS[0]):
        if name in parts and (name == "peers" or place.has_time(name, _NEEDS_S[name])):
            place.say(f"part: {name}")
            found[name] = doing[name]()
    return found


def faults(found: dict[str, Any]) -> list[str]:
    """What may not be in any run."""
    wrong = [
        f"{name}: clicks were lost, doubled or not answered"
        for name in ("throughput", "burst", "outage")
        if name in found and not scenarios.is_whole(found[name])
    ]
    compared: Comparison | None = found.get("peers")
    if compared:
        checked = compared.checked
        if checked and (checked.absent > compared.unaccepted or checked.doubled):
            wrong.append(f"peers: {checked}")
        unanswered = sum(s.failed for s in compared.samples if s.server == OWN)
        if unanswered:
            wrong.append(f"peers: {unanswered} requests of {OWN} were not answered")
    return wrong


def _figures(found: dict[str, Any]) -> Iterator[list[str]]:
    """The figures one would quote, each with what it is measured by."""
    compared: Comparison | None = found.get("peers")
    if compared:
        for peer in ("nginx empty_gif", "nginx + Lua, always"):
            for mode in ("keep-alive", "close"):
                ratio = servers.told(compared.ratio(mode, peer), 2)
                yield [f"CPU for a click, edge and Redis, against {peer}, {mode}", ratio]
        own = servers.own_share(compared)
        if own:
            p99 = spread([sample.latency_us["p99"] / 1000 for sample in own])
            yield [f"p99 at {own[0].rate:,.0f}/s, 70 % of own capacity, ms", servers.told(p99, 2)]
            nginx = compared.capacity("nginx empty_gif", "keep-alive")
            if nginx:
                yield ["that rate against nginx's closed loop", f"{own[0].rate / nginx:.2f}"]
    if "pixels" in found:
        for state in ("idle", "loaded"):
            yield [f"pixel, first byte, p99, {state}, ms", str(found["pixels"][state]["p99_ms"])]
    if "throughput" in found:
        per_s = found["throughput"]["committed_per_cpu_second"]
        yield ["clicks committed for a second of CPU, all processes", f"{per_s:,}"]


def blocks(place: Stand, found: dict[str, Any], facts: dict[str, Any]) -> Iterator[Block]:
    """The page."""
    yield Heading(TITLE, 1)
    yield Table(["", "figure"], list(_figures(found)))
    wrong = faults(found)
    if wrong or place.notes:
        yield Heading("Not as it should be")
        yield Listing([*wrong, *place.notes])
    yield Heading("Machine and method")
    yield Table(["", ""], [[name, str(value)] for name, value in facts.items()])
    ceilings = ", ".join(f"{m} {p:,.0f}/s" for m, p in place.generator.ceilings.items())
    yield Paragraph(
        f"Servers run on cores {sorted(place.server_cores)}, the generator on "
        f"{sorted(place.load_cores)}. The generator's ceiling against a server that does nothing: "
        f"{ceilings}; no figure is taken above {CEILING_SHARE:.0%} of it. Heads have about 600 "
        f"bytes; clicks go to {place.size.links:,} links, half of the visitors bring their "
        "cookie, each request names another address. CPU is what the kernel charged to all "
        "processes that serve, from /proc, divided by requests answered. While servers are "
        "compared our matcher stands still: what is compared is to answer, and it is measured "
        "apart. Every click id that was answered, in any part, is looked for in the ledger."
    )
    if "peers" in found:
        yield from servers.blocks(found["peers"])
        if found["peers"].drained:
            yield from scenes.drained(found["peers"].drained)
    for name, told in (
        ("throughput", scenes.throughput),
        ("burst", scenes.burst),
        ("outage", scenes.outage),
        ("pixels", scenes.pixels),
    ):
        if name in found:
            yield from told(found[name])


def write(place: Stand, found: dict[str, Any], facts: dict[str, Any], out: Path) -> None:
    """The page in both forms, its pictures, and every number."""
    out.mkdir(parents=True, exist_ok=True)
    page = list(blocks(place, found, facts))
    (out / "report.md").write_text(markdown(page))
    (out / "report.html").write_text(html(TITLE, page))
    for block in page:
        if isinstance(block, Chart) and block.svg:
            (out / f"{block.name}.svg").write_text(block.svg)
    raw = {
        "facts": facts,
        "size": place.size._asdict(),
        "ceilings": place.generator.ceilings,
        "notes": place.notes,
        **{name: _plain(value) for name, value in found.items()},
    }
    (out / "report.json").write_text(json.dumps(raw, indent=1) + "\n")


def _plain(value: Any) -> Any:
    if not isinstance(value, Comparison):
        return value
    return {
        **asdict(value),
        "samples": [sample._asdict() for sample in value.samples],
        "checked": value.checked._asdict() if value.checked else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small run, three minutes")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    parts = options.only.split(",")
    unknown = set(parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if platform.system() != "Linux":
        parser.error("it reads /proc, and runs on Linux only")
    with stand(QUICK if options.quick else FULL) as place:
        quiet = machine.Quiet()
        facts = machine.facts()
        found = measured(place, parts)
        facts |= quiet.told()
        write(place, found, facts, options.out)
        wrong = faults(found)
        place.say(f"the report is {options.out / 'report.html'}")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
