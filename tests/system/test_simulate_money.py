"""`headwater simulate` in money: the book of either rules, and what partners would be owed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater import clock, ids
from headwater.config import Config
from headwater.errors import ConfigError
from headwater.ledger import matching
from headwater.ledger.objects import Origin, create_event_type
from headwater.model.records import Flag
from headwater.ops.simulate import make_plan, run_simulate
from headwater.ops.verify import verify_book
from simulate_tools import (
    DAY_MS,
    HOUR_MS,
    SINCE,
    T0,
    Scene,
    edit_ledger,
    ledger_rows,
    order_text,
    scene_in,
)
from terms_tools import flat, percent

TRACKED = {"kind": "tracked", "days": 30}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """10 % of orders of 10.00 EUR; order 1 follows clicks of two partners, order 2 of one."""
    with scene_in(tmp_path) as made:
        made.terms({"default": percent(10)})
        made.send(T0 + 1, made.click(T0, 0, who=1))
        made.send(T0 + 4 * DAY_MS, made.click(T0 + 4 * DAY_MS, 1, who=1))
        made.send(T0 + 4 * DAY_MS, made.click(T0 + 4 * DAY_MS, 2, who=2))
        at_ms = T0 + 5 * DAY_MS
        made.send(at_ms, made.sale(at_ms, 1, who=1), made.sale(at_ms, 2, who=2))
        yield made


def terms_file(folder: Path, **body: Any) -> Path:
    file = folder / "terms.json"
    file.write_text(json.dumps(body))
    return file


def partner_id(scene: Scene, number: int) -> str:
    return ids.object_text("prt", scene.partners[number])


def owed(scene: Scene, report: Any) -> dict[int, tuple[str, str, str, str]]:
    """Currency, and payout before, after and the difference, by the partner's number."""
    numbers = {partner_id(scene, number): number for number in range(3)}
    return {
        numbers[each["partner_id"]]: (
            *(each["currency"], each["before"]),
            *(each["after"], each["difference"]),
        )
        for each in report["payouts"]["partners"]
    }


def test_other_rules_move_payout_from_one_partner_to_another(scene: Scene, capsys: Any) -> None:
    report = scene.simulate(capsys, "model=first_click")
    assert owed(scene, report) == {
        0: ("EUR", "0.00", "1.00", "1.00"),
        1: ("EUR", "1.00", "0.00", "-1.00"),
        2: ("EUR", "1.00", "1.00", "0.00"),
    }
    totals = {"currency": "EUR", "before": "2.00", "after": "2.00", "difference": "0.00"}
    assert report["payouts"]["totals"] == [totals]
    assert report["payouts"]["repeats_ledger"] is True
    (moved,) = report["moved"]
    assert moved["before"]["payouts"] == [
        {"partner_id": partner_id(scene, 1), "payout": "1.00", "currency": "EUR"}
    ]
    assert moved["after"]["payouts"][0]["partner_id"] == partner_id(scene, 0)
    assert (report["conversions_repaid"], report["repaid"]) == (0, [])


def test_a_changed_window_takes_payout_away(scene: Scene, capsys: Any) -> None:
    at_ms = T0 + 8 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 3, who=1))
    report = scene.simulate(capsys, "click_window_days=3")
    assert owed(scene, report)[1] == ("EUR", "2.00", "1.00", "-1.00")


def test_an_archive_that_begins_late_is_told_the_terms_of_its_beginning(
    tmp_path: Path, capsys: Any
) -> None:
    """And event types and zones with them: without these nothing would be owed."""
    with scene_in(tmp_path) as scene:
        scene.terms({"default": percent(10)})
        scene.take_over()
        scene.send(T0 + 1, scene.click(T0, 0, who=1))
        scene.send(T0 + DAY_MS, scene.click(T0 + DAY_MS, 1, who=1))
        at_ms = T0 + 2 * DAY_MS
        scene.send(at_ms, scene.sale(at_ms, 1, who=1))
        oldest, *_rest = matching.archive_manifest(scene.ledger, 0)
        edit_ledger(scene.data, "DELETE FROM archive_segments WHERE name = ?", oldest.name)
        report = scene.simulate(capsys, "model=first_click")
    assert owed(scene, report) == {
        0: ("EUR", "0.00", "1.00", "1.00"),
        1: ("EUR", "1.00", "0.00", "-1.00"),
    }
    assert report["payouts"]["repeats_ledger"] is True
    assert "the archive begins after the program was made" in report["notes"][0]


def test_changed_terms_change_the_payout_alone(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    file = terms_file(tmp_path, events={"sale": {"default": percent(25)}})
    report = scene.simulate(capsys, terms=file)
    assert (report["conversions_moved"], report["moved"]) == (0, [])
    assert report["totals"]["difference_ppm"] == 0
    assert owed(scene, report) == {
        1: ("EUR", "1.00", "2.50", "1.50"),
        2: ("EUR", "1.00", "2.50", "1.50"),
    }
    assert report["conversions_repaid"] == 2
    assert [each["conversion_id"] for each in report["repaid"]] == [order_text(1), order_text(2)]
    rules = report["rules"]
    before, after = (rules[side]["values"]["terms"] for side in ("before", "after"))
    event = str(scene.event_type)
    assert (
        before["events"][event]["default"]["ppm"],
        after["events"][event]["default"]["ppm"],
    ) == (*(100_000, 250_000),)
    assert rules["before"]["config_hash"] != rules["after"]["config_hash"]


def test_terms_are_tried_where_none_were(tmp_path: Path, capsys: Any) -> None:
    with scene_in(tmp_path) as scene:
        scene.send(T0 + 1, scene.click(T0, 0, who=1))
        scene.send(T0 + HOUR_MS, scene.sale(T0 + HOUR_MS, 1, who=1))
        assert "payouts" not in scene.simulate(capsys, "click_window_days=3")
        events = {"sale": {"default": flat(150)}}
        report = scene.simulate(capsys, terms=terms_file(tmp_path, events=events))
        assert owed(scene, report) == {0: ("EUR", "0.00", "1.50", "1.50")}


def test_terms_of_one_partner_are_tried_on_it_alone(
    scene: Scene, tmp_path: Path, capsys: Any
) -> None:
    events = {"sale": {"default": percent(50)}}
    file = terms_file(tmp_path, partner_id=partner_id(scene, 1), events=events)
    report = scene.simulate(capsys, terms=file)
    assert owed(scene, report) == {
        1: ("EUR", "1.00", "5.00", "4.00"),
        2: ("EUR", "1.00", "1.00", "0.00"),
    }


def test_a_partner_s_own_terms_stay_while_those_for_all_are_tried(
    tmp_path: Path, capsys: Any
) -> None:
    with scene_in(tmp_path) as scene:
        scene.terms({"default": percent(10)})
        scene.enrol(0)
        scene.terms({"default": percent(20)}, partner=0)
        scene.send(T0 + 1, scene.click(T0, 0, who=1), scene.click(T0, 1, who=2))
        at_ms = T0 + HOUR_MS
        scene.send(at_ms, scene.sale(at_ms, 1, who=1), scene.sale(at_ms, 2, who=2))
        file = terms_file(tmp_path, events={"sale": {"default": percent(30)}})
        report = scene.simulate(capsys, terms=file)
        assert owed(scene, report) == {
            0: ("EUR", "2.00", "2.00", "0.00"),
            1: ("EUR", "1.00", "3.00", "2.00"),
        }


def test_a_window_of_the_terms_moves_credit_too(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    file = terms_file(tmp_path, events={"sale": {"default": percent(10)}}, window_seconds=3_600)
    report = scene.simulate(capsys, terms=file)
    assert report["conversions_moved"] == 2
    assert [each[2:] for each in owed(scene, report).values()] == [("0.00", "-1.00")] * 2


def test_another_currency_stands_on_its_own(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    file = terms_file(tmp_path, currency="JPY", events={"sale": {"default": flat(7)}})
    report = scene.simulate(capsys, terms=file)
    totals = {each["currency"]: each for each in report["payouts"]["totals"]}
    assert (totals["EUR"]["before"], totals["EUR"]["after"]) == ("2.00", "0.00")
    assert (totals["JPY"]["before"], totals["JPY"]["after"]) == ("0", "14")
    assert len(report["repaid"]) == 2


def test_without_a_change_the_difference_is_nothing_for_everybody(
    scene: Scene, tmp_path: Path, capsys: Any
) -> None:
    report = scene.simulate(capsys, "click_window_days=10")
    assert [each["difference"] for each in report["payouts"]["partners"]] == ["0.00", "0.00"]
    same = terms_file(
        tmp_path,
        events={"sale": {"default": percent(10)}},
        payment={"months": 0, "days": 14},
    )
    report = scene.simulate(capsys, terms=same)
    assert [each["difference"] for each in report["payouts"]["partners"]] == ["0.00", "0.00"]
    assert (report["conversions_moved"], report["conversions_repaid"]) == (0, 0)


def test_clicks_that_are_paid_count_before_and_after_their_lock(
    tmp_path: Path, capsys: Any
) -> None:
    with scene_in(tmp_path) as scene:
        saved = create_event_type(
            scene.ledger, Origin(), program=scene.program, code="click", kind="click"
        )
        assert saved is not None
        scene.event_type = int(saved.row["id"])
        scene.terms({"default": flat(2)}, locking=TRACKED)
        scene.send(T0 + 1, *(scene.click(T0, 0, who=number) for number in range(1, 4)))
        file = terms_file(tmp_path, events={"click": {"default": flat(5)}}, locking=TRACKED)
        asked = {0: ("EUR", "0.06", "0.15", "0.09")}
        assert owed(scene, scene.simulate(capsys, terms=file)) == asked
        scene.tick(T0 + 40 * DAY_MS)
        report = scene.simulate(capsys, terms=file)
        assert owed(scene, report) == asked
        assert report["payouts"]["repeats_ledger"] is True


def test_what_managers_decided_is_decided_again(scene: Scene, capsys: Any) -> None:
    """Its action has the same id under either rules, if it is there at all."""
    (action,) = [each for each in scene.actions() if each["partner"] == scene.partners[2]]
    (lost,) = [each for each in scene.actions() if each["partner"] == scene.partners[1]]
    at_ms = T0 + 6 * DAY_MS
    for each in (action, lost):
        params = {"actor": "key_1", "reason": "ORDER_ERROR"}
        scene.decide(at_ms, "action.reverse", each["action_id"], **params)
    report = scene.simulate(capsys, "model=first_click")
    assert report["payouts"]["repeats_ledger"] is True
    assert owed(scene, report) == {0: ("EUR", "0.00", "1.00", "1.00")}


def test_terms_may_begin_later(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    """Before they begin there are none: those for everybody are replaced whole."""
    at_ms = T0 + 7 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 3, who=2))
    begin = clock.iso_ms(T0 + 6 * DAY_MS)
    file = terms_file(tmp_path, starts_at=begin, events={"sale": {"default": percent(50)}})
    assert owed(scene, scene.simulate(capsys, terms=file)) == {
        1: ("EUR", "1.00", "0.00", "-1.00"),
        2: ("EUR", "2.00", "5.00", "3.00"),
    }


def test_caps_count_under_the_changed_rules(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    cap = {"metric": "conversions", "period": "lifetime", "scope": "program", "limit": 1}
    events = {"sale": {"default": percent(10)}}
    report = scene.simulate(capsys, terms=terms_file(tmp_path, events=events, caps=[cap]))
    (total,) = report["payouts"]["totals"]
    assert (total["before"], total["after"]) == ("2.00", "1.00")


def test_another_brand_of_the_same_lane_changes_nothing(
    scene: Scene, tmp_path: Path, capsys: Any
) -> None:
    brand, program = scene.make("other")
    scene.publish(T0)
    at_ms = T0 + 6 * DAY_MS
    scene.send(at_ms, scene.click(at_ms, 0, who=9, brand=brand, program=program))
    scene.send(at_ms, scene.sale(at_ms, 9, who=9, brand=brand, program=program))
    file = terms_file(tmp_path, events={"sale": {"default": percent(25)}})
    report = scene.simulate(capsys, terms=file)
    assert report["payouts"]["repeats_ledger"] is True
    assert owed(scene, report)[2] == ("EUR", "1.00", "2.50", "1.50")


def test_only_what_was_tracked_in_the_span_counts(scene: Scene, capsys: Any) -> None:
    at_ms = T0 + 6 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 3, who=2))
    since = "2027-01-20T09:00:00Z"
    report = scene.simulate(capsys, "model=first_click", since=since)
    assert owed(scene, report) == {2: ("EUR", "1.00", "1.00", "0.00")}


def test_test_orders_are_owed_to_nobody(scene: Scene, capsys: Any) -> None:
    at_ms = T0 + 5 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 9, who=2, flags=int(Flag.TEST)))
    report = scene.simulate(capsys, "model=first_click")
    assert owed(scene, report)[2] == ("EUR", "1.00", "1.00", "0.00")


def test_a_ledger_whose_book_is_another_is_told(scene: Scene, capsys: Any) -> None:
    statement = "update book_entries set amount_minor = amount_minor * 2"
    edit_ledger(scene.data, statement)
    report = scene.simulate(capsys, "model=first_click")
    assert report["payouts"]["repeats_ledger"] is False
    assert owed(scene, report)[1][1] == "1.00"
    assert "action_id" not in verify_book(scene.ledger, scene.data)
    assert "book_entries" in verify_book(scene.ledger, scene.data)


def test_a_simulation_writes_nothing(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    before = ledger_rows(scene.data)
    file = terms_file(tmp_path, events={"sale": {"default": percent(25)}})
    scene.simulate(capsys, "model=linear", terms=file)
    assert ledger_rows(scene.data) == before


def test_the_table_and_the_rows_tell_money(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    rows_file = tmp_path / "moved.csv"
    code = run_simulate(
        Config(data=scene.data),
        program="check", since=SINCE, until=None, changes=["model=first_click"],
        terms=terms_file(tmp_path, events={"sale": {"default": percent(25)}}),
        as_json=False, csv=rows_file,
    )  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert "1 would be credited otherwise, 1 more paid otherwise" in printed
    assert "Payout" in printed
    assert "+2.50" in printed
    with rows_file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    money = {
        (row["conversion_id"], row["partner_id"]): (row["payout_before"], row["payout_after"])
        for row in rows
    }
    assert money == {
        (order_text(1), partner_id(scene, 0)): ("", "2.50"),
        (order_text(1), partner_id(scene, 1)): ("1.00", ""),
        (order_text(2), partner_id(scene, 2)): ("1.00", "2.50"),
    }


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('{"events": {"nothing": {}}}', "events: not an event type of the program"),
        ('{"events": {}, "speed": 9}', "speed: no such member"),
        ('{"events": {}, "partner_id": "prt_999999"}', "there is no partner"),
        ("[]", "--terms"),
        ('{"events": {"sale": {"default": {"kind": "flat", "amount_micros": -1}}}}', "events.sale"),
    ],
)
def test_terms_that_do_not_hold_are_refused(
    scene: Scene, tmp_path: Path, body: str, fault: str
) -> None:
    file = tmp_path / "terms.json"
    file.write_text(body)
    with pytest.raises(ConfigError) as refused:
        make_plan(scene.ledger, "check", SINCE, None, ["hops_max=0"], file)
    assert len(refused.value.faults) == 2
    assert any(fault in each for each in refused.value.faults)


def test_a_file_that_is_not_there_or_too_long_is_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--terms"):
        make_plan(scene.ledger, "check", SINCE, None, [], tmp_path / "none.json")
    with pytest.raises(ConfigError, match="--terms"):
        make_plan(scene.ledger, "check", SINCE, None, [])
