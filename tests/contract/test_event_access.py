"""Who may read clicks, conversions, what pixels fired, and the reports of them.

Method: a real console, Redis, ledger, engine and book; two brands with two partners each. Every
route that reads events is named with who it answers: a new one without an answer fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import pytest
import sqlalchemy as sa

from console_tools import Reply, RunningConsole, until
from headwater import ids
from headwater.console.event_routes import EVENT_ROUTES
from headwater.console.pixel_routes import PIXEL_ROUTES
from headwater.ledger.schema import firings
from money_tools import Market, Matcher, running_matcher

POSTBACK = {
    "program_id": "*",
    "commission": "cpa",
    "type": "postback",
    "template": "https://partner.example/p?id={click_id}",
}


class Deal(NamedTuple):
    """What one partner brought a brand: ids of a click, a conversion, an action and a firing."""

    partner: str
    click: str
    conversion: str
    action: str
    firing: str


class Side(NamedTuple):
    """A brand, and what its partner and the partner's rival brought."""

    market: Market
    own: Deal
    rival: Deal


Sides = tuple[Side, Side]


def deal_of(market: Market, partner: str) -> Deal:
    market.console.made(f"/v1/partners/{partner}/pixels", POSTBACK)
    action = market.sale_of(partner=partner)
    told = market.call("GET", f"/v1/actions/{action}").json
    conversion = told["conversion_id"]
    raw = ids.parse_event("cnv", conversion)

    def fired() -> list[bytes]:
        with market.console.ledger.read() as connection:
            of_order = firings.c.conversion_id == raw
            return list(connection.scalars(sa.select(firings.c.event_id).where(of_order)))

    until(lambda: bool(fired()))
    return Deal(partner, told["click_id"], conversion, action, ids.event_text("evt", fired()[0]))


def side_of(console: RunningConsole, matcher: Matcher) -> Side:
    market = Market(console, matcher)
    market.terms()
    return Side(market, deal_of(market, market.partner), deal_of(market, market.rival))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with running_matcher(tmp_path_factory.mktemp("events")) as parts:
        yield side_of(*parts), side_of(*parts)


# ---- Every route has an answer

ADMIN, PARTNERS, LOOKS, BRANDS, OWNERS = "admin", "partners", "looks", "brands", "owners"
READERS: Final = {
    "/v1/clicks": LOOKS,
    "/v1/clicks/{id}": LOOKS,
    "/v1/conversions": LOOKS,
    "/v1/conversions/{id}": LOOKS,
    # It names other partners' touches, and identifiers.
    "/v1/conversions/{id}/explain": BRANDS,
    "/v1/partners/{id}/conversions/{ref}/explain": PARTNERS,
    "/v1/reports/clicks": BRANDS,
    "/v1/reports/coverage": BRANDS,
    "/v1/reports/match-rate": BRANDS,
    "/v1/reports/fraud": BRANDS,
    "/v1/reports/performance": LOOKS,
    "/v1/reports/performance/export": LOOKS,
    # What has no credit is no partner's.
    "/v1/reports/unattributed": BRANDS,
    "/v1/exports/clicks": LOOKS,
    "/v1/exports/conversions": LOOKS,
    "/v1/exports/actions": LOOKS,
    "/v1/erasures": ADMIN,
    "/v1/erasures/{id}": ADMIN,
    "/v1/partners/{id}/pixels": OWNERS,
    "/v1/partners/{id}/pixels/{pixel_id}": OWNERS,
    "/v1/partners/{id}/pixels/{pixel_id}/preview": PARTNERS,
    "/v1/partners/{id}/pixels/{pixel_id}/test-links": PARTNERS,
    "/v1/conversions/{id}/pixels": LOOKS,
    "/v1/conversions/{id}/pixels/explain": LOOKS,
    "/v1/reports/firings": LOOKS,
}
"""Who is answered: an admin; also a partner's key; also keys that look, within their bounds; those
but for a partner's; those, of whom a partner asks for itself."""

ROUTES: Final = [route for route in (*EVENT_ROUTES, *PIXEL_ROUTES) if route.method == "GET"]


def test_every_route_that_reads_events_says_whom_it_answers() -> None:
    assert {route.path for route in ROUTES} == READERS.keys()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_a_route_takes_the_keys_it_says_and_no_others(route: Any, sides: Sides) -> None:
    market, own, _rival = sides[0]
    who = READERS[route.path]
    path = route.path.replace("{id}", own.partner if "/partners/" in route.path else "x")
    path = path.replace("{pixel_id}", "x").replace("{ref}", "x")
    if "program_id" in getattr(route.query, "__struct_fields__", ()):
        path += "?program_id=prg_999999"
    bounds = {"brand_id": market.brand}, {"partner_id": own.partner}
    taken = {
        "events": market.key("events"),
        "read": market.key("read"),
        "read of a brand": market.key("read", **bounds[0]),
        "finance of a brand": market.key("finance", **bounds[0]),
        "read of a partner": market.key("read", **bounds[1]),
    }
    allowed = {
        ADMIN: set(),
        PARTNERS: {"read of a partner"},
        LOOKS: taken.keys() - {"events"},
        OWNERS: taken.keys() - {"events"},
        BRANDS: taken.keys() - {"events", "read of a partner"},
    }[who]
    for name, key in taken.items():
        status = market.call("GET", path, key=key).status
        assert (status != 403) is (name in allowed), (name, status)


# ---- Bounds

ONE: Final[dict[str, Callable[[Deal], str]]] = {
    "/v1/clicks/{id}": lambda deal: f"/v1/clicks/{deal.click}",
    "/v1/conversions/{id}": lambda deal: f"/v1/conversions/{deal.conversion}",
    "/v1/conversions/{id}/pixels": lambda deal: f"/v1/conversions/{deal.conversion}/pixels",
    "/v1/conversions/{id}/pixels/explain": (
        lambda deal: f"/v1/conversions/{deal.conversion}/pixels/explain"
    ),
}
MANY: Final = {
    "/v1/clicks": ("items", "id"),
    "/v1/conversions": ("items", "conversion_id"),
    "/v1/reports/firings": ("items", "event_id"),
    "/v1/reports/performance": ("rows", "partner_id"),
}


def test_every_route_with_bounds_is_tried() -> None:
    # Of exports the rows are looked at in tests/unit/test_exports.py.
    exports = {path for path in READERS if "export" in path}
    tried = ONE.keys() | MANY.keys() | exports
    assert tried == {path for path, who in READERS.items() if who is LOOKS}


def names(deal: Deal) -> dict[str, str]:
    return {
        "/v1/clicks": deal.click,
        "/v1/conversions": deal.conversion,
        "/v1/reports/firings": deal.firing,
        "/v1/reports/performance": deal.partner,
    }


def seen(market: Market, path: str, key: str, query: str = "") -> set[str]:
    rows, name = MANY[path]
    reply = market.call("GET", f"{path}{query}", key=key)
    assert reply.status == 200, reply.json
    return {row[name] for row in reply.json[rows]}


@pytest.mark.parametrize("scope", ["read", "finance"])
def test_a_brands_key_sees_its_own_rows_alone(sides: Sides, scope: str) -> None:
    (market, own, rival), (other, theirs, thirds) = sides
    key = market.key(scope, brand_id=market.brand)
    for path in MANY:
        assert seen(market, path, key) == {names(own)[path], names(rival)[path]}, path
        assert seen(market, path, market.key(scope)) >= {names(theirs)[path], names(thirds)[path]}
    for path in ("/v1/clicks", "/v1/conversions", "/v1/reports/firings"):
        assert seen(market, path, key, f"?program_id={other.program}") == set()
    for path, of in ONE.items():
        assert market.call("GET", of(own), key=key).status == 200, path
        assert hidden(market.call("GET", of(theirs), key=key), path)
    report = "/v1/reports/performance"
    for outside in (
        f"?program_id={other.program}",
        f"?partner_id={theirs.partner}",
        f"/export?program_id={other.program}",
    ):
        assert hidden(market.call("GET", report + outside, key=key), outside)
    assert exported(market, key) == {own.partner, rival.partner}


@pytest.mark.parametrize("is_of_brand", [False, True])
def test_a_partners_key_sees_its_own_rows_alone(sides: Sides, is_of_brand: bool) -> None:
    (market, own, rival), (_other, theirs, _thirds) = sides
    bounds = {"brand_id": market.brand} if is_of_brand else {}
    key = market.key("read", partner_id=own.partner, **bounds)
    for path in MANY:
        assert seen(market, path, key) == {names(own)[path]}, path
    assert seen(market, "/v1/clicks", key, f"?partner_id={rival.partner}") == set()
    for path, of in ONE.items():
        assert market.call("GET", of(own), key=key).status == 200, path
        for deal in (rival, theirs):
            assert hidden(market.call("GET", of(deal), key=key), path)
    for outside in (f"?partner_id={rival.partner}", f"?partner_id={theirs.partner}"):
        assert hidden(market.call("GET", f"/v1/reports/performance{outside}", key=key), outside)
    assert exported(market, key) == {own.partner}


def test_a_partner_of_another_brand_has_nothing_in_this_one(sides: Sides) -> None:
    (market, own, _rival), (other, _theirs, _thirds) = sides
    key = market.key("read", partner_id=own.partner, brand_id=other.brand)
    for path in MANY:
        assert seen(market, path, key) == set(), path
    for path, of in ONE.items():
        assert hidden(market.call("GET", of(own), key=key), path)


def hidden(reply: Reply, path: str) -> bool:
    """Answered as what is not there: byte for byte."""
    assert (reply.status, reply.json["code"]) == (404, "not_found"), (path, reply.json)
    return True


def exported(market: Market, key: str) -> set[str]:
    path = "/v1/reports/performance/export?format=jsonl"
    lines = market.call("GET", path, key=key).body.splitlines()
    return {json.loads(line)["partner_id"] for line in lines}


def test_what_has_no_credit_is_told_to_its_brand(sides: Sides) -> None:
    (market, _own, _rival), (other, _theirs, _thirds) = sides
    path = "/v1/reports/unattributed"
    key = market.key("read", brand_id=market.brand)
    assert market.call("GET", f"{path}?program={market.code}", key=key).status == 200
    absent = market.call("GET", f"{path}?program=none-such", key=key)
    other_brand = market.call("GET", f"{path}?program={other.code}", key=key)
    assert (other_brand.status, other_brand.json) == (absent.status, absent.json)


# ---- What is told


def test_a_conversion_has_its_actions(sides: Sides) -> None:
    market, own, _rival = sides[0]
    told = market.call("GET", f"/v1/conversions/{own.conversion}").json
    (action,) = told["actions"]
    assert action == {
        "action_id": own.action,
        "partner_id": own.partner,
        "state": "pending",
        "reason": None,
        "payout": "10.00",
        "currency": "EUR",
    }
    listed = market.call("GET", f"/v1/conversions?program_id={market.program}").json["items"]
    assert {each["actions"][0]["action_id"] for each in listed} == {
        deal.action for deal in sides[0][1:]
    }


def test_of_a_shared_conversion_a_partner_is_told_its_own_part(sides: Sides) -> None:
    """Given by hand to the rival, the order has an action of each."""
    market = sides[0].market
    deal = deal_of(market, market._partner())
    body = {"partner_id": market.rival}
    path = f"/v1/conversions/{deal.conversion}"
    assert market.call("POST", f"{path}/attribute", body).status in (200, 202)
    until(lambda: len(market.call("GET", path).json["actions"]) == 2)
    for partner in (deal.partner, market.rival):
        reply = market.call("GET", path, key=market.key("read", partner_id=partner))
        assert reply.status == 200
        assert {each["partner_id"] for each in reply.json["actions"]} == {partner}
        assert {each["partner_id"] for each in reply.json["credits"]} <= {partner}
        (other,) = {deal.partner, market.rival} - {partner}
        assert f'"{other}"'.encode() not in reply.body
        listed = market.call("GET", "/v1/conversions", key=market.key("read", partner_id=partner))
        assert f'"{other}"'.encode() not in listed.body
        assert deal.conversion.encode() in listed.body


def test_a_partner_is_told_nothing_of_its_visitors_device(sides: Sides) -> None:
    market, own, _rival = sides[0]
    key = market.key("read", partner_id=own.partner)
    told = market.call("GET", f"/v1/clicks/{own.click}", key=key).json
    assert told["id"] == own.click
    unknown = ("fraud", "score", "user_agent", "address_prefix")
    assert [told[name] for name in unknown] == [None] * len(unknown)
    assert told["revisions"] == []


def test_a_partner_is_told_no_score_and_no_signal(sides: Sides) -> None:
    """They would say what to try next."""
    market, own, _rival = sides[0]
    key = market.key("read", partner_id=own.partner)
    one = market.call("GET", f"/v1/conversions/{own.conversion}", key=key).json
    (listed,) = market.call("GET", "/v1/conversions", key=key).json["items"]
    for told in (one, listed):
        assert told["fraud"] == {"score": None, "verdict": "accept", "codes": []}
    (click,) = market.call("GET", "/v1/clicks", key=key).json["items"]
    assert click["score"] is None
    for_brand = market.key("read", brand_id=market.brand)
    path = f"/v1/conversions/{own.conversion}"
    assert market.call("GET", path, key=for_brand).json["fraud"]["score"] is not None


def test_a_brand_reads_why_and_how_well_its_own_were_matched(sides: Sides) -> None:
    (market, own, _rival), (other, theirs, _thirds) = sides
    key = market.key("read", brand_id=market.brand)
    path = f"/v1/conversions/{own.conversion}/explain"
    assert market.call("GET", path, key=key).json == market.call("GET", path).json
    path = f"/v1/conversions/{theirs.conversion}/explain"
    assert hidden(market.call("GET", path, key=key), path)
    for name in ("clicks", "coverage", "match-rate", "fraud"):
        path = f"/v1/reports/{name}?program_id="
        assert market.call("GET", f"{path}{market.program}", key=key).status == 200, name
        assert hidden(market.call("GET", f"{path}{other.program}", key=key), name)
        absent = market.call("GET", f"{path}prg_999999", key=key)
        assert absent.json == market.call("GET", f"{path}{other.program}", key=key).json


def test_a_brand_reads_the_pixels_of_its_partners_without_their_secrets(sides: Sides) -> None:
    (market, own, _rival), (_other, theirs, _thirds) = sides
    secret = {"template": "https://partner.example/p?token=zzz", "test_url": None}
    body = {**POSTBACK, **secret, "commission": "cpc", "program_id": market.program}
    path = f"/v1/partners/{own.partner}/pixels"
    made = market.console.made(path, body)
    key = market.key("read", brand_id=market.brand)
    listed = market.call("GET", path, key=key)
    assert made["id"] in {each["id"] for each in listed.json["items"]}
    one = market.call("GET", f"{path}/{made['id']}", key=key)
    assert one.json["template"] == "https://partner.example/p?token=***"
    assert b"zzz" not in listed.body + one.body
    its_own = market.key("read", partner_id=own.partner)
    for asked in (None, its_own):
        told = market.call("GET", f"{path}/{made['id']}", **({"key": asked} if asked else {}))
        assert told.json["template"].endswith("zzz")
    outside = f"/v1/partners/{theirs.partner}/pixels"
    assert hidden(market.call("GET", outside, key=key), outside)
    for route in (path, f"{path}/{made['id']}"):
        assert market.call("GET", route, key=market.key("events")).status == 403
    for verb, change in (("PATCH", {"status": "paused"}), ("DELETE", None)):
        assert market.call(verb, f"{path}/{made['id']}", change, key=key).status == 403


def test_pages_of_a_partner_have_each_conversion_once(sides: Sides) -> None:
    market = sides[1].market
    partner = market._partner()
    conversions = {deal_of(market, partner).conversion}
    for _ in range(2):
        told = market.call("GET", f"/v1/actions/{market.sale_of(partner=partner)}").json
        conversions.add(told["conversion_id"])
    key = market.key("read", partner_id=partner)
    found: list[str] = []
    cursor = ""
    for _ in range(5):
        page = market.call("GET", f"/v1/conversions?limit=1{cursor}", key=key).json
        found += [each["conversion_id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(found) == sorted(conversions)
