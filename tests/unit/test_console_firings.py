"""What partner pixels fired, what came of it and why others were not, by the management API.

Orders come to the ledger as the matcher brings them; a real courier delivers to a real server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from console_tools import RunningConsole, console_in
from courier_tools import status
from headwater import clock, ids
from headwater.book import pixels as stage
from headwater.ledger.firing_queries import FiringFilter, firing_page
from headwater.ledger.schema import credit_shares
from headwater.model.pixels import DECISION_CODES, DELIVERY_CODES
from headwater.model.records import IdentifierType, Source
from pixel_scene import NOW_MS, Scene
from pixel_tools import everybody, told

IMAGE = '<img src="https://partner.example/i?o={order_id}">'
VISITOR = (int(IdentifierType.VISITOR), bytes(range(16)))
BY_TAG = told(source=Source.TAG)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def scene(console: RunningConsole) -> Scene:
    return Scene(console)


def codes(found: Any) -> list[str]:
    return [each["code"] for each in found["pixel_decisions"]]


def steps(walk: Any) -> list[tuple[str, str]]:
    return [(each["step"], each["answer"]) for each in walk["steps"]]


PASSED = [
    ("partner_found", "yes"),
    ("in_program", "yes"),
    ("action_made", "yes"),
    ("pixel_exists", "yes"),
    ("source_allows_type", "yes"),
    ("prepaid", "not_known"),
    ("held", "no"),
]

# ---- Who is told -----------------------------------------------------------------------------


def test_k1_a_partner_is_told_of_its_own_conversions_alone(console: RunningConsole) -> None:
    scene = Scene(console, partners=2)
    own, rival = scene.partners
    scene.pixel(own)
    scene.pixel(rival)
    order = scene.order(partner=rival)
    (firing,) = scene.told_of(order)["firings"]
    assert firing["partner_id"] == rival
    assert len(scene.deliver(status(200)).heads) == 1
    # The one sees all of it, the other not that there is such an order.
    assert scene.told_of(order, scene.key(rival))["firings"][0]["event_id"] == firing["event_id"]
    key = scene.key(own)
    for path in ("pixels", "pixels/explain"):
        assert console.call("GET", f"/v1/conversions/{order}/{path}", key=key).status == 404
    for query in ("", f"?pixel_id={firing['pixel_id']}"):
        assert console.call("GET", f"/v1/reports/firings{query}", key=key).json["items"] == []
    path = f"/v1/reports/firings?partner_id={rival}"
    assert console.call("GET", path, key=key).status == 403
    resend = f"/v1/firings/{firing['event_id']}/resend"
    assert console.call("POST", resend, key=scene.key(rival)).status == 403


def test_a_key_of_another_brand_is_told_nothing(scene: Scene, console: RunningConsole) -> None:
    scene.pixel()
    order = scene.order()
    elsewhere = console.made("/v1/brands", {"name": "Elsewhere"})["id"]
    key = scene.key(brand_id=elsewhere)
    assert console.call("GET", f"/v1/conversions/{order}/pixels", key=key).status == 404
    assert console.call("GET", "/v1/reports/firings", key=key).json["items"] == []


def test_k4_leaving_the_program_silences_its_pixels_and_keeps_what_they_fired(
    scene: Scene, console: RunningConsole
) -> None:
    made = scene.pixel(commission="cpl")
    scene.pixel()
    fired = scene.order()
    waiting = scene.order(kind="lead")
    path = f"/v1/programs/{scene.program}/partners/{scene.partners[0]}"
    assert console.call("PATCH", path, {"status": "paused"}).status == 200
    due_ms = NOW_MS + 86_400_000
    scene.in_lane(lambda store: stage.on_time(store, due_ms, lambda *_pair: False))
    assert codes(scene.told_of(waiting)) == ["partner_inactive"]
    assert scene.told_of(waiting)["fired"] == 0
    assert scene.told_of(fired)["fired"] == 1
    assert scene.read(made["id"])["status"] == "active"
    walk = scene.explained(waiting)
    assert steps(walk) == [("partner_found", "yes"), ("in_program", "no")]
    later = scene.order(with_action=False)
    assert steps(scene.explained(later)) == [("partner_found", "yes"), ("in_program", "no")]
    assert scene.explained(later)["conclusion"] == "In the program the partner is paused."


# ---- What is listed --------------------------------------------------------------------------


def test_k18_the_list_says_how_each_pixel_does(scene: Scene, console: RunningConsole) -> None:
    scene.pixel()
    scene.pixel(product_id="P-1", type="image", template=IMAGE)
    scene.pixel(commission="cpl", status="paused")
    scene.order()
    scene.order()
    scene.deliver(status(200), status(404))
    scene.order(line="upsell:P-1", said=BY_TAG)
    first, image, lead = console.call("GET", scene.path()).json["items"]
    shown = ("type", "program_id", "commission", "slot", "rule", "status")
    assert [first[name] for name in shown] == [
        "postback",
        scene.program,
        "cpa",
        "main",
        None,
        "active",
    ]
    assert first["last_fired_at"] == image["last_fired_at"] == clock.iso_ms(NOW_MS)
    delivery = first["delivery"]
    assert (delivery["state"], delivery["delivered"], delivery["failed"]) in (
        ("working", 1, 1),
        ("failing", 1, 1),
    )
    assert delivery["success_ppm"] == 500_000
    assert (image["slot"], image["delivery"]) == ("upsell:P-1", None)
    assert (lead["rule"], lead["status"], lead["last_fired_at"]) == (
        "do_not_fire_for_sales",
        "paused",
        None,
    )


# ---- Of one order ----------------------------------------------------------------------------


def test_k16_an_order_of_a_server_fires_no_image_and_says_so(scene: Scene) -> None:
    scene.pixel(type="image", template=IMAGE)
    by_server = scene.order(said=told(source=Source.S2S))
    by_image = scene.order(said=told(source=Source.PIXEL))
    by_tag = scene.order(said=BY_TAG)
    assert [codes(scene.told_of(each)) for each in (by_server, by_image, by_tag)] == [
        ["skipped_source_api"],
        ["skipped_source_pixel"],
        ["fired"],
    ]
    assert steps(scene.explained(by_server))[-1] == ("source_allows_type", "no")
    assert steps(scene.explained(by_tag))[-2:] == [("sent", "yes"), ("answered", "not_known")]
    (firing,) = scene.told_of(by_tag)["firings"]
    assert (firing["state"], firing["type"], firing["attempts"]) == ("client", "image", 0)


def test_k19_the_order_of_a_test_link_is_told_with_the_values_of_the_link(
    scene: Scene, console: RunningConsole
) -> None:
    made = scene.pixel(template="https://partner.example/p?c={c1}&s={sub5}&test={is_test}")
    links = console.call("GET", scene.path(made["id"]) + "/test-links").json
    order = scene.order(is_test=True, said=told(click_params=links["values"]))
    server = scene.deliver(status(200, "OK"))
    values = links["values"]
    assert server.targets == [f"/p?c={values['sub1']}&s={values['sub5']}&test=1"]
    read = console.call("GET", f"/v1/conversions/{order}").json
    assert read["flags"]["test"]
    (firing,) = console.call("GET", read["pixels"]["details_url"]).json["firings"]
    assert (firing["state"], firing["attempts_made"][0]["answer"]) == ("delivered", "OK")


def test_k21_an_order_tells_of_every_attempt(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel()
    order = scene.order()
    scene.deliver(status(503, "<b>come\x00 back</b>" + "x" * 600))
    read = console.call("GET", f"/v1/conversions/{order}").json["pixels"]
    assert read == {"fired": 1, "details_url": f"/v1/conversions/{order}/pixels"}
    (listed,) = console.call("GET", f"/v1/conversions?program_id={scene.program}").json["items"]
    assert listed["pixels"] == read
    found = console.call("GET", read["details_url"]).json
    (firing,) = found["firings"]
    (attempt,) = firing.pop("attempts_made")
    assert firing["pixel_id"] == made["id"]
    assert (firing["type"], firing["state"], firing["code"]) == (
        "postback",
        "waiting",
        "retry_status",
    )
    assert firing["next_attempt_at"] > firing["at"]
    # Secrets are masked in every place that shows a URL.
    assert firing["url"].endswith("&test=0&token=***")
    assert attempt["url"].endswith("&test=0&token=***")
    assert (attempt["attempt"], attempt["status"], attempt["outcome"]) == (1, 503, "retry")
    assert attempt["answer"].startswith("<b>come\x00 back</b>xx")
    assert len(attempt["answer"]) == 512
    assert attempt["latency_ms"] >= 0
    assert attempt["meaning"] == DELIVERY_CODES["retry_status"]
    (decision,) = found["pixel_decisions"]
    assert decision["meaning"] == DECISION_CODES["fired"]
    assert b"abc" not in console.call("GET", read["details_url"]).body


def test_k22_a_test_order_fires_and_is_marked(scene: Scene, console: RunningConsole) -> None:
    scene.pixel()
    order = scene.order(is_test=True)
    server = scene.deliver(status(200))
    assert "&test=1&" in server.targets[0]
    (firing,) = scene.told_of(order)["firings"]
    assert (firing["test"], firing["state"]) == (True, "delivered")
    assert ("test", "yes") in steps(scene.explained(order))


def test_k23_details_are_there_only_if_a_pixel_was_fired(
    scene: Scene, console: RunningConsole
) -> None:
    """Why none was is told all the same."""
    scene.pixel(product_id="P-1")
    order = scene.order()
    assert console.call("GET", f"/v1/conversions/{order}").json["pixels"] == {"fired": 0}
    found = scene.told_of(order)
    assert (found["fired"], found["firings"], codes(found)) == (0, [], ["no_pixel"])
    assert found["pixel_decisions"][0]["pixel_id"] is None


# ---- The troubleshooting chart ---------------------------------------------------------------


def test_k24_an_order_that_was_delivered_passes_every_question(scene: Scene) -> None:
    made = scene.pixel()
    order = scene.order()
    scene.deliver(status(200, "OK"))
    walk = scene.explained(order)
    assert steps(walk) == [
        *PASSED,
        ("test", "no"),
        ("suppressed", "no"),
        ("sent", "yes"),
        ("answered", "yes"),
    ]
    assert walk["fired"]
    assert (walk["partner_id"], walk["pixel_id"]) == (scene.partners[0], made["id"])
    assert walk["conclusion"] == "The partner's server answered 2xx. The status was 200."
    assert all(step["passes"] for step in walk["steps"])
    # The partner is told the same of itself.
    assert scene.explained(order, scene.key()) == walk


def test_k24_an_order_without_a_partner_ends_at_the_first_question(scene: Scene) -> None:
    order = scene.order(partner="prt_0", with_action=False)
    with scene.ledger.write() as connection:
        of_order = credit_shares.c.conversion_id == ids.parse_event("cnv", order)
        connection.execute(sa.delete(credit_shares).where(of_order))
    walk = scene.explained(order)
    assert steps(walk) == [("partner_found", "no")]
    assert (walk["partner_id"], walk["fired"]) == (None, False)


def test_k24_each_obstacle_ends_the_walk_where_it_is(scene: Scene) -> None:
    """In the order of the chart, one order for each."""
    nothing = scene.order(with_action=False)
    assert steps(scene.explained(nothing))[-1] == ("action_made", "no")
    none = scene.order()
    assert steps(scene.explained(none))[-1] == ("pixel_exists", "no")
    scene.pixel(type="image", template=IMAGE)
    for said, step in (
        (told(source=Source.S2S), ("source_allows_type", "no")),
        (BY_TAG._replace(is_denied=True), ("source_allows_type", "no")),
    ):
        assert steps(scene.explained(scene.order(said=said)))[-1] == step
    held = scene.order(said=BY_TAG, is_held=True)
    assert steps(scene.explained(held))[-1] == ("held", "yes")
    over = scene.order(said=BY_TAG, is_over_cap=True)
    walk = scene.explained(over)
    assert steps(walk)[-1] == ("suppressed", "yes")
    assert walk["steps"][-1]["code"] == "over_cap"
    assert not any(step["passes"] for step in walk["steps"][-1:])


def test_k24_a_lead_waits_is_suppressed_or_is_sent(scene: Scene) -> None:
    scene.pixel(commission="cpl")
    said = told(identifiers=(VISITOR,))
    order = scene.order(kind="lead", said=said)
    assert steps(scene.explained(order))[-1] == ("suppressed", "not_yet")
    action = scene.last
    scene.in_lane(
        lambda store: stage.on_sale(
            store,
            brand=action.brand,
            program=action.program,
            order_id=None,
            identifiers=[VISITOR],
            is_test=False,
            at_ms=NOW_MS + 19 * 60_000 + 59_000,
        )
    )
    walk = scene.explained(order)
    assert walk["steps"][-1]["code"] == "suppressed_sale"
    later = scene.order(kind="lead", said=said)
    scene.in_lane(lambda store: stage.on_time(store, NOW_MS + 20 * 60_000 + 1000, everybody))
    assert steps(scene.explained(later))[-1] == ("sent", "not_yet")
    assert scene.explained(later)["fired"]


@pytest.mark.parametrize(
    ("reply", "answer", "code"),
    [
        (status(500), "not_yet", "retry_status"),
        (status(404), "no", "refused_status"),
        (status(302, Location="https://partner.example/"), "no", "redirect"),
        ("reset", "not_yet", "connection_lost"),
    ],
    ids=["500", "404", "302", "reset"],
)
def test_k24_what_the_partners_server_says_is_the_last_answer(
    scene: Scene, reply: bytes | str, answer: str, code: str
) -> None:
    scene.pixel()
    order = scene.order()
    scene.deliver(reply)
    last = scene.explained(order)["steps"][-1]
    assert (last["step"], last["answer"], last["code"]) == ("answered", answer, code)


def test_the_chart_is_walked_for_each_partner_of_the_order(console: RunningConsole) -> None:
    scene = Scene(console, partners=2)
    first, second = scene.partners
    scene.pixel(first)
    order = scene.order(partner=first)
    with scene.ledger.write() as connection:
        connection.execute(
            sa.insert(credit_shares).values(
                conversion_id=ids.parse_event("cnv", order),
                ordinal=1,
                partner=int(second[4:]),
                click_id=None,
                share_ppm=0,
            )
        )
    path = f"/v1/conversions/{order}/pixels/explain"
    walks = console.call("GET", path).json["walks"]
    assert [walk["partner_id"] for walk in walks] == [first, second]
    assert [walk["partner_id"] for walk in _walks(console, path, scene.key(second))] == [second]


def _walks(console: RunningConsole, path: str, key: str) -> Any:
    return console.call("GET", path, key=key).json["walks"]


# ---- The log, and what is dead ---------------------------------------------------------------


def log(console: RunningConsole, **query: str) -> list[str]:
    """Conversions of the log, page by page of one."""
    found: list[str] = []
    cursor = ""
    for _ in range(50):
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        page = console.call("GET", f"/v1/reports/firings?limit=1&{asked}{cursor}").json
        found += [item["conversion_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError("no end")


def test_the_log_has_every_firing_the_newest_first(scene: Scene, console: RunningConsole) -> None:
    pixel, upsell = scene.pixel()["id"], scene.pixel(product_id="P-1")["id"]
    partner = scene.partners[0]
    orders = [scene.order(at_ms=NOW_MS + step) for step in (0, 1000, 2000)]
    orders.append(scene.order(at_ms=NOW_MS + 3000, line="upsell:P-1"))
    assert log(console, partner_id=partner) == orders[::-1]
    assert log(console, pixel_id=pixel) == orders[2::-1]
    assert log(console, pixel_id=upsell, partner_id=partner) == orders[3:]
    assert log(console, program_id=scene.program) == orders[::-1]
    span = {"since": clock.iso_ms(NOW_MS + 1000), "until": clock.iso_ms(NOW_MS + 2000)}
    assert log(console, partner_id=partner, **span) == orders[1:2]
    assert log(console, partner_id="prt_99999") == []
    scene.deliver(status(200), status(404), status(200))
    dead = log(console, partner_id=partner, state="dead")
    assert len(dead) == 1
    assert dead[0] in log(console, state="dead")
    assert len(log(console, partner_id=partner, state="delivered")) == 3
    assert b"token=abc" not in console.call("GET", "/v1/reports/firings").body


def test_a_page_that_finds_little_says_where_to_go_on(scene: Scene) -> None:
    scene.pixel()
    orders = [scene.order(at_ms=NOW_MS + step) for step in range(5)]
    scene.deliver(status(200))
    wanted = FiringFilter(partner=int(scene.partners[0][4:]), state="dead")
    before, pages = None, 0
    while True:
        rows, before = firing_page(scene.ledger, wanted, before=before, count=10, scan=2)
        assert rows == []
        pages += 1
        if before is None:
            break
    assert pages == 3
    every = FiringFilter(partner=int(scene.partners[0][4:]), state="delivered")
    rows, before = firing_page(scene.ledger, every, before=None, count=10, scan=2)
    assert [ids.event_text("cnv", row["conversion_id"]) for row in rows] == orders[:2:-1]
    assert before is not None


def test_a_dead_letter_is_sent_again_by_hand(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel()
    order = scene.order()
    scene.deliver(status(404))
    (firing,) = scene.told_of(order)["firings"]
    assert firing["state"] == "dead"
    path = f"/v1/firings/{firing['event_id']}/resend"
    again = console.call("POST", path)
    assert (again.status, again.json["state"], again.json["code"]) == (200, "waiting", None)
    twice = console.call("POST", path)
    assert (twice.status, twice.json["code"]) == (409, "conflict")
    server = scene.deliver(status(200))
    assert server.field("webhook-id") == firing["event_id"]
    (told_of,) = scene.told_of(order)["firings"]
    assert (told_of["state"], told_of["attempts"]) == ("delivered", 2)
    assert [each["code"] for each in told_of["attempts_made"]] == ["refused_status", "delivered"]
    console.call("PATCH", scene.path(made["id"]), {"status": "paused"})
    refused = console.call("POST", path)
    assert (refused.status, refused.json["detail"]) == (409, "its pixel is paused or deleted")
    assert console.call(
        "POST", f"/v1/firings/{ids.event_text('evt', bytes(16))}/resend"
    ).status == (404)
    assert console.call("POST", "/v1/firings/nonsense/resend").status == 404


def test_what_the_browser_fires_is_not_sent_again(scene: Scene, console: RunningConsole) -> None:
    scene.pixel(type="image", template=IMAGE)
    (firing,) = scene.told_of(scene.order(said=BY_TAG))["firings"]
    assert console.call("POST", f"/v1/firings/{firing['event_id']}/resend").status == 409


def test_a_pixel_that_was_disabled_is_enabled_again(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel()
    order = scene.order()
    scene.deliver(status(410))
    delivery = scene.read(made["id"])["delivery"]
    assert (delivery["state"], delivery["disabled_code"]) == ("disabled", "gone")
    assert delivery["failing_since"] == delivery["disabled_at"] == delivery["last_attempt_at"]
    (firing,) = scene.told_of(order)["firings"]
    path = f"/v1/firings/{firing['event_id']}/resend"
    assert console.call("POST", path).json["detail"] == "its pixel is disabled: enable it first"
    for _ in range(2):
        enabled = console.call("POST", scene.path(made["id"]) + "/enable")
        assert (enabled.status, enabled.json["delivery"]["state"]) == (200, "working")
    assert console.call("POST", path).status == 200
    scene.deliver(status(200))
    assert scene.told_of(order)["firings"][0]["state"] == "delivered"
