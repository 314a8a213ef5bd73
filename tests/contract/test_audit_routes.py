"""Every route that changes something writes the audit log; those that do not are named, with why.

Method: a real console, Redis, ledger, engine and book; one request of each route that is no GET.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import sqlalchemy as sa

from console_tools import fresh, until
from headwater import ids
from headwater.console.routes import ROUTES
from headwater.ledger.schema import firings, pixel_endpoints
from money_tools import TEN_PERCENT, Market, running_matcher

CHANGES: Final = [route for route in ROUTES if route.method != "GET"]
REASON: Final = {"reason": "CONS_FRAUD"}
LATER: Final = "2099-01-01T00:00:00Z"
TERMS: Final[dict[str, Any]] = {
    "events": {"sale": TEN_PERCENT},
    "locking": {"kind": "tracked", "days": 30},
}
PIXEL: Final = {
    "program_id": "*",
    "commission": "cpa",
    "type": "postback",
    "template": "https://partner.example/p?id={click_id}",
}
SILENT: Final = {
    ("POST", "/v1/programs/{id}/terms/preview"): "it keeps nothing",
    ("POST", "/v1/partners/{id}/pixels/preview"): "it keeps nothing",
}

Sent = tuple[str, Any]
"""The path and the body of a request."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with running_matcher(tmp_path_factory.mktemp("audit")) as parts:
        made = Market(*parts)
        made.with_clicks_paid()
        click = {"default": {"kind": "flat", "amount_micros": 1_000_000}}
        made.terms(events={"sale": TEN_PERCENT, "click": click})
        yield made


# ---- What there has to be first


def in_program(market: Market, rest: str = "") -> str:
    return f"/v1/programs/{market.program}{rest}"


def partner(market: Market) -> str:
    """One more partner, in the program."""
    made: str = market.console.made("/v1/partners", {"name": "p"})["id"]
    market.console.made(in_program(market, f"/partners/{made}"), {}, "PUT")
    return made


def link(market: Market) -> dict[str, str]:
    return {"program_id": market.program, "partner_id": market.partner, "code": fresh("l")}


def secret(market: Market) -> dict[str, str]:
    return {"secret": fresh("secret-").ljust(32, "x")}


def made(market: Market, path: str, body: Any) -> str:
    found: str = market.console.made(path, body)["id"]
    return found


def promo(market: Market) -> str:
    body = {"code": fresh("PROMO"), "partner_id": market.partner}
    return f"/v1/promo-codes/{made(market, in_program(market, '/promo-codes'), body)}"


def scheduled_terms(market: Market) -> str:
    body = {**TERMS, "starts_at": LATER, "partner_id": partner(market)}
    return f"/v1/terms/{made(market, in_program(market, '/terms'), body)}"


def pixel(market: Market, rest: str = "") -> str:
    owner = partner(market)
    number = made(market, f"/v1/partners/{owner}/pixels", PIXEL)
    return f"/v1/partners/{owner}/pixels/{number}{rest}"


def action(market: Market, verb: str, *before: str) -> str:
    action_id = market.sale_of()
    for each in before:
        market.moved(action_id, each, **(REASON if each == "reverse" else {}))
    return f"/v1/actions/{action_id}/{verb}"


def locked(market: Market, verb: str) -> str:
    """An action that is locked."""
    owner = partner(market)
    action_id = market.sale_of(partner=owner)
    market.moved(action_id, "approve")
    market.call("POST", "/v1/settle", {"until": LATER})
    until(lambda: market.call("GET", f"/v1/actions/{action_id}").json["state"] == "locked")
    return f"/v1/actions/{action_id}/{verb}"


def conversion(market: Market, verb: str) -> str:
    found = market.call("GET", f"/v1/actions/{market.sale_of()}").json["conversion_id"]
    return f"/v1/conversions/{found}/{verb}"


def order(market: Market) -> dict[str, str]:
    order_id = fresh("order")
    market.sale_of(order_id=order_id)
    return {"program_id": market.program, "event": "sale", "order_id": order_id, **REASON}


def disabled_pixel(market: Market) -> str:
    path = pixel(market)
    row = dict.fromkeys(pixel_endpoints.c.keys(), 1) | {"disabled_code": "gone"}
    with market.console.ledger.write() as connection:
        number = int(path.rpartition("_")[2])
        connection.execute(sa.insert(pixel_endpoints).values(**row | {"pixel": number}))
    return f"{path}/enable"


def dead_firing(market: Market) -> str:
    path = pixel(market)
    owner = path.split("/")[3]
    market.sale_of(partner=owner)
    of_partner = firings.c.partner == int(owner[4:])

    def found() -> bytes | None:
        with market.console.ledger.read() as connection:
            event_id: bytes | None = connection.scalar(
                sa.select(firings.c.event_id).where(of_partner)
            )
            return event_id

    until(lambda: found() is not None)
    with market.console.ledger.write() as connection:
        connection.execute(sa.update(firings).where(of_partner).values(state="dead"))
    return f"/v1/firings/{ids.event_text('evt', found() or b'')}/resend"


# ---- One request of each route

SENDS: Final[dict[tuple[str, str], Callable[[Market], Sent]]] = {
    ("POST", "/v1/brands"): lambda _: ("/v1/brands", {"name": "b"}),
    ("PATCH", "/v1/brands/{id}"): lambda m: (f"/v1/brands/{m.brand}", {"name": fresh("b")}),
    ("POST", "/v1/programs"): lambda m: (
        "/v1/programs",
        {
            "brand_id": m.brand,
            "code": fresh("p"),
            "destination_url": "https://shop.example/",
            "currency": "EUR",
        },
    ),
    ("PATCH", "/v1/programs/{id}"): lambda m: (in_program(m), {"name": fresh("p")}),
    ("POST", "/v1/programs/{id}/event-types"): lambda m: (
        in_program(m, "/event-types"),
        {"code": fresh("e"), "kind": "custom"},
    ),
    ("PATCH", "/v1/programs/{id}/event-types/{event_type_id}"): lambda m: (
        in_program(m, f"/event-types/{m.sale}"),
        {"click_window_seconds": 86_400},
    ),
    ("POST", "/v1/partners"): lambda _: ("/v1/partners", {"name": "p"}),
    ("PATCH", "/v1/partners/{id}"): lambda m: (f"/v1/partners/{partner(m)}", {"name": "q"}),
    ("PUT", "/v1/programs/{id}/partners/{partner_id}"): lambda m: (
        in_program(m, f"/partners/{made(m, '/v1/partners', {'name': 'p'})}"),
        {},
    ),
    ("PATCH", "/v1/programs/{id}/partners/{partner_id}"): lambda m: (
        in_program(m, f"/partners/{partner(m)}"),
        {"status": "paused"},
    ),
    ("POST", "/v1/links"): lambda m: ("/v1/links", link(m)),
    ("PATCH", "/v1/links/{id}"): lambda m: (
        f"/v1/links/{made(m, '/v1/links', link(m))}",
        {"destination_url": "https://shop.example/other"},
    ),
    ("DELETE", "/v1/links/{id}"): lambda m: (f"/v1/links/{made(m, '/v1/links', link(m))}", None),
    ("POST", "/v1/links/bulk"): lambda m: ("/v1/links/bulk", {"links": [link(m)]}),
    ("POST", "/v1/domains"): lambda m: (
        "/v1/domains",
        {"brand_id": m.brand, "domain": f"{fresh('go')}.example"},
    ),
    ("POST", "/v1/programs/{id}/link-secrets"): lambda m: (in_program(m, "/link-secrets"), None),
    ("DELETE", "/v1/programs/{id}/link-secrets"): lambda m: (
        twice(m, in_program(m, "/link-secrets"), lambda: None),
        None,
    ),
    ("POST", "/v1/programs/{id}/shopify-secrets"): lambda m: (
        in_program(m, "/shopify-secrets"),
        secret(m),
    ),
    ("DELETE", "/v1/programs/{id}/shopify-secrets"): lambda m: (
        twice(m, in_program(m, "/shopify-secrets"), lambda: secret(m)),
        None,
    ),
    ("POST", "/v1/programs/{id}/promo-codes"): lambda m: (
        in_program(m, "/promo-codes"),
        {"code": fresh("PROMO"), "partner_id": m.partner},
    ),
    ("PATCH", "/v1/promo-codes/{id}"): lambda m: (promo(m), {"status": "paused"}),
    ("DELETE", "/v1/promo-codes/{id}"): lambda m: (promo(m), None),
    ("POST", "/v1/keys"): lambda _: ("/v1/keys", {"scopes": ["read"]}),
    ("DELETE", "/v1/keys/{id}"): lambda m: (
        f"/v1/keys/{made(m, '/v1/keys', {'scopes': ['read']})}",
        None,
    ),
    ("PUT", "/v1/fraud-rules"): lambda _: (
        "/v1/fraud-rules",
        {"referrers": [f"{fresh('r')}.example"]},
    ),
    ("POST", "/v1/erasures"): lambda m: (
        "/v1/erasures",
        {"brand_id": m.brand, "email": "ada@example.org", "dry_run": False},
    ),
    ("POST", "/v1/programs/{id}/terms"): lambda m: (
        in_program(m, "/terms"),
        {**TERMS, "partner_id": partner(m)},
    ),
    ("PATCH", "/v1/terms/{id}"): lambda m: (scheduled_terms(m), {"change_notice_days": 3}),
    ("DELETE", "/v1/terms/{id}"): lambda m: (scheduled_terms(m), None),
    ("POST", "/v1/exchange-rates"): lambda m: (
        "/v1/exchange-rates",
        {
            "brand_id": m.brand,
            "currency_from": "USD",
            "currency_to": "EUR",
            "rate": "0.9",
            "source": "bank",
            "date": "2026-01-01",
        },
    ),
    ("PUT", "/v1/programs/{id}/money-settings"): lambda m: (
        in_program(m, "/money-settings"),
        {"reversal_reasons": ["LOST"]},
    ),
    ("POST", "/v1/actions/bulk"): lambda m: (
        "/v1/actions/bulk",
        {"move": "approve", "action_ids": [m.sale_of()]},
    ),
    ("POST", "/v1/actions/{id}/approve"): lambda m: (action(m, "approve"), {}),
    ("POST", "/v1/actions/{id}/reverse"): lambda m: (action(m, "reverse"), REASON),
    ("POST", "/v1/actions/{id}/reset"): lambda m: (action(m, "reset", "approve"), {}),
    ("POST", "/v1/actions/{id}/modify"): lambda m: (
        action(m, "modify"),
        {"amount": "1.00", **REASON},
    ),
    ("POST", "/v1/actions/{id}/pay"): lambda m: (locked(m, "pay"), {}),
    ("POST", "/v1/actions/{id}/compensate"): lambda m: (
        locked(m, "compensate"),
        {"payout": "1.00", **REASON},
    ),
    ("POST", "/v1/conversions/{id}/reverse"): lambda m: (conversion(m, "reverse"), REASON),
    ("POST", "/v1/conversions/{id}/modify"): lambda m: (
        conversion(m, "modify"),
        {"amount": "1.00", **REASON},
    ),
    ("POST", "/v1/conversions/{id}/attribute"): lambda m: (
        conversion(m, "attribute"),
        {"partner_id": m.rival},
    ),
    ("POST", "/v1/orders/reverse"): lambda m: ("/v1/orders/reverse", order(m)),
    ("POST", "/v1/orders/modify"): lambda m: (
        "/v1/orders/modify",
        {**order(m), "amount": "1.00"},
    ),
    ("POST", "/v1/settle"): lambda _: ("/v1/settle", {}),
    ("POST", "/v1/clicks/accept"): lambda m: (
        "/v1/clicks/accept",
        {"click_ids": [m.counted_click()]},
    ),
    ("POST", "/v1/clicks/reject"): lambda m: (
        "/v1/clicks/reject",
        {"click_ids": [m.counted_click()], **REASON},
    ),
    ("POST", "/v1/partners/{id}/pixels"): lambda m: (f"/v1/partners/{partner(m)}/pixels", PIXEL),
    ("PATCH", "/v1/partners/{id}/pixels/{pixel_id}"): lambda m: (pixel(m), {"status": "paused"}),
    ("DELETE", "/v1/partners/{id}/pixels/{pixel_id}"): lambda m: (pixel(m), None),
    ("POST", "/v1/partners/{id}/pixels/{pixel_id}/enable"): lambda m: (disabled_pixel(m), None),
    ("POST", "/v1/partners/{id}/pixels/{pixel_id}/secrets"): lambda m: (
        pixel(m, "/secrets"),
        None,
    ),
    ("DELETE", "/v1/partners/{id}/pixels/{pixel_id}/secrets"): lambda m: (
        twice(m, pixel(m, "/secrets"), lambda: None),
        None,
    ),
    ("POST", "/v1/firings/{id}/resend"): lambda m: (dead_firing(m), None),
}


def twice(market: Market, path: str, body: Callable[[], Any]) -> str:
    """The path, once there are two secrets there."""
    for _ in range(2):
        assert market.call("POST", path, body()).status == 201
    return path


def newest(market: Market) -> dict[str, Any]:
    found: dict[str, Any] = market.call("GET", "/v1/audit?limit=1").json["items"][0]
    return found


def test_every_route_that_changes_something_is_tried() -> None:
    assert {(route.method, route.path) for route in CHANGES} == SENDS.keys() | SILENT.keys()
    assert not SENDS.keys() & SILENT.keys()


@pytest.mark.parametrize(("method", "path"), SENDS, ids=[" ".join(each) for each in SENDS])
def test_a_change_is_in_the_audit_log(market: Market, method: str, path: str) -> None:
    (route,) = [each for each in CHANGES if (each.method, each.path) == (method, path)]
    target, body = SENDS[method, path](market)
    before = newest(market)["id"]
    reply = market.call(method, target, body)
    assert reply.status in route.answers, reply.json
    entry = newest(market)
    assert entry["id"] != before
    assert entry["actor"].startswith("key_")


def test_what_changed_nothing_is_not_in_the_audit_log(market: Market) -> None:
    resend, enable = dead_firing(market), disabled_pixel(market)
    assert market.call("POST", resend).status == 200
    assert newest(market)["object_id"] == resend.split("/")[3]
    assert (newest(market)["object"], newest(market)["verb"]) == ("firing", "resend")
    assert market.call("POST", enable).status == 200
    entry = newest(market)
    assert (entry["object"], entry["object_id"]) == ("pixel", enable.split("/")[5])
    assert entry["changes"] == [{"member": "disabled", "before": "gone", "after": None}]
    assert market.call("POST", resend).status == 409
    assert market.call("POST", enable).status == 200
    assert newest(market)["id"] == entry["id"]
