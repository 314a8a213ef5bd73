"""Reports of invalid traffic, lists by verdict, and a click's history, through the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from console_tools import RunningConsole, console_in, faults_of, fresh, program_body
from fraud_tools import finding, fraud_bytes
from headwater import clock, ids, limits
from headwater.ledger import matching
from headwater.model.records import Flag
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    click_outcome,
    conversion_outcome,
    revised_outcome,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# 2026-09-21T00:00 in New York, which is four hours behind.
MIDNIGHT_MS = clock.parse_iso_ms("2026-09-21T04:00:00Z")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console"), with_redis=False, publish_wait_ms=1) as it:
        yield it


def new_program(console: RunningConsole, **members: Any) -> int:
    """Made without Redis, so that nobody is told; it is there all the same."""
    brand = console.call("POST", "/v1/brands", {"name": "b"}).json["id"]
    body = {**program_body(brand, fresh()), **members}
    return int(console.call("POST", "/v1/programs", body).json["id"][4:])


def commit(console: RunningConsole, **outcomes: list[Any]) -> None:
    row = acquired(console.ledger)
    matching.commit(console.ledger, [batch(row, **outcomes)], lease_until_ms=NOW_MS)


def scored(
    click: tuple[Any, ...],
    verdict: str = "accept",
    counted: str = "counted",
    *,
    unique: int = 1,
    score: int = 0,
    fraud: bytes = b"",
) -> tuple[Any, ...]:
    return (*click[:10], verdict, counted, unique, score, score * 10_000, fraud, click[-1])


def report(console: RunningConsole, name: str, program: int, **query: str) -> Any:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    reply = console.call("GET", f"/v1/reports/{name}?program_id=prg_{program}&{asked}")
    assert reply.status == 200, reply.body
    return reply.json


PERIOD = {
    "since": clock.iso_ms(MIDNIGHT_MS - 2 * DAY_MS),
    "until": clock.iso_ms(MIDNIGHT_MS + DAY_MS),
}


def naive(clicks: list[tuple[Any, ...]]) -> dict[str, int]:
    """The figures by their definitions, each on its own."""
    gross = [c for c in clicks if c[11] not in ("prefetch", "test")]
    filtered = [c for c in gross if c[10] == "filtered"]
    rejected = [c for c in gross if c[10] == "reject"]
    valid = [c for c in gross if c[10] in ("accept", "review")]
    net = [c for c in valid if c[11] == "counted"]
    return {
        "gross": len(gross),
        "filtered": len(filtered),
        "rejected": len(rejected),
        "duplicate": len([c for c in valid if c[11] == "duplicate"]),
        "net": len(net),
        "review": len([c for c in net if c[10] == "review"]),
        "unique": len([c for c in net if c[12]]),
        "prefetch": len([c for c in clicks if c[11] == "prefetch"]),
        "test": len([c for c in clicks if c[11] == "test"]),
    }


def test_clicks_gross_and_net_by_partner_and_by_day(console: RunningConsole) -> None:
    """Method: random clicks against the definitions, by a plain loop."""
    random = Random(7)
    program = new_program(console, timezone="America/New_York")
    clicks = []
    for _ in range(400):
        at_ms = MIDNIGHT_MS + random.randrange(-2 * DAY_MS, DAY_MS)
        click = click_outcome(at_ms, program=program, partner=random.randint(1, 3), flags=0)
        verdict = random.choice(["accept", "review", "reject", "filtered"])
        counted = random.choice(["counted", "duplicate", "prefetch", "test"])
        clicks.append(scored(click, verdict, counted, unique=random.randint(0, 1)))
    outside = [
        click_outcome(MIDNIGHT_MS + DAY_MS, program=program, flags=0),
        click_outcome(MIDNIGHT_MS - 2 * DAY_MS - 1, program=program, flags=0),
        click_outcome(MIDNIGHT_MS, program=program + 1000, flags=0),
        click_outcome(MIDNIGHT_MS, program=program, flags=int(Flag.IMPRESSION)),
        click_outcome(MIDNIGHT_MS, program=program, flags=int(Flag.SOFT_CLICK)),
    ]
    commit(console, clicks=[*clicks, *outside])
    found = report(console, "clicks", program, **PERIOD)
    assert found["total"] == naive(clicks)
    assert found["total"]["gross"] == sum(
        found["total"][name] for name in ("filtered", "rejected", "duplicate", "net")
    )
    assert found["rows"] == [
        {
            "partner_id": f"prt_{partner}",
            "day": None,
            **naive([click for click in clicks if click[3] == partner]),
        }
        for partner in (1, 2, 3)
    ]
    days = report(console, "clicks", program, group="day", **PERIOD)
    assert days["total"] == found["total"]
    assert days["rows"] == [
        {
            "partner_id": None,
            "day": day,
            **naive(
                [c for c in clicks if start <= ids.event_id_ms(c[0]) - MIDNIGHT_MS < start + DAY_MS]
            ),
        }
        for day, start in (("2026-09-19", -2 * DAY_MS), ("2026-09-20", -DAY_MS), ("2026-09-21", 0))
    ]


def test_days_follow_a_change_of_the_clock(console: RunningConsole) -> None:
    """In New York the 1st of November 2026 has 25 hours."""
    program = new_program(console, timezone="America/New_York")
    start = clock.parse_iso_ms("2026-11-01T04:00:00Z")
    hours = [
        click_outcome(start + hour * HOUR_MS, program=program, flags=0) for hour in range(-2, 27)
    ]
    commit(console, clicks=hours)
    period = {"since": clock.iso_ms(start - DAY_MS), "until": clock.iso_ms(start + 2 * DAY_MS)}
    rows = report(console, "clicks", program, group="day", **period)["rows"]
    assert [(row["day"], row["gross"]) for row in rows] == [
        *(("2026-10-31", 2), ("2026-11-01", 25), ("2026-11-02", 2)),
    ]


def test_a_report_counts_what_a_click_has_become(console: RunningConsole) -> None:
    program = new_program(console)
    click = click_outcome(MIDNIGHT_MS, program=program, flags=0)
    commit(console, clicks=[click])
    commit(console, decision_revised=[revised_outcome(click[0], 1, verdict="reject", score=100)])
    total = report(console, "clicks", program, **PERIOD)["total"]
    assert (total["gross"], total["rejected"], total["net"]) == (1, 1, 0)


def test_what_each_signal_did_and_would_do(console: RunningConsole) -> None:
    program = new_program(console, fraud={"review_from": 60})
    shadow = finding("GIVT_DATACENTER", mode="shadow")
    rows = [
        ("review", 50, fraud_bytes(finding("IP_VELOCITY", points=50), shadow)),
        ("accept", 20, fraud_bytes(finding("MACRO_UNEXPANDED", points=20))),
        ("accept", 0, fraud_bytes(shadow)),
        ("accept", 0, fraud_bytes(finding("IMAGE_CLICK", mode="shadow"))),
        ("accept", 0, fraud_bytes(finding("UA_CH_MISMATCH", mode="shadow"))),
        ("accept", 0, fraud_bytes()),
    ]
    clicks = [
        scored(
            click_outcome(MIDNIGHT_MS + number, program=program, flags=0),
            verdict,
            score=score,
            fraud=fraud,
        )
        for number, (verdict, score, fraud) in enumerate(rows)
    ]
    test = scored(
        click_outcome(MIDNIGHT_MS, program=program), counted="test", fraud=fraud_bytes(shadow)
    )
    conversion = conversion_outcome(ids.event_id(1), program=program, accept_ms=MIDNIGHT_MS)
    inherited = fraud_bytes(finding("REF_IP_VELOCITY", points=9), finding("GEO_MISMATCH", points=3))
    commit(
        console,
        clicks=[*clicks, test],
        conversions=[(*conversion[:17], "accept", 12, 0, inherited, conversion[-1])],
    )
    found = report(console, "fraud", program, **PERIOD)["signals"]
    names = ("clicks", "conversions", "points", "shadow_clicks", "shadow_conversions")
    told = {
        each["code"]: (*(each[name] for name in names), tuple(each["would_be"].values()))
        for each in found
    }
    nothing = (0, 0, 0)
    assert told == {
        "IP_VELOCITY": (1, 0, 50, 0, 0, nothing),
        "MACRO_UNEXPANDED": (1, 0, 20, 0, 0, nothing),
        # One in review stays so; alone it would be 60, which is where review begins.
        "GIVT_DATACENTER": (0, 0, 0, 2, 0, (1, 0, 0)),
        "IMAGE_CLICK": (0, 0, 0, 1, 0, (0, 1, 0)),
        "UA_CH_MISMATCH": (0, 0, 0, 1, 0, nothing),
        "REF_IP_VELOCITY": (0, 1, 9, 0, 0, nothing),
        "GEO_MISMATCH": (0, 1, 3, 0, 0, nothing),
    }


def test_a_report_of_too_much_is_refused(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = new_program(console)
    clicks = [click_outcome(MIDNIGHT_MS, program=program, flags=0) for _ in range(3)]
    commit(console, clicks=clicks)
    monkeypatch.setattr(limits, "REPORT_ROWS_MAX", 3)
    monkeypatch.setattr(limits, "FRAUD_REPORT_ROWS_MAX", 2)
    assert report(console, "clicks", program, **PERIOD)["total"]["gross"] == 3
    path = f"/v1/reports/fraud?program_id=prg_{program}&since={PERIOD['since']}"
    refused = console.call("GET", f"{path}&until={PERIOD['until']}")
    assert faults_of(refused) == {"since": "invalid"}
    assert console.call("GET", "/v1/reports/fraud?program_id=prg_999999").status == 404
    long = f"/v1/reports/clicks?program_id=prg_{program}&since=2026-01-01T00:00:00Z"
    assert faults_of(console.call("GET", f"{long}&until=2026-06-01T00:00:00Z")) == {
        "since": "invalid"
    }


# ---- Lists and single clicks


def test_clicks_are_listed_by_what_they_are(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method: every filter, in pages of every size, with a scan that often ends before the page."""
    random = Random(3)
    program = new_program(console)
    clicks = [
        scored(
            click_outcome(MIDNIGHT_MS + number, program=program, partner=random.randint(1, 3)),
            random.choice(["accept", "review", "filtered"]),
            random.choice(["counted", "duplicate"]),
        )
        for number in range(40)
    ]
    commit(console, clicks=clicks)
    filters: list[tuple[dict[str, str], Any]] = [
        ({}, lambda c: True),
        ({"verdict": "review"}, lambda c: c[10] == "review"),
        ({"verdict": "reject"}, lambda c: False),
        ({"counted": "duplicate"}, lambda c: c[11] == "duplicate"),
        ({"partner_id": "prt_2"}, lambda c: c[3] == 2),
        (
            {"partner_id": "prt_2", "verdict": "accept", "counted": "counted"},
            lambda c: (c[3], c[10], c[11]) == (2, "accept", "counted"),
        ),
        (
            {
                "since": clock.iso_ms(MIDNIGHT_MS + 5),
                "until": clock.iso_ms(MIDNIGHT_MS + 30),
                "verdict": "accept",
            },
            lambda c: 5 <= c[5] - MIDNIGHT_MS < 30 and c[10] == "accept",
        ),
    ]
    monkeypatch.setattr("headwater.ledger.queries.click_page.__kwdefaults__", {"scan": 7})
    for query, is_wanted in filters:
        for limit in (1, 4, 50):
            seen: list[str] = []
            cursor: str | None = ""
            pages = 0
            while cursor is not None:
                asked = {"program_id": f"prg_{program}", "limit": str(limit), **query}
                if cursor:
                    asked["cursor"] = cursor
                path = "&".join(f"{key}={value}" for key, value in asked.items())
                page = console.call("GET", f"/v1/clicks?{path}").json
                assert len(page["items"]) <= limit
                seen += [item["id"] for item in page["items"]]
                cursor = page["next_cursor"]
                pages += 1
                assert pages < 60
            wanted = [ids.event_text("clk", c[0]) for c in clicks if is_wanted(c)]
            assert seen == wanted[::-1], query


def test_a_click_is_told_with_its_score_and_its_history(console: RunningConsole) -> None:
    program = new_program(console)
    first = fraud_bytes(finding("MACRO_UNEXPANDED", points=20))
    later = fraud_bytes(finding("IP_VELOCITY", points=50, observed=30, threshold=10))
    click = scored(
        click_outcome(MIDNIGHT_MS, program=program), score=20, counted="prefetch", fraud=first
    )
    cause = revised_outcome(click[0], 1, fraud=later, score=50, cause="prefetch_promoted")
    commit(console, clicks=[click], decision_revised=[cause])
    name = ids.event_text("clk", click[0])
    told = console.call("GET", f"/v1/clicks/{name}").json
    assert (told["verdict"], told["counted"], told["unique"], told["score"]) == (
        *("review", "counted", True, 50),
    )
    assert [code["code"] for code in told["fraud"]["codes"]] == ["IP_VELOCITY"]
    (revision,) = told["revisions"]
    assert revision == {
        "revision": 1,
        "at": clock.iso_ms(NOW_MS + 1),
        "verdict": "review",
        "counted": "counted",
        "unique": True,
        "score": 50,
        "fraud": told["fraud"],
        "cause": "prefetch_promoted",
        "cause_event_id": ids.event_text("evt", cause[-1]),
    }


def test_a_conversion_tells_codes_and_its_explanation_all(console: RunningConsole) -> None:
    program = new_program(console)
    raw = fraud_bytes(finding("CTIT_TOO_SHORT", points=80), finding("GEO_MISMATCH", mode="shadow"))
    row = conversion_outcome(ids.event_id(2), program=program, reason="fraud_rejected")
    commit(console, conversions=[(*row[:17], "reject", 80, 800_000, raw, row[-1])])
    path = f"/v1/conversions/{ids.event_text('cnv', row[0])}"
    told = console.call("GET", path).json
    assert told["fraud"] == {"score": 80, "verdict": "reject", "codes": ["CTIT_TOO_SHORT"]}
    explained = console.call("GET", f"{path}/explain").json["fraud"]
    assert Counter(code["mode"] for code in explained["codes"]) == {"score": 1, "shadow": 1}
    assert explained["ivt_class"] == "SIVT"
