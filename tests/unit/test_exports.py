"""Exports of clicks, conversions and actions, and the lists that name rejected and test orders."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest

from book_tools import DAY_MS, SALE
from console_tools import RunningConsole, console_in, faults_of
from headwater import clock, limits
from headwater.ledger.actions import ActionFilter, action_page
from ledger_tools import NOW_MS
from rollup_tools import Traffic, commit_all

DAYS = 12
SINCE = clock.iso_ms(NOW_MS - DAY_MS)
UNTIL = clock.iso_ms(NOW_MS + (DAYS + 5) * DAY_MS)
WHOLE = {"since": SINCE, "until": UNTIL}
KINDS = ("clicks", "conversions", "actions")
ID = {"clicks": "click_id", "conversions": "conversion_id", "actions": "id"}
HALF = 500_000


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        running.brand_and_program("shop")
        for _ in range(3):
            running.made("/v1/partners", {"name": "Partner", "email": "a@b.example"})
        commit_all(running.ledger, _traffic(), range(0, 500, 50))
        yield running


def _traffic() -> Traffic:
    random, log = Random(3), Traffic()
    log.terms(events={str(SALE): {"default": {"kind": "percent", "ppm": 100_001}}})
    for order in range(1, 61):
        clicks = [
            log.visit(
                partner,
                sub1=random.choice(("", "=cmd()", "blog, a")),
                verdict=random.choice(("accept", "review", "reject")),
            )
            for partner in (1, 2, 3)
        ]
        given = [(1, HALF, clicks[0]), (2, HALF, clicks[1])] if order % 2 else []
        status = "rejected" if order % 10 == 0 else None
        log.conversion(order, *given, test=order % 10 == 1, status=status)
        log.wait(DAYS * DAY_MS // 60)
        log.tick()
    return log


@pytest.fixture(scope="module")
def own(console: RunningConsole) -> str:
    """The key of the second partner."""
    return str(console.made("/v1/keys", {"scopes": ["read"], "partner_id": "prt_2"})["key"])


def export(console: RunningConsole, kind: str, key: str = "admin", **query: Any) -> Any:
    asked = urlencode({**WHOLE, **query})
    reply = console.call("GET", f"/v1/exports/{kind}?{asked}", key=key)
    assert reply.status == 200, reply
    return reply


def lines(console: RunningConsole, kind: str, key: str = "admin", **query: Any) -> list[Any]:
    reply = export(console, kind, key, format="jsonl", **query)
    assert reply.headers["Content-Type"] == "application/jsonl"
    return [json.loads(line) for line in reply.body.splitlines()]


def listed(console: RunningConsole, path: str, **query: Any) -> list[Any]:
    """The items of all pages of a list."""
    found: list[Any] = []
    cursor: dict[str, str] = {}
    for _ in range(1000):
        asked = urlencode({**query, **cursor})
        reply = console.call("GET", f"{path}?{asked}")
        assert reply.status == 200, reply
        found += reply.json["items"]
        if reply.json["next_cursor"] is None:
            return found
        cursor = {"cursor": reply.json["next_cursor"]}
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_has_the_rows_of_the_list_in_its_order(
    console: RunningConsole, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = listed(console, f"/v1/{kind}", limit=500)
    name = "conversion_id" if kind == "conversions" else "id"
    expected = list(dict.fromkeys(item[name] for item in items))
    assert len(expected) > 50
    for page_rows in (limits.PAGE_ROWS_MAX, 7):
        monkeypatch.setattr(limits, "PAGE_ROWS_MAX", page_rows)
        found = [line[ID[kind]] for line in lines(console, kind)]
        assert list(dict.fromkeys(found)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_csv_is_as_rfc_4180_has_it_and_no_cell_is_a_formula(
    console: RunningConsole, kind: str
) -> None:
    reply = export(console, kind)
    assert reply.headers["Content-Type"].startswith("text/csv")
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{kind}.csv"'
    text = reply.body.decode()
    assert text.count("\n") == text.count("\r\n")
    head, *found = csv.reader(io.StringIO(text, newline=""))
    assert all(len(row) == len(head) for row in found)
    assert head == list(lines(console, kind)[0])
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for row in found for cell in row)
    if kind == "clicks":
        assert {row[head.index("sub1")] for row in found} == {"", "'=cmd()", "blog, a"}
    assert {row[head.index("test")] for row in found} <= {"true", "false"}


def test_a_conversion_has_a_row_for_each_credit_and_one_without(console: RunningConsole) -> None:
    found = lines(console, "conversions")
    credited = [line for line in found if line["partner_id"]]
    assert len(found) == 30 * 2 + 30
    assert {line["partner_id"] for line in credited} == {"prt_1", "prt_2"}
    assert {line["share_ppm"] for line in credited} == {HALF}
    assert {line["status"] for line in credited} == {"attributed"}


def test_actions_tell_their_money_as_the_list_does(console: RunningConsole) -> None:
    items = {item["id"]: item for item in listed(console, "/v1/actions")}
    for line in lines(console, "actions"):
        item = items[line["id"]]
        assert all(line[name] == item[name] for name in line.keys() & item.keys())


@pytest.mark.parametrize("kind", KINDS)
def test_a_partner_exports_what_is_its_own_alone(
    console: RunningConsole, own: str, kind: str
) -> None:
    found = lines(console, kind, own)
    assert {line["partner_id"] for line in found} == {"prt_2"}
    mine = [line for line in lines(console, kind) if line["partner_id"] == "prt_2"]
    assert [line[ID[kind]] for line in found] == [line[ID[kind]] for line in mine]
    assert lines(console, kind, own, partner_id="prt_2") == found


@pytest.mark.parametrize(
    ("kind", "hidden"),
    [
        ("clicks", {"address_prefix", "user_agent", "referrer", "score"}),
        ("conversions", {"order_id", "amount", "score", "verdict"}),
    ],
)
def test_a_partner_is_not_told_what_is_a_manager_s(
    console: RunningConsole, own: str, kind: str, hidden: set[str]
) -> None:
    assert hidden <= lines(console, kind)[0].keys()
    assert not hidden & lines(console, kind, own)[0].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_another_partner_s_rows_are_not_there(console: RunningConsole, own: str, kind: str) -> None:
    for other in ("prt_1", "prt_999"):
        query = urlencode({**WHOLE, "partner_id": other})
        reply = console.call("GET", f"/v1/exports/{kind}?{query}", key=own)
        assert (reply.status, reply.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_another_brand_gets_a_head_alone(console: RunningConsole, kind: str) -> None:
    brand = console.made("/v1/brands", {"name": "Other"})["id"]
    key = console.made("/v1/keys", {"scopes": ["read"], "brand_id": brand})["key"]
    assert lines(console, kind, key) == []
    assert len(export(console, kind, key).body.splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_another_scope_is_refused(console: RunningConsole, kind: str) -> None:
    key = console.made("/v1/keys", {"scopes": ["events"], "brand_id": "brd_1"})["key"]
    assert console.call("GET", f"/v1/exports/{kind}", key=key).status == 403
    assert console.call("GET", f"/v1/exports/{kind}", key=None).status == 401


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_period_that_is_asked_for_is_in_it(console: RunningConsole, kind: str) -> None:
    middle = clock.iso_ms(NOW_MS + DAYS * DAY_MS // 2)
    before, after = lines(console, kind, until=middle), lines(console, kind, since=middle)
    assert before
    assert after
    assert [*after, *before] == lines(console, kind)
    assert lines(console, kind, program_id="prg_9") == []


@pytest.mark.parametrize(
    "query",
    [
        {"format": "xml"},
        {"since": UNTIL, "until": SINCE},
        {"since": "2020-01-01T00:00:00Z", "until": UNTIL},
        {"partner_id": "nobody"},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_exported_is_refused_before_the_first_byte(
    console: RunningConsole, kind: str, query: dict[str, str]
) -> None:
    reply = console.call("GET", f"/v1/exports/{kind}?{urlencode(query)}")
    assert reply.status == 422
    assert faults_of(reply)


# ---- Rejected and test orders ------------------------------------------------------------------


def test_test_orders_are_listed_and_exported_apart(console: RunningConsole) -> None:
    tests = listed(console, "/v1/conversions", test="true", limit=2)
    others = listed(console, "/v1/conversions", test="false", limit=50)
    assert (len(tests), len(others)) == (6, 54)
    assert all(item["flags"]["test"] for item in tests)
    exported = {line["conversion_id"] for line in lines(console, "conversions", test="true")}
    assert exported == {item["conversion_id"] for item in tests}
    of_tests = lines(console, "actions", test="true")
    wanted = ActionFilter(is_test=True)
    assert len(of_tests) == len(action_page(console.ledger, wanted, before=None, count=99)) > 0


@pytest.mark.parametrize(
    ("status", "count"), [("attributed", 30), ("unattributed", 24), ("rejected", 6)]
)
def test_conversions_are_listed_by_their_status(
    console: RunningConsole, status: str, count: int
) -> None:
    found = listed(console, "/v1/conversions", status=status, program_id="prg_1", limit=7)
    assert [item["status"] for item in found] == [status] * count
    since = clock.iso_ms(NOW_MS + DAYS * DAY_MS // 2)
    late = listed(console, "/v1/conversions", status=status, since=since)
    assert 0 < len(late) < count
    exported = lines(console, "conversions", status=status)
    assert len({line["conversion_id"] for line in exported}) == count
    assert console.call("GET", "/v1/conversions?status=best").status == 422
