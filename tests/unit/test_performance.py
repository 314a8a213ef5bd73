"""The performance report: sums by any grouping in any time zone, and what a partner sees of it."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest

from book_tools import DAY_MS, SALE, rows
from console_tools import RunningConsole, console_in, faults_of
from headwater import clock, limits
from headwater.ledger.rollup_reads import SEEK_CELLS
from headwater.ledger.rollup_tables import QUARTER_MS
from headwater.model.records import Flag
from ledger_tools import NOW_MS
from rollup_tools import Traffic, commit_all, faults, recount

PATH = "/v1/reports/performance"
DAYS = 80
ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "Australia/Lord_Howe")
SINCE = clock.iso_ms(NOW_MS - DAY_MS)
UNTIL = clock.iso_ms(NOW_MS + (DAYS + 5) * DAY_MS)
WHOLE = {"since": SINCE, "until": UNTIL}
DEVICES = ("", "desktop", "ios", "android")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        running.brand_and_program("shop")
        for number in (1, 2, 3):
            name = f"Partner {number}"
            partner = running.made("/v1/partners", {"name": name, "email": "a@b.example"})
            running.made(f"/v1/programs/prg_1/partners/{partner['id']}", {}, "PUT")
        commit_all(running.ledger, _traffic(), range(0, 5000, 200))
        yield running


def _traffic() -> Traffic:
    """Eleven weeks of clicks and orders, some by two partners, some tests, some decided again."""
    random, log = Random(7), Traffic()
    log.terms(events={str(SALE): {"default": {"kind": "percent", "ppm": 100_001}}})
    for order in range(1, 241):
        clicks = [_visit(log, random) for _ in range(4)]
        partners = random.sample((1, 2, 3), random.choice((0, 1, 1, 2)))
        share = 1_000_000 // max(1, len(partners))
        log.conversion(
            order,
            *((partner, share, random.choice(clicks)) for partner in partners),
            amount_minor=random.randrange(100, 20_000),
            currency=random.choice(("EUR", "EUR", "USD")),
            verdict=random.choice(("accept", "accept", "review")),
            test=random.random() < 0.05,
        )
        if random.random() < 0.1:
            log.scored_again(clicks[0], 1, "reject")
        if random.random() < 0.1:
            log.conversion(order, (3, 1_000_000, clicks[1]), revision=2)
        log.wait(random.randrange(2 * DAYS * DAY_MS // 240))
        log.tick()
    return log


def _visit(log: Traffic, random: Random) -> bytes:
    return log.visit(
        random.choice((1, 2, 3)),
        link=random.choice((0, 1, 2)),
        sub1=random.choice(("", "blog", "=cmd()", "mail")),
        country=random.choice((None, "DE", "US")),
        device=random.choice(DEVICES),
        verdict=random.choice(("accept", "accept", "review", "reject", "filtered")),
        counted=random.choice(("counted", "counted", "duplicate", "prefetch", "test")),
        is_unique=random.choice((0, 1)),
        flags=random.choice((0, 0, 0, int(Flag.IMPRESSION))),
    )


def report(console: RunningConsole, query: dict[str, Any], key: str = "admin") -> Any:
    reply = console.call("GET", f"{PATH}?{urlencode(query)}", key=key)
    assert reply.status == 200, reply
    return reply.json


def all_rows(console: RunningConsole, query: dict[str, Any], key: str = "admin") -> list[Any]:
    """The rows of all pages."""
    found: list[Any] = []
    cursor: dict[str, str] = {}
    for _ in range(1000):
        page = report(console, {**query, **cursor}, key)
        found += page["rows"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}
    raise AssertionError("the pages have no end")


# ---- An oracle -----------------------------------------------------------------------------

_NAMES = {"partner": "partner_id", "link": "link_id", "program": "program_id"}


def expected(
    console: RunningConsole, groups: tuple[str, ...], zone: str, span: tuple[int, int], only: Any
) -> dict[tuple[Any, ...], dict[str, int]]:
    """Clicks, conversions, payout in EUR by group, out of every single row of the ledger."""
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    clicked, sold = recount(console.ledger, limits.ROLLUP_SUB_IDS_MAX)
    for cells, is_sale in ((clicked, False), (sold, True)):
        for key, sums in cells.items():
            at_ms = key[1] * QUARTER_MS
            if not span[0] <= at_ms < span[1]:
                continue
            local = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
            of = dict(zip(("partner", "link", "sub1", "country", "device"), key[2:7], strict=True))
            if any(of[name] != value for name, value in only.items()):
                continue
            of |= {"day": local.date().isoformat(), "program": key[0]}
            row = found.setdefault(
                tuple(of[name] for name in groups), {"gross": 0, "ppm": 0, "payout": 0, "all": 0}
            )
            row["all"] += sum(map(abs, sums.values()))
            row["gross"] += 0 if is_sale else sums["clicks"]
            row["ppm"] += sums["attributed_ppm"] if is_sale else 0
            if is_sale and key[7] == "EUR":
                states = ("pending", "approved", "locked", "paid", "compensated")
                row["payout"] += sum(sums[f"{state}_minor"] for state in states)
    return {key: row for key, row in found.items() if row["all"]}


def told(row: Any, groups: tuple[str, ...]) -> tuple[tuple[Any, ...], dict[str, int]]:
    key = []
    for name in groups:
        value = row[_NAMES.get(name, name)]
        is_number = name in _NAMES
        key.append((int(value[4:]) if value else 0) if is_number else value or "")
    payout = [each["payout"] for each in row["amounts"] if each["currency"] == "EUR"] or ["0"]
    return tuple(key), {
        "gross": row["gross"],
        "ppm": round(row["conversions"] * 1_000_000),
        "payout": round(float(payout[0]) * 100),
    }


@pytest.mark.parametrize("seed", range(40))
def test_any_grouping_in_any_time_zone_is_a_recount_of_the_rows(
    console: RunningConsole, seed: int
) -> None:
    random = Random(seed)
    names = ("day", "program", "partner", "link", "sub1", "country", "device")
    groups = tuple(name for name in names if random.random() < 0.35)
    zone = random.choice(ZONES)
    first = NOW_MS // QUARTER_MS + random.randrange(0, 20 * 96)
    end = first + random.randrange(1, 70 * 96)
    span = (first * QUARTER_MS, end * QUARTER_MS)
    only: dict[str, Any] = {}
    query: dict[str, Any] = {
        "group": ",".join(groups),
        "timezone": zone,
        "since": clock.iso_ms(span[0]),
        "until": clock.iso_ms(span[1]),
        "limit": random.choice((7, 500)),
    }
    if random.random() < 0.3:
        query["partner_id"], only["partner"] = "prt_2", 2
    if random.random() < 0.2:
        query["country"] = only["country"] = "DE"
    if random.random() < 0.2:
        query["sub1"] = only["sub1"] = "blog"
    if random.random() < 0.2:
        query["link_id"] = "lnk_2"
        only = {"partner": 2, **only, "link": 2}
    wanted = expected(console, groups, zone, span, only)
    found = all_rows(console, query)
    shown = [told(row, groups) for row in found]
    assert [key for key, _ in shown] == sorted(wanted)
    for key, sums in shown:
        assert {name: wanted[key][name] for name in sums} == sums
    total = report(console, query)["total"]
    assert total["gross"] == sum(row["gross"] for row in found)
    assert round(total["conversions"] * 10**6) == sum(row["ppm"] for row in wanted.values())


def test_the_rollups_of_the_traffic_are_those_of_its_rows(console: RunningConsole) -> None:
    assert faults(console.ledger, limits.ROLLUP_SUB_IDS_MAX) == []


def test_the_totals_are_those_of_the_book(console: RunningConsole) -> None:
    entries = rows(console.ledger, "book_entries")
    for amounts in report(console, WHOLE)["total"]["amounts"]:
        booked = [row for row in entries if row["currency"] == amounts["currency"]]
        owed = -sum(row["amount_minor"] for row in booked if row["account"] == "brand_expense")
        assert round(float(amounts["payout"]) * 100) == owed
        for name in ("pending", "approved", "paid"):
            account = f"partner_{name}"
            stands = sum(row["amount_minor"] for row in booked if row["account"] == account)
            assert round(float(amounts[name]) * 100) == stands
        payable = sum(row["amount_minor"] for row in booked if row["account"] == "partner_payable")
        locked = round((float(amounts["locked"]) + float(amounts["compensated"])) * 100)
        assert locked == payable


def test_a_day_of_a_clock_change_is_as_long_as_it_is(console: RunningConsole) -> None:
    query = {**WHOLE, "group": "day", "timezone": "Europe/Berlin", "limit": 500}
    found = all_rows(console, query)
    days = [row["day"] for row in found]
    assert days == sorted(set(days))
    # The clocks of Berlin went back on this day: it has 25 hours.
    day = "2026-10-25"
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    end = start + timedelta(days=1)
    span = (round(start.timestamp() * 1000), round(end.timestamp() * 1000))
    assert span[1] - span[0] == 25 * 3_600_000
    wanted = expected(console, (), "UTC", span, {})
    (shown,) = (row for row in found if row["day"] == day)
    assert shown["gross"] == wanted[()]["gross"]


def test_rates_are_by_the_clicks_that_count(console: RunningConsole) -> None:
    total = report(console, {**WHOLE, "group": ""})["total"]
    invalid = total["filtered"] + total["rejected"] + total["duplicate"]
    assert total["net"] == total["gross"] - invalid > 0
    rate = float(total["conversion_rate"])
    assert rate == pytest.approx(total["conversions"] / total["net"], abs=1e-6)
    for amounts in total["amounts"]:
        earned = float(amounts["payout"]) / total["net"]
        assert float(amounts["earnings_per_click"]) == pytest.approx(earned, abs=1e-6)


# ---- Partners ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(console: RunningConsole) -> str:
    """The key of the second partner."""
    key = console.made("/v1/keys", {"scopes": ["read"], "partner_id": "prt_2"})["key"]
    assert isinstance(key, str)
    return key


def test_a_partner_sees_what_is_its_own_alone(console: RunningConsole, own: str) -> None:
    query = {**WHOLE, "group": "partner,day", "limit": 500}
    seen = all_rows(console, query, own)
    assert {row["partner_id"] for row in seen} == {"prt_2"}
    assert seen == [row for row in all_rows(console, query) if row["partner_id"] == "prt_2"]
    assert report(console, {**WHOLE, "partner_id": "prt_2"}, own) == report(
        console, {**WHOLE, "partner_id": "prt_2"}
    )


@pytest.mark.parametrize("path", [PATH, f"{PATH}/export"])
@pytest.mark.parametrize(
    "query", ["partner_id=prt_1", "partner_id=prt_999", "link_id=lnk_1", "link_id=lnk_999"]
)
def test_what_is_another_partners_is_not_there(
    console: RunningConsole, own: str, path: str, query: str
) -> None:
    reply = console.call("GET", f"{path}?{query}", key=own)
    assert (reply.status, reply.json["code"]) == (404, "not_found")


def test_a_partners_own_link_is_there(console: RunningConsole, own: str) -> None:
    assert console.call("GET", f"{PATH}?link_id=lnk_2", key=own).status == 200


# ---- What is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group=partner,partner", "group"),
        ("group=sub2", "group"),
        ("timezone=Mars/Base", "timezone"),
        ("timezone=../../etc/passwd", "timezone"),
        ("country=de", "country"),
        ("device=toaster", "device"),
        ("since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("since=2010-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
    ],
)
def test_a_field_at_fault_is_named(console: RunningConsole, query: str, field: str) -> None:
    reply = console.call("GET", f"{PATH}?{query}")
    assert reply.status == 422, reply
    assert list(faults_of(reply)) == [field]


@pytest.mark.parametrize("cursor", ["x", "kwE", "gqFhoWE", "kA", "kaE3"])
def test_a_cursor_of_another_report_is_refused(console: RunningConsole, cursor: str) -> None:
    reply = console.call("GET", f"{PATH}?cursor={cursor}")
    assert (reply.status, reply.json["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize(
    "query",
    [
        {"group": "link,country"},
        {"group": ""},
        {"group": "", "country": "DE", "sub1": "blog"},
        {"group": "", "link_id": "lnk_2", "country": "DE"},
        {"group": "partner", "device": "ios"},
    ],
)
def test_too_many_cells_are_refused_whatever_they_are_read_for(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    def status(most: int) -> int:
        monkeypatch.setattr(limits, "REPORT_CELLS_MAX", most)
        reply = console.call("GET", f"{PATH}?{urlencode({**WHOLE, **query})}")
        assert reply.status == 200 or list(faults_of(reply)) == ["group"]
        return reply.status

    # Nothing is there that could be read for less than half of this.
    refused, taken = 0, 100_000
    assert status(taken) == 200
    while taken - refused > 1:
        most = (refused + taken) // 2
        refused, taken = (refused, most) if status(most) == 200 else (most, taken)
    assert refused > 0
    monkeypatch.setattr(limits, "REPORT_CELLS_MAX", taken)
    path = f"{PATH}/export?{urlencode({**WHOLE, **query})}"
    assert console.call("GET", path).status == 200
    monkeypatch.setattr(limits, "REPORT_CELLS_MAX", 0)
    assert console.call("GET", path).status == 422


def test_a_partner_of_whom_nothing_came_is_not_looked_for_every_quarter_hour(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner = console.made("/v1/partners", {"name": "New", "email": "a@b.example"})
    # Once each quarter hour would be three times as much.
    monkeypatch.setattr(limits, "REPORT_CELLS_MAX", DAYS * 96 * SEEK_CELLS // 3)
    for group in ("sub1,country", "day,sub1,country"):
        query = {**WHOLE, "group": group, "partner_id": partner["id"], "device": "ios"}
        assert all_rows(console, {**query, "timezone": "Asia/Kathmandu"}) == []


@pytest.mark.parametrize(
    "group", ["day", "day,link,country", "partner,country", "partner,day,sub1"]
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_a_page_ends_early_where_more_would_be_read_than_one_answer_may(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch, group: str, zone: str
) -> None:
    query = {**WHOLE, "group": group, "timezone": zone, "limit": 500}
    whole = all_rows(console, query)
    # The least with which a day, or a partner, can be read.
    most = 100
    while (pages := _pages_within(console, monkeypatch, query, most)) is None:
        most += most // 4
    assert len(pages) > 1
    assert [row for page in pages for row in page] == whole
    lines = export(console, {**query, "format": "jsonl"}).body.splitlines()
    assert sum(json.loads(line)["gross"] for line in lines) == sum(row["gross"] for row in whole)


def _pages_within(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch, query: dict[str, Any], most: int
) -> list[list[Any]] | None:
    """The pages of a report that reads so many cells for one; None when one is refused."""
    monkeypatch.setattr(limits, "REPORT_CELLS_MAX", most)
    pages: list[list[Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(1000):
        reply = console.call("GET", f"{PATH}?{urlencode({**query, **cursor})}")
        if reply.status == 422:
            return None
        pages.append(reply.json["rows"])
        if reply.json["next_cursor"] is None:
            return pages
        cursor = {"cursor": reply.json["next_cursor"]}
    raise AssertionError("the pages have no end")


def test_too_many_rows_are_refused(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = urlencode({**WHOLE, "group": "partner,link"})
    count = len(all_rows(console, {**WHOLE, "group": "partner,link"}))
    monkeypatch.setattr(limits, "REPORT_GROUPS_MAX", count)
    assert console.call("GET", f"{PATH}?{query}").status == 200
    monkeypatch.setattr(limits, "REPORT_GROUPS_MAX", count - 1)
    assert console.call("GET", f"{PATH}?{query}").status == 422
    assert console.call("GET", f"{PATH}/export?{query}").status == 422


# ---- Exports -------------------------------------------------------------------------------


def export(console: RunningConsole, query: dict[str, Any], key: str = "admin") -> Any:
    reply = console.call("GET", f"{PATH}/export?{urlencode(query)}", key=key)
    assert reply.status == 200, reply
    return reply


@pytest.mark.parametrize("group", ["day,partner", "sub1", "partner,country", ""])
def test_an_export_has_the_rows_of_the_report(console: RunningConsole, group: str) -> None:
    query = {**WHOLE, "group": group}
    reply = export(console, {**query, "format": "jsonl"})
    assert reply.headers["Content-Type"] == "application/jsonl"
    lines = [json.loads(line) for line in reply.body.splitlines()]
    columns = [_NAMES.get(name, name) for name in group.split(",") if name]
    merged: dict[tuple[Any, ...], int] = {}
    for line in lines:
        key = tuple(line[name] for name in columns)
        merged[key] = merged.get(key, 0) + line["gross"]
    shown = all_rows(console, {**query, "limit": 500})
    assert merged == {tuple(row[name] for name in columns): row["gross"] for row in shown}
    amounts = [each["payout"] for row in shown for each in row["amounts"]]
    assert [line["payout"] for line in lines if line["currency"]] == amounts


def test_a_csv_is_as_rfc_4180_has_it_and_no_cell_is_a_formula(console: RunningConsole) -> None:
    query = {**WHOLE, "group": "sub1,device"}
    reply = export(console, query)
    assert reply.headers["Content-Type"].startswith("text/csv")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="performance.csv"'
    text = reply.body.decode()
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n")
    head, *found = csv.reader(io.StringIO(text, newline=""))
    assert head[:3] == ["sub1", "device", "gross"]
    assert all(len(row) == len(head) for row in found)
    assert {row[0] for row in found} == {"", "blog", "'=cmd()", "mail"}
    total = report(console, query)["total"]
    assert sum(int(row[2]) for row in found) == total["gross"]


def test_a_partner_exports_what_is_its_own(console: RunningConsole, own: str) -> None:
    reply = export(console, {**WHOLE, "format": "jsonl", "group": "partner"}, own)
    assert {json.loads(line)["partner_id"] for line in reply.body.splitlines()} == {"prt_2"}


def test_pages_and_days_are_pairwise_in_order(console: RunningConsole) -> None:
    query = {**WHOLE, "group": "country,day", "limit": 3}
    keys = [(row["day"], row["country"] or "") for row in all_rows(console, query)]
    assert all(before < after for before, after in itertools.pairwise(keys))


@pytest.mark.parametrize("group", ["", "program", "day", "day,program"])
def test_a_single_day_is_grouped_like_any_period(console: RunningConsole, group: str) -> None:
    first = NOW_MS // DAY_MS + 3
    span = (first * DAY_MS, (first + 1) * DAY_MS)
    query = {"since": clock.iso_ms(span[0]), "until": clock.iso_ms(span[1]), "group": group}
    names = tuple(name for name in group.split(",") if name)
    wanted = expected(console, names, "UTC", span, {})
    found = dict(told(row, names) for row in all_rows(console, query))
    assert {key: row["gross"] for key, row in found.items()} == {
        key: row["gross"] for key, row in wanted.items()
    }
