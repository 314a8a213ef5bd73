"""The engine by itself: what other benches measure of it, for the page of everything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any, Final

from bench.load.drive import ROOT
from bench.load.stand import Stand
from bench.peers.compare import spread

BATCH: Final = 256
_TIMEOUT_S: Final = 900.0
_SCORING: Final = re.compile(r"^scoring adds +(-?[\d.]+) us$", re.MULTILINE)
_SCORED: Final = re.compile(r"^state of scoring, as it counts itself +(\d+) bytes", re.MULTILINE)


class CannotMeasure(Exception):
    """What a bench said when it failed."""


def _said(*words: str) -> str:
    """What a bench of this repository prints."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise CannotMeasure(f"{words[0]}: {last}")
    return done.stdout


def engine(stand: Stand) -> dict[str, Any]:
    """The identity graph beside dictionaries, and what scoring adds. Raises CannotMeasure."""
    size = stand.size
    file, out = stand.path("identity"), stand.path("pages")
    _said(
        *("bench.identity.run", "--identifiers", str(size.identifiers), "--peers", "dict"),
        *("--rounds", str(size.rounds), "--json", str(file), "--out", str(out)),
    )
    found = json.loads(file.read_text())
    series = {(one["peer"], one["batch"]): one["per_cpu_s"] for one in found["series"]}
    ours, dict_ = series["engine", BATCH], series["dict", 1]
    loaded, own = found["loading"]["engine"], found["engine"]
    stand.say("the identity graph is measured; scoring")
    scoring = [
        _said("bench.fraud.cost", "--clicks", str(size.scored), "--flood", "1000")
        for _ in range(size.rounds)
    ]
    state = {int(bytes_) for text in scoring for bytes_ in _SCORED.findall(text)}
    return {
        "identifiers": size.identifiers,
        "clicks": size.scored,
        "lookups_per_cpu_s": spread(ours),
        "ratio_to_dict": spread([one / other for one, other in zip(ours, dict_, strict=True)]),
        "observations_per_cpu_s": loaded["links_per_s"],
        "clicks_per_cpu_s": loaded["clicks_per_s"],
        "bytes_per_identifier": own["graph_bytes"] / size.identifiers,
        "bytes_per_click": own["clicks_bytes"] / found["clicks"],
        "bytes_of_scoring_per_click": max(state),
        "scoring_us": spread([float(us) for text in scoring for us in _SCORING.findall(text)]),
    }
