"""The configuration: each change with what is told of it, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater import limits
from headwater.errors import RequestRefused
from headwater.ledger import access, enrolling, linking, objects, outbox, queries, spreads
from headwater.ledger.engine import Ledger
from headwater.ledger.linking import LinkOrder, LinkRequest
from headwater.ledger.objects import Origin, Saved
from headwater.ledger.schema import config_outbox, config_spreads
from headwater.model.destination import with_utm
from headwater.model.records import ControlBody, Kind, Source, decode
from ledger_tools import PROGRAM, identify, ledger_in, with_program


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def partner_in(ledger: Ledger) -> int:
    columns = {"name": "P", "email": "p@partners.example", "status": "active"}
    return int(objects.create_partner(ledger, Origin(), columns=columns).row["id"])


def enrolled(ledger: Ledger, program: int, partner: int) -> enrolling.Enrolled:
    found = enrolling.enrol(ledger, Origin(), program, partner, None, identify=identify)
    assert found is not None
    return found


def link(ledger: Ledger, program: int, partner: int, **request: Any) -> Saved:
    order = LinkOrder(Origin(), program, partner, LinkRequest(**request), lambda _program: None)
    return linking.create_link(ledger, order)


def told(ledger: Ledger) -> list[outbox.Announcement]:
    """What waits for the publisher, and is taken as published by asking."""
    waiting = outbox.not_appended(ledger).announcements
    outbox.mark_appended(ledger, [row.revision for row in waiting])
    return waiting


def test_an_object_and_what_is_told_of_it_come_together(ledger: Ledger) -> None:
    brand, program = with_program(ledger)
    brand_row, program_row = told(ledger)
    assert (brand_row.object, brand_row.number, brand_row.value) == (
        "brand",
        brand,
        {"name": "Brand", "partition": 0, "status": "active"},
    )
    assert program_row.value is not None
    assert program_row.value["brand"] == brand
    assert program_row.value["destination_url"] == PROGRAM["destination_url"]
    record = decode(program_row.control)
    assert (record.kind, record.brand, record.source) == (Kind.CONTROL, brand, Source.CONSOLE)
    assert ControlBody._make(record.body) == ControlBody(
        "program",
        program,
        program_row.revision,
        {
            "code": "check",
            "window_ms": 86_400_000,
            "model": "last_click",
            "position_ppm": [400_000, 200_000, 400_000],
            "half_life_ms": 7 * 86_400_000,
            "class_order": ["exclusive_coupon", "click", "soft_click", "impression"],
            "impression_window_ms": 86_400_000,
            "explicit_click": "wins",
            "on_conflict": "last_auth",
            "members_max": 64,
            "hops_max": 8,
            "neighbours_max": 48,
            "currency": "EUR",
            "timezone": "UTC",
            "status": "active",
            "destination_url": PROGRAM["destination_url"],
            "deep_link_hosts": ["shop.example"],
            "fraud": {},
        },
    )


def test_a_refused_write_leaves_nothing_and_tells_nothing(ledger: Ledger) -> None:
    brand, _ = with_program(ledger)
    told(ledger)
    newest = outbox.newest_revision(ledger)
    with pytest.raises(RequestRefused) as caught:
        objects.create_program(ledger, Origin(), brand=brand, columns=PROGRAM)
    assert (caught.value.code, caught.value.faults[0].field) == ("conflict", "code")
    assert told(ledger) == []
    assert outbox.newest_revision(ledger) == newest


def test_brands_are_spread_over_partitions(ledger: Ledger) -> None:
    for name in "abcd":
        objects.create_brand(ledger, Origin(), name=name)
    assert [row.partition for row in told(ledger)] == [0, 1, 0, 1]


def test_the_same_request_again_finds_its_object_and_another_is_refused(ledger: Ledger) -> None:
    first = objects.create_brand(ledger, Origin("crm-1", b"a"), name="Brand")
    again = objects.create_brand(ledger, Origin("crm-1", b"a"), name="Brand")
    assert (again.created, again.row, again.revision) == (False, first.row, first.revision)
    with pytest.raises(RequestRefused) as caught:
        objects.create_brand(ledger, Origin("crm-1", b"b"), name="Other")
    assert caught.value.code == "conflict"
    assert objects.create_brand(ledger, Origin("crm-2", b"a"), name="Brand").created


def test_an_external_id_is_unique_within_its_owner(ledger: Ledger) -> None:
    for number, name in enumerate("ab"):
        objects.create_brand(ledger, Origin(f"b{number}", b""), name=name)
        columns = {**PROGRAM, "code": f"code-{name}"}
        objects.create_program(
            ledger, Origin("summer", name.encode()), brand=f"b{number}", columns=columns
        )
    with pytest.raises(RequestRefused) as caught:
        spreads.change_program(ledger, "summer", {"name": "New"})
    assert caught.value.code == "conflict"


def test_enrolling_makes_the_default_link_in_the_same_transaction(ledger: Ledger) -> None:
    _, program = with_program(ledger)
    partner = partner_in(ledger)
    told(ledger)
    first = enrolled(ledger, program, partner)
    assert [row.object for row in told(ledger)] == ["link", "enrolment"]
    assert first.enrolment.row["default_link"] == first.link["id"]
    assert first.link["url"] == PROGRAM["destination_url"]
    again = enrolled(ledger, program, partner)
    assert (again.enrolment.created, again.link["id"]) == (False, first.link["id"])
    assert told(ledger) == []
    assert enrolling.enrol(ledger, Origin(), program, 99, None, identify=identify) is None
    assert enrolling.enrol(ledger, Origin(), 99, partner, None, identify=identify) is None


def test_an_enrolment_is_active_while_it_and_its_partner_are(ledger: Ledger) -> None:
    _, program = with_program(ledger)
    partner = partner_in(ledger)
    enrolled(ledger, program, partner)
    seen = []
    for change in (
        lambda: spreads.change_partner(ledger, partner, {"status": "paused"}, identify=identify),
        lambda: enrolling.enrol(ledger, Origin(), program, partner, "paused", identify=identify),
        lambda: spreads.change_partner(ledger, partner, {"status": "active"}, identify=identify),
        lambda: enrolling.enrol(ledger, Origin(), program, partner, "active", identify=identify),
    ):
        told(ledger)
        assert change() is not None
        rows = [row for row in told(ledger) if row.object == "enrolment"]
        seen.append([(row.value or {}).get("status") for row in rows])
        assert [
            ControlBody._make(decode(row.control).body).value["status"] for row in rows
        ] == seen[-1]
    assert seen == [["paused"], ["paused"], ["paused"], ["active"]]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreads, "_STEP_OBJECTS", 2)


@pytest.mark.usefixtures("small_steps")
def test_a_partners_status_reaches_all_its_enrolments_in_bounded_steps(ledger: Ledger) -> None:
    brand, _ = with_program(ledger)
    partner = partner_in(ledger)
    for number in range(5):
        columns = {**PROGRAM, "code": f"p{number}"}
        row = objects.create_program(ledger, Origin(), brand=brand, columns=columns).row
        enrolled(ledger, row["id"], partner)
    told(ledger)
    saved = spreads.change_partner(ledger, partner, {"status": "paused"}, identify=identify)
    assert saved is not None
    rows = told(ledger)
    assert [row.object for row in rows] == ["partner"] + ["enrolment"] * 5
    assert saved.revision >= rows[-1].revision
    assert queries.row_counts(ledger, [config_spreads]) == {"config_spreads": 0}


@pytest.mark.usefixtures("small_steps")
def test_a_change_for_many_that_was_cut_short_is_finished_by_the_next(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, program = with_program(ledger)
    for _ in range(5):
        enrolled(ledger, program, partner_in(ledger))
    told(ledger)
    steps = 0
    original = spreads.spread_step

    def dies_at_the_second(*arguments: Any) -> bool:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(spreads, "spread_step", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        spreads.change_program(ledger, program, {"destination_url": "https://new.example/"})
    monkeypatch.undo()
    assert spreads.unfinished_spreads(ledger) == [("program", program)]
    assert len(told(ledger)) == 3
    while original(ledger, "program", program, identify):
        pass
    assert len(told(ledger)) == 3
    assert spreads.unfinished_spreads(ledger) == []
    page = linking.link_page(ledger, {"program_id": program}, after=0, count=10)
    assert {row["url"] for row in page} == {"https://new.example/"}


def test_a_step_stays_within_the_rows_of_a_transaction() -> None:
    assert 2 * spreads._STEP_OBJECTS + 2 <= limits.TRANSACTION_ROWS_MAX


def test_links_with_a_destination_of_their_own_do_not_follow_the_program(ledger: Ledger) -> None:
    _, program = with_program(ledger)
    partner = partner_in(ledger)
    enrolled(ledger, program, partner)
    own = link(ledger, program, partner, destination_url="https://shop.example/own")
    follows = link(ledger, program, partner)
    spreads.change_program(ledger, program, {"destination_url": "https://new.example/#x"})
    page = linking.link_page(ledger, {"program_id": program}, after=0, count=9)
    urls = {row["id"]: row["url"] for row in page}
    assert urls[own.row["id"]] == "https://shop.example/own"
    assert urls[follows.row["id"]] == "https://new.example/#x"


def test_codes_are_unique_without_case_per_domain(ledger: Ledger) -> None:
    brand, program = with_program(ledger)
    partner = partner_in(ledger)
    enrolled(ledger, program, partner)
    objects.create_domain(ledger, Origin("dom", b""), brand=brand, host="go.shop.example")
    link(ledger, program, partner, code="Summer")
    with pytest.raises(RequestRefused) as caught:
        link(ledger, program, partner, code="sUMMER")
    assert (caught.value.code, caught.value.faults[0].field) == ("conflict", "code")
    for domain in ("go.shop.example", "GO.shop.example"):
        if domain.islower():
            link(ledger, program, partner, code="summer", domain=domain)
        else:
            with pytest.raises(RequestRefused):
                link(ledger, program, partner, code="SUMMER", domain=domain)
    rows = [row for row in told(ledger) if row.object == "link"]
    assert [(row.value or {})["domain"] for row in rows][-1] == "go.shop.example"


def test_random_codes_have_seven_characters_and_collisions_are_tried_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, program = with_program(ledger)
    partner = partner_in(ledger)
    taken = enrolled(ledger, program, partner).link["code"]
    assert len(taken) == 7
    codes = iter([taken, taken, "fresh12"])
    monkeypatch.setattr("headwater.ids.link_code", lambda _length: next(codes))
    assert link(ledger, program, partner).row["code"] == "fresh12"
    monkeypatch.setattr("headwater.ids.link_code", lambda _length: taken)
    with pytest.raises(RequestRefused):
        link(ledger, program, partner)


def test_a_link_needs_an_enrolled_partner_and_a_domain_of_its_brand(ledger: Ledger) -> None:
    _, program = with_program(ledger)
    partner = partner_in(ledger)
    with pytest.raises(RequestRefused) as caught:
        link(ledger, program, partner)
    assert caught.value.code == "unknown_partner"
    enrolled(ledger, program, partner)
    other = objects.create_brand(ledger, Origin(), name="Other").row["id"]
    objects.create_domain(ledger, Origin(), brand=other, host="other.example")
    with pytest.raises(RequestRefused) as caught:
        link(ledger, program, partner, domain="other.example")
    assert caught.value.faults[0].field == "domain"


def test_a_deleted_key_is_gone_for_all(ledger: Ledger) -> None:
    saved = access.create_key(ledger, Origin(), sha256="ab" * 32, scopes=["events"])
    assert access.key_by_sha256(ledger, "ab" * 32) is not None
    (row,) = told(ledger)
    assert row.value == {"sha256": "ab" * 32, "scopes": ["events"], "brand": None, "partner": None}
    assert b"abab" not in row.control
    access.delete_key(ledger, saved.row["id"])
    assert access.key_by_sha256(ledger, "ab" * 32) is None
    (row,) = told(ledger)
    assert row.value is None
    access.delete_key(ledger, saved.row["id"])
    assert told(ledger) == []
    with pytest.raises(RequestRefused):
        access.register_key(ledger, "ab" * 32, ["admin"])


# ---- The publisher's reads


def test_what_is_published_is_the_newest_appended_of_each_object(ledger: Ledger) -> None:
    brand, _ = with_program(ledger)
    told(ledger)
    objects.change_brand(ledger, brand, {"name": "New"})
    names = [
        (value or {})["name"]
        for _, kind, _, value in outbox.published_objects(ledger)
        if kind == "brand"
    ]
    assert names == ["Brand"]
    told(ledger)
    page = outbox.published_objects(ledger, count=1)
    rest = outbox.published_objects(ledger, page[-1][1:3], count=1)
    assert [kind for _, kind, _, _ in page + rest] == ["brand", "program"]
    assert page[0][3] == {"name": "New", "partition": 0, "status": "active"}
    assert outbox.published_objects(ledger, rest[-1][1:3]) == []


def test_rows_not_committed_can_be_appended_again(ledger: Ledger) -> None:
    with_program(ledger)
    first = told(ledger)
    assert told(ledger) == []
    again = outbox.not_committed(ledger)
    assert [row.control for row in again] == [row.control for row in first]
    assert outbox.not_committed(ledger, again[0].revision, 1) == [again[1]]
    assert len(outbox.published_objects(ledger)) == len(first), "the edges keep what they heard"


def test_a_full_page_does_not_claim_what_lies_beyond_it(ledger: Ledger) -> None:
    with_program(ledger)
    page = outbox.not_appended(ledger, 1)
    assert page.newest == page.announcements[0].revision
    whole = outbox.not_appended(ledger)
    assert whole.newest == outbox.newest_revision(ledger)
    assert queries.row_counts(ledger, [config_outbox]) == {"config_outbox": 2}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example?utm_source=n"),
        ("https://a.example/?", "https://a.example/?utm_source=n"),
        ("https://a.example/?x=a+b%2Fc#f?g", "https://a.example/?x=a+b%2Fc&utm_source=n#f?g"),
        ("https://a.example/?utm_source=own", "https://a.example/?utm_source=own"),
        ("https://a.example/?utm%5Fsource=own", "https://a.example/?utm%5Fsource=own"),
        ("https://a.example/?a&utm_source", "https://a.example/?a&utm_source"),
    ],
)
def test_utm_is_added_and_never_over_what_is_there(url: str, expected: str) -> None:
    assert with_utm(url, {"utm_source": "n", "utm_medium": ""}) == expected
