"""Which partner pixels are fired for an action, and which are not, and why."""

from __future__ import annotations

from typing import Any

import pytest

from headwater import limits
from headwater.book import pixels
from headwater.model.pixels import (
    ALL_PARTIALS,
    DECISION_CODES,
    NOT_FOR_SALES,
    Pixel,
    control_value,
    firing_id,
)
from headwater.model.records import IdentifierType, Source
from pixel_tools import CLICK, T0, DictStore, a_lead, earned, everybody, lead_pixel, pixel, told

MINUTE_MS = 60_000
VISITOR = (int(IdentifierType.VISITOR), b"v" * 16)
EMAIL = (int(IdentifierType.EMAIL), b"e" * 16)


def act(store: DictStore, action: Any = None, said: Any = None, at_ms: int = T0) -> DictStore:
    pixels.on_action(store, action or earned(), said or told(), at_ms)
    return store


def sale(store: DictStore, at_ms: int, *members: tuple[int, bytes], **changed: Any) -> None:
    """A sale at a time of the log, which goes on to it first."""
    pixels.on_time(store, at_ms, everybody)
    given: dict[str, Any] = {"brand": 1, "program": 1, "order_id": None, "is_test": False}
    pixels.on_sale(store, **{**given, **changed}, identifiers=members, at_ms=at_ms)


# ---- K1, K5, K9: whose pixel, and which of them ---------------------------------------------


def test_k1_a_pixel_is_fired_for_its_own_partner_alone() -> None:
    store = act(DictStore(pixel(1), pixel(2, partner=2)))
    assert [each.pixel for each in store.firings.values()] == [1]
    act(store, earned(2, partner=3))
    assert len(store.firings) == 1
    assert len(store.decisions) == 1, "a partner without pixels costs nothing"


def test_k5_a_pixel_of_the_program_goes_before_one_of_all_programs() -> None:
    own, general = pixel(1, program=1), pixel(2, program=0)
    assert act(DictStore(own, general)).codes == {1: "fired", 2: "less_specific"}
    assert act(DictStore(general, own)).codes == {1: "fired", 2: "less_specific"}
    assert act(DictStore(general)).codes == {2: "fired"}
    assert act(DictStore(pixel(1, program=9), general)).codes == {2: "fired"}
    assert act(DictStore(pixel(1, program=9))).codes == {0: "no_pixel"}


def test_k5_the_specific_pixel_decides_also_when_it_may_not_fire() -> None:
    store = act(DictStore(pixel(1, program=1, type="image", template=TAG), pixel(2)))
    assert store.codes == {1: "skipped_source_api", 2: "less_specific"}
    assert not store.firings


TAG = '<img src="https://partner.example/i?id={click_id}">'


@pytest.mark.parametrize(
    ("kind", "commission"),
    [("sale", "cpa"), ("custom", "cpa"), ("lead", "cpl"), ("click", "cpc")],
)
def test_k7_each_kind_of_event_has_its_commission(kind: str, commission: str) -> None:
    own = [
        pixel(1, commission="cpa"),
        lead_pixel(2, ALL_PARTIALS),
        pixel(3, commission="cpc"),
    ]
    store = act(DictStore(*own), earned(event_kind=kind))
    (fired,) = store.firings.values()
    assert own[fired.pixel - 1].commission == commission


@pytest.mark.parametrize(
    ("line", "slot"),
    [
        ("main", "main"),
        ("2", "main"),
        ("upsell:A", "upsell:A"),
        ("upsell:B", "upsell:*"),
        ("upsell:", "upsell:*"),
    ],
)
def test_k9_a_line_of_the_order_fires_its_own_slot(line: str, slot: str) -> None:
    slots = ["main", "upsell:A", "upsell:*"]
    store = act(
        DictStore(*(pixel(number, slot=each) for number, each in enumerate(slots, 1))),
        earned(line=line),
    )
    (fired,) = store.firings.values()
    assert slots[fired.pixel - 1] == slot


def test_k9_an_upsell_without_a_pixel_does_not_fire_the_main_offers() -> None:
    assert act(DictStore(pixel(1)), earned(line="upsell:A")).codes == {0: "no_pixel"}


def test_k9_of_two_that_fit_an_upsell_program_counts_before_product() -> None:
    general = pixel(1, slot="upsell:A")
    own = pixel(2, program=1, slot="upsell:*")
    store = act(DictStore(general, own), earned(line="upsell:A"))
    assert store.codes == {1: "less_specific", 2: "fired"}


# ---- K4: the partner leaves the program ------------------------------------------------------


def test_k4_leaving_a_program_stops_what_waits() -> None:
    """Looked at when its time has come, however much waits for the partner."""
    store = DictStore(lead_pixel(1), pixel(2))
    act(store, a_lead(1))
    act(store, earned(2, is_held=True))
    pixels.on_time(store, T0 + limits.LEAD_DELAY_MS_MAX, lambda *_pair: False)
    pixels.on_move(store, earned(2, state="approved"), told(), T0 + 2, is_in=False)
    assert store.codes == {1: "partner_inactive", 2: "partner_inactive"}
    pixels.on_move(store, earned(2, state="approved"), told(), T0 + 3, is_in=True)
    pixels.on_time(store, T0 + 2 * limits.LEAD_DELAY_MS_MAX, everybody)
    assert not store.firings


def test_a_pixel_that_is_paused_or_deleted_fires_nothing_any_more() -> None:
    value = control_value(
        {"partner_id": 1, "program_number": 0, "commission": "cpl", "slot": "main",
         "type": "postback", "template": "https://partner.example/", "rule": NOT_FOR_SALES,
         "delay_ms": 20 * MINUTE_MS, "status": "active"}
    )  # fmt: skip
    for end in ({**value, "status": "paused"}, None):
        store = DictStore()
        pixels.on_pixel(store, 1, 1, value)
        act(store, a_lead())
        pixels.on_pixel(store, 1, 2, end)
        act(store, a_lead(2))
        pixels.on_time(store, T0 + limits.LEAD_DELAY_MS_MAX, everybody)
        assert store.codes == {1: "pixel_inactive"}
        assert not store.firings


# ---- K10, K11, K12: leads --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_ms", "fires"),
    [(19 * MINUTE_MS + 59_000, False), (20 * MINUTE_MS, True), (20 * MINUTE_MS + 1000, True)],
    ids=["19:59", "20:00", "20:01"],
)
def test_k11_a_sale_cancels_a_lead_for_twenty_minutes_and_not_after(
    after_ms: int, fires: bool
) -> None:
    store = act(DictStore(lead_pixel()), a_lead(), told(identifiers=(VISITOR,)))
    assert store.codes == {1: "waiting_for_sale"}
    sale(store, T0 + after_ms, EMAIL, VISITOR)
    pixels.on_time(store, T0 + 60 * MINUTE_MS, everybody)
    assert store.codes == {1: "fired" if fires else "suppressed_sale"}
    assert len(store.firings) == int(fires)
    assert not store.leads


def test_k11_without_a_sale_the_lead_is_fired_when_its_time_has_come() -> None:
    store = act(DictStore(lead_pixel()), a_lead())
    pixels.on_time(store, T0 + 20 * MINUTE_MS - 1, everybody)
    assert not store.firings
    pixels.on_time(store, T0 + 20 * MINUTE_MS, everybody)
    (fired,) = store.firings.values()
    assert fired.at_ms == T0 + 20 * MINUTE_MS
    pixels.on_time(store, T0 + 21 * MINUTE_MS, everybody)
    assert len(store.firings) == 1


def test_k11_a_backlog_does_not_fire_a_lead_early() -> None:
    """A lead that was accepted an hour before it came on the log waits from then on: the sale
    that was accepted after it may be right behind."""
    hour_ms = T0 + 60 * MINUTE_MS
    store = DictStore(lead_pixel())
    act(store, a_lead(), told(identifiers=(VISITOR,)), at_ms=hour_ms)
    sale(store, hour_ms + 1, VISITOR)
    assert store.codes == {1: "suppressed_sale"}


def test_k11_the_clock_jumps_and_only_the_log_counts() -> None:
    store = act(DictStore(lead_pixel()), a_lead(), told(identifiers=(VISITOR,)))
    pixels.on_time(store, T0 - 60 * MINUTE_MS, everybody)
    assert not store.firings
    sale(store, T0 + 300 * MINUTE_MS, VISITOR)
    assert store.codes == {1: "fired"}, "the log's time had gone past the lead's"


@pytest.mark.parametrize(
    ("changed", "cancels"),
    [
        ({}, True),
        ({"program": 2}, False),
        ({"brand": 2}, False),
        ({"is_test": True}, False),
    ],
)
def test_k11_only_a_sale_of_the_same_program_cancels(
    changed: dict[str, Any], cancels: bool
) -> None:
    store = act(DictStore(lead_pixel()), a_lead(), told(identifiers=(VISITOR,)))
    sale(store, T0 + 1, VISITOR, **changed)
    assert (store.codes == {1: "suppressed_sale"}) == cancels


def test_k11_the_same_visitor_is_who_the_explanation_says_or_the_same_order() -> None:
    clicked = (int(IdentifierType.CLICK), CLICK)
    store = act(DictStore(lead_pixel()), a_lead(), told(click_id=CLICK))
    sale(store, T0 + 1, VISITOR, EMAIL)
    assert store.codes == {1: "waiting_for_sale"}
    sale(store, T0 + 2, clicked)
    assert store.codes == {1: "suppressed_sale"}
    store = act(DictStore(lead_pixel()), earned(event_kind="lead", order_id="7"), told())
    sale(store, T0 + 1, order_id="8")
    assert store.codes == {1: "waiting_for_sale"}
    sale(store, T0 + 2, order_id="7")
    assert store.codes == {1: "suppressed_sale"}


def test_k11_a_delay_of_its_own_is_longer_and_never_shorter() -> None:
    for delay_ms, due_ms in ((0, 20), (60 * MINUTE_MS, 60)):
        own = lead_pixel()._replace(delay_ms=delay_ms)
        store = act(DictStore(own), a_lead())
        (lead,) = store.leads.values()
        assert lead.due_ms == T0 + due_ms * MINUTE_MS


def test_k11_many_leads_of_one_moment_are_fired_a_part_at_a_time() -> None:
    store = DictStore(lead_pixel())
    for number in range(limits.LEADS_DUE_AT_ONCE + 1):
        act(store, a_lead(number + 1), told(identifiers=(VISITOR,)))
    due_ms = T0 + 20 * MINUTE_MS
    pixels.on_time(store, due_ms, everybody)
    assert len(store.firings) == limits.LEADS_DUE_AT_ONCE
    pixels.on_sale(
        store, brand=1, program=1, order_id=None, identifiers=[VISITOR], is_test=False, at_ms=due_ms
    )
    pixels.on_time(store, due_ms, everybody)
    assert len(store.firings) == limits.LEADS_DUE_AT_ONCE + 1, "its time had come before the sale"


def test_k11_a_lead_that_is_reversed_before_its_time_is_not_fired() -> None:
    store = act(DictStore(lead_pixel()), a_lead())
    pixels.on_move(store, a_lead(state="reversed"), told(), T0 + 1, is_in=True)
    pixels.on_time(store, T0 + limits.LEAD_DELAY_MS_MAX, everybody)
    assert store.codes == {1: "reversed"}
    assert not store.firings


def test_k12_fire_for_all_partials_fires_at_once_and_once() -> None:
    store = act(DictStore(lead_pixel(rule=ALL_PARTIALS)), a_lead(), told(identifiers=(VISITOR,)))
    (fired,) = store.firings.values()
    assert fired.at_ms == T0
    sale(store, T0 + 1, VISITOR)
    act(store, a_lead(), told(), at_ms=T0 + 2)
    assert store.codes == {1: "fired"}
    assert list(store.firings.values()) == [fired]


# ---- K13, K16: types and sources -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["postback", "image", "iframe"])
@pytest.mark.parametrize("source", [Source.TAG, Source.S2S, Source.POSTBACK, Source.PIXEL])
def test_k16_only_the_tag_fires_images_and_iframes(kind: str, source: Source) -> None:
    tags = {"image": TAG, "iframe": '<iframe src="https://partner.example/f"></iframe>'}
    own = pixel(1, type=kind, template=tags.get(kind, "https://partner.example/"))
    store = act(DictStore(own), earned(), told(source=source))
    if kind == "postback" or source == Source.TAG:
        assert store.codes == {1: "fired"}
        assert next(iter(store.firings.values())).type == kind
    else:
        carrier = "pixel" if source == Source.PIXEL else "api"
        assert store.codes == {1: f"skipped_source_{carrier}"}


def test_a_browser_without_consent_is_given_no_pixel_of_others() -> None:
    own = [pixel(1, type="image", template=TAG)]
    store = act(DictStore(*own), earned(), told(source=Source.TAG, is_denied=True))
    assert store.codes == {1: "consent_denied"}
    assert act(DictStore(pixel(1)), earned(), told(is_denied=True)).codes == {1: "fired"}


def test_a_browser_that_has_its_answer_is_given_no_pixel() -> None:
    own = pixel(1, type="image", template=TAG)
    late = told(source=Source.TAG, is_first=False)
    assert act(DictStore(own), earned(), late).codes == {1: "browser_gone"}
    store = act(DictStore(own), earned(is_held=True), told(source=Source.TAG))
    pixels.on_move(store, earned(state="approved"), told(source=Source.TAG), T0 + 1, is_in=True)
    assert store.codes == {1: "browser_gone"}


# ---- K22, K24: tests, holds, caps ------------------------------------------------------------


def test_k22_a_test_order_fires_and_says_so() -> None:
    own = pixel(1, template="https://partner.example/?test={is_test}")
    store = act(DictStore(own), earned(is_test=True))
    (fired,) = store.firings.values()
    assert fired.is_test
    assert fired.url.endswith("?test=1")
    # Nobody approves a test.
    assert act(DictStore(own), earned(is_test=True, is_held=True)).codes == {1: "fired"}


def test_a_held_action_fires_when_it_is_approved_and_not_when_it_is_reversed() -> None:
    store = act(DictStore(pixel(1)), earned(is_held=True))
    assert store.codes == {1: "held"}
    pixels.on_move(store, earned(is_held=True), told(), T0 + 1, is_in=True)
    assert store.codes == {1: "held"}
    pixels.on_move(store, earned(state="approved"), told(), T0 + 2, is_in=True)
    assert store.codes == {1: "fired"}
    assert next(iter(store.firings.values())).at_ms == T0 + 2
    pixels.on_move(store, earned(state="locked"), told(), T0 + 3, is_in=True)
    assert len(store.firings) == 1
    store = act(DictStore(pixel(1)), earned(is_held=True))
    pixels.on_move(store, earned(state="reversed", is_held=True), told(), T0 + 1, is_in=True)
    assert store.codes == {1: "reversed"}
    assert not store.firings


@pytest.mark.parametrize("first", [{"is_held": True}, {"is_over_cap": True}], ids=str)
def test_what_was_not_told_is_told_when_the_action_is_back(first: dict[str, bool]) -> None:
    store = act(DictStore(pixel(1)), earned(**first))
    pixels.on_move(store, earned(state="reversed", **first), told(), T0 + 1, is_in=True)
    pixels.on_move(store, earned(**first), told(), T0 + 2, is_in=True)
    assert store.codes == {1: "held" if "is_held" in first else "over_cap"}
    pixels.on_move(store, earned(state="approved"), told(), T0 + 3, is_in=True)
    assert store.codes == {1: "fired"}
    pixels.on_move(store, earned(state="reversed"), told(), T0 + 4, is_in=True)
    pixels.on_move(store, earned(), told(), T0 + 5, is_in=True)
    assert len(store.firings) == 1, "what was told is not told again"


@pytest.mark.parametrize("how", ["held", "reversed"])
def test_k11_a_sale_while_a_lead_is_held_or_reversed_cancels_it(how: str) -> None:
    named = told(identifiers=(VISITOR,))
    store = act(DictStore(lead_pixel()), a_lead(is_held=how == "held"), named)
    if how == "reversed":
        pixels.on_move(store, a_lead(state="reversed"), named, T0 + 1, is_in=True)
    pixels.on_time(store, T0 + limits.LEAD_DELAY_MS_MAX, everybody)
    assert store.codes == {1: how}
    sale(store, T0 + limits.LEAD_DELAY_MS_MAX + 1, VISITOR)
    pixels.on_move(store, a_lead(), named, T0 + limits.LEAD_DELAY_MS_MAX + 2, is_in=True)
    pixels.on_time(store, T0 + 3 * limits.LEAD_DELAY_MS_MAX, everybody)
    assert store.codes == {1: "suppressed_sale"}
    assert not store.firings
    assert not store.leads


def test_a_reversed_lead_that_is_back_waits_for_its_sale_anew() -> None:
    store = act(DictStore(lead_pixel()), a_lead())
    pixels.on_move(store, a_lead(state="reversed"), told(), T0 + 1, is_in=True)
    at_ms = T0 + 90 * MINUTE_MS
    pixels.on_move(store, a_lead(), told(), at_ms, is_in=True)
    pixels.on_time(store, at_ms + 20 * MINUTE_MS - 1, everybody)
    assert store.codes == {1: "waiting_for_sale"}
    pixels.on_time(store, at_ms + 20 * MINUTE_MS, everybody)
    assert store.codes == {1: "fired"}
    store = act(DictStore(lead_pixel()), a_lead())
    pixels.on_move(store, a_lead(state="reversed"), told(), T0 + 1, is_in=True)
    pixels.on_close(store, a_lead().action_id)
    assert not store.leads


def test_a_held_lead_waits_for_its_sale_from_its_approval_on() -> None:
    store = act(DictStore(lead_pixel()), a_lead(is_held=True), told(identifiers=(VISITOR,)))
    at_ms = T0 + 90 * MINUTE_MS
    pixels.on_move(store, a_lead(state="approved"), told(identifiers=(VISITOR,)), at_ms, is_in=True)
    assert store.codes == {1: "waiting_for_sale"}
    pixels.on_time(store, at_ms + 20 * MINUTE_MS, everybody)
    assert store.codes == {1: "fired"}


def test_what_is_over_a_cap_is_not_told() -> None:
    assert act(DictStore(pixel(1)), earned(is_over_cap=True)).codes == {1: "over_cap"}


def test_a_url_too_long_to_send_is_not_sent() -> None:
    value = {"sub1": "ä" * 200}
    for times, code in ((4, "fired"), (7, "url_too_long")):
        own = pixel(1, template="https://partner.example/?a=" + "{sub1}" * times)
        store = act(DictStore(own), earned(), told(click_params=value))
        assert store.codes == {1: code}


def test_a_firing_has_one_id_for_ever() -> None:
    first = firing_id(bytes(16), 1)
    assert first == firing_id(bytes(16), 1)
    assert len({first, firing_id(bytes(16), 2), firing_id(b"1" * 16, 1)}) == 3


def test_every_code_that_is_written_is_explained() -> None:
    written = {
        "fired", "waiting_for_sale", "suppressed_sale", "held", "skipped_source_api",
        "skipped_source_pixel", "browser_gone", "consent_denied", "over_cap", "url_too_long",
        "reversed", "no_pixel", "less_specific", "pixel_inactive", "partner_inactive",
    }  # fmt: skip
    assert written == DECISION_CODES.keys()


def test_a_pixel_survives_its_control_record() -> None:
    row = {"partner_id": 4, "program_number": 2, "commission": "cpl", "slot": "main",
           "type": "postback", "template": "https://a.example/", "rule": NOT_FOR_SALES,
           "delay_ms": 1_200_000, "status": "active"}  # fmt: skip
    store = DictStore()
    pixels.on_pixel(store, 9, 1, control_value(row))
    (found,) = store.pixels_of(4)
    assert found == Pixel(
        9, 4, 2, "cpl", "main", "postback", "https://a.example/", NOT_FOR_SALES, 1_200_000
    )
