"""Terms through the management API: versions, notice, what is immutable, what they would pay.

Method: a real console, Redis, ledger, engine and book.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from console_tools import RunningConsole, faults_of
from headwater import clock, limits
from money_tools import QUARTER_CENT, TEN_PERCENT, Market, Matcher, running_matcher

Parts = tuple[RunningConsole, Matcher]
DAY_MS = limits.DAY_MS


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with running_matcher(tmp_path_factory.mktemp("money")) as running:
        yield running


@pytest.fixture
def market(parts: Parts) -> Market:
    return Market(*parts)


def in_days(days: int) -> str:
    return clock.iso_ms(clock.now_ms() + days * DAY_MS + 60_000)


def posted(market: Market, **body: Any) -> Any:
    body = {"events": {"sale": TEN_PERCENT}, **body}
    return market.call("POST", f"/v1/programs/{market.program}/terms", body)


def paid(market: Market, action_id: str) -> tuple[str, int]:
    found = market.call("GET", f"/v1/actions/{action_id}").json
    return found["payout"], found["terms_version"]


# ---- Versions


def test_i20_terms_pay_what_is_tracked_while_they_are_in_force(market: Market) -> None:
    """Template terms hold everything a partner's contract does, and an action follows them."""
    made = posted(
        market,
        window_seconds=30 * 86_400,
        locking={"kind": "tracked", "days": 30},
        payment={"months": 0, "days": 20},
        change_notice_days=0,
        reversal_max_ppm=500_000,
    )
    assert made.status == 201
    shown = made.json
    assert shown["events"] == {market.sale: TEN_PERCENT}
    assert (shown["version"], shown["state"], shown["partner_id"], shown["currency"]) == (
        1,
        "begun",
        None,
        "EUR",
    )
    first = market.sale_of()
    assert posted(market, events={"sale": {"default": {"kind": "percent", "ppm": 200_000}}}).status
    second = market.sale_of()
    own = posted(
        market,
        partner_id=market.partner,
        events={"sale": {"default": {"kind": "flat", "amount_micros": 5_000_000}}},
    )
    assert (own.json["version"], own.json["partner_id"]) == (1, market.partner)
    third, rivals = market.sale_of(), market.sale_of(partner=market.rival)
    assert [paid(market, each) for each in (first, second, third, rivals)] == [
        ("10.00", 1),
        ("20.00", 2),
        ("0.05", 1),
        ("20.00", 2),
    ]
    found = market.call("GET", f"/v1/actions/{first}").json
    days = (clock.parse_iso_ms(found["lock_at"]) - clock.parse_iso_ms(found["tracked_at"])) / DAY_MS
    assert 30 < days <= 31


def test_a_sale_before_any_terms_pays_nothing(market: Market) -> None:
    action_id = market.sale_of()
    found = market.call("GET", f"/v1/actions/{action_id}").json
    assert (found["payout"], found["rule"], found["terms_id"]) == ("0.00", "no_terms", None)


def test_the_first_terms_may_begin_in_the_past_and_later_ones_not(market: Market) -> None:
    """A sale from before is priced by them when it is reset."""
    action_id = market.sale_of()
    first = posted(market, starts_at="2020-01-01T00:00:00+01:00", change_notice_days=3)
    assert (first.status, first.json["starts_at"]) == (201, "2019-12-31T23:00:00.000Z")
    assert market.moved(action_id, "reset")["payout"] == "10.00"
    for early in ("2020-01-02T00:00:00Z", in_days(2)):
        assert faults_of(posted(market, starts_at=early)) == {"starts_at": "invalid"}
        own = posted(market, starts_at=early, partner_id=market.partner)
        assert faults_of(own) == {"starts_at": "invalid"}
    assert posted(market, starts_at=in_days(3)).json["state"] == "scheduled"
    after_notice = clock.parse_iso_ms(posted(market).json["starts_at"])
    assert 0 <= after_notice - clock.now_ms() - 3 * DAY_MS + 60_000 < 120_000


def test_terms_that_have_begun_do_not_change_but_for_their_end(market: Market) -> None:
    made = posted(market, change_notice_days=2).json
    path = f"/v1/terms/{made['id']}"
    for body in ({"approve": "manual"}, {"events": {}}, {"starts_at": in_days(9)}):
        refused = market.call("PATCH", path, body)
        assert (refused.status, refused.json["code"]) == (409, "terms_in_force")
    assert market.call("DELETE", path).json["code"] == "terms_in_force"
    too_early = market.call("PATCH", path, {"ends_at": in_days(1)})
    assert faults_of(too_early) == {"ends_at": "invalid"}
    ended = market.call("PATCH", path, {"ends_at": in_days(2)})
    assert (ended.status, ended.json["events"]) == (200, made["events"])
    assert market.call("PATCH", path, {"ends_at": None}).json["ends_at"] is None
    assert paid(market, market.sale_of()) == ("10.00", 1)


def test_terms_that_have_not_begun_change_and_go(market: Market) -> None:
    posted(market)
    made = posted(market, starts_at=in_days(5)).json
    path = f"/v1/terms/{made['id']}"
    better = {"default": {"kind": "percent", "ppm": 300_000}}
    changed = market.call("PATCH", path, {"events": {"sale": better}, "approve": "manual"})
    assert (changed.status, changed.json["events"], changed.json["approve"]) == (
        200,
        {market.sale: better},
        "manual",
    )
    assert faults_of(market.call("PATCH", path, {"events": {"lead": better}})) == {
        "events": "unknown_event_type"
    }
    assert market.call("DELETE", path).json["status"] == "deleted"
    assert market.call("GET", path).status == 404
    listed = market.call("GET", f"/v1/programs/{market.program}/terms").json["items"]
    assert [each["version"] for each in listed] == [1]
    assert posted(market, starts_at=in_days(5)).json["version"] == 3


def test_the_same_request_makes_one_version(market: Market) -> None:
    first, again = posted(market, external_id="t-1"), posted(market, external_id="t-1")
    assert (first.status, again.status, again.json["id"]) == (201, 200, first.json["id"])
    assert posted(market, external_id="t-1", approve="manual").status == 409
    assert market.call("GET", "/v1/terms/ext:t-1").json["id"] == first.json["id"]


# ---- What is refused


def test_every_fault_is_told_at_once_under_its_own_name(market: Market) -> None:
    body = {
        "events": {
            "sale": {
                "groups": [{"when": {"shoe_size": ["9"]}, "pay": {"kind": "percent", "ppm": 1}}],
                "default": {"kind": "percent", "ppm": 2_000_000},
            },
            "ZZZ": {},
        },
        "locking": {"kind": "tracked", "days": 731},
        "payment": {"months": 1},
        "caps": [
            {"metric": "payout", "period": "year", "scope": "partner", "limit": 1},
            {
                "metric": "payout",
                "period": "day",
                "scope": "partner",
                "limit": 1,
                "event_type": "x",
            },
        ],
        "ends_at": "2021-01-01T00:00:00Z",
    }
    reply = market.call("POST", f"/v1/programs/{market.program}/terms", body)
    assert faults_of(reply) == {
        "events": "unknown_event_type",
        "events.sale.groups.0.when": "invalid",
        "events.sale.default.ppm": "invalid",
        "locking.days": "invalid",
        "payment.days": "required",
        "caps.0.period": "invalid",
        "caps.1.event_type": "unknown_event_type",
        "ends_at": "invalid",
    }
    assert b"ZZZ" not in reply.body


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"reversal_max": 1}, {"reversal_max": "invalid"}),
        ({"currency": "QQQ"}, {"currency": "currency_unknown"}),
        ({"change_notice_days": 91}, {"change_notice_days": "invalid"}),
        ({"partner_id": "prt_99999"}, {"partner_id": "unknown_partner"}),
        ({"starts_at": "tomorrow"}, {"starts_at": "invalid"}),
        ({"events": {"sale": {"default": {"kind": "flat", "amount_micros": 0.5}}}}, None),
        ({"events": {"sale": [1]}}, {"events.sale": "invalid"}),
        ({"caps": [{}] * 21}, {"caps": "too_many_values"}),
    ],
)
def test_terms_that_are_not_taken(
    market: Market, body: dict[str, Any], faults: dict[str, str] | None
) -> None:
    found = faults_of(posted(market, **body))
    assert found == (faults or {"events.sale.default.amount_micros": "invalid"})


def test_the_deepest_and_the_largest_terms_fit_a_record(market: Market) -> None:
    """What the check takes the log takes too: a record that it does not would stop the log."""
    many = [f"sku-{number}" for number in range(limits.GROUP_VALUES_MAX)]
    pay = {"kind": "percent", "ppm": 1, "per": "order"}
    groups = [
        {"when": {"sku": many}, "not": {"order_total": [[1, None], [0, 1]]}, "pay": pay}
        for _ in range(18)
    ]
    steps = [{"from": number, "pay": pay} for number in range(1, limits.TIER_STEPS_MAX + 1)]
    tiers = {"basis": "revenue", "kind": "marginal", "steps": steps}
    caps = [
        {"metric": metric, "period": period, "scope": scope, "limit": limits.PAYOUT_MINOR_MAX}
        for metric in ("conversions", "payout", "revenue")
        for period in ("day", "month", "lifetime")
        for scope in ("program", "partner")
    ]
    event = {"groups": groups, "tiers": tiers, "default": pay}
    made = posted(market, events={"sale": event}, caps=caps)
    assert made.status == 201, made.json
    more = {"groups": groups * 3, "default": pay}
    assert faults_of(posted(market, events={"sale": more})) == {"events": "value_too_long"}
    assert market.sale_of()


def test_a_partner_outside_of_the_program_gets_no_terms(market: Market) -> None:
    stranger = market.console.made("/v1/partners", {"name": "stranger"})["id"]
    refused = posted(market, partner_id=stranger)
    assert (refused.status, refused.json["code"]) == (409, "partner_not_in_program")


# ---- Preview, rates


def test_a_preview_says_what_an_order_would_pay(market: Market) -> None:
    path = f"/v1/programs/{market.program}/terms/preview"
    assert market.call("POST", path, {"event": "sale", "amount": "80"}).json["rule"] == "no_terms"
    posted(market, locking={"kind": "month_end", "months": 0, "days": 27})
    at = "2027-01-15T12:00:00Z"
    shown = market.call("POST", path, {"event": "sale", "amount": "80.05", "at": at}).json
    assert (shown["payout"], shown["rule"], shown["order_amount"], shown["version"]) == (
        "8.00",
        "default",
        "80.05",
        1,
    )
    assert (shown["lock_at"], shown["pay_at"]) == (
        "2027-02-28T00:00:00.000Z",
        "2027-03-01T00:00:00.000Z",
    )
    thought_of = {
        "events": {
            "sale": {
                "groups": [
                    {"when": {"country": ["DE"]}, "pay": {"kind": "percent", "ppm": 500_000}}
                ],
                "default": {"kind": "percent", "ppm": 10_000},
                "tiers": {
                    "basis": "actions",
                    "kind": "retroactive",
                    "steps": [{"from": 10, "pay": {"kind": "percent", "ppm": 20_000}}],
                },
            }
        }
    }
    asked = {"event": "sale", "amount": 100, "terms": thought_of}
    found = [
        market.call("POST", path, {**asked, **more}).json["payout"]
        for more in ({}, {"country": "DE"}, {"month_so_far": 8}, {"month_so_far": 9})
    ]
    assert found == ["1.00", "50.00", "1.00", "2.00"]
    listed = market.call("GET", f"/v1/programs/{market.program}/terms").json["items"]
    assert len(listed) == 1


def test_a_preview_tells_its_own_faults(market: Market) -> None:
    path = f"/v1/programs/{market.program}/terms/preview"
    for body, faults in (
        ({"event": "nothing"}, {"event": "unknown_event_type"}),
        ({"event": "sale", "fields": {"size": "9"}}, {"fields": "invalid"}),
        ({"event": "sale", "amount": "1.001"}, {"amount": "amount_precision"}),
        (
            {"event": "sale", "items": [{"subtotal": "x"}]},
            {"items.0.subtotal": "amount_invalid"},
        ),
        (
            {"event": "sale", "terms": {"events": {"sale": {"default": {"kind": "gift"}}}}},
            {"events.sale.default.kind": "invalid"},
        ),
    ):
        assert faults_of(market.call("POST", path, body)) == faults


def test_a_click_below_a_cent_is_previewed_exactly(market: Market) -> None:
    market.with_clicks_paid()
    posted(market, events={"click": QUARTER_CENT})
    path = f"/v1/programs/{market.program}/terms/preview"
    shown = market.call("POST", path, {"event": "click"}).json
    assert (shown["payout"], shown["rule"]) == ("0.0025", "clicks")


def test_an_order_in_another_currency_takes_the_rate_in_force(market: Market) -> None:
    posted(market)
    action_id = market.sale_of(currency="USD")
    found = market.call("GET", f"/v1/actions/{action_id}").json
    assert (found["payout"], found["reason"], found["rate"]) == ("0.00", "rate_missing", None)
    rate = {
        "brand_id": market.brand,
        "currency_from": "USD",
        "currency_to": "EUR",
        "rate": "0.9250",
        "source": "ECB",
        "date": "2026-01-30",
        "starts_at": "2026-01-30T15:00:00Z",
    }
    made = market.console.made("/v1/exchange-rates", rate)
    assert (made["rate"], made["starts_at"]) == ("0.9250", "2026-01-30T15:00:00.000Z")
    reset = market.moved(action_id, "reset")
    assert (reset["payout"], reset["revenue"]) == ("9.25", "92.50")
    assert (reset["rate"]["source"], reset["rate"]["date"]) == ("ECB", "2026-01-30")
    market.console.made("/v1/exchange-rates", {**rate, "rate": "2", "date": "2026-02-01"})
    assert market.moved(action_id, "modify", amount="50", reason="ORDER_UPDATE")["payout"] == "4.62"
    asked = {"event": "sale", "amount": "10", "currency": "USD"}
    path = f"/v1/programs/{market.program}/terms/preview"
    assert market.call("POST", path, asked).json["payout"] == "2.00"
    listed = market.call("GET", f"/v1/exchange-rates?brand_id={market.brand}").json["items"]
    assert [each["rate"] for each in listed] == ["0.9250", "2"]


@pytest.mark.parametrize(
    "change",
    [
        {"rate": "0"},
        {"rate": "-1"},
        {"rate": "1e3"},
        {"rate": "123456789012.123456789011"},
        {"date": "2026-02-30"},
        {"currency_from": "QQQ"},
        {"brand_id": "brd_99999"},
    ],
)
def test_rates_that_are_not_taken(market: Market, change: dict[str, str]) -> None:
    rate = {
        "brand_id": market.brand,
        "currency_from": "USD",
        "currency_to": "EUR",
        "rate": "1",
        "source": "ECB",
        "date": "2026-01-30",
    }
    reply = market.call("POST", "/v1/exchange-rates", {**rate, **change})
    assert list(faults_of(reply)) == list(change)


def test_the_longest_rate_fits_a_record(market: Market) -> None:
    rate = {
        "brand_id": market.brand,
        "currency_from": "JPY",
        "currency_to": "KWD",
        "rate": "123456.789012345679",
        "source": "ECB",
        "date": "2026-01-30",
    }
    market.console.made("/v1/exchange-rates", rate)
    posted(market)
    assert paid(market, market.sale_of()) == ("10.00", 1)


# ---- What the engine is told


def test_the_engine_hears_of_the_window(market: Market) -> None:
    from console_tools import controls_on

    posted(market, window_seconds=3_600)
    assert market.console.store is not None
    value = next(
        record.body[3]
        for record in reversed(controls_on(market.console.store))
        if record.body[0] == "terms" and record.body[3]["program"] == int(market.program[4:])
    )
    assert (value["window_ms"], value["window_seconds"], value["partner"]) == (3_600_000, 3_600, 0)


@pytest.mark.parametrize("field", ["browser", "region"])
def test_groups_cannot_ask_for_what_no_record_holds(market: Market, field: str) -> None:
    group = {"when": {field: ["x"]}, "pay": TEN_PERCENT["default"]}
    refused = posted(market, events={"sale": {"groups": [group]}})
    assert faults_of(refused) == {"events.sale.groups.0.when": "invalid"}
    assert "country" in refused.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("device", "status"), [("ios", 201), (" Android ", 201), ("mobile", 201), ("tablet", 422)]
)
def test_groups_ask_for_devices_there_are(market: Market, device: str, status: int) -> None:
    """One that is never told would never be paid."""
    group = {"when": {"device": [device]}, "pay": TEN_PERCENT["default"]}
    reply = posted(market, events={"sale": {"groups": [group]}}, starts_at=in_days(30))
    assert reply.status == status, reply.json
    if status == 422:
        assert faults_of(reply) == {"events.sale.groups.0.when.device": "invalid"}
