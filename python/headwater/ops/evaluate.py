"""`headwater evaluate`: the scoring engine over labelled data, and how well it did.

Nothing is written and no system needs to run: an engine of its own is fed through real frames.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from headwater.errors import ConfigError, HeadwaterError
from headwater.ops import evaluate_agents, evaluate_clicks, evaluate_log
from headwater.ops.evaluate_bots import BotList, installed
from headwater.ops.evaluate_read import Progressed
from headwater.ops.evaluate_report import Report, print_report, write_json

FORMATS: Final = ("user-agents", "combined", "talkingdata")
# Formats that are read twice: once to learn what is in the file, once to replay it.
_PASSES: Final = {"user-agents": 1, "combined": 2, "talkingdata": 2}
# A terminal narrower than this would break the tables; a pipe has no width.
_REPORT_COLUMNS: Final = 100


def run_evaluate(path: Path, *, layout: str, as_json: bool, lists_before: str | None) -> int:
    """Print what was found; 0 when there was something to find it in.

    Raises ConfigError with every fault of what was asked, HeadwaterError when it cannot be done.
    """
    before = _asked(layout, lists_before)
    screen = Console(stderr=True)
    with _progress(screen, path, _PASSES[layout]) as progressed:
        report = evaluate(path, layout, installed(before), progressed)
    if as_json:
        write_json(report, path, layout, sys.stdout)
    else:
        out = Console()
        width = out.width if out.is_terminal else max(out.width, _REPORT_COLUMNS)
        print_report(report, path, Console(width=width))
    return 0


def evaluate(path: Path, layout: str, bots: BotList, progressed: Progressed) -> Report:
    """Run the engine over a file of a format. Raises HeadwaterError."""
    run: dict[str, Callable[[Path, BotList, Progressed], Report]] = {
        "user-agents": evaluate_agents.evaluate,
        "combined": evaluate_log.evaluate,
        "talkingdata": evaluate_clicks.evaluate,
    }
    return run[layout](path, bots, progressed)


def _asked(layout: str, lists_before: str | None) -> date | None:
    faults = []
    before = None
    if layout not in FORMATS:
        faults.append(f"--format: one of {', '.join(FORMATS)}")
    if lists_before is not None:
        try:
            before = date.fromisoformat(lists_before)
        except ValueError:
            faults.append("--lists-before: a day such as 2025-01-31")
    if faults:
        raise ConfigError(faults)
    return before


@contextmanager
def _progress(screen: Console, path: Path, passes: int) -> Iterator[Progressed]:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise HeadwaterError(f"{path}: {error.strerror}") from error
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("evaluating", total=passes * size)
        yield lambda read: progress.advance(task, read)
