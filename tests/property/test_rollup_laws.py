"""Rollups are what a naive recount of the rows gives, over any log, wherever it was cut."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from book_tools import CLICK_TYPE, DAY_MS, SALE, event
from headwater import limits
from headwater.book.context import digest
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import click_rollups, sale_rollups
from headwater.model.records import Flag
from ledger_tools import ledger_in
from rollup_tools import Traffic, commit_all, faults, stored

SUB_IDS_MAX = 2
PARTNERS = st.integers(1, 2)
CONVERSIONS = st.integers(1, 4)
AMOUNTS = st.integers(-50, 3000)
VERDICTS = st.sampled_from(["accept", "review", "reject", "filtered"])
COUNTED = st.sampled_from(["counted", "duplicate", "prefetch", "test"])
TERMS: dict[str, Any] = {
    "events": {
        str(SALE): {"default": {"kind": "percent", "ppm": 100_001}},
        str(CLICK_TYPE): {"default": {"kind": "flat", "amount_micros": 250_000}},
    },
    "caps": [
        {
            "metric": "conversions",
            "period": "lifetime",
            "scope": "program",
            "event_type": SALE,
            "limit": 2,
        }
    ],
}
STEPS = st.one_of(
    st.builds(
        lambda **of: ("visit", of),
        partner=PARTNERS,
        program=st.integers(1, 2),
        link=st.integers(0, 2),
        sub1=st.sampled_from(["", "a", "b", "c", "d"]),
        country=st.sampled_from([None, "DE", "US"]),
        device=st.sampled_from(["", "desktop", "ios", "android"]),
        verdict=VERDICTS,
        counted=COUNTED,
        is_unique=st.integers(0, 1),
        flags=st.sampled_from([0, 0, 0, int(Flag.SOFT_CLICK), int(Flag.IMPRESSION)]),
        late_ms=st.sampled_from([0, 0, DAY_MS // 2, 40 * DAY_MS]),
    ),
    st.tuples(
        st.just("conversion"),
        CONVERSIONS,
        st.lists(PARTNERS, max_size=2),
        st.integers(0, 3000),
        st.sampled_from(["accept", "review", "reject"]),
        st.booleans(),
        st.sampled_from([None, "unattributed", "rejected", "pending"]),
        st.integers(0, 5),
    ),
    st.tuples(st.just("scored"), st.integers(0, 3), VERDICTS, COUNTED),
    st.tuples(st.just("tick")),
    st.tuples(st.just("wait"), st.integers(0, 2 * 40 * 24)),
    st.tuples(
        st.sampled_from(["approve", "reverse", "reset", "modify", "pay", "compensate"]),
        CONVERSIONS,
        PARTNERS,
        AMOUNTS,
    ),
    st.tuples(st.just("attribute"), CONVERSIONS, PARTNERS),
    st.tuples(st.just("settle"), st.integers(0, 60)),
)


def written(steps: list[tuple[Any, ...]]) -> Traffic:
    """The log of what was drawn."""
    log = Traffic(kinds=("sale", "click"))
    log.terms(**TERMS)
    visits: list[bytes] = []
    scores: dict[bytes, int] = {}
    revisions: dict[int, int] = {}
    for name, *of in steps:
        if name == "visit":
            visits.append(log.visit(**of[0]))
        elif name == "conversion":
            number, partners, amount_minor, verdict, test, status, back = of
            revisions[number] = revisions.get(number, 0) + 1
            clicks = visits[-1 - back :]
            shares = [1_000_000 // len(partners)] * len(partners) if partners else []
            if shares:
                shares[0] += 1_000_000 - sum(shares)
            credits_given = [
                (partner, share, clicks[at % len(clicks)] if clicks else None)
                for at, (partner, share) in enumerate(zip(partners, shares, strict=True))
            ]
            log.conversion(
                number,
                *(credits_given if status is None else ()),
                revision=revisions[number],
                amount_minor=amount_minor,
                verdict=verdict,
                test=test,
                status=status,
            )
        elif name == "scored":
            if visits:
                click_id = visits[-1 - of[0] % len(visits)]
                scores[click_id] = scores.get(click_id, 0) + 1
                log.scored_again(click_id, scores[click_id], of[1], of[2])
        elif name == "tick":
            log.tick()
        elif name == "wait":
            log.wait(of[0] * DAY_MS // 48)
        elif name == "attribute":
            log.decision("conversion.attribute", event(10**6 + of[0]), partner=of[1])
        elif name == "settle":
            log.decision("program.settle", until_ms=log.now_ms + of[0] * DAY_MS)
        else:
            number, partner, amount_minor = of
            action_id = digest("conversion", event(10**6 + number), partner)
            params = {"amount_minor": amount_minor, "payout_minor": amount_minor - 1500}
            log.decision(f"action.{name}", action_id, **params)
    return log


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a ledger without rows: to make one takes longer than to fill it."""
    folder = tmp_path_factory.mktemp("empty")
    with ledger_in(folder):
        pass
    return folder / "ledger.sqlite"


@contextmanager
def copied(empty: Path, folder: str) -> Iterator[Ledger]:
    shutil.copy(empty, folder)
    with ledger_in(Path(folder)) as ledger:
        yield ledger


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.lists(STEPS, min_size=1, max_size=40), st.lists(st.integers(1, 50), max_size=6))
def test_rollups_are_a_recount_of_the_rows(
    monkeypatch: pytest.MonkeyPatch,
    empty: Path,
    steps: list[tuple[Any, ...]],
    cuts: list[int],
) -> None:
    monkeypatch.setattr(limits, "ROLLUP_SUB_IDS_MAX", SUB_IDS_MAX)
    monkeypatch.setattr(limits, "ROLLUP_FOLDS_MAX", 1)
    found: list[Any] = []
    for chosen, restarts in ((cuts, False), ((), False), (range(1, 200), True)):
        with tempfile.TemporaryDirectory() as folder, copied(empty, folder) as ledger:
            commit_all(ledger, written(steps), chosen, restarts=restarts)
            assert faults(ledger, SUB_IDS_MAX) == []
            found.append([stored(ledger, table, 0) for table in (click_rollups, sale_rollups)])
    assert found[0] == found[1] == found[2]
