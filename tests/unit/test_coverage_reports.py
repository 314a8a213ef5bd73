"""Reports of how conversions were reported and what they matched. Rows I1, I5 and I6."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from console_tools import RunningConsole, console_in, faults_of, fresh, program_body
from headwater import clock, ids, limits
from headwater.ledger import matching
from headwater.model.browsers import family
from headwater.model.records import (
    NO_CLIENT,
    ConversionBody,
    Flag,
    IdentifierType,
    Kind,
    Money,
    Record,
    Source,
    Trust,
    encode,
)
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    candidate,
    conversion_outcome,
    explanation,
    hop,
)

DAY_MS = 86_400_000
# 2026-09-21T00:00 in New York, which is four hours behind.
MIDNIGHT_MS = clock.parse_iso_ms("2026-09-21T04:00:00Z")
SINCE = clock.iso_ms(MIDNIGHT_MS - DAY_MS)
UNTIL = clock.iso_ms(MIDNIGHT_MS + DAY_MS)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)
CLICK = ids.event_id(NOW_MS)
VISITOR = [int(IdentifierType.VISITOR), bytes(16)]
CLICK_END = [int(IdentifierType.CLICK), CLICK]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console"), with_redis=False, publish_wait_ms=1) as it:
        yield it


def new_program(console: RunningConsole) -> int:
    brand = console.call("POST", "/v1/brands", {"name": "b"}).json["id"]
    body = {**program_body(brand, fresh()), "timezone": "America/New_York"}
    return int(console.call("POST", "/v1/programs", body).json["id"][4:])


def report(
    conversion_id: bytes,
    trust: Trust = Trust.BROWSER,
    *,
    agent: str | None = None,
    cookie: str | None = None,
    identifiers: tuple[Any, ...] = (),
    outcome: str = "created",
    flags: int = 0,
    click_id: bytes | None = None,
    promo_code: str | None = None,
) -> tuple[Any, ...]:
    """A row of the outcomes' "reports", with its record."""
    event_id = ids.event_id(NOW_MS)
    body = ConversionBody(
        conversion_id, 1, 1, "A-1", "main", flags, click_id, identifiers,
        Money(0, "EUR", None, None, None), promo_code, None, (),
        {"cookie_origin": cookie} if cookie else {},
        NO_CLIENT._replace(user_agent=agent), None,
    )  # fmt: skip
    source = Source.TAG if trust is Trust.BROWSER else Source.S2S
    record = encode(Record(Kind.CONVERSION, event_id, 1, NOW_MS, None, trust, source, body))
    return (event_id, conversion_id, 1, NOW_MS, int(trust), int(source), outcome, 1, record)


def credited(*steps: Any, click_id: bytes | None = CLICK, **members: Any) -> bytes:
    return explanation(candidate(1, click_id, "credited", path=list(steps), **members))


def found_by(kind: IdentifierType, *further: Any) -> bytes:
    """A decision whose winning path begins at an identifier of this type."""
    return credited(hop([int(kind), bytes(16)], CLICK_END, CLICK), *further)


class Orders:
    """Conversions of one program with their reports, committed at once."""

    def __init__(self, console: RunningConsole) -> None:
        self._console = console
        self.program = new_program(console)
        self.rows: list[tuple[Any, ...]] = []
        self.reports: list[tuple[Any, ...]] = []

    def add(
        self, *reports: dict[str, Any], at_ms: int = MIDNIGHT_MS, explain: bytes = b"", **row: Any
    ) -> None:
        conversion_id = ids.event_id(NOW_MS)
        given = ((1, CLICK, 1_000_000),) if explain else ()
        told = explain or explanation()
        made = conversion_outcome(
            conversion_id,
            program=self.program,
            accept_ms=at_ms,
            explain=told,
            credits_given=given,
            reason=None if explain else "no_touch",
            **row,
        )
        self.rows.append(made)
        self.reports += [report(conversion_id, **each) for each in reports]

    def commit(self) -> None:
        row = acquired(self._console.ledger)
        changes = batch(row, conversions=self.rows, reports=self.reports)
        matching.commit(self._console.ledger, [changes], lease_until_ms=NOW_MS)

    def told(self, name: str, since: str = SINCE, until: str = UNTIL) -> Any:
        query = f"program_id=prg_{self.program}&since={since}&until={until}"
        reply = self._console.call("GET", f"/v1/reports/{name}?{query}")
        assert reply.status == 200, reply.body
        return reply.json


BROWSER: dict[str, Any] = {"trust": Trust.BROWSER}
SERVER: dict[str, Any] = {"trust": Trust.SERVER}


def test_i1_who_reported_an_order_is_told_by_day(console: RunningConsole) -> None:
    orders = Orders(console)
    orders.add(BROWSER, at_ms=MIDNIGHT_MS - 1)
    orders.add(SERVER, at_ms=MIDNIGHT_MS - DAY_MS)
    orders.add(SERVER, at_ms=MIDNIGHT_MS)
    orders.add(BROWSER, {**SERVER, "outcome": "merged"})
    orders.add(SERVER, {**BROWSER, "outcome": "merged"}, {**SERVER, "outcome": "repeat"})
    # What contradicts an order is no second report of it.
    orders.add(BROWSER, {**SERVER, "outcome": "conflict"})
    orders.add(BROWSER, flags=int(Flag.TEST))
    orders.add(BROWSER, at_ms=MIDNIGHT_MS + DAY_MS)
    orders.add(BROWSER, at_ms=MIDNIGHT_MS - DAY_MS - 1)
    orders.commit()
    told = orders.told("coverage")
    assert told["timezone"] == "America/New_York"
    assert told["rows"] == [
        {"day": "2026-09-20", "conversions": 2, "pixel_only": 1, "s2s_only": 1, "both": 0},
        {"day": "2026-09-21", "conversions": 4, "pixel_only": 1, "s2s_only": 1, "both": 2},
    ]
    assert told["total"] == {"conversions": 6, "pixel_only": 2, "s2s_only": 2, "both": 2}


def test_i5_i6_safari_on_a_script_cookie_shows_as_such(console: RunningConsole) -> None:
    orders = Orders(console)
    on_script = {**BROWSER, "agent": SAFARI, "cookie": "js"}
    on_http = {**BROWSER, "agent": SAFARI, "cookie": "http"}
    orders.add(on_script)
    orders.add(on_script)
    orders.add(on_script, explain=found_by(IdentifierType.VISITOR))
    orders.add(on_http, explain=found_by(IdentifierType.VISITOR))
    orders.add({**BROWSER, "agent": CHROME}, explain=found_by(IdentifierType.EMAIL))
    orders.add(SERVER)
    orders.commit()
    told = orders.told("match-rate")
    assert told["total"] == {"conversions": 6, "matched": 3, "match_rate_ppm": 500_000}
    rates = {(row["browser"], row["cookie_origin"]): row["match_rate_ppm"] for row in told["rows"]}
    assert rates == {
        ("chrome", "none"): 1_000_000,
        ("safari", "http"): 1_000_000,
        ("safari", "js"): 333_333,
        ("unknown", "server"): 0,
    }
    assert {row["browser"]: row["conversions"] for row in told["browsers"]} == {
        "chrome": 1,
        "safari": 4,
        "unknown": 1,
    }
    assert {row["cookie_origin"]: row["matched"] for row in told["cookies"]} == {
        "http": 1,
        "js": 1,
        "none": 1,
        "server": 0,
    }


def test_i6_matches_are_told_by_the_identifier_that_found_the_click(
    console: RunningConsole,
) -> None:
    orders = Orders(console)
    customer = (int(IdentifierType.CUSTOMER), bytes(16))
    named = {**SERVER, "identifiers": (customer,), "click_id": CLICK}
    conversion_end = [0, bytes(16)]
    orders.add(named, explain=credited(hop(conversion_end, CLICK_END, CLICK)))
    orders.add(named, explain=credited())
    chain = hop(VISITOR, CLICK_END, CLICK)
    orders.add(named, explain=found_by(IdentifierType.CUSTOMER, chain))
    orders.add(named)
    orders.add({**SERVER, "promo_code": "P"}, explain=credited(click_id=None))
    two = explanation(
        candidate(1, CLICK, "credited", path=[hop(VISITOR, CLICK_END, CLICK)], share_ppm=400_000),
        candidate(2, CLICK, "credited", share_ppm=600_000),
        candidate(3, CLICK, "not_latest"),
    )
    orders.add(BROWSER, explain=two)
    orders.commit()
    told = orders.told("match-rate")["identifiers"]
    assert {row["identifier"]: (row["named"], row["matched"]) for row in told} == {
        "click_id": (4, 3),
        "customer_id": (4, 1),
        "promo_code": (1, 1),
    }


def test_consent_and_two_reports_of_one_order(console: RunningConsole) -> None:
    orders = Orders(console)
    denied = {**BROWSER, "agent": "desktop", "flags": int(Flag.CONSENT_DENIED)}
    orders.add(denied)
    orders.add({**BROWSER, "agent": CHROME}, {**BROWSER, "agent": CHROME, "cookie": "http"})
    orders.add({**SERVER, "agent": SAFARI}, {**BROWSER, "agent": CHROME, "outcome": "merged"})
    orders.add({**SERVER, "agent": SAFARI})
    orders.commit()
    rows = orders.told("match-rate")["rows"]
    assert {(row["browser"], row["cookie_origin"]): row["conversions"] for row in rows} == {
        ("chrome", "http"): 1,
        ("chrome", "none"): 1,
        ("safari", "server"): 1,
        ("unknown", "denied"): 1,
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_counting_one_by_one(console: RunningConsole, seed: int) -> None:
    """Goal: joins and pages lose nothing. Method: a naive count of what was committed."""
    random, orders = Random(seed), Orders(console)
    ways: Counter[tuple[bool, bool]] = Counter()
    cookies: Counter[str] = Counter()
    for _ in range(limits.PAGE_ROWS_MAX + 7):
        browser, server = random.choice([(True, True), (True, False), (False, True)])
        cookie = random.choice([None, "http", "js", "third_party"])
        reports = [{**BROWSER, "cookie": cookie}] * browser + [SERVER] * server
        ways[browser, server] += 1
        cookies[(cookie or "none") if browser else "server"] += 1
        # Many at one moment: a page may not be cut by time alone.
        orders.add(*reports, at_ms=MIDNIGHT_MS + random.randrange(3))
    orders.commit()
    total = orders.told("coverage")["total"]
    assert (total["pixel_only"], total["s2s_only"], total["both"]) == (
        ways[True, False],
        ways[False, True],
        ways[True, True],
    )
    told = orders.told("match-rate")
    assert {row["cookie_origin"]: row["conversions"] for row in told["cookies"]} == cookies
    assert told["total"]["matched"] == 0


def test_a_program_without_conversions_has_no_rate(console: RunningConsole) -> None:
    orders = Orders(console)
    assert orders.told("match-rate")["total"]["match_rate_ppm"] is None
    assert orders.told("coverage")["total"]["conversions"] == 0
    assert len(orders.told("coverage")["rows"]) == 2


@pytest.mark.parametrize("name", ["coverage", "match-rate"])
def test_reports_that_are_not_made(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    orders = Orders(console)
    for _ in range(3):
        orders.add(BROWSER)
    orders.commit()
    path = f"/v1/reports/{name}?program_id=prg_{orders.program}"
    for query in (f"since={UNTIL}&until={SINCE}", f"since={clock.iso_ms(0x10000000000)}"):
        assert faults_of(console.call("GET", f"{path}&{query}"))
    assert console.call("GET", f"/v1/reports/{name}?program_id=prg_99999").status == 404
    assert faults_of(console.call("GET", f"/v1/reports/{name}")) == {"program_id": "required"}
    bound = "REPORT_ROWS_MAX" if name == "coverage" else "MATCH_REPORT_ROWS_MAX"
    monkeypatch.setattr(limits, bound, 3)
    assert orders.told(name)
    monkeypatch.setattr(limits, bound, 2)
    reply = console.call("GET", f"{path}&since={SINCE}&until={UNTIL}")
    assert faults_of(reply) == {"since": "invalid"}


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (SAFARI, "safari"),
        (CHROME, "chrome"),
        (CHROME + " Edg/141.0", "edge"),
        (CHROME + " OPR/120.0", "opera"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "firefox"),
        (SAFARI.replace("Version/18.5", "CriOS/141.0"), "ios_other"),
        (SAFARI.replace("Version/18.5", "FxiOS/128.0"), "ios_other"),
        (SAFARI.replace("Version/18.5 ", "").replace(" Safari/604.1", ""), "in_app"),
        (SAFARI + " [FBAN/FBIOS;FBAV/500.0]", "in_app"),
        (CHROME.replace("Win64; x64", "Android 15; wv"), "in_app"),
        ("curl/8.0", "other"),
        ("desktop", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_i6_browsers_have_families(agent: str | None, name: str) -> None:
    assert family(agent) == name
