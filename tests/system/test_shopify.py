"""A shop's orders through a whole system: what pixel and webhooks say of one is one conversion."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from headwater import clock, ids
from headwater.model.records import decode
from headwater.ops.demo_traffic import Scene
from shopify_tools import SECRET, encoded, headers, order, refund
from system_tools import Answer, System, wait_for

_codes = itertools.count(1)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), edges=1) as started:
        yield started


@pytest.fixture
def shop(system: System) -> Scene:
    """A program whose shop's secret is known."""
    scene = system.program(f"shop{next(_codes)}", partners=1)
    program = system.console.program(scene.program)["id"]
    system.console.post(f"/v1/programs/{program}/shopify-secrets", {"secret": SECRET})
    return scene


def click(system: System, shop: Scene) -> str:
    location = system.edge("GET", f"/c/{shop.codes[0]}").headers["Location"]
    return str(location.partition("click_id=")[2])


def deliver(system: System, shop: Scene, topic: str, body: Any, **how: Any) -> Answer:
    raw = encoded(body)
    path = f"/v1/shopify/{shop.program}"
    return system.edge("POST", path, raw, headers=headers(raw, topic, **how))


def bought(click_id: str, **changes: Any) -> dict[str, Any]:
    attributes = [
        {"name": "hw_click_id", "value": click_id},
        {"name": "hw_consent", "value": "granted"},
    ]
    now = clock.iso_ms(clock.now_ms())
    return order(**{"note_attributes": attributes, "created_at": now, **changes})


def pixel(system: System, shop: Scene, click_id: str, **fields: Any) -> Answer:
    """What the custom web pixel sends of the same order."""
    body = {
        "type": "conversion", "program": shop.program, "event": "sale",
        "order_id": "820982911946154508", "amount": "40.5", "currency": "EUR",
        "click_id": click_id, "consent": "granted", **fields,
    }  # fmt: skip
    return system.edge("POST", "/v1/collect", body)


def rows(system: System, sql: str) -> list[Any]:
    path = system.settings.data / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def decided(system: System, shop: Scene) -> dict[str, Any]:
    path = f"/v1/conversions?program={shop.program}&event=sale&order_id=820982911946154508"
    return system.decided(path, shop.key)


def conversions(system: System, shop: Scene) -> list[Any]:
    return rows(
        system,
        "SELECT conversion_id, amount_minor, currency FROM conversions WHERE program = "
        f"(SELECT id FROM programs WHERE code = '{shop.program}')",
    )


def changes(system: System, shop: Scene) -> list[Any]:
    records = rows(
        system,
        "SELECT record FROM others WHERE kind = 6 AND brand = "
        f"(SELECT brand_id FROM programs WHERE code = '{shop.program}')",
    )
    return [decode(raw).body for (raw,) in records]


@pytest.mark.parametrize("pixel_first", [True, False])
def test_i22_web_pixel_and_webhook_are_one_conversion(
    system: System, shop: Scene, pixel_first: bool
) -> None:
    click_id = click(system, shop)

    def webhook() -> Any:
        return deliver(system, shop, "orders/create", bought(click_id)).json["conversion_id"]

    def browser() -> Any:
        return pixel(system, shop, click_id, amount="39.00").json["conversion_id"]

    first, second = (browser, webhook) if pixel_first else (webhook, browser)
    assert first() == second()
    decision = decided(system, shop)
    assert (decision["status"], decision["credits"][0]["click_id"]) == ("attributed", click_id)
    wait_for(
        lambda: [row[1:] for row in conversions(system, shop)] == [(4050, "EUR")],
        60,
        "the server's word counts for money",
    )


def test_i22_each_delivery_counts_once(system: System, shop: Scene) -> None:
    body = bought(click(system, shop))
    for topic in ("orders/create", "orders/paid", "orders/create", "orders/paid"):
        assert deliver(system, shop, topic, body).status == 200
    for webhook in ("one", "another", "another"):
        answer = deliver(system, shop, "refunds/create", refund(), webhook_id=webhook)
        assert answer.status == 200
    decided(system, shop)
    gone = bought("", cancelled_at="2026-01-06T10:00:00Z", cancel_reason="fraud")
    for topic in ("orders/cancelled", "orders/updated"):
        assert deliver(system, shop, topic, gone).status == 200
    wait_for(lambda: len(changes(system, shop)) == 2, 60, "one refund and one end")
    (conversion,) = conversions(system, shop)
    told = changes(system, shop)
    assert {body.params["reason"] for body in told} == {"order_refunded", "order_cancelled"}
    assert {body.subject for body in told} == {conversion[0]}
    sql = f"SELECT 1 FROM conversion_reports WHERE conversion_id = x'{conversion[0].hex()}'"
    wait_for(lambda: len(rows(system, sql)) >= 3, 60, "create, paid and updated")
    assert len(rows(system, sql)) == 3, "each once"


def test_i22_an_edited_order_is_no_conflict(system: System, shop: Scene) -> None:
    click_id = click(system, shop)
    deliver(system, shop, "orders/create", bought(click_id))
    lines = order()["line_items"]
    lines[1]["quantity"] = lines[1]["current_quantity"] = 2
    edited = bought(click_id, line_items=lines, updated_at="2026-01-07T00:00:00Z")
    assert deliver(system, shop, "orders/updated", edited).status == 200
    wait_for(lambda: len(changes(system, shop)) == 1, 60, "the change is kept")
    (change,) = changes(system, shop)
    assert (change.action, change.params["amount_minor"]) == ("modify", "6550")
    assert [row[1] for row in conversions(system, shop)] == [4050]
    assert ids.event_text("cnv", change.subject) == decided(system, shop)["conversion_id"]


def test_i22_without_consent_the_order_is_nobodys(system: System, shop: Scene) -> None:
    attributes = [{"name": "hw_consent", "value": "denied"}]
    deliver(system, shop, "orders/create", bought("", note_attributes=attributes))
    pixel(system, shop, "", consent="denied")
    decision = decided(system, shop)
    assert (decision["status"], decision["reason"]) == ("unattributed", "consent_denied")
