"""Measure everything, and write one page of it.

    python -m bench.report.run [--quick] [--only PARTS] [--out DIR]

The page is DIR/report.md and DIR/report.html, every number DIR/report.json. Fails if a click was
lost, doubled or unanswered, or if a part could not be measured.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from http.client import HTTPException
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from bench.load import scenarios
from bench.load.drive import CEILING_SHARE, GeneratorBoundError
from bench.load.stand import FULL, QUICK, Stand, stand
from bench.peers.compare import OWN, Comparison, compare
from bench.profiling.scene import profile
from bench.report import figures, machine, profiles, scenes, servers
from bench.report.engine import CannotMeasure, engine
from bench.report.page import Block, Chart, Heading, Listing, Paragraph, Table, html, markdown

from headwater.errors import HeadwaterError

TITLE = "Headwater, measured"
PARTS = ("peers", "throughput", "burst", "outage", "pixels", "profile", "engine")
# What three minutes have no room for.
NOT_QUICK = {"profile", "engine"}
# What a part needs at the least, in seconds: below that it is not begun.
_NEEDS_S = {
    "throughput": 60.0,
    "burst": 90.0,
    "outage": 60.0,
    "pixels": 30.0,
    "profile": 60.0,
    "engine": 180.0,
}
_QUICK_BY = 4
# What befalls one part: the others are measured and told all the same.
_CAN_FAIL = (
    CannotMeasure,
    GeneratorBoundError,
    HTTPException,
    HeadwaterError,
    OSError,
    RuntimeError,
    SubprocessError,
)


def measured(place: Stand, parts: list[str]) -> dict[str, Any]:
    """What each part came to, by name."""
    size = place.size
    doing: dict[str, Callable[[], Any]] = {
        "throughput": lambda: scenarios.throughput(place, size.throughput_s),
        "burst": lambda: scenarios.burst(place),
        "outage": lambda: scenarios.outage(place),
        "pixels": lambda: scenarios.pixels(place),
        "profile": lambda: profile(place),
        "engine": lambda: engine(place),
        "peers": lambda: compare(place),
    }
    found: dict[str, Any] = {}
    # The comparison has rounds to spare and takes what time is left; in a small run it has one or
    # two, and most figures are its.
    order = PARTS if size == QUICK else (*PARTS[1:], PARTS[0])
    for name in order:
        needs_s = _NEEDS_S.get(name, 0.0) / (1 if size == FULL else _QUICK_BY)
        if name in parts and place.has_time(name, needs_s):
            place.say(f"part: {name}")
            try:
                found[name] = doing[name]()
            except _CAN_FAIL as error:
                place.unmeasured.append(f"{name}: {type(error).__name__}: {error}")
                place.say(place.unmeasured[-1])
    return found


def faults(found: dict[str, Any], unmeasured: Sequence[str] = ()) -> list[str]:
    """What may not be in any run."""
    wrong = [f"not measured: {text}" for text in unmeasured]
    wrong += [
        f"{name}: clicks were lost, doubled or not answered"
        for name in ("throughput", "burst", "outage", "pixels", "profile")
        if "answered" in found.get(name, ()) and not scenarios.is_whole(found[name])
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


def blocks(place: Stand, found: dict[str, Any], facts: dict[str, Any]) -> Iterator[Block]:
    """The page."""
    yield Heading(TITLE, 1)
    yield from figures.blocks(found)
    wrong = faults(found, place.unmeasured)
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
        ("profile", profiles.profile),
        ("engine", figures.engine),
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
    parser.add_argument("--only", help=f"parts, with commas, of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    parts = [part for part in PARTS if not (options.quick and part in NOT_QUICK)]
    if options.only:
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
        wrong = faults(found, place.unmeasured)
        place.say(f"the report is {options.out / 'report.html'}")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
