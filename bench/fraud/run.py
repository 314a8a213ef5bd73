"""Twelve injected attacks in generated traffic, and in real traffic if a file of it is given.

    python -m bench.fraud.run [--clicks 120000] [--seeds 3] [--access-log FILE] [--click-log FILE]

Takes both processors of a small machine for some ten minutes.

Prints the tables and keeps them in bench/results/fraud.md and fraud.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.fraud import real, report
from bench.fraud.conversion_attacks import ATTACKS
from bench.fraud.measure import CROWD, Bench
from bench.fraud.world import Background, generate

from headwater.ops.evaluate_bots import installed

RATES = (0.001, 0.01, 0.05)
# The seeds of backgrounds. No rule was ever looked at with these.
FIRST_SEED = 20_261_101
SEARCH_RATE = 0.01


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measured(
    name: str, backgrounds: Sequence[Background], options: argparse.Namespace
) -> report.Result:
    begin_s = time.monotonic()
    wanted = [attack for attack in ATTACKS if options.only in attack.name]
    crowd = generate(FIRST_SEED, options.crowd_clicks, CROWD)
    bots = installed()
    bench = Bench(backgrounds, crowd, wanted, RATES, SEARCH_RATE, bots, say)
    say(f"{name}: {backgrounds[0].clicks} clicks, {len(backgrounds)} seeds")
    pooled, evasions, quiet = bench.measure()
    return report.Result(
        background=name,
        clicks=backgrounds[0].clicks,
        seeds=len(backgrounds),
        seconds=time.monotonic() - begin_s,
        pooled=pooled,
        evasions=evasions,
        quiet=quiet,
        attacks=wanted,
    )


def write(results: Sequence[report.Result], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fraud.md").write_text(report.page(results), "utf-8")
    told = [result.told() for result in results]
    (folder / "fraud.json").write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=120_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--crowd-clicks", type=int, default=30_000)
    parser.add_argument("--access-log", type=Path, help="in the combined format")
    parser.add_argument("--click-log", type=Path, help="in TalkingData's layout")
    parser.add_argument("--only", default="", help="attacks with this in their name")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    results = [measured("generated", [generate(seed, options.clicks) for seed in seeds], options)]
    if options.access_log:
        background = real.access_log(options.access_log, installed())
        results.append(measured("an access log's", [background] * options.seeds, options))
    if options.click_log:
        background = real.click_log(options.click_log)
        results.append(measured("a click log's", [background] * options.seeds, options))
    write(results, options.out)
    print(report.page(results))


if __name__ == "__main__":
    main()
