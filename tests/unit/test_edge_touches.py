"""Touches that are no clicks, and windows of event types, at the edge and in the counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

import edge_tools
from edge_tools import Running, program
from headwater import limits
from headwater.edge.links import LinkTable
from headwater.ledger import matching
from headwater.ledger.census import census
from headwater.ledger.engine import Ledger
from headwater.matcher import outcomes
from headwater.matcher.partition import merge_outcomes
from headwater.model.records import Flag
from ledger_tools import (
    acquired,
    batch,
    click_outcome,
    click_rows,
    erasure_outcome,
    ledger_in,
    revised_outcome,
)

edge, ordinary = edge_tools.edge, edge_tools.ordinary
CLICK = {"program": "check", "partner": "prt_7", "visitor_id": "0abc"}
DAY_S = 86_400


@pytest.mark.parametrize(
    ("sent", "flags"),
    [
        ({}, 0),
        ({"touch_type": "click"}, 0),
        ({"touch_type": ""}, 0),
        ({"touch_type": None}, 0),
        ({"touch_type": "soft_click"}, Flag.SOFT_CLICK),
        ({"touch_type": "impression"}, Flag.IMPRESSION),
        ({"touch_type": "impression", "test": True}, Flag.IMPRESSION | Flag.TEST),
    ],
)
def test_a_touch_is_recorded_with_its_kind(edge: Running, sent: dict[str, Any], flags: int) -> None:
    reply = edge.post("/v1/clicks", {**CLICK, **sent})
    assert reply.status == 201, reply.body
    assert edge.one().body[3] == flags


def test_each_kind_is_counted_for_itself(edge: Running) -> None:
    for kind in ("click", "soft_click", "impression"):
        edge.post("/v1/clicks", {**CLICK, "touch_type": kind})
    batch = [{"type": "click", **CLICK, "touch_type": "impression"}]
    (row,) = edge.post("/v1/events", batch).json
    assert (row["status"], row["code"]) == (201, None)
    assert [record.body[3] for record in edge.take()] == [0, 32, 64, 64]


@pytest.mark.parametrize("wrong", ["view", "Click", 1, ["click"]])
def test_another_kind_of_touch_is_refused(edge: Running, wrong: Any) -> None:
    reply = edge.post("/v1/clicks", {**CLICK, "touch_type": wrong})
    assert (reply.status, reply.codes) == (422, ["invalid"])
    (row,) = edge.post("/v1/events", [{"type": "click", **CLICK, "touch_type": wrong}]).json
    assert (row["status"], row["code"]) == (422, "invalid")
    assert not edge.take()


# ---- Counts


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_only_clicks_count_as_clicks(ledger: Ledger) -> None:
    rows = [click_outcome(flags=flags) for flags in (0, 1, 32, 64, 65)]
    matching.commit(ledger, [batch(acquired(ledger), clicks=rows)], lease_until_ms=0)
    found = census(ledger)
    assert (found.clicks_by_verdict, found.other_touches, found.events) == ({"accept": 2}, 3, 5)
    before = counted("headwater_clicks_total", verdict="accept")
    kinds = {
        kind: counted("headwater_events_committed_total", kind=kind)
        for kind in ("click", "soft_click", "impression", "erasure")
    }
    erasure = erasure_outcome(bytes(16))
    changed = counted("headwater_click_revisions_total", verdict="review")
    outcomes.count(
        merge_outcomes(
            {},
            {
                "clicks": click_rows(rows),
                "decision_revised": [revised_outcome(rows[0][0], 1)],
                "erasures": [erasure],
            },
        )
    )
    # A revision takes nothing from what was counted: counters only grow.
    assert counted("headwater_clicks_total", verdict="accept") == before + 2
    assert counted("headwater_click_revisions_total", verdict="review") == changed + 1
    grown = {
        kind: counted("headwater_events_committed_total", kind=kind) - count
        for kind, count in kinds.items()
    }
    assert grown == {"click": 2, "soft_click": 1, "impression": 2, "erasure": 1}


def test_outcomes_of_an_engine_without_the_new_tables_are_taken(ledger: Ledger) -> None:
    merged = merge_outcomes({}, {"clicks": click_rows([click_outcome()])})
    assert (merged["erasures"], merged["late_evidence"]) == ([], [])
    plain = {
        key: value for key, value in merged.items() if key not in ("erasures", "late_evidence")
    }
    outcomes.count(plain)
    matching.commit(ledger, [batch(acquired(ledger), **plain)], lease_until_ms=0)
    assert census(ledger).events == 1


# ---- Windows


def event_type(**members: Any) -> dict[str, Any]:
    return {"program": 1, "code": "sale", "kind": "sale", "status": "active", **members}


def test_the_cookie_lives_as_long_as_the_longest_window_of_its_program() -> None:
    table = LinkTable()
    table.apply("program", 1, program(click_window_seconds=30 * DAY_S))
    table.apply("program", 2, program(code="long", click_window_seconds=90 * DAY_S))
    table.apply("event_type", 1, event_type())

    def age_s() -> int:
        return table.cookie_age_s(table.programs[1])

    assert age_s() == 30 * DAY_S
    table.apply("event_type", 2, event_type(code="lead", click_window_seconds=60 * DAY_S))
    assert age_s() == 60 * DAY_S
    table.apply("event_type", 2, event_type(code="lead", click_window_seconds=500 * DAY_S))
    assert age_s() == limits.COOKIE_AGE_S_MAX
    table.apply("event_type", 2, None)
    assert age_s() == 30 * DAY_S
    table.apply("program", 1, program(click_window_seconds=3600))
    assert age_s() == DAY_S


@pytest.mark.parametrize("kind", ["promo_code", "erasure", "something new"])
def test_kinds_of_objects_an_edge_does_not_know_are_passed_over(kind: str) -> None:
    table = LinkTable()
    table.apply(kind, 1, None)
    table.apply(kind, 1, {"code": "X"})
