"""Objects of the management API: every rule of its routes, on a real ledger and a real log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from console_tools import (
    RunningConsole,
    console_in,
    faults_of,
    fresh,
    program_body,
    told_to_edges,
)
from headwater.model.attribution import DEFAULTS


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


# ---- Objects


def test_an_external_id_stands_wherever_an_id_does(console: RunningConsole) -> None:
    tag = fresh("crm") + "/a b"
    quoted = "ext:" + tag.replace("/", "%2F").replace(" ", "%20")
    brand = console.made("/v1/brands", {"name": "a", "external_id": tag})
    code = fresh()
    body = {**program_body(f"ext:{tag}", code), "external_id": tag}
    program = console.made("/v1/programs", body)
    assert program["brand_id"] == brand["id"]
    assert console.call("POST", "/v1/programs", body).json["id"] == program["id"]
    assert console.call("POST", "/v1/programs", {**body, "code": fresh()}).status == 409
    partner = console.made("/v1/partners", {"name": "p", "external_id": tag})
    path = f"/v1/programs/{quoted}"
    console.made(f"{path}/event-types", {"code": "sale", "kind": "sale", "external_id": tag})
    enrolment = console.made(f"{path}/partners/{quoted}", {"external_id": tag}, "PUT")
    assert enrolment["partner_id"] == partner["id"]
    link = console.made(
        "/v1/links",
        {"program_id": f"ext:{tag}", "partner_id": f"ext:{tag}", "external_id": tag},
    )
    for path, found in (
        (f"/v1/brands/{quoted}", brand),
        (f"/v1/programs/{quoted}", program),
        (f"/v1/partners/{quoted}", partner),
        (f"/v1/links/{quoted}", link),
    ):
        assert console.call("GET", path).json["id"] == found["id"]
    page = console.call("GET", f"/v1/links?program_id={quoted}&partner_id={quoted}").json
    assert [item["id"] for item in page["items"]] == [enrolment["default_link"]["id"], link["id"]]


@pytest.mark.parametrize("code", ["prg_1", "ety_20"])
def test_a_code_that_reads_like_an_id_is_refused(console: RunningConsole, code: str) -> None:
    """Reports and terms take either: nobody would know whose they are."""
    brand = console.made("/v1/brands", {"name": "a"})["id"]
    refused = console.call("POST", "/v1/programs", program_body(brand, code))
    assert faults_of(refused) == {"code": "invalid"}
    program = console.made("/v1/programs", program_body(brand, fresh()))["id"]
    path = f"/v1/programs/{program}/event-types"
    assert faults_of(console.call("POST", path, {"code": code, "kind": "sale"})) == {
        "code": "invalid"
    }
    assert console.call("POST", path, {"code": f"{code}-x", "kind": "sale"}).status == 201


def test_the_same_post_again_is_200_and_another_is_409(console: RunningConsole) -> None:
    body = {"name": "a", "external_id": fresh("brand")}
    made = console.made("/v1/brands", body)
    console.call("PATCH", f"/v1/brands/{made['id']}", {"name": "renamed"})
    again = console.call("POST", "/v1/brands", body)
    assert (again.status, again.json["id"], again.json["name"]) == (200, made["id"], "renamed")
    other = console.call("POST", "/v1/brands", {**body, "name": "b"})
    assert faults_of(other) == {"external_id": "conflict"}


def test_a_program_code_is_unique_in_the_deployment(console: RunningConsole) -> None:
    code = fresh()
    console.brand_and_program(code)
    other = console.made("/v1/brands", {"name": "b"})["id"]
    assert faults_of(console.call("POST", "/v1/programs", program_body(other, code))) == {
        "code": "conflict"
    }


def test_a_new_program_has_defaults_and_no_event_types(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    made = console.call("GET", f"/v1/programs/{program}").json
    assert (made["attribution"], made["click_param"], made["timezone"], made["name"]) == (
        dict(DEFAULTS),
        "click_id",
        "UTC",
        made["code"],
    )
    listed = console.call("GET", f"/v1/programs/{program}/event-types").json
    assert listed == {"items": [], "next_cursor": None}
    kinds = {"click": "click", "lead": "lead", "sale": "sale", "other": "custom"}
    for code, kind in kinds.items():
        console.made(f"/v1/programs/{program}/event-types", {"code": code, "kind": kind})
    twice = console.call(
        "POST", f"/v1/programs/{program}/event-types", {"code": "sale", "kind": "lead"}
    )
    assert faults_of(twice) == {"code": "conflict"}
    listed = console.call("GET", f"/v1/programs/{program}/event-types").json["items"]
    assert {item["code"]: item["kind"] for item in listed} == kinds
    path = f"/v1/programs/{program}/event-types/{listed[0]['id']}"
    assert console.call("PATCH", path, {"status": "paused"}).json["status"] == "paused"


def test_a_patch_changes_what_it_names_and_edges_hear_of_it(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    before = console.call("GET", f"/v1/programs/{program}").json
    change = {
        "name": "New",
        "destination_url": "https://new.example/",
        "default_country": "AT",
        "aliases": {"txid": "order_id"},
        "methods": ["s2s"],
        "code": "other",
    }
    after = console.call("PATCH", f"/v1/programs/{program}", change).json
    assert after["warnings"] == ["unknown field ignored: code"]
    del change["code"]
    for name in before:
        if name not in ("updated_at", "warnings"):
            assert after[name] == change.get(name, before[name]), name
    assert console.store is not None
    value = told_to_edges(console.store)[f"program:{program[4:]}"][3]
    assert (value["destination_url"], value["methods"]) == ("https://new.example/", ["s2s"])
    cleared = console.call("PATCH", f"/v1/programs/{program}", {"default_country": None})
    assert cleared.json["default_country"] is None
    assert console.call("PATCH", "/v1/programs/prg_99999", {}).status == 404


def test_names_of_other_networks_are_told_to_edges(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    change = {
        "alias_presets": ["keitaro", "impact"],
        "aliases": {"Basket": "properties.basket", "type": "event", "sub_id_1": "order_id"},
    }
    after = console.call("PATCH", f"/v1/programs/{program}", change).json
    assert {name: after[name] for name in change} == change
    assert console.store is not None
    value = told_to_edges(console.store)[f"program:{program[4:]}"][3]
    assert {name: value[name] for name in change} == change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"aliases": {"program": "order_id"}}, "aliases"),
        ({"aliases": {"Click_ID": "order_id"}}, "aliases"),
        ({"aliases": {"txid": "nothing"}}, "aliases"),
        ({"aliases": {"txid": "program"}}, "aliases"),
        ({"aliases": {"txid": "card_number"}}, "aliases"),
        ({"aliases": {"txid": "properties."}}, "aliases"),
        ({"aliases": {"txid": "order_id", "TXID": "order_id"}}, "aliases"),
        ({"aliases": {"a b": "order_id"}}, "aliases"),
        ({"alias_presets": ["unheard-of"]}, "alias_presets"),
    ],
)
def test_aliases_that_mean_nothing_are_refused(
    console: RunningConsole, change: dict[str, Any], field: str
) -> None:
    _, program = console.brand_and_program(fresh())
    reply = console.call("PATCH", f"/v1/programs/{program}", change)
    assert set(faults_of(reply).values()) == {"invalid"}
    assert all(name.startswith(field) for name in faults_of(reply))


def test_partner_emails_are_checked_and_may_be_cleared(console: RunningConsole) -> None:
    made = console.made("/v1/partners", {"name": "p", "email": "p@partners.example"})
    path = f"/v1/partners/{made['id']}"
    assert faults_of(console.call("PATCH", path, {"email": "no at"})) == {"email": "invalid"}
    assert console.call("PATCH", path, {"email": None}).json["email"] is None
    assert console.call("PATCH", path, {"status": "paused"}).json["status"] == "paused"
    assert faults_of(console.call("PATCH", path, {"status": "gone"})) == {"status": "invalid"}


# ---- Links, domains


def enrolled(console: RunningConsole) -> tuple[str, str, str]:
    brand, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    console.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
    return brand, program, partner


def test_enrolling_answers_the_default_link_and_edges_serve_it(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    path = f"/v1/programs/{program}/partners/{partner}"
    first = console.call("PUT", path)
    link = first.json["default_link"]
    assert first.status == 201
    assert link["url"].endswith(f"/c/{link['code']}")
    assert console.store is not None
    value = told_to_edges(console.store)[f"link:{link['id'][4:]}"][3]
    assert (value["code"], value["url"]) == (
        link["code"],
        "https://shop.example/landing?a=b%2Fc+d",
    )
    again = console.call("PUT", path, {})
    assert (again.status, again.json["default_link"]) == (200, link)
    paused = console.call("PUT", path, {"status": "paused"})
    assert (paused.status, paused.json["status"]) == (200, "paused")
    listed = console.call("GET", f"/v1/programs/{program}/partners").json["items"]
    assert [(item["partner_id"], item["status"]) for item in listed] == [(partner, "paused")]
    assert console.call("PUT", f"/v1/programs/{program}/partners/prt_99999", {}).status == 404


def test_links_are_made_with_their_own_destination_utm_and_expiry(console: RunningConsole) -> None:
    _, program, partner = enrolled(console)
    code = fresh("Code")
    made = console.made(
        "/v1/links",
        {
            "program_id": program,
            "partner_id": partner,
            "code": code,
            "destination_url": "https://shop.example/a?utm_source=own#x",
            "utm": {"utm_source": "no", "utm_medium": "e mail"},
            "expires_at": "2030-01-01T02:00:00.5+02:00",
        },
    )
    assert made["target_url"] == "https://shop.example/a?utm_source=own&utm_medium=e%20mail#x"
    assert (made["code"], made["expires_at"]) == (code, "2030-01-01T00:00:00.500Z")
    taken = {"program_id": program, "partner_id": partner, "code": code.upper()}
    assert faults_of(console.call("POST", "/v1/links", taken)) == {"code": "conflict"}
    path = f"/v1/links/{made['id']}"
    changed = console.call("PATCH", path, {"destination_url": None, "utm": {}, "expires_at": None})
    assert (changed.json["target_url"], changed.json["expires_at"]) == (
        "https://shop.example/landing?a=b%2Fc+d",
        None,
    )
    away = console.call("PATCH", path, {"destination_url": "https://evil.example/"})
    assert faults_of(away) == {"destination_url": "invalid_destination"}
    assert console.call("PATCH", path, {"status": "paused"}).json["status"] == "paused"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("code", "healthz", "invalid"),
        ("code", "V1", "invalid"),
        ("code", "a.b", "invalid"),
        ("code", "a" * 65, "invalid"),
        ("code", "", "invalid"),
        ("domain", "nobody.example", "invalid"),
        ("destination_url", "https://evil.example/", "invalid_destination"),
        ("destination_url", "https://shop.example@evil.example/", "invalid_destination"),
        ("destination_url", "//shop.example/", "invalid_destination"),
        ("destination_url", "https://shop.example/ü", "invalid_destination"),
        ("program_id", "prg_99999", "unknown_program"),
        ("program_id", "brd_1", "unknown_program"),
        ("partner_id", "prt_99999", "unknown_partner"),
        ("expires_at", "tomorrow", "invalid"),
        ("expires_at", "2030-01-01T00:00:00", "invalid"),
        ("expires_at", "0001-01-01T00:00:00+23:59", "invalid"),
        ("expires_at", "9999-12-31T23:59:59-23:59", "invalid"),
        ("utm", "x", "invalid"),
        ("expired_destination_url", "https://evil.example/", "invalid_destination"),
        ("expired_destination_url", "javascript:alert(1)", "invalid_destination"),
    ],
)
def test_links_that_are_not_made(
    console: RunningConsole, field: str, value: Any, code: str
) -> None:
    _, program, partner = enrolled(console)
    body = {"program_id": program, "partner_id": partner, field: value}
    reply = console.call("POST", "/v1/links", body)
    assert faults_of(reply) == {field: code}


def test_a_link_of_a_partner_that_is_not_enrolled_is_refused(console: RunningConsole) -> None:
    _, program, _ = enrolled(console)
    other = console.made("/v1/partners", {"name": "q"})["id"]
    reply = console.call("POST", "/v1/links", {"program_id": program, "partner_id": other})
    assert faults_of(reply) == {"partner_id": "unknown_partner"}


def test_domains_serve_links_and_answer_for_certificates(console: RunningConsole) -> None:
    brand, program, partner = enrolled(console)
    host = fresh("go") + ".shop.example"
    made = console.made("/v1/domains", {"brand_id": brand, "domain": host.upper()})
    assert made["domain"] == host
    again = console.call("POST", "/v1/domains", {"brand_id": brand, "domain": host})
    assert faults_of(again) == {"domain": "conflict"}
    for bad in ("localhost", "10.0.0.1", "a.example/", "a.example:80", "*.a.example", "ü.example"):
        reply = console.call("POST", "/v1/domains", {"brand_id": brand, "domain": bad})
        assert faults_of(reply) == {"domain": "invalid"}, bad
    assert console.call("GET", f"/v1/domains/allowed?domain={host.upper()}.").status == 200
    assert console.call("GET", "/v1/domains/allowed?domain=evil.example").status == 404
    for named in (host, made["id"]):
        link = console.made(
            "/v1/links",
            {"program_id": program, "partner_id": partner, "domain": named, "code": fresh()},
        )
        assert link["url"] == f"https://{host}/{link['code']}"
    assert any(
        item["id"] == made["id"] for item in console.call("GET", "/v1/domains").json["items"]
    )


# ---- Lists


def test_lists_go_page_by_page_without_gap_or_repeat(console: RunningConsole) -> None:
    names = [fresh("name") for _ in range(7)]
    for name in names:
        console.made("/v1/brands", {"name": name})
    seen: list[str] = []
    cursor = ""
    while True:
        page = console.call("GET", f"/v1/brands?limit=2{cursor}").json
        assert len(page["items"]) <= 2
        seen += [item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen[-7:] == names
    assert len(seen) == len(console.call("GET", "/v1/brands?limit=500").json["items"])
