"""The identity graph against what else could hold it: dict, rustworkx, SQLite, Redis.

    python -m bench.identity.run [--identifiers 1000000] [--rounds 7] [--json FILE]

Prints the tables and keeps them in bench/results/identity.md, with a chart beside them. Fails if
any two answer one lookup differently.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.identity import chart, guard, measure, report
from bench.identity.agreement import digests, disagreements
from bench.identity.dict_peer import DictPeer
from bench.identity.engine_peer import EnginePeer, UnpackedEnginePeer
from bench.identity.peer import Peer
from bench.identity.size import make
from bench.identity.workload import Workload, generate

PEERS = ("dict", "rustworkx", "sqlite", "redis")
_ALWAYS = ("engine", "dict")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def peers_of(names: set[str], skipped: list[str]) -> dict[str, Peer]:
    """The engine and the peers asked for; without those whose package is not installed."""
    made: dict[str, Peer] = {}
    for name in ("engine", *PEERS):
        if name not in names and name not in _ALWAYS:
            continue
        try:
            made[name] = make(name)
        except ModuleNotFoundError as error:
            skipped.append(f"{name} ({error})")
    return made


def check(peers: list[Peer], workload: Workload) -> None:
    """Asks all every lookup; ends the run if two differ."""
    oracle = digests(next(peer for peer in peers if isinstance(peer, DictPeer)), workload.lookups)
    for peer in peers:
        is_engine = isinstance(peer, EnginePeer)
        found = digests(peer, workload.lookups)
        wrong = disagreements(workload, oracle, found, keeps_customers_apart=is_engine)
        if wrong:
            first = [(n, workload.lookups[n], oracle[n], found[n]) for n in wrong[:3]]
            raise SystemExit(f"{peer.name} differs from dict in {len(wrong)} lookups: {first}")
        say(f"agrees on {len(found):,} lookups: {peer.name}")


def measured(workload: Workload, names: set[str], rounds: int) -> report.Result:
    skipped: list[str] = []
    with ExitStack() as stack:
        loaded = {}
        peers = []
        for name, peer in peers_of(names, skipped).items():
            stack.callback(peer.close)
            say(f"loading {peer.name}")
            loaded[peer.name] = measure.load(name, peer, workload)
            peers.append(peer)
        engine = peers[0]
        assert isinstance(engine, EnginePeer)
        peers.insert(1, UnpackedEnginePeer(engine))
        check(peers, workload)
        say(f"{rounds} rounds")
        series = measure.rounds(peers, workload, rounds)
        figures = engine.own_figures()
    del peers, engine, peer
    gc.collect()
    say("with and without hubs")
    return report.Result(
        workload=workload,
        rounds=rounds,
        loaded=loaded,
        series=series,
        engine_figures=figures,
        guarded=guard.worth(workload),
        unguarded=guard.worth(guard.unguarded(workload)),
        skipped=skipped,
    )


def as_json(result: report.Result) -> dict[str, Any]:
    load = result.workload
    return {
        **report.machine(),
        "identifiers": load.identifiers,
        "links": len(load.left),
        "clicks": len(load.click_ms),
        "lookups": len(load.lookups),
        "rounds": result.rounds,
        "loading": {name: asdict(loaded) for name, loaded in result.loaded.items()},
        "series": [asdict(series) for series in result.series],
        "engine": result.engine_figures,
        "guarded": result.guarded._asdict(),
        "unguarded": result.unguarded._asdict(),
    }


def write(result: report.Result, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "identity.md").write_text(report.page(result), "utf-8")
    rows = [
        (series.name, median(series.per_cpu_s), series.peer.startswith("engine"))
        for series in result.series
    ]
    note = f"{result.workload.identifiers:,} identifiers; cold caches; logarithmic scale"
    (folder / "identity.svg").write_text(chart.bars("Lookups per CPU second", note, rows), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identifiers", type=int, default=1_000_000)
    parser.add_argument("--lookups", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", default=",".join(PEERS), help="of " + ", ".join(PEERS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    say(f"generating {options.identifiers:,} identifiers")
    workload = generate(options.identifiers, options.lookups)
    result = measured(workload, set(options.peers.split(",")), options.rounds)
    write(result, options.out)
    if options.json:
        options.json.write_text(json.dumps(as_json(result), indent=2) + "\n", "utf-8")
    print(report.page(result))


if __name__ == "__main__":
    main()
