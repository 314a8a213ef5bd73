"""Clicks and conversions as the management API reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from console_tools import (
    RunningConsole,
    console_in,
    faults_of,
)
from headwater import ids
from headwater.console import paging
from headwater.ledger import matching
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    click_outcome,
    conversion_outcome,
    report_outcome,
)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


# ---- Clicks, conversions


@pytest.fixture(scope="module")
def decided(console: RunningConsole) -> dict[str, Any]:
    """A click and a conversion in the ledger, committed as the matcher does."""
    brand, program = console.brand_and_program("decided")
    console.made(f"/v1/programs/{program}/event-types", {"code": "sale", "kind": "sale"})
    numbers = {"brand": int(brand[4:]), "program": int(program[4:])}
    clicks = [click_outcome(NOW_MS + step, **numbers) for step in range(3)]
    conversion_id = bytes(range(16))
    visitor = [8, bytes.fromhex("a1b2c3d4") + bytes(12)]
    explain = msgpack.packb(
        {
            "members": [visitor],
            "candidates": [
                {
                    "click_id": clicks[0][0],
                    "partner": 1,
                    "touch_ms": NOW_MS,
                    "path": [
                        {
                            "from": visitor,
                            "to": [6, clicks[0][0]],
                            "at_ms": NOW_MS,
                            "event_id": clicks[0][0],
                        }
                    ],
                    "outcome": "credited",
                }
            ],
            "candidates_omitted": 0,
            "hubs": [],
            "cut": [],
            "truncated": False,
            "config_hash": bytes(16),
        }
    )
    row = conversion_outcome(
        conversion_id, credits_given=((1, clicks[0][0], 1_000_000),), explain=explain
    )
    event_type = console.call("GET", f"/v1/programs/{program}/event-types").json["items"][0]["id"]
    row = (row[0], numbers["brand"], numbers["program"], int(event_type[4:]), *row[4:])
    owner = acquired(console.ledger)
    reports = [report_outcome(conversion_id), report_outcome(conversion_id, "merged")]
    matching.commit(
        console.ledger,
        [batch(owner, clicks=clicks, conversions=[row], reports=reports)],
        lease_until_ms=0,
    )
    return {
        "clicks": [ids.event_text("clk", click[0]) for click in clicks],
        "conversion": ids.event_text("cnv", conversion_id),
        "program": program,
        "brand": brand,
    }


def test_a_click_is_read_with_all_that_was_kept(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    read = console.call("GET", f"/v1/clicks/{decided['clicks'][0]}").json
    at = "2026-09-21T14:13:20.000Z"
    assert read == {
        "id": decided["clicks"][0],
        "brand_id": decided["brand"],
        "program_id": decided["program"],
        "partner_id": "prt_1",
        "link_id": "lnk_1",
        "at": at,
        "occurred_at": at,
        "source": "link",
        "trust": "browser",
        "flags": {
            "test": True,
            "consent_denied": False,
            "deep_link_refused": False,
            "qr": False,
            "prefetch": False,
            "link_tampered": False,
        },
        "touch_type": "click",
        "verdict": "accept",
        "counted": "counted",
        "unique": True,
        "score": 0,
        "fraud": None,
        "revisions": [],
        "params": {"sub1": "x/y"},
        "referrer": None,
        "user_agent": None,
        "address_prefix": None,
    }


def test_clicks_and_conversions_are_listed_newest_first(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        path = f"/v1/clicks?program_id={decided['program']}&limit=1{cursor}"
        page = console.call("GET", path).json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == decided["clicks"][::-1]
    assert page["next_cursor"] is None
    page = console.call("GET", "/v1/conversions").json
    assert [item["conversion_id"] for item in page["items"]] == [decided["conversion"]]
    other = console.call("GET", "/v1/clicks?program_id=prg_99999").json
    assert other == {"items": [], "next_cursor": None}


def test_a_conversion_is_read_with_decision_and_reports(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    read = console.call("GET", f"/v1/conversions/{decided['conversion']}").json
    assert read["credits"] == [
        {"partner_id": "prt_1", "click_id": decided["clicks"][0], "share_ppm": 1_000_000}
    ]
    assert (read["status"], read["reason"], read["amount"], read["currency"]) == (
        "attributed",
        None,
        "12.34",
        "EUR",
    )
    assert (read["program"], read["event"], read["order_id"]) == ("decided", "sale", "A-1")
    assert sorted(report["outcome"] for report in read["reports"]) == ["created", "merged"]
    assert read["fraud"] == {"score": 0, "verdict": "accept", "codes": []}


def test_an_explanation_names_steps_by_short_keys(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    told = console.call("GET", f"/v1/conversions/{decided['conversion']}/explain").json
    (candidate,) = told["candidates"]
    click = decided["clicks"][0]
    assert candidate["path"] == [
        {
            "from": {"type": "visitor_id", "key": "a1b2c3d4"},
            "to": {"type": "click_id", "key": click},
            "at": "2026-09-21T14:13:20.000Z",
            "event_id": click,
        }
    ]
    assert (candidate["outcome"], candidate["partner_id"]) == ("credited", "prt_1")
    assert told["config_hash"] == "00" * 16
    assert {"members", "candidates", "hubs", "cut", "config_hash"} <= set(told)


@pytest.mark.parametrize("position", [(1 << 63, b""), (-1, b""), (1, 2), 1, b"x", None])
def test_a_cursor_of_something_else_is_refused(console: RunningConsole, position: object) -> None:
    reply = console.call("GET", f"/v1/conversions?cursor={paging.encode(position)}")
    assert faults_of(reply) == {"cursor": "invalid_cursor"}


def test_metrics_are_those_of_the_process(console: RunningConsole) -> None:
    assert console.call("POST", "/v1/brands", {}).status == 422
    reply = console.call("GET", "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain")
    for name in (
        b"headwater_events_accepted_total",
        b"headwater_spool_bytes",
        b'headwater_requests_refused_total{code="required",route="console POST /v1/brands"}',
    ):
        assert name in reply.body
