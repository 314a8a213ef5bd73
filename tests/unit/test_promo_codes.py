"""Promo codes: whose they are, what they may be, and what the engine is told of them."""

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
    told_to_edges,
)
from headwater import _core, limits
from headwater.model.records import ControlBody, encode


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


def enrolled(console: RunningConsole) -> tuple[str, str]:
    _, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    console.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
    return program, partner


def told(console: RunningConsole, promo_code: str) -> list[Any]:
    """Values of the code's controls, in the order of their revisions."""
    assert console.store is not None
    found = []
    for record in controls_on(console.store):
        body = ControlBody._make(record.body)
        if (body.kind, f"pmo_{body.number}") == ("promo_code", promo_code):
            _core.validate_record(encode(record))
            found.append(body)
    return [body.value for body in sorted(found, key=lambda body: body.revision)]


def test_a_code_is_kept_in_upper_case_and_told_to_the_engine_alone(
    console: RunningConsole,
) -> None:
    program, partner = enrolled(console)
    path = f"/v1/programs/{program}/promo-codes"
    made = console.made(path, {"code": "  summer 25é ", "partner_id": partner})
    assert (made["code"], made["status"]) == ("SUMMER 25É", "active")
    assert (made["program_id"], made["partner_id"]) == (program, partner)
    control = {"program": int(program[4:]), "partner": int(partner[4:]), "code": "SUMMER 25É"}
    assert told(console, made["id"]) == [{**control, "status": "active"}]
    paused = console.call("PATCH", f"/v1/promo-codes/{made['id']}", {"status": "paused"})
    assert (paused.status, paused.json["status"]) == (200, "paused")
    assert console.call("GET", path).json["items"] == [
        {key: value for key, value in paused.json.items() if key != "warnings"}
    ]
    gone = console.call("DELETE", f"/v1/promo-codes/{made['id']}")
    assert (gone.status, gone.json["status"]) == (200, "deleted")
    assert told(console, made["id"])[1:] == [{**control, "status": "paused"}, None]
    assert console.store is not None
    assert not [name for name in told_to_edges(console.store) if name.startswith("promo_code")]
    assert console.call("GET", path).json["items"] == []


def test_a_code_is_unique_in_its_program_without_case_until_it_is_deleted(
    console: RunningConsole,
) -> None:
    program, partner = enrolled(console)
    other, other_partner = enrolled(console)
    path = f"/v1/programs/{program}/promo-codes"
    body = {"code": "Ten", "partner_id": partner}
    made = console.made(path, body)
    again = {"code": "tEN", "partner_id": partner}
    assert faults_of(console.call("POST", path, again)) == {"code": "conflict"}
    console.made(f"/v1/programs/{other}/promo-codes", {"code": "ten", "partner_id": other_partner})
    item = f"/v1/promo-codes/{made['id']}"
    assert [console.call("DELETE", item).status for _ in range(2)] == [200, 200]
    assert console.call("PATCH", item, {"status": "active"}).status == 409
    assert console.made(path, again)["id"] != made["id"]


def test_the_same_post_again_is_200(console: RunningConsole) -> None:
    program, partner = enrolled(console)
    path = f"/v1/programs/{program}/promo-codes"
    body = {"code": "ten", "partner_id": partner, "external_id": "crm-1"}
    made = console.made(path, body)
    again = console.call("POST", path, body)
    assert (again.status, again.json["id"]) == (200, made["id"])
    assert faults_of(console.call("POST", path, {**body, "code": "eleven"})) == {
        "external_id": "conflict"
    }
    by_name = console.call("PATCH", "/v1/promo-codes/ext:crm-1", {"status": "paused"})
    assert by_name.json["id"] == made["id"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("code", "", "invalid"),
        ("code", "   ", "invalid"),
        ("code", "x" * (limits.PARAMETER_BYTES_MAX + 1), "invalid"),
        # Longer in upper case than in lower.
        ("code", "ß" * 254, "invalid"),
        ("code", "a\u0000b", "invalid"),
        ("code", None, "invalid"),
        ("partner_id", "prt_99999", "unknown_partner"),
        ("partner_id", "prg_1", "unknown_partner"),
        ("partner_id", "ext:nobody", "unknown_partner"),
    ],
)
def test_codes_that_are_not_made(
    console: RunningConsole, field: str, value: Any, code: str
) -> None:
    program, partner = enrolled(console)
    body = {"code": "ten", "partner_id": partner, field: value}
    reply = console.call("POST", f"/v1/programs/{program}/promo-codes", body)
    assert faults_of(reply) == {field: code}


def test_the_longest_code_is_taken(console: RunningConsole) -> None:
    program, partner = enrolled(console)
    body = {"code": "x" * limits.PARAMETER_BYTES_MAX, "partner_id": partner}
    console.made(f"/v1/programs/{program}/promo-codes", body)


def test_a_partner_that_is_not_enrolled_gets_none(console: RunningConsole) -> None:
    program, _ = enrolled(console)
    stranger = console.made("/v1/partners", {"name": "q"})["id"]
    body = {"code": "ten", "partner_id": stranger}
    reply = console.call("POST", f"/v1/programs/{program}/promo-codes", body)
    assert faults_of(reply) == {"partner_id": "unknown_partner"}


def test_what_is_not_there_is_404(console: RunningConsole) -> None:
    body = {"code": "ten", "partner_id": "prt_1"}
    assert console.call("POST", "/v1/programs/prg_99999/promo-codes", body).status == 404
    assert console.call("GET", "/v1/programs/prg_99999/promo-codes").status == 404
    assert console.call("PATCH", "/v1/promo-codes/pmo_99999", {}).status == 404
    assert console.call("DELETE", "/v1/promo-codes/pmo_99999").status == 404
    assert console.call("DELETE", "/v1/promo-codes/prg_1").status == 404
