"""How a program shares credit: every member's rule, what a PATCH keeps, what the engine is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from console_tools import (
    RunningConsole,
    console_in,
    controls_on,
    faults_of,
    fresh,
    program_body,
    told_to_edges,
)
from headwater import limits
from headwater.model.attribution import DEFAULTS, control_members
from headwater.model.records import ControlBody


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


def last_control(console: RunningConsole, kind: str, number: int) -> Any:
    assert console.store is not None
    bodies = [ControlBody._make(record.body) for record in controls_on(console.store)]
    found = [body for body in bodies if (body.kind, body.number) == (kind, number)]
    return max(found, key=lambda body: body.revision).value


SET: dict[str, Any] = {
    "model": "position",
    "position_ppm": [500_000, 0, 500_000],
    "half_life_seconds": 3600,
    "class_order": ["click", "impression"],
    "soft_click_window_seconds": 7200,
    "impression_window_seconds": 3600,
    "explicit_click": "candidate",
    "on_conflict": "isolate",
    "per_partner_latest": False,
    "members_max": 256,
    "hops_max": 16,
    "neighbours_max": 1,
}


def test_every_member_is_kept_shown_and_told_in_milliseconds(console: RunningConsole) -> None:
    brand = console.made("/v1/brands", {"name": "a"})["id"]
    assert SET.keys() == DEFAULTS.keys()
    made = console.made("/v1/programs", {**program_body(brand, fresh()), "attribution": SET})
    assert made["attribution"] == SET
    told = last_control(console, "program", int(made["id"][4:]))
    assert {name: told[name] for name in control_members(SET)} == {
        "model": "position",
        "position_ppm": [500_000, 0, 500_000],
        "half_life_ms": 3_600_000,
        "class_order": ["click", "impression"],
        "soft_click_window_ms": 7_200_000,
        "impression_window_ms": 3_600_000,
        "explicit_click": "candidate",
        "on_conflict": "isolate",
        "per_partner_latest": False,
        "members_max": 256,
        "hops_max": 16,
        "neighbours_max": 1,
    }


def test_what_is_left_open_is_not_told(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    told = last_control(console, "program", int(program[4:]))
    assert not {"soft_click_window_ms", "per_partner_latest"} & told.keys()
    assert (told["model"], told["half_life_ms"]) == ("last_click", 7 * 86_400_000)


def test_a_patch_changes_the_members_it_names(console: RunningConsole) -> None:
    brand = console.made("/v1/brands", {"name": "a"})["id"]
    made = console.made("/v1/programs", {**program_body(brand, fresh()), "attribution": SET})
    path = f"/v1/programs/{made['id']}"
    change = {"model": "linear", "soft_click_window_seconds": None, "per_partner_latest": None}
    after = console.call("PATCH", path, {"attribution": change}).json
    assert after["attribution"] == {**SET, **change}
    assert console.call("PATCH", path, {"name": "x"}).json["attribution"] == {**SET, **change}
    assert console.call("PATCH", path, {"attribution": {}}).json["attribution"] == {**SET, **change}


def test_all_members_at_fault_are_told_at_once(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    wrong = {
        "model": "ZZZ",
        "position_ppm": [1, 2, 3],
        "half_life_seconds": 3599,
        "class_order": ["click", "click"],
        "soft_click_window_seconds": 3599,
        "impression_window_seconds": None,
        "explicit_click": "ZZZ",
        "on_conflict": "ZZZ",
        "per_partner_latest": 1,
        "members_max": 257,
        "hops_max": 17,
        "neighbours_max": 49,
    }
    reply = console.call(
        "PATCH", f"/v1/programs/{program}", {"attribution": wrong, "currency": "ZZZ"}
    )
    assert faults_of(reply) == {
        **{f"attribution.{name}": "invalid" for name in wrong},
        "currency": "currency_unknown",
    }
    assert b"ZZZ" not in reply.body
    details = {each["field"]: each["detail"] for each in reply.json["errors"]}
    assert "time_decay" in details["attribution.model"]
    assert "1000000" in details["attribution.position_ppm"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("position_ppm", [1_000_000]),
        ("position_ppm", [400_000, 200_000, 400_001]),
        ("position_ppm", [1_000_001, -1, 0]),
        ("position_ppm", [0, 1_000_000, 0]),
        ("position_ppm", [0.4, 0.2, 0.4]),
        ("position_ppm", None),
        ("class_order", []),
        ("class_order", ["click", "view"]),
        ("class_order", "click"),
        ("half_life_seconds", limits.HALF_LIFE_S_MAX + 1),
        ("soft_click_window_seconds", limits.CLICK_WINDOW_S_MAX + 1),
        ("impression_window_seconds", limits.CLICK_WINDOW_S_MIN - 1),
        ("members_max", 0),
        ("hops_max", 0),
        ("neighbours_max", 0),
        ("members_max", "64"),
        ("model", None),
    ],
)
def test_values_that_are_not_taken(console: RunningConsole, member: str, value: Any) -> None:
    brand = console.made("/v1/brands", {"name": "a"})["id"]
    body = {**program_body(brand, fresh()), "attribution": {member: value}}
    assert faults_of(console.call("POST", "/v1/programs", body)) == {
        f"attribution.{member}": "invalid"
    }


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("position_ppm", [1_000_000, 0, 0]),
        ("class_order", ["impression", "soft_click", "click", "exclusive_coupon"]),
        ("class_order", ["exclusive_coupon"]),
        ("half_life_seconds", limits.HALF_LIFE_S_MIN),
        ("half_life_seconds", limits.HALF_LIFE_S_MAX),
        ("soft_click_window_seconds", limits.CLICK_WINDOW_S_MIN),
        ("impression_window_seconds", limits.CLICK_WINDOW_S_MAX),
        ("members_max", 1),
        ("members_max", limits.PERSON_MEMBERS_MAX),
        ("hops_max", limits.PERSON_HOPS_MAX),
        ("neighbours_max", limits.PERSON_NEIGHBOURS_MAX),
    ],
)
def test_values_at_the_bounds_are_taken(console: RunningConsole, member: str, value: Any) -> None:
    _, program = console.brand_and_program(fresh())
    change = {"attribution": {member: value}}
    after = console.call("PATCH", f"/v1/programs/{program}", change)
    assert after.json["attribution"] == {**DEFAULTS, member: value}


def test_unknown_members_are_named_with_their_place(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    after = console.call("PATCH", f"/v1/programs/{program}", {"attribution": {"modle": "linear"}})
    assert after.json["warnings"] == ["unknown field ignored: attribution.modle"]
    no_object = console.call("PATCH", f"/v1/programs/{program}", {"attribution": "linear"})
    assert faults_of(no_object) == {"attribution": "invalid"}


# ---- An event type's own window


def test_an_event_type_may_have_a_click_window_of_its_own(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    path = f"/v1/programs/{program}/event-types"
    plain = console.made(path, {"code": "lead", "kind": "lead"})
    assert plain["click_window_seconds"] is None
    assert "window_ms" not in last_control(console, "event_type", int(plain["id"][4:]))
    made = console.made(path, {"code": "sale", "kind": "sale", "click_window_seconds": 7200})
    number = int(made["id"][4:])
    assert made["click_window_seconds"] == 7200
    assert last_control(console, "event_type", number)["window_ms"] == 7_200_000
    assert console.store is not None
    value = told_to_edges(console.store)[f"event_type:{number}"][3]
    assert value["click_window_seconds"] == 7200
    assert "window_ms" not in value
    changed = console.call("PATCH", f"{path}/{made['id']}", {"status": "paused"}).json
    assert (changed["status"], changed["click_window_seconds"]) == ("paused", 7200)
    cleared = console.call("PATCH", f"{path}/{made['id']}", {"click_window_seconds": None}).json
    assert cleared["click_window_seconds"] is None
    assert "window_ms" not in last_control(console, "event_type", number)
    for beyond in (limits.CLICK_WINDOW_S_MIN - 1, limits.CLICK_WINDOW_S_MAX + 1):
        reply = console.call("PATCH", f"{path}/{made['id']}", {"click_window_seconds": beyond})
        assert faults_of(reply) == {"click_window_seconds": "invalid"}
