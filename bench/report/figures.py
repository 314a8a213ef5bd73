"""The figures Headwater is held to: what was to be reached, and what was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from bench.load.requests import Mode
from bench.peers.compare import Comparison, Spread, spread
from bench.report import servers
from bench.report.page import Block, Heading, Paragraph, Table

_PIXEL: Final = "nginx empty_gif"
_LUA: Final = "nginx + Lua, always"
NONE: Final = "not measured"


class Goal(NamedTuple):
    """A figure by name: what is the least, what is aimed at, and which part measures it."""

    name: str
    says: str
    least: float
    aim: float
    part: str
    is_ceiling: bool = True
    """Smaller is better."""

    def verdict(self, value: float) -> str:
        def meets(bound: float) -> bool:
            return value <= bound if self.is_ceiling else value >= bound

        return "aim reached" if meets(self.aim) else "reached" if meets(self.least) else "**no**"


_MODES: Final[tuple[Mode, ...]] = ("keep-alive", "close")
_CPU: Final = "CPU for an accepted click, edge and Redis, against"
GOALS: Final = (
    *(Goal(f"cpu {_PIXEL} {m}", f"{_CPU} {_PIXEL}, {m}", 1.6, 1.0, "peers") for m in _MODES),
    *(Goal(f"cpu {_LUA} {m}", f"{_CPU} {_LUA}, {m}", 0.4, 0.25, "peers") for m in _MODES),
    Goal("p99", "p99 in an open loop, durable, at 70 % of own capacity, ms", 5, 2, "peers"),
    Goal("share", "that rate, against nginx' throughput at saturation", 0.4, 0.4, "peers", False),
    Goal("idle", "pixel, first byte, p99, idle, ms", 5, 2, "pixels"),
    Goal("loaded", "pixel, first byte, p99, beside 70 % load, ms", 20, 5, "pixels"),
    Goal(
        "committed",
        "clicks committed for a second of CPU, all processes",
        30_000,
        60_000,
        "throughput",
        is_ceiling=False,
    ),
    Goal(
        "lookups",
        "identity lookups for a second of CPU, from Python, batches of 256",
        0.8e6,
        1.3e6,
        "engine",
        is_ceiling=False,
    ),
    Goal("dict", "the same against dictionaries, in one process", 8, 14, "engine", False),
    Goal("node", "bytes for an identifier", 96, 72, "engine"),
    Goal("click", "bytes for a live click, with scoring", 128, 64, "engine"),
    Goal("links", "observations for a second of CPU", 1.5e6, 4e6, "engine", False),
    Goal("clicks", "clicks for a second of CPU into the engine", 0.5e6, 1.5e6, "engine", False),
    Goal("scoring", "fraud scoring added to a click in the engine, us", 1.5, 0.7, "engine"),
)


def _once(value: float) -> Spread:
    return Spread(value, value, value)


def found_in(found: dict[str, Any]) -> dict[str, Spread]:
    """What was measured, by the name of its goal."""
    values: dict[str, Spread | None] = {}
    compared: Comparison | None = found.get("peers")
    if compared:
        for peer in (_PIXEL, _LUA):
            for mode in _MODES:
                values[f"cpu {peer} {mode}"] = compared.ratio(mode, peer)
        own = servers.own_share(compared)
        if own:
            values["p99"] = spread([sample.latency_us["p99"] / 1000 for sample in own])
            nginx = [sample.per_s for sample in compared.closed(_PIXEL, "keep-alive")]
            if nginx:
                values["share"] = spread([own[0].rate / per_s for per_s in nginx])
    if "pixels" in found:
        for state in ("idle", "loaded"):
            values[state] = spread([one[state]["p99_ms"] for one in found["pixels"]["rounds"]])
    if "throughput" in found:
        rounds = found["throughput"]["rounds"]
        values["committed"] = spread([one["committed_per_cpu_second"] for one in rounds])
    if "engine" in found:
        engine = found["engine"]
        values |= {
            "lookups": engine["lookups_per_cpu_s"],
            "dict": engine["ratio_to_dict"],
            "node": _once(engine["bytes_per_identifier"]),
            "click": _once(engine["bytes_per_click"] + engine["bytes_of_scoring_per_click"]),
            "links": _once(engine["observations_per_cpu_s"]),
            "clicks": _once(engine["clicks_per_cpu_s"]),
            "scoring": engine["scoring_us"],
        }
    return {name: value for name, value in values.items() if value is not None}


def _bound(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:g}"


def _row(goal: Goal, value: Spread | None) -> Sequence[str]:
    bounds = _bound(goal.least), _bound(goal.aim)
    if value is None:
        return goal.says, NONE, *bounds, NONE, goal.part
    told = servers.told(value, 0 if value.median >= 100 else 2)
    return goal.says, told, *bounds, goal.verdict(value.median), goal.part


def blocks(found: dict[str, Any]) -> Iterator[Block]:
    """The table at the top of the page."""
    values = found_in(found)
    verdicts = [goal.verdict(values[goal.name].median) for goal in GOALS if goal.name in values]
    missed = sum(verdict == "**no**" for verdict in verdicts)
    yield Paragraph(
        f"Of {len(GOALS)} figures {len(verdicts)} were measured, {len(verdicts) - missed} are "
        f"reached, {missed} are not. Medians over rounds with the lowest and highest; a part is "
        "measured again by `python -m bench.report.run --only PART`."
    )
    yield Table(
        ["", "measured", "at least", "aim", "reached", "part"],
        [_row(goal, values.get(goal.name)) for goal in GOALS],
    )


def engine(told: dict[str, Any]) -> Iterator[Block]:
    """What of the engine is not in the table at the top."""
    yield Heading("The engine by itself")
    yield Paragraph(
        f"{told['identifiers']:,} identifiers and one and a half clicks for each, loaded as frames "
        f"and asked from Python with cold caches (`bench.identity.run`); scoring over "
        f"{told['clicks']:,} clicks (`bench.fraud.cost`). A live click takes "
        f"{told['bytes_per_click']:.0f} bytes with its id and {told['bytes_of_scoring_per_click']} "
        "of scoring, by the engine's own count. Loading is measured once, lookups and scoring in "
        "rounds."
    )
    yield Paragraph(
        "What it does not show: ten million identifiers, which the Rust example of "
        "docs/benchmarks.md has."
    )
