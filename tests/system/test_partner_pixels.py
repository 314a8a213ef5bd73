"""Through a whole system: a partner's test, from its link to what its own server was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from courier_tools import Receiver
from headwater import clock
from headwater.ops.demo_traffic import Scene
from system_tools import Answer, System, wait_for

REACHES = {"HEADWATER_EGRESS_ALLOW": "127.0.0.0/8", "HEADWATER_EGRESS_HTTP": "true"}
TEST_CARD = {"card_number": "0" * 16, "cvv": "100", "expiry": "12/2099"}
IMAGE = '<img src="http://127.0.0.1/i?o={order_id}&c={sub1}">'
MACROS = "id={click_id}&o={order_id}&a={sale_amount}&t={is_test}&s={sub1}&e={event_id}"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), environment=REACHES) as running:
        yield running


@pytest.fixture(scope="module")
def scene(system: System) -> Scene:
    found = system.program(partners=1)
    system.links_when_committed()
    return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def pixel(system: System, **fields: Any) -> Any:
    """A pixel of all programs of the one partner."""
    (partner,) = system.console.get("/v1/partners")["items"]
    body = {"commission": "cpa", "type": "postback", **fields}
    made = system.console.post(f"/v1/partners/{partner['id']}/pixels", body)
    return {**made, "path": f"/v1/partners/{partner['id']}/pixels/{made['id']}"}


def clicked(system: System, url: str) -> str:
    """Follow a link; the click's id."""
    parts = urlsplit(url)
    answer = system.edge("GET", f"{parts.path}?{parts.query}")
    assert answer.status == 302
    return answer.headers["location"].rpartition("click_id=")[2]


def clicked_before(system: System, scene: Scene, **fields: str) -> str:
    """A click of an hour ago: an order right after a click would wait for review."""
    (partner,) = system.console.get("/v1/partners")["items"]
    hour_ago = clock.iso_ms(clock.now_ms() - 3_600_000)
    body = {"program": scene.program, "partner": partner["id"], "occurred_at": hour_ago, **fields}
    made: str = system.edge("POST", "/v1/clicks", body, scene.key).json["click_id"]
    return made


def by_tag(system: System, event: dict[str, Any]) -> Answer:
    page = {"Content-Type": "text/plain", "Origin": "https://shop.example"}
    return system.edge("POST", "/v1/collect", json.dumps(event).encode(), headers=page)


def of_conversion(system: System, conversion: str, what: str = "pixels") -> Any:
    return system.console.get(f"/v1/conversions/{conversion}/{what}")


def test_k19_a_partners_test_goes_from_its_link_to_its_server(
    system: System, scene: Scene, receiver: Receiver
) -> None:
    """Open a test link, place an order with the test card, read its pixels' details."""
    made = pixel(system, template=f"{receiver.url}p?{MACROS}&token=abc")
    links = system.console.get(f"{made['path']}/test-links")
    click_id = clicked(system, links["links"][0]["url"])
    sale = {
        "program": scene.program,
        "event": "sale",
        "order_id": "TEST/1 & more",
        "click_id": click_id,
        "amount": "80.00",
        "currency": "EUR",
        "payment": TEST_CARD,
    }
    told = system.convert(sale, scene.key)
    assert [action["state"] for action in told["actions"]] == ["pending"]
    wait_for(lambda: receiver.targets, 60, "the partner's server was told")
    conversion = told["conversion_id"]
    wait_for(
        lambda: of_conversion(system, conversion)["firings"][0]["state"] == "delivered",
        60,
        "the delivery is on record",
    )
    (target,) = receiver.targets
    assert parse_qs(urlsplit(target).query) == {
        "id": [click_id],
        "o": ["TEST/1 & more"],
        "a": ["80.00"],
        "t": ["1"],
        "s": [links["values"]["sub1"]],
        "e": receiver.seen,
        "token": ["abc"],
    }
    read = system.console.get(f"/v1/conversions/{conversion}")
    assert read["flags"]["test"]
    assert read["pixels"]["fired"] == 1
    (firing,) = system.console.get(read["pixels"]["details_url"])["firings"]
    assert (firing["event_id"], firing["test"]) == (receiver.seen[0], True)
    assert "abc" not in json.dumps(firing)
    (walk,) = of_conversion(system, conversion, "pixels/explain")["walks"]
    assert walk["conclusion"] == "The partner's server answered 2xx. The status was 200."
    # The same order again is not told again.
    system.convert(sale, scene.key, 200)
    assert of_conversion(system, conversion)["fired"] == 1
    system.console.delete(made["path"])


def test_k11_k12_one_lead_is_told_at_once_and_another_waits(
    system: System, scene: Scene, receiver: Receiver
) -> None:
    at_once = pixel(
        system,
        commission="cpl",
        rule="fire_for_all_partials",
        template=f"{receiver.url}lead?{MACROS}",
    )

    def lead(number: int) -> str:
        body = {
            "program": scene.program,
            "event": "lead",
            "click_id": clicked_before(system, scene),
            "order_id": f"L-{number}",
        }
        made: str = system.convert(body, scene.key)["conversion_id"]
        return made

    first = lead(1)
    wait_for(lambda: receiver.targets, 60, "the lead was told of")
    assert of_conversion(system, first)["fired"] == 1
    system.console.delete(at_once["path"])
    waits = pixel(system, commission="cpl", template=f"{receiver.url}lead?{MACROS}")
    (decision,) = of_conversion(system, lead(2))["pixel_decisions"]
    assert decision["code"] == "waiting_for_sale"
    system.console.delete(waits["path"])


def test_k13_k16_the_tag_is_given_an_image_and_a_server_none(system: System, scene: Scene) -> None:
    made = pixel(system, type="image", template=IMAGE)
    click_id = clicked_before(system, scene, sub1="a&b")
    sale = {"event": "sale", "click_id": click_id, "amount": "10.00", "currency": "EUR"}
    event = {"type": "conversion", "program": scene.program, **sale, "order_id": "W-1"}
    answer = by_tag(system, event)
    number = 1
    while answer.status == 202 and number < 30:
        # A decision that comes after the answer has no page to fire pixels any more.
        number += 1
        event["order_id"] = f"W-{number}"
        answer = by_tag(system, event)
    assert answer.status == 201, answer.body
    assert answer.json["pixels"] == [
        {"type": "image", "url": f"http://127.0.0.1/i?o=W-{number}&c=a%26b"},
    ]
    assert by_tag(system, event).json["pixels"] == []
    by_server = {"program": scene.program, **sale, "order_id": "S-1"}
    reply = system.convert(by_server, scene.key)
    assert reply["pixels"] == []
    (decision,) = of_conversion(system, reply["conversion_id"])["pixel_decisions"]
    assert decision["code"] == "skipped_source_api"
    system.console.delete(made["path"])
