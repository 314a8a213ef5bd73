"""Fraud rules at each layer: taken whole or refused with every fault, and what engines hear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console_tools import (
    PARTITIONS,
    RunningConsole,
    console_in,
    controls_on,
    faults_of,
    fresh,
    program_body,
    told_to_edges,
)
from headwater import identity_key, limits
from headwater.console import fraud_config
from headwater.errors import RequestRefused
from headwater.ledger import outbox, spreads
from headwater.ledger.objects import Origin, create_brand, create_program
from headwater.model.identifiers import of_email
from headwater.model.records import ControlBody
from ledger_tools import PROGRAM, ledger_in

WHOLE: dict[str, Any] = {
    "review_from": 50,
    "unique_window_seconds": 3600,
    "rules": {
        "IP_VELOCITY": {"mode": "enforce", "weight": 60, "low": 5, "high": 9},
        "GIVT_DATACENTER": {"mode": "off"},
        "CTIT_TOO_SHORT": {"low": 20_000, "high": 3000},
        "DUPLICATE_CLICK": {"mode": "enforce"},
    },
    "referrers": ["Blog.Example", "blog.example", "xn--bcher-kva.example"],
    "allow": {"prefixes": ["203.0.113.7/24", "2001:DB8::/48"]},
    "deny": {"referrers": ["Bad.example"], "subs": ["junk", "junk", "Junk"]},
    "checkout_paths": ["/Checkout/", "/cart"],
}
KEPT: dict[str, Any] = {
    **WHOLE,
    "referrers": ["blog.example", "xn--bcher-kva.example"],
    "allow": {"prefixes": ["203.0.113.0/24", "2001:db8::/48"]},
    "deny": {"referrers": ["bad.example"], "subs": ["junk", "Junk"]},
    "checkout_paths": ["/checkout", "/cart"],
}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


def control_of(console: RunningConsole, kind: str, number: int) -> dict[str, Any]:
    """The newest control of an object on the log."""
    assert console.store is not None
    bodies = [ControlBody._make(record.body) for record in controls_on(console.store)]
    found = [body for body in bodies if (body.kind, body.number) == (kind, number)]
    newest = max(found, key=lambda body: body.revision)
    assert newest.value is not None
    return dict(newest.value)


def program_with(console: RunningConsole, fraud: Any) -> Any:
    brand = console.made("/v1/brands", {"name": "b"})["id"]
    return console.made("/v1/programs", {**program_body(brand, fresh()), "fraud": fraud})


def test_a_program_takes_rules_in_their_one_form(console: RunningConsole) -> None:
    program = program_with(console, WHOLE)
    assert program["fraud"] == KEPT
    assert console.call("GET", f"/v1/programs/{program['id']}").json["fraud"] == KEPT
    control = control_of(console, "program", int(program["id"][4:]))
    assert control["fraud"] == KEPT
    assert control["destination_url"] == program["destination_url"]
    assert control["deep_link_hosts"] == []
    assert console.store is not None
    told = told_to_edges(console.store)[f"program:{program['id'][4:]}"][3]
    assert "fraud" not in told


def test_a_program_without_rules_says_nothing(console: RunningConsole) -> None:
    assert program_with(console, None)["fraud"] == {}
    assert program_with(console, {})["fraud"] == {}
    assert program_with(console, {"rules": None, "deny": {"subs": None}})["fraud"] == {}


def test_a_patch_merges_and_null_takes_back(console: RunningConsole) -> None:
    path = f"/v1/programs/{program_with(console, WHOLE)['id']}"
    patch = {
        "review_from": None,
        "rules": {"IP_VELOCITY": {"high": 7}, "GIVT_DATACENTER": None},
        "deny": {"subs": None},
        "checkout_paths": [],
    }
    after = console.call("PATCH", path, {"fraud": patch}).json["fraud"]
    rules = {name: rule for name, rule in KEPT["rules"].items() if name != "GIVT_DATACENTER"}
    assert after == {
        "unique_window_seconds": 3600,
        "rules": {**rules, "IP_VELOCITY": {**rules["IP_VELOCITY"], "high": 7}},
        "referrers": KEPT["referrers"],
        "allow": KEPT["allow"],
        "deny": {"referrers": ["bad.example"]},
        "checkout_paths": [],
    }
    # What is left out keeps what is; what would not hold with it is refused.
    assert console.call("PATCH", path, {"name": "other"}).json["fraud"] == after
    refused = console.call("PATCH", path, {"fraud": {"rules": {"IP_VELOCITY": {"low": 8}}}})
    assert faults_of(refused) == {"fraud.rules.IP_VELOCITY.low": "invalid"}
    assert console.call("PATCH", path, {"fraud": None}).json["fraud"] == {}


def test_every_fault_is_named_by_its_path(console: RunningConsole) -> None:
    brand = console.made("/v1/brands", {"name": "b"})["id"]
    fraud = {
        "review_from": 0,
        "unique_window_seconds": 59,
        "colour": 1,
        "rules": {
            "NO_SUCH": {"mode": "off"},
            "<script>": {},
            "IP_VELOCITY": {"mode": "loud", "weight": 101, "low": 1 << 32, "volume": 3},
            "CADENCE": {"weight": -1, "high": 1.5},
            "COLLISION": 3,
        },
        "referrers": ["not a domain"],
        "allow": {"prefixes": ["0.0.0.0/0"], "networks": []},
        "deny": {"referrers": ["localhost"], "subs": [""]},
        "checkout_paths": ["checkout"],
    }
    reply = console.call("POST", "/v1/programs", {**program_body(brand, fresh()), "fraud": fraud})
    assert reply.status == 422
    assert set(faults_of(reply)) == {
        "fraud.review_from",
        "fraud.unique_window_seconds",
        "fraud.colour",
        "fraud.rules.NO_SUCH",
        "fraud.rules.?",
        "fraud.rules.IP_VELOCITY.mode",
        "fraud.rules.IP_VELOCITY.weight",
        "fraud.rules.IP_VELOCITY.low",
        "fraud.rules.IP_VELOCITY.volume",
        "fraud.rules.CADENCE.weight",
        "fraud.rules.CADENCE.high",
        "fraud.rules.COLLISION",
        "fraud.referrers",
        "fraud.allow.prefixes",
        "fraud.allow.networks",
        "fraud.deny.referrers",
        "fraud.deny.subs",
        "fraud.checkout_paths",
    }
    assert b"script" not in reply.body


@pytest.mark.parametrize(
    ("code", "rule", "fault"),
    [
        ("IP_VELOCITY", {"low": 30, "high": 10}, "low"),
        ("IP_VELOCITY", {"low": 31}, "low"),
        ("IP_VELOCITY", {"high": 9}, "high"),
        ("IP_VELOCITY", {"low": 0}, "low"),
        ("IP_VELOCITY", {"low": 10, "high": 10}, None),
        ("IP_VELOCITY", {"high": (1 << 32) - 1}, None),
        ("CTIT_TOO_SHORT", {"low": 2000, "high": 10_000}, "low"),
        ("CTIT_TOO_SHORT", {"high": 10_001}, "high"),
        ("CTIT_TOO_SHORT", {"low": 1999}, "low"),
        ("CTIT_TOO_SHORT", {"low": 5000, "high": 0}, None),
        ("LAST_CLICK_HIJACK", {"low": 1, "high": 2}, "low"),
        ("LAST_CLICK_HIJACK", {"low": 900_000}, None),
    ],
    ids=str,
)
def test_a_ramp_goes_the_way_of_its_signal(code: str, rule: dict[str, int], fault: str) -> None:
    fraud = {"rules": {code: rule}}
    change = fraud_config.rewrite(fraud_config.FraudRules(signal_rules=fraud["rules"]))
    assert change is not None
    if fault is None:
        assert change({}) == fraud
        return
    with pytest.raises(RequestRefused) as caught:
        change({})
    assert [each.field for each in caught.value.faults] == [f"fraud.rules.{code}.{fault}"]


@pytest.mark.parametrize(
    ("prefix", "kept"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/7", None),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.0/25", None),
        ("203.0.113.7", None),
        ("2001:db8::/16", "2001::/16"),
        ("2001:db8::/15", None),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
        ("2001:db8:1::/49", None),
        ("::/0", None),
        ("x/24", None),
    ],
)
def test_a_network_is_no_region_and_no_address(
    console: RunningConsole, prefix: str, kept: str | None
) -> None:
    reply = console.call("PUT", "/v1/fraud-rules", {"allow": {"prefixes": [prefix]}})
    if kept is None:
        assert faults_of(reply) == {"allow.prefixes": "invalid"}
    else:
        assert reply.json == {"allow": {"prefixes": [kept]}}


def test_lists_and_the_whole_are_bounded(console: RunningConsole) -> None:
    at_bound = [f"s{number}" for number in range(limits.FRAUD_LIST_MAX)]
    assert console.call("PUT", "/v1/fraud-rules", {"deny": {"subs": at_bound}}).status == 200
    over = console.call("PUT", "/v1/fraud-rules", {"deny": {"subs": [*at_bound, "more"]}})
    assert faults_of(over) == {"deny.subs": "invalid"}
    long = [f"{number}".rjust(255, "s") for number in range(60)]
    over = console.call("PUT", "/v1/fraud-rules", {"deny": {"subs": long}})
    assert faults_of(over) == {"rules": "value_too_long"}


def test_the_networks_rules_are_told_on_every_lane(console: RunningConsole) -> None:
    rules = {"rules": {"CADENCE": {"mode": "shadow"}}}
    assert console.call("PUT", "/v1/fraud-rules", rules).json == rules
    assert console.call("GET", "/v1/fraud-rules").json == rules
    for lane in range(PARTITIONS):
        assert control_of(console, "fraud_rules", lane) == rules
    assert console.store is not None
    assert not [name for name in told_to_edges(console.store) if name.startswith("fraud_rules")]
    # What is put takes the place of all there was.
    assert console.call("PUT", "/v1/fraud-rules", {"review_from": 70}).json == {"review_from": 70}
    assert console.call("GET", "/v1/fraud-rules").json == {"review_from": 70}
    assert console.call("PUT", "/v1/fraud-rules", {}).json == {}


def test_lanes_are_told_on_their_own_streams(console: RunningConsole) -> None:
    console.call("PUT", "/v1/fraud-rules", {"review_from": 33})
    rows = [row for row in outbox.not_committed(console.ledger) if row.object == "fraud_rules"]
    assert {(row.partition, row.number) for row in rows} == {
        (lane, lane) for lane in range(PARTITIONS)
    }


# ---- Enrolments


def enrolled(console: RunningConsole, email: str | None, body: Any) -> tuple[str, str, Any]:
    brand, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p", "email": email})["id"]
    path = f"/v1/programs/{program}/partners/{partner}"
    return brand, path, console.made(path, body, "PUT")


def enrolment_control(console: RunningConsole, path: str) -> dict[str, Any]:
    """The newest control of the enrolment a path names."""
    assert console.store is not None
    parts = path.split("/")
    pair = (int(parts[3][4:]), int(parts[5][4:]))
    bodies = [ControlBody._make(record.body) for record in controls_on(console.store)]
    found = [
        body
        for body in bodies
        if body.kind == "enrolment"
        and body.value is not None
        and (body.value["program"], body.value["partner"]) == pair
    ]
    newest = max(found, key=lambda body: body.revision)
    assert newest.value is not None
    return dict(newest.value)


def test_an_enrolment_has_rules_of_its_own(console: RunningConsole) -> None:
    rules = {"referrers": ["blog.example"]}
    _, path, made = enrolled(console, None, {"fraud": rules})
    assert made["fraud"] == rules
    assert enrolment_control(console, path)["fraud"] == rules
    # Nothing said keeps them, something said takes their place, a patch merges.
    assert console.call("PUT", path, {}).json["fraud"] == rules
    assert console.call("PUT", path, {"fraud": {"review_from": 9}}).json["fraud"] == {
        "review_from": 9
    }
    patched = console.call("PATCH", path, {"fraud": rules, "status": "paused"}).json
    assert (patched["fraud"], patched["status"]) == ({"review_from": 9, **rules}, "paused")
    assert enrolment_control(console, path)["fraud"] == {"review_from": 9, **rules}
    refused = console.call("PATCH", path, {"fraud": {"rules": {"X": {}}}})
    assert faults_of(refused) == {"fraud.rules.X": "invalid"}


def test_a_patch_enrols_nobody(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    for names in ((program, partner), ("prg_999999", partner), (program, "prt_999999")):
        path = f"/v1/programs/{names[0]}/partners/{names[1]}"
        assert console.call("PATCH", path, {"status": "active"}).status == 404
    assert console.call("GET", f"/v1/programs/{program}/partners").json["items"] == []


def test_engines_know_the_partner_as_the_brand_would(console: RunningConsole) -> None:
    brand, path, _ = enrolled(console, "Ada@Partner.example", {})
    partner = f"/v1/partners/{path.split('/')[5]}"
    key = identity_key.load_or_create(console.config.data)

    def identity(email: str) -> list[list[Any]]:
        return [list(each) for each in of_email(key, int(brand[4:]), email)]

    assert identity("ada@partner.example") == identity("Ada@Partner.example")
    assert enrolment_control(console, path)["identity"] == identity("ada@partner.example")
    assert console.call("PATCH", partner, {"email": "new@partner.example"}).status == 200
    assert enrolment_control(console, path)["identity"] == identity("new@partner.example")
    assert console.call("PATCH", partner, {"email": None}).status == 200
    assert enrolment_control(console, path)["identity"] == []
    assert console.store is not None
    assert all("identity" not in (row[3] or {}) for row in told_to_edges(console.store).values())


def test_a_link_may_be_a_trap(console: RunningConsole) -> None:
    _, path, _ = enrolled(console, None, {})
    body = {"program_id": path.split("/")[3], "partner_id": path.split("/")[5]}
    plain = console.made("/v1/links", body)
    trap = console.made("/v1/links", {**body, "honeypot": True})
    assert (plain["honeypot"], trap["honeypot"]) == (False, True)
    assert console.store is not None
    told = told_to_edges(console.store)
    assert told[f"link:{trap['id'][4:]}"][3]["honeypot"] is True
    assert console.call("PATCH", f"/v1/links/{trap['id']}", {"honeypot": False}).status == 200
    assert told_to_edges(console.store)[f"link:{trap['id'][4:]}"][3]["honeypot"] is False


def test_what_no_record_holds_is_refused(tmp_path: Path) -> None:
    """A program's hosts and rules go to engines in one record."""
    with ledger_in(tmp_path) as ledger:
        brand = create_brand(ledger, Origin(), name="b").row["id"]
        hosts = [
            f"{number:03}.{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example"
            for number in range(130)
        ]
        with pytest.raises(RequestRefused) as caught:
            create_program(
                ledger, Origin(), brand=brand, columns={**PROGRAM, "deep_link_hosts": hosts}
            )
        assert caught.value.code == "too_many_values"
        program = create_program(ledger, Origin(), brand=brand, columns=PROGRAM).row["id"]
        with pytest.raises(RequestRefused):
            spreads.change_program(ledger, program, {"deep_link_hosts": hosts})
