"""User agents with labels: what of the bots is found, and what of the browsers is taken for one.

Each agent makes one click in a visit of its own, from an address of its own, at a time of its own;
of the request nothing else is known, so nothing but the agent can speak.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from headwater import limits
from headwater.edge.text import cut
from headwater.model.fraud import Scored, scored
from headwater.model.signals import MODES, signals
from headwater.ops.evaluate_bots import BotList
from headwater.ops.evaluate_feed import Feed, Outcomes, number_of, plain
from headwater.ops.evaluate_read import Faults, Progressed, lines, nobody, require_good
from headwater.ops.evaluate_report import Report, Table, share
from headwater.ops.evaluate_statistics import wilson

HARD: Final = frozenset({"filtered", "reject"})
LABELS: Final = ("bot", "browser")
_BEGIN_MS: Final = 1_790_000_000_000
_SCORING: Final = MODES.index("score")
_WANTED: Final = 'a JSON object with "ua" and "label", one of "bot" and "browser"'


def about_agent(found: Scored | None) -> list[str]:
    """The codes of a scored click that speak of its user agent, and count."""
    if found is None:
        return []
    table = signals()
    return [
        finding.code
        for finding in found.findings
        if finding.mode >= _SCORING
        and not finding.is_inherited
        and (
            finding.code == "UA_CH_MISMATCH"
            or (finding.code in table and table[finding.code].family == "declared")
        )
    ]


def evaluate(path: Path, bots: BotList, progressed: Progressed = nobody) -> Report:
    """Run the engine over a file of agents. Raises HeadwaterError."""
    faults = Faults()
    found = _Found()
    feed = Feed(_BEGIN_MS, bots=bots)
    waiting: dict[int, str] = {}
    read = 0
    for line in lines(path, faults, progressed):
        try:
            agent, label = parse(line.text)
        except ValueError as error:
            faults.add(line.number, str(error))
            continue
        read += 1
        at_ms = _BEGIN_MS + 1000 * read
        waiting[number_of(feed.click(at_ms, plain(agent, f"agent {read}", at_ms)))] = label
        if feed.is_full:
            found.take(feed.flush()[0], waiting)
    require_good(path, read, faults, _WANTED)
    found.take(feed.flush()[0], waiting)
    return found.report(read, faults, bots)


def parse(text: str) -> tuple[str, str]:
    """Agent and label of a line. Raises ValueError with what is wrong with it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    agent, label = found.get("ua"), found.get("label")
    if not isinstance(agent, str):
        raise ValueError('"ua" is not a text')
    if label not in LABELS:
        raise ValueError('"label" is neither "bot" nor "browser"')
    return cut(agent, limits.USER_AGENT_BYTES_MAX), label


class _Found:
    """Counts by label."""

    def __init__(self) -> None:
        self._hits: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
        self._codes: dict[str, Counter[str]] = {label: Counter() for label in LABELS}

    def take(self, outcomes: Outcomes, waiting: dict[int, str]) -> None:
        for row in outcomes.clicks:
            label = waiting.pop(number_of(row.click_id))
            is_hard = row.verdict in HARD
            codes = about_agent(scored(row.fraud))
            counts = self._hits[label]
            counts["all"] += 1
            counts["hard"] += is_hard
            counts["any"] += is_hard or bool(codes)
            self._codes[label].update(codes)

    def report(self, read: int, faults: Faults, bots: BotList) -> Report:
        bot, browser = self._hits["bot"], self._hits["browser"]
        figures: dict[str, Any] = {}
        rows = []
        for name, counts, kind in (
            ("recall_hard", bot, "hard"),
            ("recall_any", bot, "any"),
            ("fpr_hard", browser, "hard"),
            ("fpr_any", browser, "any"),
        ):
            interval = wilson(counts[kind], counts["all"])
            figures[name] = interval._asdict()
            rows.append((name, share(interval), f"{counts[kind]} of {counts['all']}"))
        figures["bots"], figures["browsers"] = bot["all"], browser["all"]
        figures["counts"] = {
            label: {kind: counts[kind] for kind in ("all", "hard", "any")}
            for label, counts in self._hits.items()
        }
        figures["codes"] = {
            label: dict(sorted(counts.items())) for label, counts in self._codes.items()
        }
        figures["bot_list"] = {
            "version": bots.version,
            "patterns": len(bots.patterns),
            "left_out": bots.left_out,
        }
        notes = [
            "hard: verdict filtered or reject; any: that, or a code about the user agent that "
            "counts",
            f"list of bots {bots.version}: {len(bots.patterns)} patterns"
            + (f", {bots.left_out} left out as added later" if bots.left_out else ""),
        ]
        table = Table("User agents", ("figure", "share, 95 %", "agents"), rows)
        codes = [
            (code, str(self._codes["bot"][code]), str(self._codes["browser"][code]))
            for code in sorted(self._codes["bot"] | self._codes["browser"])
        ]
        return Report(
            read, faults, figures, [table, Table("Codes", ("code", *LABELS), codes)], notes
        )
